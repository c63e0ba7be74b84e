//! Two hosts and a link, in virtual time.

mod builder;

use sunstar_packet::{Medium, Memory, Notes};
use sunstar_stack::random::Random;
use sunstar_stack::time::{Duration, Instant};
use sunstar_stack::{ConnectionKey, ListenerKey, State};

use crate::craft::Envelope;
use crate::decode::Decoded;
use crate::host::{Host, Said};
use crate::link::{Impairments, Link, LinkCounters};
use crate::trace::{Fate, Trace};
use crate::{Side, secs};
pub use builder::PairBuilder;

/// Decides whether a frame a side has sent is lost.
type Censor = Box<dyn FnMut(Side, &Decoded) -> bool>;

/// Two hosts on one link.
///
/// Dropping it ends the scenario as [`Pair::finish`] does.
pub struct Pair {
    /// 10.0.0.1.
    pub a: Host,
    /// 10.0.0.2.
    pub b: Host,
    /// What left the hosts.
    pub trace: Trace,
    links: [Link; 2],
    now: Instant,
    random: Random,
    /// Turns since time last moved.
    turns_at_once: u32,
    censor: Option<Censor>,
    /// The listener of [`Pair::open`].
    server: Option<ListenerKey>,
    memory: Memory,
    finished: bool,
}

impl Pair {
    /// Turns at one instant after which a host is taken to turn in circles.
    const MAX_TURNS_AT_ONCE: u32 = 200_000;
    /// How long [`Pair::drive`] goes on at most.
    const DRIVE: Duration = secs(300);
    /// How long hosts may take to come to rest when all is closed.
    const REST: Duration = secs(4 * 3_600);

