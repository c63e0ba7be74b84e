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

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::tcp::Tuple;

    /// Tuples of one listener's, from any port of any address.
    fn tuples() -> impl Iterator<Item = Tuple> {
        let local = SocketAddr::new(Ipv4Addr::new(10, 0, 0, 1).into(), 80);
        (0_u32..).flat_map(move |address| {
            let address = Ipv4Addr::from_bits(0xc612_0000 + address);
            (1..=u16::MAX).map(move |port| Tuple::new(local, SocketAddr::new(address.into(), port)))
        })
    }

    /// How many of the tuples fall into the fullest of so many places.
    fn fullest(keyed: &Keyed, tuples: &[Tuple], places: usize) -> usize {
        let mut counts = vec![0; places];
        for tuple in tuples {
            counts[keyed.hash_one(tuple) as usize % places] += 1;
        }
        counts.into_iter().max().unwrap_or(0)
    }

    #[test]
    fn tuples_chosen_to_collide_without_the_key_are_spread_evenly_with_it() {
        let guessed = Keyed::new(&mut Random::from_seed(1));
        let collide = |tuple: &Tuple| guessed.hash_one(tuple).is_multiple_of(64);
        let chosen: Vec<_> = tuples().filter(collide).take(100_000).collect();
        let places = 1 << 17;
        assert!(fullest(&guessed, &chosen, places) > 40, "with the key they were chosen for, they pile up");
        let keyed = Keyed::new(&mut Random::from_seed(2));
        let fullest = fullest(&keyed, &chosen, places);
        // Of 100,000 thrown at random, the fullest of 131,072 places has eight or so.
        assert!(fullest <= 12, "{fullest} in one place");
    }
}
