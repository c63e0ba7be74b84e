//! A network that loses three of ten frames, in both directions.
//!
//! `SUNSTAR_TRANSFERS` says how many transfers; 40 without it.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use sunstar_sim::plan::{MachinePlan, Plan};
use sunstar_sim::{Errand, Outcome, World, ms, secs};

use crate::common::two;

/// Bytes of each transfer.
const BYTES: u32 = 1 << 20;

/// Within so much of the simulation's time a transfer has to be through.
const PATIENCE: Duration = secs(4 * 3_600);

/// How long a transfer took; nothing if it was not through in time, or the connection was given up.
fn transfer(seed: u64) -> Option<Duration> {
    let mut machine = MachinePlan::new(1);
    machine.neighbor_attempts = 100;
    machine.tcp.retries = (30, 30);
    for link in &mut machine.link {
        (link.latency, link.loss) = (ms(5), 1.0 - 0.7_f64.sqrt());
    }
    let mut plan = two(&machine, Errand::upload(seed as u32, BYTES));
    // What is delivered is judged all the same; how many are not, the caller counts.
    plan.errands[0].may_fail = true;
    let mut world = World::new(&Plan { seed, patience: PATIENCE, ..plan });
    let start = world.now();
    world.run().unwrap_or_else(|breach| panic!("seed {seed}: {breach}"));
    match world.outcomes()[0] {
        Some((at, Outcome::Done)) => Some(at - start),
        _ => None,
    }
}

#[test]
fn at_thirty_percent_loss_both_ways_nearly_every_transfer_of_a_mebibyte_is_through_and_intact() {
    let count: u64 = env::var("SUNSTAR_TRANSFERS")
        .map_or(40, |count| count.parse().expect("SUNSTAR_TRANSFERS is a number of transfers"));
    let next = AtomicU64::new(0);
    let work = || {
        let mut took = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return took;
            }
            took.extend(transfer(seed));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut took: Vec<Duration> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no breach")).collect()
    });
    took.sort_unstable();
    let through = took.len() as u64;
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "{through} of {count} transfers of {BYTES} bytes through and intact; half within {:.0} s, all within {:.0} s, {} s at most",
        median.as_secs_f64(),
        longest.as_secs_f64(),
        PATIENCE.as_secs(),
    );
    assert!(through * 1_000 >= count * 999, "{through} of {count}");
}