    /// Describes a pair to be built.
    pub fn builder() -> PairBuilder {
        PairBuilder::default()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// One of the hosts.
    pub fn host(&mut self, side: Side) -> &mut Host {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// What the link does to frames a side sends, to be changed.
    pub fn from_side(&mut self, side: Side) -> &mut Impairments {
        &mut self.links[side as usize].impairments
    }

    /// Changes what the link does to frames, both ways.
    pub fn impair(&mut self, mut change: impl FnMut(&mut Impairments)) {
        for link in &mut self.links {
            change(&mut link.impairments);
        }
    }

    /// What the link did to frames a side sent.
    pub fn link_counters(&self, side: Side) -> LinkCounters {
        self.links[side as usize].counters
    }

    /// Loses the next `count` frames of each side.
    pub fn drop_next(&mut self, count: u64) {
        for side in [Side::A, Side::B] {
            self.drop_next_from(side, count);
        }
    }

    /// Loses the next `count` frames of a side.
    pub fn drop_next_from(&mut self, side: Side, count: u64) {
        for nth in 1..=count {
            self.drop_nth(side, nth);
        }
    }

    /// Loses the `nth` frame from now on that a side sends; 1 is the next.
    pub fn drop_nth(&mut self, side: Side, nth: u64) {
        self.links[side as usize].lose_nth(nth);
    }

    /// From now on loses each frame for which `censor` says so.
    pub fn drop_if(&mut self, censor: impl FnMut(Side, &Decoded) -> bool + 'static) {
        self.censor = Some(Box::new(censor));
    }

    /// No frame is lost on purpose any more.
    pub fn drop_no_more(&mut self) {
        self.censor = None;
        self.links.iter_mut().for_each(Link::lose_no_more);
    }

    /// Takes the carrier away at both ends, and what is on its way with it.
    pub fn link_down(&mut self) {
        self.a.set_link(false);
        self.b.set_link(false);
        self.links.iter_mut().for_each(Link::clear);
    }

    /// Gives the carrier back.
    pub fn link_up(&mut self) {
        self.a.set_link(true);
        self.b.set_link(true);
    }

    /// Cuts the link somewhere neither end notices: frames vanish.
    pub fn cut(&mut self) {
        for link in &mut self.links {
            link.cut = true;
            link.clear();
        }
    }

    /// Mends what was cut.
    pub fn mend(&mut self) {
        self.links.iter_mut().for_each(|link| link.cut = false);
    }

    /// Puts a frame of the scenario's own before a host.
    pub fn inject(&mut self, to: Side, frame: &[u8]) {
        let from = if to == Side::A { Side::B } else { Side::A };
        self.trace.record(self.now, from as u16, Fate::Injected, frame.to_vec().into());
        self.host(to).receive_frame(frame, Notes::default());
    }

    /// From a host to the other, for frames of the scenario's own.
    pub fn envelope(&self, from: Side) -> Envelope {
        let [source, destination] = match from {
            Side::A => [&self.a, &self.b],
            Side::B => [&self.b, &self.a],
        };
        Envelope {
            medium: source.device().medium,
            source_mac: source.device().mac,
            destination_mac: destination.device().mac,
            source: source.address(),
            destination: destination.address(),
            ttl: 64,
            ecn: 0,
        }
    }

    /// Opens a connection from A to port 80 of B, which listens there from the first time on: A's handle and B's.
    ///
    /// # Panics
    /// When it does not open within two minutes.
    #[track_caller]
    pub fn open(&mut self) -> (ConnectionKey, ConnectionKey) {
        let listener = *self.server.get_or_insert_with(|| self.b.listen(80));
        let client = self.a.connect(self.b.at(80));
        let mut server = None;
        let end = self.now + secs(120);
        while server.is_none() && self.step_until(end) {
            server = self.b.try_accept(listener);
        }
        let server = server.expect("the connection opens");
        assert!(self.drive_until(|pair| pair.a.state(client) == State::Established, secs(60)));
        (client, server)
    }

    /// The next event, whenever it is; whether there was one.
    pub fn step(&mut self) -> bool {
        self.step_until(Instant::MAX)
    }

    /// Until nothing is left to happen, timers included, or five minutes have passed.
    pub fn drive(&mut self) {
        let end = self.now + Self::DRIVE;
        while self.step_until(end) {}
        self.look_at_the_clock();
    }

    /// Lets so much time pass.
    pub fn drive_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step_until(end) {}
        self.now = end;
        self.look_at_the_clock();
    }

    /// Until a condition holds, for `patience` at most; whether it holds.
    #[must_use = "whether the condition holds is what a scenario asserts"]
    pub fn drive_until(&mut self, mut condition: impl FnMut(&Pair) -> bool, patience: Duration) -> bool {
        let end = self.now + patience;
        loop {
            if condition(self) {
                break;
            }
            if !self.step_until(end) {
                self.now = end;
                break;
            }
        }
        self.look_at_the_clock();
        condition(self)
    }

    /// Whether nothing is on its way and nobody has anything to do but wait.
    pub fn is_quiet(&self) -> bool {
        !self.a.is_busy() && !self.b.is_busy() && self.links.iter().all(|link| link.in_flight() == 0)
    }

    /// One event, if there is one by `end`.
    fn step_until(&mut self, end: Instant) -> bool {
        if !self.a.is_busy() && !self.b.is_busy() {
            let arrivals = self.links.iter().filter_map(Link::next_arrival);
            let deadlines = [self.a.deadline(), self.b.deadline()].into_iter().flatten();
            let Some(next) = arrivals.chain(deadlines).min().filter(|next| *next <= end) else {
                return false;
            };
            if next > self.now {
                self.now = next;
                self.turns_at_once = 0;
            }
        }
        self.turns_at_once += 1;
        assert!(self.turns_at_once < Self::MAX_TURNS_AT_ONCE, "the hosts turn in circles at {}", self.now);
        self.hand_over();
        let first = if self.random.below(2) == 0 { Side::A } else { Side::B };
        let second = if first == Side::A { Side::B } else { Side::A };
        for side in [first, second] {
            // Now and then a host takes a turn for no reason, and has to keep silent.
            let uncalled = self.random.below(16) == 0;
            let now = self.now;
            let host = self.host(side);
            if host.is_busy() || uncalled || host.deadline().is_some_and(|deadline| deadline <= now) {
                self.turn(side);
            }
        }
        true
    }

    /// Hosts that had nothing to do learn what time it is, as they do before an application acts.
    fn look_at_the_clock(&mut self) {
        self.turn(Side::A);
        self.turn(Side::B);
    }

    /// Gives hosts what has arrived.
    fn hand_over(&mut self) {
        let now = self.now;
        for (link, host) in self.links.iter_mut().zip([&mut self.b, &mut self.a]) {
            while let Some(frame) = link.arrived(now) {
                host.receive_frame(&frame.bytes, frame.notes);
            }
        }
    }

    fn turn(&mut self, side: Side) {
        let now = self.now;
        let said = self.host(side).turn(now);
        for Said { at, frame, decoded } in said {
            let doomed = self.censor.as_mut().is_some_and(|censor| censor(side, &decoded));
            let bytes = frame.bytes.clone();
            let fate = self.links[side as usize].send(at, frame, doomed);
            if fate == Fate::TooLong {
                self.answer_too_long(side, &bytes);
            }
            self.trace.record(now, side as u16, fate, bytes);
        }
    }

    /// A packet was too long for the link: the router there says so, if there is one.
    fn answer_too_long(&mut self, side: Side, bytes: &[u8]) {
        let Some((router, mtu)) = self.links[side as usize].impairments.too_big else { return };
        let other = if side == Side::A { Side::B } else { Side::A };
        let envelope = self.envelope(other).from_address(router);
        let at = if envelope.medium == Medium::Ethernet { 14 } else { 0 };
        let [high, low] = mtu.to_be_bytes();
        let answer = envelope.icmp(3, 4, [0, 0, high, low], &bytes[at..at + 28]);
        self.links[other as usize].answer(self.now, answer);
    }

    /// Ends the scenario: heals the link, closes every socket, lets connections end, and then sees that nothing is
    /// left behind.
    ///
    /// # Panics
    /// When a host does not come to rest, or a buffer is not home.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.finished = true;
        self.drop_no_more();
        self.impair(|impairments| *impairments = Impairments::default());
        self.mend();
        for side in [Side::A, Side::B] {
            let host = self.host(side);
            host.resume();
            host.wake();
            host.close_all();
        }
        self.link_up();
        let end = self.now + Self::REST;
        while self.step_until(end) {}
        self.links.iter_mut().for_each(Link::clear);
        for side in [Side::A, Side::B] {
            let host = self.host(side);
            host.port_mut().clear();
        }
        self.look_at_the_clock();
        self.a.assert_at_rest();
        self.b.assert_at_rest();
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("at {}: {}", self.now, self.trace);
        } else if !self.finished {
            self.end();
        }
        let _ = &self.memory;
    }
}
