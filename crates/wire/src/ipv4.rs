//! IPv4's header and options (RFC 791; RFC 2474 and 3168 for what was the type of service; RFC 6864 for the
//! identification).

use core::iter::FusedIterator;
use core::net::Ipv4Addr;

use crate::checksum::checksum;
use crate::error::{prefix, room};
use crate::tlv::{NOP, Walk};
use crate::{Ecn, NoRoom, ParseError, Protocol};

/// The header of an IPv4 packet, without its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4Header {
    /// The differentiated services code point, 6 bits.
    pub dscp: u8,
    /// The congestion mark.
    pub ecn: Ecn,
    /// What the fragments of one datagram have in common; without meaning in a datagram that is whole.
    pub identification: u16,
    /// Routers must not fragment the packet.
    pub dont_fragment: bool,
    /// This is a fragment, and not the last.
    pub more_fragments: bool,
    /// Where the payload stands in the whole datagram's, in bytes: a multiple of 8.
    pub fragment_offset: u16,
    /// How many hops the packet may still take.
    pub ttl: u8,
    /// What the payload is.
    pub protocol: Protocol,
    /// Who sent the packet.
    pub source: Ipv4Addr,
    /// Whom it is for.
    pub destination: Ipv4Addr,
    /// Bytes of header, options included: 20 to 60. Parsing sets it; emission computes its own.
    pub header_len: u8,
    /// Bytes of header and payload.
    pub total_len: u16,
}

impl Ipv4Header {
    /// Bytes of a header without options.
    pub const LEN: usize = 20;
    /// Bytes of the longest header.
    pub const MAX_LEN: usize = 60;
    /// Where the header's checksum stands, in bytes from the start of the header.
    pub const CHECKSUM_OFFSET: usize = 10;

    const DONT_FRAGMENT: u16 = 0x4000;
    const MORE_FRAGMENTS: u16 = 0x2000;
    const OFFSET_MASK: u16 = 0x1fff;

