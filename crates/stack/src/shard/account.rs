//! Who holds what: every bounded queue and table of a shard, and every buffer slot with its owner. For whoever looks for a
//! leak, or judges a stack from outside; each reading walks everything there is.

use sunstar_packet::SlotId;

use super::Shard;
use crate::ip::icmp::EchoSocket;
use crate::neighbor::Neighbors;
use crate::tcp::READY_SLACK;

/// What holds buffer slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlotOwner {
    /// What applications have written to a TCP connection, and the peer has not acknowledged.
    TcpSend,
    /// What a TCP connection has received, and nobody has read.
    TcpReceive,
    /// Datagrams of a UDP socket.
    Udp,
    /// Echo requests, their replies, and ICMP answers that wait for a device.
    Icmp,
    /// Packets whose next hop is being asked for.
    Neighbor,
    /// Fragments of datagrams that are not complete.
    Reassembly,
    /// A datagram that leaves in fragments.
    Fragmentation,
    /// Packets on the loopback interface.
    Loopback,
}

/// How full a bounded queue or table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Which queue or table.
    pub what: &'static str,
    /// How much is in it.
    pub len: usize,
    /// How much there may be.
    pub cap: usize,
}

/// Bytes that the last datagram may take a socket beyond its credit.
const LAST_DATAGRAM: usize = 65_535;

impl Shard {
    /// Every slot that the shard holds, with its owner; one that several pieces lie in comes several times.
    pub fn holdings(&self) -> impl Iterator<Item = (SlotOwner, SlotId)> {
        let of = |owner: SlotOwner| move |slot: SlotId| (owner, slot);
        let connections = || self.tcp.connections.values();
        let core = &self.core;
        connections()
            .flat_map(|it| it.send.slots())
            .map(of(SlotOwner::TcpSend))
            .chain(connections().flat_map(|it| it.receive.slots()).map(of(SlotOwner::TcpReceive)))
            .chain(self.udp.sockets.values().flat_map(|it| it.slots()).map(of(SlotOwner::Udp)))
            .chain(self.icmp.slots().map(of(SlotOwner::Icmp)))
            .chain(core.neighbors.slots().map(of(SlotOwner::Neighbor)))
            .chain(core.reassembly.slots().map(of(SlotOwner::Reassembly)))
            .chain(core.trains.iter().flatten().flat_map(|it| it.slots()).map(of(SlotOwner::Fragmentation)))
            .chain(self.loopback.packets().0.flat_map(|it| it.slots()).map(of(SlotOwner::Loopback)))
    }

    /// Every bounded queue and table.
    pub fn fills(&self) -> impl Iterator<Item = Fill> {
        let config = &self.core.config;
        let fill = |what, len, cap| Fill { what, len, cap };
        let (neighbors, waiting, messages) = self.core.neighbors.waiting();
        let (looped, loopback) = self.loopback.packets();
        let tcp = &config.tcp;
        let sockets = self.tcp.connections.len()
            + self.tcp.listeners.len()
            + self.udp.sockets.len()
            + self.icmp.sockets.len();
        let of_shard = [
            fill("connections", self.tcp.connections.len(), tcp.max_connections),
            fill("connections in TIME-WAIT", self.tcp.remembered(), tcp.max_time_wait),
            fill("connections without an owner", self.tcp.orphans(), tcp.max_orphans),
            fill(
                "connections that may send",
                self.tcp.ready_len(),
                2 * self.tcp.connections.len() + READY_SLACK,
            ),
            fill("neighbours", neighbors, config.neighbor.max_entries),
            fill("packets that wait for a neighbour", waiting, config.neighbor.max_waiting),
            fill("ARP messages", messages, Neighbors::MAX_MESSAGES),
            fill("bytes of incomplete datagrams", self.core.reassembly.held(), config.reassembly.high),
            fill("incomplete datagrams", self.core.reassembly.len(), config.reassembly.max_datagrams),
            fill("path MTUs", self.core.path_mtus.len(), config.path_mtu.max_entries),
            fill("looped packets", looped.count(), loopback),
            fill(
                "sockets that are ready",
                self.core.ready.len(),
                sockets.max(self.core.ready.len().min(READY_SLACK)),
            ),
        ];
        let replies = self.tcp.replies_waiting().map(move |(len, cap)| fill("TCP replies", len, cap));
        let answers = self.icmp.waiting().map(move |len| fill("ICMP answers", len, config.icmp.max_queued));
        let listeners = self.tcp.listeners.values().flat_map(move |listener| {
            let half_open = listener.half_open.len();
            [
                fill("connections to be accepted", listener.queue.len(), listener.backlog),
                fill("half-open connections", half_open, tcp.syn_backlog),
            ]
        });
        let connections = self.tcp.connections.values().flat_map(move |connection| {
            let held = connection.receive.held();
            [
                fill("bytes written", connection.send.len(), tcp.send_buffer),
                fill("bytes to be read", connection.receive.readable(), tcp.receive_buffer),
                // The last payload taken may be a whole coalesced segment.
                fill("memory of bytes to be read", held, tcp.receive_memory() + 2 * LAST_DATAGRAM),
            ]
        });
        let datagrams = self.udp.listed().map(|socket| socket.info()).flat_map(move |info| {
            [
                fill("memory of datagrams received", info.receive_queue, config.udp.receive_buffer),
                fill(
                    "bytes of datagrams to be sent",
                    info.send_queue,
                    config.udp.send_buffer + LAST_DATAGRAM,
                ),
            ]
        });
        let echo = self.icmp.listed().map(|socket| socket.info()).flat_map(move |info| {
            [
                fill("echo requests", info.requests, EchoSocket::MAX_WAITING),
                fill("echo replies", info.replies, EchoSocket::MAX_WAITING),
            ]
        });
        of_shard
            .into_iter()
            .chain(replies)
            .chain(answers)
            .chain(listeners)
            .chain(connections)
            .chain(datagrams)
            .chain(echo)
    }
}
