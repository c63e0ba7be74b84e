//! Frames made by hand: what a scenario puts before a host, right or wrong on purpose.

use std::net::Ipv4Addr;

use sunstar_packet::Medium;
use sunstar_wire::arp::{ArpOperation, ArpPacket};
use sunstar_wire::checksum::{Accumulator, checksum};
use sunstar_wire::ethernet::EthernetHeader;
use sunstar_wire::icmpv4::Icmpv4Message;
use sunstar_wire::ipv4::{Ipv4Header, Ipv4Option};
use sunstar_wire::tcp::TcpHeader;
use sunstar_wire::udp::UdpHeader;
use sunstar_wire::{Ecn, EtherType, MacAddress, Protocol};

/// From whom to whom a frame goes. Its fields may be changed: a liar sets them as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What carries it.
    pub medium: Medium,
    /// The station it comes from.
    pub source_mac: [u8; 6],
    /// The station it goes to.
    pub destination_mac: [u8; 6],
    /// The address it comes from.
    pub source: Ipv4Addr,
    /// The address it goes to.
    pub destination: Ipv4Addr,
    /// Hops left.
    pub ttl: u8,
    /// Its ECN bits.
    pub ecn: u8,
}

impl Envelope {
    /// A frame with this payload behind its link header, if there is one.
    pub fn frame(&self, ether_type: EtherType, payload: &[u8]) -> Vec<u8> {
        if self.medium == Medium::Ip {
            return payload.to_vec();
        }
        let header = EthernetHeader {
            destination: MacAddress(self.destination_mac),
            source: MacAddress(self.source_mac),
            vlan: None,
            ether_type,
        };
        let mut frame = vec![0; header.header_len()];
        let _ = header.emit(&mut frame);
        frame.extend_from_slice(payload);
        frame
    }

    /// An IPv4 packet without options, in its frame.
    pub fn ip(&self, protocol: Protocol, payload: &[u8]) -> Vec<u8> {
        self.ip_with(protocol, payload, |_| {})
    }

    /// The same with the header changed before its checksum is made.
    pub fn ip_with(
        &self,
        protocol: Protocol,
        payload: &[u8],
        change: impl FnOnce(&mut Ipv4Header),
    ) -> Vec<u8> {
        let mut header = Ipv4Header {
            dscp: 0,
            ecn: Ecn::from_bits(self.ecn),
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: self.ttl,
            protocol,
            source: self.source,
            destination: self.destination,
            header_len: Ipv4Header::LEN as u8,
            total_len: (Ipv4Header::LEN + payload.len()) as u16,
        };
        change(&mut header);
        let mut packet = vec![0; Ipv4Header::LEN];
        let _ = header.emit(&mut packet);
        packet.extend_from_slice(payload);
        self.frame(EtherType::IPV4, &packet)
    }

    /// An IPv4 packet with options (whole words of four bytes), in its frame.
    pub fn ip_with_options(&self, protocol: Protocol, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let len = Ipv4Header::LEN + options.len();
        let mut packet = vec![0; len];
        packet[..Ipv4Header::LEN].copy_from_slice(&self.bare_header(protocol, len + payload.len()));
        packet[0] = 0x40 | (len / 4) as u8;
        packet[Ipv4Header::LEN..].copy_from_slice(options);
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend_from_slice(payload);
        self.frame(EtherType::IPV4, &packet)
    }

    /// An IPv4 packet of this envelope's, cut as a router does before a link of this MTU.
    pub fn cut(&self, frame: &[u8], mtu: usize, identification: u16) -> Vec<Vec<u8>> {
        let at = if self.medium == Medium::Ip { 0 } else { 14 };
        let (protocol, payload) = (Protocol(frame[at + 9]), &frame[at + Ipv4Header::LEN..]);
        let size = (mtu - Ipv4Header::LEN) / 8 * 8;
        let pieces = payload.chunks(size).enumerate();
        let fragment = |(number, piece): (usize, &[u8])| {
            self.ip_with(protocol, piece, |header| {
                header.identification = identification;
                header.dont_fragment = false;
                header.fragment_offset = (number * size) as u16;
                header.more_fragments = number * size + piece.len() < payload.len();
            })
        };
        pieces.map(fragment).collect()
    }

    /// A header without its checksum.
    fn bare_header(&self, protocol: Protocol, total_len: usize) -> [u8; Ipv4Header::LEN] {
        let mut header = [0; Ipv4Header::LEN];
        (header[0], header[8], header[9]) = (0x45, self.ttl, protocol.0);
        header[2..4].copy_from_slice(&(total_len as u16).to_be_bytes());
        header[12..16].copy_from_slice(&self.source.octets());
        header[16..20].copy_from_slice(&self.destination.octets());
        header
    }

