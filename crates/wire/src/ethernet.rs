//! Ethernet II framing (IEEE 802.3, RFC 894) with at most one IEEE 802.1Q tag.

use core::fmt;

use crate::error::{prefix, room};
use crate::{MacAddress, NoRoom, ParseError};

/// What an Ethernet frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4 (RFC 894).
    pub const IPV4: Self = Self(0x0800);
    /// ARP (RFC 826).
    pub const ARP: Self = Self(0x0806);
    /// IPv6 (RFC 2464).
    pub const IPV6: Self = Self(0x86dd);
    /// An IEEE 802.1Q tag, with another type behind it.
    pub const VLAN: Self = Self(0x8100);

    /// Smaller values are lengths of IEEE 802.3 frames, not types.
    const SMALLEST: u16 = 0x0600;
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPV4 => f.write_str("IPv4"),
            Self::ARP => f.write_str("ARP"),
            Self::IPV6 => f.write_str("IPv6"),
            Self::VLAN => f.write_str("VLAN"),
            Self(value) => write!(f, "0x{value:04x}"),
        }
    }
}

/// The content of an IEEE 802.1Q tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VlanTag {
    /// The VLAN, 12 bits; 0 for a frame that has a priority only.
    pub id: u16,
    /// The priority code point, 3 bits.
    pub priority: u8,
    /// Whether the frame may be dropped first under congestion.
    pub drop_eligible: bool,
}

impl VlanTag {
    const ID_MASK: u16 = 0x0fff;
    const DROP_ELIGIBLE: u16 = 0x1000;

    const fn from_bits(bits: u16) -> Self {
        Self {
            id: bits & Self::ID_MASK,
            priority: (bits >> 13) as u8,
            drop_eligible: bits & Self::DROP_ELIGIBLE != 0,
        }
    }

    const fn bits(self) -> u16 {
        let drop_eligible = if self.drop_eligible { Self::DROP_ELIGIBLE } else { 0 };
        (self.priority as u16) << 13 | drop_eligible | self.id & Self::ID_MASK
    }
}

/// The header of an Ethernet II frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EthernetHeader {
    /// Who is to take the frame.
    pub destination: MacAddress,
    /// Who sent it.
    pub source: MacAddress,
    /// The 802.1Q tag, when there is one.
    pub vlan: Option<VlanTag>,
    /// What follows the header, and the tag. [`EtherType::VLAN`] here means a second tag.
    pub ether_type: EtherType,
}

impl EthernetHeader {
    /// Bytes of a header without a tag.
    pub const LEN: usize = 14;
    /// Bytes of a header with a tag.
    pub const TAGGED_LEN: usize = 18;

    /// Reads the header at the front of a frame, and how many bytes it takes (14, or 18 with a tag).
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] when the frame ends inside the header, [`ParseError::Unsupported`] for an
    /// IEEE 802.3 frame, which has a length where Ethernet II has a type.
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<(Self, usize), ParseError> {
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *prefix::<{ Self::LEN }>(frame)?;
        let mut header = Self {
            destination: MacAddress([d0, d1, d2, d3, d4, d5]),
            source: MacAddress([s0, s1, s2, s3, s4, s5]),
            vlan: None,
            ether_type: EtherType(u16::from_be_bytes([t0, t1])),
        };
        if header.ether_type == EtherType::VLAN {
            let [.., v0, v1, t0, t1] = *prefix::<{ Self::TAGGED_LEN }>(frame)?;
            header.vlan = Some(VlanTag::from_bits(u16::from_be_bytes([v0, v1])));
            header.ether_type = EtherType(u16::from_be_bytes([t0, t1]));
        }
        if header.ether_type.0 < EtherType::SMALLEST {
            return Err(ParseError::Unsupported);
        }
        Ok((header, header.header_len()))
    }

    /// How many bytes [`EthernetHeader::emit`] writes: 14, or 18 with a tag.
    pub const fn header_len(&self) -> usize {
        match self.vlan {
            None => Self::LEN,
            Some(_) => Self::TAGGED_LEN,
        }
    }

    /// Writes the header to the front of `out` and answers its length in bytes. Of a tag's fields the low 12
    /// and 3 bits are written.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when `out` is shorter than [`EthernetHeader::header_len`].
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let [d0, d1, d2, d3, d4, d5] = self.destination.0;
        let [s0, s1, s2, s3, s4, s5] = self.source.0;
        let [t0, t1] = self.ether_type.0.to_be_bytes();
        match self.vlan {
            None => *room(out)? = [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1],
            Some(vlan) => {
                let [p0, p1] = EtherType::VLAN.0.to_be_bytes();
                let [v0, v1] = vlan.bits().to_be_bytes();
                *room(out)? = [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, p0, p1, v0, v1, t0, t1];
            }
        }
        Ok(self.header_len())
    }
}
