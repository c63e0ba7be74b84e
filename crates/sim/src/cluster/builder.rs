//! Describes a cluster before it is built.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sunstar::mesh::MeshConfig;
use sunstar_packet::{Memory, PoolConfig};
use sunstar_stack::ShardConfig;
use sunstar_stack::random::Random;

use super::Cluster;
use crate::Side;
use crate::host::{Host, HostConfig};
use crate::machine::{MachineConfig, Nic};

/// A cluster to be built. Without a word each shard has a queue, flows are spread evenly, and the card steers.
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    seed: u64,
    machine: MachineConfig,
    latency: Duration,
}

impl ClusterBuilder {
    pub(super) fn new(shards: u16) -> Self {
        let pool =
            PoolConfig { small_count: 4_096, staging_count: 64, max_loans: 8_192, ..PoolConfig::default() };
        let host = HostConfig { pool, ..HostConfig::new(Side::B) };
        Self { seed: 1, machine: MachineConfig::new(host, shards), latency: Duration::from_millis(1) }
    }

    /// The seed of everything that is left to chance.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Queues of the device; further shards send through those that own one.
    pub fn queues(mut self, queues: usize) -> Self {
        self.machine.queues = queues;
        self
    }

    /// Each shard's part of the flows, and of the queue it shares.
    pub fn weights(mut self, weights: &[u32]) -> Self {
        self.machine.weights = weights.to_vec();
        self
    }

    /// How the queue of a received frame is chosen.
    pub fn nic(mut self, nic: Nic) -> Self {
        self.machine.nic = nic;
        self
    }

    /// Bits a second each queue sends.
    pub fn bandwidth(mut self, rate: u64) -> Self {
        self.machine.host.rate = Some(rate);
        self
    }

    /// Frames on each queue's transmit ring.
    pub fn ring(mut self, frames: usize) -> Self {
        self.machine.host.ring = frames;
        self
    }

    /// How large the rings between shards are.
    pub fn rings(mut self, rings: MeshConfig) -> Self {
        self.machine.rings = rings;
        self
    }

    /// The settings of all shards.
    pub fn config(mut self, change: impl FnOnce(&mut ShardConfig)) -> Self {
        change(&mut self.machine.host.shard);
        self
    }

    /// The buffers of each shard.
    pub fn pool(mut self, change: impl FnOnce(&mut PoolConfig)) -> Self {
        change(&mut self.machine.host.pool);
        self
    }

    /// Builds it.
    ///
    /// # Panics
    /// When there is no memory for the buffers, or no descriptor for the alarms.
    pub fn build(self) -> Cluster {
        let mut random = Random::from_seed(self.seed);
        let memory = Memory::new();
        let machine = self.machine.build(&memory, &mut random);
        let start = self.machine.host.start;
        let peer = HostConfig { start, ..HostConfig::new(Side::A) };
        Cluster {
            peer: Host::new("peer", &peer, &memory, &mut random),
            machine,
            latency: self.latency,
            in_flight: VecDeque::new(),
            heard: Vec::new(),
            builders: BTreeMap::new(),
            random: Random::from_seed(random.next_u64()),
            now: start,
            turns_at_once: 0,
            finished: false,
        }
    }
}
