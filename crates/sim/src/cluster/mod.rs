//! A host of many shards in virtual time: real shards, joined by the real mesh, on as many queues as they have or fewer,
//! with one host of one shard at the other end of a perfect link.

mod builder;
mod door;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use sunstar::mesh::Shares;
use sunstar_packet::Notes;
use sunstar_stack::random::Random;
use sunstar_stack::steering::Steering;
use sunstar_stack::time::Instant;
use sunstar_stack::{Counters, Shard};

use crate::check::check_frame;
use crate::craft::Envelope;
use crate::decode::{Body, Decoded, Transport};
use crate::frame::Frame;
use crate::host::{Host, Said};
use crate::machine::{Machine, Member, Nic};
use crate::port::Sent;
pub use builder::ClusterBuilder;

/// A frame on its way.
struct InFlight {
    arrival: Instant,
    /// To this queue of the cluster; to the peer if `None`.
    to: Option<usize>,
    frame: Frame,
}

/// A frame that a queue has sent, as an independent parser reads it.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// By which queue.
    pub queue: usize,
    /// What it says.
    pub frame: Decoded,
}

/// One host of many shards, 10.0.0.2, and its peer, 10.0.0.1.
pub struct Cluster {
    /// The peer at the other end of the link.
    pub peer: Host,
    machine: Machine,
    latency: Duration,
    in_flight: VecDeque<InFlight>,
    heard: Vec<Heard>,
    /// Which shard has built segments of a flow: one only, ever.
    builders: BTreeMap<(SocketAddr, SocketAddr), usize>,
    random: Random,
    now: Instant,
    turns_at_once: u32,
    finished: bool,
}

impl Cluster {
    /// Rounds of turns without time passing that are a circle, and no work.
    const MAX_TURNS_AT_ONCE: u32 = 100_000;

    /// Describes one: so many shards, each with a queue of its own.
    pub fn builder(shards: u16) -> ClusterBuilder {
        ClusterBuilder::new(shards)
    }

    /// One of its ports, as others reach it.
    pub fn at(&self, port: u16) -> SocketAddr {
        self.machine.at(port)
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        self.machine.members.len()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// How packets are spread.
    pub fn steering(&self) -> &Steering {
        &self.machine.steering
    }

    /// One of its shards, to look at.
    pub fn shard(&self, shard: usize) -> &Shard {
        &self.machine.members[shard].shard
    }

    /// One of its shards, to call. What follows happens when the cluster is driven.
    pub fn shard_mut(&mut self, shard: usize) -> &mut Shard {
        self.machine.shard_mut(shard, self.now)
    }

    /// What one of its shards counted.
    pub fn counters(&self, shard: usize) -> &Counters {
        self.machine.members[shard].shard.counters()
    }

    /// The sum of a counter over all shards.
    pub fn total(&self, read: impl Fn(&Counters) -> u64) -> u64 {
        self.machine.total(read)
    }

    /// Who has sent how much through the queue of a shard that owns one.
    pub fn shares(&self, owner: usize) -> Shares {
        self.machine.members[owner].shares().expect("that shard owns a queue")
    }

    /// Frames of a shard without a queue that are in the hands of its queue's owner.
    pub fn credits_out(&self, shard: usize) -> usize {
        self.machine.members[shard].credits_out()
    }

    /// Buffers of a shard's pool that are out, after those lent have been taken back.
    pub fn buffers_out(&self, shard: usize) -> usize {
        self.machine.buffers_out(shard)
    }

    /// The frames that left, since the last time.
    pub fn heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }

    /// Its core is taken away: the shard takes no turn from now on.
    pub fn suspend(&mut self, shard: usize) {
        self.machine.members[shard].suspended = true;
    }

    /// It takes turns again.
    pub fn wake(&mut self, shard: usize) {
        self.machine.members[shard].suspended = false;
    }

    /// A shard's own code has failed: what it had is gone, and a fresh one takes its place.
    pub fn replace(&mut self, shard: usize) {
        let now = self.now;
        self.machine.members[shard].replace(now);
    }

    /// A queue takes nothing from now on, or again.
    pub fn stall(&mut self, queue: usize, stalled: bool) {
        let port = self.machine.members[queue].port_mut().expect("the first shards own the queues");
        port.stalled = stalled;
        self.machine.members[queue].touched = true;
    }

    /// From the peer to the cluster, for frames of the scenario's own.
    pub fn envelope(&self) -> Envelope {
        let device = self.peer.device();
        Envelope {
            medium: device.medium,
            source_mac: device.mac,
            destination_mac: self.machine.members[0].device.mac,
            source: self.peer.address(),
            destination: self.machine.address,
            ttl: 64,
            ecn: 0,
        }
    }

    /// Puts a frame on a queue.
    pub fn inject(&mut self, queue: usize, frame: &[u8]) {
        self.machine.deliver(queue, frame, Notes::default());
    }

