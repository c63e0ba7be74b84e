//! Opening a connection (RFC 9293 sections 3.5, 3.10.7.2 to 3.10.7.4).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use sunstar_sim::{Pair, Script, Side, ms, noise, secs, tcp};
use sunstar_stack::{ListenOptions, SocketError, State};
use sunstar_wire::tcp::TcpFlags;

const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

#[test]
fn a_connection_opens_in_one_round_trip_and_a_half() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let listener = pair.b.listen(80);
    let client = pair.a.connect(pair.b.at(80));
    pair.drive_for(ms(19));
    assert_eq!(pair.a.connected(client), Err(SocketError::WouldBlock));
    pair.drive_for(ms(1));
    assert_eq!(pair.a.connected(client), Ok(()));
    assert_eq!(pair.b.try_accept(listener), None);
    pair.drive_for(ms(10));
    let server = pair.b.accept(listener);
    assert_eq!(pair.b.state(server), State::Established);
    assert_eq!((pair.a.counters().tcp.active_opens, pair.b.counters().tcp.passive_opens), (1, 1));
}

#[test]
fn an_answer_offers_what_was_offered_in_the_order_linux_uses() {
    let mut script = Script::new();
    script.host.listen(80);
    script.inject(tcp().syn().seq(0).mss(1_460).sack_ok().ts(77, 0).wscale(7));
    let answer = script.expect(tcp().syn().seq(0).ack(1).mss(1_460).sack_ok());
    assert_eq!(answer.options.order, [2, 4, 8, 1, 3]);
    assert_eq!(answer.options.timestamps.map(|(_, echo)| echo), Some(77));
    assert!(answer.options.window_scale.is_some());
    assert_eq!(answer.window, 65_535, "the window of a SYN is not scaled");
}

#[test]
fn a_question_offers_everything_in_the_order_linux_uses() {
    let mut script = Script::new();
    script.host.connect(SocketAddr::new(PEER.into(), 80));
    let question = script.segment_within(ms(0)).unwrap();
    assert_eq!(question.flags, TcpFlags::SYN);
    assert_eq!(question.options.order, [2, 4, 8, 1, 3]);
    assert_eq!(question.options.mss, Some(1_460));
}

#[test]
fn what_was_not_offered_is_not_answered() {
    let mut script = Script::new();
    script.host.listen(80);
    script.inject(tcp().syn().seq(0));
    let answer = script.expect(tcp().syn().seq(0).ack(1));
    assert_eq!(answer.options.order, [2], "the MSS alone");
}

#[test]
fn a_lost_syn_is_sent_again_later_and_later() {
    let mut script = Script::new();
    let started = script.now();
    let connection = script.start_connect();
    let mut times = Vec::new();
    while let Some(again) = script.segment_within(secs(61)) {
        assert_eq!(again.flags, TcpFlags::SYN);
        assert_eq!(again.seq, 0);
        times.push((script.now() - started).as_secs());
    }
    assert_eq!(times, [1, 3, 7, 15, 31, 63, 123]);
    script.drive_for(secs(60));
    assert!(script.now() - started >= secs(180), "RFC 9293 MUST-23: R2 of a SYN");
    assert_eq!(script.host.error(connection), Some(SocketError::TimedOut));
}

#[test]
fn a_lost_syn_costs_a_second_and_no_more() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    pair.drop_next_from(Side::A, 1);
    let (client, server) = pair.open();
    assert_eq!((pair.a.state(client), pair.b.state(server)), (State::Established, State::Established));
    assert_eq!(pair.now().as_millis(), 1 + 1_000 + 30);
}

#[test]
fn a_lost_answer_is_given_again() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    pair.drop_next_from(Side::B, 1);
    let (client, _) = pair.open();
    assert_eq!(pair.a.state(client), State::Established);
    assert!(pair.now().as_millis() < 1_100);
}

