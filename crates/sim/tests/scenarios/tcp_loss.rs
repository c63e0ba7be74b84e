//! A bad network: everything arrives intact, and recovery is as quick as the RFCs let it be (RFC 5681, RFC 6298,
//! RFC 6582, RFC 6675).

use sunstar_sim::decode::{Body, Decoded, Transport};
use sunstar_sim::{Pair, Script, Side, ms, noise, secs, tcp};
use sunstar_stack::time::Duration;
use sunstar_stack::{ConnectionKey, SocketError};
use sunstar_wire::tcp::TcpFlags;

/// Sends a mebibyte each way; how long that took.
fn mebibyte_each_way(pair: &mut Pair, patience: Duration) -> Duration {
    const LEN: usize = 1 << 20;
    let (client, server) = pair.open();
    let started = pair.now();
    let (up, down) = (noise(LEN, 1), noise(LEN, 2));
    pair.a.send(client, &up);
    pair.b.send(server, &down);
    pair.a.shutdown(client);
    pair.b.shutdown(server);
    let done = pair.drive_until(|pair| pair.a.has_ended(client) && pair.b.has_ended(server), patience);
    assert!(done, "{} and {} of {LEN}", pair.b.received(server).len(), pair.a.received(client).len());
    assert!(pair.b.received(server) == up && pair.a.received(client) == down, "intact");
    pair.now() - started
}

/// A pair that has exchanged enough for its windows to be open.
fn warm(pair: &mut Pair) -> (ConnectionKey, ConnectionKey) {
    let (client, server) = pair.open();
    pair.a.send(client, &noise(300_000, 1));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 300_000, secs(10)));
    // The last acknowledgement comes back; much longer, and the window would be taken for idle.
    pair.drive_for(ms(100));
    pair.b.take_received(server);
    (client, server)
}

fn is_data(frame: &Decoded) -> bool {
    matches!(&frame.body, Body::Ip(_, Transport::Tcp(segment)) if !segment.payload.is_empty())
}

#[test]
fn a_tenth_lost_both_ways_and_a_mebibyte_each_way_arrives() {
    for seed in 1..=5 {
        let mut pair = Pair::builder().seed(seed).latency(ms(10)).loss(0.1).build();
        mebibyte_each_way(&mut pair, secs(600));
        let link = pair.link_counters(Side::A);
        assert!(link.lost * 20 > link.sent, "{link:?}");
    }
}

#[test]
fn three_tenths_lost_both_ways_and_a_mebibyte_each_way_arrives() {
    for seed in 1..=3 {
        let mut pair =
            Pair::builder().seed(seed).latency(ms(10)).loss(0.3).config(|it| it.tcp.retries = 20).build();
        mebibyte_each_way(&mut pair, secs(4 * 3_600));
    }
}

#[test]
fn small_losses_cost_little() {
    let clean = mebibyte_each_way(&mut Pair::builder().latency(ms(10)).build(), secs(10));
    let mut pair = Pair::builder().latency(ms(10)).loss(0.001).build();
    let lossy = mebibyte_each_way(&mut pair, secs(60));
    assert!(lossy < clean * 4 + ms(500), "{lossy:?} with a thousandth lost, {clean:?} without");
}

#[test]
fn half_reordered_and_a_tenth_duplicated_arrives() {
    for seed in 1..=5 {
        let mut pair = Pair::builder().seed(seed).latency(ms(10)).reordering(0.5).duplication(0.1).build();
        mebibyte_each_way(&mut pair, secs(600));
    }
}

#[test]
fn everything_bad_at_once_arrives() {
    for seed in 1..=5 {
        let mut pair = Pair::builder()
            .seed(seed)
            .latency(ms(20))
            .jitter(ms(10))
            .loss(0.05)
            .reordering(0.1)
            .duplication(0.05)
            .corruption(0.05)
            .build();
        mebibyte_each_way(&mut pair, secs(3_600));
        assert!(pair.b.counters().drops.bad_checksum > 0);
    }
}

#[test]
fn loss_without_sack_or_timestamps_arrives_too() {
    for (sack, timestamps) in [(false, true), (true, false), (false, false)] {
        let mut pair = Pair::builder()
            .latency(ms(10))
            .loss(0.05)
            .config(|config| (config.tcp.sack, config.tcp.timestamps) = (sack, timestamps))
            .build();
        mebibyte_each_way(&mut pair, secs(600));
    }
}

#[test]
fn loss_of_large_segments_arrives_too() {
    let mut pair = Pair::builder().latency(ms(10)).loss(0.05).reordering(0.1).offloads().build();
    mebibyte_each_way(&mut pair, secs(600));
}

