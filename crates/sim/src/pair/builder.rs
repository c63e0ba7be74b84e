//! Describes a pair before it is built, or the host of a script.

use std::net::Ipv4Addr;

use sunstar_packet::{Medium, Memory, PoolConfig};
use sunstar_stack::ShardConfig;
use sunstar_stack::random::Random;
use sunstar_stack::time::{Duration, Instant};

use super::Pair;
use crate::Side;
use crate::host::{Host, HostConfig};
use crate::link::{Impairments, Link};
use crate::trace::Trace;

/// A pair to be built. Without a word it is two hosts on a perfect link without latency.
#[derive(Clone, Debug)]
pub struct PairBuilder {
    seed: u64,
    hosts: [HostConfig; 2],
    impairments: Impairments,
}

impl Default for PairBuilder {
    fn default() -> Self {
        Self {
            seed: 1,
            hosts: [HostConfig::new(Side::A), HostConfig::new(Side::B)],
            impairments: Impairments::default(),
        }
    }
}

impl PairBuilder {
    /// The seed of everything that is left to chance.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How long a frame is on its way, each way.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.impairments.latency = latency;
        self
    }

    /// How much longer it may take, frame by frame, in order.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.impairments.jitter = jitter;
        self
    }

    /// How often a frame is lost, each way: 0 to 1.
    pub fn loss(mut self, loss: f64) -> Self {
        self.impairments.loss = loss;
        self
    }

    /// How often a frame arrives twice: 0 to 1.
    pub fn duplication(mut self, duplication: f64) -> Self {
        self.impairments.duplication = duplication;
        self
    }

    /// How often a frame is held back while others pass it: 0 to 1.
    pub fn reordering(mut self, reordering: f64) -> Self {
        self.impairments.reordering = reordering;
        self
    }

    /// How often one bit of a frame is flipped: 0 to 1.
    pub fn corruption(mut self, corruption: f64) -> Self {
        self.impairments.corruption = corruption;
        self
    }

    /// IP packets longer than this vanish.
    pub fn black_hole(mut self, longest: usize) -> Self {
        self.impairments.black_hole = Some(longest);
        self
    }

    /// A router says so when a packet vanishes for its length, and names an MTU.
    pub fn too_big(mut self, router: Ipv4Addr, mtu: u16) -> Self {
        self.impairments.too_big = Some((router, mtu));
        self
    }

    /// A router on the way, each way: bits a second, and frames in its queue.
    pub fn bottleneck(mut self, rate: u64, queue: usize) -> Self {
        self.impairments.bottleneck = Some((rate, queue));
        self
    }

    /// Bits a second each device sends. Its ring fills and holds the host up; nothing is lost.
    pub fn bandwidth(self, rate: u64) -> Self {
        self.each(|host| host.rate = Some(rate))
    }

    /// Frames on each device's transmit ring.
    pub fn ring(self, frames: usize) -> Self {
        self.each(|host| host.ring = frames)
    }

    /// The largest IP packet of both devices.
    pub fn mtu(self, mtu: usize) -> Self {
        self.each(|host| {
            host.mtu = mtu;
            host.pool.small_size = PoolConfig::for_mtu(mtu).small_size;
        })
    }

    /// Both devices carry IP packets without a link header.
    pub fn without_ethernet(self) -> Self {
        self.each(|host| host.medium = Medium::Ip)
    }

    /// Both devices complete checksums and cut large packets: these cross whole, as between two taps.
    pub fn offloads(self) -> Self {
        self.each(|host| host.offloads = true)
    }

    /// The shard settings of both hosts.
    pub fn config(self, change: impl Fn(&mut ShardConfig)) -> Self {
        self.each(|host| change(&mut host.shard))
    }

    /// What one host is like.
    pub fn host(mut self, side: Side, change: impl FnOnce(&mut HostConfig)) -> Self {
        change(&mut self.hosts[side as usize]);
        self
    }

    /// What both hosts are like.
    pub fn each(mut self, change: impl Fn(&mut HostConfig)) -> Self {
        self.hosts.iter_mut().for_each(change);
        self
    }

    /// The time at the start.
    pub fn start(self, start: Instant) -> Self {
        self.each(|host| host.start = start)
    }

    /// Builds it.
    ///
    /// # Panics
    /// When there is no memory for the buffers.
    pub fn build(self) -> Pair {
        let mut random = Random::from_seed(self.seed);
        let memory = Memory::new();
        let [a, b] = &self.hosts;
        let medium = a.medium;
        let mut link = || Link::new(medium, self.impairments.clone(), Random::from_seed(random.next_u64()));
        let links = [link(), link()];
        Pair {
            now: a.start.max(b.start),
            a: Host::new("A", a, &memory, &mut random),
            b: Host::new("B", b, &memory, &mut random),
            trace: Trace::of_sides(medium),
            links,
            random: Random::from_seed(random.next_u64()),
            turns_at_once: 0,
            censor: None,
            server: None,
            memory,
            finished: false,
        }
    }
}
