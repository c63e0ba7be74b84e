//! Describes a machine before it is built.

use serde::{Deserialize, Serialize};
use sunstar::mesh::{self, MeshConfig, SharedQueue};
use sunstar_packet::Memory;
use sunstar_stack::Next;
use sunstar_stack::random::Random;
use sunstar_stack::steering::{IndirectionTable, PortOwners, RssKey, ShardId, Steering, TableSize, Toeplitz};

use super::Machine;
use super::member::{Birth, Member, Queue};
use crate::host::HostConfig;
use crate::port::Port;

/// How the queue is chosen that a frame comes in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Nic {
    /// As the machine steers: a card with the same key and table.
    Steering,
    /// Always this one.
    Queue(usize),
    /// By chance: a card that knows nothing.
    Random,
    /// Each in turn.
    InTurn,
}

/// What a machine of many shards is like.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// What it has in common with a host of one shard; ring, rate and buffers are those of each queue and shard.
    pub host: HostConfig,
    /// Each shard's part of the flows, and of the queue it shares.
    pub weights: Vec<u32>,
    /// Queues of the device; further shards send through those that own one.
    pub queues: usize,
    /// How the queue of a received frame is chosen.
    pub nic: Nic,
    /// How large the rings between shards are.
    pub rings: MeshConfig,
}

impl MachineConfig {
    /// So many shards with a queue each, flows spread evenly, and a card that steers.
    pub fn new(host: HostConfig, shards: u16) -> Self {
        Self {
            host,
            weights: vec![1; shards.into()],
            queues: shards.into(),
            nic: Nic::Steering,
            rings: MeshConfig::for_shards(shards.into()),
        }
    }

    /// Builds it. Its memory may be shared with others.
    pub(crate) fn build(&self, memory: &Memory, random: &mut Random) -> Machine {
        let device = self.host.device();
        let table = IndirectionTable::new(TableSize::Entries128, &self.weights).expect("weights");
        let steering = Steering::new(Toeplitz::new(RssKey::random(random)), table);
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
            (port.rate, port.ring) = (self.host.rate, self.host.ring);
            port.handed_up = None;
            queues[owner] = Some(Queue::Own(SharedQueue::new(port, sharing)));
        }
        let configuration = self.host.configuration();
        let mut member = |(number, (mesh, queue)): (usize, (_, Option<Queue>))| {
            let mut birth = Birth {
                id: ShardId(number as u16),
                config: self.host.shard.clone(),
                steering: steering.clone(),
                pool: self.host.pool,
                memory: memory.clone(),
                random: Random::from_seed(random.next_u64()),
            };
            Member {
                shard: birth.shard(device, 0, PortOwners::new(), configuration.clone(), self.host.start),
                mesh,
                queue: queue.expect("each shard owns a queue or shares one"),
                device,
                birth,
                incarnation: 0,
                next: Next { busy: false, wants_room: false, deadline: None },
                look_again: None,
                touched: true,
                suspended: false,
                failed: false,
                open: Vec::new(),
            }
        };
        let members = ends.into_iter().zip(queues).enumerate().map(&mut member).collect();
        Machine {
            address: self.host.address,
            device,
            members,
            queues: self.queues,
            nic: self.nic,
            steering,
            memory: memory.clone(),
            order: Default::default(),
            next_queue: 0,
            random: Random::from_seed(random.next_u64()),
        }
    }
}
