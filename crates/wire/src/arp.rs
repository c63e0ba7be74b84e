//! ARP for IPv4 over Ethernet (RFC 826, and RFC 5227 for what a sender of zero means).

use core::net::Ipv4Addr;

use crate::error::{prefix, room};
use crate::{EtherType, MacAddress, NoRoom, ParseError};

/// What an ARP packet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArpOperation {
    /// Who has the target address?
    Request,
    /// The sender has the sender's address.
    Reply,
    /// Another operation (reverse ARP and its kin), by its number.
    Other(u16),
}

impl From<u16> for ArpOperation {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Reply,
            other => Self::Other(other),
        }
    }
}

impl From<ArpOperation> for u16 {
    fn from(operation: ArpOperation) -> Self {
        match operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
            ArpOperation::Other(number) => number,
        }
    }
}

/// An ARP packet about IPv4 addresses on Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArpPacket {
    /// What the packet does.
    pub operation: ArpOperation,
    /// The sender's Ethernet address.
    pub sender_mac: MacAddress,
    /// The sender's IPv4 address; 0.0.0.0 in a probe (RFC 5227 section 2.1.1).
    pub sender_address: Ipv4Addr,
    /// The target's Ethernet address; without meaning in a request.
    pub target_mac: MacAddress,
    /// The IPv4 address asked for, or of the one that is answered.
    pub target_address: Ipv4Addr,
}

impl ArpPacket {
    /// Bytes of a packet.
    pub const LEN: usize = 28;

    /// Hardware type 1 (Ethernet), protocol type IPv4, address lengths 6 and 4.
    const HARDWARE_ETHERNET: u16 = 1;

    /// Asks whether anybody has an address, in nobody's name, so that no cache is changed by it (RFC 5227
    /// section 2.1.1).
    pub const fn probe(mac: MacAddress, address: Ipv4Addr) -> Self {
        Self { sender_address: Ipv4Addr::UNSPECIFIED, ..Self::announcement(mac, address) }
    }

    /// Tells everybody that the address is in use, and at which station (RFC 5227 section 2.3).
    pub const fn announcement(mac: MacAddress, address: Ipv4Addr) -> Self {
        Self {
            operation: ArpOperation::Request,
            sender_mac: mac,
            sender_address: address,
            target_mac: MacAddress::ZERO,
            target_address: address,
        }
    }

    /// Whether this is a probe: a request in nobody's name (RFC 5227 section 1.1).
    pub const fn is_probe(&self) -> bool {
        matches!(self.operation, ArpOperation::Request) && self.sender_address.is_unspecified()
    }

    /// Whether this is an announcement: a request of the sender for its own address (RFC 5227 section 1.1).
    pub const fn is_announcement(&self) -> bool {
        matches!(self.operation, ArpOperation::Request)
            && !self.sender_address.is_unspecified()
            && self.sender_address.to_bits() == self.target_address.to_bits()
    }

    /// Reads the packet that follows an Ethernet header; padding behind it is ignored.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] when fewer than 28 bytes are given, [`ParseError::Unsupported`] when the
    /// packet is not about IPv4 on Ethernet, [`ParseError::BadLength`] when its address lengths are not those.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        #[rustfmt::skip]
        let [
            h0, h1, p0, p1, hardware_len, protocol_len, o0, o1,
            s0, s1, s2, s3, s4, s5, a0, a1, a2, a3,
            t0, t1, t2, t3, t4, t5, b0, b1, b2, b3,
        ] = *prefix::<{ Self::LEN }>(bytes)?;
        if u16::from_be_bytes([h0, h1]) != Self::HARDWARE_ETHERNET
            || EtherType(u16::from_be_bytes([p0, p1])) != EtherType::IPV4
        {
            return Err(ParseError::Unsupported);
        }
        if (hardware_len, protocol_len) != (6, 4) {
            return Err(ParseError::BadLength);
        }
        Ok(Self {
            operation: ArpOperation::from(u16::from_be_bytes([o0, o1])),
            sender_mac: MacAddress([s0, s1, s2, s3, s4, s5]),
            sender_address: Ipv4Addr::new(a0, a1, a2, a3),
            target_mac: MacAddress([t0, t1, t2, t3, t4, t5]),
            target_address: Ipv4Addr::new(b0, b1, b2, b3),
        })
    }

    /// Writes the 28 bytes of the packet to the front of `out`.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when `out` is shorter.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let out = room::<{ Self::LEN }>(out)?;
        let [h0, h1] = Self::HARDWARE_ETHERNET.to_be_bytes();
        let [p0, p1] = EtherType::IPV4.0.to_be_bytes();
        let [o0, o1] = u16::from(self.operation).to_be_bytes();
        let [s0, s1, s2, s3, s4, s5] = self.sender_mac.0;
        let [a0, a1, a2, a3] = self.sender_address.octets();
        let [t0, t1, t2, t3, t4, t5] = self.target_mac.0;
        let [b0, b1, b2, b3] = self.target_address.octets();
        #[rustfmt::skip]
        let bytes = [
            h0, h1, p0, p1, 6, 4, o0, o1,
            s0, s1, s2, s3, s4, s5, a0, a1, a2, a3,
            t0, t1, t2, t3, t4, t5, b0, b1, b2, b3,
        ];
        *out = bytes;
        Ok(Self::LEN)
    }
}
