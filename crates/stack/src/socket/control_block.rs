//! A connection's control block as plain data (RFC 9293 section 3.3.1 and its companions), for whoever judges a stack
//! from outside: a simulator, a debugger. Nothing in it is rounded or summed up; [`TcpInfo`](super::TcpInfo) is what
//! users read.

use std::net::SocketAddr;

use sunstar_wire::tcp::SeqNumber;

use super::SocketError;
use crate::shard::Shard;
use crate::tcp::{CongestionControl, Connection, ConnectionKey, State};
use crate::time::{Duration, Instant};

/// What a connection is, at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlBlock {
    /// What it is called.
    pub key: ConnectionKey,
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Its state.
    pub state: State,
    /// Whether an application holds it.
    pub owned: bool,
    /// Whether it waits in a listener's queue, or on its way there.
    pub listening: bool,
    /// Why it ended.
    pub error: Option<SocketError>,

    /// Our first sequence number.
    pub iss: SeqNumber,
    /// The oldest that is not acknowledged.
    pub snd_una: SeqNumber,
    /// The next to be sent.
    pub snd_nxt: SeqNumber,
    /// The peer's window, in bytes.
    pub snd_wnd: u32,
    /// Bytes written and not acknowledged.
    pub queued: usize,
    /// Bytes written and never sent.
    pub unsent: u64,
    /// Whether our FIN is to follow them.
    pub fin_queued: bool,
    /// Whether it was sent.
    pub fin_sent: bool,
    /// Payload bytes of a full segment without options: what the peer takes, and the path.
    pub snd_mss: u16,
    /// Payload bytes of a full segment with the options it has now.
    pub segment_size: usize,

    /// The peer's first sequence number.
    pub irs: SeqNumber,
    /// The next expected.
    pub rcv_nxt: SeqNumber,
    /// The right edge advertised.
    pub rcv_adv: SeqNumber,
    /// The peer's timestamp to be echoed, with timestamps.
    pub ts_recent: Option<u32>,
    /// Bytes received in order and not read.
    pub readable: usize,
    /// Whether the peer's FIN was received in order.
    pub fin_received: bool,
    /// What was received out of order: ranges, from the nearest on.
    pub early: Vec<(SeqNumber, SeqNumber)>,

    /// The congestion window, in bytes.
    pub cwnd: u32,
    /// Bytes taken to be in the network (RFC 6675).
    pub pipe: u64,
    /// Whether it recovers from a loss.
    pub recovering: bool,
    /// Whether a segment is being probed with that is larger than the path is known to take.
    pub probing: bool,
    /// Where the segment ends that is being timed (RFC 6298 section 3).
    pub timed: Option<SeqNumber>,
    /// Smoothed round-trip time.
    pub srtt: Option<Duration>,
    /// The retransmission timeout now, backed off.
    pub rto: Duration,

    /// When data is sent again.
    pub retransmit: Option<Instant>,
    /// When a closed window is looked at.
    pub persist: Option<Instant>,
    /// The earliest of all its deadlines.
    pub earliest: Option<Instant>,
    /// When its timer fires; no later than `earliest`.
    pub armed: Option<Instant>,
    /// Whether it stands on the list of those that would send now.
    pub listed: bool,
    /// Whether it waits for its next hop to answer.
    pub parked: bool,
    /// Segments sent again.
    pub retransmissions: u64,
    /// Bytes of buffer memory that it holds to be sent, and received.
    pub held: (usize, usize),
}

impl Shard {
    /// The control blocks of all connections, those in TIME-WAIT apart, in no order.
    pub fn control_blocks(&self) -> impl Iterator<Item = ControlBlock> {
        self.tcp.connections.iter().map(|(key, connection)| control_block(key, connection, self.config()))
    }
}

fn control_block(
    key: ConnectionKey,
    connection: &Connection,
    config: &crate::config::ShardConfig,
) -> ControlBlock {
    let early = connection.receive.early().map(|(start, end)| {
        let at = |ahead| connection.rcv_nxt + ahead;
        (at(start), at(end))
    });
    ControlBlock {
        key,
        local: connection.local(),
        remote: connection.remote(),
        state: connection.state,
        owned: connection.owned,
        listening: connection.listener.is_some(),
        error: connection.error,
        iss: connection.iss,
        snd_una: connection.snd_una,
        snd_nxt: connection.snd_nxt,
        snd_wnd: connection.snd_wnd,
        queued: connection.send.len(),
        unsent: connection.unsent(),
        fin_queued: connection.fin_queued,
        fin_sent: connection.fin_sent(),
        snd_mss: connection.snd_mss,
        segment_size: connection.segment_size(),
        irs: connection.irs,
        rcv_nxt: connection.rcv_nxt,
        rcv_adv: connection.rcv_adv,
        ts_recent: connection.timestamps.then_some(connection.ts_recent),
        readable: connection.receive.readable(),
        fin_received: connection.fin_received,
        early: early.collect(),
        cwnd: connection.congestion.window(),
        pipe: connection.scoreboard.pipe(),
        recovering: connection.is_recovering(),
        probing: connection.is_probing_the_path(),
        timed: connection.timed.map(|(end, _)| end),
        srtt: connection.rtt.srtt,
        rto: connection.rtt.rto(&config.tcp),
        retransmit: connection.deadlines.retransmit,
        persist: connection.deadlines.persist,
        earliest: connection.deadlines.earliest(),
        armed: connection.timer.map(|(_, at)| at),
        listed: connection.listed,
        parked: connection.parked,
        retransmissions: connection.retransmissions,
        held: (connection.send.held(), connection.receive.held()),
    }
}
