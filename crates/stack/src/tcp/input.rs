//! A segment arrives at a connection: RFC 9293 section 3.10.7, in its order, with RFC 5961's and RFC 7323's checks.

use core::time::Duration;

use sunstar_packet::{Packet, Pool, SizeClass};
use sunstar_wire::tcp::{SeqNumber, TcpFlags, TcpHeader, TcpOptions};

use super::congestion::CongestionControl;
use super::connection::{Connection, State, mss_for, syn_window};
use crate::config::{PathMtuConfig, TcpConfig};
use crate::counters::Counters;
use crate::ip::path_mtu::PathNews;
use crate::socket::{Ready, SocketError};
use crate::time::Instant;

/// A segment, its headers taken off.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: TcpHeader,
    pub(super) options: TcpOptions,
    pub(super) payload: Packet,
}

impl Segment {
    pub(super) fn has(&self, flag: TcpFlags) -> bool {
        self.header.flags.contains(flag)
    }

    /// Sequence space it takes.
    pub(super) fn len(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.has(TcpFlags::SYN)) + u32::from(self.has(TcpFlags::FIN))
    }
}

/// What a segment means beyond its connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effects {
    /// The handshake is complete.
    pub(super) established: bool,
    /// Both directions are closed in order: remember the connection in TIME-WAIT.
    pub(super) time_wait: bool,
    /// The connection is over.
    pub(super) closed: bool,
    /// Answer with a RST of this sequence number.
    pub(super) reset: Option<SeqNumber>,
    /// What the socket became ready for.
    pub(super) ready: Ready,
    /// What was found out about the path.
    pub(super) path: Option<PathNews>,
}

/// What the state machine is given.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) pool: &'a Pool,
    pub(super) config: &'a TcpConfig,
    pub(super) path_mtu: &'a PathMtuConfig,
    pub(super) counters: &'a mut Counters,
}

/// Acknowledgements for segments out of order that wait for the device at most: those of one burst.
const MAX_REPORTS: u8 = 32;

/// Timestamps older than this are not held against a segment (RFC 7323 section 5.5).
const PAWS_IDLE: Duration = Duration::from_secs(24 * 24 * 3_600);

impl Connection {
    /// RFC 9293 section 3.10.7.
    pub(super) fn on_segment(&mut self, mut segment: Segment, cx: &mut Context<'_>) -> Effects {
        let mut effects = Effects::default();
        match self.state {
            State::Closed => {}
            State::SynSent => self.on_segment_in_syn_sent(segment, cx, &mut effects),
            _ => {
                if self.check_arrival(&mut segment, cx, &mut effects)
                    && self.check_acknowledgement(&segment, cx, &mut effects)
                {
                    self.on_text(segment, cx, &mut effects);
                }
            }
        }
        effects
    }

    /// RFC 9293 section 3.10.7.3.
    fn on_segment_in_syn_sent(&mut self, segment: Segment, cx: &mut Context<'_>, effects: &mut Effects) {
        let header = segment.header;
        let acknowledges = segment.has(TcpFlags::ACK);
        // First and second: the ACK, the RST.
        if acknowledges
            && (!header.acknowledgement.after(self.iss) || header.acknowledgement.after(self.snd_nxt))
        {
            cx.counters.drops.tcp_bad_acknowledgement += 1;
            if !segment.has(TcpFlags::RST) {
                effects.reset = Some(header.acknowledgement);
            }
            return;
        }
        if segment.has(TcpFlags::RST) {
            if acknowledges {
                cx.counters.tcp.resets_received += 1;
                self.fail(SocketError::ConnectionRefused, effects);
            } else {
                cx.counters.drops.tcp_blind_attack += 1;
            }
            return;
        }
        // Fourth: the SYN. Fifth: nothing else is of use.
        if !segment.has(TcpFlags::SYN) {
            cx.counters.drops.tcp_unacceptable += 1;
            return;
        }
        self.on_syn(&header, &segment.options, cx);
        if self.flight() > 0 {
            // What our SYN promised is there for data that comes with the answer.
            self.rcv_adv += u32::from(syn_window(cx.config));
        }
        if !acknowledges {
            // Simultaneous open: our SYN once more, with an ACK.
            self.state = State::SynReceived;
            self.pending.syn = true;
            return;
        }
        self.on_handshake_acknowledged(&header, &segment.options, cx);
        self.establish(&header, effects);
        self.pending.ack = true;
        if !segment.payload.is_empty() || segment.has(TcpFlags::FIN) {
            let mut rest = segment;
            rest.header.sequence += 1;
            rest.header.flags = rest.header.flags.without(TcpFlags::SYN);
            self.on_text(rest, cx, effects);
        }
    }

