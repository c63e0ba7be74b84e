//! Runs plans and says what came of them; makes a plan that fails smaller.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::world::World;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Turns taken, frames delivered.
    pub events: u64,
    /// How much time has passed in it.
    pub simulated: Duration,
    /// A hash over every frame, with its time and fate.
    pub trace_hash: u64,
    /// What was wrong, if anything was.
    pub failure: Option<Failure>,
}

/// Why a run has failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which invariant does not hold; none if it was a panic.
    pub invariant: Option<u8>,
    /// What is wrong.
    pub what: String,
    /// When, in the run's own time.
    pub at: Duration,
    /// The last frames before that, a line each.
    pub last_events: Vec<String>,
    /// What every shard had and waited for, a line each.
    pub shards: Vec<String>,
}

thread_local! {
    /// Whether a run is going on in this thread, whose panics are results.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
    /// Where and why it has panicked.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics of runs are results, and are not printed; others are, as ever.
fn hear_of_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if RUNNING.get() {
                PANIC.with(|panic| *panic.borrow_mut() = Some(info.to_string()));
            } else {
                usual(info);
            }
        }));
    });
}

/// What comes of something that may panic; if it does, why.
fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    hear_of_panics();
    RUNNING.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    RUNNING.set(false);
    result.map_err(|_| {
        PANIC.with(|panic| panic.borrow_mut().take()).unwrap_or_else(|| "a panic without a word".into())
    })
}

/// Runs a plan.
pub fn run(plan: &Plan) -> Run {
    run_with(plan, |_| {}).0
}

/// Runs a plan in a world that `prepare` has changed; what came of it, and the world as it was left.
pub fn run_with(plan: &Plan, prepare: impl FnOnce(&mut World)) -> (Run, World) {
    let mut world = World::new(plan);
    prepare(&mut world);
    let start = world.now();
    let result = caught(|| world.run());
    let at = world.now() - start;
    let failed = |invariant, what| Failure {
        invariant,
        what,
        at,
        last_events: world.trace.lines(),
        // What has panicked once may do so again.
        shards: caught(|| world.describe()).unwrap_or_default(),
    };
    let failure = match result {
        Ok(Ok(())) => None,
        Ok(Err(breach)) => Some(failed(Some(breach.invariant), breach.what)),
        Err(panic) => Some(failed(None, panic)),
    };
    let run = Run { events: world.events(), simulated: at, trace_hash: world.trace.hash(), failure };
    (run, world)
}

/// A smaller plan that fails in the same way: fewer errands, faults and machines, fewer bytes, better links. Tries so many
/// plans at most.
pub fn minimise(plan: &Plan, tries: u32) -> Plan {
    let Some(failure) = run(plan).failure else { return plan.clone() };
    let mut smallest = plan.clone();
    let mut left = tries;
    let fails = |plan: &Plan, left: &mut u32| {
        *left = left.saturating_sub(1);
        run(plan).failure.is_some_and(|it| it.invariant == failure.invariant)
    };
    loop {
        let mut smaller = false;
        for candidate in candidates(&smallest) {
            if left == 0 {
                return smallest;
            }
            if fails(&candidate, &mut left) {
                (smallest, smaller) = (candidate, true);
                break;
            }
        }
        if !smaller {
            return smallest;
        }
    }
}

/// Plans that are a step smaller, the greatest steps first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        if smaller != *plan && !smaller.errands.is_empty() {
            all.push(smaller);
        }
    };
    let errands = plan.errands.len();
    with(&|plan| plan.errands.truncate(errands / 2));
    with(&|plan| drop(plan.errands.drain(..errands / 2)));
    with(&|plan| plan.faults.clear());
    for errand in 0..errands {
        with(&|plan| {
            plan.errands.remove(errand);
        });
    }
    for fault in 0..plan.faults.len() {
        with(&|plan| drop(plan.faults.remove(fault)));
    }
    let last = plan.machines.len() - 1;
    let is_used = plan.errands.iter().any(|it| it.from.0 == last || it.to == last)
        || plan.faults.iter().any(|it| it.machine == last);
    if !is_used && last > 1 {
        with(&|plan| drop(plan.machines.pop()));
    }
    for machine in 0..plan.machines.len() {
        with(&|plan| plan.machines[machine].offloads = false);
        for direction in 0..2 {
            let link = |plan: &mut Plan| std::mem::take(&mut plan.machines[machine].link[direction]);
            with(&|plan| {
                let latency = link(plan).latency;
                plan.machines[machine].link[direction].latency = latency;
            });
        }
    }
    for errand in 0..errands {
        with(&|plan| plan.errands[errand].what = plan.errands[errand].what.halved());
    }
    all
}
