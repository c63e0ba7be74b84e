//! A host of many shards, as its simulation sees it: real shards on the real mesh, as many queues as they are or fewer,
//! and a card that puts each received frame on one of them.

mod config;
mod member;
mod order;

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use sunstar_packet::{Capabilities, Memory, Notes};
use sunstar_stack::random::Random;
use sunstar_stack::steering::Steering;
use sunstar_stack::time::Instant;
use sunstar_stack::{Counters, Shard};

use crate::port::Sent;
pub use config::{MachineConfig, Nic};
pub(crate) use member::Member;
use order::Order;

/// A host of many shards.
pub(crate) struct Machine {
    pub(crate) address: Ipv4Addr,
    pub(crate) device: Capabilities,
    pub(crate) members: Vec<Member>,
    /// The first shards own one each.
    pub(crate) queues: usize,
    pub(crate) nic: Nic,
    pub(crate) steering: Steering,
    pub(crate) memory: Memory,
    pub(crate) order: Rc<RefCell<Order>>,
    next_queue: usize,
    random: Random,
}

impl Machine {
    /// One of its ports, as others reach it.
    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address.into(), port)
    }

    /// One of its shards, to call: it takes a turn soon.
    pub(crate) fn shard_mut(&mut self, shard: usize, now: Instant) -> &mut Shard {
        let member = &mut self.members[shard];
        member.touched = true;
        member.shard.set_now(now);
        &mut member.shard
    }

    /// The sum of a counter over all shards.
    pub(crate) fn total(&self, read: impl Fn(&Counters) -> u64) -> u64 {
        self.members.iter().map(|member| read(member.shard.counters())).sum()
    }

    /// The queue that the card puts a frame on.
    pub(crate) fn queue_of(&mut self, frame: &[u8]) -> usize {
        match self.nic {
            Nic::Steering => {
                // A card that is kept in step with the owners of ports.
                let steering = self.members[0].shard.steering();
                let shard = steering.shard_of_frame(frame, self.device.medium).unwrap_or_default();
                usize::from(shard.0) % self.queues
            }
            Nic::Queue(queue) => queue,
            Nic::Random => self.random.below(self.queues as u64) as usize,
            Nic::InTurn => {
                self.next_queue += 1;
                self.next_queue % self.queues
            }
        }
    }

    /// Puts a frame on a queue. One for which there is no buffer is lost, as on a card.
    pub(crate) fn deliver(&mut self, queue: usize, frame: &[u8], notes: Notes) {
        let member = &mut self.members[queue];
        let pool = member.shard.pool().clone();
        if let Some(port) = member.port_mut() {
            port.deliver(&pool, frame, notes);
        }
    }

    /// One turn of a shard: the frames that left in it, by whichever queue.
    pub(crate) fn turn(&mut self, shard: usize, now: Instant) -> Vec<(usize, Sent)> {
        self.members[shard].turn(now, &self.order);
        let mut all = Vec::new();
        for queue in 0..self.queues {
            let sent = self.members[queue].port_mut().map(|port| port.take_sent()).unwrap_or_default();
            all.extend(sent.into_iter().map(|sent| (queue, sent)));
        }
        all
    }

    /// Who wants a turn now, in an order that is left to chance.
    pub(crate) fn wanting(&mut self, now: Instant) -> Vec<usize> {
        let members = &self.members;
        let mut order: Vec<usize> =
            (0..members.len()).filter(|shard| members[*shard].wants_turn(now)).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, self.random.below(last as u64 + 1) as usize);
        }
        order
    }

    /// Whether anybody wants a turn now.
    pub(crate) fn wants_turn(&self, now: Instant) -> bool {
        self.members.iter().any(|member| member.wants_turn(now))
    }

    /// When there is something to do by itself.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.members.iter().filter_map(Member::deadline).min()
    }

    /// Has every shard take turns again, closes all that is open, and lets the rings go.
    pub(crate) fn close_all(&mut self) {
        for member in &mut self.members {
            member.suspended = false;
            member.abort_all();
            if let Some(port) = member.port_mut() {
                port.stalled = false;
                port.up = true;
            }
        }
    }

    /// Buffers of a shard's pool that are out, after those lent have been taken back.
    pub(crate) fn buffers_out(&self, shard: usize) -> usize {
        let pool = self.members[shard].shard.pool();
        pool.collect();
        pool.buffers_out()
    }

    /// What a shard has left behind after everything was closed; `Ok` if nothing.
    pub(crate) fn check_rest(&mut self) -> Result<(), String> {
        for (shard, member) in self.members.iter_mut().enumerate() {
            if let Some(port) = member.port_mut() {
                port.clear();
            }
            while member.shard.poll_ready().is_some() {}
            if member.mesh.has_something() {
                return Err(format!("shard {shard} has left something in its rings"));
            }
            if member.shard.has_work() {
                return Err(format!("shard {shard} has something left to say: {:?}", member.next));
            }
        }
        self.memory.reclaim();
        for shard in 0..self.members.len() {
            let out = self.buffers_out(shard);
            if out > 0 {
                let pool = self.members[shard].shard.pool();
                return Err(format!("shard {shard} has {out} buffers out: {pool:?}"));
            }
        }
        Ok(())
    }
}
