//! Closing a connection, in order and otherwise, and what is remembered of it (RFC 9293 section 3.6, RFC 1337,
//! RFC 6191).

use sunstar_sim::{Pair, Script, Side, ms, noise, secs, tcp};
use sunstar_stack::time::Duration;
use sunstar_stack::{ConnectionKey, Shutdown, SocketError, State};

/// The host has closed first and is in TIME-WAIT: the script's and the host's next numbers are 2.
fn time_wait(script: &mut Script) {
    let connection = script.open();
    script.host.close(connection);
    script.expect(tcp().fin().seq(1).ack(1));
    script.inject(tcp().fin().seq(1).ack(2));
    script.expect(tcp().seq(2).ack(2));
    assert_eq!(script.host.shard().tcp_time_wait(), 1);
}

#[test]
fn one_direction_closes_while_the_other_goes_on() {
    for side in [Side::A, Side::B] {
        let mut pair = Pair::builder().latency(ms(10)).build();
        let (client, server) = pair.open();
        let (closing, open): (ConnectionKey, ConnectionKey) =
            if side == Side::A { (client, server) } else { (server, client) };
        let other = if side == Side::A { Side::B } else { Side::A };
        pair.host(side).send(closing, b"that is all");
        pair.host(side).shutdown(closing);
        pair.drive_for(secs(1));
        assert_eq!(pair.host(side).state(closing), State::FinWait2);
        assert_eq!(pair.host(other).state(open), State::CloseWait);
        assert!(pair.host(other).has_ended(open));
        assert_eq!(pair.host(other).received(open), b"that is all");
        let refused = pair.host(side).shard_mut().tcp_send(closing, b"and more");
        assert_eq!(refused, Err(SocketError::BrokenPipe));
        let data = noise(300_000, 1);
        pair.drive_for(secs(600));
        pair.host(other).send(open, &data);
        pair.host(other).shutdown(open);
        pair.drive_for(secs(10));
        assert!(pair.host(side).received(closing) == data);
        assert!(pair.host(side).has_ended(closing));
        assert_eq!(pair.host(other).state(open), State::Closed);
    }
}

#[test]
fn both_ends_close_at_the_same_time() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (client, server) = pair.open();
    pair.drive_for(ms(100));
    pair.a.shutdown(client);
    pair.b.shutdown(server);
    pair.drive_for(ms(15));
    assert_eq!((pair.a.state(client), pair.b.state(server)), (State::Closing, State::Closing));
    pair.drive_for(ms(20));
    assert_eq!((pair.a.shard().tcp_time_wait(), pair.b.shard().tcp_time_wait()), (1, 1));
    assert!(pair.a.has_ended(client) && pair.b.has_ended(server));
}

#[test]
fn who_closes_first_remembers_the_connection_for_a_minute_and_the_other_does_not() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (client, server) = pair.open();
    pair.drive_for(secs(1));
    pair.a.close(client);
    pair.drive_for(secs(1));
    pair.b.close(server);
    pair.drive_for(secs(1));
    assert_eq!((pair.a.shard().tcp_time_wait(), pair.b.shard().tcp_time_wait()), (1, 0));
    assert_eq!(pair.b.shard().tcp_connections().count(), 0);
    pair.drive_for(secs(57));
    assert_eq!(pair.a.shard().tcp_time_wait(), 1);
    pair.drive_for(secs(3));
    assert_eq!(pair.a.shard().tcp_time_wait(), 0);
    assert_eq!((pair.a.buffers_out(), pair.b.buffers_out()), (0, 0));
}

#[test]
fn a_tuple_that_is_remembered_is_not_opened_again_from_here() {
    let mut script = Script::new();
    time_wait(&mut script);
    let options = sunstar_stack::ConnectOptions { local: Some(script.host.at(80)) };
    let again = script.host.shard_mut().tcp_connect("10.0.0.2:4000".parse().unwrap(), &options);
    assert!(matches!(again, Err(SocketError::AddressInUse { .. })));
}

