//! What an attack came to, and whether that passes.

use std::collections::BTreeMap;
use std::fmt;

use sunstar_packet::SizeClass;
use sunstar_stack::Counters;
use sunstar_stack::time::Duration;

use super::Gate;
use crate::host::Host;

/// What a shard holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Bytes of buffers, by the room each of them has.
    pub buffers: usize,
    /// TCP connections, half-open ones included.
    pub connections: usize,
    /// Those of them that are half-open.
    pub half_open: usize,
    /// Connections remembered in TIME-WAIT.
    pub time_wait: usize,
    /// Bytes held by incomplete datagrams.
    pub reassembly: usize,
    /// Neighbours, whether they have answered or not.
    pub neighbors: usize,
    /// Paths that are narrower than their interface.
    pub path_mtus: usize,
}

impl Holdings {
    /// What a host holds now.
    pub(super) fn of(host: &Host) -> Self {
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

    /// The larger of each.
    pub(super) fn most(&self, other: &Self) -> Self {
        Self {
            buffers: self.buffers.max(other.buffers),
            connections: self.connections.max(other.connections),
            half_open: self.half_open.max(other.half_open),
            time_wait: self.time_wait.max(other.time_wait),
            reassembly: self.reassembly.max(other.reassembly),
            neighbors: self.neighbors.max(other.neighbors),
            path_mtus: self.path_mtus.max(other.path_mtus),
        }
    }
}

/// The same time lived through once, with the attack or without.
#[derive(Clone, Debug)]
pub struct Run {
    /// Payload bytes that A has given B, and B A.
    pub goodput: [usize; 2],
    /// What A held before.
    pub before: Holdings,
    /// The most of each it held meanwhile.
    pub most: Holdings,
    /// What it held when all should be forgotten.
    pub left: Holdings,
    /// By how much each counter of A has moved.
    pub moved: BTreeMap<String, u64>,
    /// Processor time of the whole simulation.
    pub cpu: Option<Duration>,
    /// The attacker's frames, and their bytes.
    pub frames: (u64, u64),
    /// Frames of A that are no part of the healthy flow, and their bytes.
    pub answers: (u64, u64),
    /// Segments of the healthy flow by which A acknowledges and no more.
    pub acknowledgements: u64,
    /// How long it lasted.
    pub lasted: Duration,
}

impl Run {
    /// By how much a counter of A has moved.
    pub fn moved(&self, counter: &str) -> u64 {
        self.moved.get(counter).copied().unwrap_or(0)
    }
}

/// Both runs side by side. Its text is one line with all figures.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub(super) name: &'static str,
    pub(super) rate: u64,
    /// Without the attack.
    pub alone: Run,
    /// With it.
    pub attacked: Run,
}

impl Verdict {
    /// The part of its goodput that the healthy flow keeps, from A and to it.
    pub fn kept(&self) -> [f64; 2] {
        let kept = |at: usize| self.attacked.goodput[at] as f64 / self.alone.goodput[at] as f64;
        [kept(0), kept(1)]
    }

    /// Bytes of buffers the attack has taken beyond those of the healthy flow.
    pub fn buffers(&self) -> usize {
        self.attacked.most.buffers.saturating_sub(self.alone.most.buffers)
    }

    /// Acknowledgements to B that the attack has brought about.
    pub fn acknowledgements(&self) -> u64 {
        self.attacked.acknowledgements.saturating_sub(self.alone.acknowledgements)
    }

    /// Processor time for each of the attacker's frames, the simulator's share included.
    pub fn cost(&self) -> Option<Duration> {
        let (with, without) = self.attacked.cpu.zip(self.alone.cpu)?;
        Some(with.saturating_sub(without) / u32::try_from(self.attacked.frames.0.max(1)).ok()?)
    }

    /// The part of a core that the attack takes, the simulator's share included.
    pub fn share(&self) -> Option<f64> {
        let (with, without) = self.attacked.cpu.zip(self.alone.cpu)?;
        Some(with.saturating_sub(without).as_secs_f64() / self.attacked.lasted.as_secs_f64())
    }

    /// How much dearer one of the attacker's frames is than one of those that A exchanges with B alone. Both are
    /// measured on the same core, as fast or slow as it is.
    pub fn dearness(&self) -> Option<f64> {
        let frames = self.alone.moved("ip.received") + self.alone.moved("ip.sent");
        Some(self.cost()?.as_secs_f64() * frames as f64 / self.alone.cpu?.as_secs_f64())
    }

