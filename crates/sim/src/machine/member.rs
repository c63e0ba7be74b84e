//! One shard of a machine, with what its thread would have: its end of the mesh, and what it sends and receives through.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use sunstar::mesh::{MeshEnd, ProxyQueue, SharedQueue, Shares};
use sunstar_packet::{Capabilities, LinkState, Memory, Pool, PoolConfig, QueuePair};
use sunstar_stack::random::Random;
use sunstar_stack::steering::{PortOwners, ShardId, Steering};
use sunstar_stack::time::Instant;
use sunstar_stack::{Configuration, Next, Shard, ShardConfig, ShardSetup, SocketHandle};

use super::order::{Order, Watched};
use crate::port::Port;

/// How often the driver of a shard looks at a device that takes nothing.
const CARRIER_LOOK: Duration = Duration::from_millis(100);

/// What a shard sends and receives through.
pub(crate) enum Queue {
    Own(SharedQueue<Port>),
    Proxy(ProxyQueue),
}

/// What it takes to make a shard, the first time and again.
pub(crate) struct Birth {
    pub(crate) id: ShardId,
    pub(crate) config: ShardConfig,
    pub(crate) steering: Steering,
    pub(crate) pool: PoolConfig,
    pub(crate) memory: Memory,
    pub(crate) random: Random,
}

impl Birth {
    pub(crate) fn shard(
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

pub(crate) struct Member {
    pub(crate) shard: Shard,
    pub(crate) mesh: MeshEnd,
    pub(crate) queue: Queue,
    pub(crate) device: Capabilities,
    pub(crate) birth: Birth,
    pub(crate) incarnation: u32,
    pub(crate) next: Next,
    /// With something to send, when to look whether there is a carrier: it returns without a word.
    pub(crate) look_again: Option<Instant>,
    /// Whether the application, or the scenario, did something since the last turn.
    pub(crate) touched: bool,
    pub(crate) suspended: bool,
    /// Whether the device has failed.
    pub(crate) failed: bool,
    /// What the application has open.
    pub(crate) open: Vec<SocketHandle>,
}

impl Member {
    pub(crate) fn port_mut(&mut self) -> Option<&mut Port> {
        match &mut self.queue {
            Queue::Own(queue) => Some(queue.device_mut()),
            Queue::Proxy(_) => None,
        }
    }

    pub(crate) fn port(&self) -> Option<&Port> {
        match &self.queue {
            Queue::Own(queue) => Some(queue.device()),
            Queue::Proxy(_) => None,
        }
    }

    /// Whether something of its own may be on its way to a sibling, or of a sibling's to it.
    pub(crate) fn has_lent(&self) -> bool {
        self.mesh.has_something() || self.credits_out() > 0
    }

    pub(crate) fn shares(&self) -> Option<Shares> {
        match &self.queue {
            Queue::Own(queue) => Some(queue.shares()),
            Queue::Proxy(_) => None,
        }
    }

    pub(crate) fn credits_out(&self) -> usize {
        match &self.queue {
            Queue::Own(_) => 0,
            Queue::Proxy(queue) => queue.outstanding(),
        }
    }

    /// Whether its queue takes nothing, or it takes no turns.
    pub(crate) fn is_held_up(&self) -> bool {
        let queue_held = match &self.queue {
            Queue::Own(queue) => queue.device().stalled || !queue.device().up,
            Queue::Proxy(queue) => queue.link() == LinkState::Down,
        };
        self.suspended || self.failed || queue_held
    }

    /// Whether there is something to do without waiting for time to pass.
    pub(crate) fn wants_turn(&self, now: Instant) -> bool {
        !self.suspended
            && (self.touched
                || self.next.busy
                || self.mesh.has_something()
                || self.port().is_some_and(Port::has_received)
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
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.suspended {
            return None;
        }
        let departure = match &self.queue {
            Queue::Own(queue) => queue.device().next_departure(),
            Queue::Proxy(_) => None,
        };
        self.next.deadline.into_iter().chain(departure).chain(self.look_again).min()
    }

    pub(crate) fn turn(&mut self, now: Instant, order: &Rc<RefCell<Order>>) {
        self.touched = false;
        let mut mesh = Watched { mesh: &mut self.mesh, order };
        let turned = match &mut self.queue {
            Queue::Own(queue) => {
                queue.device_mut().now = now;
                self.shard.turn(now, queue, &mut mesh)
            }
            Queue::Proxy(queue) => self.shard.turn(now, queue, &mut mesh),
        };
        // As the driver does: a shard goes on without its device.
        self.failed |= turned.is_err();
        self.next = turned.unwrap_or_else(|_| Next {
            busy: self.mesh.has_something(),
            wants_room: false,
            deadline: self.shard.next_deadline(),
        });
        let queue_wants = match &self.queue {
            Queue::Own(queue) => queue.wants_room(),
            Queue::Proxy(queue) => queue.wants_room(),
        };
        self.look_again = (self.next.wants_room || queue_wants).then(|| now + CARRIER_LOOK);
        self.mesh.flush();
    }

    /// What the driver does after a panic.
    pub(crate) fn replace(&mut self, now: Instant) {
        self.incarnation += 1;
        self.open.clear();
        let owners = self.shard.steering().owners().clone();
        let configuration = self.shard.configuration().clone();
        self.shard = self.birth.shard(self.device, self.incarnation, owners, configuration, now);
        self.birth.memory.reclaim();
        self.touched = true;
        if self.failed {
            self.shard.fail_device();
        }
    }

    /// Ends every socket that the scenario has left open.
    pub(crate) fn abort_all(&mut self) {
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

impl fmt::Debug for Member {
    /// What it waits for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("touched", &self.touched)
            .field("suspended", &self.suspended)
            .field("held_up", &self.is_held_up())
            .field("next", &self.next)
            .field("deadline", &self.deadline())
            .field("has_work", &self.shard.has_work())
            .field("mesh_has_something", &self.mesh.has_something())
            .field("pool", self.shard.pool())
            .finish_non_exhaustive()
    }
}
