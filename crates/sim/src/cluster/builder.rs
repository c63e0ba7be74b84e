//! Describes a cluster before it is built.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use sunstar::mesh::{self, MeshConfig, SharedQueue};
use sunstar_packet::{Capabilities, Memory, PoolConfig};
use sunstar_stack::random::Random;
use sunstar_stack::steering::{IndirectionTable, PortOwners, RssKey, ShardId, Steering, TableSize, Toeplitz};
use sunstar_stack::time::Instant;
use sunstar_stack::{Configuration, InterfaceAddress, Next, ShardConfig};

use super::Cluster;
use super::member::{Birth, Member, Queue};
use crate::Side;
use crate::host::{Host, HostConfig, quiet};
use crate::port::Port;

/// How the queue is chosen that a frame of the peer's comes in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nic {
    /// As the cluster steers: a card with the same key and table.
    Steering,
    /// Always this one.
    Queue(usize),
    /// By chance: a card that knows nothing.
    Random,
    /// Each in turn.
    InTurn,
}

/// A cluster to be built. Without a word each shard has a queue, flows are spread evenly, and the card steers.
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    seed: u64,
    weights: Vec<u32>,
    queues: usize,
    nic: Nic,
    latency: Duration,
    rate: Option<u64>,
    ring: usize,
    rings: MeshConfig,
    config: ShardConfig,
    pool: PoolConfig,
}

impl ClusterBuilder {
    pub(super) fn new(shards: u16) -> Self {
        let small =
            PoolConfig { small_count: 4_096, staging_count: 64, max_loans: 8_192, ..PoolConfig::default() };
        Self {
            seed: 1,
            weights: vec![1; shards.into()],
            queues: shards.into(),
            nic: Nic::Steering,
            latency: Duration::from_millis(1),
            rate: None,
            ring: 256,
            rings: MeshConfig::for_shards(shards.into()),
            config: quiet(ShardConfig::default()),
            pool: small,
        }
    }

    /// The seed of everything that is left to chance.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Queues of the device; further shards send through those that own one.
    pub fn queues(mut self, queues: usize) -> Self {
        self.queues = queues;
        self
    }

    /// Each shard's part of the flows, and of the queue it shares.
    pub fn weights(mut self, weights: &[u32]) -> Self {
        self.weights = weights.to_vec();
        self
    }

    /// How the queue of a received frame is chosen.
    pub fn nic(mut self, nic: Nic) -> Self {
        self.nic = nic;
        self
    }

    /// Bits a second each queue sends.
    pub fn bandwidth(mut self, rate: u64) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Frames on each queue's transmit ring.
    pub fn ring(mut self, frames: usize) -> Self {
        self.ring = frames;
        self
    }

    /// How large the rings between shards are.
    pub fn rings(mut self, rings: MeshConfig) -> Self {
        self.rings = rings;
        self
    }

    /// The settings of all shards.
    pub fn config(mut self, change: impl FnOnce(&mut ShardConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// The buffers of each shard.
    pub fn pool(mut self, change: impl FnOnce(&mut PoolConfig)) -> Self {
        change(&mut self.pool);
        self
    }

    /// Builds it.
    ///
    /// # Panics
    /// When there is no memory for the buffers, or no descriptor for the alarms.
    pub fn build(self) -> Cluster {
        let mut random = Random::from_seed(self.seed);
        let memory = Memory::new();
        let now = Instant::from_millis(1);
        let address = Ipv4Addr::new(10, 0, 0, 2);
        let device = Capabilities::ethernet([0x02, 0, 0, 0, 0, 2], 1_500);
        let table = IndirectionTable::new(TableSize::Entries128, &self.weights).expect("weights");
        let steering = Steering::new(Toeplitz::new(RssKey::random(&mut random)), table);
        let shards = self.weights.len();
        let ends = mesh::join(shards as u16, &self.rings).expect("descriptors for the alarms");
        let mut queues: Vec<Option<Queue>> = (0..shards).map(|_| None).collect();
        for owner in 0..self.queues {
            let of = |shard: usize| (ShardId(shard as u16), self.weights[shard], ends[shard].alarm());
            let others: Vec<_> = (owner + self.queues..shards).step_by(self.queues).map(of).collect();
            let (sharing, proxies) = mesh::share(device, of(owner), &others);
            for ((other, ..), proxy) in others.iter().zip(proxies) {
                queues[usize::from(other.0)] = Some(Queue::Proxy(proxy));
            }
            let mut port = Port::new(device);
            (port.rate, port.ring) = (self.rate, self.ring);
            port.handed_up = None;
            queues[owner] = Some(Queue::Own(SharedQueue::new(port, sharing)));
        }
        let own = InterfaceAddress { address: address.into(), prefix: 24 };
        let configuration = Configuration::new([own], None);
        let mut member = |(number, (mesh, queue)): (usize, (_, Option<Queue>))| {
            let mut birth = Birth {
                id: ShardId(number as u16),
                config: self.config.clone(),
                steering: steering.clone(),
                pool: self.pool,
                memory: memory.clone(),
                random: Random::from_seed(random.next_u64()),
            };
            Member {
                shard: birth.shard(device, 0, PortOwners::new(), configuration.clone(), now),
                mesh,
                queue: queue.expect("each shard owns a queue or shares one"),
                device,
                birth,
                incarnation: 0,
                next: Next { busy: false, wants_room: false, deadline: None },
                touched: true,
                suspended: false,
                open: Vec::new(),
            }
        };
        let members = ends.into_iter().zip(queues).enumerate().map(&mut member).collect();
        let peer = HostConfig { start: now, ..HostConfig::new(Side::A) };
        Cluster {
            peer: Host::new("peer", &peer, &memory, &mut random),
            address,
            members,
            queues: self.queues,
            nic: self.nic,
            steering,
            latency: self.latency,
            in_flight: VecDeque::new(),
            heard: Vec::new(),
            builders: BTreeMap::new(),
            next_queue: 0,
            random: Random::from_seed(random.next_u64()),
            now,
            turns_at_once: 0,
            memory,
            finished: false,
        }
    }
}
