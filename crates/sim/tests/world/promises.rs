//! What goes wrong in networks, and what is promised for it: a row of the list of faults each.

use std::time::Duration;

use sunstar_sim::plan::{ErrandPlan, Fault, FaultPlan, MachinePlan, Network, Plan, Work};
use sunstar_sim::{Errand, Impairments, Outcome, World, ms, secs};
use sunstar_stack::SocketError;

use crate::common::{takes, two};

fn fault(at: Duration, lasts: Duration, machine: usize, what: Fault) -> FaultPlan {
    FaultPlan { at, lasts, machine, what }
}

/// A machine on a link of 100 Mbit/s with something the matter.
fn impaired(change: impl Fn(&mut Impairments)) -> MachinePlan {
    let mut machine = MachinePlan::new(1);
    machine.rate = Some(100_000_000);
    machine.neighbor_attempts = 100;
    machine.tcp.retries = (30, 12);
    machine.link.iter_mut().for_each(change);
    machine
}

/// How each errand has ended, all invariants kept until then; the world as it is then.
fn outcomes(plan: &Plan, patience: Duration) -> (Vec<Outcome>, World) {
    let mut world = World::new(plan);
    let done = world.run_until(|world| world.outcomes().iter().all(Option::is_some), patience);
    assert_eq!(done, Ok(true), "all errands have ended");
    (world.outcomes().iter().flatten().map(|(_, outcome)| *outcome).collect(), world)
}

/// Until so many bytes more have been received by an errand's client, from now on.
fn until_received(world: &mut World, errand: usize, more: u64) -> Duration {
    let (start, before) = (world.now(), world.received(errand));
    let reached = world.run_until(|world| world.received(errand) >= before + more, secs(100));
    assert_eq!(reached, Ok(true), "bytes arrive");
    world.now() - start
}

#[test]
fn whatever_part_of_the_frames_is_lost_the_bytes_are_the_same() {
    for permille in [1, 10, 50, 100, 200, 300] {
        let machine = impaired(|link| (link.latency, link.loss) = (ms(2), f64::from(permille) / 2_000.0));
        let took = takes(&Plan { patience: secs(50_000), ..two(&machine, Errand::both_ways(1, 200_000)) });
        println!("{permille} permille: {:.1} s", took.as_secs_f64());
    }
}

#[test]
fn half_of_all_frames_late_and_a_tenth_twice_change_nothing_in_the_bytes() {
    let machine = impaired(|link| {
        (link.latency, link.reordering, link.duplication) = (ms(5), 0.5, 0.1);
        link.held_back = ms(3);
    });
    let took = takes(&two(&machine, Errand::both_ways(1, 1 << 20)));
    println!("{took:?}");
}

#[test]
fn of_all_frames_with_a_bit_flipped_every_one_is_dropped() {
    let machine = impaired(|link| (link.latency, link.corruption) = (ms(1), 0.05));
    let mut world = World::new(&two(&machine, Errand::both_ways(1, 1 << 20)));
    world.run().unwrap();
    // What was damaged behind the switch reached a host, and so did what was damaged ahead of it, or a part of that.
    let links = [world.link_counters(0), world.link_counters(1)];
    let damaged: u64 = links.iter().flatten().map(|link| link.corrupted).sum();
    let dropped: u64 = [0, 1].iter().map(|machine| world.total(*machine, |it| it.drops.total())).sum();
    assert!(damaged > 100 && dropped >= damaged, "{damaged} frames were damaged, {dropped} dropped");
}

#[test]
fn a_delay_that_grows_by_two_seconds_ends_no_connection() {
    let machine = impaired(|link| (link.latency, link.jitter) = (ms(10), ms(10)));
    let mut slower = machine.link.clone();
    slower.iter_mut().for_each(|link| link.latency += secs(1));
    let step = fault(ms(300), secs(60), 0, Fault::Impaired(Box::new(slower)));
    let plan = two(&machine, Errand::requests(1, 1, 100, 20 << 20));
    let (ended, _) = outcomes(&Plan { faults: vec![step], ..plan }, secs(300));
    assert_eq!(ended, [Outcome::Done]);
}