#[test]
fn jitter_aborts_nothing_and_loses_nothing() {
    let mut pair = Pair::builder().latency(ms(20)).jitter(ms(100)).build();
    mebibyte_each_way(&mut pair, secs(120));
    assert_eq!(pair.link_counters(Side::A).lost, 0);
}

#[test]
fn a_step_of_two_seconds_in_the_delay_aborts_nothing() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let (client, server) = warm(&mut pair);
    pair.a.send(client, &noise(500_000, 5));
    pair.drive_for(ms(15));
    pair.impair(|link| link.latency = secs(2));
    pair.drive_for(secs(20));
    pair.impair(|link| link.latency = ms(10));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 500_000, secs(60)));
    assert_eq!(pair.b.received(server), noise(500_000, 5));
}

#[test]
fn only_acknowledgements_lost_slow_nothing_down_much() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let (client, server) = pair.open();
    pair.from_side(Side::B).loss = 0.5;
    let started = pair.now();
    pair.a.send(client, &noise(1 << 20, 5));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 1 << 20, secs(60)));
    assert!(pair.now() - started < secs(3), "{:?}", pair.now() - started);
}

fn one_lost_segment(sack: bool) {
    let mut pair = Pair::builder().without_ethernet().latency(ms(50)).config(|it| it.tcp.sack = sack).build();
    let (client, server) = warm(&mut pair);
    let started = pair.now();
    pair.drop_nth(Side::A, 5);
    pair.a.send(client, &noise(30_000, 5));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 30_000, secs(5)));
    assert_eq!(pair.now() - started, ms(150), "half a round trip and one more");
    assert_eq!(pair.a.counters().tcp.timeouts, 0);
    assert_eq!(pair.a.counters().tcp.retransmissions, 1);
    assert_eq!(pair.a.counters().tcp.fast_recoveries, 1);
}

#[test]
fn one_lost_segment_is_made_good_within_a_round_trip_and_without_a_timeout() {
    one_lost_segment(true);
}

#[test]
fn without_sack_one_lost_segment_is_made_good_within_a_round_trip_and_without_a_timeout() {
    one_lost_segment(false);
}

#[test]
fn several_lost_segments_of_one_window_are_made_good_without_a_timeout() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(50)).build();
    let (client, server) = warm(&mut pair);
    for nth in [3, 7, 8, 15, 20] {
        pair.drop_nth(Side::A, nth);
    }
    pair.a.send(client, &noise(100_000, 5));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 100_000, secs(5)));
    assert_eq!(pair.a.counters().tcp.timeouts, 0);
    assert_eq!(pair.a.counters().tcp.retransmissions, 5, "RFC 6675: what was lost and nothing else");
    assert_eq!(pair.a.counters().tcp.fast_recoveries, 1);
}

#[test]
fn without_sack_several_lost_segments_cost_a_round_trip_each() {
    let mut pair =
        Pair::builder().without_ethernet().latency(ms(50)).config(|it| it.tcp.sack = false).build();
    let (client, server) = warm(&mut pair);
    for nth in [3, 7, 8] {
        pair.drop_nth(Side::A, nth);
    }
    let started = pair.now();
    pair.a.send(client, &noise(100_000, 5));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 100_000, secs(5)));
    assert_eq!(pair.a.counters().tcp.timeouts, 0, "RFC 6582: a partial acknowledgement tells of the next");
    assert!(pair.now() - started <= ms(500), "{:?}", pair.now() - started);
}

#[test]
fn a_lost_retransmission_is_made_good_by_the_timeout() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(50)).build();
    let (client, server) = warm(&mut pair);
    let mut seen = Vec::new();
    pair.drop_if(move |side, frame| {
        let Body::Ip(_, Transport::Tcp(segment)) = &frame.body else { return false };
        if side != Side::A || segment.payload.is_empty() {
            return false;
        }
        seen.push(segment.seq);
        seen.len() > 3
            && seen[2] == segment.seq
            && seen.iter().filter(|seq| **seq == segment.seq).count() == 2
            || seen.len() == 3
    });
    pair.a.send(client, &noise(60_000, 5));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 60_000, secs(5)));
    assert_eq!(pair.a.counters().tcp.timeouts, 1);
}

#[test]
fn a_lost_tail_is_made_good_by_the_timeout() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (client, server) = warm(&mut pair);
    let started = pair.now();
    pair.drop_nth(Side::A, 3);
    pair.a.send(client, &noise(3 * 1_448, 5));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 3 * 1_448, secs(5)));
    let took = pair.now() - started;
    assert!((ms(200)..ms(320)).contains(&took), "the least timeout and half a round trip: {took:?}");
}

