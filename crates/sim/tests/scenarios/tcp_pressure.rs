//! No room at the device, no buffers, many connections: nobody builds what cannot go, nothing grows, and what can go on
//! goes on.

use std::cell::RefCell;
use std::rc::Rc;

use sunstar_packet::PoolConfig;
use sunstar_sim::decode::{Body, Segment, Transport};
use sunstar_sim::{Pair, Script, Side, ms, noise, secs, tcp};

#[test]
fn with_the_device_stalled_a_thousand_writers_build_nothing_and_hold_no_more() {
    const WRITERS: usize = 1_000;
    let mut pair = Pair::builder()
        .without_ethernet()
        .latency(ms(5))
        .config(|config| (config.tcp.send_buffer, config.tcp.receive_buffer) = (16 << 10, 64 << 10))
        .each(|host| host.pool = PoolConfig::default())
        .build();
    let streams: Vec<_> = (0..WRITERS).map(|_| pair.open()).collect();
    for (client, _) in &streams {
        pair.a.send(*client, &[1; 10_000]);
    }
    pair.drive_for(secs(2));
    pair.a.stall();
    for (client, _) in &streams {
        pair.a.send(*client, &noise(100_000, 7));
    }
    // The other end goes on talking meanwhile: what is to be acknowledged changes.
    for (_, server) in &streams {
        pair.b.send(*server, &[2; 500]);
    }
    pair.drive_for(secs(1));
    let before = (pair.a.counters().tcp.segments_built, pair.a.buffers_out());
    pair.drive_for(secs(15));
    assert_eq!((pair.a.counters().tcp.segments_built, pair.a.buffers_out()), before);
    // Some read, some do not: the first segment afterwards has to tell of it.
    pair.drive_for(secs(15));
    assert_eq!((pair.a.counters().tcp.segments_built, pair.a.buffers_out()), before);
    let first: Rc<RefCell<Vec<Segment>>> = Rc::default();
    let seen = first.clone();
    pair.drop_if(move |side, frame| {
        if let (Side::A, Body::Ip(_, Transport::Tcp(segment))) = (side, &frame.body)
            && seen.borrow().len() < WRITERS
        {
            seen.borrow_mut().push(segment.clone());
        }
        false
    });
    pair.a.resume();
    pair.drive_for(ms(1));
    let first = first.borrow();
    assert_eq!(first.len(), WRITERS);
    let mut of_each = std::collections::BTreeSet::new();
    for segment in first.iter().filter(|segment| of_each.insert(segment.source)) {
        let key = streams.iter().find(|(client, _)| {
            pair.a.info(*client).unwrap().local == std::net::SocketAddr::V4(segment.source)
        });
        let (client, server) = *key.unwrap();
        let (here, there) = (pair.a.info(client).unwrap(), pair.b.info(server).unwrap());
        assert_eq!(there.send_queue, 500, "not acknowledged before");
        assert_eq!(u32::from(segment.window) << here.rcv_scale, here.rcv_wnd, "the window of this instant");
        assert!(!segment.payload.is_empty(), "with data, and the acknowledgement of this instant");
    }
    pair.drive_for(secs(30));
    for (client, server) in &streams {
        assert_eq!(pair.b.received(*server).len(), 110_000);
        assert_eq!(pair.a.received(*client).len(), 500);
    }
}

#[test]
fn the_first_segment_after_a_stall_says_what_is_true_then() {
    let mut script = Script::new();
    let connection = script.open();
    script.host.stop_reading(connection);
    script.host.stall();
    script.host.send(connection, b"written at the beginning");
    script.drive_for(ms(10));
    for at in 0..10 {
        script.inject(tcp().seq(1 + at * 1_000).ack(1).data(&[0; 1_000]));
    }
    script.drive_for(secs(30));
    assert_eq!(script.host.read_some(connection, 4_000), 4_000);
    script.host.resume();
    let first = script.expect(tcp().seq(1).ack(10_001).data(b"written at the beginning"));
    let info = script.host.info(connection).unwrap();
    assert_eq!(u32::from(first.window), info.rcv_wnd);
    assert!(first.window > 55_535, "more was read than at the last arrival: {}", first.window);
}

#[test]
fn a_stall_is_no_loss_and_backs_nothing_off() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (client, server) = pair.open();
    pair.a.send(client, &noise(50_000, 1));
    pair.drive_for(secs(1));
    pair.a.stall();
    pair.a.send(client, &noise(50_000, 2));
    pair.drive_for(secs(30));
    pair.a.resume();
    pair.drive_for(ms(200));
    assert_eq!(pair.b.received(server).len(), 100_000);
    let tcp = pair.a.counters().tcp;
    assert_eq!((tcp.timeouts, tcp.retransmissions), (0, 0));
}

