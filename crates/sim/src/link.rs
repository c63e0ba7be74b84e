//! One direction of a link: what it does to frames on their way, decided by its own seeded generator.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sunstar_packet::{ChecksumNote, Medium};
use sunstar_stack::random::Random;
use sunstar_stack::time::Instant;

use crate::frame::Frame;
use crate::trace::Fate;

/// What a link does to frames. Probabilities are from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Impairments {
    /// How long a frame is on its way.
    pub latency: Duration,
    /// How much longer, at most; each frame draws its own, and order is kept.
    pub jitter: Duration,
    /// How often a frame is lost.
    pub loss: f64,
    /// Frames that are lost in bursts, besides.
    pub bursts: Option<Bursts>,
    /// How often a frame arrives twice.
    pub duplication: f64,
    /// How often a frame is held back while later ones pass it.
    pub reordering: f64,
    /// How long such a frame is held back at most.
    pub held_back: Duration,
    /// How often one bit of an IP packet is flipped. A frame whose checksum is still to be completed was never on
    /// a real wire and is spared, and so are ARP packets, which rely on the link's own check.
    pub corruption: f64,
    /// IP packets longer than this many bytes vanish.
    pub black_hole: Option<usize>,
    /// Who says so when a packet vanishes for its length, and which MTU that router names (0 as those before RFC 1191
    /// do). In a black hole nobody does.
    pub too_big: Option<(Ipv4Addr, u16)>,
    /// A router on the way that sends so many bits a second, and queues so many frames; what finds the queue
    /// full is dropped.
    pub bottleneck: Option<(u64, usize)>,
}

impl Default for Impairments {
    /// A perfect link.
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            bursts: None,
            duplication: 0.0,
            reordering: 0.0,
            held_back: Duration::from_millis(5),
            corruption: 0.0,
            black_hole: None,
            too_big: None,
            bottleneck: None,
        }
    }
}

/// Losses that come in bursts: a link that is good for a while, and bad for a while.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bursts {
    /// How often a frame is the first of a bad time.
    pub begin: f64,
    /// How often a frame is the first of a good time.
    pub end: f64,
    /// How often a frame is lost in a bad time.
    pub loss: f64,
}

/// What a link did to frames, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Frames given to it.
    pub sent: u64,
    /// Frames lost by chance or by order.
    pub lost: u64,
    /// Frames that arrive twice.
    pub duplicated: u64,
    /// Frames held back.
    pub reordered: u64,
    /// Frames with a bit flipped.
    pub corrupted: u64,
    /// Frames longer than the black hole lets through.
    pub too_long: u64,
    /// Frames that found the bottleneck's queue full.
    pub queue_full: u64,
    /// Frames sent while the link was cut.
    pub no_link: u64,
}

struct InFlight {
    arrival: Instant,
    order: u64,
    frame: Frame,
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for InFlight {}

impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InFlight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.arrival, self.order).cmp(&(other.arrival, other.order))
    }
}

/// One direction of a link.
pub(crate) struct Link {
    pub(crate) impairments: Impairments,
    pub(crate) counters: LinkCounters,
    /// Whether frames vanish without either end noticing.
    pub(crate) cut: bool,
    medium: Medium,
    random: Random,
    flight: BinaryHeap<Reverse<InFlight>>,
    order: u64,
    last_arrival: Instant,
    /// Whether frames are lost in a burst at the moment.
    in_burst: bool,
    /// Frames by number, from the first ever sent, that the scenario wants lost.
    to_lose: BTreeSet<u64>,
    /// When each frame in the bottleneck's queue has left it, and when it is free, in nanoseconds.
    bottleneck: (VecDeque<u64>, u64),
}

impl Link {
    pub(crate) fn new(medium: Medium, impairments: Impairments, random: Random) -> Self {
        Self {
            impairments,
            counters: LinkCounters::default(),
            cut: false,
            medium,
            random,
            flight: BinaryHeap::new(),
            order: 0,
            last_arrival: Instant::ZERO,
            in_burst: false,
            to_lose: BTreeSet::new(),
            bottleneck: Default::default(),
        }
    }

    /// Loses the `nth` frame from now on; 1 is the next.
    pub(crate) fn lose_nth(&mut self, nth: u64) {
        self.to_lose.insert(self.counters.sent + nth.max(1) - 1);
    }

    /// Forgets what it was to lose.
    pub(crate) fn lose_no_more(&mut self) {
        self.to_lose.clear();
    }

