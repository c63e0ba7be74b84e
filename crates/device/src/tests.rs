//! What holds for every wrapper, in any order around any device.

use proptest::prelude::*;
use sunstar_packet::QueuePair;

use crate::testing::{Source, bytes_of, packet_with_token, pool, receive_all};
use crate::wire::{WireConfig, WireEnd, pair};
use crate::{FaultConfig, Faults, Pcap, PcapConfig, Stall};

/// One step of a conversation.
#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Pull(usize),
    Receive(usize),
    Arm(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..20usize).prop_map(Step::Send),
        (0..20usize).prop_map(Step::Pull),
        (0..20usize).prop_map(Step::Receive),
        any::<bool>().prop_map(Step::Arm),
    ];
    proptest::collection::vec(step, 0..60)
}

fn captured<D: QueuePair>(device: D) -> Pcap<D> {
    let config = PcapConfig { interface: "wire".to_owned(), snap_length: None };
    Pcap::new(device, config, std::io::sink(), || 0, |_| {}).unwrap()
}

/// Every frame arrives once, in order, and departs once.
fn check(mut left: impl QueuePair, mut right: impl QueuePair, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let pool = pool();
    let mut source = Source::default();
    let (mut sent, mut taken, mut received) = (0_u64, 0, Vec::new());
    for step in steps {
        match step {
            Step::Send(frames) => {
                for number in sent..sent + frames as u64 {
                    source.packets.push_back(packet_with_token(&pool, &number.to_be_bytes(), number));
                }
                sent += frames as u64;
            }
            Step::Pull(budget) => {
                let pulled = left.pull(&pool, budget, &mut source).unwrap();
                prop_assert!(pulled <= budget);
                taken += pulled;
            }
            Step::Receive(budget) => {
                let mut frames = Vec::new();
                let count = right.receive(&pool, budget, &mut frames).unwrap();
                prop_assert!(count == frames.len() && count <= budget);
                received.extend(bytes_of(&frames));
            }
            Step::Arm(wants_room) => {
                left.arm(wants_room);
                right.arm(wants_room);
            }
        }
        pool.collect();
        if source.packets.len() > 200 {
            break;
        }
    }
    while received.len() < sent as usize {
        taken += left.pull(&pool, 64, &mut source).unwrap();
        let last = bytes_of(&receive_all(&mut right, &pool));
        prop_assert!(!last.is_empty(), "frames are missing: {} of {sent}", received.len());
        received.extend(last);
    }
    prop_assert_eq!(received, (0..sent).map(|number| number.to_be_bytes().to_vec()).collect::<Vec<_>>());
    prop_assert_eq!(source.departed, (0..sent).collect::<Vec<_>>());
    prop_assert_eq!(taken as u64, sent);
    pool.collect();
    prop_assert_eq!(pool.buffers_out(), 0);
    Ok(())
}

fn wire() -> (WireEnd, WireEnd) {
    pair(&WireConfig { capacity: 16, ..WireConfig::default() }).unwrap()
}

#[test]
fn every_device_may_go_to_the_thread_that_will_use_it() {
    fn may_go<D: QueuePair + Send + 'static>() {}
    may_go::<Pcap<Stall<Faults<WireEnd>>>>();
    may_go::<Pcap<Stall<Faults<crate::tap::TapQueue>>>>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_wrapper_loses_or_doubles_a_frame_while_faults_are_off(steps in steps()) {
        let off = FaultConfig { seed: 1, ..FaultConfig::default() };
        let (left, right) = wire();
        check(Stall::new(left).0, Stall::new(right).0, steps.clone())?;
        let (left, right) = wire();
        check(captured(left), captured(right), steps.clone())?;
        let (left, right) = wire();
        check(Faults::new(left, &off), Faults::new(right, &off), steps.clone())?;
        let (left, right) = wire();
        let around = |end| captured(Faults::new(Stall::new(end).0, &off));
        check(around(left), around(right), steps.clone())?;
        let (left, right) = wire();
        let around = |end| Faults::new(Stall::new(captured(end)).0, &off);
        check(around(left), around(right), steps)?;
    }
}
