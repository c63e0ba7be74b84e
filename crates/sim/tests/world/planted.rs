//! Each of the twenty invariants, broken on purpose, is seen to be broken: between the stack and its judge something is
//! changed, lost or swallowed, as a bug would. (Number 15 has its test beside its judge, in `check/flow.rs`.)

use std::time::Duration;

use sunstar_sim::plan::{ErrandPlan, Fault, FaultPlan, MachinePlan, Network, Plan, Work};
use sunstar_sim::{Errand, Nic, Tampering, World, craft, ms, secs};
use sunstar_stack::{ControlBlock, Fill, State};

/// Where TCP begins in a frame: behind Ethernet and an IPv4 header without options.
const TCP: usize = 34;

fn plan(machine: MachinePlan, errand: Errand) -> Plan {
    let errand = ErrandPlan { at: ms(0), from: (0, 0), to: 1, what: Work::Converse(errand), may_fail: false };
    Plan {
        seed: 1,
        machines: vec![machine.clone(), machine],
        network: Network::Switch,
        errands: vec![errand],
        faults: Vec::new(),
        patience: secs(100),
    }
}

/// The invariant that is seen to be broken when this is wrong with the client; none if nothing is.
fn broken(plan: &Plan, tampering: Tampering) -> Option<u8> {
    let mut world = World::new(plan);
    world.tamper(0, tampering);
    world.run().err().map(|breach| breach.invariant)
}

fn usual() -> Plan {
    plan(MachinePlan::new(1), Errand::requests(1, 3, 20_000, 20_000))
}

fn sent(change: impl FnMut(&mut Vec<u8>) + 'static) -> Tampering {
    Tampering { sent: Some(Box::new(change)), ..Tampering::default() }
}

fn blocks(change: impl FnMut(&mut ControlBlock) + 'static) -> Tampering {
    Tampering { blocks: Some(Box::new(change)), ..Tampering::default() }
}

/// Whether a frame has a TCP segment with data.
fn has_data(frame: &[u8]) -> bool {
    frame.len() > TCP && frame[23] == 6 && frame.len() > TCP + usize::from(frame[TCP + 12] >> 4) * 4
}

#[test]
fn without_a_planted_bug_nothing_is_broken() {
    assert_eq!(broken(&usual(), Tampering::default()), None);
}

#[test]
fn invariant_1_a_changed_byte_is_seen_by_its_reader() {
    let tampering = sent(|frame| {
        if has_data(frame) {
            *frame.last_mut().unwrap() ^= 1;
            craft::mend_checksums(frame);
        }
    });
    assert_eq!(broken(&usual(), tampering), Some(1));
}

#[test]
fn invariant_2_more_acknowledged_than_sent_is_seen() {
    assert_eq!(broken(&usual(), blocks(|block| block.snd_una = block.snd_nxt + 1)), Some(2));
}

#[test]
fn invariant_2_more_sent_than_the_peer_has_room_for_is_seen() {
    // As if the peer had hardly opened its window.
    let tampering = Tampering {
        delivered: Some(Box::new(|frame| {
            if frame[23] == 6 {
                frame[TCP + 14..TCP + 16].copy_from_slice(&[0, 1]);
            }
        })),
        ..Tampering::default()
    };
    assert_eq!(broken(&usual(), tampering), Some(2));
}

#[test]
fn invariant_3_more_outstanding_than_written_is_seen() {
    assert_eq!(broken(&usual(), blocks(|block| block.queued = 0)), Some(3));
}

#[test]
fn invariant_4_a_window_that_shrinks_is_seen() {
    let mut segments = 0;
    let tampering = sent(move |frame| {
        segments += u32::from(frame[23] == 6);
        if frame[23] == 6 && segments > 5 {
            frame[TCP + 14..TCP + 16].copy_from_slice(&[0, 0]);
            craft::mend_checksums(frame);
        }
    });
    assert_eq!(broken(&usual(), tampering), Some(4));
}

#[test]
fn invariant_5_a_segment_longer_than_the_peer_takes_is_seen() {
    // As if the peer's SYN had said less.
    let tampering = Tampering {
        delivered: Some(Box::new(|frame| {
            if frame[23] == 6 && frame[TCP + 13] & 2 != 0 {
                frame[TCP + 22..TCP + 24].copy_from_slice(&500_u16.to_be_bytes());
            }
        })),
        ..Tampering::default()
    };
    assert_eq!(broken(&usual(), tampering), Some(5));
}

#[test]
fn invariant_6_a_wrong_checksum_is_seen() {
    let tampering = sent(|frame| {
        if frame[23] == 6 {
            frame[TCP + 16] ^= 1;
        }
    });
    assert_eq!(broken(&usual(), tampering), Some(6));
}

#[test]
fn invariant_7_a_window_of_less_than_a_segment_is_seen() {
    assert_eq!(broken(&usual(), blocks(|block| block.cwnd = 100)), Some(7));
}

#[test]
fn invariant_7_more_in_the_network_than_the_window_allows_is_seen() {
    assert_eq!(broken(&usual(), blocks(|block| block.pipe += u64::from(block.cwnd))), Some(7));
}