    /// What a SYN says: where the peer's numbers start, and its options.
    pub(super) fn on_syn(&mut self, header: &TcpHeader, options: &TcpOptions, cx: &Context<'_>) {
        self.irs = header.sequence;
        self.rcv_nxt = header.sequence + 1;
        self.rcv_adv = self.rcv_nxt;
        self.last_ack_sent = self.rcv_nxt;
        self.last_received = cx.now;
        // RFC 9293 MUST-15: 536 without the option. A floor keeps a peer from making us send crumbs.
        let offered = options.mss.unwrap_or(536).max(cx.config.min_mss);
        self.peer_mss = offered;
        self.snd_mss = offered.min(mss_for(self.path.mtu));
        self.congestion.set_mss(self.snd_mss.into(), cx.config.initial_window);
        self.scaling &= options.window_scale.is_some();
        if !self.scaling {
            self.rcv_scale = 0;
        }
        // RFC 7323 section 2.3: a scale above 14 is taken for 14.
        self.snd_scale = options.window_scale.filter(|_| self.scaling).unwrap_or(0).min(14);
        self.sack &= options.sack_permitted;
        self.timestamps &= options.timestamps.is_some();
        if let Some(timestamps) = options.timestamps.filter(|_| self.timestamps) {
            self.ts_recent = timestamps.value;
            self.ts_recent_at = cx.now;
        }
        // RFC 7323 section 2.2: the window of a SYN is not scaled.
        self.snd_wnd = header.window.into();
        self.max_snd_wnd = self.snd_wnd;
        self.snd_wl1 = header.sequence;
        self.snd_wl2 = header.acknowledgement;
    }

    /// Our SYN was acknowledged.
    pub(super) fn on_handshake_acknowledged(
        &mut self,
        header: &TcpHeader,
        options: &TcpOptions,
        cx: &mut Context<'_>,
    ) {
        self.sample_rtt(header.acknowledgement, options, cx);
        self.snd_una = header.acknowledgement;
        self.scoreboard.on_acknowledged(1, self.snd_mss.into(), self.sack);
        if self.timeouts > 0 {
            self.rtt.on_syn_timed_out();
        }
        if self.timeouts > 1 {
            // RFC 6928 section 2: one lost SYN may have been late only, more were lost.
            self.congestion.on_timeout(cx.now, 1, true);
        }
        self.timeouts = 0;
        self.deadlines.retransmit = None;
        self.stuck_since = None;
        self.pending.syn = false;
        self.small_end = self.snd_una;
    }

    pub(super) fn establish(&mut self, header: &TcpHeader, effects: &mut Effects) {
        self.state = State::Established;
        self.snd_wl1 = header.sequence;
        self.snd_wl2 = header.acknowledgement;
        effects.established = true;
        effects.ready |= Ready::WRITABLE;
    }

    /// First to fourth of RFC 9293 section 3.10.7.4: sequence number, RST, SYN. True to go on.
    fn check_arrival(&mut self, segment: &mut Segment, cx: &mut Context<'_>, effects: &mut Effects) -> bool {
        let resets = segment.has(TcpFlags::RST);
        let handshake_again = self.state == State::SynReceived
            && segment.has(TcpFlags::SYN)
            && segment.header.sequence == self.irs;
        if handshake_again && !resets {
            if !segment.has(TcpFlags::ACK) {
                // Our SYN-ACK was lost.
                self.pending.syn = true;
                return false;
            }
            // Simultaneous open: the peer's SYN-ACK says nothing new but its ACK.
            segment.header.sequence += 1;
            segment.header.flags = segment.header.flags.without(TcpFlags::SYN);
            self.pending.ack = true;
        }
        // RFC 5961 section 4.2: a SYN earns a challenge ACK wherever it falls.
        if segment.has(TcpFlags::SYN) && !resets {
            cx.counters.drops.tcp_blind_attack += 1;
            self.challenge(cx);
            return false;
        }
        if !resets && !self.check_timestamp(segment, cx) {
            return false;
        }
        if !self.is_acceptable(segment) {
            cx.counters.drops.tcp_unacceptable += 1;
            if resets {
                return false;
            }
            if segment.payload.is_empty() && !segment.has(TcpFlags::FIN) {
                self.challenge(cx);
            } else {
                // Data sent again: our ACK was lost.
                self.pending.ack = true;
            }
            return false;
        }
        if resets {
            return self.on_reset(segment.header.sequence, cx, effects);
        }
        true
    }

