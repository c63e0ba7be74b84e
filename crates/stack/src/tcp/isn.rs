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
