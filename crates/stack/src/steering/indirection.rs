//! The indirection table: from a hash to a shard, as the Microsoft RSS specification has it.
//!
//! The low bits of the hash pick an entry, and the entry names the shard. The table is built from weights
//! and nothing else, so whoever has the same weights has the same table.

use core::cmp::Reverse;

use crate::random::Random;

/// What the one shuffle of all tables is drawn from.
const SHUFFLE: u64 = 1;

/// A shard of this host, counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ShardId(pub u16);

/// How many entries a table has: as many as the device's, where a device keeps a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TableSize {
    /// 128 entries, what the RSS specification asks for and most network cards have.
    #[default]
    Entries128,
    /// 512 entries, for finer shares or more than 64 shards.
    Entries512,
}

impl TableSize {
    /// The number of entries.
    pub const fn entries(self) -> usize {
        match self {
            Self::Entries128 => 128,
            Self::Entries512 => 512,
        }
    }
}

/// Why weights make no indirection table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// There must be at least one shard.
    #[error("there are no shards to steer to: give a weight for each shard")]
    NoShards,
    /// Shards are numbered with 16 bits.
    #[error("{count} shards are more than can be numbered: give at most 65,535 weights")]
    TooManyShards {
        /// How many weights were given.
        count: usize,
    },
    /// Somebody has to take the packets.
    #[error("all {count} weights are zero: give at least one shard a weight")]
    AllZero {
        /// How many weights were given.
        count: usize,
    },
}

/// Which shard each hash belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndirectionTable {
    /// A power of two of them.
    entries: Box<[ShardId]>,
    shards: u16,
}

impl IndirectionTable {
    /// Shares a table out among as many shards as there are weights.
    ///
    /// A shard gets entries in proportion to its weight, rounded by the largest remainder (the lower shard
    /// where remainders are equal), in no order. A weight of zero gets none: such a shard
    /// takes only what a port owner sends it.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] when there is no weight, none above zero, or more than 65,535 of them.
    pub fn new(size: TableSize, weights: &[u32]) -> Result<Self, WeightsError> {
        let count = weights.len();
        let shards = u16::try_from(count).map_err(|_| WeightsError::TooManyShards { count })?;
        if shards == 0 {
            return Err(WeightsError::NoShards);
        }
        if weights.iter().all(|weight| *weight == 0) {
            return Err(WeightsError::AllZero { count });
        }
        let shares = shares(size.entries(), weights);
        Ok(Self { entries: shuffled(&shares), shards })
    }

    /// The shard a hash belongs to.
    #[inline]
    pub fn shard(&self, hash: u32) -> ShardId {
        self.entries[self.index(hash)]
    }

    /// The entry that a hash picks.
    #[inline]
    pub fn index(&self, hash: u32) -> usize {
        hash as usize & (self.entries.len() - 1)
    }

    /// How many shards there are, those without an entry included.
    #[inline]
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// All entries in their order, for a device that is to steer the same way.
    pub fn entries(&self) -> &[ShardId] {
        &self.entries
    }
}

/// `entries` divided by weight, rounded by the largest remainder.
fn shares(entries: usize, weights: &[u32]) -> Vec<usize> {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let exact = |weight: u32| u64::from(weight) * entries as u64;
    let mut shares: Vec<usize> = weights.iter().map(|weight| (exact(*weight) / total) as usize).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|shard| Reverse(exact(weights[*shard]) % total));
    let left = entries - shares.iter().sum::<usize>();
    for shard in by_remainder.into_iter().take(left) {
        shares[shard] += 1;
    }
    shares
}

