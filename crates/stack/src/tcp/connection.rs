//! The control block of a connection: what RFC 9293 section 3.3.1 lists, and what its companions add. Plain
//! data, without handles of anything but buffers.

use core::time::Duration;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use sunstar_wire::tcp::{SeqNumber, TcpOptions, Timestamps};

use super::ListenerKey;
use super::challenge::ChallengeLimit;
use super::congestion::Controller;
use super::path_mtu::PathSizes;
use super::receive_buffer::ReceiveBuffer;
use super::recovery::{Phase, Scoreboard};
use super::rtt::RttEstimator;
use super::send_buffer::SendBuffer;
use super::tuple::Tuple;
use crate::config::TcpConfig;
use crate::ip::Path;
use crate::socket::{Ready, SocketError};
use crate::time::Instant;
use crate::timer::TimerId;

/// The states of RFC 9293 section 3.3.2. LISTEN is a listener's, TIME-WAIT has its own table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum State {
    /// A SYN was sent.
    SynSent,
    /// A SYN was received, and answered.
    SynReceived,
    /// Data flows.
    Established,
    /// Our FIN was sent.
    FinWait1,
    /// Our FIN was acknowledged.
    FinWait2,
    /// The peer's FIN was received.
    CloseWait,
    /// Both FINs were sent, ours is not acknowledged.
    Closing,
    /// The peer's FIN was received, then ours was sent.
    LastAck,
    /// Over; also in the time in TIME-WAIT.
    Closed,
}

impl State {
    /// Whether both ends have agreed on sequence numbers.
    pub(crate) fn is_synchronized(self) -> bool {
        !matches!(self, State::SynSent | State::SynReceived | State::Closed)
    }

    /// Whether the peer may still send data.
    pub(crate) fn may_receive(self) -> bool {
        matches!(
            self,
            State::SynSent | State::SynReceived | State::Established | State::FinWait1 | State::FinWait2
        )
    }

    /// Whether the application may still send data.
    pub(crate) fn may_send(self) -> bool {
        matches!(self, State::SynSent | State::SynReceived | State::Established | State::CloseWait)
    }
}

/// When and how often a silent peer is asked whether it is still there (RFC 9293 section 3.8.4). Times of less than a
/// second count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Probes without an answer before the connection is given up.
    pub count: u32,
}

impl Keepalive {
    /// No timer is to ask without end.
    const LEAST: Duration = Duration::from_secs(1);

    /// The same with times that make sense.
    pub(crate) fn sensible(self) -> Self {
        let Self { idle, interval, count } = self;
        Self { idle: idle.max(Self::LEAST), interval: interval.max(Self::LEAST), count }
    }
}

impl Default for Keepalive {
    /// RFC 9293 MUST-28: two hours at least by default.
    fn default() -> Self {
        Self { idle: Duration::from_secs(7_200), interval: Duration::from_secs(75), count: 9 }
    }
}

/// Deadlines of a connection. One entry of the timer wheel stands for the earliest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deadlines {
    /// Retransmission, or a look at a closed window (persist): never both.
    pub(crate) retransmit: Option<Instant>,
    pub(crate) persist: Option<Instant>,
    pub(crate) delayed_ack: Option<Instant>,
    pub(crate) keepalive: Option<Instant>,
    /// When to ask again for a next hop that did not answer.
    pub(crate) unpark: Option<Instant>,
    /// A connection without an owner does not wait longer than this.
    pub(crate) orphan: Option<Instant>,
}

impl Deadlines {
    pub(crate) fn earliest(&self) -> Option<Instant> {
        [self.retransmit, self.persist, self.delayed_ack, self.keepalive, self.unpark, self.orphan]
            .into_iter()
            .flatten()
            .min()
    }
}

