//! Readings of all sockets at once, for listings. Each walks an index of what there is, so that a few sockets are soon
//! found where there once were many; whoever lists takes no more than it can use.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::TcpInfo;
use crate::shard::Shard;

/// How many sockets of each kind a shard has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketCounts {
    /// TCP connections, in whatever state, those in TIME-WAIT apart.
    pub connections: usize,
    /// Connections remembered in TIME-WAIT.
    pub time_wait: usize,
    /// TCP listeners.
    pub listeners: usize,
    /// UDP sockets.
    pub udp: usize,
    /// Echo sockets.
    pub echo: usize,
}

/// A reading of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerInfo {
    /// Where it listens.
    pub local: SocketAddr,
    /// Complete connections that wait to be accepted.
    pub queued: usize,
    /// How many of those may wait at most.
    pub backlog: usize,
    /// Connections in SYN-RECEIVED.
    pub half_open: usize,
}

/// A reading of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpInfo {
    /// Our end.
    pub local: SocketAddr,
    /// The other end of a connected socket.
    pub remote: Option<SocketAddr>,
    /// Bytes of credit taken by datagrams that have not left.
    pub send_queue: usize,
    /// Bytes of memory that datagrams hold which were not read.
    pub receive_queue: usize,
    /// How many datagrams, or batches of them, were not read.
    pub datagrams: usize,
}

/// A reading of an echo socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoInfo {
    /// What its requests are known by.
    pub identifier: u16,
    /// Requests that have not left.
    pub requests: usize,
    /// Replies that were not read.
    pub replies: usize,
}

impl Shard {
    /// How many sockets of each kind there are; no table is walked.
    pub fn socket_counts(&self) -> SocketCounts {
        SocketCounts {
            connections: self.tcp.connections.len(),
            time_wait: self.tcp.remembered(),
            listeners: self.tcp.listeners.len(),
            udp: self.udp.sockets.len(),
            echo: self.icmp.sockets.len(),
        }
    }

    /// Readings of the connections that are not over, in no order.
    pub fn tcp_list(&self) -> impl Iterator<Item = TcpInfo> {
        self.tcp.listed().map(|connection| self.info(connection))
    }

    /// Readings of the listeners, in no order.
    pub fn tcp_listeners(&self) -> impl Iterator<Item = ListenerInfo> {
        self.tcp.listening().map(|listener| ListenerInfo {
            local: listener.local,
            queued: listener.queue.len(),
            backlog: listener.backlog,
            half_open: listener.half_open.len(),
        })
    }

    /// Readings of the UDP sockets, in no order.
    pub fn udp_sockets(&self) -> impl Iterator<Item = UdpInfo> {
        self.udp.listed().map(|socket| socket.info())
    }

    /// Readings of the echo sockets, in the order of their identifiers.
    pub fn echo_sockets(&self) -> impl Iterator<Item = EchoInfo> {
        self.icmp.listed().map(|socket| socket.info())
    }
}
