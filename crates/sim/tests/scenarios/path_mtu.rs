//! Paths that take less than the devices do: routers that say so (RFC 1191), and black holes where nobody does
//! (RFC 8899).

use std::net::{IpAddr, Ipv4Addr};

use sunstar_sim::{Pair, Side, ms, noise, secs};
use sunstar_stack::time::Duration;
use sunstar_stack::{ConnectionKey, EchoRequest, PathMtuSource, SocketError, UdpTransmit};

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const LEN: usize = 300_000;

/// From now on the path from A takes so much. The router there names an MTU, or nobody says anything.
fn narrow(pair: &mut Pair, mtu: usize, says: Option<u16>) {
    let link = pair.from_side(Side::A);
    (link.black_hole, link.too_big) = (Some(mtu), says.map(|mtu| (ROUTER, mtu)));
}

fn widen(pair: &mut Pair) {
    let link = pair.from_side(Side::A);
    (link.black_hole, link.too_big) = (None, None);
}

/// A sends so much; how long that took.
fn transfer(pair: &mut Pair, (client, server): (ConnectionKey, ConnectionKey), len: usize) -> Duration {
    let started = pair.now();
    let data = noise(len, 7);
    pair.a.send(client, &data);
    let arrived = pair.drive_until(|pair| pair.b.received(server).len() == len, secs(120));
    assert!(arrived, "{} of {len}", pair.b.received(server).len());
    assert!(pair.b.take_received(server) == data, "intact");
    let took = pair.now() - started;
    // The last acknowledgement comes back.
    pair.drive_for(ms(100));
    took
}

fn mss(pair: &Pair, connection: ConnectionKey) -> u16 {
    pair.a.info(connection).expect("an open connection").mss
}

fn known(pair: &Pair) -> Vec<(IpAddr, u16, PathMtuSource)> {
    pair.a.shard().path_mtus().map(|it| (it.destination, it.mtu, it.source)).collect()
}

fn by_icmp(pair: &Pair, mtu: u16) -> Vec<(IpAddr, u16, PathMtuSource)> {
    vec![(pair.b.address().into(), mtu, PathMtuSource::Icmp)]
}

#[test]
fn a_router_is_believed_and_what_it_dropped_goes_again_at_once_without_a_congestion_response() {
    for (sack, timestamps) in [(true, true), (false, true), (true, false), (false, false)] {
        let mut pair = Pair::builder()
            .latency(ms(10))
            .config(|config| (config.tcp.sack, config.tcp.timestamps) = (sack, timestamps))
            .build();
        narrow(&mut pair, 1_400, Some(1_400));
        let (client, server) = pair.open();
        let took = transfer(&mut pair, (client, server), LEN);
        assert!(took < ms(300), "a round trip more than otherwise: {took:?}");
        assert_eq!(mss(&pair, client), 1_360);
        assert_eq!(known(&pair), by_icmp(&pair, 1_400));
        let info = pair.a.info(client).unwrap();
        assert!(info.ssthresh > 1 << 29 && info.cwnd > LEN as u32 / 2, "slow start goes on: {info:?}");
        let counters = pair.a.counters();
        assert_eq!((counters.tcp.timeouts, counters.tcp.fast_recoveries), (0, 0));
        assert_eq!(counters.control.too_big_believed, 1, "one of a window");
        assert_eq!(counters.tcp.retransmissions, (10 * 1_448_u64).div_ceil(1_348), "the window, cut anew");
    }
}

#[test]
fn a_device_that_cuts_segments_is_given_the_smaller_size_too() {
    let mut pair = Pair::builder().latency(ms(10)).offloads().build();
    narrow(&mut pair, 1_400, Some(1_400));
    let (client, server) = pair.open();
    let took = transfer(&mut pair, (client, server), LEN);
    assert!(took < ms(300), "{took:?}");
    assert_eq!((mss(&pair, client), pair.a.counters().tcp.timeouts), (1_360, 0));
}

