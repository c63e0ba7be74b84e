//! The wire on one thread, and under stress on two.

use std::time::{Duration, Instant};

use sunstar_packet::{Departure, Memory, PoolConfig, Segmentation};

use super::*;
use crate::testing::{
    Source, bytes_of, packet, packet_with_token, pool, pool_with_loans, receive_all, sleep_on,
};

fn deep(capacity: usize) -> (WireEnd, WireEnd) {
    pair(&WireConfig { capacity, ..WireConfig::default() }).unwrap()
}

fn with_offloads() -> (WireEnd, WireEnd) {
    pair(&WireConfig::default().with_offloads()).unwrap()
}

#[test]
fn frames_cross_in_order_and_their_departure_is_told() {
    let (ours, theirs) = (pool(), pool());
    let (mut left, mut right) = deep(8);
    let mut source = Source::of([packet_with_token(&ours, b"one", 1), packet_with_token(&ours, b"two", 2)]);
    assert_eq!(left.pull(&ours, 64, &mut source).unwrap(), 2);
    assert_eq!(source.departed, [1, 2]);
    let frames = receive_all(&mut right, &theirs);
    assert_eq!(bytes_of(&frames), [b"one", b"two"]);
    assert!(frames.iter().all(|frame| frame.notes.departure.is_none()));
    drop(frames);
    ours.collect();
    assert_eq!((ours.buffers_out(), theirs.buffers_out()), (0, 0));
}

#[test]
fn a_full_wire_asks_for_nothing_until_a_frame_is_taken() {
    let pool = pool();
    let (mut left, mut right) = deep(2);
    let mut source = Source::of((0..4u8).map(|byte| packet(&pool, &[byte])));
    assert_eq!(left.pull(&pool, 64, &mut source).unwrap(), 2);
    source.asked = 0;
    assert_eq!(left.pull(&pool, 64, &mut source).unwrap(), 0);
    assert_eq!(source.asked, 0);
    assert_eq!(right.receive(&pool, 1, &mut Vec::new()).unwrap(), 1);
    assert_eq!(left.pull(&pool, 64, &mut source).unwrap(), 1);
}

#[test]
fn no_more_is_pulled_than_the_budget_allows() {
    let pool = pool();
    let (mut left, mut right) = deep(8);
    let mut source = Source::of((0..4u8).map(|byte| packet(&pool, &[byte])));
    assert_eq!(left.pull(&pool, 3, &mut source).unwrap(), 3);
    assert_eq!(right.receive(&pool, 2, &mut Vec::new()).unwrap(), 2);
}

#[test]
fn without_loans_nothing_is_pulled_until_they_are_back_and_no_frame_is_lost() {
    let (ours, theirs) = (pool_with_loans(8), pool());
    let (mut left, mut right) = deep(64);
    let mut source = Source::of((0..20u8).map(|byte| packet(&ours, &[byte])));
    let taken = left.pull(&ours, 64, &mut source).unwrap();
    assert_eq!(taken, 9, "eight loans, and the one frame that was built already");
    source.asked = 0;
    assert_eq!((left.pull(&ours, 64, &mut source).unwrap(), source.asked), (0, 0));
    assert!(left.arm(true), "nobody would wake it when loans come home");
    let mut received = bytes_of(&receive_all(&mut right, &theirs));
    while left.pull(&ours, 64, &mut source).unwrap() > 0 {
        received.extend(bytes_of(&receive_all(&mut right, &theirs)));
    }
    assert_eq!(received, (0..20u8).map(|byte| vec![byte]).collect::<Vec<_>>());
    ours.collect();
    assert_eq!(ours.buffers_out(), 0);
}

#[test]
fn a_frame_in_another_pools_buffer_crosses_as_a_copy_and_stops_nothing() {
    let (ours, other) = (pool(), pool());
    let (mut left, mut right) = deep(8);
    let mut source = Source::of([packet(&other, b"foreign"), packet(&ours, b"own")]);
    assert_eq!(left.pull(&ours, 64, &mut source).unwrap(), 2);
    assert_eq!(other.buffers_out(), 0);
    assert_eq!(bytes_of(&receive_all(&mut right, &other)), [&b"foreign"[..], b"own"]);
}