#[test]
fn a_lost_last_acknowledgement_is_made_up_for_by_data() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let listener = pair.b.listen(80);
    let client = pair.a.connect(pair.b.at(80));
    pair.drop_nth(Side::A, 2);
    pair.drive_for(ms(25));
    pair.a.send(client, b"hello");
    pair.drive_for(ms(11));
    let server = pair.b.accept(listener);
    assert_eq!(pair.b.received(server), b"hello");
}

#[test]
fn an_answer_nobody_acknowledges_is_given_up() {
    let mut script = Script::new();
    let listener = script.host.listen(80);
    script.inject(tcp().syn().seq(0));
    script.expect(tcp().syn().seq(0).ack(1));
    let mut again = 0;
    while let Some(answer) = script.segment_within(secs(100)) {
        assert_eq!(answer.flags, TcpFlags::SYN | TcpFlags::ACK);
        again += 1;
    }
    assert_eq!(again, 5);
    script.drive_for(secs(100));
    assert_eq!(script.host.shard().tcp_connections().count(), 0);
    assert_eq!(script.host.try_accept(listener), None);
}

#[test]
fn a_repeated_syn_is_answered_again_with_the_same_number() {
    let mut script = Script::new();
    script.host.listen(80);
    for _ in 0..2 {
        script.inject(tcp().syn().seq(0).mss(1_460));
        script.expect(tcp().syn().seq(0).ack(1));
    }
    assert_eq!(script.host.shard().tcp_connections().count(), 1);
}

#[test]
fn a_refusal_ends_an_attempt_at_once() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let client = pair.a.connect(pair.b.at(81));
    pair.drive_for(ms(41));
    assert_eq!(pair.a.error(client), Some(SocketError::ConnectionRefused));
    assert_eq!(pair.b.counters().drops.tcp_no_connection, 1);
}

#[test]
fn a_closed_port_resets_what_it_gets_but_a_reset() {
    let mut script = Script::new();
    script.inject(tcp().syn().seq(100));
    script.expect(tcp().rst().seq(0).ack(101));
    script.inject(tcp().seq(100).data(b"1234"));
    script.expect(tcp().rst().seq(0).ack(104));
    script.inject(tcp().seq(100).ack(500).data(b"1234"));
    script.expect(tcp().rst().seq(500));
    script.inject(tcp().fin().seq(100).ack(500));
    script.expect(tcp().rst().seq(500));
    script.inject(tcp().rst().seq(100));
    script.inject(tcp().rst().seq(100).ack(500));
    script.expect_silence(secs(5));
}

#[test]
fn a_listener_takes_nothing_but_a_syn() {
    let mut script = Script::new();
    let listener = script.host.listen(80);
    script.inject(tcp().seq(0).ack(77));
    script.expect(tcp().rst().seq(77));
    script.inject(tcp().syn().seq(0).ack(77));
    script.expect(tcp().rst().seq(77));
    script.inject(tcp().rst().seq(0));
    script.inject(tcp().syn().rst().seq(0));
    script.expect_silence(secs(1));
    script.inject(tcp().syn().fin().seq(0));
    script.drive_for(secs(1));
    assert_eq!(script.host.shard().tcp_connections().count(), 0);
    assert_eq!(script.host.try_accept(listener), None);
}

#[test]
fn both_ends_may_open_at_the_same_time() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (at_a, at_b) = (pair.a.at(5_000), pair.b.at(6_000));
    let first = pair.a.connect_from(5_000, at_b);
    let second = pair.b.connect_from(6_000, at_a);
    pair.drive_for(ms(100));
    assert_eq!((pair.a.state(first), pair.b.state(second)), (State::Established, State::Established));
    pair.a.send(first, b"from a");
    pair.b.send(second, b"from b");
    pair.drive_for(ms(100));
    assert_eq!((pair.a.received(first), pair.b.received(second)), (&b"from b"[..], &b"from a"[..]));
}

#[test]
fn a_syn_that_crosses_ours_is_answered_with_both_numbers() {
    let mut script = Script::new();
    let connection = script.start_connect();
    script.inject(tcp().syn().seq(0).mss(1_000));
    script.expect(tcp().syn().seq(0).ack(1));
    assert_eq!(script.host.state(connection), State::SynReceived);
    script.inject(tcp().seq(1).ack(1));
    assert_eq!(script.host.state(connection), State::Established);
    assert_eq!(script.host.connected(connection), Ok(()));
}

