//! Fragmentation on transmit (RFC 791 section 3.2), for datagrams that may be cut: one fragment each time the device asks.
//!
//! The transport's checksum is in the datagram already. The bytes of its payload are not copied: a fragment is a fresh
//! header and a part of the buffers that the datagram refers to.

use sunstar_packet::{Departure, HEADROOM, MAX_FRAGMENTS, Packet, Pool, SizeClass, SlotId};
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::{EtherType, MacAddress};

use crate::core::Addressed;

/// Bytes of payload of every fragment but the last, where packets of `mtu` bytes pass: a multiple of eight.
pub(crate) fn fragment_size(mtu: usize) -> u16 {
    let room = mtu.saturating_sub(Ipv4Header::LEN).max(8);
    u16::try_from(room & !7).unwrap_or(!7)
}

/// A datagram that leaves in fragments, and is not through yet.
#[derive(Debug)]
pub(crate) struct Train {
    header: Ipv4Header,
    /// What has not left yet.
    rest: Packet,
    size: usize,
    offset: usize,
    destination: MacAddress,
    ether_type: EtherType,
}

impl Train {
    /// Begins to cut a datagram that is too large. It comes back as it is if it is not.
    #[expect(clippy::result_large_err, reason = "the packet itself comes back, by value as everywhere")]
    pub(crate) fn begin(addressed: Addressed) -> Result<Self, Addressed> {
        let Some(size) = addressed.packet.notes.fragment_size else { return Err(addressed) };
        let Ok(header) = Ipv4Header::parse(addressed.packet.head()) else { return Err(addressed) };
        let Addressed { packet: mut rest, destination, ether_type } = addressed;
        rest.trim_front(header.header_len.into());
        Ok(Self { header, rest, size: size.into(), offset: 0, destination, ether_type })
    }

    /// Whether all of it has left.
    pub(crate) fn is_through(&self) -> bool {
        self.rest.is_empty()
    }

    /// The slots it holds.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotId> {
        self.rest.slots()
    }

    /// What is to be told once the datagram is out of the way.
    pub(crate) fn departure(&self) -> Option<Departure> {
        self.rest.notes.departure
    }

    /// The next fragment; with the last one goes what is to be told when the datagram has left. `None` while the pool has
    /// no buffer.
    pub(crate) fn next(&mut self, pool: &Pool) -> Option<Addressed> {
        let header = pool.allocate(SizeClass::Small, HEADROOM)?;
        let part = self.rest.split_front(self.size, MAX_FRAGMENTS - 1, pool)?;
        let len = part.len();
        let mut packet = Packet::new(header);
        part.into_fragments().try_for_each(|piece| packet.push(piece)).ok()?;
        let fragment = Ipv4Header {
            more_fragments: !self.is_through(),
            fragment_offset: self.offset as u16,
            total_len: (Ipv4Header::LEN + len) as u16,
            ..self.header
        };
        fragment.emit(packet.prepend(Ipv4Header::LEN)?).ok()?;
        self.offset += len;
        if self.is_through() {
            packet.notes.departure = self.rest.notes.departure;
        }
        Some(Addressed { packet, destination: self.destination, ether_type: self.ether_type })
    }
}