/// What is to be said as soon as the device asks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pending {
    /// A SYN or SYN-ACK, for the first time or again.
    pub(crate) syn: bool,
    /// An acknowledgement.
    pub(crate) ack: bool,
    /// Further acknowledgements behind it: each segment out of order is reported (RFC 5681 section 4.2).
    pub(crate) reports: u8,
    /// A probe of a closed window, or of a silent peer.
    pub(crate) probe: bool,
    /// What the window or Nagle hold back, because the persist timer fired.
    pub(crate) push_small: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) tuple: Tuple,
    pub(crate) path: Path,
    pub(crate) state: State,
    /// Whom it is for, while it has not been accepted.
    pub(crate) listener: Option<ListenerKey>,
    /// Opened from here (a SYN-RECEIVED that fails goes back to CLOSED, not to LISTEN).
    pub(crate) active: bool,
    /// An application holds the handle.
    pub(crate) owned: bool,
    /// It finishes without an owner, and is counted as such.
    pub(crate) orphaned: bool,
    /// It keeps its port this shard's own, after its listener too.
    pub(crate) holds_port: bool,
    /// What a router said that may pass; the reason to be given should the connection be given up.
    pub(crate) soft_error: Option<SocketError>,
    /// Why it ended, for calls still to come.
    pub(crate) error: Option<SocketError>,
    pub(crate) ready: Ready,

    // Send sequence space (RFC 9293 section 3.3.1).
    pub(crate) iss: SeqNumber,
    pub(crate) snd_una: SeqNumber,
    pub(crate) snd_nxt: SeqNumber,
    pub(crate) snd_wnd: u32,
    pub(crate) snd_wl1: SeqNumber,
    pub(crate) snd_wl2: SeqNumber,
    pub(crate) snd_scale: u8,
    pub(crate) max_snd_wnd: u32,
    /// Payload bytes of a full segment without options.
    pub(crate) snd_mss: u16,
    /// Payload bytes of a full segment without options that the peer takes.
    pub(crate) peer_mss: u16,
    pub(crate) send: SendBuffer,
    /// The application has closed its direction.
    pub(crate) fin_queued: bool,

    // Receive sequence space.
    pub(crate) irs: SeqNumber,
    pub(crate) rcv_nxt: SeqNumber,
    /// The right edge advertised; it never goes back.
    pub(crate) rcv_adv: SeqNumber,
    pub(crate) rcv_scale: u8,
    pub(crate) receive: ReceiveBuffer,
    /// Where the peer's FIN stands, if it came early.
    pub(crate) early_fin: Option<SeqNumber>,
    /// The peer's FIN was received in order.
    pub(crate) fin_received: bool,
    /// The application does not want any more data.
    pub(crate) read_shutdown: bool,

    /// Where the last segment ended that was smaller than it could be (Minshall's form of Nagle's rule).
    pub(crate) small_end: SeqNumber,

    // Options both ends agreed on, or that we offer as long as the peer has not spoken.
    pub(crate) scaling: bool,
    pub(crate) timestamps: bool,
    pub(crate) sack: bool,
    pub(crate) ts_recent: u32,
    pub(crate) ts_recent_at: Instant,
    pub(crate) ts_offset: u32,
    /// The acknowledgement last sent (RFC 7323's Last.ACK.sent).
    pub(crate) last_ack_sent: SeqNumber,

    // Timing and recovery.
    pub(crate) rtt: RttEstimator,
    /// A segment being timed: what must be acknowledged, and when it was sent.
    pub(crate) timed: Option<(SeqNumber, Instant)>,
    pub(crate) scoreboard: Scoreboard,
    pub(crate) congestion: Controller,
    /// How large packets may be on the path.
    pub(crate) sizes: PathSizes,
    /// Whether the congestion window kept something back since the last ACK.
    pub(crate) cwnd_limited: bool,
    pub(crate) last_sent: Instant,
    pub(crate) last_received: Instant,

    // Acknowledging.
    pub(crate) pending: Pending,
    /// Bytes received since the last ACK.
    pub(crate) unacknowledged: u32,
    /// The largest payload the peer has sent in one segment: what a full segment of its is.
    pub(crate) rcv_mss: u16,
    /// Segments still to be acknowledged at once, at the start of the flow.
    pub(crate) quick_acks: u8,
    pub(crate) challenge: ChallengeLimit,

    // Timers.
    pub(crate) deadlines: Deadlines,
    pub(crate) timer: Option<(TimerId, Instant)>,
    /// Probes sent without an answer.
    pub(crate) probes: u32,
    /// Retransmission and persist timeouts in a row without progress: what R2 counts.
    pub(crate) timeouts: u32,
    /// Since when nothing was acknowledged, while something is outstanding.
    pub(crate) stuck_since: Option<Instant>,

    // What the application set.
    pub(crate) nodelay: bool,
    pub(crate) linger: Option<Duration>,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) user_timeout: Option<Duration>,

    /// On the list of those that want to send.
    pub(crate) listed: bool,
    /// Waiting for the next hop to answer.
    pub(crate) parked: bool,
    pub(crate) retransmissions: u64,
    /// Payload bytes sent for the first time.
    pub(crate) bytes_sent: u64,
    /// Payload bytes received in order.
    pub(crate) bytes_received: u64,
}