#[test]
fn a_new_connection_takes_the_place_of_a_remembered_one() {
    let mut script = Script::new();
    time_wait(&mut script);
    let old_isn = script.host_isn().unwrap();
    script.inject(tcp().syn().seq(100_000).mss(1_460));
    let answer = script.expect(tcp().syn().ack(100_001));
    assert_eq!(answer.seq, 0);
    let step = script.host_isn().unwrap().wrapping_sub(old_isn);
    assert!((3..1 << 31).contains(&step), "above what the old one sent: {step}");
    script.inject(tcp().seq(100_001).ack(1));
    assert_eq!(script.host.counters().tcp.time_wait_reused, 1);
    assert_eq!(script.host.shard().tcp_time_wait(), 0);
}

#[test]
fn an_old_syn_does_not_take_the_place_of_a_remembered_connection() {
    let mut script = Script::new();
    time_wait(&mut script);
    script.inject(tcp().syn().seq(0));
    script.expect(tcp().seq(2).ack(2));
    assert_eq!(script.host.shard().tcp_time_wait(), 1);
}

#[test]
fn newer_timestamps_take_the_place_and_older_do_not() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).ts(1_000, 0));
    script.host.close(connection);
    let fin = script.expect(tcp().fin().seq(1).ack(1));
    let clock = fin.options.timestamps.unwrap().0;
    script.inject(tcp().fin().seq(1).ack(2).ts(1_010, clock));
    script.expect(tcp().seq(2).ack(2));
    script.inject(tcp().syn().seq(0x9000_0000).ts(1_005, 0));
    script.expect(tcp().seq(2).ack(2));
    script.inject(tcp().syn().seq(0x9000_0000).ts(1_011, 0));
    script.expect(tcp().syn().ack(0x9000_0001));
}

#[test]
fn a_reset_does_not_end_time_wait() {
    let mut script = Script::new();
    time_wait(&mut script);
    for seq in [2, 0, 1, 3, 60_000] {
        script.inject(tcp().rst().seq(seq));
        script.inject(tcp().rst().seq(seq).ack(2));
    }
    script.expect_silence(secs(1));
    assert_eq!(script.host.shard().tcp_time_wait(), 1);
}

#[test]
fn a_repeated_fin_is_acknowledged_again_and_starts_the_minute_over() {
    let mut script = Script::new();
    time_wait(&mut script);
    script.drive_for(secs(50));
    script.inject(tcp().fin().seq(1).ack(2));
    script.expect(tcp().seq(2).ack(2));
    script.drive_for(secs(50));
    assert_eq!(script.host.shard().tcp_time_wait(), 1);
    script.drive_for(secs(11));
    assert_eq!(script.host.shard().tcp_time_wait(), 0);
}

#[test]
fn what_is_remembered_is_capped() {
    let mut pair = Pair::builder().without_ethernet().config(|config| config.tcp.max_time_wait = 10).build();
    for _ in 0..30 {
        let (client, server) = pair.open();
        pair.a.close(client);
        pair.drive_for(ms(10));
        pair.b.close(server);
        pair.drive_for(ms(10));
    }
    assert_eq!(pair.a.shard().tcp_time_wait(), 10);
    assert_eq!(pair.a.counters().tcp.time_wait_reused, 20);
}

#[test]
fn a_lost_fin_is_sent_again() {
    for lost in [1, 2] {
        let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
        let (client, server) = pair.open();
        pair.drive_for(secs(1));
        pair.drop_next(lost);
        pair.a.close(client);
        pair.drive_for(ms(500));
        pair.b.close(server);
        pair.drive_for(secs(5));
        assert_eq!(pair.a.shard().tcp_connections().count(), 0);
        assert_eq!(pair.b.shard().tcp_connections().count(), 0);
    }
}

#[test]
fn a_fin_and_data_in_one_segment_are_both_taken() {
    let mut script = Script::new();
    let connection = script.open();
    script.inject(tcp().fin().seq(1).ack(1).data(b"last words"));
    script.expect(tcp().seq(1).ack(12));
    assert_eq!(script.host.received(connection), b"last words");
    assert!(script.host.has_ended(connection));
}

#[test]
fn a_fin_ahead_of_its_data_waits_for_it() {
    let mut script = Script::new();
    let connection = script.open();
    script.inject(tcp().fin().seq(6).ack(1).data(b"world"));
    script.expect(tcp().seq(1).ack(1));
    assert!(!script.host.has_ended(connection));
    script.inject(tcp().seq(1).ack(1).data(b"hello"));
    script.expect(tcp().seq(1).ack(12));
    assert_eq!(script.host.received(connection), b"helloworld");
    assert!(script.host.has_ended(connection));
}

