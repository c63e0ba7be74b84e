//! What is sent, again and at first (RFC 5681, 6298, 6675; RFC 9293 sections 3.8.1, 3.8.6).

use bytes::Bytes;
use sunstar_sim::{Pair, Script, ms, noise, secs, tcp};
use sunstar_stack::SocketError;

#[test]
fn without_a_new_sample_the_timeout_stays_backed_off() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.send(connection, &[1; 1_000]);
    script.expect(tcp().seq(1).ack(1).len(1_000));
    for _ in 0..2 {
        script.expect_within(secs(10), tcp().seq(1).ack(1).len(1_000));
    }
    // It answers one of three copies: nobody knows which, so it says nothing of the round trip (Karn).
    script.inject(tcp().seq(1).ack(1_001));
    script.host.send(connection, &[2; 1_000]);
    script.expect(tcp().seq(1_001).ack(1).len(1_000));
    script.expect_silence(ms(799));
    script.expect_within(ms(2), tcp().seq(1_001).ack(1).len(1_000));
    // What was sent once is a sample again.
    script.inject(tcp().seq(1).ack(2_001));
    script.host.send(connection, &[3; 1_000]);
    script.expect(tcp().seq(2_001).ack(1).len(1_000));
    script.inject(tcp().seq(1).ack(3_001));
    script.host.send(connection, &[4; 1_000]);
    script.expect(tcp().seq(3_001).ack(1).len(1_000));
    script.expect_within(ms(250), tcp().seq(3_001).ack(1).len(1_000));
}

#[test]
fn a_round_trip_longer_than_the_timeout_is_learnt() {
    for timestamps in [false, true] {
        let mut pair =
            Pair::builder().latency(ms(5)).config(|config| config.tcp.timestamps = timestamps).build();
        let (client, server) = pair.open();
        pair.a.send(client, &noise(100_000, 1));
        pair.drive_for(secs(1));
        pair.impair(|link| link.latency = ms(700));
        for round in 0..12 {
            pair.a.send(client, &noise(1_000, round));
            pair.drive_for(secs(5));
        }
        let before = pair.a.counters().tcp.timeouts;
        for round in 0..10 {
            pair.a.send(client, &noise(1_000, round));
            pair.drive_for(secs(5));
        }
        let after = pair.a.counters().tcp.timeouts;
        assert_eq!(after - before, 0, "timestamps {timestamps}: the timeout has to follow the path");
        assert_eq!(pair.b.received(server).len(), 122_000);
    }
}

#[test]
fn after_a_syn_that_timed_out_the_timeout_is_three_seconds() {
    let mut script = Script::new();
    let connection = script.start_connect();
    script.expect_within(ms(1_001), tcp().syn().seq(0));
    script.inject(tcp().syn().seq(0).ack(1).mss(1_460));
    script.expect(tcp().seq(1).ack(1));
    script.host.send(connection, &[0; 10 * 1_460]);
    script.settle();
    assert_eq!(script.segments().len(), 10, "one lost SYN may have been late only");
    script.expect_silence(ms(2_999));
    script.expect_within(ms(2), tcp().seq(1).ack(1).len(1_460));
}

#[test]
fn after_two_lost_syns_one_segment_begins() {
    let mut script = Script::new();
    let connection = script.start_connect();
    script.expect_within(ms(1_001), tcp().syn().seq(0));
    script.expect_within(ms(2_001), tcp().syn().seq(0));
    script.inject(tcp().syn().seq(0).ack(1).mss(1_460));
    script.expect(tcp().seq(1).ack(1));
    script.host.send(connection, &[0; 10 * 1_460]);
    script.settle();
    assert_eq!(script.segments().len(), 1);
}

#[test]
fn a_syn_is_sent_again_for_three_minutes_at_least() {
    let mut script = Script::new();
    let started = script.now();
    let connection = script.start_connect();
    script.drive_for(secs(179));
    assert_eq!(script.host.error(connection), None);
    script.drive_for(secs(70));
    assert_eq!(script.host.error(connection), Some(SocketError::TimedOut));
    assert!((script.now() - started).as_secs() < 300);
}

