//! The classifier: each protocol reads what it knows of a packet's flow key and asks the next one.
//!
//! It must see in a packet what a network card would, so it checks neither checksums nor whether the packet
//! makes sense: that is for the shard it is steered to. It reads only the bytes it is given (the first,
//! contiguous ones of a frame) and answers what is certain from them.

#[cfg(test)]
mod tests;

use core::net::{Ipv4Addr, Ipv6Addr};

use sunstar_packet::Medium;
use sunstar_wire::arp::{ArpOperation, ArpPacket};
use sunstar_wire::ethernet::EthernetHeader;
use sunstar_wire::{EtherType, IpAddress, Protocol};

use super::flow_key::FlowKey;

impl FlowKey {
    /// The flow key of a received frame, from its first contiguous bytes: 256 always suffice.
    ///
    /// Ports come from whole TCP segments and UDP datagrams over IPv4 or directly over IPv6. A fragment
    /// gives addresses only, the first one too; so do other protocols, and IPv6 with extension headers. An
    /// ICMPv4 error gives the flow of the packet it quotes, reversed; an ARP reply its sender's address. All
    /// else, and what ends before its addresses, is [`FlowKey::Unknown`].
    pub fn collect(frame: &[u8], medium: Medium) -> Self {
        let key = match medium {
            Medium::Ethernet => ethernet(frame),
            Medium::Ip => match frame.first().map(|byte| byte >> 4) {
                Some(4) => ipv4(frame),
                Some(6) => ipv6(frame),
                _ => None,
            },
        };
        key.unwrap_or(Self::Unknown)
    }

    /// The flow key of a datagram that was put together from fragments, from the first one's bytes: now it has its ports.
    pub(crate) fn of_whole(first: &[u8]) -> Self {
        Ipv4Packet::read(first).map_or(Self::Unknown, |packet| packet.key())
    }
}

fn ethernet(frame: &[u8]) -> Option<FlowKey> {
    let (header, header_len) = EthernetHeader::parse(frame).ok()?;
    let payload = frame.get(header_len..)?;
    match header.ether_type {
        EtherType::IPV4 => ipv4(payload),
        EtherType::IPV6 => ipv6(payload),
        EtherType::ARP => arp(payload),
        _ => None,
    }
}

fn arp(packet: &[u8]) -> Option<FlowKey> {
    let packet = ArpPacket::parse(packet).ok()?;
    // Any shard can answer a request; a reply is judged by the owner of the address it is about.
    (packet.operation == ArpOperation::Reply).then_some(FlowKey::Neighbor(packet.sender_address.into()))
}

fn ipv4(packet: &[u8]) -> Option<FlowKey> {
    let packet = Ipv4Packet::read(packet)?;
    Some(if packet.is_fragment() { packet.addresses() } else { packet.key() })
}

/// An IPv4 packet as far as it is certain.
struct Ipv4Packet<'a> {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: Protocol,
    /// Bytes of header and payload, by the header's word.
    total_len: usize,
    more_fragments: bool,
    /// In units of eight bytes.
    fragment_offset: u16,
    /// What follows the header and its options; nothing if the bytes end before.
    behind_header: &'a [u8],
    header_len: usize,
}

impl<'a> Ipv4Packet<'a> {
    /// Nothing, if this is no IPv4 header (RFC 791 section 3.1) or ends before its addresses.
    fn read(packet: &'a [u8]) -> Option<Self> {
        let &[version_and_len, _, l0, l1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            packet.first_chunk()?;
        let header_len = usize::from(version_and_len & 0x0f) * 4;
        if version_and_len >> 4 != 4 || header_len < 20 {
            return None;
        }
        Some(Self {
            source: Ipv4Addr::new(s0, s1, s2, s3),
            destination: Ipv4Addr::new(d0, d1, d2, d3),
            protocol: Protocol(protocol),
            total_len: usize::from(u16::from_be_bytes([l0, l1])),
            more_fragments: f0 & 0x20 != 0,
            fragment_offset: u16::from_be_bytes([f0 & 0x1f, f1]),
            behind_header: packet.get(header_len..).unwrap_or_default(),
            header_len,
        })
    }

    fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// The payload, without what a short Ethernet frame is padded with.
    fn payload(&self) -> &'a [u8] {
        let len = self.total_len.saturating_sub(self.header_len);
        self.behind_header.get(..len).unwrap_or(self.behind_header)
    }

