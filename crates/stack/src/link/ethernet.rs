//! Ethernet II in and out (RFC 894, RFC 1122 section 2.3).

use sunstar_packet::{ChecksumNote, Medium, Packet};
use sunstar_wire::arp::ArpPacket;
use sunstar_wire::ethernet::EthernetHeader;
use sunstar_wire::{EtherType, ParseError};

use crate::core::{Addressed, Core};
use crate::ip::InterfaceId;
use crate::neighbor::ArpInput;

/// What is left of a frame for IP.
pub(crate) struct LinkInput {
    pub(crate) packet: Packet,
    /// Sent to more than one station.
    pub(crate) group: bool,
}

impl Core {
    /// Takes the link header off a received frame. IP packets come back; the rest is dealt with, or dropped
    /// and counted.
    pub(crate) fn link_input(&mut self, interface: InterfaceId, mut packet: Packet) -> Option<LinkInput> {
        let own = self.interfaces.get(interface);
        if own.medium == Medium::Ip {
            return Some(LinkInput { packet, group: false });
        }
        let (header, header_len) = match EthernetHeader::parse(packet.head()) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.count_parse_error(error);
                return None;
            }
        };
        if !own.listens_to(header.destination) {
            self.counters.drops.other_station += 1;
            return None;
        }
        if !header.source.is_unicast() {
            self.counters.drops.malformed += 1;
            return None;
        }
        packet.trim_front(header_len);
        shift_notes(&mut packet, -(header_len as i32));
        match header.ether_type {
            EtherType::IPV4 => Some(LinkInput { packet, group: header.destination.is_multicast() }),
            EtherType::ARP => {
                match ArpPacket::parse(packet.head()) {
                    Ok(arp) => self.arp_input(&ArpInput { interface, station: header.source, arp }),
                    Err(error) => self.count_parse_error(error),
                }
                None
            }
            _ => {
                self.counters.drops.unknown_ether_type += 1;
                None
            }
        }
    }

    /// Puts the link header on a packet. `None` if its first piece has no room for one, which no
    /// protocol here builds.
    pub(crate) fn link_output(&mut self, interface: InterfaceId, addressed: Addressed) -> Option<Packet> {
        let Addressed { mut packet, destination, ether_type } = addressed;
        let own = self.interfaces.get(interface);
        if own.medium == Medium::Ip {
            return Some(packet);
        }
        let header = EthernetHeader { destination, source: own.mac, vlan: None, ether_type };
        let room = packet.prepend(header.header_len());
        if room.and_then(|room| header.emit(room).ok()).is_none() {
            self.counters.drops.no_buffer += 1;
            self.departed.extend(packet.notes.departure);
            return None;
        }
        shift_notes(&mut packet, header.header_len() as i32);
        Some(packet)
    }

    pub(crate) fn count_parse_error(&mut self, error: ParseError) {
        let drops = &mut self.counters.drops;
        match error {
            ParseError::Truncated => drops.truncated += 1,
            ParseError::BadChecksum => drops.bad_checksum += 1,
            _ => drops.malformed += 1,
        }
    }
}

/// Keeps the notes' offsets right when a header goes on or comes off.
fn shift_notes(packet: &mut Packet, by: i32) {
    let shifted = |at: u16| (i32::from(at) + by).clamp(0, i32::from(u16::MAX)) as u16;
    if let ChecksumNote::Partial { start, .. } = &mut packet.notes.checksum {
        *start = shifted(*start);
    }
    if let Some(segmentation) = &mut packet.notes.segmentation {
        segmentation.header_len = shifted(segmentation.header_len);
    }
}
