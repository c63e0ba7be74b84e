//! Protocol headers to and from bytes.
//!
//! The lowest room of the house: it knows what a header looks like and nothing of what it means.
//! Every protocol is one module, and every header one plain struct of host-order values:
//!
//! | module | header | source |
//! | --- | --- | --- |
//! | [`ethernet`] | Ethernet II with at most one 802.1Q tag | IEEE 802.3, 802.1Q, RFC 894 |
//! | [`arp`] | ARP for IPv4 over Ethernet | RFC 826 |
//! | [`ipv4`] | IPv4, and a bounded walk over its options | RFC 791, 2474, 3168 |
//! | [`icmpv4`] | the first eight bytes of an ICMP message | RFC 792, 1122, 1191 |
//! | [`igmp`] | IGMP of all three versions, with sources and records | RFC 1112, 2236, 3376 |
//! | [`udp`] | UDP | RFC 768 |
//! | [`tcp`] | TCP, its options, sequence numbers | RFC 9293, 7323, 2018, 5482 |
//! | [`checksum`] | the internet checksum | RFC 1071, 1624 |
//!
//! # The contract
//!
//! It holds in every module, for every input:
//!
//! - **No panic.** Any bytes may be parsed and any value emitted.
//! - **No allocation and no I/O.** Parsing copies values out; options are read where they lie.
//! - **Parsing never writes.** Other shards may be reading the same bytes at the same time.
//! - **Bounded work.** A walk over options takes no more steps than there are option bytes.
//! - **Emission writes into a given slice**, only its first bytes, and says how many; a slice that is
//!   too small is left as it was, with [`NoRoom`] saying what would have been enough.
//! - **What parses re-emits** to bytes that parse to an equal value. Bits a receiver must ignore
//!   (reserved ones, padding) are not kept.
//!
//! Whether a packet is *acceptable* (a multicast source, a length beyond the frame, a checksum over
//! several fragments) is for the stack to judge; a parser only refuses what it cannot read.
//!
//! # A datagram, out and in
//!
//! ```
//! use sunstar_wire::checksum::Accumulator;
//! use sunstar_wire::udp::UdpHeader;
//! use sunstar_wire::{IpAddress, Protocol};
//!
//! let (source, destination): (IpAddress, IpAddress) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
//! let mut datagram = *b"........hello";
//! let mut header = UdpHeader { source_port: 4000, destination_port: 7, length: 13, checksum: 0 };
//! header.emit(&mut datagram)?;
//!
//! let mut sum = Accumulator::new();
//! sum.add_pseudo(source, destination, Protocol::UDP, 13);
//! sum.add(&datagram);
//! header.checksum = sum.finish();
//! header.emit(&mut datagram)?;
//!
//! // At the other end the datagram may come in pieces; with its checksum the sum finishes to zero.
//! let mut sum = Accumulator::new();
//! sum.add_pseudo(source, destination, Protocol::UDP, 13);
//! datagram.chunks(3).for_each(|piece| sum.add(piece));
//! assert_eq!(sum.finish(), 0);
//! assert_eq!(UdpHeader::parse(&datagram)?, header);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod arp;
pub mod checksum;
mod error;
pub mod ethernet;
pub mod icmpv4;
pub mod igmp;
mod ip;
pub mod ipv4;
mod mac;
pub mod tcp;
mod tlv;
pub mod udp;

pub use error::{NoRoom, ParseError};
pub use ethernet::EtherType;
pub use ip::{Ecn, IpAddress, Protocol};
pub use mac::{MacAddress, MacAddressError};