#[test]
fn a_router_that_names_no_mtu_is_answered_with_the_next_plateau() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    narrow(&mut pair, 1_200, Some(0));
    let (client, server) = pair.open();
    let took = transfer(&mut pair, (client, server), LEN);
    assert!(took < ms(400), "{took:?}");
    assert_eq!(known(&pair), by_icmp(&pair, 1_006), "from 1500 to 1492 to 1006");
    assert_eq!((mss(&pair, client), pair.a.counters().tcp.timeouts), (966, 0));
}

#[test]
fn what_one_connection_has_learnt_the_next_one_knows_and_its_offer_stays_what_the_device_takes() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    narrow(&mut pair, 1_400, Some(1_400));
    let first = pair.open();
    transfer(&mut pair, first, LEN);
    let dropped = pair.link_counters(Side::A).too_long;
    let (client, server) = pair.open();
    transfer(&mut pair, (client, server), LEN);
    assert_eq!(pair.link_counters(Side::A).too_long, dropped);
    // RFC 1191 section 3.1: the path there says nothing about the path back.
    assert_eq!(pair.b.info(server).unwrap().mss, 1_460);
}

#[test]
fn connections_that_are_open_already_go_by_what_another_has_learnt() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let (first, second) = (pair.open(), pair.open());
    narrow(&mut pair, 1_400, Some(1_400));
    transfer(&mut pair, first, LEN);
    let dropped = pair.link_counters(Side::A).too_long;
    transfer(&mut pair, second, LEN);
    assert_eq!(mss(&pair, second.0), 1_360);
    assert_eq!(pair.link_counters(Side::A).too_long, dropped);
}

#[test]
fn a_path_that_narrows_is_believed_after_one_timeout() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let (client, server) = pair.open();
    transfer(&mut pair, (client, server), LEN);
    narrow(&mut pair, 1_400, Some(1_400));
    let took = transfer(&mut pair, (client, server), LEN);
    assert!(took < secs(2), "{took:?}");
    assert_eq!(known(&pair), by_icmp(&pair, 1_400));
    assert_eq!((mss(&pair, client), pair.a.counters().tcp.timeouts), (1_360, 1));
}

#[test]
fn when_what_was_learnt_is_old_larger_segments_are_tried_again() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    narrow(&mut pair, 1_400, Some(1_400));
    let (client, server) = pair.open();
    transfer(&mut pair, (client, server), LEN);
    widen(&mut pair);
    pair.drive_for(secs(590));
    transfer(&mut pair, (client, server), LEN);
    assert_eq!(mss(&pair, client), 1_360, "not yet");
    pair.drive_for(secs(11));
    assert_eq!(known(&pair), []);
    transfer(&mut pair, (client, server), LEN);
    assert_eq!(mss(&pair, client), 1_460);
    let tcp = pair.a.counters().tcp;
    assert_eq!((tcp.path_probes_sent, tcp.path_probes_acknowledged, tcp.timeouts), (1, 1, 0));
}

#[test]
fn a_router_that_still_says_so_costs_one_segment_and_no_congestion_response() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    narrow(&mut pair, 1_400, Some(1_400));
    let (client, server) = pair.open();
    transfer(&mut pair, (client, server), LEN);
    let dropped = pair.link_counters(Side::A).too_long;
    pair.drive_for(secs(601));
    let took = transfer(&mut pair, (client, server), 2 * LEN);
    assert!(took < ms(400), "{took:?}");
    assert_eq!(pair.link_counters(Side::A).too_long, dropped + 1);
    assert_eq!((mss(&pair, client), known(&pair)), (1_360, by_icmp(&pair, 1_400)));
    let (info, tcp) = (pair.a.info(client).unwrap(), pair.a.counters().tcp);
    assert!(info.ssthresh > 1 << 29, "{info:?}");
    assert_eq!((tcp.timeouts, tcp.fast_recoveries, tcp.path_probes_sent, tcp.path_probes_lost), (0, 0, 1, 1));
    assert_eq!(tcp.black_holes, 0, "somebody says so");
}