    /// Lets so much time pass.
    pub fn drive_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step_until(end) {}
        self.now = end;
    }

    /// One round of turns, of whoever wants one now.
    pub fn step(&mut self) {
        self.step_until(self.now);
    }

    /// Until a condition holds, for `patience` at most; whether it holds.
    #[must_use = "whether the condition holds is what a scenario asserts"]
    pub fn drive_until(&mut self, mut condition: impl FnMut(&mut Self) -> bool, patience: Duration) -> bool {
        let end = self.now + patience;
        while !condition(self) {
            if !self.step_until(end) {
                self.now = end;
                return condition(self);
            }
        }
        true
    }

    /// Everything that can happen now; or else time jumps to what comes next, if that is by `end`.
    fn step_until(&mut self, end: Instant) -> bool {
        self.turns_at_once += 1;
        assert!(self.turns_at_once < Self::MAX_TURNS_AT_ONCE, "shards turn in circles: {self:?}");
        let mut happened = self.hand_over();
        for shard in self.machine.wanting(self.now) {
            // Now and then a core is busy with something else.
            if self.random.below(8) > 0 {
                self.turn(shard);
                happened = true;
            }
        }
        let now = self.now;
        if self.peer.is_busy() || self.peer.deadline().is_some_and(|deadline| deadline <= now) {
            for said in self.peer.turn(now) {
                self.on_peer_said(said);
            }
            happened = true;
        }
        if happened || self.machine.wants_turn(now) {
            return true;
        }
        let deadlines = self.machine.deadline().into_iter().chain(self.peer.deadline());
        let next = deadlines.chain(self.in_flight.front().map(|frame| frame.arrival)).min();
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        if next > self.now {
            (self.now, self.turns_at_once) = (next, 0);
        }
        true
    }

    fn turn(&mut self, shard: usize) {
        for (queue, sent) in self.machine.turn(shard, self.now) {
            self.on_sent(queue, sent);
        }
    }

    /// Judges a frame, and puts it on its way.
    fn on_sent(&mut self, queue: usize, Sent { at, frame }: Sent) {
        let decoded = match check_frame(&frame.bytes, &frame.notes, &self.machine.device) {
            Ok(decoded) => decoded,
            Err(breach) => panic!("queue {queue} at {}: {breach}", self.now),
        };
        self.judge_builder(&decoded);
        self.heard.push(Heard { at: self.now, queue, frame: decoded });
        self.in_flight.push_back(InFlight { arrival: at + self.latency, to: None, frame });
    }

    /// Invariant 18: a flow's segments are built by one shard, which is where its packets in belong.
    fn judge_builder(&mut self, frame: &Decoded) {
        let Body::Ip(_, Transport::Tcp(segment)) = &frame.body else { return };
        let (local, remote) = (SocketAddr::V4(segment.source), SocketAddr::V4(segment.destination));
        let holds = |member: &Member| {
            member.shard.tcp_connections().any(|info| info.local == local && info.remote == remote)
        };
        let Some(shard) = self.machine.members.iter().position(holds) else { return };
        let others = self.machine.members.iter().filter(|member| holds(member)).count();
        assert_eq!(others, 1, "the flow from {local} to {remote} lives on several shards");
        let first = *self.builders.entry((local, remote)).or_insert(shard);
        let reborn = self.machine.members[first].incarnation > 0;
        assert!(first == shard || reborn, "the flow from {local} to {remote} has changed its shard");
    }

    fn on_peer_said(&mut self, Said { at, frame, .. }: Said) {
        let queue = self.machine.queue_of(&frame.bytes);
        self.in_flight.push_back(InFlight { arrival: at + self.latency, to: Some(queue), frame });
    }

    /// Gives the ends what has arrived; whether there was anything.
    fn hand_over(&mut self) -> bool {
        let mut arrived = false;
        while self.in_flight.front().is_some_and(|frame| frame.arrival <= self.now) {
            let Some(InFlight { to, frame, .. }) = self.in_flight.pop_front() else { break };
            match to {
                Some(queue) => self.machine.deliver(queue, &frame.bytes, frame.notes),
                None => self.peer.receive_frame(&frame.bytes, frame.notes),
            }
            arrived = true;
        }
        arrived
    }

    /// How the cluster chooses the queue that a frame of the peer's comes in by.
    pub fn set_nic(&mut self, nic: Nic) {
        self.machine.nic = nic;
    }

    /// Ends the scenario: every socket is closed, connections end, and then nothing may be left behind.
    ///
    /// # Panics
    /// When a shard does not come to rest, or a buffer is not home.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.finished = true;
        self.peer.close_all();
        self.machine.close_all();
        let end = self.now + Duration::from_secs(300);
        while self.step_until(end) {}
        self.in_flight.clear();
        if let Err(what) = self.machine.check_rest() {
            panic!("{what}");
        }
        let living = self.machine.members.len() + 1;
        assert_eq!(self.machine.memory.homes(), living, "the buffers of dead shards are home, too");
    }
}

impl std::fmt::Debug for Cluster {
    /// Who wants a turn, and why.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wanting = |(shard, member): (usize, &Member)| {
            member.wants_turn(self.now).then_some((
                shard,
                member.next,
                member.touched,
                member.shard.pool().clone(),
            ))
        };
        f.debug_struct("Cluster")
            .field("now", &self.now)
            .field(
                "wanting",
                &self.machine.members.iter().enumerate().filter_map(wanting).collect::<Vec<_>>(),
            )
            .field("peer_is_busy", &self.peer.is_busy())
            .field("peer_deadline", &self.peer.deadline())
            .finish_non_exhaustive()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.finished && !std::thread::panicking() {
            self.end();
        }
    }
}