#[test]
fn behind_a_path_that_swallows_large_packets_data_flows_again_within_ten_seconds() {
    let mut plan = two(&impaired(|link| link.latency = ms(10)), Errand::requests(1, 1, 100, 100 << 20));
    plan.network = Network::Router { mtus: vec![1_500, 1_500], speaks: false };
    plan.faults = vec![fault(secs(2), secs(0), 0, Fault::Mtu { mtu: 1_300 })];
    let mut world = World::new(&plan);
    assert_eq!(world.run_until(|world| world.now().as_millis() >= 3_000, secs(3)), Ok(true));
    let took = until_received(&mut world, 0, 100_000);
    println!("flowing again {took:?} after the last second before");
    assert!(took < secs(9), "{took:?}");
}

#[test]
fn connections_outlive_a_link_that_is_away_for_five_seconds_and_resume_within_one() {
    for what in [Fault::NoCarrier, Fault::Cut] {
        let machine = impaired(|link| link.latency = ms(5));
        let mut plan = two(&machine, Errand::requests(1, 1, 100, 200 << 20));
        plan.faults = vec![fault(secs(1), secs(5), 1, what.clone())];
        let mut world = World::new(&plan);
        assert_eq!(world.run_until(|world| world.now().as_millis() >= 6_001, secs(10)), Ok(true));
        let took = until_received(&mut world, 0, 10_000);
        println!("{what:?}: resumed {took:?} after the return");
        // A sender without a carrier knows when it is back. One that hears nothing has doubled its timeout until then, and
        // looks again when that is over: as long as the outage at most.
        assert!(took < if what == Fault::NoCarrier { secs(1) } else { secs(7) }, "{what:?}: {took:?}");
    }
}

#[test]
fn while_a_ring_stalls_writers_wait_and_nothing_grows() {
    let mut plan = two(&impaired(|link| link.latency = ms(1)), Errand::requests(1, 1, 100, 100 << 20));
    plan.faults = vec![fault(ms(500), secs(600), 1, Fault::Stalled { queue: 0 })];
    let mut world = World::new(&plan);
    let mut out = |seconds| {
        assert_eq!(world.run_until(|_| false, secs(seconds)), Ok(false));
        world.shard(1, 0).pool().buffers_out()
    };
    let (soon, late) = (out(1), out(300));
    assert!(late <= soon, "{soon} buffers after a second, {late} after five minutes");
    assert_eq!(world.run_until(|_| false, secs(305)), Ok(false));
    until_received(&mut world, 0, 1_000_000);
}

#[test]
fn when_the_device_is_gone_sockets_say_so_within_a_tenth_of_a_second() {
    let mut plan = two(&impaired(|link| link.latency = ms(1)), Errand::requests(1, 1, 100, 100 << 20));
    plan.errands[0].may_fail = true;
    plan.faults = vec![fault(secs(1), secs(0), 0, Fault::DeviceFailed)];
    let (_, world) = outcomes(&plan, secs(10));
    let (at, outcome) = world.outcomes()[0].unwrap();
    assert_eq!(outcome, Outcome::Failed(SocketError::NetworkDown));
    assert!(at.as_millis() <= 1_101, "{at}");
}

#[test]
fn when_a_shard_fails_the_others_go_on_and_a_fresh_one_serves() {
    let machine = MachinePlan::new(4);
    let mut plan = two(&machine, Errand::requests(1, 1, 100, 4 << 20));
    let first = plan.errands[0];
    let another = |shard, at| ErrandPlan { at, from: (0, shard), may_fail: true, ..first };
    plan.errands = (0..16).map(|number| another(number % 4, ms(0))).collect();
    // When the shard has been replaced, another sixteen come.
    let later: Vec<_> =
        (0..16).map(|number| ErrandPlan { may_fail: false, ..another(number % 4, secs(20)) }).collect();
    plan.errands.extend(later);
    plan.faults = vec![fault(ms(20), secs(0), 1, Fault::Replaced { shard: 2 })];
    let (ended, world) = outcomes(&plan, secs(100));
    let failed = ended[..16].iter().filter(|outcome| **outcome != Outcome::Done).count();
    assert!((1..12).contains(&failed), "{failed} of 16 were on the shard that failed");
    // Whoever was on it hears of it with the next segment that the fresh shard gets.
    assert!(
        ended[..16]
            .iter()
            .all(|it| matches!(it, Outcome::Done | Outcome::Failed(SocketError::ConnectionReset))),
        "{ended:?}"
    );
    assert!(ended[16..].iter().all(|outcome| *outcome == Outcome::Done), "{ended:?}");
    assert!(world.shard(1, 2).counters().tcp.passive_opens > 0, "the fresh shard serves");
}

