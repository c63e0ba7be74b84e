//! The gate that every class of attack has to pass: one host under attack, a healthy flow through the same shard, and a
//! verdict.
//!
//! A is the host under attack. B is a real second host with which A exchanges bulk data, both ways on one connection;
//! the attacker is a third station, which hears everything A says. The same minutes are lived through twice, without the
//! attack and with it, and a [`Verdict`] compares the two:
//!
//! - **Goodput**: payload bytes that each end's application reads while the attack lasts; each direction has to keep 80 %
//!   of what it has alone. The bytes are compared with what was written: not one may be changed, lost or added.
//! - **Memory**: what the shard holds ([`Holdings`]), looked at every millisecond. Buffers may not be more than those of
//!   the healthy flow alone and the cap that is given; neighbours, reassembly, path MTUs, TIME-WAIT and half-open
//!   connections stay within their configured caps. When the attacker has fallen silent and the time given has passed,
//!   buffers, connections and reassembly are where they were before.
//! - **Counters**: those that are named have to move.
//! - **Work**: A's answers, acknowledgements to B beyond the usual among them, for each of the attacker's frames at most as
//!   many as are given; turns, eight at most. A's core takes a microsecond for each frame received or built (about what
//!   `docs/performance.md` has measured), and its receive ring holds 1,024 frames, so that an attack which makes A work
//!   takes the core away from the healthy flow, as it would in the world. And the thread's processor time in both runs, as
//!   the kernel counts it, the simulator's own share included: what the attack adds for each of its frames may be no more
//!   than five times what a frame of the healthy flow costs when it is alone. That is no wall time, and no matter of how
//!   fast the machine is; it is not quite the same each time either, and the bound leaves room for that.
//! - **No panic, no hang**: tests run with overflow checks, and a host that turns in circles ends the scenario.
//!
//! What it does not measure: the heap (of what lies there, it counts the entries); how long a single turn takes; the
//! caches of a real core; the attacker's share of the link, since its frames come to A by a way of their own. The virtual
//! core charges every frame the same: that one frame costs more than another shows in the processor time only.

mod attacker;
mod verdict;

use std::cell::RefCell;
use std::rc::Rc;

use sunstar_packet::{Notes, SizeClass};
use sunstar_stack::time::Duration;
use sunstar_stack::{ConnectionKey, ShardConfig};

use crate::host::{Host, HostConfig};
use crate::{Pair, Side, ms, secs};
pub use attacker::{Attacker, Flow};
use attacker::{Ear, Wire};
pub use verdict::{Holdings, Run, Verdict};

/// The port on which A serves whoever comes.
pub const PORT: u16 = 80;

/// What A's application does with a connection it has accepted; whether it stays open.
type Service = Box<dyn Fn(&mut Host, ConnectionKey) -> bool>;

/// An attack to be withstood.
pub struct Gate {
    name: &'static str,
    host: HostConfig,
    rate: u64,
    lasts: Duration,
    forgets_within: Duration,
    buffers: usize,
    answers: f64,
    counters: Vec<&'static str>,
    preparation: Box<dyn Fn(&mut Host)>,
    service: Service,
}

impl Gate {
    /// How often memory is looked at, and the healthy flow's applications read and write.
    const TICK: Duration = ms(1);
    /// Bytes the healthy flow's applications have ready to be written.
    const READY: usize = 1 << 20;
    /// The rate of both devices, in bits a second.
    const BANDWIDTH: u64 = 100_000_000;

    /// An attack by its name: 10,000 frames a second for three seconds, one answer for each at most, 256 KiB of buffers:
    /// by so much the healthy flow's own differ from run to run.
    pub fn new(name: &'static str) -> Self {
        let mut host = HostConfig::new(Side::A);
        host.gateway = Some(Attacker::GATEWAY);
        (host.frame_cost, host.receive_ring) = (crate::us(1), 1_024);
        Self {
            name,
            host,
            rate: 10_000,
            lasts: secs(3),
            forgets_within: secs(1),
            buffers: 256 << 10,
            answers: 1.0,
            counters: Vec::new(),
            preparation: Box::new(|_| {}),
            service: Box::new(|_, _| true),
        }
    }

    /// The settings of the host under attack.
    pub fn config(mut self, change: impl FnOnce(&mut ShardConfig)) -> Self {
        change(&mut self.host.shard);
        self
    }

