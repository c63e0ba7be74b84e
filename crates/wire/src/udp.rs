//! UDP's header (RFC 768).

use crate::error::{prefix, room};
use crate::{NoRoom, ParseError};

/// The header of a UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UdpHeader {
    /// The sender's port; 0 when no answer is expected.
    pub source_port: u16,
    /// The port the datagram is for.
    pub destination_port: u16,
    /// Bytes of header and data.
    pub length: u16,
    /// The checksum as it stands on the wire; 0 when the sender made none.
    pub checksum: u16,
}

impl UdpHeader {
    /// Bytes of a header.
    pub const LEN: usize = 8;
    /// Where the checksum stands, in bytes from the start of the header.
    pub const CHECKSUM_OFFSET: usize = 6;

    /// Reads the header at the front of a datagram. That the data is there, and the checksum right, is for the
    /// caller to see: both may lie in further fragments.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] below 8 bytes, [`ParseError::BadLength`] when the length does not even
    /// cover the header.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let [s0, s1, d0, d1, l0, l1, c0, c1] = *prefix::<{ Self::LEN }>(bytes)?;
        let header = Self {
            source_port: u16::from_be_bytes([s0, s1]),
            destination_port: u16::from_be_bytes([d0, d1]),
            length: u16::from_be_bytes([l0, l1]),
            checksum: u16::from_be_bytes([c0, c1]),
        };
        if usize::from(header.length) < Self::LEN {
            return Err(ParseError::BadLength);
        }
        Ok(header)
    }

    /// Writes the header's 8 bytes, checksum as given, to the front of `out`.
    ///
    /// A computed checksum of 0 has to be sent as 0xffff (RFC 768, RFC 1122 section 4.1.3.4), since 0 says
    /// that there is none.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when `out` is shorter.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let out = room::<{ Self::LEN }>(out)?;
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let [l0, l1] = self.length.to_be_bytes();
        let [c0, c1] = self.checksum.to_be_bytes();
        *out = [s0, s1, d0, d1, l0, l1, c0, c1];
        Ok(Self::LEN)
    }
}
