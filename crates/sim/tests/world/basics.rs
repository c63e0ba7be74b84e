//! What a world does when nothing goes wrong, and that it does the same again.

use sunstar_sim::plan::{ErrandPlan, MachinePlan, Network, Plan, Work};
use sunstar_sim::{Errand, World, secs};

fn plan(seed: u64) -> Plan {
    let errand = |from, to, errand| ErrandPlan {
        at: secs(0),
        from: (from, 0),
        to,
        what: Work::Converse(errand),
        may_fail: false,
    };
    Plan {
        seed,
        machines: vec![MachinePlan::new(2), MachinePlan::new(4), MachinePlan::new(1)],
        network: Network::Switch,
        errands: vec![
            errand(0, 1, Errand::upload(1, 1_000_000)),
            errand(1, 2, Errand::requests(2, 50, 100, 5_000)),
            errand(2, 0, Errand::both_ways(3, 300_000)),
        ],
        faults: Vec::new(),
        patience: secs(60),
    }
}

#[test]
fn everybody_gets_everything_and_nothing_is_left_behind() {
    let mut world = World::new(&plan(1));
    world.run().unwrap();
    println!("{} events in {}", world.events(), world.now());
}

#[test]
fn the_same_seed_gives_the_same_frames() {
    let hash = |seed| {
        let mut world = World::new(&plan(seed));
        world.run().unwrap();
        world.trace.hash()
    };
    assert_eq!(hash(3), hash(3));
    assert_ne!(hash(3), hash(4));
}