#[test]
fn invariant_8_data_outstanding_without_a_timer_is_seen() {
    assert_eq!(broken(&usual(), blocks(|block| block.retransmit = None)), Some(8));
}

#[test]
fn invariant_8_a_timer_that_fires_too_late_is_seen() {
    let late = |block: &mut ControlBlock| block.armed = block.armed.map(|armed| armed + secs(1));
    assert_eq!(broken(&usual(), blocks(late)), Some(8));
}

#[test]
fn invariant_9_a_timeout_below_the_least_is_seen() {
    assert_eq!(broken(&usual(), blocks(|block| block.rto = Duration::from_millis(1))), Some(9));
}

#[test]
fn invariant_9_a_segment_timed_that_was_sent_twice_is_seen() {
    let mut machine = MachinePlan::new(1);
    machine.link[0].loss = 0.1;
    let timed = blocks(|block| block.timed = Some(block.snd_nxt));
    assert_eq!(broken(&plan(machine, Errand::upload(1, 200_000)), timed), Some(9));
}

#[test]
fn invariant_10_an_acknowledgement_of_what_never_came_is_seen() {
    let tampering = sent(|frame| {
        if frame[23] == 6 && frame[TCP + 13] & 2 == 0 {
            let number = frame[TCP + 8..TCP + 12].try_into().map(u32::from_be_bytes).unwrap();
            frame[TCP + 8..TCP + 12].copy_from_slice(&number.wrapping_add(100_000).to_be_bytes());
            craft::mend_checksums(frame);
        }
    });
    assert_eq!(broken(&usual(), tampering), Some(10));
}

#[test]
fn invariant_10_an_expectation_that_goes_back_is_seen() {
    let mut readings = 0;
    let back = move |block: &mut ControlBlock| {
        readings += 1;
        if readings > 20 && block.state == State::Established {
            block.rcv_nxt = block.irs;
        }
    };
    assert_eq!(broken(&usual(), blocks(back)), Some(10));
}

#[test]
fn invariant_11_a_report_of_what_is_not_held_is_seen() {
    let mut machine = MachinePlan::new(1);
    machine.link[1].loss = 0.1;
    machine.tcp.timestamps = false;
    let tampering = sent(|frame| {
        // NOP, NOP, SACK: the first edge.
        let options = frame.get(TCP + 20..TCP + 23).map(<[u8]>::to_vec);
        if frame[23] == 6 && options == Some(vec![1, 1, 5]) {
            frame[TCP + 26] ^= 0x10;
            craft::mend_checksums(frame);
        }
    });
    assert_eq!(broken(&plan(machine, Errand::requests(1, 1, 100, 200_000)), tampering), Some(11));
}

#[test]
fn invariant_11_ranges_that_overlap_what_is_in_order_are_seen() {
    let overlaps = |block: &mut ControlBlock| block.early.push((block.rcv_nxt, block.rcv_nxt + 10));
    assert_eq!(broken(&usual(), blocks(overlaps)), Some(11));
}

#[test]
fn invariant_12_a_state_that_nothing_leads_to_is_seen() {
    let mut readings = 0;
    let backwards = move |block: &mut ControlBlock| {
        readings += 1;
        if readings > 20 && block.state == State::Established {
            block.state = State::SynReceived;
        }
    };
    assert_eq!(broken(&usual(), blocks(backwards)), Some(12));
}

#[test]
fn invariant_13_a_connection_that_nobody_owns_and_that_stays_is_seen() {
    // The server is gone without a word, and the client reads on: in its own right for ever, without an owner not.
    let mut plan = plan(MachinePlan::new(1), Errand::requests(1, 1, 100, 2_000_000));
    let what = Fault::Suspended { shard: 0 };
    plan.faults.push(FaultPlan { at: ms(30), lasts: secs(100_000), machine: 1, what });
    let wait = |tampering: Tampering| {
        let mut world = World::new(&plan);
        world.tamper(0, tampering);
        world.run_until(|_| false, secs(20_000)).err().map(|breach| breach.invariant)
    };
    assert_eq!(wait(Tampering::default()), None);
    let forgotten = |block: &mut ControlBlock| {
        (block.owned, block.state) = (false, State::FinWait2);
        (block.snd_una, block.queued, block.retransmit) = (block.snd_nxt, 0, None);
        (block.rcv_nxt, block.armed, block.earliest) = (block.irs + 1, None, None);
    };
    let mut readings = 0;
    let tampering = blocks(move |block| {
        readings += 1;
        if readings > 5 {
            forgotten(block);
        }
    });
    assert_eq!(wait(tampering), Some(13));
}

