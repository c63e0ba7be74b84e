//! The conductor: whenever every task waits, it has happen what is due, or lets time pass.
//!
//! tokio's stopped clock goes on by itself when everybody waits, to the next of tokio's timers, in whole milliseconds. Stacks
//! and links count microseconds and have no such timers; so the executor tells the conductor before it would let time pass.
//! If less than a millisecond is to pass, it is the conductor that moves the clock, and no further than to the next whole
//! one, at which a timer may be due. From there the executor may jump, and a timer of the conductor's says how far.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use sunstar_stack::time::Instant;
use tokio::sync::Notify;

use super::clock::Clock;
use super::wires::Wires;
use crate::check::Breach;

/// How often something happens without time passing before that is a circle, and no work.
const MAX_ROUNDS_AT_ONCE: u32 = 1_000_000;

/// Microseconds from one tick of the executor's timers to the next.
const TICK: u64 = 1_000;

/// What the executor says of itself. It wants this to be `Sync`; all of it happens on one thread.
#[derive(Debug, Default)]
pub(super) struct Idle {
    conductor: Notify,
    /// Whether the conductor has done what it can, and the executor may let time pass.
    may_jump: AtomicBool,
}

impl Idle {
    /// The executor has nothing left to run, and is about to let time pass.
    pub(super) fn on_idle(&self) {
        if !self.may_jump.swap(false, Ordering::Relaxed) {
            self.conductor.notify_one();
        }
    }
}

/// Why a network cannot go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// The time is over that it was given.
    Patience,
    /// Something happens again and again, and no time passes.
    Circles(Instant),
    /// A host has sent what no host may.
    Breach(Instant, Breach),
}

/// Moves frames, wakes shards and lets time pass until `end`.
pub(super) async fn conduct(wires: Rc<RefCell<Wires>>, idle: Arc<Idle>, clock: Clock, end: Instant) -> Halt {
    // It wakes nobody. The executor lets time pass to where it fires, and says that it is idle again.
    let mut jump = pin!(tokio::time::sleep_until(clock.at(end)));
    let (mut last, mut rounds) = (Instant::ZERO, 0);
    loop {
        idle.conductor.notified().await;
        let now = clock.now();
        rounds = if now > last { 0 } else { rounds + 1 };
        last = now;
        if rounds > MAX_ROUNDS_AT_ONCE {
            return Halt::Circles(now);
        }
        match wires.borrow_mut().settle(now) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(breach) => return Halt::Breach(now, breach),
        }
        if now >= end {
            return Halt::Patience;
        }
        let next = wires.borrow().next_event().map_or(end, |next| next.min(end));
        match step(now, next) {
            Step::Jump(to) => {
                jump.as_mut().reset(clock.at(to));
                let _ = jump.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                idle.may_jump.store(true, Ordering::Relaxed);
            }
            Step::Advance(to) => tokio::time::advance(clock.at(to) - clock.at(now)).await,
        }
    }
}

/// How time passes to something that happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// To there, and nothing can happen before.
    Advance(Instant),
    /// To there at most, as the executor's timers allow.
    Jump(Instant),
}

fn step(now: Instant, next: Instant) -> Step {
    let (at, next_at) = (now.as_micros(), next.as_micros());
    let tick_after = (at / TICK + 1) * TICK;
    if at.is_multiple_of(TICK) && next_at >= tick_after {
        Step::Jump(next - Duration::from_micros(next_at % TICK))
    } else {
        Step::Advance(next.min(Instant::from_micros(tick_after)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_jumps_from_tick_to_tick_and_steps_in_between() {
        let at = Instant::from_micros;
        assert_eq!(step(at(0), at(50)), Step::Advance(at(50)));
        assert_eq!(step(at(50), at(999)), Step::Advance(at(999)));
        assert_eq!(step(at(50), at(7_300)), Step::Advance(at(1_000)), "a timer may be due there");
        assert_eq!(step(at(1_000), at(7_300)), Step::Jump(at(7_000)));
        assert_eq!(step(at(7_000), at(7_300)), Step::Advance(at(7_300)));
        assert_eq!(step(at(1_000), at(2_000)), Step::Jump(at(2_000)));
    }
}
