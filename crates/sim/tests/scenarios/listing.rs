//! What a shard says of its sockets when it is asked for all of them.

use sunstar_sim::{Pair, ms, noise, secs};
use sunstar_stack::{ListenOptions, SocketCounts, State, TcpTimers};

#[test]
fn a_connection_counts_the_bytes_it_has_sent_and_received_each_once_whatever_was_lost() {
    let mut pair = Pair::builder().latency(ms(5)).loss(0.05).build();
    let (client, server) = pair.open();
    pair.a.send(client, &noise(300_000, 1));
    pair.b.send(server, &noise(1_000, 2));
    let done =
        |pair: &Pair| pair.b.received(server).len() == 300_000 && pair.a.received(client).len() == 1_000;
    assert!(pair.drive_until(done, secs(60)));
    let (a, b) = (pair.a.info(client).unwrap(), pair.b.info(server).unwrap());
    assert!(a.retransmissions > 0, "something was lost");
    assert_eq!((a.bytes_sent, a.bytes_received), (300_000, 1_000));
    assert_eq!((b.bytes_sent, b.bytes_received), (1_000, 300_000));
}

#[test]
fn the_timer_that_runs_is_told_with_the_time_that_is_left() {
    let mut pair = Pair::builder().latency(ms(5)).build();
    let (client, _) = pair.open();
    pair.drive_for(secs(1));
    assert_eq!(pair.a.info(client).unwrap().timers, TcpTimers::default(), "nothing to wait for");
    pair.cut();
    pair.a.send(client, b"is there anybody?");
    pair.drive_for(ms(1));
    let before = pair.a.info(client).unwrap();
    let due = before.timers.retransmit_us.expect("it runs");
    assert!(due <= before.rto_us && before.timers.persist_us.is_none(), "{before:?}");
    pair.drive_for(ms(2 * due / 1_000));
    let after = pair.a.info(client).unwrap();
    assert!(after.backoff > 0 && after.timers.retransmit_us > Some(due), "it was doubled: {after:?}");
}

#[test]
fn every_socket_is_listed_with_its_kind_and_what_waits_in_it() {
    let mut pair = Pair::builder().build();
    let listener = pair.b.listen_with(80, ListenOptions { backlog: 3, ..ListenOptions::default() });
    let to = pair.b.at(80);
    for _ in 0..2 {
        pair.a.connect(to);
    }
    let (from, at) = (pair.a.udp_bind(1_000), pair.b.udp_bind(53));
    let name = pair.b.at(53);
    pair.a.udp_send(from, name, b"who?");
    pair.a.ping(pair.b.at(0).ip().to_string().parse().unwrap(), 10);
    pair.drive_for(ms(100));
    let b = pair.b.shard();
    let counts = SocketCounts { connections: 2, time_wait: 0, listeners: 1, udp: 1, echo: 0 };
    assert_eq!(b.socket_counts(), counts);
    let [listening] = b.tcp_listeners().collect::<Vec<_>>()[..] else { panic!("one listener") };
    assert_eq!(
        (listening.local.port(), listening.backlog, listening.queued, listening.half_open),
        (80, 3, 2, 0)
    );
    assert!(b.tcp_list().all(|it| it.state == State::Established && it.local == to));
    let [udp] = b.udp_sockets().collect::<Vec<_>>()[..] else { panic!("one UDP socket") };
    assert_eq!((udp.local.port(), udp.remote, udp.datagrams, udp.send_queue), (53, None, 1, 0));
    assert!(udp.receive_queue >= 4);
    assert_eq!(pair.a.shard().echo_sockets().map(|it| it.replies).collect::<Vec<_>>(), [1]);
    pair.b.udp_close(at);
    pair.b.close_listener(listener);
    assert_eq!((pair.b.shard().udp_sockets().count(), pair.b.shard().tcp_listeners().count()), (0, 0));
    assert_eq!(pair.b.shard().tcp_list().count(), 0, "what was not accepted is over");
}