    /// RFC 9293 section 3.4, and MUST-66: an empty window still lets valid ACKs pass. So does one that the peer has filled,
    /// though something in it was lost: all that it says without data comes from the window's end.
    fn is_acceptable(&self, segment: &Segment) -> bool {
        let window = self.rcv_wnd();
        let (start, len) = (segment.header.sequence, segment.len());
        let within = |seq: SeqNumber| seq.at_or_after(self.rcv_nxt) && seq.before(self.rcv_nxt + window);
        match (len, window) {
            (_, 0) => start == self.rcv_nxt,
            (0, _) => within(start) || start == self.rcv_nxt + window && !segment.has(TcpFlags::RST),
            _ => within(start) || within(start + (len - 1)),
        }
    }

    /// RFC 7323 section 5.3, R1 and R3.
    fn check_timestamp(&mut self, segment: &Segment, cx: &mut Context<'_>) -> bool {
        if !self.timestamps {
            return true;
        }
        let Some(timestamps) = segment.options.timestamps else {
            // RFC 7323 section 3.2: a segment without the option that was agreed on is dropped.
            cx.counters.drops.tcp_paws += 1;
            return false;
        };
        let older = (timestamps.value.wrapping_sub(self.ts_recent) as i32) < 0;
        if older && cx.now.saturating_since(self.ts_recent_at) < PAWS_IDLE {
            cx.counters.drops.tcp_paws += 1;
            if segment.len() > 0 {
                self.pending.ack = true;
            } else {
                self.challenge(cx);
            }
            return false;
        }
        true
    }

    /// Sequence number and ACK are good: it was the peer who spoke, and no forger who had to guess both.
    pub(super) fn on_valid(&mut self, segment: &Segment, now: Instant) {
        self.last_received = now;
        self.probes = 0;
        // RFC 7323 section 4.3: which timestamp to echo.
        if let Some(timestamps) = segment.options.timestamps.filter(|_| self.timestamps)
            && segment.header.sequence.at_or_before(self.last_ack_sent)
        {
            self.ts_recent = timestamps.value;
            self.ts_recent_at = now;
        }
    }

    /// RFC 5961 section 3.2: only a RST exactly at RCV.NXT closes.
    fn on_reset(&mut self, sequence: SeqNumber, cx: &mut Context<'_>, effects: &mut Effects) -> bool {
        if sequence != self.rcv_nxt {
            cx.counters.drops.tcp_blind_attack += 1;
            self.challenge(cx);
            return false;
        }
        cx.counters.tcp.resets_received += 1;
        let error = match self.state {
            State::SynReceived if self.active => SocketError::ConnectionRefused,
            _ => SocketError::ConnectionReset,
        };
        self.fail(error, effects);
        false
    }

    /// An ACK that answers what is not acceptable, within the limit.
    pub(super) fn challenge(&mut self, cx: &mut Context<'_>) {
        if self.state != State::SynReceived && self.challenge.allow(cx.now) {
            cx.counters.tcp.challenge_acks += 1;
            self.pending.ack = true;
        }
    }