#[test]
fn a_receiver_whose_device_is_stalled_acknowledges_once_when_it_may() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (client, server) = pair.open();
    pair.drive_for(secs(1));
    pair.b.stall();
    pair.a.send(client, &noise(10_000, 1));
    pair.drive_for(secs(2));
    let built = pair.b.counters().tcp.segments_built;
    pair.b.resume();
    pair.drive_for(ms(100));
    assert!(pair.b.counters().tcp.segments_built - built <= 12);
    assert_eq!(pair.b.received(server).len(), 10_000);
    assert_eq!(pair.a.info(client).unwrap().flight, 0);
}

#[test]
fn writers_that_use_up_the_buffers_leave_enough_to_go_on() {
    let mut pair = Pair::builder()
        .without_ethernet()
        .latency(ms(1))
        .each(|host| {
            host.pool =
                PoolConfig { small_count: 512, staging_count: 16, max_loans: 1_024, ..PoolConfig::default() };
        })
        .build();
    let streams: Vec<_> = (0..20).map(|_| pair.open()).collect();
    for (number, (client, server)) in streams.iter().enumerate() {
        pair.a.send(*client, &noise(200_000, number as u64));
        pair.b.send(*server, &noise(100_000, 1_000 + number as u64));
    }
    let done = pair.drive_until(
        |pair| {
            let all = |(client, server): &(_, _)| {
                pair.b.received(*server).len() == 200_000 && pair.a.received(*client).len() == 100_000
            };
            streams.iter().all(all)
        },
        secs(600),
    );
    assert!(done);
    for (number, (client, server)) in streams.iter().enumerate() {
        assert!(pair.b.received(*server) == noise(200_000, number as u64));
        assert!(pair.a.received(*client) == noise(100_000, 1_000 + number as u64));
    }
}

#[test]
fn readers_that_stop_and_hold_every_buffer_are_served_when_they_read() {
    let mut pair = Pair::builder()
        .without_ethernet()
        .latency(ms(1))
        .each(|host| {
            host.pool =
                PoolConfig { small_count: 512, staging_count: 16, max_loans: 1_024, ..PoolConfig::default() };
        })
        .build();
    let streams: Vec<_> = (0..10).map(|_| pair.open()).collect();
    for (client, server) in &streams {
        pair.b.stop_reading(*server);
        pair.a.send(*client, &noise(300_000, 3));
    }
    pair.drive_for(secs(20));
    for (_, server) in &streams {
        pair.b.start_reading(*server);
    }
    let done = pair.drive_until(
        |pair| streams.iter().all(|(_, server)| pair.b.received(*server).len() == 300_000),
        secs(900),
    );
    assert!(done);
}

#[test]
fn bulk_does_not_starve_an_echo() {
    let mut pair =
        Pair::builder().without_ethernet().latency(ms(1)).bandwidth(10_000_000).ring(8).offloads().build();
    let streams: Vec<_> = (0..10).map(|_| pair.open()).collect();
    for (client, _) in &streams {
        pair.a.send(*client, &noise(2 << 20, 1));
    }
    pair.drive_for(secs(1));
    let started = pair.now();
    let echo = pair.a.ping(pair.b.address(), 56);
    assert!(pair.drive_until(|pair| pair.b.counters().control.echo_answered == 1, secs(5)));
    let took = pair.now() - started;
    assert!(took < ms(900), "behind the eight frames on the ring, not behind all: {took:?}");
    pair.drive_for(secs(1));
    assert_eq!(pair.a.pongs(echo).len(), 1);
}

#[test]
fn connections_share_a_slow_device_evenly() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(5)).bandwidth(10_000_000).ring(16).build();
    let streams: Vec<_> = (0..8).map(|_| pair.open()).collect();
    for (client, _) in &streams {
        pair.a.send(*client, &noise(2 << 20, 1));
    }
    pair.drive_for(secs(5));
    let received: Vec<usize> = streams.iter().map(|(_, server)| pair.b.received(*server).len()).collect();
    let (least, most) = (received.iter().min().unwrap(), received.iter().max().unwrap());
    assert!(*least * 10 > *most * 7, "{received:?}");
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(1)).build();
    for _ in 0..50 {
        let (client, server) = pair.open();
        pair.a.send(client, b"question");
        pair.b.send(server, b"answer");
    }
    pair.drive_for(secs(1));
    assert_eq!((pair.a.buffers_out(), pair.b.buffers_out()), (0, 0));
    assert!(pair.a.shard().tcp_connections().all(|info| info.memory == 0));
}
