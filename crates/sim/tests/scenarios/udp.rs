//! UDP between two hosts (RFC 768, RFC 1122 section 4.1).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sunstar_packet::{Fragment, Packet};
use sunstar_sim::{Pair, Script, Side, ms, secs};
use sunstar_stack::{SocketError, UdpTransmit};
use sunstar_wire::{Ecn, Protocol};

#[test]
fn datagrams_go_both_ways() {
    let mut pair = Pair::builder().latency(ms(5)).build();
    let server = pair.b.udp_bind(53);
    let client = pair.a.udp_bind(0);
    pair.a.udp_send(client, pair.b.at(53), b"question");
    pair.drive();
    let (from, question) = pair.b.udp_recv_all(server).remove(0);
    assert_eq!(question, b"question");
    pair.b.udp_send(server, from, b"answer");
    pair.drive();
    assert_eq!(pair.a.udp_recv_all(client), [(pair.b.at(53), b"answer".to_vec())]);
}

#[test]
fn every_length_from_nothing_to_the_mtu_arrives() {
    let mut pair = Pair::builder().build();
    let server = pair.b.udp_bind(53);
    let client = pair.a.udp_bind(0);
    for len in [0, 1, 2, 17, 18, 1_023, 1_471, 1_472] {
        let data: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
        pair.a.udp_send(client, pair.b.at(53), &data);
        pair.drive();
        assert_eq!(pair.b.udp_recv_all(server).remove(0).1, data);
    }
}

#[test]
fn a_datagram_beyond_the_mtu_is_refused_with_the_limit() {
    let mut pair = Pair::builder().build();
    let client = pair.a.udp_bind(0);
    let refused = pair.a.try_udp_send(client, pair.b.at(53), &[0; 65_508]);
    assert_eq!(refused, Err(SocketError::MessageTooLong { len: 65_508, limit: 65_507 }));
    pair.a.shard_mut().udp_set_fragmentation(client, false).unwrap();
    let refused = pair.a.try_udp_send(client, pair.b.at(53), &[0; 1_473]);
    assert_eq!(refused, Err(SocketError::MessageTooLong { len: 1_473, limit: 1_472 }));
}