#[test]
fn an_answer_to_something_never_asked_is_reset_and_the_attempt_goes_on() {
    let mut script = Script::new();
    let connection = script.start_connect();
    script.inject(tcp().syn().seq(0).ack(500));
    script.expect(tcp().rst().seq(500));
    script.inject(tcp().seq(0).ack(0));
    script.expect(tcp().rst().seq(0));
    assert_eq!(script.host.state(connection), State::SynSent);
    script.inject(tcp().syn().seq(0).ack(1).mss(1_460));
    script.expect(tcp().seq(1).ack(1));
    assert_eq!(script.host.state(connection), State::Established);
}

#[test]
fn a_reset_that_acknowledges_nothing_of_ours_is_ignored_while_opening() {
    let mut script = Script::new();
    let connection = script.start_connect();
    script.inject(tcp().rst().seq(0));
    script.inject(tcp().rst().seq(0).ack(0));
    script.inject(tcp().rst().seq(0).ack(2));
    assert_eq!(script.host.state(connection), State::SynSent);
    script.inject(tcp().rst().seq(0).ack(1));
    assert_eq!(script.host.error(connection), Some(SocketError::ConnectionRefused));
}

#[test]
fn a_wrong_acknowledgement_of_our_answer_is_reset() {
    for wrong in [0, 2, 0x8000_0000] {
        let mut script = Script::new();
        let listener = script.host.listen(80);
        script.inject(tcp().syn().seq(0));
        script.expect(tcp().syn().seq(0).ack(1));
        script.inject(tcp().seq(1).ack(wrong));
        script.expect(tcp().rst().seq(wrong));
        script.inject(tcp().seq(1).ack(1));
        assert!(script.host.try_accept(listener).is_some(), "a stranger's guess changes nothing");
    }
}

#[test]
fn data_with_the_last_acknowledgement_is_delivered() {
    let mut script = Script::new();
    let listener = script.host.listen(80);
    script.inject(tcp().syn().seq(0));
    script.expect(tcp().syn().seq(0).ack(1));
    script.inject(tcp().seq(1).ack(1).data(b"at once"));
    let connection = script.host.accept(listener);
    assert_eq!(script.host.received(connection), b"at once");
}

#[test]
fn a_connection_that_was_written_and_closed_before_it_was_accepted_is_read_whole() {
    let mut script = Script::new();
    let listener = script.host.listen(80);
    script.inject(tcp().syn().seq(0));
    script.expect(tcp().syn().seq(0).ack(1));
    script.inject(tcp().seq(1).ack(1).data(b"all I have to say"));
    script.inject(tcp().fin().seq(18).ack(1));
    script.drive_for(secs(5));
    let connection = script.host.accept(listener);
    assert_eq!(script.host.received(connection), b"all I have to say");
    assert!(script.host.has_ended(connection));
}

#[test]
fn a_connection_reset_before_it_was_accepted_tells_whoever_accepts_it() {
    let mut script = Script::new();
    let listener = script.host.listen(80);
    script.inject(tcp().syn().seq(0));
    script.expect(tcp().syn().seq(0).ack(1));
    script.inject(tcp().seq(1).ack(1));
    script.inject(tcp().rst().seq(1));
    let connection = script.host.accept(listener);
    assert_eq!(script.host.error(connection), Some(SocketError::ConnectionReset));
}

#[test]
fn a_gateway_that_is_gone_fails_a_connection_within_three_seconds() {
    let gone = Ipv4Addr::new(10, 0, 0, 254);
    let mut pair = Pair::builder().host(Side::A, |a| a.gateway = Some(gone)).build();
    let connections: Vec<_> = (0..30).map(|_| pair.a.connect("192.0.2.1:80".parse().unwrap())).collect();
    pair.drive_for(secs(3));
    for connection in connections {
        assert_eq!(pair.a.error(connection), Some(SocketError::HostUnreachable));
    }
    assert!(pair.a.counters().drops.host_unreachable <= 16, "at most 16 packets waited");
    assert_eq!(pair.a.buffers_out(), 0);
}

