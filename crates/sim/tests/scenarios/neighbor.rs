//! Neighbours on the wire: asked for, answered, given up, and not believed without having been asked
//! (RFC 826, RFC 5227).

use std::net::{IpAddr, Ipv4Addr};

use sunstar_sim::decode::{Arp, Body, Decoded};
use sunstar_sim::{Host, Pair, Script, Side, ms, secs};
use sunstar_stack::NeighborState;
use sunstar_wire::MacAddress;

const LIAR: [u8; 6] = [0x02, 0, 0, 0, 0, 0x66];

fn station(host: &Host, address: Ipv4Addr) -> Option<(MacAddress, NeighborState)> {
    let found = host.shard().neighbors().find(|neighbor| neighbor.address == IpAddr::V4(address))?;
    found.mac.map(|mac| (mac, found.state))
}

fn question(frame: &Decoded) -> Option<Arp> {
    match frame.body {
        Body::Arp(arp) if arp.request => Some(arp),
        _ => None,
    }
}

#[test]
fn the_first_packet_waits_for_the_neighbor_and_then_goes() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let socket = pair.a.ping(pair.b.address(), 56);
    pair.drive_for(ms(39));
    assert!(pair.a.pongs(socket).is_empty(), "two round trips: one for the station, one for the echo");
    pair.drive_for(ms(2));
    assert_eq!(pair.a.pongs(socket).len(), 1);
    assert_eq!(pair.a.counters().control.arp_requests_sent, 1);
    assert_eq!(pair.a.counters().control.neighbors_resolved, 1);
}

#[test]
fn a_lost_question_is_asked_again() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let socket = pair.a.ping(pair.b.address(), 56);
    pair.drop_next_from(Side::A, 2);
    pair.drive_for(ms(1_500));
    assert!(pair.a.pongs(socket).is_empty());
    pair.drive_for(ms(500));
    assert_eq!(pair.a.pongs(socket).len(), 1);
    assert_eq!(pair.a.counters().control.arp_requests_sent, 3);
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let socket = pair.a.ping(pair.b.address(), 56);
    pair.drop_next_from(Side::B, 1);
    pair.drive_for(secs(1));
    assert_eq!(pair.a.pongs(socket).len(), 1);
}

#[test]
fn a_gateway_that_is_gone_is_given_up_within_three_seconds() {
    let gone = Ipv4Addr::new(10, 0, 0, 254);
    let mut pair = Pair::builder().latency(ms(10)).host(Side::A, |a| a.gateway = Some(gone)).build();
    let socket = pair.a.udp_bind(0);
    for _ in 0..30 {
        pair.a.udp_send(socket, "192.0.2.1:53".parse().unwrap(), &[0; 1_000]);
    }
    pair.drive_for(secs(1));
    assert_eq!(pair.a.buffers_out(), 16, "at most 16 packets wait");
    assert_eq!(pair.a.counters().drops.neighbor_queue_full, 14);
    pair.drive_for(secs(2));
    assert_eq!(pair.a.counters().control.neighbors_failed, 1);
    assert_eq!(pair.a.counters().drops.host_unreachable, 16);
    assert_eq!(pair.a.buffers_out(), 0);
}

#[test]
fn the_credit_of_a_datagram_that_could_not_go_comes_back() {
    let mut pair = Pair::builder().build();
    let socket = pair.a.udp_bind(0);
    let nobody = "10.0.0.99:9".parse().unwrap();
    for _ in 0..4 {
        let mut sent = 0;
        while pair.a.try_udp_send(socket, nobody, &[0; 1_000]).is_ok() {
            sent += 1;
        }
        assert!(sent > 100, "{sent} datagrams had credit");
        pair.drive_for(secs(10));
    }
}

#[test]
fn a_neighbor_that_was_given_up_is_asked_for_again_later() {
    let mut pair = Pair::builder().latency(ms(1)).build();
    pair.cut();
    let first = pair.a.ping(pair.b.address(), 8);
    pair.drive_for(secs(5));
    pair.mend();
    let second = pair.a.ping(pair.b.address(), 8);
    pair.drive_for(secs(1));
    assert!(pair.a.pongs(first).is_empty());
    assert_eq!(pair.a.pongs(second).len(), 1);
}

#[test]
fn an_answer_nobody_asked_for_creates_nothing() {
    let mut script = Script::new();
    let reply = script.envelope.arp(false, script.envelope.source, script.host.address());
    script.inject_frame(&reply);
    assert_eq!(script.host.shard().neighbors().count(), 0);
    assert_eq!(script.host.counters().drops.unsolicited_arp, 1);
}

