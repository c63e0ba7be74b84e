//! A host of many shards in virtual time: real shards, joined by the real mesh, on as many queues as they have or fewer,
//! with one host of one shard at the other end of a perfect link.

mod builder;
mod door;
mod member;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sunstar::mesh::Shares;
use sunstar_packet::{Memory, Notes, Packet};
use sunstar_stack::random::Random;
use sunstar_stack::steering::Steering;
use sunstar_stack::time::Instant;
use sunstar_stack::{Counters, Shard};

use crate::check::check_frame;
use crate::craft::Envelope;
use crate::decode::{Body, Decoded, Transport};
use crate::host::{Host, Said};
use crate::port::Sent;
pub use builder::{ClusterBuilder, Nic};
use member::Member;

/// A frame on its way.
struct InFlight {
    arrival: Instant,
    /// To this queue of the cluster; to the peer if `None`.
    to: Option<usize>,
    bytes: Vec<u8>,
    notes: Notes,
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
    address: Ipv4Addr,
    members: Vec<Member>,
    queues: usize,
    nic: Nic,
    steering: Steering,
    latency: Duration,
    in_flight: VecDeque<InFlight>,
    heard: Vec<Heard>,
    /// Which shard has built segments of a flow: one only, ever.
    builders: BTreeMap<(SocketAddr, SocketAddr), usize>,
    next_queue: usize,
    random: Random,
    now: Instant,
    turns_at_once: u32,
    memory: Memory,
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
        SocketAddr::new(self.address.into(), port)
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        self.members.len()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// How packets are spread.
    pub fn steering(&self) -> &Steering {
        &self.steering
    }

    /// One of its shards, to look at.
    pub fn shard(&self, shard: usize) -> &Shard {
        &self.members[shard].shard
    }

    /// One of its shards, to call. What follows happens when the cluster is driven.
    pub fn shard_mut(&mut self, shard: usize) -> &mut Shard {
        let now = self.now;
        let member = &mut self.members[shard];
        member.touched = true;
        member.shard.set_now(now);
        &mut member.shard
    }

    /// What one of its shards counted.
    pub fn counters(&self, shard: usize) -> &Counters {
        self.members[shard].shard.counters()
    }

    /// The sum of a counter over all shards.
    pub fn total(&self, read: impl Fn(&Counters) -> u64) -> u64 {
        self.members.iter().map(|member| read(member.shard.counters())).sum()
    }

    /// Who has sent how much through the queue of a shard that owns one.
    pub fn shares(&self, owner: usize) -> Shares {
        self.members[owner].shares().expect("that shard owns a queue")
    }

    /// Frames of a shard without a queue that are in the hands of its queue's owner.
    pub fn credits_out(&self, shard: usize) -> usize {
        self.members[shard].credits_out()
    }

    /// Buffers of a shard's pool that are out, after those lent have been taken back.
    pub fn buffers_out(&self, shard: usize) -> usize {
        let pool = self.members[shard].shard.pool();
        pool.collect();
        pool.buffers_out()
    }