    /// What else the host under attack is like.
    pub fn host(mut self, change: impl FnOnce(&mut HostConfig)) -> Self {
        change(&mut self.host);
        self
    }

    /// Moments of the attacker a second.
    pub fn rate(mut self, rate: u64) -> Self {
        self.rate = rate;
        self
    }

    /// How long the attack lasts.
    pub fn lasts(mut self, lasts: Duration) -> Self {
        self.lasts = lasts;
        self
    }

    /// How long after the attack all it took has to be given back.
    pub fn forgets_within(mut self, time: Duration) -> Self {
        self.forgets_within = time;
        self
    }

    /// Bytes of buffers the attack may take at most.
    pub fn buffers(mut self, bytes: usize) -> Self {
        self.buffers = bytes;
        self
    }

    /// Answers for each of the attacker's frames at most.
    pub fn answers(mut self, answers: f64) -> Self {
        self.answers = answers;
        self
    }

    /// A counter that has to move, by the name that listings give it.
    pub fn counts(mut self, counter: &'static str) -> Self {
        self.counters.push(counter);
        self
    }

    /// What A does before all begins.
    pub fn prepared(mut self, preparation: impl Fn(&mut Host) + 'static) -> Self {
        self.preparation = Box::new(preparation);
        self
    }

    /// What A's application does with a connection it has accepted on [`PORT`]; whether the connection stays open until
    /// the attack is over. Without a word it reads what comes.
    pub fn serves(mut self, service: impl Fn(&mut Host, ConnectionKey) -> bool + 'static) -> Self {
        self.service = Box::new(service);
        self
    }

    /// Lives through it without the attack and with it. `attack` is what the attacker does at each of its moments.
    ///
    /// # Panics
    /// When the host does not withstand it.
    #[track_caller]
    pub fn withstands(self, mut attack: impl FnMut(&mut Attacker)) -> Verdict {
        let alone = self.run(None);
        let attacked = self.run(Some(&mut attack));
        let verdict = Verdict { name: self.name, rate: self.rate, alone, attacked };
        println!("{verdict}");
        verdict.judge(&self);
        verdict
    }

    fn run(&self, attack: Option<&mut dyn FnMut(&mut Attacker)>) -> Run {
        let a = self.host.clone();
        let mut pair = Pair::builder()
            .latency(ms(1))
            .host(Side::A, |host| *host = a)
            .each(|host| host.rate = Some(Self::BANDWIDTH))
            .build();
        let listener = pair.a.listen(PORT);
        (self.preparation)(&mut pair.a);
        let mut healthy = Healthy::open(&mut pair);
        pair.drive_for(ms(100));
        let ear = Rc::new(RefCell::new(Ear::new(&pair, healthy.ends.0)));
        let hears = Rc::clone(&ear);
        pair.drop_if(move |side, frame| side == Side::A && hears.borrow_mut().hear(frame));
        let before = Holdings::of(&pair.a);
        let (counters, cpu) = (*pair.a.counters(), processor_time());
        let mut attacker = attack.map(|act| Wire::new(&pair, Rc::clone(&ear), act));

        let start = pair.now();
        let (mut next, mut tick, end) = (start, start, start + self.lasts);
        let (mut most, mut moments, mut open) = (before, 0, Vec::new());
        while pair.now() < end {
            if pair.now() >= tick {
                tick = pair.now() + Self::TICK;
                healthy.keep_going(&mut pair);
                most = most.most(&Holdings::of(&pair.a));
            }
            if pair.now() >= next {
                moments += 1;
                next = start + Duration::from_micros(moments * 1_000_000 / self.rate);
                if let Some(attacker) = &mut attacker {
                    attacker.act(&mut pair);
                }
            }
            let until = tick.min(next).min(end);
            pair.drive_for(until.saturating_since(pair.now()));
            while let Some(connection) = pair.a.try_accept(listener) {
                if (self.service)(&mut pair.a, connection) {
                    open.push(connection);
                } else {
                    pair.a.close(connection);
                }
            }
        }
        most = most.most(&Holdings::of(&pair.a));
        let goodput = healthy.goodput(&mut pair);
        let moved = verdict::moved(&counters, pair.a.counters());
        let cpu = cpu.zip(processor_time()).map(|(from, to)| to.saturating_sub(from));
        let frames = attacker.as_ref().map_or((0, 0), |attacker| attacker.sent);
        let (answers, acknowledgements) = (ear.borrow().answers, ear.borrow().acknowledgements);

        // The attacker is gone, and so is what served it.
        drop(attacker);
        open.into_iter().for_each(|connection| pair.a.close(connection));
        healthy.drain(&mut pair);
        pair.drive_for(self.forgets_within);
        let left = Holdings::of(&pair.a);
        healthy.say_more(&mut pair);
        pair.drop_no_more();
        pair.a.shard_mut().dhcp_release();
        pair.finish();
        Run { goodput, before, most, left, moved, cpu, frames, answers, acknowledgements, lasted: self.lasts }
    }
}

