//! TCP's header (RFC 9293 section 3.1), without its options.

use super::{SeqNumber, TcpFlags};
use crate::error::{prefix, room};
use crate::{NoRoom, ParseError};

/// The fixed part of a TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TcpHeader {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// SEG.SEQ: the place of the first byte, or of the SYN.
    pub sequence: SeqNumber,
    /// SEG.ACK: the next byte the sender expects. Counts with [`TcpFlags::ACK`] only.
    pub acknowledgement: SeqNumber,
    /// The control bits; reserved ones are dropped on the way in and sent as zero.
    pub flags: TcpFlags,
    /// SEG.WND as it stands, not scaled.
    pub window: u16,
    /// The checksum as it stands.
    pub checksum: u16,
    /// The urgent pointer. Counts with [`TcpFlags::URG`] only.
    pub urgent: u16,
    /// Bytes of header, options included: 20 to 60, a multiple of four.
    pub header_len: u8,
}

impl TcpHeader {
    /// Bytes of a header without options.
    pub const LEN: usize = 20;
    /// Bytes of the longest header.
    pub const MAX_LEN: usize = 60;
    /// Where the checksum stands, in bytes from the start of the header.
    pub const CHECKSUM_OFFSET: usize = 16;

    /// Reads the header at the front of a segment. The options are behind it, up to `header_len`, and are there
    /// when this succeeds; the checksum is for the caller to verify.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] when the slice ends inside the header or its options,
    /// [`ParseError::BadLength`] when the data offset is below 20 bytes.
    #[inline]
    pub fn parse(segment: &[u8]) -> Result<Self, ParseError> {
        #[rustfmt::skip]
        let [
            s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3,
            f0, f1, w0, w1, c0, c1, u0, u1,
        ] = *prefix::<{ Self::LEN }>(segment)?;
        let header_len = (f0 >> 4) * 4;
        if usize::from(header_len) < Self::LEN {
            return Err(ParseError::BadLength);
        }
        if segment.len() < usize::from(header_len) {
            return Err(ParseError::Truncated);
        }
        Ok(Self {
            source_port: u16::from_be_bytes([s0, s1]),
            destination_port: u16::from_be_bytes([d0, d1]),
            sequence: SeqNumber(u32::from_be_bytes([q0, q1, q2, q3])),
            acknowledgement: SeqNumber(u32::from_be_bytes([a0, a1, a2, a3])),
            flags: TcpFlags(u16::from_be_bytes([f0, f1]) & TcpFlags::ALL.0),
            window: u16::from_be_bytes([w0, w1]),
            checksum: u16::from_be_bytes([c0, c1]),
            urgent: u16::from_be_bytes([u0, u1]),
            header_len,
        })
    }

    /// Writes the first 20 bytes of the header, with length and checksum as given, to the front of `out`.
    /// Options go behind them. `header_len` is rounded down to a multiple of four.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when `out` is shorter than 20 bytes.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let out = room::<{ Self::LEN }>(out)?;
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let [q0, q1, q2, q3] = self.sequence.0.to_be_bytes();
        let [a0, a1, a2, a3] = self.acknowledgement.0.to_be_bytes();
        let offset = u16::from(self.header_len / 4) << 12;
        let [f0, f1] = (offset | self.flags.0 & TcpFlags::ALL.0).to_be_bytes();
        let [w0, w1] = self.window.to_be_bytes();
        let [c0, c1] = self.checksum.to_be_bytes();
        let [u0, u1] = self.urgent.to_be_bytes();
        #[rustfmt::skip]
        let header = [
            s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3,
            f0, f1, w0, w1, c0, c1, u0, u1,
        ];
        *out = header;
        Ok(Self::LEN)
    }
}
