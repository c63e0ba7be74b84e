//! What joins the shards of one host: rings between every two of them, and alarms for those that sleep.
//!
//! Packets cross as loans in one bounded ring for each direction of each pair; a full one gives the packet back. Control
//! messages have rings of their own beside them, so that a flood of packets cannot delay them. A loan goes home
//! through its pool's return ring, which has room for all. Siblings are woken once a turn, and only if they sleep.
//!
//! [`ProxyQueue`] and [`SharedQueue`] are how a shard without a queue pair sends through a sibling that has one.

mod proxy;
mod ring;
#[cfg(all(test, not(loom)))]
mod tests;

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rtrb::RingBuffer;
use rustix::io::Errno;
use sunstar_device::Alarm;
use sunstar_packet::Loan;
use sunstar_stack::steering::ShardId;
use sunstar_stack::{Arrival, Control, Mesh};

pub use proxy::{CREDITS, ProxyQueue, ShareCounters, SharedQueue, Shares, Sharing, share};
use ring::Link;

/// How large a mesh's rings are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshConfig {
    /// Packets that fit into the ring from one shard to another.
    pub packets: usize,
    /// Control messages that fit beside them.
    pub messages: usize,
}

impl MeshConfig {
    /// Rings for so many shards: 1,024 packets each among few shards, fewer among many, whose rings grow with the square
    /// of their number.
    pub fn for_shards(shards: usize) -> Self {
        Self { packets: (4_096 / shards.max(1)).clamp(64, 1_024), messages: 256 }
    }
}

/// Why the rings between shards could not be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "no event descriptor for a shard's alarm: {0}; each shard takes one, raise the limit of open files (ulimit -n)"
)]
pub struct MeshError(#[from] Errno);

/// Joins so many shards: one end each, which may go to its shard's thread.
///
/// # Errors
/// [`MeshError`] when the process is out of descriptors.
pub fn join(shards: u16, config: &MeshConfig) -> Result<Vec<MeshEnd>, MeshError> {
    let alarms = (0..shards).map(|_| Alarm::new().map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let mut ends: Vec<_> = alarms
        .iter()
        .enumerate()
        .map(|(me, alarm)| MeshEnd {
            me: ShardId(me as u16),
            alarm: Arc::clone(alarm),
            links: (0..shards).map(|_| None).collect(),
            look_first: 0,
            deepest: 0,
            taken: 0,
        })
        .collect();
    for one in 0..usize::from(shards) {
        for other in one + 1..usize::from(shards) {
            let (packets_there, packets_in_there) = RingBuffer::new(config.packets.max(1));
            let (packets_here, packets_in_here) = RingBuffer::new(config.packets.max(1));
            let (told_there, heard_there) = RingBuffer::new(config.messages.max(1));
            let (told_here, heard_here) = RingBuffer::new(config.messages.max(1));
            let alarm = Arc::clone(&alarms[other]);
            ends[one].links[other] =
                Some(Link::new((packets_there, packets_in_here), (told_there, heard_here), alarm));
            let alarm = Arc::clone(&alarms[one]);
            ends[other].links[one] =
                Some(Link::new((packets_here, packets_in_there), (told_here, heard_there), alarm));
        }
    }
    Ok(ends)
}

/// One shard's end of all its rings.
#[derive(Debug)]
pub struct MeshEnd {
    me: ShardId,
    alarm: Arc<Alarm>,
    /// By sibling; nothing at its own place.
    links: Vec<Option<Link>>,
    /// The sibling whose rings are looked at first.
    look_first: usize,
    /// Packets that waited in one ring to this shard at most.
    deepest: usize,
    /// Packets and messages taken out of rings.
    taken: u64,
}

impl MeshEnd {
    /// Which shard's end it is.
    pub fn shard(&self) -> ShardId {
        self.me
    }

    /// What the shard is woken by.
    pub fn alarm(&self) -> &Arc<Alarm> {
        &self.alarm
    }

    /// Wakes the siblings that sleep and have something new in their rings. Once a turn.
    pub fn flush(&mut self) {
        for link in self.links.iter_mut().flatten() {
            link.flush();
        }
    }

    /// Packets and messages taken out of the rings so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether something waits in a ring to this shard.
    pub fn has_something(&self) -> bool {
        self.links.iter().flatten().any(Link::has_something)
    }

    fn is_alone(&self) -> bool {
        self.links.len() < 2
    }

    /// Before its shard sleeps: asks to be woken for what comes into a ring, and, if `wants_room`, for room in the
    /// queue of a sibling. True when something has come already.
    pub fn arm(&mut self, wants_room: bool) -> bool {
        if self.is_alone() {
            return false;
        }
        self.alarm.ask(if wants_room { Alarm::FRAMES | Alarm::ROOM } else { Alarm::FRAMES });
        let found = self.has_something();
        if found {
            self.alarm.withdraw();
        }
        found
    }

    /// What to wait on for reading while asleep; `None` without siblings.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_alone()).then(|| self.alarm.descriptor())
    }

    /// Packets that wait in the rings to this shard, and that waited in one of them at most so far.
    pub fn depth(&self) -> (usize, usize) {
        (self.links.iter().flatten().map(Link::depth).sum(), self.deepest)
    }

    /// The first sibling's answer, from the one whose turn it is on; that one comes last next time.
    fn first<T>(&mut self, mut ask: impl FnMut(&mut Link) -> Option<T>) -> Option<(ShardId, T)> {
        let siblings = self.links.len();
        for step in 0..siblings {
            let at = (self.look_first + step) % siblings;
            if let Some(found) = self.links[at].as_mut().and_then(&mut ask) {
                self.look_first = at + 1;
                self.taken += 1;
                return Some((ShardId(at as u16), found));
            }
        }
        None
    }
}

impl Mesh for MeshEnd {
    fn forward(&mut self, to: ShardId, arrival: Arrival, loan: Loan) -> Result<(), Loan> {
        match self.links.get_mut(usize::from(to.0)) {
            Some(Some(link)) => link.forward(arrival, loan),
            _ => Err(loan),
        }
    }

    fn receive(&mut self) -> Option<(Arrival, Loan)> {
        let mut depth = 0;
        let found = self.first(|link| {
            depth = link.depth();
            link.receive()
        });
        self.deepest = self.deepest.max(depth);
        found.map(|(_, packet)| packet)
    }

    fn tell(&mut self, to: ShardId, message: Control) -> bool {
        match self.links.get_mut(usize::from(to.0)) {
            Some(Some(link)) => link.tell(message),
            _ => false,
        }
    }

    fn hear(&mut self) -> Option<(ShardId, Control)> {
        self.first(Link::hear)
    }
}