#[test]
fn an_order_on_the_wire_is_an_order_at_the_socket() {
    let mut pair = Pair::builder().latency(ms(3)).jitter(ms(3)).without_ethernet().build();
    let server = pair.b.udp_bind(53);
    let client = pair.a.udp_bind(0);
    for number in 0..100_u8 {
        pair.a.udp_send(client, pair.b.at(53), &[number]);
    }
    pair.drive();
    let numbers: Vec<u8> = pair.b.udp_recv_all(server).iter().map(|(_, payload)| payload[0]).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_flipped_bit_never_reaches_a_socket() {
    let mut pair = Pair::builder().corruption(1.0).build();
    let server = pair.b.udp_bind(53);
    let client = pair.a.udp_bind(0);
    for _ in 0..2_000 {
        pair.a.udp_send(client, pair.b.at(53), b"an oath");
        pair.drive_for(ms(1));
    }
    assert!(pair.link_counters(Side::A).corrupted > 1_990);
    assert_eq!(pair.b.udp_recv_all(server), []);
}

#[test]
fn a_connected_socket_hears_that_the_port_is_closed() {
    let mut pair = Pair::builder().latency(ms(5)).build();
    let client = pair.a.udp_bind(0);
    let closed = pair.b.at(53);
    pair.a.shard_mut().udp_connect(client, closed).unwrap();
    pair.a.udp_send(client, closed, b"anybody?");
    pair.drive();
    assert_eq!(pair.a.udp_recv(client).unwrap_err(), SocketError::ConnectionRefused);
    assert_eq!(pair.a.udp_recv(client).unwrap_err(), SocketError::WouldBlock, "it is told once");
}

#[test]
fn an_unconnected_socket_does_not_hear_of_closed_ports() {
    let mut pair = Pair::builder().latency(ms(5)).build();
    let client = pair.a.udp_bind(0);
    pair.a.udp_send(client, pair.b.at(53), b"anybody?");
    pair.drive();
    assert_eq!(pair.a.udp_recv(client).unwrap_err(), SocketError::WouldBlock);
}

#[test]
fn a_connected_socket_receives_from_its_peer_alone() {
    let mut script = Script::new();
    let peer = SocketAddr::new(script.envelope.source.into(), 53);
    let socket = script.host.udp_bind(5_000);
    script.host.shard_mut().udp_connect(socket, peer).unwrap();
    script.inject_frame(&script.envelope.udp(53, 5_000, b"the peer"));
    script.inject_frame(&script.envelope.udp(54, 5_000, b"another port"));
    script.inject_frame(&script.envelope.from_address([10, 0, 0, 3].into()).udp(53, 5_000, b"another host"));
    assert_eq!(script.host.udp_recv_all(socket), [(peer, b"the peer".to_vec())]);
    assert_eq!(script.host.counters().drops.udp_no_socket, 2);
}

#[test]
fn a_wrong_checksum_is_dropped_and_none_is_accepted() {
    let mut script = Script::new();
    let socket = script.host.udp_bind(53);
    let mut wrong = script.envelope.udp(1_000, 53, b"wrong");
    wrong[14 + 20 + 6] ^= 0x10;
    script.inject_frame(&wrong);
    assert_eq!(script.host.udp_recv_all(socket), []);
    assert_eq!(script.host.counters().drops.bad_checksum, 1);
    let mut without = script.envelope.udp(1_000, 53, b"without");
    without[14 + 20 + 6..][..2].fill(0);
    script.inject_frame(&without);
    assert_eq!(script.host.udp_recv_all(socket).len(), 1);
}

#[test]
fn a_length_that_lies_is_refused_or_cut() {
    let mut script = Script::new();
    let socket = script.host.udp_bind(53);
    for length in [0_u16, 1, 7, 29, 1_000, 65_535] {
        let mut datagram = [0; 28];
        datagram[..4].copy_from_slice(&[0, 9, 0, 53]);
        datagram[4..6].copy_from_slice(&length.to_be_bytes());
        script.inject_frame(&script.envelope.ip(Protocol::UDP, &datagram));
    }
    assert_eq!(script.host.udp_recv_all(socket), []);
    assert_eq!(script.host.counters().drops.malformed, 6);
    let mut padded = [0; 28];
    padded[..6].copy_from_slice(&[0, 9, 0, 53, 0, 10]);
    script.inject_frame(&script.envelope.ip(Protocol::UDP, &padded));
    assert_eq!(script.host.udp_recv_all(socket)[0].1.len(), 2, "what is behind the datagram is not its data");
}

#[test]
fn a_datagram_shorter_than_its_header_is_dropped() {
    let mut script = Script::new();
    script.host.udp_bind(53);
    for len in 0..8 {
        script.inject_frame(&script.envelope.ip(Protocol::UDP, &[0; 8][..len]));
    }
    script.expect_silence(ms(1));
    assert_eq!(script.host.counters().drops.truncated, 8);
}

#[test]
fn a_full_receive_buffer_drops_counts_and_recovers() {
    let mut pair =
        Pair::builder().without_ethernet().config(|config| config.udp.receive_buffer = 10 << 11).build();
    let server = pair.b.udp_bind(53);
    let client = pair.a.udp_bind(0);
    for _ in 0..50 {
        pair.a.udp_send(client, pair.b.at(53), &[0; 1_000]);
    }
    pair.drive();
    assert_eq!(pair.b.counters().drops.receive_buffer_full, 40);
    assert_eq!(pair.b.buffers_out() + pair.a.buffers_out(), 10, "memory is counted at its true size");
    assert_eq!(pair.b.udp_recv_all(server).len(), 10);
    pair.a.udp_send(client, pair.b.at(53), b"again");
    pair.drive();
    assert_eq!(pair.b.udp_recv_all(server).len(), 1);
}

#[test]
fn marks_and_hops_arrive_with_the_datagram() {
    let mut pair = Pair::builder().build();
    let server = pair.b.udp_bind(53);
    let client = pair.a.udp_bind(0);
    let transmit = UdpTransmit {
        destination: Some(pair.b.at(53)),
        ttl: Some(7),
        ecn: Ecn::Ect0,
        ..UdpTransmit::default()
    };
    pair.a.shard_mut().udp_send(client, &transmit, b"marked").unwrap();
    pair.drive();
    let received = pair.b.udp_recv(server).unwrap();
    assert_eq!((received.ttl, received.ecn, received.to), (7, Ecn::Ect0, pair.b.at(53)));
}

#[test]
fn a_batch_is_cut_by_the_stack_or_crosses_whole() {
    for offloads in [false, true] {
        let builder = Pair::builder().latency(ms(1));
        let mut pair = if offloads { builder.offloads() } else { builder }.build();
        let server = pair.b.udp_bind(53);
        let client = pair.a.udp_bind(0);
        let data: Vec<u8> = (0..10_500).map(|at| (at / 1_000) as u8).collect();
        let destination = Some(pair.b.at(53));
        let transmit = UdpTransmit { destination, segment_size: Some(1_000), ..UdpTransmit::default() };
        pair.a.shard_mut().udp_send(client, &transmit, &data).unwrap();
        pair.drive();
        let mut received = Vec::new();
        let mut calls = 0;
        while let Ok(datagrams) = pair.b.udp_recv(server) {
            calls += 1;
            assert_eq!(datagrams.segment_size.is_some(), offloads);
            received.extend(datagrams.payload.to_vec());
        }
        assert_eq!(received, data);
        assert_eq!(calls, if offloads { 1 } else { 11 });
    }
}

#[test]
fn a_checksum_left_to_the_device_is_not_missed_by_the_receiver() {
    let mut pair = Pair::builder().offloads().build();
    let server = pair.b.udp_bind(53);
    let client = pair.a.udp_bind(0);
    pair.a.udp_send(client, pair.b.at(53), b"never on a wire");
    pair.drive();
    assert_eq!(pair.b.udp_recv_all(server).len(), 1);
}

#[test]
fn a_host_reaches_its_own_sockets() {
    let mut pair = Pair::builder().build();
    let server = pair.a.udp_bind(53);
    let client = pair.a.udp_bind(0);
    pair.a.udp_send(client, pair.a.at(53), b"to myself");
    pair.a.udp_send(client, "127.0.0.1:53".parse().unwrap(), b"to myself");
    pair.drive();
    assert_eq!(pair.a.udp_recv_all(server).len(), 2);
    assert_eq!(pair.trace.frames(), 0);
}

#[test]
fn a_port_has_one_socket_and_port_zero_none() {
    let mut pair = Pair::builder().build();
    pair.a.udp_bind(53);
    let again = pair.a.shard_mut().udp_bind("0.0.0.0:53".parse().unwrap());
    assert!(matches!(again, Err(SocketError::AddressInUse { .. })));
    let foreign = pair.a.shard_mut().udp_bind("192.0.2.7:53".parse().unwrap());
    assert!(matches!(foreign, Err(SocketError::AddressNotAvailable { .. })));
    let client = pair.a.udp_bind(0);
    let refused = pair.a.try_udp_send(client, pair.b.at(0), b"nowhere");
    assert!(matches!(refused, Err(SocketError::InvalidInput { .. })));
    let unreachable = pair.a.try_udp_send(client, "192.0.2.7:53".parse().unwrap(), b"no route");
    assert!(matches!(unreachable, Err(SocketError::NetworkUnreachable { .. })));
}

#[test]
fn ephemeral_ports_are_in_their_range_and_not_in_order() {
    let mut pair = Pair::builder().build();
    let mut ports = Vec::new();
    for _ in 0..100 {
        let socket = pair.a.udp_bind(0);
        ports.push(pair.a.shard().udp_local_addr(socket).unwrap().port());
    }
    assert!(ports.iter().all(|port| (32_768..=60_999).contains(port)));
    let steps: std::collections::BTreeSet<i32> =
        ports.windows(2).map(|two| i32::from(two[1]) - i32::from(two[0])).collect();
    assert!(steps.len() > 90, "unpredictable");
}

/// The whole frame that a received datagram came in: a buffer keeps what lies ahead of its range.
fn frame_of(payload: Packet, header_len: usize) -> Vec<u8> {
    let mut fragments: Vec<Fragment> = payload.into_fragments().collect();
    let Some(Fragment::Buffer(buffer)) = fragments.first_mut() else { panic!("a buffer of the receiver's") };
    buffer.prepend(header_len).expect("the only reference, with its headroom");
    buffer.to_vec()
}

#[test]
fn an_ordinary_datagram_leaves_the_received_frame_as_it_was() {
    let mut script = Script::new();
    let socket = script.host.udp_bind(53);
    let frame = script.envelope.udp(1_000, 53, &[0xa5; 1_200]);
    script.inject_frame(&frame);
    let received = script.host.udp_recv(socket).unwrap();
    assert_eq!(frame_of(received.payload, 42), frame);
}

#[test]
fn a_multicast_datagram_leaves_the_received_frame_as_it_was_for_all_its_readers() {
    let mut script = Script::new();
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let first = script.host.udp_bind(5_353);
    let local = SocketAddr::new(IpAddr::V4(script.host.address()), 5_353);
    let second = script.host.shard_mut().udp_bind(local).unwrap();
    for socket in [first, second] {
        script.host.shard_mut().udp_join(socket, group.into()).unwrap();
    }
    let mut envelope = script.envelope.to_address(group);
    envelope.destination_mac = [1, 0, 0x5e, 1, 2, 3];
    let frame = envelope.udp(1_000, 5_353, &[0x5a; 1_200]);
    script.inject_frame(&frame);
    assert_eq!(script.host.buffers_out(), 1, "one buffer, seen by both");
    let one = script.host.udp_recv(first).unwrap();
    assert_eq!(one.to, SocketAddr::new(group.into(), 5_353));
    assert_eq!(one.payload.to_vec(), [0x5a; 1_200]);
    drop(one);
    let other = script.host.udp_recv(second).unwrap();
    assert_eq!(frame_of(other.payload, 42), frame);
    script.host.udp_close(first);
    script.host.shard_mut().udp_close(second);
    script.inject_frame(&frame);
    assert_eq!(
        script.host.counters().drops.not_for_us + script.host.counters().drops.other_station,
        1,
        "left"
    );
}

#[test]
fn a_broadcast_datagram_reaches_a_socket_bound_to_all_addresses() {
    let mut pair = Pair::builder().latency(ms(1)).build();
    let server = pair.b.udp_bind(67);
    let client = pair.a.udp_bind(68);
    pair.a.shard_mut().udp_set_broadcast(client, true).unwrap();
    for to in ["255.255.255.255:67", "10.0.0.255:67"] {
        pair.a.udp_send(client, to.parse().unwrap(), b"is there a server?");
        pair.drive();
        assert_eq!(pair.b.udp_recv_all(server).len(), 1, "{to}");
    }
}

#[test]
fn nobody_sends_to_everyone_who_has_not_asked_to() {
    let mut pair = Pair::builder().latency(ms(1)).build();
    let (server, client) = (pair.b.udp_bind(67), pair.a.udp_bind(68));
    for to in ["255.255.255.255:67", "10.0.0.255:67"] {
        let to: SocketAddr = to.parse().unwrap();
        let refused = SocketError::BroadcastNotAllowed { destination: to.ip() };
        assert_eq!(pair.a.try_udp_send(client, to, b"by accident"), Err(refused));
        assert_eq!(pair.a.shard_mut().udp_connect(client, to), Err(refused));
        assert!(refused.to_string().contains("udp_set_broadcast"), "{refused}");
    }
    // The last address of a network that is not ours is anybody's.
    let elsewhere = pair.a.try_udp_send(client, "192.0.2.255:67".parse().unwrap(), b"?");
    assert!(matches!(elsewhere, Err(SocketError::NetworkUnreachable { .. })), "{elsewhere:?}");
    for allowed in [true, false] {
        pair.a.shard_mut().udp_set_broadcast(client, allowed).unwrap();
        let sent = pair.a.try_udp_send(client, "10.0.0.255:67".parse().unwrap(), b"on purpose");
        assert_eq!(sent.is_ok(), allowed);
    }
    pair.drive();
    assert_eq!(pair.b.udp_recv_all(server).len(), 1);
}

#[test]
fn a_datagram_whose_header_is_not_understood_is_told_to_a_connected_socket() {
    let mut script = Script::new();
    let peer = SocketAddr::new(script.envelope.source.into(), 53);
    let (connected, other) = (script.host.udp_bind(1_000), script.host.udp_bind(1_001));
    script.host.shard_mut().udp_connect(connected, peer).unwrap();
    for socket in [connected, other] {
        script.host.udp_send(socket, peer, b"hello");
        let heard = script.next_within(ms(1)).unwrap();
        let problem = script.envelope.icmp(12, 0, [20, 0, 0, 0], &heard.bytes[14..14 + 28]);
        script.inject_frame(&problem);
    }
    assert_eq!(script.host.udp_recv(connected).unwrap_err(), SocketError::ParameterProblem);
    assert_eq!(script.host.udp_recv(connected).unwrap_err(), SocketError::WouldBlock, "told once");
    assert_eq!(script.host.udp_recv(other).unwrap_err(), SocketError::WouldBlock);
}

#[test]
fn a_failed_device_fails_the_sockets_that_need_it() {
    let mut pair = Pair::builder().build();
    let client = pair.a.udp_bind(0);
    pair.a.fail_device();
    pair.drive_for(ms(100));
    let refused = pair.a.try_udp_send(client, pair.b.at(53), b"too late");
    assert_eq!(refused, Err(SocketError::NetworkDown));
}

#[test]
fn what_waits_for_a_failed_device_is_no_work_left() {
    let mut pair = Pair::builder().build();
    let client = pair.a.udp_bind(0);
    pair.a.udp_send(client, pair.b.at(53), b"too late");
    pair.a.fail_device();
    // A host that has something left to say does not come to rest.
    pair.drive_for(ms(100));
}

#[test]
fn datagrams_wait_while_the_carrier_is_away() {
    let mut pair = Pair::builder().latency(ms(1)).without_ethernet().build();
    let server = pair.b.udp_bind(53);
    let client = pair.a.udp_bind(0);
    pair.link_down();
    for number in 0..10 {
        pair.a.udp_send(client, pair.b.at(53), &[number]);
    }
    pair.drive_for(secs(5));
    assert_eq!(pair.a.counters().udp.sent, 0, "nothing is built that cannot go");
    pair.link_up();
    pair.drive_for(ms(10));
    assert_eq!(pair.b.udp_recv_all(server).len(), 10);
}

#[test]
fn a_datagram_accepted_before_close_still_leaves() {
    let mut pair = Pair::builder().latency(ms(5)).build();
    let server = pair.b.udp_bind(53);
    let client = pair.a.udp_bind(0);
    for number in 0..3 {
        pair.a.udp_send(client, pair.b.at(53), &[number]);
    }
    pair.a.udp_close(client);
    pair.drive();
    let received: Vec<u8> = pair.b.udp_recv_all(server).iter().map(|(_, payload)| payload[0]).collect();
    assert_eq!(received, [0, 1, 2]);
    assert_eq!(pair.a.buffers_out(), 0);
}

#[test]
fn the_port_of_a_closed_socket_is_free_at_once() {
    let mut pair = Pair::builder().latency(ms(5)).build();
    let first = pair.a.udp_bind(5_000);
    pair.a.udp_send(first, pair.b.at(53), b"still queued");
    pair.a.udp_close(first);
    let second = pair.a.udp_bind(5_000);
    let sender = pair.b.udp_bind(0);
    pair.b.udp_send(sender, pair.a.at(5_000), b"for the new one");
    pair.drive();
    assert_eq!(pair.a.udp_recv_all(second).len(), 1);
}
