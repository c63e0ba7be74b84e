//! What happens when time has passed: keepalive, the user timeout, and hours in which nobody asked (RFC 9293 sections
//! 3.8.3 and 3.8.4, RFC 5482, RFC 6298).

use sunstar_sim::{Pair, Script, ms, noise, secs, tcp};
use sunstar_stack::{Keepalive, SocketError, State};

fn keepalive(script: &mut Script) -> sunstar_stack::ConnectionKey {
    let connection = script.open();
    let keepalive = Keepalive { idle: secs(100), interval: secs(10), count: 3 };
    script.host.shard_mut().tcp_set_keepalive(connection, Some(keepalive)).unwrap();
    connection
}

#[test]
fn a_silent_connection_stays_open_and_says_nothing() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (client, server) = pair.open();
    pair.drive_for(secs(1));
    let frames = pair.trace.frames();
    pair.drive_for(secs(48 * 3_600));
    assert_eq!(pair.trace.frames(), frames, "keepalive is off by default (RFC 9293 MUST-25)");
    pair.a.send(client, b"still here");
    pair.drive_for(secs(1));
    assert_eq!(pair.b.received(server), b"still here");
}

#[test]
fn a_silent_peer_is_asked_and_its_answer_is_enough() {
    let mut script = Script::new();
    let connection = keepalive(&mut script);
    script.expect_silence(secs(99));
    for _ in 0..5 {
        let probe = script.segment_within(secs(2)).expect("a probe");
        assert_eq!((probe.seq, probe.ack, probe.payload.len()), (0, 1, 0), "the byte before the window");
        script.inject(tcp().seq(1).ack(1));
        script.expect_silence(secs(99));
    }
    assert_eq!(script.host.state(connection), State::Established);
    assert_eq!(script.host.counters().tcp.keepalives, 5);
}

#[test]
fn a_peer_that_answers_no_probe_is_given_up() {
    let mut script = Script::new();
    let connection = keepalive(&mut script);
    let started = script.now();
    let mut probes = 0;
    while let Some(segment) = script.segment_within(secs(101)) {
        probes += usize::from(segment.flags == sunstar_wire::tcp::TcpFlags::ACK);
    }
    assert_eq!(probes, 3);
    assert_eq!(script.host.error(connection), Some(SocketError::TimedOut));
    assert!(script.now() - started < secs(240));
}

#[test]
fn a_keepalive_without_any_time_asks_once_a_second_also_while_data_is_on_its_way() {
    let mut script = Script::new();
    let connection = script.open();
    let keepalive = Keepalive { idle: secs(0), interval: secs(0), count: 3 };
    script.host.shard_mut().tcp_set_keepalive(connection, Some(keepalive)).unwrap();
    script.host.send(connection, b"nobody acknowledges this");
    script.expect(tcp().seq(1).ack(1).len(24));
    script.drive_for(secs(3));
    assert_eq!(script.host.state(connection), State::Established);
    script.heard();
    script.inject(tcp().seq(1).ack(25));
    let acknowledged = script.now();
    let probe = script.segment_within(secs(2)).expect("a probe");
    assert_eq!((probe.seq, probe.payload.len()), (24, 0));
    assert!(script.now() - acknowledged >= ms(900), "after a second");
}

#[test]
fn two_of_our_own_keep_a_connection_alive() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (client, server) = pair.open();
    let keepalive = Keepalive { idle: secs(60), interval: secs(5), count: 3 };
    pair.a.shard_mut().tcp_set_keepalive(client, Some(keepalive)).unwrap();
    pair.drive_for(secs(3_600));
    assert_eq!((pair.a.state(client), pair.b.state(server)), (State::Established, State::Established));
    assert!((50..=60).contains(&pair.a.counters().tcp.keepalives));
    pair.cut();
    pair.drive_for(secs(100));
    assert_eq!(pair.a.error(client), Some(SocketError::TimedOut));
}