    /// The sum over a transport packet and its pseudo-header, to be written where `payload` has zeros.
    pub fn transport_checksum(&self, protocol: Protocol, payload: &[u8]) -> u16 {
        let mut sum = Accumulator::new();
        sum.add_pseudo_v4(self.source, self.destination, protocol, payload.len() as u32);
        sum.add(payload);
        sum.finish()
    }

    /// A UDP datagram.
    pub fn udp(&self, source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
        let length = (UdpHeader::LEN + payload.len()) as u16;
        let header = UdpHeader { source_port, destination_port, length, checksum: 0 };
        let mut datagram = vec![0; UdpHeader::LEN];
        let _ = header.emit(&mut datagram);
        datagram.extend_from_slice(payload);
        let sum = match self.transport_checksum(Protocol::UDP, &datagram) {
            0 => 0xffff,
            sum => sum,
        };
        datagram[UdpHeader::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());
        self.ip(Protocol::UDP, &datagram)
    }

    /// An ICMP message: type, code, the second word of its header, and what is behind it.
    pub fn icmp(&self, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, code, 0, 0];
        message.extend_from_slice(&rest);
        message.extend_from_slice(payload);
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.ip(Protocol::ICMP, &message)
    }

    /// An IGMP message of its own making ([`igmp`]), with the router alert that belongs to it.
    pub fn igmp(&self, message: &[u8]) -> Vec<u8> {
        self.ip_with_options(Protocol::IGMP, &Ipv4Option::ROUTER_ALERT_BYTES, message)
    }

    /// An ARP packet from this envelope's source, to the station it names; a question or an answer.
    pub fn arp(&self, request: bool, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
        let packet = ArpPacket {
            operation: if request { ArpOperation::Request } else { ArpOperation::Reply },
            sender_mac: MacAddress(self.source_mac),
            sender_address: sender,
            target_mac: if request { MacAddress::ZERO } else { MacAddress(self.destination_mac) },
            target_address: target,
        };
        let mut bytes = vec![0; ArpPacket::LEN];
        let _ = packet.emit(&mut bytes);
        self.frame(EtherType::ARP, &bytes)
    }

    /// The same to every station.
    pub fn to_everyone(self) -> Self {
        Self { destination_mac: [0xff; 6], ..self }
    }

    /// The same from another address.
    pub fn from_address(self, source: Ipv4Addr) -> Self {
        Self { source, ..self }
    }

    /// The same to another address.
    pub fn to_address(self, destination: Ipv4Addr) -> Self {
        Self { destination, ..self }
    }
}

/// An IGMP message: its type, its second byte, its group, and what is behind it, with its checksum.
pub fn igmp(kind: u8, code: u8, group: Ipv4Addr, behind: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0][..], &group.octets(), behind].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// Makes the checksums of an Ethernet frame with an IPv4 packet right, as far as there is anything to sum. A lie that is
/// dropped for its checksum reaches nobody.
pub fn mend_checksums(frame: &mut [u8]) {
    let packet = frame.get_mut(EthernetHeader::LEN..).filter(|packet| packet.len() >= Ipv4Header::LEN);
    let Some(packet) = packet else { return };
    let header_len = usize::from(packet[0] & 15) * 4;
    if header_len < Ipv4Header::LEN || packet.len() < header_len {
        return;
    }
    packet[10..12].fill(0);
    let sum = checksum(&packet[..header_len]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]])).min(packet.len());
    let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    let (source, destination, protocol) = (address(12), address(16), Protocol(packet[9]));
    let field = match protocol {
        Protocol::TCP => TcpHeader::CHECKSUM_OFFSET,
        Protocol::UDP => UdpHeader::CHECKSUM_OFFSET,
        Protocol::ICMP | Protocol::IGMP => Icmpv4Message::CHECKSUM_OFFSET,
        _ => return,
    };
    let Some(payload) = packet.get_mut(header_len..total).filter(|payload| payload.len() >= field + 2) else {
        return;
    };
    payload[field..field + 2].fill(0);
    let mut sum = Accumulator::new();
    if matches!(protocol, Protocol::TCP | Protocol::UDP) {
        sum.add_pseudo_v4(source, destination, protocol, payload.len() as u32);
    }
    sum.add(payload);
    let sum = sum.finish();
    payload[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}