#[test]
fn a_window_lost_whole_is_made_good() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (client, server) = warm(&mut pair);
    pair.cut();
    pair.a.send(client, &noise(200_000, 5));
    pair.drive_for(ms(100));
    pair.mend();
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 200_000, secs(5)));
    assert_eq!(pair.b.received(server), noise(200_000, 5));
}

#[test]
fn the_timeout_doubles_until_the_connection_is_given_up() {
    let mut script = Script::builder().tcp(|tcp| tcp.retries = 8).build();
    let connection = script.open();
    script.host.send(connection, b"is anybody there?");
    script.expect(tcp().seq(1).ack(1).len(17));
    let started = script.now();
    let mut times = Vec::new();
    while let Some(again) = script.segment_within(secs(130)) {
        assert_eq!((again.seq, again.payload.len()), (1, 17));
        times.push((script.now() - started).as_millis());
    }
    // The handshake took no time: the least timeout.
    assert_eq!(times, [200, 600, 1_400, 3_000, 6_200, 12_600, 25_400, 51_000]);
    assert_eq!(script.host.error(connection), Some(SocketError::TimedOut));
    assert_eq!(script.host.counters().tcp.aborted, 1);
}

#[test]
fn the_backoff_ends_with_a_round_trip_that_could_be_measured() {
    let mut script = Script::builder().host(|host| host.shard.path_mtu.probing = false).build();
    let connection = script.open();
    script.host.send(connection, &[1; 1_000]);
    script.expect(tcp().seq(1).ack(1).len(1_000));
    for _ in 0..5 {
        script.expect_within(secs(10), tcp().seq(1).ack(1).len(1_000));
    }
    // Karn: which of the copies was acknowledged, nobody knows.
    script.inject(tcp().seq(1).ack(1_001));
    script.host.send(connection, &[2; 1_000]);
    script.expect(tcp().seq(1_001).ack(1).len(1_000));
    script.expect_silence(secs(6));
    script.inject(tcp().seq(1).ack(2_001));
    script.drive_for(secs(60));
    for at in 0..40 {
        script.host.send(connection, &[3; 1_000]);
        script.expect(tcp().seq(2_001 + at * 1_000).ack(1).len(1_000));
        script.inject(tcp().seq(1).ack(3_001 + at * 1_000));
    }
    script.host.send(connection, &[4; 1_000]);
    script.expect(tcp().seq(42_001).ack(1).len(1_000));
    script.expect_silence(ms(199));
    script.expect_within(ms(2), tcp().seq(42_001).ack(1).len(1_000));
}

#[test]
fn three_duplicates_and_not_two_bring_a_retransmission() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.send(connection, &[0; 8 * 1_460]);
    script.settle();
    assert_eq!(script.segments().len(), 8);
    for _ in 0..2 {
        script.inject(tcp().seq(1).ack(1));
        script.expect_silence(ms(1));
    }
    script.inject(tcp().seq(1).ack(1));
    script.expect(tcp().seq(1).ack(1).len(1_460));
}

#[test]
fn an_acknowledgement_with_another_window_or_with_data_is_no_duplicate() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.send(connection, &[0; 8 * 1_460]);
    script.settle();
    assert_eq!(script.segments().len(), 8);
    for at in 0..4_u16 {
        script.inject(tcp().seq(1).ack(1).win(60_000 + at * 100));
    }
    for at in 0..4 {
        script.inject(tcp().seq(1 + at * 10).ack(1).win(60_300).data(&[0; 10]));
    }
    let said = script.segments();
    assert!(said.iter().all(|segment| segment.payload.is_empty()), "{said:?}");
}

#[test]
fn after_a_timeout_one_segment_goes_and_then_slow_start() {
    let mut script = Script::builder().host(|host| host.shard.path_mtu.probing = false).build();
    let connection = script.open();
    script.host.send(connection, &[0; 10 * 1_460]);
    script.settle();
    assert_eq!(script.segments().len(), 10);
    script.expect_within(ms(201), tcp().seq(1).ack(1).len(1_460));
    script.expect_silence(ms(399));
    script.drive_for(ms(2));
    script.heard();
    script.inject(tcp().seq(1).ack(1_461));
    script.expect(tcp().seq(1_461).ack(1).len(1_460));
    script.expect(tcp().seq(2_921).ack(1).len(1_460));
    script.expect_silence(ms(50));
}

#[test]
fn what_the_peer_holds_is_not_sent_again() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).sack_ok());
    script.host.send(connection, &[0; 10 * 1_460]);
    script.settle();
    assert_eq!(script.segments().len(), 10);
    let at = |segment: u32| 1 + segment * 1_460;
    script.inject(tcp().seq(1).ack(1).sack(&[(at(1), at(2))]));
    script.inject(tcp().seq(1).ack(1).sack(&[(at(1), at(3))]));
    script.inject(tcp().seq(1).ack(1).sack(&[(at(5), at(8)), (at(1), at(3))]));
    script.inject(tcp().seq(1).ack(1).sack(&[(at(5), at(10)), (at(1), at(3))]));
    let again: Vec<u32> = script.segments().iter().map(|segment| segment.seq).collect();
    assert_eq!(again, [at(0), at(3), at(4)]);
}

