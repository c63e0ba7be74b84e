//! What of a packet decides its shard, in one form for IPv4 and IPv6.
//!
//! The parts and their order in the hash are those of the Microsoft RSS specification ("RSS Hashing Types"),
//! so that a network card given the same key and table steers as we do. Two kinds go beyond what a card can
//! tell: a neighbour's address, and the identifier of an ICMP echo.

use core::net::IpAddr;

use sunstar_wire::{IpAddress, Protocol};

use super::port_owners::PortSpace;
use super::toeplitz::Toeplitz;

/// What of a packet decides its shard, as the packet was, or will be, received: a flow's key names the peer
/// as source.
///
/// Both addresses of a key are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKey {
    /// A whole TCP segment or UDP datagram.
    Ports {
        /// TCP or UDP; not part of the hash.
        protocol: Protocol,
        /// Who sent it.
        source: IpAddress,
        /// Whom it is for.
        destination: IpAddress,
        /// The sender's port.
        source_port: u16,
        /// The receiver's port.
        destination_port: u16,
    },
    /// A fragment (any: all fragments of a datagram must meet), or a protocol without ports.
    Addresses {
        /// Who sent it.
        source: IpAddress,
        /// Whom it is for.
        destination: IpAddress,
    },
    /// An ICMP echo. Its hash is that of the addresses, but the identifier of a reply may have an owner.
    Echo {
        /// Who sent it.
        source: IpAddress,
        /// Whom it is for.
        destination: IpAddress,
        /// Tells the asker's questions from other askers'.
        identifier: u16,
        /// Whether this is the answer.
        reply: bool,
    },
    /// A neighbour and its link-layer address: what an ARP reply is about.
    Neighbor(IpAddress),
    /// Nothing that decides. The packet stays where it arrived.
    Unknown,
}

impl FlowKey {
    /// The key of the packets that go the other way.
    pub fn reversed(self) -> Self {
        match self {
            Self::Ports { protocol, source, destination, source_port, destination_port } => Self::Ports {
                protocol,
                source: destination,
                destination: source,
                source_port: destination_port,
                destination_port: source_port,
            },
            Self::Addresses { source, destination } => {
                Self::Addresses { source: destination, destination: source }
            }
            Self::Echo { source, destination, identifier, reply } => {
                Self::Echo { source: destination, destination: source, identifier, reply: !reply }
            }
            Self::Neighbor(_) | Self::Unknown => self,
        }
    }

    /// Whom the packet is for, if it says so.
    pub(crate) fn destination(&self) -> Option<IpAddress> {
        match *self {
            Self::Ports { destination, .. }
            | Self::Addresses { destination, .. }
            | Self::Echo { destination, .. } => Some(destination),
            Self::Neighbor(_) | Self::Unknown => None,
        }
    }

    /// The hash of source address, destination address, source port and destination port, as far as the key
    /// has them, in network byte order. Nothing for [`FlowKey::Unknown`].
    pub fn hash(&self, toeplitz: &Toeplitz) -> Option<u32> {
        // Bits that are not set add nothing to the hash: no ports are the same as ports of zero.
        let (source, destination, ports) = match *self {
            Self::Ports { source, destination, source_port, destination_port, .. } => {
                (source, destination, u32::from(source_port) << 16 | u32::from(destination_port))
            }
            Self::Addresses { source, destination } | Self::Echo { source, destination, .. } => {
                (source, destination, 0)
            }
            Self::Neighbor(IpAddr::V4(address)) => return Some(toeplitz.hash(&address.octets())),
            Self::Neighbor(IpAddr::V6(address)) => return Some(toeplitz.hash(&address.octets())),
            Self::Unknown => return None,
        };
        Some(match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut tuple = [0; 12];
                tuple[..4].copy_from_slice(&source.octets());
                tuple[4..8].copy_from_slice(&destination.octets());
                tuple[8..].copy_from_slice(&ports.to_be_bytes());
                toeplitz.hash(&tuple)
            }
            _ => {
                let mut tuple = [0; 36];
                tuple[..16].copy_from_slice(&as_v6(source));
                tuple[16..32].copy_from_slice(&as_v6(destination));
                tuple[32..].copy_from_slice(&ports.to_be_bytes());
                toeplitz.hash(&tuple)
            }
        })
    }

    /// The port, or the identifier, whose owner may claim the packet.
    pub(super) fn owned_port(&self) -> Option<(PortSpace, u16)> {
        match *self {
            Self::Ports { protocol, destination_port, .. } => {
                PortSpace::of(protocol).map(|space| (space, destination_port))
            }
            Self::Echo { identifier, reply: true, .. } => Some((PortSpace::Icmp, identifier)),
            _ => None,
        }
    }
}