#[test]
fn without_a_route_a_connection_is_refused_at_once() {
    let mut pair = Pair::builder().build();
    let refused = pair.a.shard_mut().tcp_connect("192.0.2.1:80".parse().unwrap(), &Default::default());
    assert!(matches!(refused, Err(SocketError::NetworkUnreachable { .. })));
}

#[test]
fn an_error_message_about_a_syn_ends_the_attempt_only_if_it_quotes_it() {
    let mut script = Script::new();
    let connection = script.start_connect();
    let isn = script.host_isn().unwrap();
    let quote = |script: &Script, seq: u32| {
        let ports = (script.ports.1, script.ports.0);
        let mut envelope = script.envelope;
        (envelope.source, envelope.destination) = (script.envelope.destination, script.envelope.source);
        let quoted = tcp().syn().seq(seq).frame(&envelope, ports, 0, 0);
        script.envelope.icmp(3, 3, [0; 4], &quoted[14..14 + 28])
    };
    let forged = quote(&script, isn.wrapping_add(5));
    script.inject_frame(&forged);
    assert_eq!(script.host.state(connection), State::SynSent);
    let genuine = quote(&script, isn);
    script.inject_frame(&genuine);
    assert_eq!(script.host.error(connection), Some(SocketError::ConnectionRefused));
}

#[test]
fn an_error_message_does_not_end_an_open_connection() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.send(connection, b"something outstanding");
    let sent = script.expect(tcp().seq(1).ack(1));
    let heard_frame = {
        let mut envelope = script.envelope;
        (envelope.source, envelope.destination) = (script.envelope.destination, script.envelope.source);
        let isn = script.host_isn().unwrap();
        tcp().seq(sent.seq).ack(1).frame(&envelope, (80, 4_000), isn, 0)
    };
    for code in [0, 1, 2, 3, 9, 10, 13] {
        let error = script.envelope.icmp(3, code, [0; 4], &heard_frame[14..14 + 28]);
        script.inject_frame(&error);
    }
    assert_eq!(script.host.state(connection), State::Established);
}

#[test]
fn a_full_accept_queue_takes_no_more_and_recovers() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(1)).build();
    let listener = pair.b.listen_with(80, ListenOptions { backlog: 4, ..ListenOptions::default() });
    let clients: Vec<_> = (0..10).map(|_| pair.a.connect(pair.b.at(80))).collect();
    pair.drive_for(ms(500));
    let mut accepted = 0;
    while pair.b.try_accept(listener).is_some() {
        accepted += 1;
    }
    assert_eq!(accepted, 4);
    pair.drive_for(secs(10));
    while pair.b.try_accept(listener).is_some() {
        accepted += 1;
    }
    pair.drive_for(secs(100));
    while pair.b.try_accept(listener).is_some() {
        accepted += 1;
    }
    assert_eq!(accepted, 10, "who waited got in");
    assert!(clients.iter().all(|client| pair.a.state(*client) == State::Established));
}

#[test]
fn closing_a_listener_resets_who_was_not_accepted() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(1)).build();
    let listener = pair.b.listen(80);
    let client = pair.a.connect(pair.b.at(80));
    pair.drive_for(ms(10));
    pair.b.close_listener(listener);
    pair.drive_for(ms(10));
    assert_eq!(pair.a.error(client), Some(SocketError::ConnectionReset));
    assert_eq!(pair.b.shard().tcp_connections().count(), 0);
}

#[test]
fn source_ports_towards_different_ends_have_nothing_in_common() {
    let mut pair = Pair::builder().without_ethernet().build();
    let ports: Vec<i32> = (1..=100)
        .map(|port| {
            let client = pair.a.connect(pair.b.at(port));
            pair.a.shard().tcp_local_addr(client).unwrap().port().into()
        })
        .collect();
    assert!(ports.iter().all(|port| (32_768..=60_999).contains(port)));
    let steps: BTreeSet<i32> = ports.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(steps.len() > 90, "RFC 6056: unpredictable from outside");
}