#[test]
fn an_answer_nobody_asked_for_changes_no_binding() {
    let mut script = Script::new();
    let peer = script.envelope.source;
    script.host.ping(peer, 8);
    script.settle();
    let before = station(&script.host, peer);
    assert_eq!(before.unwrap().1, NeighborState::Reachable);
    script.envelope.source_mac = LIAR;
    let reply = script.envelope.arp(false, peer, script.host.address());
    script.inject_frame(&reply);
    assert_eq!(station(&script.host, peer), before);
}

#[test]
fn a_question_changes_no_binding() {
    let mut script = Script::new();
    let peer = script.envelope.source;
    script.host.ping(peer, 8);
    script.settle();
    let before = station(&script.host, peer);
    script.envelope.source_mac = LIAR;
    let question = script.envelope.to_everyone().arp(true, peer, script.host.address());
    script.inject_frame(&question);
    assert_eq!(station(&script.host, peer), before);
}

#[test]
fn who_asks_for_us_is_answered_and_known_but_not_confirmed() {
    let mut script = Script::new();
    let peer = script.envelope.source;
    let question = script.envelope.to_everyone().arp(true, peer, script.host.address());
    script.inject_frame(&question);
    assert_eq!(script.host.counters().control.arp_replies_sent, 1);
    let known = station(&script.host, peer).unwrap();
    assert_eq!(known, (MacAddress(script.envelope.source_mac), NeighborState::Stale));
}

#[test]
fn a_probe_for_our_address_is_answered_and_not_learnt() {
    let mut script = Script::new();
    let probe = script.envelope.to_everyone().arp(true, Ipv4Addr::UNSPECIFIED, script.host.address());
    script.inject_frame(&probe);
    assert_eq!(script.host.counters().control.arp_replies_sent, 1);
    assert_eq!(script.host.shard().neighbors().count(), 0);
}

#[test]
fn a_question_for_another_host_is_not_answered() {
    let mut script = Script::new();
    let peer = script.envelope.source;
    let question = script.envelope.to_everyone().arp(true, peer, Ipv4Addr::new(10, 0, 0, 77));
    script.inject_frame(&question);
    assert_eq!(script.host.counters().control.arp_replies_sent, 0);
    assert_eq!(script.host.shard().neighbors().count(), 0);
}

#[test]
fn a_packet_in_our_own_name_is_refused() {
    let mut script = Script::new();
    let ours = script.host.address();
    let claim = script.envelope.to_everyone().arp(true, ours, ours);
    script.inject_frame(&claim);
    assert_eq!(script.host.counters().control.address_conflicts, 1);
    assert_eq!(script.host.shard().neighbors().count(), 0);
}

#[test]
fn a_packet_that_names_another_station_than_it_comes_from_is_refused() {
    let mut script = Script::new();
    let mut question = script.envelope.to_everyone().arp(true, script.envelope.source, script.host.address());
    question[6..12].copy_from_slice(&LIAR);
    script.inject_frame(&question);
    assert_eq!(script.host.counters().drops.bad_arp, 1);
    assert_eq!(script.host.counters().control.arp_replies_sent, 0);
}

#[test]
fn a_scan_fills_the_cache_and_evicts_nobody_reachable() {
    let mut script = Script::builder().host(|host| host.shard.neighbor.max_entries = 16).build();
    let peer = script.envelope.source;
    script.host.ping(peer, 8);
    script.settle();
    let before = station(&script.host, peer);
    for last in 3..=250 {
        let scanner = Ipv4Addr::new(10, 0, 0, last);
        script.envelope.source_mac = [0x02, 0, 0, 0, 1, last];
        let question = script.envelope.to_everyone().arp(true, scanner, script.host.address());
        script.inject_frame(&question);
    }
    assert_eq!(script.host.shard().neighbors().count(), 16);
    assert_eq!(station(&script.host, peer), before);
}

/// Has packets arrive that more hosts of the link than the cache has entries claim to have sent, and that are answered; none
/// of those hosts is there.
fn hear_from_nobody(script: &mut Script) {
    for last in 100..=200 {
        let nobody = script.envelope.from_address(Ipv4Addr::new(10, 0, 0, last));
        script.inject_frame(&nobody.icmp(8, 0, [0, 1, 0, last], b"who is there"));
    }
}

