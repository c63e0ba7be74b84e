//! Goodput and fairness, as tables that a reviewer reads: a change of the stack that changes them shows in review.

use std::fmt::Write;
use std::time::Duration;

use sunstar_sim::plan::{ErrandPlan, MachinePlan, Plan, Work};
use sunstar_sim::{Errand, World, ms, secs};

use crate::common::{takes, two};

/// Runs of each cell, with a seed each.
const RUNS: u64 = 5;

/// Two hosts on links of 100 Mbit/s, 20 ms there and back, that lose frames in both directions.
fn path(loss: f64, buffer: usize) -> MachinePlan {
    let mut machine = MachinePlan::new(1);
    machine.rate = Some(100_000_000);
    machine.neighbor_attempts = 100;
    machine.tcp.retries = (30, 12);
    (machine.tcp.send_buffer, machine.tcp.receive_buffer) = (buffer, buffer);
    for link in &mut machine.link {
        link.latency = ms(5);
        // A frame passes two links.
        link.loss = 1.0 - (1.0 - loss).sqrt();
    }
    machine
}

/// Goodput of an upload in Mbit/s, over all runs.
fn goodput(loss: f64, buffer: usize) -> f64 {
    let bytes: u32 = if loss > 0.05 { 256 << 10 } else { 4 << 20 };
    let run = |seed| {
        let plan = two(&path(loss, buffer), Errand::upload(seed as u32, bytes));
        takes(&Plan { seed, patience: secs(100_000), ..plan })
    };
    let all: Duration = (0..RUNS).map(run).sum();
    f64::from(bytes) * RUNS as f64 * 8.0 / all.as_secs_f64() / 1e6
}

#[test]
fn goodput_by_loss_and_by_buffer() {
    let buffers = [16, 64, 256, 1_024];
    let mut table = String::from(
        "Mbit/s of uploads over 100 Mbit/s, 20 ms there and back; frames lost both ways\n\n  loss",
    );
    for buffer in buffers {
        let _ = write!(table, "{:>11}", format!("{buffer} KiB"));
    }
    for loss in [0.0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3] {
        let _ = write!(table, "\n{:>5.1}%", loss * 100.0);
        for buffer in buffers {
            let _ = write!(table, "{:>11.3}", goodput(loss, buffer << 10));
        }
    }
    insta::assert_snapshot!(table);
}

/// Mbit/s of two downloads through one bottleneck, in the 20 seconds behind the first 10, and Jain's index of the two.
fn shares(buffer: usize, queue: usize, latency: [Duration; 2]) -> (f64, f64, f64) {
    let mut server = path(0.0, buffer);
    server.rate = None;
    server.link[0].bottleneck = Some((50_000_000, queue));
    let client = |latency| {
        let mut client = path(0.0, buffer);
        client.link.iter_mut().for_each(|link| link.latency = latency);
        client
    };
    let errand = |from: usize| ErrandPlan {
        at: ms(500 * from as u64),
        from: (from, 0),
        to: 2,
        what: Work::Converse(Errand::requests(from as u32, 1, 100, 400_000_000)),
        may_fail: true,
    };
    let plan = Plan {
        machines: vec![client(latency[0]), client(latency[1]), server],
        errands: vec![errand(0), errand(1)],
        ..two(&path(0.0, buffer), Errand::upload(0, 0))
    };
    let mut world = World::new(&plan);
    let mut read = |seconds| {
        world.run_until(|_| false, secs(seconds)).unwrap_or_else(|breach| panic!("{breach}"));
        [0, 1].map(|errand| world.received(errand) as f64)
    };
    let (before, after) = (read(10), read(20));
    let rate = |flow: usize| (after[flow] - before[flow]) * 8.0 / 20.0 / 1e6;
    let (one, other) = (rate(0), rate(1));
    (one, other, (one + other).powi(2) / (2.0 * (one * one + other * other)))
}

#[test]
fn fairness_of_two_flows() {
    let mut table = String::from(
        "Mbit/s of two downloads through 50 Mbit/s, in the 20 s behind the first 10, and Jain's index\n\n\
         there and back       queue      first   second    index",
    );
    for (latency, queue) in [((5, 5), 20), ((5, 5), 100), ((5, 5), 400), ((5, 20), 100)] {
        let (one, other, index) = shares(2 << 20, queue, [ms(latency.0), ms(latency.1)]);
        let delays = format!("{} and {} ms", 2 * latency.0 + 10, 2 * latency.1 + 10);
        let _ = write!(table, "\n{delays:<16}{queue:>4} frames{one:>11.1}{other:>9.1}{index:>9.3}");
    }
    insta::assert_snapshot!(table);
}
