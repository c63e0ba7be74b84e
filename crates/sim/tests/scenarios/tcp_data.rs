//! Data on an open connection: every byte once, in order, and in segments of the right size at the right time
//! (RFC 9293 sections 3.7, 3.8.6, 3.10.7.4).

use std::io::IoSlice;

use bytes::Bytes;
use sunstar_sim::{Pair, Script, Side, ms, noise, secs, tcp};
use sunstar_stack::random::Random;
use sunstar_stack::time::{Duration, Instant};
use sunstar_stack::{ConnectionKey, DelayedAck, SocketError};

/// Sends the same noise both ways and waits until both ends have it and a FIN behind it.
fn exchange(pair: &mut Pair, len: usize, patience: Duration) {
    let (client, server) = pair.open();
    let (up, down) = (noise(len, 1), noise(len, 2));
    pair.a.send(client, &up);
    pair.b.send(server, &down);
    pair.a.shutdown(client);
    pair.b.shutdown(server);
    let done = pair.drive_until(|pair| pair.a.has_ended(client) && pair.b.has_ended(server), patience);
    assert!(done, "{} and {} of {len}", pair.b.received(server).len(), pair.a.received(client).len());
    assert!(pair.b.received(server) == up && pair.a.received(client) == down, "intact");
}

#[test]
fn every_length_arrives_whole() {
    for len in [0, 1, 2, 535, 1_447, 1_448, 1_449, 65_535, 65_536, 100_000] {
        exchange(&mut Pair::builder().latency(ms(1)).build(), len, secs(5));
    }
}

#[test]
fn a_mebibyte_each_way_takes_as_long_as_the_windows_say() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    exchange(&mut pair, 1 << 20, secs(2));
    assert_eq!(pair.a.counters().tcp.retransmissions + pair.b.counters().tcp.retransmissions, 0);
}

#[test]
fn without_any_option_data_arrives_as_well() {
    let mut pair = Pair::builder()
        .latency(ms(1))
        .config(|config| {
            (config.tcp.timestamps, config.tcp.sack, config.tcp.window_scaling) = (false, false, false)
        })
        .build();
    exchange(&mut pair, 1 << 20, secs(5));
}

#[test]
fn large_and_small_mtus_carry_the_same_bytes() {
    for mtu in [128, 576, 1_280, 1_500, 9_000] {
        exchange(&mut Pair::builder().latency(ms(1)).mtu(mtu).build(), 200_000, secs(20));
    }
}

#[test]
fn hosts_of_different_mtus_agree_on_the_smaller() {
    let mut pair = Pair::builder().latency(ms(1)).host(Side::B, |b| b.mtu = 600).build();
    exchange(&mut pair, 100_000, secs(5));
}

#[test]
fn devices_that_segment_get_large_segments_and_the_bytes_are_the_same() {
    let mut pair = Pair::builder().latency(ms(1)).offloads().build();
    exchange(&mut pair, 4 << 20, secs(10));
    for host in [&pair.a, &pair.b] {
        let tcp = host.counters().tcp;
        assert!(tcp.segments_offloaded > 10, "{tcp:?}");
        assert!(tcp.segments_coalesced > 10, "{tcp:?}");
        assert!(tcp.segments_built < 2_000, "64 KiB at a time: {}", tcp.segments_built);
    }
}

#[test]
fn a_device_that_segments_talks_to_one_that_does_not() {
    for side in [Side::A, Side::B] {
        let mut pair = Pair::builder().latency(ms(1)).host(side, |host| host.offloads = true).build();
        exchange(&mut pair, 1 << 20, secs(10));
    }
}

