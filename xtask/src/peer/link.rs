//! A link between two interfaces that loses frames, delays them and lets some overtake others: what `netem` does, for
//! kernels that have none. It is a wire of a fixed rate with a queue ahead of it, the same in both directions.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use super::packet_socket::PacketSocket;

/// Bits a second of each direction.
const RATE: u64 = 100_000_000;

/// How long a frame may wait for those before it. One that would wait longer is dropped.
const QUEUE: Duration = Duration::from_millis(20);

/// How much longer than others a frame is on its way, at most, that is overtaken.
const HELD_BACK: Duration = Duration::from_millis(5);

/// The longest frame. Longer ones mean that an interface leaves segmentation to the link, which is not to be.
const LONGEST: usize = 1_514;

/// Frames taken from one side before the other has its turn.
const BURST: usize = 64;

/// How often it is told what became of the frames.
const REPORT: Duration = Duration::from_millis(250);

/// What a link does to frames. Written as its figures with commas between them, in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Conditions {
    /// How often a frame is lost, from 0 to 1.
    pub(crate) loss: f64,
    /// How often a frame is held back while others overtake it, from 0 to 1.
    pub(crate) reordering: f64,
    /// Milliseconds a frame is on its way.
    pub(crate) delay: u64,
    /// Of all that is left to chance.
    pub(crate) seed: u64,
}

impl FromStr for Conditions {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let figures: Vec<f64> = text.split(',').filter_map(|figure| figure.parse().ok()).collect();
        match figures[..] {
            [loss, reordering, delay, seed]
                if (0.0..=1.0).contains(&loss) && (0.0..=1.0).contains(&reordering) =>
            {
                Ok(Self { loss, reordering, delay: delay as u64, seed: seed as u64 })
            }
            _ => Err(io::Error::new(ErrorKind::InvalidInput, format!("{text} are no conditions"))),
        }
    }
}

impl std::fmt::Display for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { loss, reordering, delay, seed } = self;
        write!(f, "{loss},{reordering},{delay},{seed}")
    }
}

/// A frame on its way, the first to arrive the least.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    arrival: Instant,
    number: u64,
    to: usize,
    frame: Vec<u8>,
}

/// Joins two interfaces, until it is ended.
pub(super) fn join(interfaces: [&str; 2], conditions: Conditions) -> io::Result<()> {
    let open = PacketSocket::open_to_receive;
    let sockets = [open(interfaces[0])?, open(interfaces[1])?];
    println!("{}", json!({ "joined": interfaces }));
    let mut ways = [0, 1].map(|way| Way::new(conditions, 2 * conditions.seed + way, Instant::now()));
    let mut flight = BinaryHeap::new();
    let mut number = 0;
    let (mut told, mut told_at) = (0, Instant::now());
    loop {
        while let Some(next) = next_arrived(&mut flight, Instant::now()) {
            sockets[next.to].send(&next.frame)?;
        }
        for (from, way) in ways.iter_mut().enumerate() {
            for _ in 0..BURST {
                let mut frame = vec![0; LONGEST + 1];
                let Some(len) = sockets[from].receive(&mut frame)? else { break };
                if len > LONGEST {
                    let what = format!("{} leaves segmentation to the link", interfaces[from]);
                    return Err(io::Error::new(ErrorKind::InvalidData, what));
                }
                frame.truncate(len);
                if let Some(arrival) = way.pass(Instant::now(), len) {
                    number += 1;
                    flight.push(Reverse(InFlight { arrival, number, to: 1 - from, frame }));
                }
            }
        }
        let frames = ways.iter().map(|way| way.frames).sum();
        if frames > told && told_at.elapsed() >= REPORT {
            (told, told_at) = (frames, Instant::now());
            println!("{}", report(&ways));
        }
        wait(&sockets, flight.peek().map(|Reverse(next)| next.arrival))?;
    }
}

fn next_arrived(flight: &mut BinaryHeap<Reverse<InFlight>>, now: Instant) -> Option<InFlight> {
    let arrived = flight.peek().is_some_and(|Reverse(next)| next.arrival <= now);
    if arrived { flight.pop().map(|Reverse(next)| next) } else { None }
}

