//! A plan that fails is made smaller, and what it did is written down.

use sunstar_sim::explore::{minimise, run, run_with};
use sunstar_sim::plan::{ErrandPlan, Work};
use sunstar_sim::scenario::Scenario;
use sunstar_sim::{Errand, ms};

#[test]
fn of_a_plan_that_fails_only_what_fails_is_left() {
    let mut plan = Scenario::by_name("everything").unwrap().plan(3);
    // A device that nobody gives back: whoever needs it can not be done.
    plan.machines[0].neighbor_attempts = 1;
    plan.machines[0].link[1].loss = 1.0;
    let hopeless = Work::Converse(Errand::upload(1, 10_000));
    plan.errands.push(ErrandPlan { at: ms(1), from: (0, 0), to: 1, what: hopeless, may_fail: false });
    assert!(plan.errands.len() > 3);
    let failure = run(&plan).failure.expect("it fails");
    let smallest = minimise(&plan, 1_000);
    let again = run(&smallest).failure.expect("it still fails");
    assert_eq!(again.invariant, failure.invariant);
    assert_eq!((smallest.errands.len(), smallest.faults.len()), (1, 0), "{smallest:?}");
}

#[test]
fn a_plan_is_the_same_after_it_was_written_down_and_read() {
    for scenario in sunstar_sim::scenario::ALL {
        let plan = scenario.plan(5);
        let text = serde_json::to_string(&plan).unwrap();
        let read = serde_json::from_str(&text).unwrap();
        assert_eq!(plan, read, "{}", scenario.name);
        assert_eq!(run(&plan).trace_hash, run(&read).trace_hash);
    }
}

#[test]
fn a_capture_has_every_frame_with_its_sender_its_time_and_its_fate() {
    let plan = Scenario::by_name("disorder").unwrap().plan(2);
    let (_, world) = run_with(&plan, |world| world.trace.keep_all());
    let mut file = Vec::new();
    world.trace.write_pcapng(&mut file).unwrap();
    let mut reader = pcap_file::pcapng::PcapNgReader::new(&file[..]).unwrap();
    let (mut frames, mut reordered, mut last) = (0, 0, std::time::Duration::ZERO);
    while let Some(block) = reader.next_block() {
        let Ok(pcap_file::pcapng::Block::EnhancedPacket(packet)) = block else { continue };
        frames += 1;
        assert!(packet.timestamp >= last, "in the order of their times");
        last = packet.timestamp;
        let comment = |option: &_| matches!(option, pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption::Comment(text) if text == "Reordered");
        reordered += u32::from(packet.options.iter().any(comment));
    }
    assert_eq!(frames, world.trace.frames());
    assert!(reordered > 0 && frames > 50, "{reordered} of {frames}");
}
