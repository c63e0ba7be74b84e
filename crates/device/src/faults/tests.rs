//! Faults strike as often as asked, in the same way for the same seed, and account for every frame.

use etherparse::PacketBuilder;
use sunstar_packet::ChecksumNote;

use super::*;
use crate::checksum;
use crate::testing::{Source, bytes_of, packet, packet_with_token, pool, receive_all};
use crate::wire::{WireConfig, WireEnd, pair};

const FRAMES: u32 = 10_000;

fn frame(number: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    builder.udp(1, 2).write(&mut frame, &number.to_be_bytes()).unwrap();
    frame
}

/// The numbers of frames in the order in which they come out; and the wrapper.
fn run(config: &FaultConfig) -> (Vec<Vec<u8>>, Faults<WireEnd>, Faults<WireEnd>, usize) {
    let pool = pool();
    let (left, right) = pair(&WireConfig { capacity: 7, ..WireConfig::default() }).unwrap();
    let transmit = FaultConfig { receive: FaultRates::default(), ..*config };
    let receive = FaultConfig { transmit: FaultRates::default(), ..*config };
    let (mut left, mut right) = (Faults::new(left, &transmit), Faults::new(right, &receive));
    let mut source = Source::default();
    let mut received = Vec::new();
    for number in 0..FRAMES {
        source.packets.push_back(packet_with_token(&pool, &frame(number), number.into()));
        if number % 5 == 0 {
            left.pull(&pool, 4, &mut source).unwrap();
        }
        let mut frames = Vec::new();
        assert!(right.receive(&pool, 3, &mut frames).unwrap() <= 3, "the budget holds");
        received.extend(bytes_of(&frames));
        pool.collect();
        while source.packets.len() > 100 {
            left.pull(&pool, 64, &mut source).unwrap();
            received.extend(bytes_of(&receive_all(&mut right, &pool)));
        }
    }
    while !source.packets.is_empty() || left.arm(false) {
        left.pull(&pool, 64, &mut source).unwrap();
        received.extend(bytes_of(&receive_all(&mut right, &pool)));
    }
    assert!(!right.arm(false), "nothing is left behind");
    pool.collect();
    assert_eq!(pool.buffers_out(), 0);
    (received, left, right, source.departed.len())
}

fn both(rates: FaultRates) -> FaultConfig {
    FaultConfig { seed: 42, receive: rates, transmit: rates }
}

fn all_frames() -> Vec<Vec<u8>> {
    (0..FRAMES).map(frame).collect()
}

#[test]
fn without_faults_everything_passes_in_order() {
    let (received, left, right, departed) = run(&FaultConfig::default());
    assert!(received == all_frames());
    assert_eq!((left.fault_counters(), right.fault_counters()), Default::default());
    assert_eq!(departed, FRAMES as usize);
}

#[test]
fn a_tenth_is_lost_and_every_departure_is_told() {
    let (received, left, right, departed) = run(&both(FaultRates { loss: 0.1, ..FaultRates::default() }));
    let lost = left.fault_counters().lost + right.fault_counters().lost;
    assert_eq!(received.len() as u64 + lost, FRAMES.into());
    assert!((1_700..2_100).contains(&lost), "a tenth twice, of 10,000: {lost}");
    assert_eq!(departed, FRAMES as usize, "lost or not, it has left");
}

#[test]
fn doubled_frames_come_twice_and_depart_once() {
    let (received, left, right, departed) =
        run(&both(FaultRates { duplication: 0.1, ..FaultRates::default() }));
    let doubled = left.fault_counters().duplicated + right.fault_counters().duplicated;
    assert_eq!(received.len() as u64, u64::from(FRAMES) + doubled);
    assert!((1_900..2_300).contains(&doubled), "{doubled}");
    let mut once = received;
    once.dedup();
    assert!(once == all_frames(), "in order, and each is there");
    assert_eq!(departed, FRAMES as usize);
}

