//! Answers without a connection: RSTs, and ACKs from TIME-WAIT. Short descriptors in a capped queue, built when
//! the device asks.

use std::collections::VecDeque;
use std::net::SocketAddr;

use sunstar_packet::{HEADROOM, Packet, Pool, SizeClass};
use sunstar_wire::tcp::{OptionOrder, SeqNumber, TcpFlags, TcpHeader, TcpOptions, Timestamps};

use crate::ip::{InterfaceId, Path};

#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) path: Path,
    pub(super) sequence: SeqNumber,
    pub(super) acknowledgement: Option<SeqNumber>,
    pub(super) reset: bool,
    pub(super) window: u16,
    pub(super) timestamps: Option<Timestamps>,
}

impl Reply {
    pub(super) fn build(&self, pool: &Pool, order: OptionOrder) -> Option<Packet> {
        let mut flags = if self.reset { TcpFlags::RST } else { TcpFlags::NONE };
        if self.acknowledgement.is_some() {
            flags |= TcpFlags::ACK;
        }
        let options = TcpOptions { timestamps: self.timestamps, ..TcpOptions::default() };
        let header_len = TcpHeader::LEN + options.emitted_len(order);
        let header = TcpHeader {
            source_port: self.local.port(),
            destination_port: self.remote.port(),
            sequence: self.sequence,
            acknowledgement: self.acknowledgement.unwrap_or(SeqNumber(0)),
            flags,
            window: self.window,
            checksum: 0,
            urgent: 0,
            header_len: header_len as u8,
        };
        let mut packet = Packet::new(pool.allocate(SizeClass::Small, HEADROOM)?);
        let room = packet.prepend(header_len)?;
        header.emit(room).ok()?;
        options.emit(order, &mut room[TcpHeader::LEN..]).ok()?;
        Some(packet)
    }
}

/// Replies that wait for a device, for each interface.
#[derive(Debug, Default)]
pub(super) struct Replies {
    queues: [VecDeque<Reply>; InterfaceId::COUNT],
}

impl Replies {
    /// Replies that wait at most.
    const MAX: usize = 256;

    /// False if the queue is full.
    pub(super) fn push(&mut self, reply: Reply) -> bool {
        let queue = &mut self.queues[usize::from(reply.path.interface.0)];
        let room = queue.len() < Self::MAX;
        if room {
            queue.push_back(reply);
        }
        room
    }

    /// How many wait for each device, and how many may.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (usize, usize)> {
        self.queues.iter().map(|queue| (queue.len(), Self::MAX))
    }

    pub(super) fn pop(&mut self, interface: InterfaceId) -> Option<Reply> {
        self.queues[usize::from(interface.0)].pop_front()
    }
}
