//! The wheel beside a model that keeps its timers in an ordered map.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::random::Random;
use crate::time::Duration;

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn pop_all<T: Copy>(wheel: &mut TimerWheel<T>) -> Vec<T> {
    core::iter::from_fn(|| wheel.pop_expired()).collect()
}

fn advance_and_pop<T: Copy>(wheel: &mut TimerWheel<T>, now: u64) -> Vec<T> {
    wheel.advance(at(now));
    pop_all(wheel)
}

#[test]
fn a_timer_fires_once_at_its_deadline_and_not_a_microsecond_before() {
    let mut wheel = TimerWheel::new(at(1_000));
    wheel.insert('a', at(41_000));
    assert!(advance_and_pop(&mut wheel, 40_999).is_empty());
    assert_eq!(wheel.next_deadline(), Some(at(41_000)));
    assert_eq!(advance_and_pop(&mut wheel, 41_000), ['a']);
    assert!(advance_and_pop(&mut wheel, 99_000).is_empty());
    assert!(wheel.is_empty());
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn a_lone_timer_however_far_away_wakes_its_sleeper_once() {
    for bits in 0..64 {
        for start in [0, 63, 1_000_003, 1 << 40] {
            let mut wheel = TimerWheel::new(at(start));
            let deadline = at(start) + Duration::from_micros(1 << bits);
            wheel.insert((), deadline);
            assert_eq!(wheel.next_deadline(), Some(deadline));
            assert_eq!(advance_and_pop(&mut wheel, deadline.as_micros()).len(), 1);
        }
    }
}

#[test]
fn a_timer_at_the_end_of_time_is_kept_and_fires_there() {
    let mut wheel = TimerWheel::new(Instant::ZERO);
    wheel.insert(1, Instant::MAX);
    wheel.insert(2, Instant::MAX - Duration::from_micros(1));
    assert_eq!(advance_and_pop(&mut wheel, u64::MAX - 2), []);
    assert_eq!(advance_and_pop(&mut wheel, u64::MAX), [2, 1]);
}

#[test]
fn timers_armed_while_expired_ones_are_popped_wait_for_the_next_round() {
    let mut wheel = TimerWheel::new(Instant::ZERO);
    wheel.insert(0, at(5));
    wheel.advance(at(10));
    let mut popped = Vec::new();
    while let Some(token) = wheel.pop_expired() {
        popped.push(token);
        wheel.insert(token + 1, at(10));
    }
    assert_eq!(popped, [0]);
    assert_eq!(wheel.next_deadline(), Some(at(10)), "what is due already asks for a turn at once");
    assert_eq!(advance_and_pop(&mut wheel, 10), [1], "time need not move for it");
}

#[test]
fn a_timer_moved_later_does_not_fire_at_its_old_deadline() {
    let mut wheel = TimerWheel::new(Instant::ZERO);
    let id = wheel.insert('a', at(100));
    assert!(wheel.reschedule(id, at(5_000)));
    assert!(advance_and_pop(&mut wheel, 4_999).is_empty());
    assert!(wheel.reschedule(id, at(6_000)));
    assert!(advance_and_pop(&mut wheel, 5_999).is_empty());
    assert_eq!(advance_and_pop(&mut wheel, 6_000), ['a']);
}

#[test]
fn a_timer_moved_later_again_and_again_stays_in_its_slot_and_wakes_its_sleeper_once_more() {
    let mut wheel = TimerWheel::new(Instant::ZERO);
    let id = wheel.insert('a', at(200_000));
    for now in 1..1_000 {
        wheel.advance(at(now));
        assert!(wheel.reschedule(id, at(200_000 + now)));
    }
    assert_eq!(wheel.next_deadline(), Some(at(200_000)));
    assert!(advance_and_pop(&mut wheel, 200_000).is_empty());
    assert_eq!(wheel.next_deadline(), Some(at(200_999)));
    assert_eq!(advance_and_pop(&mut wheel, 200_999), ['a']);
}

#[test]
fn a_timer_moved_earlier_fires_at_its_new_deadline() {
    let mut wheel = TimerWheel::new(Instant::ZERO);
    let id = wheel.insert('a', at(1_000_000));
    assert!(wheel.reschedule(id, at(2_000_000)));
    assert!(wheel.reschedule(id, at(70)));
    assert_eq!(wheel.next_deadline(), Some(at(70)));
    assert_eq!(advance_and_pop(&mut wheel, 70), ['a']);
}

#[test]
fn an_expired_timer_can_still_be_moved_or_cancelled_before_it_is_popped() {
    let mut wheel = TimerWheel::new(Instant::ZERO);
    let (moved, cancelled) = (wheel.insert('m', at(1)), wheel.insert('c', at(1)));
    wheel.insert('p', at(1));
    wheel.advance(at(2));
    assert!(wheel.reschedule(moved, at(9)));
    assert_eq!(wheel.cancel(cancelled), Some('c'));
    assert_eq!(pop_all(&mut wheel), ['p']);
    assert_eq!(advance_and_pop(&mut wheel, 9), ['m']);
}

#[test]
fn an_id_names_nothing_once_its_timer_is_gone_though_its_place_is_used_again() {
    let mut wheel = TimerWheel::new(Instant::ZERO);
    let cancelled = wheel.insert('a', at(10));
    assert_eq!(wheel.cancel(cancelled), Some('a'));
    let fired = wheel.insert('b', at(10));
    assert_eq!(cancelled.index, fired.index);
    assert_eq!(wheel.cancel(cancelled), None);
    assert!(!wheel.reschedule(cancelled, at(20)));
    assert_eq!(advance_and_pop(&mut wheel, 10), ['b']);
    assert!(!wheel.reschedule(fired, at(20)));
    assert_eq!(wheel.cancel(fired), None);
    assert!(wheel.is_empty());
}

#[test]
fn time_that_goes_back_counts_as_standing_still() {
    let mut wheel = TimerWheel::new(at(1_000));
    wheel.insert('a', at(1_500));
    wheel.advance(at(1_400));
    wheel.advance(at(0));
    assert!(advance_and_pop(&mut wheel, 1_499).is_empty());
    assert_eq!(advance_and_pop(&mut wheel, 1_500), ['a']);
}

#[test]
fn a_stall_of_an_hour_fires_each_timer_once_in_rounds_of_bounded_work() {
    const HOUR: u64 = 3_600_000_000;
    let mut random = Random::from_seed(1);
    let mut wheel = TimerWheel::new(at(77));
    for token in 0..100_000_u32 {
        wheel.insert(token, at(78 + random.below(HOUR)));
    }
    let mut fired = Vec::new();
    let mut rounds = 0;
    while !wheel.is_empty() {
        fired.extend(advance_and_pop(&mut wheel, 77 + HOUR));
        rounds += 1;
    }
    assert_eq!(rounds, 100_000_u32.div_ceil(SORTED_PER_ADVANCE));
    fired.sort_unstable();
    assert!(fired.into_iter().eq(0..100_000));
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn a_crowded_slot_is_sorted_in_portions_and_nobody_is_forgotten() {
    let crowd = SORTED_PER_ADVANCE * 3 + 1;
    let mut wheel = TimerWheel::new(Instant::ZERO);
    for token in 0..crowd {
        wheel.insert(token, at(1_000_000));
    }
    let mut fired = advance_and_pop(&mut wheel, 1_000_000);
    assert_eq!(fired.len(), SORTED_PER_ADVANCE as usize);
    while let Some(deadline) = wheel.next_deadline() {
        assert_eq!(deadline, at(1_000_000), "the rest asks for a turn at once");
        fired.extend(advance_and_pop(&mut wheel, 1_000_000));
    }
    assert!(fired.into_iter().eq(0..crowd));
}

#[test]
fn a_wheel_advanced_from_deadline_to_deadline_fires_in_exact_order_with_few_wake_ups() {
    const TIMERS: u64 = 5_000;
    let mut random = Random::from_seed(2);
    let mut wheel = TimerWheel::new(at(123_456_789));
    for _ in 0..TIMERS {
        let deadline = 123_456_789 + random.below(1 << 35);
        wheel.insert(deadline, at(deadline));
    }
    let (mut wake_ups, mut last, mut fired) = (0, 0, 0);
    while let Some(now) = wheel.next_deadline() {
        wake_ups += 1;
        wheel.advance(now);
        while let Some(deadline) = wheel.pop_expired() {
            assert_eq!(deadline, now.as_micros(), "fired on time");
            assert!(deadline >= last);
            last = deadline;
            fired += 1;
        }
    }
    assert_eq!(fired, TIMERS);
    assert!(wake_ups < 2 * TIMERS, "{wake_ups} wake-ups for {TIMERS} timers");
}

#[test]
fn a_steady_number_of_timers_allocates_nothing() {
    let mut random = Random::from_seed(3);
    let mut wheel = TimerWheel::new(Instant::ZERO);
    for token in 0..1_000_u32 {
        wheel.insert(token, at(random.below(1 << 30)));
    }
    let nodes = wheel.nodes.len();
    for turn in 1..10_000 {
        wheel.advance(at(turn << 20));
        while let Some(token) = wheel.pop_expired() {
            wheel.insert(token, at((turn << 20) + random.below(1 << 30)));
        }
    }
    assert_eq!((wheel.len(), wheel.nodes.len()), (1_000, nodes));
}

#[test]
fn an_entry_costs_at_most_forty_bytes() {
    assert_eq!(size_of::<Node<u32>>(), 32);
    assert_eq!(size_of::<Node<u64>>(), 40);
}

/// What a caller does to the wheel. Timers are picked by their number among those ever made.
#[derive(Clone, Copy, Debug)]
enum Step {
    Insert { delay: i64 },
    Reschedule { pick: usize, delay: i64 },
    Cancel { pick: usize },
    Advance { micros: u64 },
    SleepUntilDeadline,
    Pop { count: usize },
}

/// From 1,000 microseconds ago to years ahead, each magnitude as likely as another.
fn delay() -> impl Strategy<Value = i64> {
    (0_u32..48, any::<u64>()).prop_map(|(bits, random)| (random % (2 << bits)) as i64 - 1_000)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => delay().prop_map(|delay| Step::Insert { delay }),
        3 => (any::<usize>(), delay()).prop_map(|(pick, delay)| Step::Reschedule { pick, delay }),
        1 => any::<usize>().prop_map(|pick| Step::Cancel { pick }),
        2 => delay().prop_map(|delay| Step::Advance { micros: delay.max(0) as u64 }),
        2 => Just(Step::SleepUntilDeadline),
        2 => (0_usize..8).prop_map(|count| Step::Pop { count }),
    ]
}

/// The wheel and what it should hold.
struct Checked {
    wheel: TimerWheel<usize>,
    ids: Vec<TimerId>,
    /// Deadlines of the timers that have not expired, by token.
    waiting: BTreeMap<usize, u64>,
    /// Tokens of those that have, and were not popped.
    expired: BTreeSet<usize>,
    now: u64,
}

impl Checked {
    fn take(&mut self, step: Step) {
        let deadline = |delay: i64| self.now.saturating_add_signed(delay);
        match step {
            Step::Insert { delay } => {
                let (token, deadline) = (self.ids.len(), deadline(delay));
                self.ids.push(self.wheel.insert(token, at(deadline)));
                self.waiting.insert(token, deadline);
            }
            Step::Reschedule { pick, delay } if !self.ids.is_empty() => {
                let (token, deadline) = (pick % self.ids.len(), deadline(delay));
                let was_there = self.expired.remove(&token) | self.waiting.remove(&token).is_some();
                assert_eq!(self.wheel.reschedule(self.ids[token], at(deadline)), was_there);
                if was_there {
                    self.waiting.insert(token, deadline);
                }
            }
            Step::Cancel { pick } if !self.ids.is_empty() => {
                let token = pick % self.ids.len();
                let was_there = self.expired.remove(&token) | self.waiting.remove(&token).is_some();
                assert_eq!(self.wheel.cancel(self.ids[token]), was_there.then_some(token));
            }
            Step::Advance { micros } => self.advance(self.now.saturating_add(micros)),
            Step::SleepUntilDeadline => {
                if let Some(deadline) = self.wheel.next_deadline() {
                    self.advance(deadline.as_micros().max(self.now));
                }
            }
            Step::Pop { count } => (0..count).for_each(|_| self.pop()),
            Step::Reschedule { .. } | Step::Cancel { .. } => {}
        }
        self.check();
    }

    fn advance(&mut self, now: u64) {
        self.now = now;
        self.wheel.advance(at(now));
        self.expired
            .extend(self.waiting.extract_if(.., |_, deadline| *deadline <= now).map(|(token, _)| token));
    }

    fn pop(&mut self) {
        match self.wheel.pop_expired() {
            Some(token) => assert!(self.expired.remove(&token), "{token} was not due"),
            None => assert!(self.expired.is_empty(), "{:?} were due", self.expired),
        }
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.waiting.len() + self.expired.len());
        let earliest = self.waiting.values().min().copied();
        match self.wheel.next_deadline().map(Instant::as_micros) {
            Some(next) if !self.expired.is_empty() => assert_eq!(next, self.now),
            next => {
                assert_eq!(next.is_some(), earliest.is_some());
                assert!(next <= earliest.map(|earliest| earliest.max(self.now)), "{next:?} > {earliest:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn the_wheel_does_what_an_ordered_map_would(
        start in prop_oneof![Just(0), Just(u64::MAX >> 4), any::<u32>().prop_map(u64::from)],
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let mut checked = Checked {
            wheel: TimerWheel::new(at(start)),
            ids: Vec::new(),
            waiting: BTreeMap::new(),
            expired: BTreeSet::new(),
            now: start,
        };
        for step in steps {
            checked.take(step);
        }
        // Asleep between deadlines, each entry costs at most a wake-up a level, and one for having been moved.
        let mut wake_ups = 0;
        while let Some(deadline) = checked.wheel.next_deadline() {
            checked.advance(deadline.as_micros().max(checked.now));
            while !checked.expired.is_empty() {
                checked.pop();
            }
            checked.pop();
            wake_ups += 1;
            prop_assert!(wake_ups <= checked.ids.len() * (LEVELS as usize + 1));
        }
        prop_assert!(checked.waiting.is_empty());
    }
}
