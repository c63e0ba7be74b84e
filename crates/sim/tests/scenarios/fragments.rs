//! Datagrams larger than the MTU: cut when they leave, put together when they arrive (RFC 791, RFC 815, RFC 1122 section
//! 3.3.2), and what is not complete in time.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use sunstar_sim::decode::{Body, Transport};
use sunstar_sim::{Pair, Script, Side, ms, noise, secs};
use sunstar_stack::random::Random;
use sunstar_wire::Protocol;

/// Changes an order, the same way each time.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut random = Random::from_seed(seed);
    (1..items.len()).rev().for_each(|last| items.swap(last, random.below(last as u64 + 1) as usize));
}

#[test]
fn datagrams_of_every_size_cross_every_mtu() {
    for mtu in [576, 1_279, 1_280, 1_499, 1_500, 9_000] {
        let mut pair = Pair::builder().mtu(mtu).latency(ms(1)).build();
        let (server, client) = (pair.b.udp_bind(53), pair.a.udp_bind(0));
        for len in [mtu - 29, mtu - 28, mtu - 27, 2 * mtu, 9_999, 60_000, 65_507] {
            let data = noise(len, mtu as u64);
            pair.a.udp_send(client, pair.b.at(53), &data);
            pair.drive();
            let mut received = pair.b.udp_recv_all(server);
            let (from, payload) = received.remove(0);
            assert!(payload == data && received.is_empty(), "{len} bytes over an MTU of {mtu}");
            pair.b.udp_send(server, from, &payload);
            pair.drive();
            assert!(pair.a.udp_recv_all(client).remove(0).1 == data, "and back");
        }
        let counters = *pair.a.counters();
        assert_eq!(counters.reassembly.reassembled, counters.reassembly.fragmented);
        assert_eq!(counters.drops.total(), 0);
    }
}

#[test]
fn an_echo_of_any_size_comes_back_with_its_data() {
    for (mtu, len) in [(1_500, 1_473), (1_500, 60_000), (576, 65_507)] {
        let mut pair = Pair::builder().mtu(mtu).latency(ms(5)).build();
        let socket = pair.a.ping(pair.b.address(), len);
        pair.drive();
        let pongs = pair.a.pongs(socket);
        let data: Vec<u8> = (0..len).map(|at| at as u8).collect();
        assert!(pongs.len() == 1 && pongs[0].payload.to_vec() == data, "{len} bytes over an MTU of {mtu}");
    }
}

#[test]
fn a_datagram_waits_whole_for_its_neighbour() {
    let mut pair = Pair::builder().latency(ms(50)).build();
    let (server, client) = (pair.b.udp_bind(53), pair.a.udp_bind(0));
    let data = noise(60_000, 1);
    pair.a.udp_send(client, pair.b.at(53), &data);
    pair.drive();
    assert!(pair.b.udp_recv_all(server).remove(0).1 == data, "41 fragments, and only 16 packets may wait");
}

#[test]
fn a_ring_of_four_frames_takes_a_large_datagram_bit_by_bit() {
    let mut pair = Pair::builder().ring(4).bandwidth(10_000_000).latency(ms(1)).build();
    let (server, client) = (pair.b.udp_bind(53), pair.a.udp_bind(0));
    let data = noise(60_000, 2);
    for _ in 0..3 {
        pair.a.udp_send(client, pair.b.at(53), &data);
    }
    pair.drive_for(ms(20));
    let sent = pair.a.counters().reassembly;
    assert!(sent.fragments_sent > 4 && sent.fragments_sent < 41, "built as there is room: {sent:?}");
    pair.drive();
    assert_eq!(pair.b.udp_recv_all(server).len(), 3);
}

#[test]
fn a_writer_s_credit_comes_back_when_the_last_fragment_has_left() {
    let mut pair = Pair::builder().config(|config| config.udp.send_buffer = 1).build();
    let client = pair.a.udp_bind(0);
    pair.a.udp_send(client, pair.b.at(53), b"so that the neighbour is known");
    pair.drive();
    pair.a.stall();
    pair.a.udp_send(client, pair.b.at(53), &noise(60_000, 3));
    pair.drive_for(secs(1));
    assert!(pair.a.try_udp_send(client, pair.b.at(53), b"more").is_err(), "nothing has left yet");
    pair.a.resume();
    pair.drive();
    assert!(pair.a.try_udp_send(client, pair.b.at(53), b"more").is_ok());
}

#[test]
fn a_lost_device_takes_what_was_half_sent_and_keeps_nothing() {
    let mut pair = Pair::builder().ring(4).bandwidth(1_000_000).build();
    let client = pair.a.udp_bind(0);
    pair.a.udp_send(client, pair.b.at(53), &noise(60_000, 4));
    pair.drive_for(ms(30));
    assert!(pair.a.counters().reassembly.fragments_sent > 0);
    pair.a.fail_device();
    pair.drive_for(secs(1));
    // The pair looks after every buffer at its end.
}