#[test]
fn many_connections_at_once_each_get_their_own_bytes() {
    let mut pair = Pair::builder().latency(ms(2)).build();
    let streams: Vec<_> = (0..100).map(|_| pair.open()).collect();
    for (number, (client, server)) in streams.iter().enumerate() {
        pair.a.send(*client, &noise(20_000, number as u64));
        pair.b.send(*server, &noise(30_000, 1_000 + number as u64));
    }
    pair.drive_for(secs(5));
    for (number, (client, server)) in streams.iter().enumerate() {
        assert!(pair.b.received(*server) == noise(20_000, number as u64));
        assert!(pair.a.received(*client) == noise(30_000, 1_000 + number as u64));
    }
}

#[test]
fn sequence_numbers_wrap_in_the_middle_of_a_transfer() {
    // The number of a SYN is a clock of 4 us and a hash; a first run tells the hash.
    let isn = |start| {
        let mut script = Script::builder().host(|host| host.start = start).build();
        script.open();
        script.host_isn().unwrap()
    };
    let first = isn(Instant::from_millis(1));
    let until_wrap = u64::from(u32::MAX - 200_000).wrapping_sub(first.into()) & 0xffff_ffff;
    let start = Instant::from_micros(1_000 + until_wrap * 4);
    let wraps_soon = isn(start);
    assert!((u32::MAX - 210_000..u32::MAX - 190_000).contains(&wraps_soon), "{wraps_soon}");
    let mut script = Script::builder().isn(u32::MAX - 2_000).host(|host| host.start = start).build();
    let connection = script.open();
    for at in 0..10 {
        script.inject(tcp().seq(1 + at * 1_000).ack(1).data(&noise(1_000, at.into())));
    }
    assert_eq!(script.host.received(connection).len(), 10_000);
    script.heard();
    let sent = noise(400_000, 77);
    script.host.send(connection, &sent);
    let mut received = Vec::new();
    while let Some(segment) = script.segment_within(ms(1)) {
        assert_eq!(segment.seq as usize, 1 + received.len());
        received.extend(segment.payload);
        script.inject(tcp().seq(10_001).ack(1 + received.len() as u32));
    }
    assert!(received == sent);
}

#[test]
fn a_transfer_survives_the_wrap_of_timestamps_and_of_the_clock() {
    for start in [u64::from(u32::MAX) * 1_000 - 500_000, 1 << 42, (1 << 52) - 1_000_000] {
        let start = Instant::from_micros(start);
        exchange(&mut Pair::builder().latency(ms(10)).loss(0.01).start(start).build(), 500_000, secs(60));
    }
}

#[test]
fn pieces_in_any_order_and_overlapping_are_put_together_once() {
    for seed in 0..20 {
        let mut random = Random::from_seed(seed);
        let mut script = Script::builder().seed(seed).build();
        let connection = script.open_with(tcp().mss(1_460).sack_ok());
        let data = noise(60_000, seed);
        while script.host.received(connection).len() < data.len() {
            let known = script.host.received(connection).len() as u64;
            let start = random.range(known.saturating_sub(2_000)..=(known + 20_000).min(59_999)) as usize;
            let end = (start + random.range(1..=1_400) as usize).min(data.len());
            script.inject(tcp().seq(1 + start as u32).ack(1).data(&data[start..end]));
            script.heard();
        }
        assert!(script.host.received(connection) == data);
    }
}

#[test]
fn data_out_of_order_is_reported_at_once_and_kept() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).sack_ok());
    script.inject(tcp().seq(1_001).ack(1).data(&[2; 1_000]));
    script.expect(tcp().seq(1).ack(1).sack(&[(1_001, 2_001)]));
    script.inject(tcp().seq(3_001).ack(1).data(&[4; 1_000]));
    script.expect(tcp().seq(1).ack(1).sack(&[(3_001, 4_001), (1_001, 2_001)]));
    script.inject(tcp().seq(2_001).ack(1).data(&[3; 1_000]));
    script.expect(tcp().seq(1).ack(1).sack(&[(1_001, 4_001)]));
    script.inject(tcp().seq(1).ack(1).data(&[1; 1_000]));
    let all = script.expect(tcp().seq(1).ack(4_001));
    assert!(all.options.sack.is_empty());
    assert_eq!(script.host.received(connection).len(), 4_000);
}