#[test]
fn a_header_and_its_payload_arrive_with_the_first_bytes_in_one_piece() {
    let (ours, theirs) = (pool(), pool());
    let (mut left, mut right) = with_offloads();
    let payload: Vec<u8> = (0..40_000u32).map(|at| at as u8).collect();
    let parts = |len: usize| {
        let mut parts = packet(&ours, &[7; 54]);
        for piece in payload[..len].chunks(len.div_ceil(3)) {
            parts.push(ours.copy_of(piece).unwrap()).unwrap();
        }
        parts
    };
    let mut large = parts(40_000);
    large.notes.segmentation =
        Some(Segmentation { kind: SegmentationKind::TcpV4, size: 1_460, header_len: 54 });
    let (mut source, expected) = {
        let small = parts(900);
        let expected = [small.to_vec(), large.to_vec()];
        (Source::of([small, large]), expected)
    };
    assert_eq!(left.pull(&ours, 64, &mut source).unwrap(), 2);
    let frames = receive_all(&mut right, &theirs);
    assert_eq!(bytes_of(&frames), expected);
    assert_eq!(frames[0].fragments().len(), 1, "a small frame is copied together");
    assert_eq!(frames[1].head().len(), CONTIGUOUS);
    ours.collect();
    assert_eq!(ours.counters().lent, 3, "the small frame's loans are home, and the large one's head");
    drop(frames);
    ours.collect();
    assert_eq!((ours.buffers_out(), theirs.buffers_out()), (0, 0));
    assert_eq!((left.counters().segmented, right.counters().coalesced), (1, 1));
}

#[test]
fn offload_notes_cross_untouched_on_a_wire_that_offers_them() {
    let pool = pool();
    let (mut left, mut right) = with_offloads();
    let mut sent = packet(&pool, &[0; 3_000]);
    sent.notes.checksum = ChecksumNote::Partial { start: 34, offset: 16 };
    sent.notes.segmentation =
        Some(Segmentation { kind: SegmentationKind::TcpV6, size: 1_440, header_len: 74 });
    sent.notes.departure = Some(Departure { provider: 3, token: 9, weight: 1 });
    let notes = sent.notes;
    assert_eq!(left.pull(&pool, 1, &mut Source::of([sent])).unwrap(), 1);
    let frames = receive_all(&mut right, &pool);
    assert_eq!(frames[0].notes.checksum, notes.checksum);
    assert_eq!(frames[0].notes.segmentation, notes.segmentation);
}

#[test]
fn what_a_wire_does_not_offer_is_refused_and_counted() {
    let pool = pool();
    let (mut left, mut right) = deep(8);
    let too_long = packet_with_token(&pool, &[0; 1_519], 1);
    let mut partial = packet_with_token(&pool, &[0; 100], 2);
    partial.notes.checksum = ChecksumNote::Partial { start: 34, offset: 16 };
    let mut uncut = packet_with_token(&pool, &[0; 1_000], 3);
    uncut.notes.segmentation = Some(Segmentation { kind: SegmentationKind::Udp, size: 100, header_len: 42 });
    let longest = packet_with_token(&pool, &[0; 1_518], 4);
    let mut source = Source::of([too_long, partial, uncut, longest]);
    assert_eq!(left.pull(&pool, 64, &mut source).unwrap(), 4);
    assert_eq!(source.departed, [1, 2, 3, 4], "who waits for a departure never waits in vain");
    assert_eq!((left.counters().refused, left.counters().sent), (3, 1));
    assert_eq!(receive_all(&mut right, &pool).len(), 1);
}

#[test]
fn each_end_has_its_own_address_and_an_ip_wire_has_none() {
    let (left, right) = deep(1);
    assert_ne!(left.capabilities().mac, right.capabilities().mac);
    let (left, _right) = pair(&WireConfig { medium: Medium::Ip, ..WireConfig::default() }).unwrap();
    assert_eq!(left.capabilities().mac, [0; 6]);
}

#[test]
fn the_end_that_is_left_sees_its_link_down_reads_the_rest_and_pulls_nothing() {
    let pool = pool();
    let (mut left, mut right) = deep(8);
    left.pull(&pool, 64, &mut Source::of([packet(&pool, b"last words")])).unwrap();
    assert!(right.arm(false));
    assert_eq!(bytes_of(&receive_all(&mut right, &pool)), [b"last words"]);
    assert!(!right.arm(false));
    assert_eq!(right.link(), LinkState::Up);
    drop(left);
    assert!(sleep_on(&right, 0), "a sleeper is woken by the loss");
    assert_eq!(right.link(), LinkState::Down);
    assert!(right.arm(true), "the loss is news once");
    assert!(!right.arm(true), "and then there is nothing to wait for");
    let mut source = Source::of([packet(&pool, b"to nobody")]);
    assert_eq!((right.pull(&pool, 64, &mut source).unwrap(), source.asked), (0, 0));
}