#[test]
fn somebody_new_is_found_while_packets_from_nobody_fill_the_cache() {
    let mut script = Script::builder().host(|host| host.shard.neighbor.max_entries = 16).build();
    hear_from_nobody(&mut script);
    let cache = |script: &Script| script.host.shard().neighbors().count();
    assert_eq!(cache(&script), 16);
    let peer = script.envelope.source;
    script.host.ping(peer, 8);
    script.settle();
    assert_eq!(station(&script.host, peer).map(|(_, state)| state), Some(NeighborState::Reachable));
    assert_eq!(cache(&script), 16);
    let drops = script.host.counters().drops;
    assert_eq!(
        (drops.host_unreachable, drops.neighbor_cache_full),
        (101 - 16 + 1, 0),
        "what makes room is counted"
    );
}

#[test]
fn a_neighbor_has_its_time_to_answer_while_a_scan_fills_the_cache() {
    let mut script = Script::builder().host(|host| host.shard.neighbor.max_entries = 16).build();
    let scan = |script: &mut Script, hosts: std::ops::Range<u8>| {
        for last in hosts {
            let question =
                script.envelope.to_everyone().arp(true, Ipv4Addr::new(10, 0, 0, last), script.host.address());
            script.inject_frame(&question);
        }
    };
    scan(&mut script, 100..130);
    script.answers_arp = false;
    let peer = script.envelope.source;
    script.host.ping(peer, 8);
    script.settle();
    scan(&mut script, 130..140);
    let answer = script.envelope.arp(false, peer, script.host.address());
    script.inject_frame(&answer);
    assert_eq!(station(&script.host, peer).map(|(_, state)| state), Some(NeighborState::Reachable));
}

#[test]
fn what_never_answered_makes_room_before_what_did_answer_long_ago() {
    let mut script = Script::builder().host(|host| host.shard.neighbor.max_entries = 16).build();
    let gateway = script.envelope.source;
    script.host.ping(gateway, 8);
    script.settle();
    script.drive_for(secs(60));
    let (known, state) = station(&script.host, gateway).unwrap();
    assert_eq!(state, NeighborState::Stale);
    hear_from_nobody(&mut script);
    assert_eq!(station(&script.host, gateway), Some((known, NeighborState::Stale)));
}

#[test]
fn the_credit_of_a_datagram_whose_neighbor_made_room_comes_back() {
    let mut script = Script::builder().host(|host| host.shard.neighbor.max_entries = 16).build();
    script.answers_arp = false;
    let socket = script.host.udp_bind(7);
    let silent = "10.0.0.99:9".parse().unwrap();
    for round in 0..40 {
        for _ in 0..16 {
            assert!(
                script.host.try_udp_send(socket, silent, &[0; 1_000]).is_ok(),
                "no credit in round {round}"
            );
        }
        script.settle();
        hear_from_nobody(&mut script);
    }
}

#[test]
fn a_stale_neighbor_is_used_and_confirmed_meanwhile() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let b = pair.b.address();
    pair.a.ping(b, 8);
    pair.drive();
    pair.drive_for(secs(60));
    assert_eq!(station(&pair.a, b).unwrap().1, NeighborState::Stale);
    let socket = pair.a.ping(b, 8);
    pair.drive_for(ms(21));
    assert_eq!(pair.a.pongs(socket).len(), 1, "it does not wait");
    assert_eq!(station(&pair.a, b).unwrap().1, NeighborState::Reachable);
}

#[test]
fn a_neighbor_that_moved_to_another_station_is_found_again() {
    let mut script = Script::new();
    let peer = script.envelope.source;
    script.host.ping(peer, 8);
    script.drive_for(secs(60));
    script.envelope.source_mac = LIAR;
    script.host.ping(peer, 8);
    script.settle();
    assert_eq!(station(&script.host, peer), Some((MacAddress(LIAR), NeighborState::Reachable)));
}

#[test]
fn packets_without_a_link_header_ask_for_nobody() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let socket = pair.a.ping(pair.b.address(), 8);
    pair.drive_for(ms(21));
    assert_eq!(pair.a.pongs(socket).len(), 1);
    assert_eq!(pair.a.shard().neighbors().count(), 0);
}

#[test]
fn questions_go_to_everyone_first_and_to_the_known_station_later() {
    let mut pair = Pair::builder().latency(ms(1)).build();
    let asked = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let seen = asked.clone();
    pair.drop_if(move |side, frame| {
        if let (Side::A, Some(_), Some([destination, _])) = (side, question(frame), frame.stations) {
            seen.borrow_mut().push(destination);
        }
        false
    });
    pair.a.ping(pair.b.address(), 8);
    pair.drive_for(secs(60));
    pair.a.ping(pair.b.address(), 8);
    pair.drive_for(secs(1));
    assert_eq!(*asked.borrow(), [[0xff; 6], pair.b.device().mac]);
}