/// A table in which each shard has its share, shuffled.
///
/// The hash is linear in the bits of a flow, and so are its low bits: shards that took turns in the table would divide
/// neighbouring flows by one or two of those bits, and flows in which these do not vary (a client's next few ports)
/// would all meet on one shard. The shuffle is the same everywhere; what an outsider must not know is the key.
fn shuffled(shares: &[usize]) -> Box<[ShardId]> {
    let in_order = shares
        .iter()
        .enumerate()
        .flat_map(|(shard, share)| core::iter::repeat_n(ShardId(shard as u16), *share));
    let mut entries: Box<[ShardId]> = in_order.collect();
    let mut random = Random::from_seed(SHUFFLE);
    for last in (1..entries.len()).rev() {
        entries.swap(last, random.below(last as u64 + 1) as usize);
    }
    entries
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(size: TableSize, weights: &[u32]) -> IndirectionTable {
        IndirectionTable::new(size, weights).unwrap()
    }

    fn counts(table: &IndirectionTable) -> Vec<usize> {
        let mut counts = vec![0; usize::from(table.shards())];
        table.entries().iter().for_each(|shard| counts[usize::from(shard.0)] += 1);
        counts
    }

    #[test]
    fn equal_weights_have_equal_shares_and_no_bit_of_the_hash_decides() {
        let table = table(TableSize::Entries128, &[1, 1, 1, 1]);
        assert_eq!(counts(&table), [32; 4]);
        for bit in 0..7 {
            for value in [0, 1] {
                let half = (0..128).filter(|hash| hash >> bit & 1 == value);
                let first = half.filter(|hash| table.shard(*hash) == ShardId(0)).count();
                assert!((8..=24).contains(&first), "{first} of 64 entries with bit {bit} at {value}");
            }
        }
    }

    #[test]
    fn the_same_weights_make_the_same_table() {
        let same = || table(TableSize::Entries512, &[5, 0, 3]);
        assert_eq!(same(), same());
    }

    #[test]
    fn only_the_low_bits_of_a_hash_count_as_in_a_device() {
        let table = table(TableSize::Entries512, &[3, 5]);
        assert_eq!(table.entries().len(), 512);
        assert_eq!(table.shard(0xffff_fe00 | 77), table.entries()[77]);
    }

    #[test]
    fn what_does_not_divide_evenly_goes_to_the_largest_remainders_and_then_to_the_lower_shard() {
        assert_eq!(counts(&table(TableSize::Entries128, &[1, 1, 1])), [43, 43, 42]);
        // 128 * 5 / 7 = 91.4, 128 / 7 = 18.3 twice.
        assert_eq!(counts(&table(TableSize::Entries128, &[1, 5, 1])), [18, 92, 18]);
    }

    #[test]
    fn a_shard_without_weight_is_there_but_gets_no_entry() {
        let table = table(TableSize::Entries128, &[0, 1]);
        assert_eq!((table.shards(), counts(&table)), (2, vec![0, 128]));
    }

    #[test]
    fn weights_nobody_could_steer_by_are_refused() {
        let refused = |weights: &[u32]| IndirectionTable::new(TableSize::Entries128, weights).unwrap_err();
        assert_eq!(refused(&[]), WeightsError::NoShards);
        assert_eq!(refused(&[0, 0]), WeightsError::AllZero { count: 2 });
        assert_eq!(refused(&vec![1; 65_536]), WeightsError::TooManyShards { count: 65_536 });
    }

    proptest! {
        #[test]
        fn every_share_is_within_one_entry_of_its_weight(
            weights in proptest::collection::vec(any::<u32>(), 1..40),
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            for size in [TableSize::Entries128, TableSize::Entries512] {
                let table = table(size, &weights);
                prop_assert_eq!(&counts(&table), &shares(size.entries(), &weights));
                let total: f64 = weights.iter().copied().map(f64::from).sum();
                for (count, weight) in counts(&table).into_iter().zip(&weights) {
                    let exact = size.entries() as f64 * f64::from(*weight) / total;
                    prop_assert!((count as f64 - exact).abs() < 1.0 + 1e-6, "{} of {}", count, exact);
                }
            }
        }
    }
}
