//! The next segment of a connection, decided and built when the device asks for it (RFC 9293 sections 3.7.4,
//! 3.8.6; RFC 5681; RFC 6675 section 5).

use sunstar_packet::{HEADROOM, Packet, Pool, Segmentation, SegmentationKind, SizeClass};
use sunstar_wire::tcp::{OptionOrder, SeqNumber, TcpFlags, TcpHeader, TcpOptions, Timestamps};

use super::congestion::CongestionControl;
use super::connection::{Connection, State, mss_for, syn_window};
use super::path_mtu::ProbePlan;
use super::recovery::Phase;
use crate::config::TcpConfig;
use crate::counters::TcpCounters;
use crate::time::Instant;

/// What a connection would say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// A SYN, with an ACK once the peer's was received.
    Syn,
    /// Data from a position on, perhaps none, perhaps with our FIN behind it.
    Data { from: u64, len: usize, fin: bool, again: bool },
    /// Data in a segment larger than the path is known to take, to find out whether it does (RFC 8899).
    PathProbe { from: u64, len: usize },
    /// A segment below the window, to make the peer answer.
    Probe,
    /// An acknowledgement.
    Ack,
}

/// What a segment with data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    New,
    Again,
    PathProbe,
}

/// The largest payload handed to a device that segments: with headers within 64 KiB.
const MAX_OFFLOAD: usize = 65_535 - 120;

impl Connection {
    /// Payload bytes of a full segment with the options it has now.
    pub(crate) fn segment_size(&self) -> usize {
        // Beside timestamps there is room for three SACK blocks, else for four.
        let options = match (self.timestamps, self.sack && self.receive.has_gaps()) {
            (false, false) => 0,
            (true, false) => 12,
            (false, true) => 4 + 4 * 8,
            (true, true) => 12 + 4 + 3 * 8,
        };
        usize::from(self.snd_mss).saturating_sub(options).max(1)
    }

    /// What would be said now; `None` for nothing.
    pub(super) fn plan(&self, offload: bool) -> Option<Plan> {
        match self.state {
            State::Closed => return None,
            State::SynSent | State::SynReceived => return self.pending.syn.then_some(Plan::Syn),
            _ => {}
        }
        if let Some(data) = self.plan_data(offload) {
            return Some(data);
        }
        if self.pending.probe {
            return Some(Plan::Probe);
        }
        self.pending.ack.then_some(Plan::Ack)
    }

    fn plan_data(&self, offload: bool) -> Option<Plan> {
        let size = self.segment_size();
        let longest = if offload { (MAX_OFFLOAD / size).max(1) * size } else { size };
        let pipe = self.scoreboard.pipe();
        let congestion_room = u64::from(self.congestion.window()).saturating_sub(pipe);
        let congestion_room = congestion_room.min(self.scoreboard.allowance());
        let window_end = self.position(self.snd_una) + u64::from(self.snd_wnd);
        if let Some((from, end)) = self.scoreboard.next_lost()
            && (congestion_room >= size as u64 || pipe == 0 || self.scoreboard.owes_a_segment())
        {
            // What was in the window once may be beyond a window that shrank (RFC 9293 SHLD-16): it is
            // still sent again.
            let data_end = self.data_end().min(end);
            let room = (congestion_room as usize / size).max(1) * size;
            let len = (data_end.saturating_sub(from.max(1)) as usize).min(room).min(longest);
            let fin = self.fin_sent() && from + len as u64 == self.data_end() && end > self.data_end();
            if len > 0 || fin {
                return Some(Plan::Data { from: from.max(1), len, fin, again: true });
            }
        }
        let from = self.position(self.snd_nxt).max(1);
        let unsent = self.unsent();
        let window_room = window_end.saturating_sub(from);
        match self.plan_path_probe(pipe, window_end, window_room.min(congestion_room)) {
            ProbePlan::Go(len) => return Some(Plan::PathProbe { from, len }),
            ProbePlan::Wait => return None,
            ProbePlan::None => {}
        }
        let usable = unsent.min(window_room).min(congestion_room) as usize;
        let fin_due = self.fin_queued && !self.fin_sent();
        // Nagle (RFC 9293 section 3.7.4, in Minshall's form): one small segment at a time in the network.
        let may_be_small = self.nodelay || fin_due || !self.small_end.after(self.snd_una);
        let mut len = usable.min(longest);
        if len > size && ((len as u64) < unsent || !may_be_small) {
            // Whole segments, while there is more to come.
            len -= len % size;
        }
        let all = len as u64 == unsent;
        let fin = fin_due && all && (window_room > unsent || unsent == 0);
        if len == 0 && !fin {
            return None;
        }
        // RFC 9293 section 3.8.6.2.1: a full segment; all there is; half the largest window; or the persist timer's
        // will.
        let worthwhile = len >= size
            || fin
            || all && may_be_small
            || self.max_snd_wnd > 0 && len as u64 >= u64::from(self.max_snd_wnd / 2)
            || self.pending.push_small;
        worthwhile.then_some(Plan::Data { from, len, fin, again: false })
    }

