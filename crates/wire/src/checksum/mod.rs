//! The internet checksum (RFC 1071), its incremental update (RFC 1624) and the pseudo-headers of TCP and UDP
//! (RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1).
//!
//! A packet is right when the sum over it, its checksum field and its pseudo-header included, *finishes* to
//! zero. To make a checksum, let the field be zero, or leave it out, and write what the sum finishes to.
//!
//! A device that completes a *partial checksum* wants the field to hold the sum over the pseudo-header,
//! folded but not complemented: [`pseudo_header`].

mod kernel;

use core::net::Ipv4Addr;

use crate::{IpAddress, Protocol};

/// A ones' complement sum in the making. What is added may come in pieces of any length, odd ones among
/// them, as the fragments of one packet do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accumulator {
    /// The sum of 16-bit words in this machine's byte order, not folded. RFC 1071 section 2(B): the sum is
    /// the same in either order, but for the order of its own two bytes.
    sum: u64,
    /// Whether an odd number of bytes was added, so that the next one is the second of its word.
    odd: bool,
}

impl Accumulator {
    /// A sum of nothing.
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    /// Adds the bytes that follow those added before.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        let sum = kernel::sum(bytes);
        self.add_partial(sum);
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// Adds one 16-bit word in the byte order of this machine.
    #[inline]
    pub fn add_u16(&mut self, word: u16) {
        self.add_partial(word.to_be());
    }

    /// Adds a pseudo-header for IPv4; `len` is the bytes of TCP or UDP header and payload, a
    /// `u16` or a `u32`.
    #[inline]
    pub fn add_pseudo_v4(
        &mut self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: Protocol,
        len: impl Into<u32>,
    ) {
        self.add_u32(source.to_bits());
        self.add_u32(destination.to_bits());
        self.add_u16(u16::from(protocol.0));
        self.add_u32(len.into());
    }

    /// Adds a pseudo-header for either family; both addresses have to be of the same. `len` is the bytes of
    /// the upper layer's header and payload.
    #[inline]
    pub fn add_pseudo(&mut self, source: IpAddress, destination: IpAddress, protocol: Protocol, len: u32) {
        self.add_address(source);
        self.add_address(destination);
        self.add_u16(u16::from(protocol.0));
        self.add_u32(len);
    }

    /// The checksum: the sum, complemented. Zero when a checksum was included and is right.
    #[inline]
    pub fn finish(self) -> u16 {
        !self.folded()
    }

    /// The sum, not complemented: what a device that completes a partial checksum expects in the field.
    #[inline]
    pub fn folded(self) -> u16 {
        u16::from_be(kernel::fold(self.sum))
    }

    fn add_address(&mut self, address: IpAddress) {
        match address {
            IpAddress::V4(address) => self.add_u32(address.to_bits()),
            IpAddress::V6(address) => {
                for word in address.segments() {
                    self.add_u16(word);
                }
            }
        }
    }

    #[inline]
    fn add_u32(&mut self, value: u32) {
        self.add_u16((value >> 16) as u16);
        self.add_u16(value as u16);
    }

    /// Adds a folded sum, which is turned round behind an odd number of bytes: each of its bytes falls into the
    /// other half of a word then (RFC 1071 section 2(B)).
    ///
    /// The sum cannot overflow: that would take 2^48 calls.
    #[inline]
    fn add_partial(&mut self, word: u16) {
        let word = if self.odd { word.swap_bytes() } else { word };
        self.sum = self.sum.wrapping_add(u64::from(word));
    }
}

/// The internet checksum of bytes: zero when they contain theirs and are right.
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    !u16::from_be(kernel::sum(bytes))
}

/// The sum over a pseudo-header, folded and not complemented: what a device that completes a partial checksum
/// expects in the field. `len` is the bytes of the upper layer's header and payload.
#[inline]
pub fn pseudo_header(source: IpAddress, destination: IpAddress, protocol: Protocol, len: u32) -> u16 {
    let mut sum = Accumulator::new();
    sum.add_pseudo(source, destination, protocol, len);
    sum.folded()
}

/// The checksum of a packet in which one 16-bit word changed (RFC 1624 equation 3: HC' = ~(~HC + ~m + m')).
/// The word has to be at an even offset of what the checksum covers.
#[inline]
pub const fn update(old_checksum: u16, old_word: u16, new_word: u16) -> u16 {
    let sum = !old_checksum as u32 + !old_word as u32 + new_word as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests;