#[test]
fn source_ports_towards_one_end_are_not_used_twice() {
    let mut pair = Pair::builder().without_ethernet().build();
    pair.b.listen(80);
    let ports: BTreeSet<u16> = (0..500)
        .map(|_| {
            let client = pair.a.connect(pair.b.at(80));
            pair.a.shard().tcp_local_addr(client).unwrap().port()
        })
        .collect();
    assert_eq!(ports.len(), 500);
}

#[test]
fn initial_numbers_of_different_connections_have_nothing_in_common() {
    let mut script = Script::new();
    script.host.listen(80);
    let mut numbers = Vec::new();
    for port in 1_000..1_100 {
        script.ports.0 = port;
        script.inject(tcp().syn().seq(0));
        script.expect(tcp().syn().seq(0).ack(1));
        numbers.push(script.host_isn().unwrap());
    }
    let mut steps: Vec<u32> = numbers.windows(2).map(|two| two[1].wrapping_sub(two[0])).collect();
    steps.sort_unstable();
    steps.dedup();
    assert_eq!(steps.len(), 99);
    let upper = numbers.iter().filter(|number| **number > u32::MAX / 2).count();
    assert!((25..75).contains(&upper), "{upper}");
}

#[test]
fn a_tuple_and_a_port_have_one_owner() {
    let mut pair = Pair::builder().without_ethernet().build();
    let listener = pair.b.listen(80);
    let to = pair.b.at(80);
    let again = pair.b.shard_mut().tcp_listen("0.0.0.0:80".parse().unwrap(), &Default::default());
    assert!(matches!(again, Err(SocketError::AddressInUse { .. })));
    pair.a.connect_from(5_000, to);
    pair.drive_for(ms(10));
    let local = Some(pair.a.at(5_000));
    let taken = pair.a.shard_mut().tcp_connect(to, &sunstar_stack::ConnectOptions { local });
    assert!(matches!(taken, Err(SocketError::AddressInUse { .. })));
    assert!(pair.b.try_accept(listener).is_some());
}

#[test]
fn connections_are_capped_and_said_to_be() {
    let mut pair = Pair::builder().without_ethernet().config(|config| config.tcp.max_connections = 5).build();
    pair.b.listen(80);
    for _ in 0..5 {
        pair.a.connect(pair.b.at(80));
    }
    let to = pair.b.at(80);
    let refused = pair.a.shard_mut().tcp_connect(to, &Default::default());
    assert_eq!(refused, Err(SocketError::TooManyConnections { limit: 5 }));
}

#[test]
fn a_host_connects_to_itself() {
    for address in [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::LOCALHOST] {
        let mut pair = Pair::builder().build();
        let listener = pair.a.listen(80);
        let client = pair.a.connect(SocketAddr::new(address.into(), 80));
        pair.drive_for(ms(1));
        let server = pair.a.accept(listener);
        let data = noise(1 << 20, 1);
        pair.a.send(client, &data);
        pair.a.shutdown(client);
        assert!(pair.drive_until(|pair| pair.a.has_ended(server), secs(10)));
        assert!(pair.a.received(server) == data);
        assert_eq!(pair.trace.frames(), 0);
    }
}

#[test]
fn the_data_of_a_syn_that_came_again_before_the_device_took_an_answer_is_acknowledged() {
    let mut script = Script::new();
    let connection = script.start_connect();
    script.host.stall();
    script.inject(tcp().syn().fin().seq(0).ack(1).data(&[7; 100]));
    script.inject(tcp().syn().fin().seq(0));
    script.host.resume();
    script.settle();
    script.expect(tcp().seq(1).ack(102));
    assert_eq!(script.host.state(connection), State::CloseWait);
    assert_eq!(script.host.received(connection), [7; 100]);
}