#[test]
fn a_datagram_that_is_too_large_for_its_path_is_refused_once_a_router_has_said_so() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    narrow(&mut pair, 1_400, Some(1_400));
    let socket = pair.a.udp_bind(0);
    pair.a.shard_mut().udp_set_fragmentation(socket, false).unwrap();
    let to = pair.b.at(9);
    pair.a.udp_send(socket, to, &[1; 1_472]);
    pair.drive_for(ms(100));
    let refused = pair.a.try_udp_send(socket, to, &[1; 1_373]);
    assert_eq!(refused, Err(SocketError::MessageTooLong { len: 1_373, limit: 1_372 }));
    pair.a.udp_send(socket, to, &[1; 1_372]);
    // Whoever looks for the MTU itself is not held up by what routers say.
    let probe = UdpTransmit { destination: Some(to), probe: true, ..UdpTransmit::default() };
    pair.a.shard_mut().udp_send(socket, &probe, &[1; 1_472]).unwrap();
    let refused = pair.a.shard_mut().udp_send(socket, &probe, &[1; 1_473]);
    assert_eq!(refused, Err(SocketError::MessageTooLong { len: 1_473, limit: 1_472 }));
    // A connected socket hears of it at once.
    pair.drive_for(secs(601));
    pair.a.shard_mut().udp_connect(socket, to).unwrap();
    pair.a.shard_mut().udp_send(socket, &UdpTransmit::default(), &[1; 1_472]).unwrap();
    pair.drive_for(ms(100));
    let told = pair.a.udp_recv(socket).map(drop);
    assert_eq!(told, Err(SocketError::MessageTooLong { len: 1_472, limit: 1_372 }));
}

#[test]
fn a_datagram_that_may_be_cut_is_cut_to_what_a_router_has_said() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    narrow(&mut pair, 1_400, Some(1_400));
    let (server, client) = (pair.b.udp_bind(9), pair.a.udp_bind(0));
    let to = pair.b.at(9);
    pair.a.shard_mut().udp_connect(client, to).unwrap();
    pair.a.udp_send(client, to, &[1; 1_472]);
    pair.drive_for(ms(100));
    assert!(pair.b.udp_recv_all(server).is_empty(), "the one that the router told of is lost");
    for len in [1_372, 1_373, 60_000] {
        pair.a.udp_send(client, to, &noise(len, 1));
        pair.drive_for(ms(100));
        assert!(pair.b.udp_recv_all(server).remove(0).1 == noise(len, 1), "{len}");
    }
    assert_eq!(pair.a.counters().reassembly.fragmented, 2);
}

#[test]
fn an_echo_that_is_too_large_for_its_path_is_refused_once_a_router_has_said_so() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    narrow(&mut pair, 1_400, Some(1_400));
    let b = pair.b.address();
    let socket = pair.a.ping(b, 1_472);
    pair.drive_for(ms(100));
    assert_eq!(known(&pair), by_icmp(&pair, 1_400));
    let whole = EchoRequest { may_fragment: false, ..EchoRequest::new(2) };
    let refused = pair.a.shard_mut().echo_send(socket, b.into(), whole, &[0; 1_373]);
    assert_eq!(refused, Err(SocketError::MessageTooLong { len: 1_373, limit: 1_372 }));
}

/// A connection that has sent so much before falls into a black hole of this size, climbs out within ten seconds, and has
/// time to look around.
fn fall_in(pair: &mut Pair, mtu: usize, before: usize) -> (ConnectionKey, ConnectionKey) {
    let (client, server) = pair.open();
    if before > 0 {
        transfer(pair, (client, server), before);
    }
    narrow(pair, mtu, None);
    let started = pair.now();
    pair.a.send(client, &noise(LEN, 8));
    let flows = pair.drive_until(|pair| pair.b.received(server).len() > 50_000, secs(10));
    assert!(flows, "flowing again within ten seconds; {:?}", pair.a.info(client));
    let all = pair.drive_until(|pair| pair.b.received(server).len() == LEN, secs(2));
    assert!(all, "and well; {:?} after {:?}", pair.a.info(client), pair.now() - started);
    assert!(pair.b.take_received(server) == noise(LEN, 8), "intact");
    pair.drive_for(ms(100));
    transfer(pair, (client, server), 4 << 20);
    (client, server)
}

