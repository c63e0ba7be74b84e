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
mod healthy;
mod scene;
mod verdict;

use sunstar_stack::time::Duration;
use sunstar_stack::{ConnectionKey, ShardConfig};

use crate::host::{Host, HostConfig};
use crate::{Side, secs};
pub use attacker::{Attacker, Flow};
use scene::Scene;
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

    fn run<'a>(&'a self, attack: Option<&'a mut dyn FnMut(&mut Attacker)>) -> Run {
        let mut scene = Scene::new(self, attack);
        let (before, counters, cpu) = (scene.most, *scene.pair.a.counters(), processor_time());
        scene.play();
        let cpu = cpu.zip(processor_time()).map(|(from, to)| to.saturating_sub(from));
        let moved = verdict::moved(&counters, scene.pair.a.counters());
        let (goodput, most) = (scene.healthy.read, scene.most);
        let frames = scene.attacker.as_ref().map_or((0, 0), |attacker| attacker.sent);
        let (answers, acknowledgements) = (scene.ear.borrow().answers, scene.ear.borrow().acknowledgements);
        let left = scene.end();
        Run { goodput, before, most, left, moved, cpu, frames, answers, acknowledgements, lasted: self.lasts }
    }
}

/// The processor time this thread has had, as the kernel counts it; nothing where it does not.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}