#[test]
fn a_retransmission_is_not_timed_without_timestamps() {
    let mut script = Script::new();
    let connection = script.open();
    script.drive_for(secs(1));
    script.host.send(connection, &[0; 100]);
    script.expect(tcp().seq(1).ack(1).len(100));
    script.expect_within(ms(300), tcp().seq(1).ack(1).len(100));
    let before = script.host.info(connection).unwrap().srtt_us;
    script.drive_for(ms(100));
    script.inject(tcp().seq(1).ack(101));
    assert_eq!(script.host.info(connection).unwrap().srtt_us, before, "Karn's rule");
}

#[test]
fn a_carrier_away_for_five_seconds_costs_no_more_than_that_and_one() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let (client, server) = warm(&mut pair);
    pair.a.send(client, &noise(500_000, 5));
    pair.drive_for(ms(15));
    pair.link_down();
    pair.drive_for(secs(5));
    let before = pair.b.received(server).len();
    pair.link_up();
    pair.drive_for(secs(1));
    assert!(pair.b.received(server).len() > before, "resumed");
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 500_000, secs(5)));
    assert_eq!(pair.b.received(server), noise(500_000, 5));
}

#[test]
fn a_cable_cut_for_five_seconds_costs_no_more_than_the_backoff() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let (client, server) = warm(&mut pair);
    pair.a.send(client, &noise(500_000, 5));
    pair.drive_for(ms(15));
    pair.cut();
    pair.drive_for(secs(5));
    pair.mend();
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 500_000, secs(5)));
}

#[test]
fn a_narrow_router_with_a_short_queue_is_filled_well() {
    let mut pair = Pair::builder().latency(ms(10)).bottleneck(10_000_000, 30).build();
    let (client, server) = pair.open();
    let started = pair.now();
    pair.a.send(client, &noise(4 << 20, 5));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 4 << 20, secs(60)));
    let rate = (4 << 20) as f64 * 8.0 / (pair.now() - started).as_secs_f64();
    let tcp = pair.a.counters().tcp;
    assert!(rate > 7_000_000.0, "{rate} of 10 Mbit/s: {tcp:?}");
    assert!(tcp.retransmissions < 300, "{tcp:?}");
}

#[test]
fn a_slow_device_is_filled_without_any_loss() {
    let mut pair = Pair::builder().latency(ms(10)).bandwidth(10_000_000).ring(16).build();
    let (client, server) = pair.open();
    let started = pair.now();
    pair.a.send(client, &noise(2 << 20, 5));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 2 << 20, secs(60)));
    let rate = (2 << 20) as f64 * 8.0 / (pair.now() - started).as_secs_f64();
    assert!(rate > 8_500_000.0, "{rate} of 10 Mbit/s");
    assert_eq!(pair.a.counters().tcp.retransmissions, 0);
}

#[test]
fn each_frame_of_a_short_talk_may_be_lost() {
    // Handshake, a question, an answer, both ends closing: whichever frame is lost, all of it happens.
    for lost in 1..=12 {
        for side in [Side::A, Side::B] {
            let mut pair = Pair::builder().latency(ms(10)).build();
            pair.drop_nth(side, lost);
            let (client, server) = pair.open();
            pair.a.send(client, b"question");
            assert!(pair.drive_until(|pair| pair.b.received(server) == b"question", secs(10)));
            pair.b.send(server, b"answer");
            pair.b.shutdown(server);
            assert!(pair.drive_until(|pair| pair.a.has_ended(client), secs(10)));
            assert_eq!(pair.a.received(client), b"answer");
            pair.a.shutdown(client);
            assert!(pair.drive_until(|pair| pair.b.has_ended(server), secs(10)));
            pair.finish();
        }
    }
}

#[test]
fn every_segment_lost_once_arrives_in_the_end() {
    let mut pair = Pair::builder().latency(ms(5)).build();
    let (client, server) = pair.open();
    let mut seen = std::collections::BTreeSet::new();
    pair.drop_if(move |side, frame| match &frame.body {
        Body::Ip(_, Transport::Tcp(segment)) if side == Side::A && is_data(frame) => {
            seen.insert((segment.seq, segment.has(TcpFlags::FIN)))
        }
        _ => false,
    });
    pair.a.send(client, &noise(100_000, 5));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 100_000, secs(600)));
    assert_eq!(pair.b.received(server), noise(100_000, 5));
}