    /// Builds what was planned, with the acknowledgement and window of this instant. `None` when the pool
    /// has no buffer; nothing has changed then.
    pub(super) fn build(
        &mut self,
        plan: Plan,
        now: Instant,
        pool: &Pool,
        config: &TcpConfig,
        counters: &mut TcpCounters,
    ) -> Option<Packet> {
        let order = config.options.into();
        let header = pool.allocate(SizeClass::Small, HEADROOM)?;
        let mut packet = Packet::new(header);
        match plan {
            Plan::Syn => self.build_syn(&mut packet, now, order, config)?,
            Plan::Data { from, len, fin, again } => {
                let taken = if len > 0 { self.send.read(from - 1, len, &mut packet) } else { 0 };
                let fin = fin && taken == len;
                let kind = if again { Kind::Again } else { Kind::New };
                self.build_data(&mut packet, (from, taken, fin, kind), now, order, config, counters)?
            }
            Plan::PathProbe { from, len } => {
                let mut taken = self.send.read(from - 1, len, &mut packet);
                let kind = if taken == len { Kind::PathProbe } else { Kind::New };
                if kind == Kind::New {
                    // In too many pieces for one packet.
                    taken = taken.min(self.segment_size());
                    packet.truncate(taken);
                }
                self.build_data(&mut packet, (from, taken, false, kind), now, order, config, counters)?
            }
            Plan::Probe => {
                // As Linux: the byte before the window, without data; the peer must answer what it cannot accept.
                counters.window_probes += 1;
                self.pending.probe = false;
                self.finish(&mut packet, self.snd_una - 1, TcpFlags::ACK, now, order, config)?
            }
            Plan::Ack => self.finish(&mut packet, self.snd_nxt, TcpFlags::ACK, now, order, config)?,
        }
        counters.segments_built += 1;
        if packet.notes.segmentation.is_some() {
            counters.segments_offloaded += 1;
        }
        Some(packet)
    }

    fn build_syn(
        &mut self,
        packet: &mut Packet,
        now: Instant,
        order: OptionOrder,
        config: &TcpConfig,
    ) -> Option<()> {
        let answering = self.state == State::SynReceived;
        let flags = if answering { TcpFlags::SYN | TcpFlags::ACK } else { TcpFlags::SYN };
        let mut options = TcpOptions {
            // RFC 1191 section 3.1: what we can receive has nothing to do with what the path there takes.
            mss: Some(mss_for(self.path.link_mtu)),
            sack_permitted: self.sack,
            ..TcpOptions::default()
        };
        if self.timestamps {
            options.timestamps = Some(Timestamps { value: self.timestamp(now), echo: self.ts_recent });
        }
        options.window_scale = self.scaling.then_some(self.rcv_scale);
        let window = syn_window(config);
        let acknowledgement = if answering { self.rcv_nxt } else { SeqNumber(0) };
        emit(packet, self, (self.iss, acknowledgement), flags, window, &options, order)?;
        if answering {
            self.rcv_adv = self.rcv_nxt + u32::from(window);
            self.last_ack_sent = self.rcv_nxt;
            self.pending.ack = false;
        }
        self.pending.syn = false;
        if self.snd_nxt == self.iss {
            self.snd_nxt = self.iss + 1;
            self.scoreboard.on_sent(1);
            self.timed = Some((self.snd_nxt, now));
        } else {
            self.timed = None;
        }
        self.stuck_since.get_or_insert(now);
        self.last_sent = now;
        self.start_retransmit(now, config);
        Some(())
    }