/// Waits until a frame comes, or one has arrived, or it is time to report.
fn wait(sockets: &[PacketSocket; 2], arrival: Option<Instant>) -> io::Result<()> {
    let left =
        arrival.map_or(REPORT, |arrival| arrival.saturating_duration_since(Instant::now()).min(REPORT));
    let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
    let mut sockets = sockets.each_ref().map(|socket| PollFd::new(socket, PollFlags::IN));
    match poll(&mut sockets, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn report(ways: &[Way; 2]) -> serde_json::Value {
    let sum = |of: fn(&Way) -> u64| ways.iter().map(of).sum::<u64>();
    json!({
        "frames": sum(|way| way.frames),
        "lost": sum(|way| way.lost),
        "reordered": sum(|way| way.reordered),
        "queue_full": sum(|way| way.queue_full),
    })
}

/// One direction.
struct Way {
    conditions: Conditions,
    chance: Chance,
    /// When the wire is free for the next frame.
    free_at: Instant,
    frames: u64,
    lost: u64,
    reordered: u64,
    queue_full: u64,
}

impl Way {
    fn new(conditions: Conditions, seed: u64, now: Instant) -> Self {
        let chance = Chance(seed);
        Self { conditions, chance, free_at: now, frames: 0, lost: 0, reordered: 0, queue_full: 0 }
    }

    /// When a frame of so many bytes arrives, if it does.
    fn pass(&mut self, now: Instant, len: usize) -> Option<Instant> {
        self.frames += 1;
        if self.chance.strikes(self.conditions.loss) {
            self.lost += 1;
            return None;
        }
        let starts = self.free_at.max(now);
        if starts - now > QUEUE {
            self.queue_full += 1;
            return None;
        }
        self.free_at = starts + Duration::from_nanos(len as u64 * 8 * 1_000_000_000 / RATE);
        let arrival = self.free_at + Duration::from_millis(self.conditions.delay);
        if self.chance.strikes(self.conditions.reordering) {
            self.reordered += 1;
            return Some(arrival + HELD_BACK.mul_f64(self.chance.fraction()));
        }
        Some(arrival)
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Chance(u64);

impl Chance {
    /// From 0 to 1, without 1.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn strikes(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Conditions = Conditions { loss: 0.0, reordering: 0.0, delay: 10, seed: 1 };

    #[test]
    fn conditions_are_read_as_they_are_written() {
        let conditions = Conditions { loss: 0.01, reordering: 0.05, delay: 10, seed: 7 };
        assert_eq!(conditions.to_string().parse::<Conditions>().unwrap(), conditions);
        for wrong in ["", "0.01,0,10", "2,0,10,1", "0,0,ten,1"] {
            assert!(wrong.parse::<Conditions>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_frame_is_as_long_on_its_way_as_the_rate_and_the_delay_say() {
        let now = Instant::now();
        let mut way = Way::new(NOTHING, 1, now);
        let arrivals = [1_250, 1_250].map(|len| way.pass(now, len).unwrap() - now);
        assert_eq!(arrivals, [10_100, 10_200].map(Duration::from_micros));
    }

    #[test]
    fn what_would_wait_for_too_long_is_dropped() {
        let now = Instant::now();
        let mut way = Way::new(NOTHING, 1, now);
        let passed = (0..1_000).filter(|_| way.pass(now, 1_250).is_some()).count();
        assert_eq!(
            (passed, way.queue_full),
            (201, 799),
            "20 ms of a tenth of a millisecond each, and one on the wire"
        );
        assert!(way.pass(now + QUEUE, 1_250).is_some());
    }

    #[test]
    fn as_many_are_lost_and_overtaken_as_it_says_and_all_others_keep_their_order() {
        let now = Instant::now();
        let mut way = Way::new(Conditions { loss: 0.01, reordering: 0.05, ..NOTHING }, 1, now);
        let arrivals: Vec<Instant> =
            (0..100_000).filter_map(|number| way.pass(now + Duration::from_millis(number), 1_250)).collect();
        assert!((900..1_100).contains(&way.lost), "{}", way.lost);
        assert!((4_700..5_300).contains(&way.reordered), "{}", way.reordered);
        let overtaken = arrivals.windows(2).filter(|pair| pair[0] > pair[1]).count() as u64;
        assert!(overtaken > 0 && overtaken <= way.reordered, "{overtaken}");
    }
}