#[test]
fn our_fin_goes_with_the_last_data() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.stall();
    script.host.send(connection, b"last words");
    script.host.shutdown(connection);
    script.host.resume();
    script.expect(tcp().fin().seq(1).ack(1).data(b"last words"));
}

#[test]
fn a_fin_waits_until_the_window_has_taken_the_data_before_it() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).win(1_000));
    script.inject(tcp().seq(1).ack(1).win(1_000));
    script.host.send(connection, &[0; 1_500]);
    script.host.shutdown(connection);
    script.expect(tcp().seq(1).ack(1).len(1_000));
    script.inject(tcp().seq(1).ack(1_001).win(1_000));
    script.expect(tcp().fin().seq(1_001).ack(1).len(500));
}

#[test]
fn closing_with_unread_data_resets_the_peer() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let (client, server) = pair.open();
    pair.b.stop_reading(server);
    pair.a.send(client, b"will never be read");
    pair.drive_for(ms(100));
    pair.b.close(server);
    pair.drive_for(ms(100));
    assert_eq!(pair.a.error(client), Some(SocketError::ConnectionReset));
    assert_eq!(pair.b.shard().tcp_connections().count(), 0);
    assert_eq!(pair.b.shard().tcp_time_wait(), 0);
}

#[test]
fn closing_without_lingering_resets_the_peer() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let (client, server) = pair.open();
    pair.a.shard_mut().tcp_set_linger(client, Some(Duration::ZERO)).unwrap();
    pair.a.close(client);
    pair.drive_for(ms(100));
    assert_eq!(pair.b.error(server), Some(SocketError::ConnectionReset));
    assert_eq!(pair.a.shard().tcp_time_wait(), 0);
}

#[test]
fn data_for_a_closed_connection_is_answered_with_a_reset() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.close(connection);
    script.expect(tcp().fin().seq(1).ack(1));
    script.inject(tcp().seq(1).ack(2));
    script.inject(tcp().seq(1).ack(2).data(b"too late"));
    script.expect(tcp().rst().seq(2));
    assert_eq!(script.host.counters().drops.tcp_after_close, 1);
    assert_eq!(script.host.shard().tcp_connections().count(), 0);
}

#[test]
fn what_was_written_before_the_close_still_arrives() {
    let mut pair = Pair::builder().latency(ms(10)).loss(0.05).build();
    let (client, server) = pair.open();
    let data = noise(400_000, 1);
    pair.a.send(client, &data);
    pair.a.close(client);
    assert!(pair.drive_until(|pair| pair.b.has_ended(server), secs(120)));
    assert!(pair.b.received(server) == data);
    pair.b.close(server);
    pair.drive_for(secs(70));
    assert_eq!((pair.a.buffers_out(), pair.b.buffers_out()), (0, 0));
}

#[test]
fn a_peer_that_never_closes_does_not_hold_a_closed_connection_for_ever() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.close(connection);
    script.expect(tcp().fin().seq(1).ack(1));
    script.inject(tcp().seq(1).ack(2));
    script.drive_for(secs(55));
    assert_eq!(script.host.shard().tcp_connections().count(), 1);
    script.drive_for(secs(10));
    assert_eq!(script.host.shard().tcp_connections().count(), 0);
}

#[test]
fn a_peer_that_vanishes_does_not_hold_a_closed_connection_for_ever() {
    let mut script = Script::builder().tcp(|tcp| tcp.retries = 8).build();
    let connection = script.open();
    script.host.send(connection, &[0; 10_000]);
    script.host.close(connection);
    script.drive_for(secs(200));
    assert_eq!(script.host.shard().tcp_connections().count(), 0);
    assert_eq!(script.host.buffers_out(), 0);
}

#[test]
fn a_peer_that_rebooted_resets_the_connection_within_a_round_trip() {
    let mut script = Script::new();
    let connection = script.open();
    script.drive_for(secs(3_600));
    script.host.send(connection, b"are you still there?");
    script.expect(tcp().seq(1).ack(1).len(20));
    script.inject(tcp().rst().seq(1));
    assert_eq!(script.host.error(connection), Some(SocketError::ConnectionReset));
    let refused = script.host.shard_mut().tcp_send(connection, b"hello?");
    assert_eq!(refused, Err(SocketError::ConnectionReset));
}