/// The healthy flow: A and B send each other the same endless pattern.
struct Healthy {
    ends: (ConnectionKey, ConnectionKey),
    /// Bytes written, and read at the other end, by A and by B.
    written: [usize; 2],
    read: [usize; 2],
}

impl Healthy {
    fn open(pair: &mut Pair) -> Self {
        let ends = pair.open();
        Self { ends, written: [0; 2], read: [0; 2] }
    }

    /// Bytes of the pattern from a position on.
    fn pattern(from: usize, len: usize) -> impl Iterator<Item = u8> {
        (from..from + len).map(|at| (at % 251) as u8)
    }

    fn keep_going(&mut self, pair: &mut Pair) {
        for (side, written) in [Side::A, Side::B].into_iter().zip(&mut self.written) {
            let connection = if side == Side::A { self.ends.0 } else { self.ends.1 };
            let host = pair.host(side);
            if host.unwritten(connection) < Gate::READY {
                let bytes: Vec<u8> = Self::pattern(*written, Gate::READY).collect();
                host.send(connection, &bytes);
                *written += bytes.len();
            }
        }
        self.read(pair);
    }

    /// Reads at both ends what has come, and sees that it is what was written.
    fn read(&mut self, pair: &mut Pair) {
        let came = [pair.b.take_received(self.ends.1), pair.a.take_received(self.ends.0)];
        for (read, bytes) in self.read.iter_mut().zip(came) {
            assert!(
                bytes.iter().copied().eq(Self::pattern(*read, bytes.len())),
                "the healthy flow's bytes are changed behind byte {read}"
            );
            *read += bytes.len();
        }
    }

    /// Bytes that A has given B, and B A, while it lasted.
    fn goodput(&mut self, pair: &mut Pair) -> [usize; 2] {
        self.read(pair);
        self.read
    }

    /// Until all that was written has been read.
    fn drain(&mut self, pair: &mut Pair) {
        let end = pair.now() + secs(60);
        while self.read != self.written {
            assert!(pair.now() < end, "the healthy flow is stuck: {:?} of {:?}", self.read, self.written);
            pair.drive_for(ms(10));
            self.read(pair);
        }
        pair.drive_for(ms(500));
    }

    /// It is still as it should be: a little more crosses both ways.
    fn say_more(&mut self, pair: &mut Pair) {
        self.keep_going(pair);
        self.drain(pair);
    }
}

/// The processor time this thread has had, as the kernel counts it; nothing where it does not.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

impl Wire<'_> {
    /// One moment: the attacker hears what was said since the last one, and says what it will.
    fn act(&mut self, pair: &mut Pair) {
        for (frame, notes) in self.frames() {
            // A host without a free buffer has none for the device either: the frame is lost on its ring.
            if pair.a.pool().free(SizeClass::Small) == 0 {
                continue;
            }
            if notes == Notes::default() {
                pair.inject(Side::A, &frame);
            } else {
                pair.a.receive_frame(&frame, notes);
            }
        }
    }
}

impl Holdings {
    fn of(host: &Host) -> Self {
        let (pool, shard) = (host.pool(), host.shard());
        pool.collect();
        let bytes = |class: SizeClass| pool.out(class) * pool.capacity(class);
        Self {
            buffers: bytes(SizeClass::Small) + bytes(SizeClass::Staging),
            connections: shard.socket_counts().connections,
            half_open: shard.tcp_listeners().map(|it| it.half_open).sum(),
            time_wait: shard.tcp_time_wait(),
            reassembly: shard.reassembly().held,
            neighbors: shard.neighbors().count(),
            path_mtus: shard.path_mtus().count(),
        }
    }
}