#[test]
fn a_sack_has_the_latest_range_first_and_three_at_most_beside_timestamps() {
    let mut script = Script::new();
    script.open_with(tcp().mss(1_460).sack_ok().ts(100, 0));
    let mut last = None;
    for hole in 1..=6_u32 {
        script.inject(tcp().seq(1 + hole * 2_000).ack(1).ts(101, 0).data(&[0; 500]));
        last = script.segment_within(ms(0));
    }
    let sack = last.unwrap().options.sack;
    assert_eq!(sack, [(12_001, 12_501), (10_001, 10_501), (8_001, 8_501)]);
}

#[test]
fn an_old_segment_is_acknowledged_and_otherwise_ignored() {
    let mut script = Script::new();
    let connection = script.open();
    script.inject(tcp().seq(1).ack(1).data(&[1; 100]));
    script.expect(tcp().ack(101).seq(1));
    script.inject(tcp().seq(1).ack(1).data(&[9; 100]));
    script.expect(tcp().ack(101).seq(1));
    assert_eq!(script.host.received(connection), [1; 100]);
}

#[test]
fn the_segments_are_no_larger_than_the_peer_takes() {
    for (offered, expected) in [(Some(1_460), 1_460), (Some(1_000), 1_000), (Some(9_000), 1_460), (None, 536)]
    {
        let mut script = Script::new();
        let syn = offered.map_or(tcp(), |mss| tcp().mss(mss));
        let connection = script.open_with(syn);
        script.host.send(connection, &[0; 4_000]);
        assert_eq!(script.segment_within(ms(0)).unwrap().payload.len(), expected);
    }
}

#[test]
fn options_of_a_segment_come_out_of_its_payload() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).ts(5, 0));
    script.host.send(connection, &[0; 4_000]);
    assert_eq!(script.segment_within(ms(0)).unwrap().payload.len(), 1_448);
}

#[test]
fn small_writes_wait_for_the_acknowledgement_of_the_first() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.send(connection, b"first");
    script.expect(tcp().seq(1).ack(1).data(b"first").psh());
    for _ in 0..10 {
        script.host.send(connection, b" more");
    }
    script.expect_silence(ms(100));
    script.inject(tcp().seq(1).ack(6));
    script.expect(tcp().seq(6).ack(1).len(50).psh());
}

#[test]
fn a_full_segment_does_not_wait() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.send(connection, b"first");
    script.expect(tcp().seq(1).ack(1).len(5));
    script.host.send(connection, &[7; 1_460]);
    script.expect(tcp().seq(6).ack(1).len(1_460));
}

#[test]
fn without_delay_small_writes_go_at_once() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.shard_mut().tcp_set_nodelay(connection, true).unwrap();
    for at in 0..5 {
        script.host.send(connection, b"abc");
        script.expect(tcp().seq(1 + at * 3).ack(1).data(b"abc").psh());
    }
}

#[test]
fn the_last_segment_of_what_was_written_is_pushed_and_no_other() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.send(connection, &[0; 4_000]);
    script.expect(tcp().seq(1).ack(1).len(1_460).no_psh());
    script.expect(tcp().seq(1_461).ack(1).len(1_460).no_psh());
    script.expect(tcp().seq(2_921).ack(1).len(1_080).psh());
}

fn slow_to_acknowledge() -> (Script, ConnectionKey) {
    let mut script = Script::builder().tcp(|tcp| tcp.delayed_ack = DelayedAck::Always).build();
    let connection = script.open();
    (script, connection)
}

#[test]
fn one_segment_is_acknowledged_after_the_delay() {
    let (mut script, _connection) = slow_to_acknowledge();
    script.inject(tcp().seq(1).ack(1).data(&[0; 1_460]));
    script.expect_silence(ms(39));
    script.expect_within(ms(2), tcp().seq(1).ack(1_461));
}

