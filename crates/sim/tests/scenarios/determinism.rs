//! The same seed gives the same frames at the same times; and what the harness does to frames, it does.

use sunstar_sim::{Pair, Side, ms};

/// A hundred questions over a bad link, and what was on it.
fn run(seed: u64) -> (u64, usize) {
    let mut pair = Pair::builder()
        .seed(seed)
        .latency(ms(10))
        .jitter(ms(3))
        .loss(0.1)
        .duplication(0.1)
        .reordering(0.2)
        .corruption(0.05)
        .build();
    let server = pair.b.udp_bind(7);
    let client = pair.a.udp_bind(0);
    let mut answered = 0;
    for number in 0..100_u8 {
        pair.a.udp_send(client, pair.b.at(7), &[number; 100]);
        pair.drive_for(ms(7));
        for (from, payload) in pair.b.udp_recv_all(server) {
            pair.b.udp_send(server, from, &payload);
        }
        answered += pair.a.udp_recv_all(client).len();
    }
    let hash = pair.trace.hash();
    pair.finish();
    (hash, answered)
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (hash, answered) = run(7);
    assert_eq!(run(7), (hash, answered));
    assert_ne!(run(8).0, hash);
    assert!((60..110).contains(&answered), "{answered}");
}

#[test]
fn every_impairment_does_what_it_is_for() {
    let mut pair = Pair::builder()
        .loss(0.2)
        .duplication(0.2)
        .reordering(0.2)
        .corruption(0.2)
        .black_hole(1_000)
        .without_ethernet()
        .latency(ms(1))
        .build();
    let server = pair.b.udp_bind(7);
    let client = pair.a.udp_bind(0);
    let mut received = 0;
    for number in 0..1_000_u32 {
        let len = if number % 10 == 0 { 1_400 } else { 100 };
        pair.a.udp_send(client, pair.b.at(7), &vec![0; len]);
        pair.drive_for(ms(1));
        received += pair.b.udp_recv_all(server).len() as u64;
    }
    pair.drive();
    received += pair.b.udp_recv_all(server).len() as u64;
    let link = pair.link_counters(Side::A);
    for (what, count, expected) in [
        ("lost", link.lost, 200),
        ("duplicated", link.duplicated, 145),
        ("reordered", link.reordered, 145),
        ("corrupted", link.corrupted, 145),
        ("too long", link.too_long, 80),
    ] {
        assert!(count.abs_diff(expected) < expected / 3, "{count} were {what}, not about {expected}");
    }
    assert!(pair.b.counters().drops.bad_checksum > 0, "a flipped bit is noticed");
    let arrived = link.sent - link.lost - link.too_long + link.duplicated - link.corrupted;
    assert!(received.abs_diff(arrived) < 10, "{received} of {arrived}");
}

#[test]
fn a_slow_device_holds_the_host_up_and_loses_nothing() {
    let mut pair = Pair::builder().bandwidth(1_000_000).ring(4).without_ethernet().build();
    let server = pair.b.udp_bind(7);
    let client = pair.a.udp_bind(0);
    for _ in 0..50 {
        pair.a.udp_send(client, pair.b.at(7), &[0; 1_222]);
    }
    let started = pair.now();
    assert!(pair.drive_until(|pair| pair.b.counters().udp.received == 50, ms(2_000)));
    let took = pair.now() - started;
    // 50 frames of 1,250 bytes at a megabit a second.
    assert!((ms(500)..ms(510)).contains(&took), "{took:?}");
    assert_eq!(pair.b.udp_recv_all(server).len(), 50);
}

#[test]
fn a_full_bottleneck_drops_what_comes_on_top() {
    let mut pair = Pair::builder().bottleneck(1_000_000, 10).without_ethernet().build();
    let server = pair.b.udp_bind(7);
    let client = pair.a.udp_bind(0);
    pair.a.udp_send(client, pair.b.at(7), b"who is there?");
    pair.drive();
    for _ in 0..50 {
        pair.a.udp_send(client, pair.b.at(7), &[0; 1_222]);
    }
    pair.drive();
    assert_eq!(pair.b.udp_recv_all(server).len(), 11);
    assert_eq!(pair.link_counters(Side::A).queue_full, 40);
}