    /// Reads and verifies the header at the front of a packet; the header, with its options, has to be there
    /// in one piece.
    ///
    /// The payload may end in further pieces of the packet, so `total_len` is not held against the slice:
    /// the caller has to. The options are not looked at, see [`Ipv4Header::options`].
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] when the slice ends inside the header, [`ParseError::BadVersion`] when it
    /// is not version 4, [`ParseError::BadLength`] when the header would be shorter than 20 bytes or the
    /// packet shorter than its header, [`ParseError::BadChecksum`] when the header is damaged.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Self, ParseError> {
        #[rustfmt::skip]
        let [
            version_ihl, tos, l0, l1, i0, i1, f0, f1, ttl, protocol, _, _,
            s0, s1, s2, s3, d0, d1, d2, d3,
        ] = *prefix::<{ Self::LEN }>(packet)?;
        if version_ihl >> 4 != 4 {
            return Err(ParseError::BadVersion);
        }
        let header_len = (version_ihl & 0x0f) * 4;
        let total_len = u16::from_be_bytes([l0, l1]);
        if usize::from(header_len) < Self::LEN || total_len < u16::from(header_len) {
            return Err(ParseError::BadLength);
        }
        let header = packet.get(..usize::from(header_len)).ok_or(ParseError::Truncated)?;
        // RFC 1122 section 3.2.1.2: MUST verify the checksum.
        if checksum(header) != 0 {
            return Err(ParseError::BadChecksum);
        }
        let fragment = u16::from_be_bytes([f0, f1]);
        Ok(Self {
            dscp: tos >> 2,
            ecn: Ecn::from_bits(tos),
            identification: u16::from_be_bytes([i0, i1]),
            dont_fragment: fragment & Self::DONT_FRAGMENT != 0,
            more_fragments: fragment & Self::MORE_FRAGMENTS != 0,
            fragment_offset: (fragment & Self::OFFSET_MASK) * 8,
            ttl,
            protocol: Protocol(protocol),
            source: Ipv4Addr::new(s0, s1, s2, s3),
            destination: Ipv4Addr::new(d0, d1, d2, d3),
            header_len,
            total_len,
        })
    }

    /// Whether this is a part of a datagram, and not all of it.
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// Bytes of payload: the total without the header.
    pub const fn payload_len(&self) -> u16 {
        self.total_len.saturating_sub(self.header_len as u16)
    }

    /// Writes a header of 20 bytes, without options and with its checksum, to the front of `out`.
    ///
    /// `total_len` is written as it is, `header_len` is not: what is written is 20 bytes long. Of `dscp` the
    /// low 6 bits count, and `fragment_offset` is rounded down to a multiple of 8.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when `out` is shorter.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let out = room::<{ Self::LEN }>(out)?;
        let mut header = self.fixed_part(Self::LEN as u8 / 4);
        let [c0, c1] = checksum(&header).to_be_bytes();
        [header[10], header[11]] = [c0, c1];
        *out = header;
        Ok(Self::LEN)
    }

    /// Writes a header with the given option bytes, padded with zeros to a multiple of four, to the front of
    /// `out`. For the rest it does as [`Ipv4Header::emit`].
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when `out` is shorter than header and options, or when the options are longer than the 40
    /// bytes that an IPv4 header can have of them: `needed` is more than [`Ipv4Header::MAX_LEN`] then.
    pub fn emit_with_options(&self, options: &[u8], out: &mut [u8]) -> Result<usize, NoRoom> {
        let header_len = Self::LEN.saturating_add(options.len().saturating_add(3) / 4 * 4);
        let no_room = NoRoom { needed: header_len };
        if header_len > Self::MAX_LEN {
            return Err(no_room);
        }
        let header = out.get_mut(..header_len).ok_or(no_room)?;
        let (fixed, behind) = header.split_first_chunk_mut::<{ Self::LEN }>().ok_or(no_room)?;
        let (given, padding) = behind.split_at_mut_checked(options.len()).ok_or(no_room)?;
        *fixed = self.fixed_part(header_len as u8 / 4);
        given.copy_from_slice(options);
        padding.fill(0);
        let [c0, c1] = checksum(header).to_be_bytes();
        if let Some(field) = header.get_mut(Self::CHECKSUM_OFFSET..).and_then(<[u8]>::first_chunk_mut) {
            *field = [c0, c1];
        }
        Ok(header_len)
    }

    /// The options of the header at the front of `packet`, up to the first malformed one; none when the
    /// header is not there in one piece.
    pub fn options(packet: &[u8]) -> Ipv4Options<'_> {
        let header_len = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
        Ipv4Options { walk: Walk::new(packet.get(Self::LEN..header_len).unwrap_or_default()) }
    }

    /// Whether the options of the header at the front of `packet` ask for a route by way of the hosts they
    /// list. Such packets are dropped (RFC 7126 section 4.3 and 4.4).
    pub fn has_source_route(packet: &[u8]) -> bool {
        Self::options(packet).flatten().any(|option| option.is_source_route())
    }

    /// Which byte of the header at the front of `packet` makes an option of it malformed, as the pointer of an ICMP parameter
    /// problem counts them (RFC 792): the option's length, or its type where the header ends behind that.
    pub fn malformed_option(packet: &[u8]) -> Option<u8> {
        let header_len = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
        let options = packet.get(Self::LEN..header_len)?;
        Walk::malformed(options).and_then(|at| u8::try_from(Self::LEN + at).ok())
    }

    /// The first 20 bytes, with a header length in words, and the checksum zero.
    fn fixed_part(&self, words: u8) -> [u8; Self::LEN] {
        let [l0, l1] = self.total_len.to_be_bytes();
        let [i0, i1] = self.identification.to_be_bytes();
        let mut fragment = self.fragment_offset / 8;
        if self.dont_fragment {
            fragment |= Self::DONT_FRAGMENT;
        }
        if self.more_fragments {
            fragment |= Self::MORE_FRAGMENTS;
        }
        let [f0, f1] = fragment.to_be_bytes();
        let [s0, s1, s2, s3] = self.source.octets();
        let [d0, d1, d2, d3] = self.destination.octets();
        #[rustfmt::skip]
        let header = [
            0x40 | words, self.dscp << 2 | self.ecn.bits(), l0, l1, i0, i1, f0, f1,
            self.ttl, self.protocol.0, 0, 0, s0, s1, s2, s3, d0, d1, d2, d3,
        ];
        header
    }
}

/// One option of an IPv4 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4Option<'a> {
    /// The option's type: a copied flag, a class and a number, in one byte.
    pub kind: u8,
    /// Its data, without type and length.
    pub data: &'a [u8],
}

impl Ipv4Option<'_> {
    /// Record route (RFC 791).
    pub const RECORD_ROUTE: u8 = 7;
    /// Timestamp (RFC 791).
    pub const TIMESTAMP: u8 = 68;
    /// Loose source and record route (RFC 791).
    pub const LOOSE_SOURCE_ROUTE: u8 = 131;
    /// Strict source and record route (RFC 791).
    pub const STRICT_SOURCE_ROUTE: u8 = 137;
    /// Router alert (RFC 2113).
    pub const ROUTER_ALERT: u8 = 148;
    /// A whole router alert with the one value there is: every router looks at the packet (RFC 2113 section 2.1).
    pub const ROUTER_ALERT_BYTES: [u8; 4] = [Self::ROUTER_ALERT, 4, 0, 0];

    /// Whether this is a source route, loose or strict.
    pub const fn is_source_route(&self) -> bool {
        matches!(self.kind, Self::LOOSE_SOURCE_ROUTE | Self::STRICT_SOURCE_ROUTE)
    }
}

/// The walk over an IPv4 header's options that [`Ipv4Header::options`] gives. Bytes that only pad are passed
/// over; a malformed option comes out as [`ParseError::BadOption`] and ends the walk.
#[derive(Debug, Clone)]
pub struct Ipv4Options<'a> {
    walk: Walk<'a>,
}

impl<'a> Iterator for Ipv4Options<'a> {
    type Item = Result<Ipv4Option<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.walk.find(|step| !matches!(step, Ok(option) if option.kind == NOP))?;
        Some(step.map(|option| Ipv4Option { kind: option.kind, data: option.data }))
    }
}

impl FusedIterator for Ipv4Options<'_> {}