#[test]
fn overtaken_frames_are_late_but_all_there() {
    let (mut received, left, _, departed) =
        run(&both(FaultRates { reordering: 0.2, ..FaultRates::default() }));
    assert!(received != all_frames());
    assert!((1_800..2_200).contains(&left.fault_counters().reordered));
    let mut expected = all_frames();
    received.sort();
    expected.sort();
    assert!(received == expected);
    assert_eq!(departed, FRAMES as usize);
}

#[test]
fn a_flipped_bit_is_always_found_by_the_checksums() {
    let corrupt = FaultRates { corruption: 0.2, ..FaultRates::default() };
    let (received, left, _, _) = run(&FaultConfig { seed: 42, transmit: corrupt, ..FaultConfig::default() });
    let corrupted = left.fault_counters().corrupted;
    assert!((1_800..2_200).contains(&corrupted), "{corrupted}");
    let is_valid = |frame: &&Vec<u8>| {
        let pseudo = [&frame[26..34], &[0, 17, 0, 12], &frame[34..]].concat();
        checksum::sum(&frame[14..34]) == 0xffff && checksum::sum(&pseudo) == 0xffff
    };
    let valid: Vec<_> = received.iter().filter(is_valid).collect();
    assert_eq!(valid.len() as u64, u64::from(FRAMES) - corrupted);
    let number = |valid: &[u8]| u32::from_be_bytes(valid[42..46].try_into().unwrap());
    assert!(valid.iter().all(|valid| **valid == frame(number(valid))));
}

#[test]
fn a_damaged_frame_is_vouched_for_by_nobody() {
    let pool = pool();
    let (left, mut right) = pair(&WireConfig::default().with_offloads()).unwrap();
    let corrupt = FaultRates { corruption: 1.0, ..FaultRates::default() };
    let mut left = Faults::new(left, &FaultConfig { transmit: corrupt, ..FaultConfig::default() });
    let mut verified = packet(&pool, &frame(1));
    verified.notes.checksum = ChecksumNote::Verified;
    let mut partial = packet(&pool, &frame(2));
    partial.notes.checksum = ChecksumNote::Partial { start: 34, offset: 6 };
    let question = packet(&pool, &[&[0xff; 12][..], &[8, 6], &[0; 28]].concat());
    left.pull(&pool, 64, &mut Source::of([verified, partial, question])).unwrap();
    let received = receive_all(&mut right, &pool);
    assert_eq!(received.len(), 2, "an ARP frame has no checksum and is lost");
    assert!(received.iter().all(|packet| packet.notes.checksum == ChecksumNote::None));
    assert_eq!((left.fault_counters().corrupted, left.fault_counters().lost), (2, 1));
}

#[test]
fn the_same_seed_gives_the_same_faults_and_another_gives_others() {
    let rates = FaultRates { loss: 0.1, duplication: 0.1, corruption: 0.1, reordering: 0.1 };
    let once = run(&both(rates)).0;
    assert!(once == run(&both(rates)).0);
    assert!(once != run(&FaultConfig { seed: 43, ..both(rates) }).0);
}

#[test]
fn a_frame_held_back_keeps_the_device_awake() {
    let pool = pool();
    let (left, mut right) = pair(&WireConfig { capacity: 1, ..WireConfig::default() }).unwrap();
    let double = FaultRates { duplication: 1.0, ..FaultRates::default() };
    let mut left = Faults::new(left, &FaultConfig { transmit: double, ..FaultConfig::default() });
    let mut source = Source::of([packet(&pool, &frame(1))]);
    left.pull(&pool, 64, &mut source).unwrap();
    assert!(left.arm(false), "the second copy did not fit");
    assert_eq!(receive_all(&mut right, &pool).len(), 1);
    left.pull(&pool, 64, &mut source).unwrap();
    assert_eq!(receive_all(&mut right, &pool).len(), 1);
    assert!(!left.arm(false));
}