#[test]
fn fragments_in_any_order_and_more_than_once_come_to_the_same_datagram() {
    let mut script = Script::new();
    let socket = script.host.udp_bind(53);
    let data = noise(60_000, 5);
    let frame = script.envelope.udp(1_000, 53, &data);
    for (number, twice) in [(0, false), (1, false), (2, false), (3, true), (4, true)] {
        let mut fragments = script.envelope.cut(&frame, 1_500, number);
        if twice {
            fragments.extend(fragments[..40].to_vec());
        }
        match number {
            0 => {}
            1 => fragments.reverse(),
            _ => shuffle(&mut fragments, number.into()),
        }
        fragments.iter().for_each(|fragment| script.inject_frame(fragment));
        let received = script.host.udp_recv_all(socket);
        assert!(received.len() == 1 && received[0].1 == data, "order {number}");
    }
    script.drive_for(secs(31));
    assert_eq!(script.host.buffers_out(), 0, "what came behind its datagram is gone, too");
}

#[test]
fn fifty_sources_at_a_time_are_not_mixed() {
    let mut script = Script::new();
    let socket = script.host.udp_bind(53);
    let sources: Vec<_> = (0..50).map(|last| Ipv4Addr::new(10, 0, 0, 100 + last)).collect();
    let mut all = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let envelope = script.envelope.from_address(*source);
        all.extend(envelope.cut(&envelope.udp(1_000, 53, &noise(8_000, at as u64)), 1_500, 7));
    }
    shuffle(&mut all, 6);
    all.iter().for_each(|fragment| script.inject_frame(fragment));
    let mut received = script.host.udp_recv_all(socket);
    received.sort_by_key(|(from, _)| *from);
    assert_eq!(received.len(), 50);
    for (at, (from, payload)) in received.into_iter().enumerate() {
        assert!(from.ip() == sources[at] && payload == noise(8_000, at as u64));
    }
}

#[test]
fn a_damaged_datagram_is_dropped_when_it_is_whole() {
    let mut script = Script::new();
    let socket = script.host.udp_bind(53);
    let mut fragments = script.envelope.cut(&script.envelope.udp(1_000, 53, &noise(4_000, 7)), 1_500, 1);
    let damaged = &mut fragments[1];
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fragments.iter().for_each(|fragment| script.inject_frame(fragment));
    assert!(script.host.udp_recv_all(socket).is_empty());
    assert_eq!(script.host.counters().drops.bad_checksum, 1);
}

#[test]
fn what_is_not_whole_in_time_is_answered_if_its_beginning_was_there() {
    let mut script = Script::new();
    let fragments = script.envelope.cut(&script.envelope.udp(1_000, 53, &noise(4_000, 8)), 1_500, 1);
    script.inject_frame(&fragments[0]);
    let group = script.envelope.to_address(Ipv4Addr::BROADCAST);
    script.inject_frame(&group.cut(&group.udp(1_000, 53, &noise(4_000, 8)), 1_500, 2)[0]);
    script.inject_frame(&script.envelope.cut(&script.envelope.udp(1, 2, &noise(4_000, 8)), 1_500, 3)[1]);
    script.expect_silence(ms(29_900));
    script.drive_for(ms(200));
    // RFC 792: time exceeded in reassembly, with the header and eight bytes at least of the first fragment.
    let quote = script.expect_icmp(11, 1);
    assert!(quote.len() >= 28 && fragments[0][14..].starts_with(&quote));
    script.expect_silence(secs(10));
    assert_eq!(script.host.counters().drops.reassembly_timeout, 3);
    assert_eq!(script.host.buffers_out(), 0);
}

#[test]
fn an_answer_of_many_pieces_goes_to_the_device_in_few() {
    let mut script = Script::builder().host(|host| host.mtu = 9_000).build();
    let frame = script.envelope.icmp(8, 0, [0, 1, 0, 1], &noise(8_000, 11));
    script.envelope.cut(&frame, 1_500, 1).iter().for_each(|fragment| script.inject_frame(fragment));
    assert_eq!(script.expect_icmp(0, 0), noise(8_000, 11));
}

#[test]
fn a_tcp_header_cut_in_two_is_refused() {
    let mut script = Script::new();
    script.open();
    // RFC 1858, RFC 3128: ports in the first fragment, flags in the second, to slip through a filter.
    let frame = script.envelope.ip(Protocol::TCP, &noise(40, 9));
    script.envelope.cut(&frame, 28, 1).iter().for_each(|fragment| script.inject_frame(fragment));
    script.expect_silence(secs(1));
    assert_eq!(script.host.counters().drops.malformed, 3, "all that has a part of the header");
}

#[test]
fn the_numbers_of_datagrams_that_are_cut_do_not_follow_each_other() {
    let mut pair = Pair::builder().build();
    let client = pair.a.udp_bind(0);
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let noted = std::rc::Rc::clone(&seen);
    pair.drop_if(move |side, frame| {
        if let (Side::A, Body::Ip(ip, Transport::Fragment)) = (side, &frame.body)
            && ip.fragment_offset == 0
        {
            noted.borrow_mut().push(ip.identification);
        }
        false
    });
    for _ in 0..200 {
        pair.a.udp_send(client, pair.b.at(53), &[0; 2_000]);
        pair.drive();
    }
    let seen = seen.borrow();
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (200, 200));
    let steps: BTreeSet<_> = seen.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert!(steps.len() > 190, "{}", steps.len());
}
