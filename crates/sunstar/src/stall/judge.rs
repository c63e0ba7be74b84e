//! Whether what is seen of a shard's thread is a stall. It reads no clock: time is an argument.

use std::time::Duration;

use super::schedule::Schedule;
use super::watch::{Doing, Reading};

/// How many times the watchdog looks within the time that a poll may take.
const LOOKS: u32 = 4;

/// How long a poll has been going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Since it was first seen.
    pub(super) time: Duration,
    /// How much of that on the processor, if the kernel says.
    pub(super) on_processor: Option<Duration>,
}

/// What one look leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing to say.
    Fine,
    /// The thread is to give a sign of life: it may be in one long poll, or in many short ones.
    Ask,
    /// A poll has just taken longer than it may.
    Stalled(Held),
    /// The poll that was found to be a stall goes on.
    GoesOn(Held),
}

/// The poll that was seen at the last look.
#[derive(Clone, Copy, Debug)]
struct Seen {
    poll: u64,
    first: Duration,
    first_processor: Option<Duration>,
    last: Duration,
    last_schedule: Option<Schedule>,
    /// How much of the time since the first look is the task's own doing.
    blamed: Duration,
    /// Whether the thread has been asked for a sign of life.
    asked: bool,
    /// Whether it has been found to be a stall.
    stalled: bool,
}

impl Seen {
    fn new(now: Duration, reading: &Reading) -> Self {
        Self {
            poll: reading.poll,
            first: now,
            first_processor: reading.schedule.map(|schedule| schedule.processor),
            last: now,
            last_schedule: reading.schedule,
            blamed: Duration::ZERO,
            asked: false,
            stalled: false,
        }
    }

    /// How much of the time since the last look is the task's own doing: what it spent on the processor, and, if
    /// it waits for something it asked for, all that it did not spend waiting for a processor.
    fn blamed_since_last(&self, now: Duration, schedule: Option<Schedule>) -> Duration {
        let passed = now.saturating_sub(self.last);
        let Some((before, after)) = self.last_schedule.zip(schedule) else { return passed };
        if after.blocked {
            passed.saturating_sub(after.queued.saturating_sub(before.queued))
        } else {
            after.processor.saturating_sub(before.processor)
        }
    }
}

/// Judges one shard's thread by what is seen of it.
#[derive(Debug)]
pub(super) struct Judge {
    stall_after: Duration,
    seen: Option<Seen>,
}

impl Judge {
    /// A judge that finds polls of this length to be stalls.
    pub(super) fn new(stall_after: Duration) -> Self {
        Self { stall_after, seen: None }
    }

    /// How often it has to be shown the thread.
    pub(super) fn interval(stall_after: Duration) -> Duration {
        stall_after / LOOKS
    }