    /// The key of a packet that is whole.
    fn key(&self) -> FlowKey {
        let key = if self.protocol == Protocol::ICMP {
            icmpv4(self)
        } else {
            ports(self.protocol, self.source.into(), self.destination.into(), self.payload())
        };
        key.unwrap_or(self.addresses())
    }

    fn addresses(&self) -> FlowKey {
        FlowKey::Addresses { source: self.source.into(), destination: self.destination.into() }
    }
}

fn ipv6(packet: &[u8]) -> Option<FlowKey> {
    // RFC 8200 section 3: version, class and label; payload length, next header, hop limit; addresses.
    let (fixed, behind) = packet.split_first_chunk::<8>()?;
    let (source, behind) = behind.split_first_chunk::<16>()?;
    let (destination, behind) = behind.split_first_chunk::<16>()?;
    let &[version_and_class, _, _, _, l0, l1, next_header, _] = fixed;
    if version_and_class >> 4 != 6 {
        return None;
    }
    let (source, destination) = (Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into());
    let payload_len = usize::from(u16::from_be_bytes([l0, l1]));
    let payload = behind.get(..payload_len).unwrap_or(behind);
    let key = ports(Protocol(next_header), source, destination, payload);
    Some(key.unwrap_or(FlowKey::Addresses { source, destination }))
}

/// The key with ports, which TCP (RFC 9293 section 3.1) and UDP (RFC 768) have in their first four bytes.
fn ports(protocol: Protocol, source: IpAddress, destination: IpAddress, payload: &[u8]) -> Option<FlowKey> {
    if !matches!(protocol, Protocol::TCP | Protocol::UDP) {
        return None;
    }
    let &[s0, s1, d0, d1] = payload.first_chunk()?;
    let (source_port, destination_port) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    Some(FlowKey::Ports { protocol, source, destination, source_port, destination_port })
}

/// An echo, or the flow that an error is about; nothing for other messages.
fn icmpv4(packet: &Ipv4Packet<'_>) -> Option<FlowKey> {
    let message = packet.payload();
    match *message.first()? {
        // RFC 1122 section 3.2.2: the errors, which quote a packet behind their eight bytes.
        3 | 4 | 5 | 11 | 12 => quoted(message.get(8..)?).map(FlowKey::reversed),
        _ => echo(packet, message),
    }
}

/// The key of an echo (RFC 792); nothing for other messages.
fn echo(packet: &Ipv4Packet<'_>, message: &[u8]) -> Option<FlowKey> {
    let &[kind, _, _, _, i0, i1] = message.first_chunk()?;
    let reply = match kind {
        0 => true,
        8 => false,
        _ => return None,
    };
    let (source, destination) = (packet.source.into(), packet.destination.into());
    Some(FlowKey::Echo { source, destination, identifier: u16::from_be_bytes([i0, i1]), reply })
}

/// The flow of the packet an ICMP error quotes, as it was sent.
///
/// Other than in a received packet, a first fragment gives its ports: the socket that is to be told lives
/// where its whole packets go. The quote's length is what was quoted; its own field tells the whole packet's.
fn quoted(packet: &[u8]) -> Option<FlowKey> {
    let packet = Ipv4Packet::read(packet)?;
    let quote = packet.behind_header;
    let key = match packet.protocol {
        _ if packet.fragment_offset != 0 => None,
        Protocol::ICMP => echo(&packet, quote),
        protocol => ports(protocol, packet.source.into(), packet.destination.into(), quote),
    };
    Some(key.unwrap_or(packet.addresses()))
}