#[test]
fn a_black_hole_behind_the_handshake_is_found_within_ten_seconds_and_its_size_within_a_few_bytes() {
    for mtu in [1_492, 1_450, 1_400, 1_280, 1_201, 1_100, 576] {
        for latency in [1, 20, 150] {
            let mut pair = Pair::builder().latency(ms(latency)).build();
            let (client, server) = fall_in_slowly(&mut pair, mtu, latency);
            let found = usize::from(mss(&pair, client)) + 40;
            assert!((mtu - 16..=mtu).contains(&found), "{found} for {mtu}");
            let list = known(&pair);
            assert_eq!(list, [(pair.b.address().into(), found as u16, PathMtuSource::Probed)]);
            let tcp = pair.a.counters().tcp;
            assert_eq!(tcp.black_holes, 1);
            assert!(tcp.path_probes_sent <= 24, "{tcp:?}");
            let timeouts = tcp.timeouts;
            // The next one does not fall in.
            let next = pair.open();
            let dropped = pair.link_counters(Side::A).too_long;
            transfer(&mut pair, next, LEN);
            assert_eq!(pair.link_counters(Side::A).too_long, dropped);
            assert_eq!(pair.a.counters().tcp.timeouts, timeouts);
            let _ = server;
        }
    }
}

/// The same with enough to send for the whole search, and the patience a long round trip needs.
fn fall_in_slowly(pair: &mut Pair, mtu: usize, latency: u64) -> (ConnectionKey, ConnectionKey) {
    let (client, server) = pair.open();
    narrow(pair, mtu, None);
    let len = 2 << 20;
    pair.a.send(client, &noise(len, 8));
    let flows = pair.drive_until(|pair| pair.b.received(server).len() > 50_000, secs(10) + ms(latency) * 20);
    assert!(flows, "flowing again; {:?}", pair.a.info(client));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == len, secs(200)));
    assert!(pair.b.take_received(server) == noise(len, 8), "intact");
    pair.drive_for(ms(1_000));
    (client, server)
}

#[test]
fn a_black_hole_that_opens_in_the_middle_of_a_connection_is_found_within_ten_seconds() {
    for mtu in [1_492, 1_400, 1_200, 600] {
        for (sack, timestamps) in [(true, true), (false, false)] {
            let mut pair = Pair::builder()
                .latency(ms(10))
                .config(|config| (config.tcp.sack, config.tcp.timestamps) = (sack, timestamps))
                .build();
            let (client, _) = fall_in(&mut pair, mtu, LEN);
            let found = usize::from(mss(&pair, client)) + 40;
            assert!((mtu - 16..=mtu).contains(&found), "{found} for {mtu}");
            assert_eq!(pair.a.counters().tcp.black_holes, 1);
        }
    }
}

#[test]
fn lone_segments_get_out_of_a_black_hole_too_and_stay_out() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let connection = pair.open();
    narrow(&mut pair, 1_400, None);
    let took = transfer(&mut pair, connection, 1_448);
    assert!(took < secs(2), "{took:?}");
    let timeouts = pair.a.counters().tcp.timeouts;
    for _ in 0..10 {
        pair.drive_for(secs(7));
        transfer(&mut pair, connection, 1_448);
    }
    assert_eq!(pair.a.counters().tcp.timeouts, timeouts, "there is never enough to find out more");
    assert_eq!(mss(&pair, connection.0), 1_160);
}

#[test]
fn a_jumbo_frame_network_with_an_ordinary_one_behind_it_is_found_out() {
    let mut pair = Pair::builder().latency(ms(10)).mtu(9_000).build();
    let (client, _) = fall_in(&mut pair, 1_500, 0);
    assert_eq!(mss(&pair, client), 1_460);
    assert_eq!(pair.a.counters().tcp.black_holes, 1);
}