    /// Judges what is seen now, a time since any fixed moment.
    pub(super) fn look(&mut self, now: Duration, reading: &Reading) -> Finding {
        let is_awake = reading.doing != Doing::Asleep;
        let Some(seen) = self.seen.as_mut().filter(|seen| is_awake && seen.poll == reading.poll) else {
            self.seen = Some(Seen::new(now, reading));
            return Finding::Fine;
        };
        if reading.doing == Doing::Unnamed && !seen.asked {
            // There may have been any number of polls until now, and there is one if there is no sign from here on.
            *seen = Seen { asked: true, ..Seen::new(now, reading) };
            return Finding::Ask;
        }
        // A look that comes late has been kept from coming, and perhaps the thread by the same: it does not say more
        // than two looks in time would.
        let most = Self::interval(self.stall_after) * 2;
        seen.blamed += seen.blamed_since_last(now, reading.schedule).min(most);
        seen.last = now;
        seen.last_schedule = reading.schedule;
        let processor = reading.schedule.map(|schedule| schedule.processor).zip(seen.first_processor);
        let held = Held {
            time: now.saturating_sub(seen.first),
            on_processor: processor.map(|(now, first)| now.saturating_sub(first)),
        };
        match seen.stalled {
            true => Finding::GoesOn(held),
            // The kernel counts in ticks, and may put more into a look than there was time.
            false if held.time.min(seen.blamed) >= self.stall_after => {
                seen.stalled = true;
                Finding::Stalled(held)
            }
            false => Finding::Fine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL_AFTER: Duration = Duration::from_millis(40);
    const INTERVAL: u64 = 10;

    /// A thread, and a judge who looks at it in virtual time.
    struct Scene {
        judge: Judge,
        now: u64,
        reading: Reading,
    }

    impl Scene {
        fn new(doing: Doing) -> Self {
            let schedule =
                Some(Schedule { processor: Duration::ZERO, queued: Duration::ZERO, blocked: false });
            Self { judge: Judge::new(STALL_AFTER), now: 1_000, reading: Reading { poll: 1, doing, schedule } }
        }

        /// In a poll of a task. It has been seen once.
        fn in_task() -> Self {
            let watch = crate::stall::Watch::new(0);
            let mut scene = Self::new(Doing::Task(watch.name("task".into())));
            assert_eq!(scene.look_after(0), Finding::Fine);
            scene
        }

        fn look_after(&mut self, milliseconds: u64) -> Finding {
            self.now += milliseconds;
            self.judge.look(Duration::from_millis(self.now), &self.reading)
        }

        /// What is found at looks in time, with this much of each interval on the processor, and this much in its queue.
        fn looks(&mut self, count: usize, processor: u64, queued: u64) -> Vec<Finding> {
            let mut look = || {
                if let Some(schedule) = &mut self.reading.schedule {
                    schedule.processor += Duration::from_millis(processor);
                    schedule.queued += Duration::from_millis(queued);
                }
                self.look_after(INTERVAL)
            };
            (0..count).map(|_| look()).collect()
        }
    }

    fn held(time: u64, on_processor: u64) -> Held {
        let on_processor = Some(Duration::from_millis(on_processor));
        Held { time: Duration::from_millis(time), on_processor }
    }

    #[test]
    fn a_poll_that_goes_on_is_a_stall_once_and_its_time_grows() {
        let mut scene = Scene::in_task();
        let found = scene.looks(5, INTERVAL, 0);
        assert_eq!(found[..3], [Finding::Fine; 3]);
        assert_eq!(found[3..], [Finding::Stalled(held(40, 40)), Finding::GoesOn(held(50, 50))]);
        scene.reading.poll += 1;
        assert_eq!(scene.looks(4, INTERVAL, 0), [Finding::Fine; 4], "the next poll begins anew");
        assert!(matches!(scene.looks(1, INTERVAL, 0)[..], [Finding::Stalled(_)]));
    }

    #[test]
    fn polls_that_follow_one_another_are_no_stall_however_busy_the_thread_is() {
        let mut scene = Scene::in_task();
        for _ in 0..100 {
            assert_eq!(scene.looks(3, INTERVAL, 0), [Finding::Fine; 3]);
            scene.reading.poll += 1;
        }
    }

    #[test]
    fn a_shard_that_sleeps_is_never_blamed() {
        let mut scene = Scene::new(Doing::Asleep);
        scene.reading.schedule = None;
        assert_eq!(scene.looks(1_000, 0, 0), [Finding::Fine; 1_000]);
    }

    #[test]
    fn a_thread_in_no_named_poll_is_asked_for_a_sign_of_life_before_anything_is_counted() {
        let mut scene = Scene::new(Doing::Unnamed);
        for _ in 0..10 {
            assert_eq!(scene.looks(2, INTERVAL, 0), [Finding::Fine, Finding::Ask]);
            scene.reading.poll += 1;
        }
        assert_eq!(scene.looks(2, INTERVAL, 0), [Finding::Fine, Finding::Ask]);
        let found = scene.looks(4, INTERVAL, 0);
        assert_eq!(found[..3], [Finding::Fine; 3]);
        assert_eq!(found[3], Finding::Stalled(held(40, 40)));
    }

    #[test]
    fn a_thread_that_is_given_no_processor_is_not_blamed_for_the_time() {
        let mut starved = Scene::in_task();
        assert_eq!(starved.looks(1_000, 0, 0), [Finding::Fine; 1_000], "and it still waits");
        assert_eq!(starved.looks(1_000, 0, INTERVAL), [Finding::Fine; 1_000]);
        let mut shared = Scene::in_task();
        let found = shared.looks(8, INTERVAL / 2, INTERVAL / 2);
        assert_eq!(found[..7], [Finding::Fine; 7]);
        assert_eq!(found[7], Finding::Stalled(held(80, 40)), "half a processor takes twice as long");
    }

    #[test]
    fn a_task_that_blocks_in_the_kernel_is_blamed() {
        let mut scene = Scene::in_task();
        if let Some(schedule) = &mut scene.reading.schedule {
            schedule.blocked = true;
        }
        assert_eq!(scene.looks(4, 0, 0)[3], Finding::Stalled(held(40, 0)));
    }

    #[test]
    fn one_look_that_comes_late_is_no_proof() {
        for schedule in [true, false] {
            let mut scene = Scene::in_task();
            scene.reading.schedule.as_mut().unwrap().blocked = true;
            if !schedule {
                scene.reading.schedule = None;
                scene.reading.poll += 1;
                assert_eq!(scene.look_after(0), Finding::Fine);
            }
            assert_eq!(scene.look_after(1_000_000), Finding::Fine, "the process was stopped, perhaps");
            assert_eq!(scene.look_after(INTERVAL), Finding::Fine);
            assert!(matches!(scene.look_after(INTERVAL), Finding::Stalled(_)));
        }
    }

    #[test]
    fn where_the_kernel_says_nothing_the_clock_decides() {
        let mut scene = Scene::in_task();
        scene.reading.schedule = None;
        scene.reading.poll += 1;
        assert_eq!(scene.look_after(0), Finding::Fine);
        let found = scene.looks(4, 0, 0);
        assert_eq!(found[3], Finding::Stalled(Held { on_processor: None, ..held(40, 0) }));
    }
}
