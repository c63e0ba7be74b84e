//! Keyed hashing for the tables strangers can add to (reliability: hash collisions).

use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

use crate::random::Random;

/// Builds SipHash-1-3 hashers with a secret of this shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed {
    key: (u64, u64),
}

impl Keyed {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self { key: (random.next_u64(), random.next_u64()) }
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.key.0, self.key.1)
    }
}

/// A table whose probing an outsider cannot steer.
pub(crate) type KeyedMap<K, V> = hashbrown::HashMap<K, V, Keyed>;
