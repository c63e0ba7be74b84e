//! Plans that several tests begin with.

use std::time::Duration;

use sunstar_sim::plan::{ErrandPlan, MachinePlan, Network, Plan, Work};
use sunstar_sim::{Errand, World, ms, secs};

/// Two machines on a switch; the client has one thing to do.
pub(crate) fn two(machine: &MachinePlan, errand: Errand) -> Plan {
    let errand = ErrandPlan { at: ms(0), from: (0, 0), to: 1, what: Work::Converse(errand), may_fail: false };
    Plan {
        seed: 1,
        machines: vec![machine.clone(), machine.clone()],
        network: Network::Switch,
        errands: vec![errand],
        faults: Vec::new(),
        patience: secs(1_000),
    }
}

/// How long the first errand takes, all invariants kept.
pub(crate) fn takes(plan: &Plan) -> Duration {
    let mut world = World::new(plan);
    let start = world.now();
    world.run().unwrap_or_else(|breach| panic!("{breach}"));
    let (at, _) = world.outcomes()[0].expect("it is done");
    at - start
}
