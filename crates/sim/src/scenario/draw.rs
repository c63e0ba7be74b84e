//! Chance, as scenarios use it.

use std::time::Duration;

use sunstar_stack::random::Random;

use crate::plan::{ErrandPlan, MachinePlan, Work};
use crate::{Errand, Impairments, Nic, us};

/// What is left to chance in a scenario.
pub(super) struct Draw {
    random: Random,
    /// Each errand's bytes are its own.
    errands: u32,
}

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::from_seed(seed), errands: 0 }
    }

    pub(super) fn seed(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// From the first to the last.
    pub(super) fn range(&mut self, first: u64, last: u64) -> u64 {
        self.random.range(first..=last)
    }

    /// The same, small numbers as likely as large ones: by magnitude.
    pub(super) fn magnitude(&mut self, first: u64, last: u64) -> u64 {
        let bits = |number: u64| u64::from(u64::BITS - number.leading_zeros());
        let bits = self.range(bits(first), bits(last));
        let top = 1_u64.checked_shl(bits as u32).map_or(u64::MAX, |end| end - 1);
        self.range(top / 2, top).clamp(first, last)
    }

    pub(super) fn chance(&mut self, of_a_hundred: u64) -> bool {
        self.random.below(100) < of_a_hundred
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len() as u64) as usize].clone()
    }

    /// A part of one: up to so many thousandths.
    pub(super) fn up_to_permille(&mut self, most: u64) -> f64 {
        self.range(0, most) as f64 / 1_000.0
    }

    /// The same, in so many of a hundred cases, and else nothing.
    pub(super) fn perhaps_permille(&mut self, of_a_hundred: u64, most: u64) -> f64 {
        if self.chance(of_a_hundred) { self.up_to_permille(most) } else { 0.0 }
    }

    pub(super) fn duration_us(&mut self, first: u64, last: u64) -> Duration {
        us(self.magnitude(first, last))
    }

    /// A machine of one to so many shards; some have fewer queues, or a card that does not know where packets belong.
    pub(super) fn machine(&mut self, most_shards: u64) -> MachinePlan {
        let shards = self.range(1, most_shards) as usize;
        let mut machine = MachinePlan::new(shards);
        machine.queues = if self.chance(70) { shards } else { self.range(1, shards as u64) as usize };
        machine.nic = self.pick(&[Nic::Steering, Nic::Steering, Nic::Random, Nic::InTurn]);
        if self.chance(30) {
            machine.weights = (0..shards).map(|_| self.range(1, 4) as u32).collect();
        }
        machine.offloads = self.chance(30);
        machine.ring = self.pick(&[4, 16, 64, 256]);
        machine.rate = self.pick(&[None, Some(1_000_000_000), Some(100_000_000)]);
        let link = Impairments { latency: self.duration_us(20, 20_000), ..Impairments::default() };
        machine.link = [link.clone(), link];
        let tcp = &mut machine.tcp;
        tcp.timestamps = self.random.below(4) > 0;
        tcp.sack = self.random.below(5) > 0;
        tcp.window_scaling = self.random.below(5) > 0;
        tcp.delays_acks = self.random.below(4) == 0;
        machine
    }

    pub(super) fn machines(&mut self, first: u64, last: u64, most_shards: u64) -> Vec<MachinePlan> {
        (0..self.range(first, last)).map(|_| self.machine(most_shards)).collect()
    }

    /// The next errand's own seed.
    pub(super) fn errand_seed(&mut self) -> u32 {
        self.errands += 1;
        self.errands << 12 | self.random.below(1 << 12) as u32
    }

    /// From any shard of any machine to any other machine, within a time.
    pub(super) fn work(&mut self, machines: &[MachinePlan], within: Duration, what: Work) -> ErrandPlan {
        let from = self.range(0, machines.len() as u64 - 1) as usize;
        let to = (from + self.range(1, machines.len() as u64 - 1) as usize) % machines.len();
        ErrandPlan {
            at: us(self.range(0, within.as_micros() as u64)),
            from: (from, self.range(0, machines[from].shards() as u64 - 1) as usize),
            to,
            what,
            may_fail: false,
        }
    }

    pub(super) fn converse(
        &mut self,
        machines: &[MachinePlan],
        within: Duration,
        errand: Errand,
    ) -> ErrandPlan {
        self.work(machines, within, Work::Converse(errand))
    }

    /// A conversation of any plain kind, of so many bytes at most.
    pub(super) fn errand(&mut self, most: u64) -> Errand {
        let (seed, bytes) = (self.errand_seed(), self.magnitude(1, most) as u32);
        match self.range(0, 4) {
            0 => Errand::upload(seed, bytes),
            1 => Errand::requests(seed, 1, self.magnitude(1, 2_000) as u32, bytes),
            2 => {
                let rounds = self.magnitude(2, 50) as u16;
                Errand::requests(seed, rounds, self.magnitude(1, 3_000) as u32, bytes / u32::from(rounds) + 1)
            }
            3 => Errand { half_close: true, ..Errand::requests(seed, 1, bytes, bytes / 2) },
            _ => Errand::both_ways(seed, bytes),
        }
    }
}