#[test]
fn a_host_that_lost_its_memory_resets_the_peer() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let (client, server) = pair.open();
    // B forgets: its device is unplugged while the connection is reset.
    pair.cut();
    pair.b.abort(server);
    pair.drive_for(secs(1));
    pair.mend();
    pair.a.send(client, b"are you still there?");
    pair.drive_for(ms(50));
    assert_eq!(pair.a.error(client), Some(SocketError::ConnectionReset));
}

#[test]
fn an_abort_tells_the_peer_at_once() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (client, server) = pair.open();
    pair.a.send(client, &noise(100_000, 1));
    pair.drive_for(ms(20));
    pair.a.abort(client);
    pair.drive_for(ms(15));
    assert_eq!(pair.b.error(server), Some(SocketError::ConnectionReset));
    assert_eq!(pair.a.shard().tcp_connections().count(), 0);
    assert_eq!(pair.a.buffers_out(), 0);
}

#[test]
fn an_attempt_that_is_given_up_leaves_nothing() {
    let mut script = Script::new();
    let connection = script.start_connect();
    script.host.close(connection);
    script.expect_silence(secs(10));
    assert_eq!(script.host.shard().tcp_connections().count(), 0);
    script.inject(tcp().syn().seq(0).ack(1));
    script.expect(tcp().rst().seq(1));
}

#[test]
fn what_nobody_wants_to_read_is_acknowledged_and_thrown_away() {
    let mut pair = Pair::builder().latency(ms(5)).build();
    let (client, server) = pair.open();
    pair.b.stop_reading(server);
    pair.b.shard_mut().tcp_shutdown(server, Shutdown::Read).unwrap();
    pair.a.send(client, &noise(2 << 20, 1));
    pair.a.shutdown(client);
    pair.drive_for(secs(10));
    assert_eq!(pair.a.unwritten(client), 0);
    assert_eq!(pair.b.state(server), State::CloseWait);
    assert_eq!(pair.b.buffers_out(), 0);
    pair.b.send(server, b"and I have this to say");
    pair.drive_for(secs(1));
    assert_eq!(pair.a.received(client), b"and I have this to say");
}

#[test]
fn a_thousand_short_connections_leave_nothing_behind() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(1)).build();
    for round in 0..50 {
        let streams: Vec<_> = (0..20).map(|_| pair.open()).collect();
        for (client, server) in streams {
            pair.a.send(client, b"GET / HTTP/1.0\r\n\r\n");
            pair.b.send(server, b"HTTP/1.0 200 OK\r\n\r\nhello");
            if round % 2 == 0 {
                pair.b.close(server)
            } else {
                pair.a.close(client)
            };
            pair.drive_for(ms(4));
            if round % 2 == 0 {
                pair.a.close(client)
            } else {
                pair.b.close(server)
            };
        }
    }
    pair.drive_for(secs(61));
    for host in [&pair.a, &pair.b] {
        assert_eq!(host.shard().tcp_connections().count() + host.shard().tcp_time_wait(), 0);
        assert_eq!(host.buffers_out(), 0);
    }
}

#[test]
fn taking_an_address_away_fails_the_connections_on_it() {
    let mut pair = Pair::builder().latency(ms(1)).build();
    let (client, _server) = pair.open();
    let address = pair.a.address();
    pair.a.remove_address(address);
    pair.drive_for(ms(10));
    assert_eq!(pair.a.error(client), Some(SocketError::AddressLost { address: address.into() }));
    pair.a.add_address(address);
}

#[test]
fn a_failed_device_fails_the_connections_that_need_it() {
    let mut pair = Pair::builder().latency(ms(1)).build();
    let (client, _server) = pair.open();
    pair.a.fail_device();
    pair.drive_for(ms(100));
    assert_eq!(pair.a.error(client), Some(SocketError::NetworkDown));
    let again = pair.b.at(80);
    let refused = pair.a.shard_mut().tcp_connect(again, &Default::default());
    assert_eq!(refused, Err(SocketError::NetworkDown));
}