    #[track_caller]
    pub(super) fn judge(&self, gate: &Gate) {
        /// The part of its goodput that a healthy flow has to keep.
        const KEPT: f64 = 0.8;
        /// Answers, and turns, that are no matter of the attack's rate.
        const SLACK: f64 = 16.0;
        /// How much dearer than a healthy frame the attacker's may be.
        const DEARNESS: f64 = 5.0;

        let Run { before, most, left, frames, answers, .. } = &self.attacked;
        let config = &gate.host.shard;
        assert!(self.kept().iter().all(|kept| *kept >= KEPT), "the healthy flow suffers: {self}");
        assert!(self.buffers() <= gate.buffers, "more than {} bytes of buffers: {self}", gate.buffers);
        assert!(most.reassembly <= config.reassembly.high, "reassembly is above its mark: {most:?}");
        assert!(most.neighbors <= config.neighbor.max_entries, "too many neighbours: {most:?}");
        assert!(most.path_mtus <= config.path_mtu.max_entries, "too many path MTUs: {most:?}");
        assert!(most.half_open <= config.tcp.syn_backlog, "too many half-open connections: {most:?}");
        assert!(most.time_wait <= config.tcp.max_time_wait, "too many in TIME-WAIT: {most:?}");
        let held = |it: &Holdings| (it.buffers, it.connections, it.time_wait, it.reassembly);
        assert_eq!(held(left), held(before), "{:?} after it something is left: {self}", gate.forgets_within);
        for counter in &gate.counters {
            assert!(
                self.attacked.moved(counter) > self.alone.moved(counter),
                "{counter} stands still: {self}"
            );
        }
        let attacked = frames.0 as f64;
        let answers = (answers.0 + self.acknowledgements()) as f64;
        assert!(answers <= gate.answers * attacked + SLACK, "too many answers: {self}");
        let turns = |run: &Run| run.moved("turns") as f64;
        assert!(turns(&self.attacked) - turns(&self.alone) <= 8.0 * attacked + SLACK, "it turns: {self}");
        assert!(self.dearness().is_none_or(|times| times <= DEARNESS), "it costs too much: {self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, rate, attacked, alone, .. } = self;
        let [out, back] = self.kept().map(|kept| 100.0 * kept);
        let most = &attacked.most;
        let megabits = |bytes: usize| bytes as f64 * 8.0 / 1e6 / alone.lasted.as_secs_f64();
        let [sent, received] = alone.goodput.map(megabits);
        write!(f, "{name}: {} frames at {rate} moments a second; ", attacked.frames.0)?;
        write!(
            f,
            "goodput out {out:.0} % of {sent:.0} Mb/s, in {back:.0} % of {received:.0}; buffers {} KiB; ",
            self.buffers() >> 10
        )?;
        write!(f, "at most {} connections ({} half-open), ", most.connections, most.half_open)?;
        write!(f, "{} in TIME-WAIT, {} KiB of fragments, ", most.time_wait, most.reassembly >> 10)?;
        write!(f, "{} neighbours; answers {} frames, ", most.neighbors, attacked.answers.0)?;
        write!(
            f,
            "{} of {} bytes, and {} ACKs to B; ",
            attacked.answers.1,
            attacked.frames.1,
            self.acknowledgements()
        )?;
        if let Some((cost, dearness)) = self.cost().zip(self.dearness()) {
            write!(
                f,
                "{:.1} us a frame, {dearness:.1} of a healthy one's; ",
                cost.as_nanos() as f64 / 1_000.0
            )?;
        }
        let drops = attacked.moved.iter().filter(|(name, count)| {
            ["drops.", "dhcp.ignored", "tcp.challenge_acks"].iter().any(|it| name.starts_with(it))
                && **count > alone.moved(name)
        });
        let counted: Vec<_> = drops.map(|(name, count)| format!("{name} {count}")).collect();
        write!(f, "{}", counted.join(", "))
    }
}

/// By how much each counter has moved, by the name that listings give it.
pub(super) fn moved(from: &Counters, to: &Counters) -> BTreeMap<String, u64> {
    let name = |group: &str, name: &str| match group {
        "" => name.to_owned(),
        group => format!("{group}.{name}"),
    };
    let both = from.iter().zip(to.iter());
    both.map(|((group, counter, from), (_, _, to))| (name(group, counter), to - from)).collect()
}