#[test]
fn the_third_report_brings_the_lost_segment_at_once_and_no_crumb_behind_it() {
    for (sack, timestamps) in [(true, false), (false, false), (false, true)] {
        let mut script = Script::new();
        let mut syn = tcp().mss(1_460);
        if sack {
            syn = syn.sack_ok();
        }
        if timestamps {
            syn = syn.ts(1, 0);
        }
        let connection = script.open_with(syn);
        let size = if timestamps { 1_448 } else { 1_460 };
        script.host.send(connection, &vec![0; 10 * size as usize]);
        script.settle();
        let first = script.segments();
        assert_eq!(first.len(), 10);
        let echo = first[0].options.timestamps.map_or(0, |(value, _)| value);
        for report in 1..=3_u32 {
            let mut duplicate = tcp().seq(1).ack(1);
            if sack {
                duplicate = duplicate.sack(&[(1 + size, 1 + size * (1 + report))]);
            }
            if timestamps {
                duplicate = duplicate.ts(2, echo);
            }
            script.inject(duplicate);
        }
        script.expect(tcp().seq(1).ack(1).len(size as usize));
        script.expect_silence(ms(100));
    }
}

#[test]
fn with_sack_a_duplicate_that_reports_nothing_is_no_sign_of_loss() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).sack_ok());
    script.host.send(connection, &[0; 8 * 1_460]);
    script.settle();
    assert_eq!(script.segments().len(), 8);
    for _ in 0..5 {
        script.inject(tcp().seq(1).ack(1));
    }
    script.expect_silence(ms(100));
}

#[test]
fn sack_blocks_without_timestamps_come_out_of_the_payload_too() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).sack_ok());
    for hole in 0..5 {
        script.inject(tcp().seq(100 + hole * 100).ack(1).len(50));
    }
    script.heard();
    script.host.send(connection, &[0; 4_000]);
    script.settle();
    let said = script.heard();
    assert!(said.iter().all(|heard| heard.bytes.len() <= 1_500 + 14), "no frame above the MTU");
    assert_eq!(said.len(), 3);
}

#[test]
fn a_peer_that_takes_its_window_back_and_goes_on_answering_is_not_given_up() {
    let mut script = Script::builder().tcp(|tcp| tcp.retries = 4).build();
    let connection = script.open();
    script.host.send(connection, &[0; 1_000]);
    script.expect(tcp().seq(1).ack(1).len(1_000));
    script.inject(tcp().seq(1).ack(1).win(0));
    for _ in 0..12 {
        let again = script.segment_within(secs(70)).expect("it goes on asking");
        assert_eq!(again.seq, 1);
        script.inject(tcp().seq(1).ack(1).win(0));
    }
    assert_eq!(script.host.error(connection), None);
    script.inject(tcp().seq(1).ack(1_001).win(1_000));
    script.host.send(connection, b"on we go");
    script.expect(tcp().seq(1_001).ack(1).data(b"on we go"));
}

#[test]
fn the_user_timeout_is_met_to_the_moment() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.shard_mut().tcp_set_user_timeout(connection, Some(secs(5))).unwrap();
    script.host.send(connection, b"anybody?");
    script.drive_for(ms(4_990));
    assert_eq!(script.host.error(connection), None);
    script.drive_for(ms(20));
    assert_eq!(script.host.error(connection), Some(SocketError::TimedOut));
}

#[test]
fn small_pieces_given_without_copying_fill_segments() {
    let mut script = Script::new();
    let connection = script.open();
    let (mut written, all) = (0, noise(14_600, 3));
    while written < all.len() {
        let mut piece = Bytes::copy_from_slice(&all[written..(written + 100).min(all.len())]);
        written += script.host.shard_mut().tcp_send_bytes(connection, &mut piece).unwrap();
    }
    script.settle();
    let sizes: Vec<usize> = script.segments().iter().map(|segment| segment.payload.len()).collect();
    assert_eq!(sizes, [1_460; 10]);
}

#[test]
fn after_a_long_silence_a_large_segment_is_no_larger_than_the_restart_window() {
    let mut pair =
        Pair::builder().latency(ms(10)).offloads().config(|it| it.tcp.send_buffer = 200_000).build();
    let (client, server) = pair.open();
    pair.a.send(client, &noise(2_000_000, 1));
    pair.drive_for(secs(10));
    assert!(
        pair.a.info(client).unwrap().cwnd > 100_000,
        "{:?} {:?}",
        pair.a.info(client),
        pair.a.counters().tcp
    );
    pair.a.send(client, &noise(200_000, 2));
    pair.drive_for(ms(1));
    let flight = pair.a.info(client).unwrap().flight;
    assert!(flight <= 10 * 1_460, "RFC 5681 section 4.1: {flight} bytes at once");
    pair.drive_for(secs(10));
    assert_eq!(pair.b.received(server).len(), 2_200_000);
}