#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    let (mut script, _connection) = slow_to_acknowledge();
    for pair in 0..5 {
        let start = 1 + pair * 2_920;
        script.inject(tcp().seq(start).ack(1).data(&[0; 1_460]));
        script.expect_silence(ms(1));
        script.inject(tcp().seq(start + 1_460).ack(1).data(&[0; 1_460]));
        script.expect(tcp().seq(1).ack(start + 2_920));
    }
}

#[test]
fn every_second_full_segment_is_acknowledged_with_timestamps_too() {
    let mut script = Script::builder().tcp(|tcp| tcp.delayed_ack = DelayedAck::Always).build();
    script.open_with(tcp().mss(1_460).wscale(7).ts(100, 0));
    // The first data is answered with the window that a SYN had no room for.
    script.inject(tcp().seq(1).ack(1).ts(101, 0).data(&[0; 1_448]));
    script.drive_for(ms(100));
    script.heard();
    for pair in 0..5 {
        let start = 1_449 + pair * 2_896;
        script.inject(tcp().seq(start).ack(1).ts(101, 0).data(&[0; 1_448]));
        script.expect_silence(ms(1));
        script.inject(tcp().seq(start + 1_448).ack(1).ts(101, 0).data(&[0; 1_448]));
        script.expect(tcp().seq(1).ack(start + 2_896));
    }
}

#[test]
fn each_segment_out_of_order_of_one_burst_is_reported() {
    let mut script = Script::new();
    script.open();
    for at in 1..=3 {
        let frame = script.frame(&tcp().seq(1 + at * 1_000).ack(1).data(&[0; 1_000]));
        script.host.receive_frame(&frame, Default::default());
    }
    for _ in 1..=3 {
        script.expect(tcp().seq(1).ack(1));
    }
}

#[test]
fn a_reply_carries_the_acknowledgement() {
    let (mut script, connection) = slow_to_acknowledge();
    script.inject(tcp().seq(1).ack(1).data(b"ping"));
    script.expect_silence(ms(5));
    script.host.send(connection, b"pong");
    script.expect(tcp().seq(1).ack(5).data(b"pong"));
    script.inject(tcp().seq(5).ack(5));
    script.expect_silence(ms(100));
}

#[test]
fn the_first_segments_of_a_flow_are_acknowledged_at_once() {
    let mut script = Script::new();
    script.open();
    for at in 0..8 {
        script.inject(tcp().seq(1 + at * 100).ack(1).data(&[0; 100]));
        script.expect(tcp().seq(1).ack(101 + at * 100));
    }
}

#[test]
fn the_urgent_pointer_changes_nothing_in_the_stream() {
    for pointer in [0, 1, 10, 11, 65_535] {
        let mut script = Script::new();
        let connection = script.open();
        script.inject(tcp().seq(1).ack(1).data(b"0123456789").urgent(pointer));
        script.inject(tcp().seq(11).ack(1).urgent(pointer));
        script.inject(tcp().seq(11).ack(1).data(b"abc"));
        assert_eq!(script.host.received(connection), b"0123456789abc");
        script.inject(tcp().fin().seq(14).ack(1).urgent(pointer));
        assert!(script.host.has_ended(connection));
        script.host.shutdown(connection);
        script.heard();
        script.inject(tcp().seq(15).ack(2).urgent(pointer));
    }
}

#[test]
fn bytes_can_be_given_and_taken_without_copying() {
    let mut pair = Pair::builder().latency(ms(1)).build();
    let (client, server) = pair.open();
    pair.b.stop_reading(server);
    let data = Bytes::from(noise(300_000, 3));
    let mut left = data.clone();
    let mut received = Vec::new();
    while received.len() < data.len() {
        let _ = pair.a.shard_mut().tcp_send_bytes(client, &mut left);
        pair.drive_for(ms(5));
        while let Ok(Some(fragment)) = pair.b.shard_mut().tcp_recv_fragment(server) {
            received.extend_from_slice(&fragment);
        }
    }
    assert!(received == data);
}

