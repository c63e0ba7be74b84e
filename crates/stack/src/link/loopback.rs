//! The loopback interface: a bounded ring from this shard to itself. Its packets have no link header, and
//! never were on a wire: partial checksums stay partial.

use std::collections::VecDeque;

use sunstar_packet::Packet;

/// Packets on their way from the shard to itself.
#[derive(Debug, Default)]
pub(crate) struct Loopback {
    ring: VecDeque<Packet>,
}

impl Loopback {
    /// Packets in the ring at most.
    const CAPACITY: usize = 64;

    pub(crate) fn room(&self) -> usize {
        Self::CAPACITY.saturating_sub(self.ring.len())
    }

    pub(crate) fn push(&mut self, mut packet: Packet) {
        packet.notes.departure = None;
        self.ring.push_back(packet);
    }

    pub(crate) fn pop(&mut self) -> Option<Packet> {
        self.ring.pop_front()
    }

    /// The packets in the ring, and how many there may be.
    pub(crate) fn packets(&self) -> (impl Iterator<Item = &Packet>, usize) {
        (self.ring.iter(), Self::CAPACITY)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}
