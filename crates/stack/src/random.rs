//! The stack's only source of chance: a small generator seeded once, at the shard's creation.
//!
//! xoshiro256++ (Blackman and Vigna, 2019) with its state filled through SplitMix64. The same seed gives
//! the same numbers for ever, which is what makes a run repeatable. It is **not** cryptographic: who sees
//! a few outputs can work out the rest. What outsiders must not predict (initial sequence numbers, ports,
//! cookies) goes through a keyed SipHash, and this generator only supplies its key.

use core::fmt;

/// The odd constant of SplitMix64: 2^64 divided by the golden ratio.
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A deterministic random number generator, not fit for secrets that are themselves sent (see the module).
#[derive(Clone)]
pub struct Random {
    state: [u64; 4],
}

/// SplitMix64's finaliser, a bijection that spreads every input bit over all output bits.
const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl Random {
    /// A generator for simulations and tests, from a seed that can be printed and typed in again.
    pub const fn from_seed(seed: u64) -> Self {
        Self::from_words([seed; 4])
    }

    /// A generator from 32 bytes of real randomness, all of which count. What a runtime uses.
    pub fn from_key(key: [u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(key.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self::from_words(words)
    }

    const fn from_words(words: [u64; 4]) -> Self {
        let [a, b, c, d] = words;
        Self {
            state: [
                mix(a.wrapping_add(GOLDEN_GAMMA)),
                mix(b.wrapping_add(GOLDEN_GAMMA.wrapping_mul(2))),
                mix(c.wrapping_add(GOLDEN_GAMMA.wrapping_mul(3))),
                // All zeros is the one state xoshiro never leaves.
                mix(d.wrapping_add(GOLDEN_GAMMA.wrapping_mul(4))) | 1,
            ],
        }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        result
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number below `bound`, each equally likely; zero when `bound` is zero.
    ///
    /// Lemire's multiplication method; draws again only as often as removing the bias takes.
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// A number of `range`, both ends included and each equally likely; the start when the range is empty.
    pub fn range(&mut self, range: core::ops::RangeInclusive<u64>) -> u64 {
        let (start, end) = range.into_inner();
        match end.saturating_sub(start).checked_add(1) {
            Some(count) => start + self.below(count),
            None => self.next_u64(),
        }
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

impl fmt::Debug for Random {
    /// Leaves the state out: keys have been, or will be, drawn from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Random").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs of the reference C code for the state {1, 2, 3, 4}.
    #[test]
    fn the_numbers_are_those_of_the_published_xoshiro256_plus_plus() {
        let mut random = Random { state: [1, 2, 3, 4] };
        let expected =
            [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386, 9_228_616_714_210_784_205];
        assert_eq!(expected.map(|_| random.next_u64()), expected);
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
        let numbers = |mut random: Random| [(); 8].map(|()| random.next_u64());
        assert_eq!(numbers(Random::from_seed(7)), numbers(Random::from_seed(7)));
        assert_ne!(numbers(Random::from_seed(7)), numbers(Random::from_seed(8)));
        assert_ne!(numbers(Random::from_key([0; 32])), numbers(Random::from_key([1; 32])));
    }

    #[test]
    fn every_byte_of_a_key_counts() {
        let first = |key| Random::from_key(key).state;
        for position in 0..32 {
            let mut key = [0; 32];
            key[position] = 0x80;
            assert_ne!(first(key), first([0; 32]), "byte {position}");
        }
    }

    #[test]
    fn numbers_below_a_bound_are_evenly_spread() {
        let mut random = Random::from_seed(1);
        let mut counts = [0_u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_bound_that_does_not_divide_the_range_of_words_adds_no_bias() {
        // Taken modulo, two thirds of all words would land in the lower half of this bound.
        let bound = 3 << 62;
        let mut random = Random::from_seed(2);
        let low = (0..30_000).filter(|_| random.below(bound) < bound / 2).count();
        assert!((14_500..15_500).contains(&low), "{low}");
    }

    #[test]
    fn a_range_includes_both_of_its_ends_and_may_be_everything() {
        let mut random = Random::from_seed(3);
        let drawn: Vec<u64> = (0..200).map(|_| random.range(10..=12)).collect();
        assert!((10..=12).all(|number| drawn.contains(&number)));
        assert!(drawn.iter().all(|number| (10..=12).contains(number)));
        assert_eq!(random.range(5..=5), 5);
        assert_eq!(random.below(0), 0);
        assert_ne!(random.range(0..=u64::MAX), random.range(0..=u64::MAX));
    }

    #[test]
    fn filling_reaches_the_last_odd_byte() {
        let mut random = Random::from_seed(4);
        let mut seen = [0_u8; 13];
        for _ in 0..8 {
            let mut bytes = [0; 13];
            random.fill(&mut bytes);
            for (seen, byte) in seen.iter_mut().zip(bytes) {
                *seen |= byte;
            }
        }
        assert!(seen.iter().all(|byte| *byte != 0));
    }
}