#[test]
fn a_peer_that_is_gone_is_given_up_at_r2() {
    let mut machine = impaired(|link| link.latency = ms(5));
    machine.tcp.retries = (5, 5);
    let mut plan = two(&machine, Errand::upload(1, 100 << 20));
    plan.errands[0].may_fail = true;
    plan.faults = vec![fault(secs(1), secs(10_000), 1, Fault::Asleep)];
    let (ended, world) = outcomes(&plan, secs(600));
    assert_eq!(ended, [Outcome::Failed(SocketError::TimedOut)]);
    // 200 ms, doubled five times: 12.6 seconds with the last wait.
    let (at, _) = world.outcomes()[0].unwrap();
    assert!((10_000..20_000).contains(&at.as_millis()), "{at}");
}

#[test]
fn a_peer_that_has_begun_anew_is_noticed_within_a_round_trip() {
    let mut plan = two(&impaired(|link| link.latency = ms(20)), Errand::upload(1, 100 << 20));
    plan.errands[0].may_fail = true;
    plan.faults = vec![fault(secs(1), secs(0), 1, Fault::Replaced { shard: 0 })];
    let (ended, world) = outcomes(&plan, secs(60));
    assert_eq!(ended, [Outcome::Failed(SocketError::ConnectionReset)]);
    let (at, _) = world.outcomes()[0].unwrap();
    // A round trip is 80 ms; the fresh shard has to ask for its neighbour first, which is another.
    assert!(at.as_millis() <= 1_001 + 2 * 80 + 5, "{at}");
}

#[test]
fn after_an_hour_of_standing_still_each_timer_fires_once_and_no_burst_follows() {
    let machine = impaired(|link| link.latency = ms(5));
    let mut plan = two(&machine, Errand::requests(1, 1, 100, 200 << 20));
    plan.faults = vec![fault(secs(1), secs(3_600), 1, Fault::Asleep)];
    let mut world = World::new(&plan);
    assert_eq!(world.run_until(|world| world.now().as_millis() >= 3_600_000, secs(3_601)), Ok(true));
    let before = world.total(1, |it| it.tcp.timeouts);
    assert_eq!(world.run_until(|world| world.now().as_millis() >= 3_601_002, secs(10)), Ok(true));
    let timeouts = world.total(1, |it| it.tcp.timeouts) - before;
    assert!(timeouts <= 1, "{timeouts} timeouts at once");
    // That no more is sent than the window allows, the world's invariants see to (number 7).
    until_received(&mut world, 0, 1_000_000);
}

#[test]
fn of_a_gateway_that_is_gone_everybody_hears_within_three_seconds_and_little_waits_for_it() {
    let mut plan = two(&MachinePlan::new(1), Errand::upload(1, 1_000_000));
    plan.network = Network::Router { mtus: Vec::new(), speaks: true };
    let first = plan.errands[0];
    let another = |number: u64| ErrandPlan { at: ms(number), may_fail: true, ..first };
    plan.errands = (0..40).map(another).collect();
    let datagrams = Work::Datagrams { seed: 9, count: 100, len: 500, every_us: 1_000 };
    plan.errands.push(ErrandPlan { what: datagrams, ..another(0) });
    plan.faults = vec![fault(ms(0), secs(1_000), 0, Fault::Cut)];
    let mut world = World::new(&plan);
    let mut most = 0;
    let done = world.run_until(
        |world| {
            let waiting =
                world.shard(0, 0).fills().find(|fill| fill.what == "packets that wait for a neighbour");
            most = most.max(waiting.map_or(0, |fill| fill.len));
            world.outcomes()[..40].iter().all(Option::is_some)
        },
        secs(10),
    );
    assert_eq!(done, Ok(true));
    for (errand, outcome) in world.outcomes()[..40].iter().enumerate() {
        let (at, outcome) = outcome.unwrap();
        assert_eq!(outcome, Outcome::Failed(SocketError::HostUnreachable));
        assert!(at.as_millis() <= errand as u64 + 3_001, "errand {errand} at {at}");
    }
    assert!((1..=16).contains(&most), "{most} packets waited");
}
