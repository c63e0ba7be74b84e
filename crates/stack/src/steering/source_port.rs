//! Picking the local port of an outgoing flow: unpredictable to outsiders, and with its answers steered to
//! the shard that asks.
//!
//! RFC 6056 section 3.3.4 (algorithm 4, double-hash port selection): a keyed hash of the local address and
//! the remote address and port gives each destination its own starting point, and one of many counters, so
//! that ports of one destination follow each other, are reused late, and tell nothing of other
//! destinations. Candidates whose return flow is steered elsewhere are passed over.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::SocketAddr;
use core::ops::RangeInclusive;

use siphasher::sip::SipHasher24;
use sunstar_wire::{IpAddress, Protocol};

use super::Steering;
use super::flow_key::FlowKey;
use super::indirection::ShardId;
use crate::random::Random;

/// How many counters there are, a power of two. With few of them an observer can find destinations that
/// share one and so recognise the host (Kol, Klein and Gilad, "Device Tracking via Linux's New TCP Source
/// Port Selection Algorithm", 2023).
const COUNTERS: usize = 4_096;

/// The range Linux picks from, unless configured.
pub const DEFAULT_RANGE: RangeInclusive<u16> = 32_768..=60_999;

/// Every port of the range is taken, or would bring its answers to another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no free local port in {first}..={last} brings the answers of {remote} to shard {}: close some flows to \
     it, widen the range, or connect from another local address or shard", shard.0
)]
pub struct NoPortLeft {
    /// The lowest port of the range.
    pub first: u16,
    /// The highest port of the range.
    pub last: u16,
    /// Where the flow was to go.
    pub remote: SocketAddr,
    /// The shard that asked.
    pub shard: ShardId,
}

/// Picks source ports for one shard.
#[derive(Clone)]
pub struct SourcePorts {
    shard: ShardId,
    range: RangeInclusive<u16>,
    key: [u64; 2],
    counters: Box<[u16]>,
}

impl SourcePorts {
    /// A picker for `shard` from `range` (port 0 is never picked), with a key and starting points of its own.
    pub fn new(shard: ShardId, range: RangeInclusive<u16>, random: &mut Random) -> Self {
        Self {
            shard,
            range: (*range.start()).max(1)..=*range.end(),
            key: [random.next_u64(), random.next_u64()],
            counters: (0..COUNTERS).map(|_| random.next_u32() as u16).collect(),
        }
    }

    /// A port for a flow of `protocol` from `local` to `remote` that is not `in_use`, and whose packets back
    /// `steering` brings to this shard.
    ///
    /// On average it looks at as many ports as there are shards, at most at the whole range.
    ///
    /// # Errors
    ///
    /// [`NoPortLeft`] when no port of the range is both.
    pub fn pick(
        &mut self,
        steering: &Steering,
        protocol: Protocol,
        local: IpAddress,
        remote: SocketAddr,
        mut in_use: impl FnMut(u16) -> bool,
    ) -> Result<u16, NoPortLeft> {
        let count = self.range.len() as u64;
        let hash = self.hash(protocol, local, remote);
        // RFC 6056 wants two functions, F and G; disjoint bits of one keyed hash are as independent.
        let offset = hash >> 32;
        let counter = &mut self.counters[hash as usize % COUNTERS];
        let start = offset + u64::from(*counter);
        for step in 0..count {
            let port = self.range.start() + ((start + step) % count) as u16;
            let back = FlowKey::Ports {
                protocol,
                source: remote.ip(),
                destination: local,
                source_port: remote.port(),
                destination_port: port,
            };
            if steering.shard_of(&back) == Some(self.shard) && !in_use(port) {
                *counter = counter.wrapping_add(step as u16).wrapping_add(1);
                return Ok(port);
            }
        }
        Err(NoPortLeft { first: *self.range.start(), last: *self.range.end(), remote, shard: self.shard })
    }