    /// Sixth to eighth of RFC 9293 section 3.10.7.4: URG (its pointer means nothing to the stream), text, FIN.
    fn on_text(&mut self, mut segment: Segment, cx: &mut Context<'_>, effects: &mut Effects) {
        if !self.state.may_receive() {
            return;
        }
        let mut start = segment.header.sequence;
        let mut fin = segment.has(TcpFlags::FIN);
        if start.before(self.rcv_nxt) {
            let known = self.rcv_nxt - start;
            if known as usize > segment.payload.len() && !fin {
                return;
            }
            segment.payload.trim_front(known as usize);
            start = self.rcv_nxt;
        }
        let window = if self.rcv_adv.after(start) { self.rcv_adv - start } else { 0 };
        if segment.payload.len() as u32 > window {
            // The peer hears at once where the window ends; it may be asking by just this (RFC 9293 section 3.8.6.1).
            segment.payload.truncate(window as usize);
            fin = false;
            self.pending.ack = true;
        }
        let len = segment.payload.len();
        if len > 0 {
            if !self.owned && self.listener.is_none() {
                // RFC 9293 section 3.6.1: data after CLOSE is answered with a RST, so that the peer knows.
                cx.counters.drops.tcp_after_close += 1;
                effects.reset = Some(self.snd_nxt);
                self.fail(SocketError::ConnectionAborted, effects);
                return;
            }
            self.on_payload(start, segment.payload, cx, effects);
        }
        if fin {
            self.early_fin = Some(start + len as u32);
            self.pending.ack = true;
        }
        if self.early_fin == Some(self.rcv_nxt) {
            self.on_fin(effects);
        }
    }

    fn on_payload(&mut self, start: SeqNumber, payload: Packet, cx: &mut Context<'_>, effects: &mut Effects) {
        let len = payload.len();
        // A coalesced segment tells how large its parts were.
        let part = payload.notes.segmentation.map_or(len, |segmentation| len.min(segmentation.size.into()));
        self.rcv_mss = self.rcv_mss.max(part.min(mss_for(self.path.link_mtu).into()) as u16);
        // Memory has an end, however small the pieces were.
        let limit = cx.config.receive_memory();
        if start == self.rcv_nxt {
            // What is in order goes first.
            self.receive.prune(limit);
        }
        let early = start != self.rcv_nxt;
        // Nor may the buffers of the shard run out: the last ones are for acknowledgements, and for what fills holes.
        let (free, total) = (cx.pool.free(SizeClass::Small), cx.pool.total(SizeClass::Small));
        if self.receive.held() >= limit || early && free <= total / 16 {
            cx.counters.drops.tcp_out_of_order_full += 1;
            self.pending.ack = true;
            return;
        }
        if free <= total / 32 {
            cx.counters.drops.no_buffer += 1;
            return;
        }
        if early {
            // RFC 5681 section 4.2: at once and each, so that the sender learns of the hole and counts to three.
            if self.pending.ack {
                self.pending.reports = (self.pending.reports + 1).min(MAX_REPORTS);
            }
            self.pending.ack = true;
            if self.receive.push_early(cx.pool, start - self.rcv_nxt, payload) {
                cx.counters.tcp.out_of_order += 1;
            } else {
                cx.counters.drops.tcp_out_of_order_full += 1;
            }
            return;
        }
        let filled_a_hole = self.receive.has_gaps();
        let taken = self.receive.push(cx.pool, payload);
        self.rcv_nxt += taken as u32;
        cx.counters.tcp.bytes_received += taken as u64;
        self.bytes_received += taken as u64;
        if self.read_shutdown {
            self.receive.clear();
        } else {
            effects.ready |= Ready::READABLE;
        }
        self.unacknowledged += len as u32;
        // RFC 9293 MUST-58, MUST-59; RFC 5681 section 4.2: every second full segment, at once where it
        // matters, and never later than the delay.
        if filled_a_hole || self.quick_acks > 0 || self.unacknowledged >= 2 * u32::from(self.rcv_mss) {
            self.quick_acks = self.quick_acks.saturating_sub(1);
            self.pending.ack = true;
        } else if self.deadlines.delayed_ack.is_none() {
            self.deadlines.delayed_ack = Some(cx.now + cx.config.ack_delay);
        }
    }

    /// The peer's FIN is in order.
    fn on_fin(&mut self, effects: &mut Effects) {
        self.early_fin = None;
        self.fin_received = true;
        // What the peer sent beyond its own FIN is no part of the stream, and may not be reported.
        self.receive.prune(0);
        self.rcv_nxt += 1;
        self.pending.ack = true;
        effects.ready |= Ready::READABLE;
        match self.state {
            State::SynReceived | State::Established => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => {
                effects.time_wait = true;
                self.state = State::Closed;
            }
            _ => {}
        }
    }

    /// The connection is over, for a reason.
    pub(super) fn fail(&mut self, error: SocketError, effects: &mut Effects) {
        self.state = State::Closed;
        self.error = Some(error);
        self.send.clear();
        effects.closed = true;
        effects.ready |= Ready::READABLE | Ready::WRITABLE | Ready::CLOSED;
    }
}
