//! Frames for a host, most of them nearly right: what the fuzzer makes up of their fields, put into bytes.

use arbitrary::Arbitrary;
use std::net::Ipv4Addr;
use sunstar_sim::craft::{Envelope, igmp, mend_checksums};
use sunstar_sim::tcp;
use sunstar_wire::tcp::TcpFlags;
use sunstar_wire::{EtherType, Protocol};

/// Bytes of a frame at most: those of an Ethernet with an MTU of 1,500.
const MAX_LEN: usize = 1_514;

/// The groups that may be joined.
pub const GROUPS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(239, 1, 2, 3),
    Ipv4Addr::new(239, 1, 2, 4),
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::new(232, 0, 0, 1),
];

/// Ports that sockets are bound to, and one that none is.
pub const PORTS: [u16; 4] = [53, 80, 5_353, 9];

/// A port out of [`PORTS`].
pub fn port(number: u8) -> u16 {
    PORTS[usize::from(number) % PORTS.len()]
}

/// A frame, as the fuzzer makes it up.
#[derive(Arbitrary, Clone, Debug)]
pub enum Frame {
    /// Any bytes, with checksums that are right, or as they are.
    Raw(Vec<u8>, bool),
    /// Any payload of an Ethernet frame for the host.
    Ethernet(u16, Vec<u8>),
    /// Any payload of an IPv4 packet, and its header's fields.
    Ip {
        /// The protocol.
        protocol: u8,
        /// Where it comes from, and whom it is for.
        addresses: (Address, Address),
        /// Flags and offset of the fragment, as they stand.
        fragment: u16,
        /// What the fragments of a datagram have in common.
        identification: u8,
        /// Hops left, and the congestion mark.
        ttl: (u8, u8),
        /// Words of options.
        options: Vec<[u8; 4]>,
        /// What is behind the header.
        payload: Vec<u8>,
    },
    /// A UDP datagram.
    Udp(Address, u8, u8, u16),
    /// A TCP segment, of numbers near the beginning of both streams.
    Tcp {
        /// The peer's port, and one of [`PORTS`].
        ports: (u8, u8),
        /// The control bits.
        flags: u8,
        /// Its numbers.
        numbers: (u16, u16),
        /// Bytes of payload.
        len: u8,
    },
    /// An ICMP message with a payload of its own.
    Icmp((u8, u8), [u8; 4], Vec<u8>),
    /// An ICMP error that quotes what the host has said last.
    Quote((u8, u8), [u8; 4]),
    /// An IGMP message.
    Igmp((u8, u8), u8, Vec<u8>),
    /// An ARP packet: whether it asks, whether all hear it, whose address is told, and which is asked for.
    Arp(bool, bool, Address, Address),
    /// What the host has said last, sent back with bytes changed.
    Mirror(bool, [(u8, u8); 3]),
}

/// An address on the link, or one that cannot be.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Address {
    /// The host's.
    Host,
    /// The peer's.
    Peer,
    /// Another in the same network.
    Near(u8),
    /// One of [`GROUPS`].
    Group(u8),
    /// The broadcast address of the network, or of all.
    Everyone(bool),
    /// Any.
    Any([u8; 4]),
}

impl Address {
    fn of(self, envelope: &Envelope) -> Ipv4Addr {
        match self {
            Self::Host => envelope.destination,
            Self::Peer => envelope.source,
            Self::Near(last) => Ipv4Addr::new(10, 0, 0, last),
            Self::Group(number) => GROUPS[usize::from(number) % GROUPS.len()],
            Self::Everyone(true) => Ipv4Addr::BROADCAST,
            Self::Everyone(false) => Ipv4Addr::new(10, 0, 0, 255),
            Self::Any(octets) => octets.into(),
        }
    }
}

impl Frame {
    /// Its bytes, from the envelope's source to its destination where it does not say otherwise. `said` is what the host has
    /// said last.
    pub fn bytes(&self, envelope: &Envelope, said: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = self.build(envelope, said.unwrap_or_default());
        bytes.truncate(MAX_LEN);
        bytes
    }

    fn build(&self, envelope: &Envelope, said: &[u8]) -> Vec<u8> {
        match self {
            Self::Raw(bytes, mended) => {
                let mut bytes = bytes.clone();
                if *mended {
                    mend_checksums(&mut bytes);
                }
                bytes
            }
            Self::Ethernet(ether_type, payload) => envelope.frame(EtherType(*ether_type), payload),
            Self::Ip { protocol, addresses, fragment, identification, ttl, options, payload } => {
                let (from, to) = (addresses.0.of(envelope), addresses.1.of(envelope));
                let envelope =
                    Envelope { ttl: ttl.0, ecn: ttl.1, ..envelope.from_address(from).to_address(to) };
                let options = options[..options.len().min(10)].concat();
                let payload = &payload[..payload.len().min(1_400)];
                let mut frame = envelope.ip_with_options(Protocol(*protocol), &options, payload);
                frame[19] = *identification;
                frame[20..22].copy_from_slice(&fragment.to_be_bytes());
                mend_checksums(&mut frame);
                frame
            }
            Self::Udp(to, source, destination, len) => {
                let envelope = envelope.to_address(to.of(envelope));
                envelope.udp(port(*source), port(*destination), &vec![7; usize::from(*len) % 1_473])
            }
            Self::Tcp { ports, flags, numbers, len } => {
                let flags = TcpFlags(u16::from(*flags));
                let segment = tcp().flags(flags).seq(numbers.0.into()).ack_number(numbers.1.into());
                let ports = (4_000 + u16::from(ports.0 % 4), port(ports.1));
                segment.len((*len).into()).frame(envelope, ports, 0, 0)
            }
            Self::Icmp((kind, code), rest, payload) => {
                envelope.icmp(*kind, *code, *rest, &payload[..payload.len().min(1_400)])
            }
            Self::Quote((kind, code), rest) => {
                let packet = said.get(14..).unwrap_or_default();
                envelope.icmp(*kind, *code, *rest, &packet[..packet.len().min(68)])
            }
            Self::Igmp((kind, code), group, behind) => {
                let group = Address::Group(*group).of(envelope);
                let envelope = Envelope { ttl: 1, ..envelope.to_address(group) };
                envelope.igmp(&igmp(*kind, *code, group, &behind[..behind.len().min(256)]))
            }
            Self::Arp(request, to_all, sender, target) => {
                let (sender, target) = (sender.of(envelope), target.of(envelope));
                let envelope = if *to_all { envelope.to_everyone() } else { *envelope };
                envelope.arp(*request, sender, target)
            }
            Self::Mirror(mended, changes) => {
                let mut bytes = said.to_vec();
                for (at, change) in changes {
                    if let Some(byte) = bytes.get_mut(usize::from(*at)) {
                        *byte ^= change;
                    }
                }
                // From where it went, to where it came from.
                if bytes.len() >= 14 + 20 {
                    let (to, from) = bytes.split_at_mut(6);
                    to.swap_with_slice(&mut from[..6]);
                    let (source, destination) = bytes[26..34].split_at_mut(4);
                    source.swap_with_slice(destination);
                }
                if *mended {
                    mend_checksums(&mut bytes);
                }
                bytes
            }
        }
    }
}
