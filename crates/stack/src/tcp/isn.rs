//! Initial sequence numbers and timestamp offsets (RFC 6528; RFC 7323 section 5.4): a 4 us clock plus a keyed
//! hash of the tuple, so that one connection's tell nothing of another's.

use core::hash::{Hash, Hasher};

use siphasher::sip::SipHasher24;
use sunstar_wire::tcp::SeqNumber;

use super::tuple::Tuple;
use crate::config::FirstNumbers;
use crate::random::Random;
use crate::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(crate) struct IsnGenerator {
    key: (u64, u64),
    fixed: Option<FirstNumbers>,
}

impl IsnGenerator {
    pub(crate) fn new(fixed: Option<FirstNumbers>, random: &mut Random) -> Self {
        Self { key: (random.next_u64(), random.next_u64()), fixed }
    }

    /// ISN = M + F(tuple, secret), M a clock of 4 us (RFC 6528 section 3).
    pub(crate) fn isn(&self, tuple: &Tuple, now: Instant) -> SeqNumber {
        if let Some(fixed) = self.fixed {
            return SeqNumber(fixed.sequence);
        }
        SeqNumber((self.hash(tuple) as u32).wrapping_add((now.as_micros() / 4) as u32))
    }

    /// What is added to the clock of milliseconds in this connection's timestamps.
    pub(crate) fn timestamp_offset(&self, tuple: &Tuple) -> u32 {
        self.fixed.map_or((self.hash(tuple) >> 32) as u32, |fixed| fixed.timestamp)
    }

    fn hash(&self, tuple: &Tuple) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.key.0, self.key.1);
        tuple.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, SocketAddr};

    use super::*;

    fn tuple(port: u16) -> Tuple {
        let end = |last, port| SocketAddr::new(Ipv4Addr::new(10, 0, 0, last).into(), port);
        Tuple::new(end(1, 80), end(2, port))
    }

    #[test]
    fn the_number_of_one_tuple_grows_by_one_each_four_microseconds() {
        let generator = IsnGenerator::new(None, &mut Random::from_seed(1));
        let at = |micros| generator.isn(&tuple(1_000), Instant::from_micros(micros)).0;
        for micros in [0, 4, 4_000, 1 << 33] {
            assert_eq!(at(1_000 + micros).wrapping_sub(at(1_000)), (micros / 4) as u32);
        }
        assert_eq!(at(1_000), at(1_003));
    }

    #[test]
    fn neighbouring_tuples_agree_in_each_bit_of_their_numbers_half_of_the_time() {
        let generator = IsnGenerator::new(None, &mut Random::from_seed(1));
        // The number, and the offset of the timestamps behind it.
        let both = |port| {
            let isn = generator.isn(&tuple(port), Instant::ZERO).0;
            u64::from(isn) << 32 | u64::from(generator.timestamp_offset(&tuple(port)))
        };
        for bit in 0..64 {
            let agree = (1_000..5_000).filter(|port| (both(*port) ^ both(port + 1)) >> bit & 1 == 0).count();
            assert!((1_800..2_200).contains(&agree), "bit {bit}: {agree} of 4,000");
        }
        let other = IsnGenerator::new(None, &mut Random::from_seed(2));
        let same = |port: &u16| {
            generator.isn(&tuple(*port), Instant::ZERO) == other.isn(&tuple(*port), Instant::ZERO)
        };
        assert_eq!((1_000..5_000).filter(same).count(), 0, "the key decides");
    }
}