/// The bytes of an IPv6 address.
fn as_v6(address: IpAddress) -> [u8; 16] {
    match address {
        // Only a key that mixes families comes here; it hashes to something, the same each time.
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use proptest::prelude::*;

    use super::super::toeplitz::RssKey;
    use super::*;

    fn ports(source: &str, destination: &str) -> FlowKey {
        let (source, destination): (SocketAddr, SocketAddr) =
            (source.parse().unwrap(), destination.parse().unwrap());
        FlowKey::Ports {
            protocol: Protocol::TCP,
            source: source.ip(),
            destination: destination.ip(),
            source_port: source.port(),
            destination_port: destination.port(),
        }
    }

    fn without_ports(key: FlowKey) -> FlowKey {
        match key {
            FlowKey::Ports { source, destination, .. } => FlowKey::Addresses { source, destination },
            other => other,
        }
    }

    #[test]
    fn a_key_hashes_to_what_the_rss_specification_publishes() {
        let toeplitz = Toeplitz::new(RssKey::MICROSOFT);
        let v4 = ports("66.9.149.187:2794", "161.142.100.80:1766");
        assert_eq!(v4.hash(&toeplitz), Some(0x51cc_c178));
        assert_eq!(without_ports(v4).hash(&toeplitz), Some(0x323e_8fc2));
        let v6 = ports("[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766");
        assert_eq!(v6.hash(&toeplitz), Some(0x4020_7d3d));
        assert_eq!(without_ports(v6).hash(&toeplitz), Some(0x2cc1_8cd5));
    }

    #[test]
    fn an_echo_hashes_by_its_addresses_and_only_its_reply_may_have_an_owner() {
        let toeplitz = Toeplitz::new(RssKey::MICROSOFT);
        let FlowKey::Addresses { source, destination } =
            without_ports(ports("66.9.149.187:0", "161.142.100.80:0"))
        else {
            unreachable!("ports were taken off")
        };
        let request = FlowKey::Echo { source, destination, identifier: 7, reply: false };
        assert_eq!(request.hash(&toeplitz), Some(0x323e_8fc2));
        assert_eq!(request.owned_port(), None);
        assert_eq!(request.reversed().owned_port(), Some((PortSpace::Icmp, 7)));
    }

    #[test]
    fn a_neighbour_hashes_by_its_address_alone_and_the_unknown_not_at_all() {
        let toeplitz = Toeplitz::new(RssKey::MICROSOFT);
        let neighbor = |address: &str| FlowKey::Neighbor(address.parse().unwrap()).hash(&toeplitz);
        assert!(neighbor("10.0.0.1").is_some());
        assert_ne!(neighbor("10.0.0.1"), neighbor("10.0.0.2"));
        assert_ne!(neighbor("fe80::1"), neighbor("fe80::2"));
        assert_eq!(FlowKey::Unknown.hash(&toeplitz), None);
    }

    proptest! {
        #[test]
        fn a_key_reversed_twice_is_itself(
            source in any::<[u8; 4]>(), destination in any::<[u8; 4]>(),
            source_port in any::<u16>(), destination_port in any::<u16>(), reply in any::<bool>(),
        ) {
            let (source, destination) = (IpAddr::from(source), IpAddr::from(destination));
            let protocol = Protocol::UDP;
            for key in [
                FlowKey::Ports { protocol, source, destination, source_port, destination_port },
                FlowKey::Addresses { source, destination },
                FlowKey::Echo { source, destination, identifier: source_port, reply },
                FlowKey::Neighbor(source),
                FlowKey::Unknown,
            ] {
                prop_assert_eq!(key.reversed().reversed(), key);
            }
        }
    }
}