#[test]
fn a_peek_takes_nothing() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.stop_reading(connection);
    for at in 0..3 {
        script.inject(tcp().seq(1 + at * 4).ack(1).data(b"abcd"));
    }
    let mut peeked = [0; 10];
    for _ in 0..2 {
        assert_eq!(script.host.shard().tcp_peek(connection, &mut peeked), Ok(10));
        assert_eq!(&peeked, b"abcdabcdab");
    }
    script.host.start_reading(connection);
    assert_eq!(script.host.received(connection), b"abcdabcdabcd");
    assert_eq!(script.host.shard().tcp_peek(connection, &mut peeked), Err(SocketError::WouldBlock));
}

#[test]
fn several_pieces_are_written_in_one_call() {
    let mut script = Script::new();
    let connection = script.open();
    let pieces = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two "), IoSlice::new(b"three")];
    assert_eq!(script.host.shard_mut().tcp_send_vectored(connection, &pieces), Ok(13));
    script.expect(tcp().seq(1).ack(1).data(b"one two three"));
}

#[test]
fn nothing_and_a_byte_at_a_time_are_read_and_written() {
    let mut pair = Pair::builder().latency(ms(1)).build();
    let (client, server) = pair.open();
    pair.b.stop_reading(server);
    assert_eq!(pair.a.shard_mut().tcp_send(client, b""), Ok(0));
    pair.a.shard_mut().tcp_set_nodelay(client, true).unwrap();
    let data = noise(500, 9);
    for byte in &data {
        pair.a.send(client, &[*byte]);
        pair.drive_for(ms(3));
        assert_eq!(pair.b.read_some(server, 1), 1);
    }
    assert_eq!(pair.b.received(server), data);
}

#[test]
fn the_round_trip_is_measured() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(25)).build();
    let (client, _server) = pair.open();
    for _ in 0..20 {
        pair.a.send(client, &[0; 10_000]);
        pair.drive_for(ms(200));
    }
    let info = pair.a.info(client).unwrap();
    assert!((50_000..60_000).contains(&info.srtt_us.unwrap()), "{info:?}");
    assert_eq!(info.min_rtt_us, Some(50_000));
    assert_eq!(info.rto_us, 200_000, "never below the least");
}

#[test]
fn a_new_connection_starts_with_ten_segments() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.send(connection, &[0; 100_000]);
    script.settle();
    assert_eq!(script.segments().len(), 10);
    script.expect_silence(ms(100));
    script.inject(tcp().seq(1).ack(1 + 2 * 1_460));
    assert_eq!(script.segments().len(), 4, "slow start: two acknowledged, four more");
}

#[test]
fn an_idle_connection_starts_slowly_again() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (client, _server) = pair.open();
    pair.a.send(client, &noise(400_000, 1));
    pair.drive_for(secs(2));
    let grown = pair.a.info(client).unwrap().cwnd;
    assert!(grown > 100_000, "{grown}");
    pair.drive_for(secs(60));
    pair.a.stall();
    pair.a.send(client, &noise(400_000, 2));
    pair.drive_for(ms(1));
    let sent = pair.a.counters().tcp.segments_built;
    pair.a.resume();
    pair.drive_for(ms(1));
    assert_eq!(pair.a.counters().tcp.segments_built - sent, 10, "RFC 5681 section 4.1");
}

#[test]
fn the_same_seed_gives_the_same_trace_of_a_transfer() {
    let run = |seed| {
        let mut pair = Pair::builder().seed(seed).latency(ms(10)).loss(0.05).reordering(0.1).build();
        exchange(&mut pair, 200_000, secs(120));
        (pair.trace.hash(), pair.trace.frames())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