#[test]
fn the_user_timeout_ends_a_connection_whose_data_nobody_acknowledges() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.shard_mut().tcp_set_user_timeout(connection, Some(secs(10))).unwrap();
    script.host.send(connection, b"is anybody there?");
    script.drive_for(secs(9));
    assert_eq!(script.host.error(connection), None);
    script.drive_for(secs(6));
    assert_eq!(script.host.error(connection), Some(SocketError::TimedOut));
}

#[test]
fn without_a_user_timeout_a_connection_is_kept_for_at_least_a_hundred_seconds() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.send(connection, b"is anybody there?");
    script.drive_for(secs(100));
    assert_eq!(script.host.error(connection), None, "RFC 9293 MUST-20 to MUST-23: R2");
    script.drive_for(secs(3_600));
    assert_eq!(script.host.error(connection), Some(SocketError::TimedOut));
}

#[test]
fn a_connection_whose_next_hop_is_gone_is_given_up() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let (client, _server) = pair.open();
    pair.drive_for(secs(60));
    pair.cut();
    pair.a.ping(pair.b.address(), 8);
    pair.drive_for(secs(10));
    pair.a.send(client, b"never leaves");
    pair.drive_for(secs(3_600));
    let error = pair.a.error(client);
    assert!(matches!(error, Some(SocketError::TimedOut | SocketError::HostUnreachable)), "{error:?}");
}

#[test]
fn an_hour_asleep_fires_each_timer_once_and_bursts_nothing() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (client, server) = pair.open();
    pair.a.send(client, &noise(600_000, 1));
    pair.drive_for(ms(25));
    pair.a.suspend();
    pair.drive_for(secs(3_600));
    let before = pair.a.counters().tcp;
    pair.a.wake();
    pair.drive_for(ms(1));
    let after = pair.a.counters().tcp;
    assert!(after.timeouts - before.timeouts <= 1);
    let window = pair.a.info(client).unwrap().cwnd as u64 / 1_448;
    assert!(after.segments_built - before.segments_built <= window + 10, "no burst beyond cwnd");
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 600_000, secs(10)));
}

#[test]
fn a_receiver_an_hour_asleep_picks_up_where_it_was() {
    let mut pair =
        Pair::builder().without_ethernet().latency(ms(10)).config(|it| it.tcp.retries = 100).build();
    let (client, server) = pair.open();
    pair.a.send(client, &noise(600_000, 1));
    pair.drive_for(ms(25));
    pair.b.suspend();
    pair.drive_for(secs(3_600));
    pair.b.wake();
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 600_000, secs(120)));
    assert!(pair.b.received(server) == noise(600_000, 1));
}

#[test]
fn the_first_timeout_is_a_second_and_the_least_is_a_fifth_of_one() {
    let mut script = Script::new();
    script.start_connect();
    script.expect_silence(ms(999));
    script.expect_within(ms(2), tcp().syn().seq(0));
    script.inject(tcp().syn().seq(0).ack(1));
    script.expect(tcp().seq(1).ack(1));
}

#[test]
fn a_retransmitted_syn_makes_the_first_timeout_of_data_three_seconds() {
    let mut script = Script::new();
    let connection = script.start_connect();
    script.expect_within(secs(2), tcp().syn().seq(0));
    script.inject(tcp().syn().seq(0).ack(1));
    script.expect(tcp().seq(1).ack(1));
    script.host.send(connection, b"first");
    script.expect(tcp().seq(1).ack(1).len(5));
    script.expect_silence(ms(2_900));
    script.expect_within(ms(101), tcp().seq(1).ack(1).len(5));
}

#[test]
fn the_timeout_follows_the_round_trip() {
    let mut script = Script::new();
    let connection = script.open();
    let mut acknowledged = 1;
    for _ in 0..30 {
        script.host.send(connection, &[0; 100]);
        script.expect(tcp().ack(1).len(100));
        script.drive_for(ms(180));
        acknowledged += 100;
        script.inject(tcp().seq(1).ack(acknowledged));
    }
    let info = script.host.info(connection).unwrap();
    assert!((170_000..=180_000).contains(&info.srtt_us.unwrap()), "{info:?}");
    assert!(info.rto_us >= info.srtt_us.unwrap(), "{info:?}");
}