#[test]
fn a_black_hole_is_found_with_a_device_that_cuts_segments() {
    let mut pair = Pair::builder().latency(ms(10)).offloads().build();
    let (client, _) = fall_in(&mut pair, 1_400, LEN);
    assert!(mss(&pair, client) <= 1_360);
}

#[test]
fn lost_probes_cost_no_congestion_response() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let connection = fall_in(&mut pair, 1_400, 0);
    let (tcp, info) = (pair.a.counters().tcp, pair.a.info(connection.0).unwrap());
    assert!(tcp.path_probes_lost >= 6, "{tcp:?}");
    assert_eq!((tcp.timeouts, tcp.fast_recoveries), (2, 0), "{tcp:?}");
    assert_eq!(info.ssthresh, 5 * 1_448, "as the timeout of ten segments had left it");
}

#[test]
fn when_a_black_hole_is_mended_large_segments_are_back_after_a_while() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let connection = fall_in(&mut pair, 1_400, 0);
    widen(&mut pair);
    pair.drive_for(secs(601));
    let timeouts = pair.a.counters().tcp.timeouts;
    transfer(&mut pair, connection, LEN);
    assert_eq!((mss(&pair, connection.0), known(&pair)), (1_460, vec![]));
    assert_eq!(pair.a.counters().tcp.timeouts, timeouts);
}

#[test]
fn while_a_black_hole_stays_looking_again_costs_a_few_segments_and_no_timeout() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let connection = fall_in(&mut pair, 1_400, 0);
    for _ in 0..3 {
        pair.drive_for(secs(601));
        let timeouts = pair.a.counters().tcp.timeouts;
        transfer(&mut pair, connection, 4 << 20);
        assert_eq!(pair.a.counters().tcp.timeouts, timeouts);
        assert!((1_384..=1_400).contains(&(mss(&pair, connection.0) + 40)));
        assert_eq!(known(&pair).len(), 1);
    }
}

#[test]
fn plain_loss_leaves_the_segments_as_large_as_they_were() {
    for seed in 1..=10 {
        for loss in [0.02, 0.1] {
            let mut pair = Pair::builder().seed(seed).latency(ms(10)).loss(loss).build();
            let connection = pair.open();
            transfer(&mut pair, connection, 1 << 20);
            pair.impair(|link| link.loss = 0.0);
            transfer(&mut pair, connection, LEN);
            assert_eq!(mss(&pair, connection.0), 1_460, "seed {seed}, {loss} lost");
            assert_eq!(known(&pair), [], "seed {seed}, {loss} lost");
        }
    }
}

#[test]
fn an_outage_leaves_the_segments_as_large_as_they_were() {
    for outage in [1, 2, 5, 20, 60] {
        let mut pair = Pair::builder().latency(ms(10)).build();
        let (client, server) = pair.open();
        transfer(&mut pair, (client, server), LEN);
        pair.a.send(client, &noise(2 * LEN, 5));
        pair.drive_for(ms(15));
        pair.cut();
        pair.drive_for(secs(outage));
        pair.mend();
        assert!(pair.drive_until(|pair| pair.b.received(server).len() == 2 * LEN, secs(outage + 5)));
        assert_eq!(mss(&pair, client), 1_460, "after {outage} s");
        assert_eq!((known(&pair), pair.a.counters().tcp.black_holes), (vec![], 0));
    }
}

#[test]
fn without_probing_segments_stay_as_large_as_the_device_takes() {
    let mut pair = Pair::builder().latency(ms(10)).config(|config| config.path_mtu.probing = false).build();
    let (client, server) = pair.open();
    narrow(&mut pair, 1_400, None);
    pair.a.send(client, &noise(LEN, 8));
    pair.drive_for(secs(20));
    assert_eq!((pair.b.received(server).len(), mss(&pair, client)), (0, 1_460));
}