    fn hash(&self, protocol: Protocol, local: IpAddress, remote: SocketAddr) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.key[0], self.key[1]);
        (protocol.0, local, remote).hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Debug for SourcePorts {
    /// Leaves the key and the counters out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourcePorts")
            .field("shard", &self.shard)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::Owner;
    use super::super::indirection::{IndirectionTable, TableSize};
    use super::super::port_owners::PortSpace;
    use super::super::toeplitz::{RssKey, Toeplitz};
    use super::*;

    const LOCAL: IpAddress = IpAddress::V4(core::net::Ipv4Addr::new(198, 51, 100, 2));

    fn remote(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn steering(weights: &[u32]) -> Steering {
        let table = IndirectionTable::new(TableSize::Entries128, weights).unwrap();
        Steering::new(Toeplitz::new(RssKey::MICROSOFT), table)
    }

    fn ports(shard: u16, range: RangeInclusive<u16>) -> SourcePorts {
        SourcePorts::new(ShardId(shard), range, &mut Random::from_seed(u64::from(shard)))
    }

    /// Picks until no port is left.
    fn pick_all(ports: &mut SourcePorts, steering: &Steering, remote: SocketAddr) -> Vec<u16> {
        let mut picked = Vec::new();
        while let Ok(port) = ports.pick(steering, Protocol::TCP, LOCAL, remote, |port| picked.contains(&port))
        {
            picked.push(port);
        }
        picked
    }

    #[test]
    fn every_free_port_whose_answers_come_home_is_found_and_no_other() {
        let steering = steering(&[1, 1, 2]);
        let mut found = Vec::new();
        for shard in 0..3 {
            let picked = pick_all(&mut ports(shard, 40_000..=40_999), &steering, remote(443));
            for port in &picked {
                let back = FlowKey::Ports {
                    protocol: Protocol::TCP,
                    source: remote(443).ip(),
                    destination: LOCAL,
                    source_port: 443,
                    destination_port: *port,
                };
                assert_eq!(steering.shard_of(&back), Some(ShardId(shard)));
            }
            found.extend(picked);
        }
        found.sort_unstable();
        assert!(found.into_iter().eq(40_000..=40_999), "each port belongs to exactly one shard");
    }

    #[test]
    fn when_no_port_is_left_the_error_names_the_range_and_the_destination() {
        let steering = steering(&[1]);
        let error = ports(0, 50_000..=50_001)
            .pick(&steering, Protocol::TCP, LOCAL, remote(80), |_| true)
            .unwrap_err();
        assert_eq!(error, NoPortLeft { first: 50_000, last: 50_001, remote: remote(80), shard: ShardId(0) });
        assert!(error.to_string().contains("50000..=50001"), "{error}");
        assert!(error.to_string().contains("192.0.2.1:80"), "{error}");
    }

    #[test]
    fn a_search_looks_at_no_port_twice() {
        let steering = steering(&[1]);
        for (range, looks) in [(1..=u16::MAX, 65_535), (0..=9, 9), (7..=7, 1), (RangeInclusive::new(8, 7), 0)]
        {
            let mut seen = BTreeSet::new();
            let result = ports(0, range).pick(&steering, Protocol::UDP, LOCAL, remote(53), |port| {
                assert!(seen.insert(port), "{port} again");
                true
            });
            assert!(result.is_err());
            assert_eq!(seen.len(), looks);
            assert!(!seen.contains(&0));
        }
    }

    #[test]
    fn a_port_another_shard_owns_is_passed_over_and_one_owned_by_the_asker_is_not() {
        let mut steering = steering(&[1, 1]);
        steering.owners_mut().set(PortSpace::Tcp, 50_000, Some(Owner::Shard(ShardId(1))));
        assert!(pick_all(&mut ports(0, 50_000..=50_000), &steering, remote(80)).is_empty());
        assert_eq!(pick_all(&mut ports(1, 50_000..=50_000), &steering, remote(80)), [50_000]);
    }

    #[test]
    fn a_shard_without_entries_in_the_table_has_no_ports() {
        assert!(pick_all(&mut ports(1, 50_000..=50_999), &steering(&[1, 0]), remote(80)).is_empty());
    }

    #[test]
    fn a_port_given_back_is_not_picked_again_at_once() {
        let steering = steering(&[1, 1]);
        let mut ports = ports(1, DEFAULT_RANGE);
        let picked: BTreeSet<u16> = (0..1_000)
            .map(|_| ports.pick(&steering, Protocol::TCP, LOCAL, remote(443), |_| false).unwrap())
            .collect();
        assert_eq!(picked.len(), 1_000);
    }

    #[test]
    fn the_first_ports_for_different_destinations_and_keys_tell_nothing_of_each_other() {
        let steering = steering(&[1]);
        let first = |ports: &mut SourcePorts, remote| {
            ports.pick(&steering, Protocol::TCP, LOCAL, remote, |_| false).unwrap()
        };
        let mut one = ports(0, DEFAULT_RANGE);
        let firsts: Vec<u16> = (1..=1_000).map(|port| first(&mut one, remote(port))).collect();
        let middle = DEFAULT_RANGE.start() + DEFAULT_RANGE.len() as u16 / 2;
        let low = firsts.iter().filter(|port| **port < middle).count();
        assert!((430..570).contains(&low), "{low} of 1,000 in the lower half");
        let ascending = firsts.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((430..570).contains(&ascending), "{ascending} of 999 above the one before");

        let mut other = SourcePorts::new(ShardId(0), DEFAULT_RANGE, &mut Random::from_seed(99));
        let same = (1..=1_000).filter(|port| first(&mut other, remote(*port)) == firsts[*port as usize - 1]);
        assert!(same.count() < 5);
    }
}
