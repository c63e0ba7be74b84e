//! One shard of a cluster, with what its thread would have: its end of the mesh, and what it sends and receives through.

use sunstar::mesh::{MeshEnd, ProxyQueue, SharedQueue, Shares};
use sunstar_packet::{Capabilities, Memory, Pool, PoolConfig, QueuePair};
use sunstar_stack::random::Random;
use sunstar_stack::steering::{PortOwners, ShardId, Steering};
use sunstar_stack::time::Instant;
use sunstar_stack::{Configuration, Next, Shard, ShardConfig, ShardSetup, SocketHandle};

use crate::port::Port;

/// What a shard sends and receives through.
pub(super) enum Queue {
    Own(SharedQueue<Port>),
    Proxy(ProxyQueue),
}

/// What it takes to make a shard, the first time and again.
pub(super) struct Birth {
    pub(super) id: ShardId,
    pub(super) config: ShardConfig,
    pub(super) steering: Steering,
    pub(super) pool: PoolConfig,
    pub(super) memory: Memory,
    pub(super) random: Random,
}

impl Birth {
    pub(super) fn shard(
        &mut self,
        device: Capabilities,
        incarnation: u32,
        owners: PortOwners,
        configuration: Configuration,
        now: Instant,
    ) -> Shard {
        let mut steering = self.steering.clone();
        *steering.owners_mut() = owners;
        let mut seed = [0; 32];
        self.random.fill(&mut seed);
        Shard::new(ShardSetup {
            id: self.id,
            config: self.config.clone(),
            seed,
            device,
            pool: Pool::new(&self.memory, &self.pool).expect("memory for a shard's buffers"),
            steering,
            incarnation,
            configuration,
            now,
        })
    }
}

pub(super) struct Member {
    pub(super) shard: Shard,
    pub(super) mesh: MeshEnd,
    pub(super) queue: Queue,
    pub(super) device: Capabilities,
    pub(super) birth: Birth,
    pub(super) incarnation: u32,
    pub(super) next: Next,
    /// Whether the application, or the scenario, did something since the last turn.
    pub(super) touched: bool,
    pub(super) suspended: bool,
    /// What the application has open.
    pub(super) open: Vec<SocketHandle>,
}

impl Member {
    pub(super) fn port_mut(&mut self) -> Option<&mut Port> {
        match &mut self.queue {
            Queue::Own(queue) => Some(queue.device_mut()),
            Queue::Proxy(_) => None,
        }
    }

    pub(super) fn shares(&self) -> Option<Shares> {
        match &self.queue {
            Queue::Own(queue) => Some(queue.shares()),
            Queue::Proxy(_) => None,
        }
    }

    pub(super) fn credits_out(&self) -> usize {
        match &self.queue {
            Queue::Own(_) => 0,
            Queue::Proxy(queue) => queue.outstanding(),
        }
    }

    /// Whether there is something to do without waiting for time to pass.
    pub(super) fn wants_turn(&self, now: Instant) -> bool {
        !self.suspended
            && (self.touched
                || self.next.busy
                || self.mesh.has_something()
                || self.deadline().is_some_and(|deadline| deadline <= now)
                || self.has_room_it_wants(now))
    }

    fn has_room_it_wants(&self, now: Instant) -> bool {
        match &self.queue {
            Queue::Own(queue) => {
                (self.next.wants_room || queue.wants_room()) && queue.device().has_room_at(now)
            }
            Queue::Proxy(queue) => (self.next.wants_room || queue.wants_room()) && queue.has_credits(),
        }
    }

    /// When there is something to do by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.suspended {
            return None;
        }
        let departure = match &self.queue {
            Queue::Own(queue) => queue.device().next_departure(),
            Queue::Proxy(_) => None,
        };
        self.next.deadline.into_iter().chain(departure).min()
    }

    pub(super) fn turn(&mut self, now: Instant) {
        self.touched = false;
        let turned = match &mut self.queue {
            Queue::Own(queue) => {
                queue.device_mut().now = now;
                self.shard.turn(now, queue, &mut self.mesh)
            }
            Queue::Proxy(queue) => self.shard.turn(now, queue, &mut self.mesh),
        };
        self.next = turned.expect("no scenario takes a cluster's device away");
        self.mesh.flush();
    }

    /// What the driver does after a panic.
    pub(super) fn replace(&mut self, now: Instant) {
        self.incarnation += 1;
        self.open.clear();
        let owners = self.shard.steering().owners().clone();
        let configuration = self.shard.configuration().clone();
        self.shard = self.birth.shard(self.device, self.incarnation, owners, configuration, now);
        self.birth.memory.reclaim();
        self.touched = true;
    }

    /// Ends every socket that the scenario has left open.
    pub(super) fn abort_all(&mut self) {
        self.touched = true;
        for handle in std::mem::take(&mut self.open) {
            match handle {
                SocketHandle::Listener(key) => self.shard.tcp_close_listener(key),
                SocketHandle::Stream(key) => self.shard.tcp_abort(key),
                SocketHandle::Udp(key) => self.shard.udp_close(key),
                SocketHandle::Echo(key) => self.shard.echo_close(key),
            }
        }
        while self.shard.poll_ready().is_some() {}
    }
}