    /// When the next frame arrives.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.flight.peek().map(|Reverse(next)| next.arrival)
    }

    /// The next frame that has arrived by `now`.
    pub(crate) fn arrived(&mut self, now: Instant) -> Option<Frame> {
        let Reverse(next) = self.flight.peek()?;
        if next.arrival > now {
            return None;
        }
        self.flight.pop().map(|Reverse(next)| next.frame)
    }

    /// Frames on their way.
    pub(crate) fn in_flight(&self) -> usize {
        self.flight.len()
    }

    /// Drops what is on its way.
    pub(crate) fn clear(&mut self) {
        self.flight.clear();
    }

    fn chance(&mut self, probability: f64) -> bool {
        // Nothing is drawn for what cannot happen, so that a perfect link needs no chance.
        probability > 0.0 && (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 <= probability
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.random.below(longest.as_micros() as u64 + 1))
    }

    /// Takes a frame that has left its sender at `at`; what became of it. `doomed` says that the scenario wants it lost.
    pub(crate) fn send(&mut self, at: Instant, mut frame: Frame, doomed: bool) -> Fate {
        let number = self.counters.sent;
        self.counters.sent += 1;
        let header = if self.medium == Medium::Ethernet { 14 } else { 0 };
        if self.cut {
            self.counters.no_link += 1;
            return Fate::NoLink;
        }
        if self.to_lose.remove(&number) | doomed || self.is_lost() {
            self.counters.lost += 1;
            return Fate::Lost;
        }
        if self.impairments.black_hole.is_some_and(|longest| frame.piece_len() > longest + header) {
            self.counters.too_long += 1;
            return Fate::TooLong;
        }
        let Some(leaves) = self.through_bottleneck(at, frame.bytes.len()) else {
            self.counters.queue_full += 1;
            return Fate::QueueFull;
        };
        let jitter = self.impairments.jitter;
        let arrival = leaves + self.impairments.latency + self.up_to(jitter);
        let twin = frame.clone();
        let mut fate = Fate::Crossed;
        let (corruption, reordering) = (self.impairments.corruption, self.impairments.reordering);
        let duplication = self.impairments.duplication;
        // Of two bits flipped in one packet the checksum may notice neither.
        if frame.notes.checksum == ChecksumNote::None
            && !frame.damaged
            && is_ip(&frame.bytes, self.medium)
            && self.chance(corruption)
        {
            let mut changed = frame.bytes.to_vec();
            let bit = self.random.below((changed.len() - header) as u64 * 8) as usize;
            changed[header + bit / 8] ^= 1 << (bit % 8);
            (frame.bytes, frame.damaged) = (changed.into(), true);
            self.counters.corrupted += 1;
            fate = Fate::Corrupted;
        }
        if self.chance(duplication) {
            let later = self.up_to(self.impairments.held_back);
            self.put(arrival.max(self.last_arrival) + later, twin);
            self.counters.duplicated += 1;
            fate = Fate::Duplicated;
        }
        if self.chance(reordering) {
            let held_back = self.up_to(self.impairments.held_back);
            self.put(arrival + held_back, frame);
            self.counters.reordered += 1;
            return Fate::Reordered;
        }
        self.last_arrival = self.last_arrival.max(arrival);
        self.put(self.last_arrival, frame);
        fate
    }

    /// Takes what a router on the way says to the end this direction leads to.
    pub(crate) fn answer(&mut self, at: Instant, bytes: Vec<u8>) {
        self.put(at + self.impairments.latency, Frame::plain(bytes));
    }

    /// Whether chance has the next frame lost: alone, or in a burst (the model of Gilbert and Elliott).
    fn is_lost(&mut self) -> bool {
        if let Some(bursts) = self.impairments.bursts {
            let turns = if self.in_burst { bursts.end } else { bursts.begin };
            self.in_burst ^= self.chance(turns);
            if self.in_burst && self.chance(bursts.loss) {
                return true;
            }
        }
        self.chance(self.impairments.loss)
    }

    fn put(&mut self, arrival: Instant, frame: Frame) {
        self.order += 1;
        self.flight.push(Reverse(InFlight { arrival, order: self.order, frame }));
    }

    /// When a frame has left the bottleneck; `None` if its queue is full.
    fn through_bottleneck(&mut self, at: Instant, bytes: usize) -> Option<Instant> {
        let Some((rate, longest)) = self.impairments.bottleneck else { return Some(at) };
        let now = at.as_micros() * 1_000;
        let (queue, free_at) = &mut self.bottleneck;
        while queue.front().is_some_and(|leaves| *leaves <= now) {
            queue.pop_front();
        }
        if queue.len() >= longest.max(1) {
            return None;
        }
        *free_at = now.max(*free_at) + (bytes as u64 * 8).saturating_mul(1_000_000_000) / rate.max(1);
        queue.push_back(*free_at);
        Some(Instant::from_micros(free_at.div_ceil(1_000)))
    }
}

fn is_ip(frame: &[u8], medium: Medium) -> bool {
    medium == Medium::Ip || frame.get(12..14) == Some(&[0x08, 0x00])
}