/// Segments acknowledged at once at the start of a flow, so that slow start is not held up.
const QUICK_ACKS: u8 = 16;

impl Connection {
    pub(crate) fn new(
        tuple: Tuple,
        path: Path,
        state: State,
        (iss, ts_offset): (SeqNumber, u32),
        now: Instant,
        config: &TcpConfig,
    ) -> Self {
        let mss = mss_for(path.mtu);
        Self {
            tuple,
            path,
            state,
            listener: None,
            active: state == State::SynSent,
            owned: false,
            orphaned: false,
            holds_port: false,
            soft_error: None,
            error: None,
            ready: Ready::NONE,
            iss,
            snd_una: iss,
            snd_nxt: iss,
            snd_wnd: 0,
            snd_wl1: SeqNumber(0),
            snd_wl2: SeqNumber(0),
            snd_scale: 0,
            max_snd_wnd: 0,
            snd_mss: mss,
            peer_mss: mss_for(path.link_mtu),
            send: SendBuffer::default(),
            fin_queued: false,
            irs: SeqNumber(0),
            rcv_nxt: SeqNumber(0),
            rcv_adv: SeqNumber(0),
            rcv_scale: if config.window_scaling { scale_for(config.receive_buffer) } else { 0 },
            receive: ReceiveBuffer::default(),
            early_fin: None,
            fin_received: false,
            read_shutdown: false,
            small_end: iss,
            scaling: config.window_scaling,
            timestamps: config.timestamps,
            sack: config.sack,
            ts_recent: 0,
            ts_recent_at: now,
            ts_offset,
            last_ack_sent: SeqNumber(0),
            rtt: RttEstimator::new(config),
            timed: None,
            scoreboard: Scoreboard::default(),
            congestion: Controller::new(mss.into(), config.initial_window),
            sizes: PathSizes::default(),
            cwnd_limited: false,
            last_sent: now,
            last_received: now,
            pending: Pending { syn: true, ..Pending::default() },
            unacknowledged: 0,
            rcv_mss: 536,
            quick_acks: match config.delayed_ack {
                crate::config::DelayedAck::Quick => QUICK_ACKS,
                crate::config::DelayedAck::Always => 0,
            },
            challenge: ChallengeLimit::default(),
            deadlines: Deadlines::default(),
            timer: None,
            probes: 0,
            timeouts: 0,
            stuck_since: None,
            nodelay: false,
            linger: None,
            keepalive: None,
            user_timeout: None,
            listed: false,
            parked: false,
            retransmissions: 0,
            bytes_sent: 0,
            bytes_received: 0,
        }
    }

    /// The position of a sequence number of ours: the SYN is 0.
    pub(crate) fn position(&self, seq: SeqNumber) -> u64 {
        let ahead = seq - self.snd_una;
        // What lies behind SND.UNA wraps to the upper half.
        self.scoreboard.una().wrapping_add_signed(i64::from(ahead as i32))
    }

    /// The sequence number of a position.
    pub(crate) fn sequence(&self, position: u64) -> SeqNumber {
        self.snd_una + (position.wrapping_sub(self.scoreboard.una())) as u32
    }

    /// The position behind the last byte the application wrote.
    pub(crate) fn data_end(&self) -> u64 {
        self.send.end() + 1
    }

    /// Whether our FIN was sent.
    pub(crate) fn fin_sent(&self) -> bool {
        self.fin_queued && self.position(self.snd_nxt) > self.data_end()
    }

    /// Bytes outstanding, SYN and FIN included.
    pub(crate) fn flight(&self) -> u32 {
        self.snd_nxt - self.snd_una
    }

    /// Whether a loss is being recovered from.
    pub(crate) fn is_recovering(&self) -> bool {
        self.scoreboard.phase() != Phase::Open
    }

    /// What is left of the window we advertised (RCV.WND).
    pub(crate) fn rcv_wnd(&self) -> u32 {
        // A FIN at the very end of the window is one beyond.
        if self.rcv_adv.after(self.rcv_nxt) { self.rcv_adv - self.rcv_nxt } else { 0 }
    }

    /// Bytes written that were never sent.
    pub(crate) fn unsent(&self) -> u64 {
        self.data_end().saturating_sub(self.position(self.snd_nxt).max(1))
    }

    /// The clock of our timestamps: milliseconds and an offset (RFC 7323 section 5.4).
    pub(crate) fn timestamp(&self, now: Instant) -> u32 {
        (now.as_millis() as u32).wrapping_add(self.ts_offset)
    }

