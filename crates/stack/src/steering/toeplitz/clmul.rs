//! The Toeplitz hash as a carry-less multiplication (x86-64's PCLMULQDQ).
//!
//! Let *x(j)* be the bits of four bytes of input, most significant first, and *k(m)* the bits of the key from
//! the same position on. Bit *r* of what they add to the hash is the XOR over *j* of *x(j) k(j + r)*. As
//! polynomials with *x(j)* at degree 31 - *j* (the input read as a big-endian number) and *k(m)* at degree
//! *m* (the key backwards), that sum is the product's coefficient at degree 31 + *r*. Products of all words
//! are added first; bits 31 to 62 of the sum, backwards, are the hash.
#![allow(unsafe_code)]

use core::arch::x86_64::{
    _mm_clmulepi64_si128, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_setzero_si128, _mm_xor_si128,
};
use core::fmt;

use super::{MAX_TUPLE_LEN, RssKey};

/// Bits of the key that one word of input meets.
const WINDOW_BITS: usize = 32 + 31;

/// A key prepared for the multiplication. That there is one is proof that the processor can do it.
#[derive(Clone)]
pub(super) struct Clmul {
    /// For each word of a tuple the key from its position on, backwards.
    windows: [u64; MAX_TUPLE_LEN / 4],
}

impl Clmul {
    /// Nothing, if the processor lacks the instruction.
    pub(super) fn new(key: &RssKey) -> Option<Self> {
        if !is_x86_feature_detected!("pclmulqdq") {
            return None;
        }
        let mut windows = [0; MAX_TUPLE_LEN / 4];
        for (word, window) in windows.iter_mut().enumerate() {
            *window = (0..WINDOW_BITS)
                .fold(0, |window, degree| window | u64::from(key.bit(word * 32 + degree)) << degree);
        }
        Some(Self { windows })
    }

    /// The hash of a tuple; bytes after the last whole word are left out.
    #[inline]
    pub(super) fn hash<const N: usize>(&self, tuple: &[u8; N]) -> u32 {
        // SAFETY: `new` makes no `Clmul` before it has found PCLMULQDQ, the one feature `multiply` needs.
        unsafe { multiply(&self.windows, tuple) }
    }
}

#[target_feature(enable = "pclmulqdq")]
fn multiply<const N: usize>(windows: &[u64; MAX_TUPLE_LEN / 4], tuple: &[u8; N]) -> u32 {
    let mut sum = _mm_setzero_si128();
    for (bytes, window) in tuple.as_chunks::<4>().0.iter().zip(windows) {
        let word = _mm_cvtsi64_si128(i64::from(u32::from_be_bytes(*bytes)));
        let window = _mm_cvtsi64_si128(window.cast_signed());
        sum = _mm_xor_si128(sum, _mm_clmulepi64_si128::<0>(word, window));
    }
    let low = _mm_cvtsi128_si64(sum).cast_unsigned();
    ((low >> 31) as u32).reverse_bits()
}

impl fmt::Debug for Clmul {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clmul").finish_non_exhaustive()
    }
}
