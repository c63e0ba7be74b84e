//! The identification of datagrams that are cut (RFC 6864; RFC 7739 section 5 for what makes one unpredictable): unique
//! for each source, destination and protocol while fragments may be under way, and not to be guessed.
//!
//! A count for each triple goes through a permutation that only this shard knows: 65,536 datagrams in a row have
//! different numbers, and who sees some cannot tell the next ones, nor how many there were to others.

use core::hash::BuildHasher;
use std::collections::VecDeque;

use sunstar_wire::{IpAddress, Protocol};

use crate::hash::{Keyed, KeyedMap};
use crate::random::Random;

/// Datagrams with these addresses and of this protocol have a count of their own.
type Triple = (IpAddress, IpAddress, Protocol);

/// Triples whose count is remembered. One that is forgotten begins anew anywhere.
const MAX_TRIPLES: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Identifications {
    counts: KeyedMap<Triple, u16>,
    by_age: VecDeque<Triple>,
    permutation: Keyed,
    random: Random,
}

impl Identifications {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            counts: KeyedMap::with_hasher(Keyed::new(random)),
            by_age: VecDeque::new(),
            permutation: Keyed::new(random),
            random: Random::from_seed(random.next_u64()),
        }
    }

    /// The number of the next datagram that is cut.
    pub(crate) fn next(&mut self, source: IpAddress, destination: IpAddress, protocol: Protocol) -> u16 {
        let triple = (source, destination, protocol);
        if !self.counts.contains_key(&triple) {
            if self.counts.len() >= MAX_TRIPLES
                && let Some(oldest) = self.by_age.pop_front()
            {
                self.counts.remove(&oldest);
            }
            self.counts.insert(triple, self.random.next_u32() as u16);
            self.by_age.push_back(triple);
        }
        let Some(count) = self.counts.get_mut(&triple) else { return self.random.next_u32() as u16 };
        *count = count.wrapping_add(1);
        permute(&self.permutation, triple, *count)
    }
}

/// A Feistel network of four rounds: whatever a round computes, two counts never come to the same number.
fn permute(secret: &Keyed, triple: Triple, count: u16) -> u16 {
    let [mut left, mut right] = count.to_be_bytes();
    for round in 0..4_u8 {
        (left, right) = (right, left ^ secret.hash_one((triple, round, right)) as u8);
    }
    u16::from_be_bytes([left, right])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn address(last: u8) -> IpAddress {
        [192, 0, 2, last].into()
    }

    #[test]
    fn no_number_comes_again_before_all_others_have_been_used() {
        let mut numbers = Identifications::new(&mut Random::from_seed(1));
        let mut next = || numbers.next(address(1), address(2), Protocol::UDP);
        let seen: BTreeSet<u16> = (0..65_536).map(|_| next()).collect();
        assert_eq!(seen.len(), 65_536);
    }

    #[test]
    fn neither_other_flows_nor_the_numbers_before_tell_the_next() {
        let mut numbers = Identifications::new(&mut Random::from_seed(2));
        let mut steps = BTreeSet::new();
        let (mut one, mut other) = (0, 0);
        for _ in 0..1_000 {
            let next = numbers.next(address(1), address(2), Protocol::UDP);
            let beside = numbers.next(address(1), address(3), Protocol::UDP);
            steps.insert(next.wrapping_sub(one));
            steps.insert(beside.wrapping_sub(other));
            (one, other) = (next, beside);
        }
        assert!(steps.len() > 1_900, "nearly every step is another: {}", steps.len());
    }

    #[test]
    fn strangers_cannot_make_the_table_grow() {
        let mut numbers = Identifications::new(&mut Random::from_seed(3));
        for destination in 0..10_000_u32 {
            numbers.next(address(1), core::net::Ipv4Addr::from_bits(destination).into(), Protocol::ICMP);
        }
        assert_eq!((numbers.counts.len(), numbers.by_age.len()), (MAX_TRIPLES, MAX_TRIPLES));
    }
}
