//! The checksum loop for x86-64 with AVX2: 64 bytes a step.
#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m256i, _mm_add_epi64, _mm_cvtsi128_si64, _mm_extract_epi64, _mm256_add_epi64, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_setzero_si256, _mm256_slli_epi64, _mm256_srli_epi64,
    _mm256_sub_epi64,
};

use super::portable;

/// The sum of `bytes`, or `None` on a CPU without AVX2. Exact up to 16 GiB.
#[inline]
pub(in super::super) fn sum(bytes: &[u8]) -> Option<u64> {
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: this CPU was just seen to have AVX2, all that `sum_avx2` asks for.
        Some(unsafe { sum_avx2(bytes) })
    } else {
        None
    }
}

/// Sums 64-bit words and, apart, their upper halves, which costs one shift and no mask. The first sum wraps, but
/// what it is short of is known from the second: the sum of the lower halves is the first less the second
/// moved up by 32 bits, and is exact, since it does fit.
#[target_feature(enable = "avx2")]
fn sum_avx2(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let (mut words_a, mut words_b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    let (mut upper_a, mut upper_b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for block in blocks {
        let (halves, _) = block.as_chunks::<32>();
        let [a, b] = halves else { break };
        let (a, b) = (load(a), load(b));
        words_a = _mm256_add_epi64(words_a, a);
        words_b = _mm256_add_epi64(words_b, b);
        upper_a = _mm256_add_epi64(upper_a, _mm256_srli_epi64::<32>(a));
        upper_b = _mm256_add_epi64(upper_b, _mm256_srli_epi64::<32>(b));
    }
    let words = _mm256_add_epi64(words_a, words_b);
    let upper = _mm256_add_epi64(upper_a, upper_b);
    let lower = _mm256_sub_epi64(words, _mm256_slli_epi64::<32>(upper));
    let sums = _mm256_add_epi64(lower, upper);
    let sums = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let (first, second) = (_mm_cvtsi128_si64(sums) as u64, _mm_extract_epi64::<1>(sums) as u64);
    first.wrapping_add(second).wrapping_add(portable(rest))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference is to 32 readable bytes, and this load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}