    /// Options of every segment but a SYN.
    pub(crate) fn options(&self, now: Instant) -> TcpOptions {
        let mut options = TcpOptions::default();
        if self.timestamps {
            options.timestamps = Some(Timestamps { value: self.timestamp(now), echo: self.ts_recent });
        }
        if self.sack && self.receive.has_gaps() {
            for (start, end) in self.receive.gaps_for_sack(self.pending.reports.into()) {
                options.sack.push(self.rcv_nxt + start, self.rcv_nxt + end);
            }
        }
        options
    }

    /// Bytes the application may still have sent to it.
    pub(crate) fn window(&self, config: &TcpConfig) -> u32 {
        let memory = config.receive_memory().saturating_sub(self.receive.held());
        let room = config.receive_buffer.saturating_sub(self.receive.readable());
        room.min(memory) as u32
    }

    /// The window field for a segment sent now, and the right edge it promises.
    ///
    /// RFC 9293 section 3.8.6.2.2: the edge moves by a full segment or half the buffer, or not at all. It never
    /// goes back, scale rounding included.
    pub(crate) fn advertise(&self, config: &TcpConfig) -> (u16, SeqNumber) {
        let limit = u32::from(u16::MAX) << self.rcv_scale;
        let room = (self.window(config).min(limit) >> self.rcv_scale) << self.rcv_scale;
        let promised = self.rcv_wnd();
        let step = u32::from(self.snd_mss).min(config.receive_buffer as u32 / 2);
        let window = if room >= promised.saturating_add(step) {
            room
        } else {
            promised.next_multiple_of(1 << self.rcv_scale).min(limit)
        };
        ((window >> self.rcv_scale) as u16, self.rcv_nxt + window)
    }

    /// Whether reading has opened the window so far that the peer should hear of it (RFC 9293 section 3.8.6.2.2).
    pub(crate) fn wants_window_update(&self, config: &TcpConfig) -> bool {
        if !self.state.may_receive() || !self.state.is_synchronized() {
            return false;
        }
        let (_, edge) = self.advertise(config);
        let promised = self.rcv_wnd();
        let gain = if edge.after(self.rcv_adv) { edge - self.rcv_adv } else { 0 };
        // Without scaling, the field is the limit.
        let buffer = (config.receive_buffer as u32).min(u32::from(u16::MAX) << self.rcv_scale);
        // A sender with half the buffer ahead of it needs no telling.
        gain > 0
            && (gain >= buffer / 4
                || promised < buffer / 4 && gain >= u32::from(self.snd_mss).min(buffer / 2))
    }

    /// What calls on a connection that is over answer.
    pub(crate) fn end_error(&self) -> SocketError {
        self.error.unwrap_or(SocketError::BrokenPipe)
    }

    /// Starts or moves the retransmission timer (RFC 6298 section 5).
    pub(crate) fn start_retransmit(&mut self, now: Instant, config: &TcpConfig) {
        self.deadlines.persist = None;
        self.deadlines.retransmit = Some(self.by_user_timeout(now + self.rtt.rto(config)));
    }

    /// The user timeout is met to the moment, whatever the retransmission timer says (RFC 5482 section 3).
    pub(crate) fn by_user_timeout(&self, at: Instant) -> Instant {
        let limit = self.user_timeout.zip(self.stuck_since).map(|(timeout, since)| since + timeout);
        limit.map_or(at, |limit| limit.min(at))
    }

    /// Our end.
    pub(crate) fn local(&self) -> SocketAddr {
        self.tuple.local()
    }

    /// The other end.
    pub(crate) fn remote(&self) -> SocketAddr {
        self.tuple.remote()
    }
}

/// The MSS option for an MTU: without IP and TCP options (RFC 6691).
pub(crate) fn mss_for(mtu: usize) -> u16 {
    mtu.saturating_sub(40).clamp(1, 65_495) as u16
}

/// The window of a SYN: never scaled (RFC 7323 section 2.2).
pub(crate) fn syn_window(config: &TcpConfig) -> u16 {
    config.receive_buffer.min(usize::from(u16::MAX)) as u16
}

/// The smallest scale that lets a buffer's size be advertised (RFC 7323 section 2).
pub(crate) fn scale_for(buffer: usize) -> u8 {
    (0..14).find(|scale| buffer >> scale <= usize::from(u16::MAX)).unwrap_or(14)
}