#[test]
fn invariant_14_a_forged_segment_that_changes_something_is_seen() {
    let mut plan = usual();
    let Work::Converse(errand) = &mut plan.errands[0].what else { unreachable!() };
    (errand.slow, errand.down) = (Some(sunstar_sim::Role::Client), 100_000);
    let forged = |at| FaultPlan { at: ms(at), lasts: ms(0), machine: 0, what: Fault::Forged };
    plan.faults = (0..50).map(|step| forged(step * 7)).collect();
    let mut world = World::new(&plan);
    world.run().unwrap();
    assert!(world.forged() > 10, "{} forged segments", world.forged());
    let mut readings = 0;
    let another = move |block: &mut ControlBlock| {
        readings += 1;
        block.ts_recent = Some(readings);
    };
    assert_eq!(broken(&plan, blocks(another)), Some(14));
}

#[test]
fn invariant_16_a_queue_beyond_its_cap_is_seen() {
    let tampering = Tampering {
        fills: Some(Box::new(|fill: &mut Fill| {
            if fill.what == "bytes written" && fill.len > 0 {
                fill.len = fill.cap + 1;
            }
        })),
        ..Tampering::default()
    };
    assert_eq!(broken(&usual(), tampering), Some(16));
}

#[test]
fn invariant_17_a_buffer_that_nobody_has_is_seen_while_all_goes_on_and_at_the_end() {
    let mut world = World::new(&usual());
    world.leak_a_buffer(0);
    assert_eq!(world.run_until(|_| false, secs(10)).unwrap_err().invariant, 17);
    let idle = Plan { errands: Vec::new(), ..usual() };
    let mut world = World::new(&idle);
    world.leak_a_buffer(0);
    assert_eq!(world.run().unwrap_err().invariant, 17);
}

/// Flows of several shards, by a card that does not know where they belong.
fn forwarding() -> Plan {
    let machine = MachinePlan { nic: Nic::Random, ..MachinePlan::new(4) };
    plan(machine, Errand::both_ways(1, 500_000))
}

#[test]
fn invariant_18_packets_that_overtake_each_other_between_shards_are_seen() {
    let mut world = World::new(&forwarding());
    let swapped = |world: &mut World| {
        let mut swapped = false;
        world.run_until(|_| false, ms(0)).unwrap();
        for _ in 0..100_000 {
            if world.swap_between_shards(1) {
                swapped = true;
                break;
            }
            if world.step().is_err() {
                break;
            }
        }
        swapped
    };
    assert!(swapped(&mut world), "two packets were on their way between two shards");
    assert_eq!(world.run().unwrap_err().invariant, 18);
}

#[test]
fn invariant_18_a_connection_on_two_shards_is_seen() {
    // As if the client's connections all had the same ends.
    let mut plan = forwarding();
    let second = ErrandPlan { from: (0, 1), ..plan.errands[0] };
    plan.errands.push(second);
    let same = |block: &mut ControlBlock| {
        block.local.set_port(1_000);
        block.remote.set_port(1_000);
    };
    assert_eq!(broken(&plan, blocks(same)), Some(18));
}

#[test]
fn invariant_19_an_application_that_is_not_told_is_seen() {
    assert_eq!(broken(&usual(), Tampering { deaf: true, ..Tampering::default() }), Some(19));
}

#[test]
fn invariant_20_a_host_that_speaks_without_being_asked_is_seen() {
    let idle = Plan { errands: Vec::new(), ..usual() };
    let mut world = World::new(&idle);
    assert_eq!(world.run_until(|_| false, secs(5)), Ok(false));
    world.speak_out_of_turn(0);
    assert_eq!(world.run_until(|_| false, secs(1)).unwrap_err().invariant, 20);
}

#[test]
fn invariant_5_a_segment_longer_than_the_path_takes_is_seen() {
    let narrow = |block: &mut ControlBlock| block.snd_mss = 500;
    // Only what is read after a turn: as if the path had been known to be narrow when the segment was built.
    assert_eq!(broken(&usual(), blocks(narrow)), None, "the stack's own word is asked, too");
    let mut plan = usual();
    plan.network = Network::Router { mtus: vec![1_500, 600], speaks: true };
    assert_eq!(broken(&plan, Tampering::default()), None);
}

#[test]
fn invariant_10_an_acknowledgement_across_a_hole_is_seen() {
    // As if a segment of the peer's had never come: what came behind it may not be acknowledged.
    let mut seen = 0;
    let tampering = Tampering {
        delivered: Some(Box::new(move |frame| {
            seen += u32::from(has_data(frame));
            if has_data(frame) && seen == 3 {
                frame[23] = 99;
            }
        })),
        ..Tampering::default()
    };
    assert_eq!(broken(&usual(), tampering), Some(10));
}

#[test]
fn invariant_15_more_answers_than_packets_are_seen() {
    let mut plan = usual();
    let pings = Work::Datagrams { seed: 1, count: 5, len: 100, every_us: 1_000 };
    plan.errands[0].what = pings;
    let tampering = sent(|frame| {
        // A datagram becomes an ICMP message that nothing has asked for.
        if frame[23] == 17 {
            frame[23] = 1;
            (frame[34], frame[35]) = (3, 3);
            craft::mend_checksums(frame);
        }
    });
    plan.errands[0].may_fail = true;
    assert_eq!(broken(&plan, tampering), Some(15));
}