    fn build_data(
        &mut self,
        packet: &mut Packet,
        (from, len, fin, kind): (u64, usize, bool, Kind),
        now: Instant,
        order: OptionOrder,
        config: &TcpConfig,
        counters: &mut TcpCounters,
    ) -> Option<()> {
        let end = from + len as u64;
        // RFC 9293 MUST-60: PSH on the last segment of what was written.
        let mut flags = TcpFlags::ACK;
        if len > 0 && end == self.data_end() {
            flags |= TcpFlags::PSH;
        }
        if fin {
            flags |= TcpFlags::FIN;
        }
        let size = self.segment_size();
        let sequence = self.sequence(from);
        self.finish(packet, sequence, flags, now, order, config)?;
        if len > size && kind != Kind::PathProbe {
            packet.notes.segmentation = Some(Segmentation {
                kind: SegmentationKind::TcpV4,
                size: size as u16,
                header_len: (packet.len() - len) as u16,
            });
        }
        let end = end + u64::from(fin);
        self.note_size(from, len, kind == Kind::PathProbe, counters);
        if kind == Kind::Again {
            let segments = len.div_ceil(size).max(1) as u64;
            counters.retransmissions += segments;
            self.retransmissions += segments;
            self.scoreboard.on_resent(end);
            self.sizes.on_resent(from, end);
            // Karn: what was sent twice is not timed.
            self.timed = None;
            if self.deadlines.retransmit.is_none() {
                self.start_retransmit(now, config);
            }
        } else {
            counters.bytes_sent += len as u64;
            self.bytes_sent += len as u64;
            (self.pending.push_small, self.pending.probe) = (false, false);
            let idle = self.snd_nxt == self.snd_una;
            self.snd_nxt = self.sequence(end);
            self.scoreboard.on_sent(end);
            if self.timed.is_none() && self.scoreboard.phase() == Phase::Open {
                self.timed = Some((self.snd_nxt, now));
            }
            if idle || self.deadlines.retransmit.is_none() {
                self.stuck_since = Some(now);
                self.start_retransmit(now, config);
            }
            if fin {
                self.state = match self.state {
                    State::CloseWait => State::LastAck,
                    State::Established => State::FinWait1,
                    state => state,
                };
            }
            if kind == Kind::New && !len.is_multiple_of(size) {
                self.small_end = self.snd_nxt;
            }
            self.note_congestion_limit(size);
        }
        self.last_sent = now;
        Some(())
    }

    /// RFC 5681 section 4.1: after a silence longer than a timeout the window starts over. Before anything is
    /// planned, or a device that segments would get a whole old window at once.
    pub(super) fn restart_if_idle(&mut self, now: Instant, config: &TcpConfig) {
        if self.flight() == 0
            && self.unsent() > 0
            && now.saturating_since(self.last_sent) > self.rtt.rto(config)
        {
            self.congestion.on_idle();
        }
    }

    /// The window grows only while it is used (RFC 9293 has no word on it; RFC 7661 section 4.1): at least half
    /// of it in slow start, all but a segment later.
    fn note_congestion_limit(&mut self, size: usize) {
        let (window, pipe) = (u64::from(self.congestion.window()), self.scoreboard.pipe());
        let slow_start = self.congestion.window() < self.congestion.ssthresh();
        self.cwnd_limited |= if slow_start { 2 * pipe >= window } else { pipe + size as u64 > window };
    }

    /// Puts the header on, and notes what it promises.
    fn finish(
        &mut self,
        packet: &mut Packet,
        sequence: SeqNumber,
        flags: TcpFlags,
        now: Instant,
        order: OptionOrder,
        config: &TcpConfig,
    ) -> Option<()> {
        let (window, edge) = self.advertise(config);
        let options = self.options(now);
        emit(packet, self, (sequence, self.rcv_nxt), flags, window, &options, order)?;
        self.rcv_adv = self.rcv_adv.max(edge);
        self.last_ack_sent = self.rcv_nxt;
        self.pending.ack = self.pending.reports > 0;
        self.pending.reports = self.pending.reports.saturating_sub(1);
        self.unacknowledged = 0;
        self.deadlines.delayed_ack = None;
        Some(())
    }
}

/// Writes a TCP header, its checksum left to IP.
fn emit(
    packet: &mut Packet,
    connection: &Connection,
    (sequence, acknowledgement): (SeqNumber, SeqNumber),
    flags: TcpFlags,
    window: u16,
    options: &TcpOptions,
    order: OptionOrder,
) -> Option<()> {
    let header_len = TcpHeader::LEN + options.emitted_len(order);
    let header = TcpHeader {
        source_port: connection.local().port(),
        destination_port: connection.remote().port(),
        sequence,
        acknowledgement,
        flags,
        window,
        checksum: 0,
        urgent: 0,
        header_len: header_len as u8,
    };
    let room = packet.prepend(header_len)?;
    header.emit(room).ok()?;
    options.emit(order, &mut room[TcpHeader::LEN..]).ok()?;
    Some(())
}
