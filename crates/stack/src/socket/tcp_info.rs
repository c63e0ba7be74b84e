//! Readings of connections (STATUS, RFC 9293 section 3.9.1.6).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::SocketError;
use crate::shard::Shard;
use crate::tcp::{CongestionControl, Connection, ConnectionKey, State};
use crate::time::{Duration, Instant};

/// A reading of a connection, in the field's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpInfo {
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Its state.
    pub state: State,
    /// Bytes written that the peer has not acknowledged.
    pub send_queue: usize,
    /// Bytes received that were not read.
    pub receive_queue: usize,
    /// Bytes of buffer memory it holds out of use.
    pub memory: usize,
    /// Smoothed round-trip time, in microseconds; `None` before the first sample.
    pub srtt_us: Option<u64>,
    /// Its variation, in microseconds.
    pub rttvar_us: u64,
    /// The least round trip seen, in microseconds.
    pub min_rtt_us: Option<u64>,
    /// The retransmission timeout now, in microseconds.
    pub rto_us: u64,
    /// How often the timeout was doubled since the last sample.
    pub backoff: u32,
    /// The congestion window, in bytes.
    pub cwnd: u32,
    /// The slow-start threshold, in bytes.
    pub ssthresh: u32,
    /// Bytes outstanding.
    pub flight: u32,
    /// The peer's window, in bytes.
    pub snd_wnd: u32,
    /// Our window as last advertised, in bytes.
    pub rcv_wnd: u32,
    /// Payload bytes of a full segment without options.
    pub mss: u16,
    /// The peer's window scale.
    pub snd_scale: u8,
    /// Our window scale.
    pub rcv_scale: u8,
    /// Whether both ends use timestamps.
    pub timestamps: bool,
    /// Whether both ends use SACK.
    pub sack: bool,
    /// Segments sent again.
    pub retransmissions: u64,
    /// Payload bytes sent, each counted once.
    pub bytes_sent: u64,
    /// Payload bytes received in order.
    pub bytes_received: u64,
    /// What it waits for.
    pub timers: TcpTimers,
}

/// When the timers of a connection are due, in microseconds from the reading on; `None` for one that does not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpTimers {
    /// Retransmission (RFC 6298).
    pub retransmit_us: Option<u64>,
    /// A look at a closed window (RFC 9293 section 3.8.6.1).
    pub persist_us: Option<u64>,
    /// The delayed ACK (RFC 9293 section 3.8.6.3).
    pub delayed_ack_us: Option<u64>,
    /// The next look whether a silent peer is still there (RFC 9293 section 3.8.4).
    pub keepalive_us: Option<u64>,
    /// Another question for a next hop that did not answer.
    pub next_hop_us: Option<u64>,
    /// The end of a connection that no application owns.
    pub orphan_us: Option<u64>,
}

impl Shard {
    /// A reading of a connection.
    pub fn tcp_info(&self, key: ConnectionKey) -> Result<TcpInfo, SocketError> {
        Ok(self.info(self.connection(key)?))
    }

    /// A reading of every connection, those in TIME-WAIT apart.
    pub fn tcp_connections(&self) -> impl Iterator<Item = TcpInfo> {
        self.tcp.connections.values().map(|connection| self.info(connection))
    }

    /// Connections remembered in TIME-WAIT.
    pub fn tcp_time_wait(&self) -> usize {
        self.tcp.remembered()
    }

    pub(super) fn info(&self, connection: &Connection) -> TcpInfo {
        let rtt = &connection.rtt;
        let micros = |duration: Duration| duration.as_micros() as u64;
        TcpInfo {
            local: connection.local(),
            remote: connection.remote(),
            state: connection.state,
            send_queue: connection.send.len(),
            receive_queue: connection.receive.readable(),
            memory: connection.send.held() + connection.receive.held(),
            srtt_us: rtt.srtt.map(micros),
            rttvar_us: micros(rtt.rttvar),
            min_rtt_us: rtt.srtt.map(|_| micros(rtt.min)),
            rto_us: micros(rtt.rto(&self.core.config.tcp)),
            backoff: rtt.backoff(),
            cwnd: connection.congestion.window(),
            ssthresh: connection.congestion.ssthresh(),
            flight: connection.flight(),
            snd_wnd: connection.snd_wnd,
            rcv_wnd: connection.rcv_wnd(),
            mss: connection.snd_mss,
            snd_scale: connection.snd_scale,
            rcv_scale: connection.rcv_scale,
            timestamps: connection.timestamps,
            sack: connection.sack,
            retransmissions: connection.retransmissions,
            bytes_sent: connection.bytes_sent,
            bytes_received: connection.bytes_received,
            timers: self.timers(connection),
        }
    }

    fn timers(&self, connection: &Connection) -> TcpTimers {
        let deadlines = &connection.deadlines;
        let due = |deadline: Option<Instant>| {
            deadline.map(|deadline| deadline.saturating_since(self.core.now).as_micros() as u64)
        };
        TcpTimers {
            retransmit_us: due(deadlines.retransmit),
            persist_us: due(deadlines.persist),
            delayed_ack_us: due(deadlines.delayed_ack),
            keepalive_us: due(deadlines.keepalive),
            next_hop_us: due(deadlines.unpark),
            orphan_us: due(deadlines.orphan),
        }
    }
}