    /// The frames that left, since the last time.
    pub fn heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }

    /// Its core is taken away: the shard takes no turn from now on.
    pub fn suspend(&mut self, shard: usize) {
        self.members[shard].suspended = true;
    }

    /// It takes turns again.
    pub fn wake(&mut self, shard: usize) {
        self.members[shard].suspended = false;
    }

    /// A shard's own code has failed: what it had is gone, and a fresh one takes its place.
    pub fn replace(&mut self, shard: usize) {
        let now = self.now;
        self.members[shard].replace(now);
    }

    /// A queue takes nothing from now on, or again.
    pub fn stall(&mut self, queue: usize, stalled: bool) {
        let port = self.members[queue].port_mut().expect("the first shards own the queues");
        port.stalled = stalled;
        self.members[queue].touched = true;
    }

    /// From the peer to the cluster, for frames of the scenario's own.
    pub fn envelope(&self) -> Envelope {
        let device = self.peer.device();
        Envelope {
            medium: device.medium,
            source_mac: device.mac,
            destination_mac: self.members[0].device.mac,
            source: self.peer.address(),
            destination: self.address,
            ttl: 64,
            ecn: 0,
        }
    }

    /// Puts a frame on a queue.
    pub fn inject(&mut self, queue: usize, frame: &[u8]) {
        self.deliver(queue, frame, Notes::default());
    }

    fn deliver(&mut self, queue: usize, frame: &[u8], notes: Notes) {
        let member = &mut self.members[queue];
        member.touched = true;
        // A frame for which there is no buffer is lost, as on a card.
        let Some(buffer) = member.shard.pool().copy_of(frame) else { return };
        let mut packet = Packet::new(buffer);
        packet.notes = notes;
        let pool = member.shard.pool().clone();
        if let (Ok(loan), Some(port)) = (packet.lend(&pool), member.port_mut()) {
            port.deliver(loan);
        }
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
        for shard in self.in_some_order() {
            // Now and then a core is busy with something else.
            if self.members[shard].wants_turn(self.now) && self.random.below(8) > 0 {
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
        if happened || self.members.iter().any(|member| member.wants_turn(now)) {
            return true;
        }
        let deadlines = self.members.iter().filter_map(Member::deadline).chain(self.peer.deadline());
        let next = deadlines.chain(self.in_flight.front().map(|frame| frame.arrival)).min();
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        if next > self.now {
            (self.now, self.turns_at_once) = (next, 0);
        }
        true
    }

    fn in_some_order(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, self.random.below(last as u64 + 1) as usize);
        }
        order
    }

    fn turn(&mut self, shard: usize) {
        let now = self.now;
        self.members[shard].turn(now);
        for queue in 0..self.queues {
            let sent = self.members[queue].port_mut().map(|port| port.take_sent()).unwrap_or_default();
            for frame in sent {
                self.on_sent(queue, frame);
            }
        }
    }

    /// Judges a frame, and puts it on its way.
    fn on_sent(&mut self, queue: usize, sent: Sent) {
        let bytes: Vec<u8> = sent.frame.pieces().flatten().copied().collect();
        let notes = sent.frame.notes;
        let decoded = match check_frame(&bytes, &notes, &self.members[queue].device) {
            Ok(decoded) => decoded,
            Err(what) => panic!("queue {queue} at {} is wrong: {what}", self.now),
        };
        self.judge_builder(&decoded);
        self.heard.push(Heard { at: self.now, queue, frame: decoded });
        self.in_flight.push_back(InFlight { arrival: sent.at + self.latency, to: None, bytes, notes });
    }

    /// Invariant 18: a flow's segments are built by one shard, which is where its packets in belong.
    fn judge_builder(&mut self, frame: &Decoded) {
        let Body::Ip(_, Transport::Tcp(segment)) = &frame.body else { return };
        let (local, remote) = (SocketAddr::V4(segment.source), SocketAddr::V4(segment.destination));
        let holds = |member: &Member| {
            member.shard.tcp_connections().any(|info| info.local == local && info.remote == remote)
        };
        let Some(shard) = self.members.iter().position(holds) else { return };
        let others = self.members.iter().filter(|member| holds(member)).count();
        assert_eq!(others, 1, "the flow from {local} to {remote} lives on several shards");
        let first = *self.builders.entry((local, remote)).or_insert(shard);
        let reborn = self.members[first].incarnation > 0;
        assert!(first == shard || reborn, "the flow from {local} to {remote} has changed its shard");
    }

    fn on_peer_said(&mut self, said: Said) {
        let queue = match self.nic {
            Nic::Steering => {
                let medium = self.members[0].device.medium;
                // A card that is kept in step with the owners of ports.
                let steering = self.members[0].shard.steering();
                let shard = steering.shard_of_frame(&said.bytes, medium).unwrap_or_default();
                usize::from(shard.0) % self.queues
            }
            Nic::Queue(queue) => queue,
            Nic::Random => self.random.below(self.queues as u64) as usize,
            Nic::InTurn => {
                self.next_queue += 1;
                self.next_queue % self.queues
            }
        };
        let (arrival, notes) = (said.sent.at + self.latency, said.sent.frame.notes);
        self.in_flight.push_back(InFlight { arrival, to: Some(queue), bytes: said.bytes, notes });
    }

    /// Gives the ends what has arrived; whether there was anything.
    fn hand_over(&mut self) -> bool {
        let mut arrived = false;
        while self.in_flight.front().is_some_and(|frame| frame.arrival <= self.now) {
            let Some(InFlight { to, bytes, notes, .. }) = self.in_flight.pop_front() else { break };
            match to {
                Some(queue) => self.deliver(queue, &bytes, notes),
                None => self.peer.receive_frame(&bytes, notes),
            }
            arrived = true;
        }
        arrived
    }

    /// How the cluster chooses the queue that a frame of the peer's comes in by.
    pub fn set_nic(&mut self, nic: Nic) {
        self.nic = nic;
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
        for member in &mut self.members {
            member.suspended = false;
            member.abort_all();
            if let Some(port) = member.port_mut() {
                port.stalled = false;
            }
        }
        let end = self.now + Duration::from_secs(300);
        while self.step_until(end) {}
        self.in_flight.clear();
        for (shard, member) in self.members.iter_mut().enumerate() {
            if let Some(port) = member.port_mut() {
                port.clear();
            }
            while member.shard.poll_ready().is_some() {}
            assert!(!member.mesh.has_something(), "shard {shard} has left something in its rings");
            assert!(!member.shard.has_work(), "shard {shard} has something left to say: {:?}", member.next);
        }
        self.memory.reclaim();
        for shard in 0..self.members.len() {
            let out = self.buffers_out(shard);
            assert_eq!(out, 0, "shard {shard} has buffers out: {:?}", self.members[shard].shard.pool());
        }
        let living = self.members.len() + 1;
        assert_eq!(self.memory.homes(), living, "the buffers of dead shards are home, too");
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
            .field("wanting", &self.members.iter().enumerate().filter_map(wanting).collect::<Vec<_>>())
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
