//! The loops that sum bytes as 16-bit words, and the choice between them.
//!
//! Every kernel answers the ones' complement sum of the words as they lie in memory, whatever this
//! machine's byte order (RFC 1071 section 2(B)), an odd byte at the end being followed by a zero. Sums are 64
//! bits wide and are folded at the end: since 2^16 is 1 modulo 2^16 - 1, words of any width may be added.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;

/// From how many bytes on a wide kernel is worth the choice and the setting up: where it overtakes the portable
/// one in `benches/checksum.rs`.
#[cfg(target_arch = "x86_64")]
const WIDE_FROM: usize = 128;

/// The folded sum of `bytes`, by the fastest kernel there is on this CPU.
#[inline]
pub(super) fn sum(bytes: &[u8]) -> u16 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= WIDE_FROM {
        return fold(wide(bytes));
    }
    fold(portable(bytes))
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn wide(bytes: &[u8]) -> u64 {
    avx2::sum(bytes).unwrap_or_else(|| portable(bytes))
}

/// The sum of `bytes`, eight at a time. Exact up to 16 GiB.
#[inline]
pub(super) fn portable(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = 0_u64;
    for word in words {
        let word = u64::from_ne_bytes(*word);
        sum = sum.wrapping_add((word & 0xffff_ffff) + (word >> 32));
    }
    sum.wrapping_add(last_bytes(rest))
}

/// The sum of fewer than eight bytes.
#[inline]
fn last_bytes(bytes: &[u8]) -> u64 {
    let (sum, rest) = match bytes.split_first_chunk::<4>() {
        Some((word, rest)) => (u64::from(u32::from_ne_bytes(*word)), rest),
        None => (0, bytes),
    };
    let word = match *rest {
        [a] => [a, 0, 0, 0],
        [a, b] => [a, b, 0, 0],
        [a, b, c] => [a, b, c, 0],
        _ => return sum,
    };
    sum + u64::from(u32::from_ne_bytes(word))
}

/// A sum brought down to 16 bits, carries added back in. Zero only for a sum that is zero.
#[inline]
pub(super) const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    // At most 0x1_fffe, so that one more carry is the last.
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