#[test]
fn frames_nobody_will_read_go_home() {
    let pool = pool();
    let (mut left, right) = deep(8);
    left.pull(&pool, 64, &mut Source::of([packet(&pool, b"unread")])).unwrap();
    drop(right);
    pool.collect();
    assert_eq!(pool.buffers_out(), 0);
}

#[test]
fn a_frame_is_dropped_and_counted_when_its_head_needs_a_buffer_and_there_is_none() {
    let ours = pool();
    let config = PoolConfig { small_count: 0, staging_count: 1, ..PoolConfig::default() };
    let empty = Pool::new(&Memory::new(), &config).unwrap();
    let (mut left, mut right) = deep(8);
    let mut parts = packet(&ours, &[1; 20]);
    parts.push(ours.copy_of(&[2; 20]).unwrap()).unwrap();
    left.pull(&ours, 64, &mut Source::of([parts, packet(&ours, b"whole")])).unwrap();
    assert_eq!(bytes_of(&receive_all(&mut right, &empty)), [b"whole"]);
    assert_eq!((right.counters().no_buffer, right.counters().received), (1, 1));
    ours.collect();
    assert_eq!(ours.buffers_out(), 0);
}

#[test]
fn an_end_that_is_awake_costs_no_system_call_and_one_that_sleeps_is_woken_once() {
    let pool = pool();
    let (mut left, mut right) = deep(8);
    let send = |left: &mut WireEnd| {
        left.pull(&pool, 1, &mut Source::of([packet(&pool, b"x")])).unwrap();
    };
    send(&mut left);
    assert!(!sleep_on(&right, 0), "awake: its event was not written");
    assert!(right.arm(false), "something is there already");
    receive_all(&mut right, &pool);
    assert!(!right.arm(false));
    send(&mut left);
    assert!(sleep_on(&right, 0));
    receive_all(&mut right, &pool);
    assert!(!right.arm(false));
    assert!(!sleep_on(&right, 0), "arming took the old wake-up away");
}

#[test]
fn an_end_that_waits_for_room_is_woken_when_there_is_some() {
    let pool = pool();
    let (mut left, mut right) = deep(1);
    left.pull(&pool, 1, &mut Source::of([packet(&pool, b"x")])).unwrap();
    assert!(!left.arm(true));
    receive_all(&mut right, &pool);
    assert!(sleep_on(&left, 0));
    assert!(left.arm(true), "there is room now");
}

/// Sends `count` numbered frames and receives as many, sleeping whenever there is nothing to do.
fn talk(mut end: WireEnd, count: u64, seed: u64) -> (WireEnd, Pool) {
    let pool = pool_with_loans(64);
    let mut source = Source::default();
    let (mut sent, mut received, mut turns) = (0, 0, seed);
    while sent < count || received < count || !source.packets.is_empty() {
        // A burst now and then, so that both ends fall asleep often.
        turns = turns.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if source.packets.is_empty() && received + 64 > sent {
            for _ in 0..(turns >> 60).min(count - sent) {
                source.packets.push_back(packet(&pool, &sent.to_ne_bytes()));
                sent += 1;
            }
        }
        pool.collect();
        let mut moved = end.pull(&pool, 64, &mut source).unwrap();
        let mut frames = Vec::new();
        moved += end.receive(&pool, 32, &mut frames).unwrap();
        for frame in frames {
            assert_eq!(frame.to_vec(), received.to_ne_bytes(), "in order, none lost, none doubled");
            received += 1;
        }
        let waits = sent == count || received + 64 <= sent || !source.packets.is_empty();
        if moved == 0 && waits && !end.arm(!source.packets.is_empty()) {
            assert!(sleep_on(&end, 20), "slept for ever: {sent} sent, {received} received");
        }
    }
    (end, pool)
}

/// Buffers that are not home although the other end had time to read the last frames.
fn buffers_missing(pool: &Pool) -> usize {
    let deadline = Instant::now() + Duration::from_secs(20);
    while pool.buffers_out() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
        pool.collect();
    }
    pool.buffers_out()
}

#[test]
fn two_threads_that_fall_asleep_all_the_time_miss_no_frame_and_no_wake_up() {
    for capacity in [1, 4, 64] {
        let (left, right) = deep(capacity);
        let other = std::thread::spawn(move || {
            let (_end, pool) = talk(right, 50_000, 7);
            buffers_missing(&pool)
        });
        let (_end, pool) = talk(left, 50_000, 3);
        assert_eq!((other.join().unwrap(), buffers_missing(&pool)), (0, 0));
    }
}
