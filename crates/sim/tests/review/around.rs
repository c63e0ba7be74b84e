//! Around TCP: addresses, neighbours, datagrams and messages.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sunstar_sim::{Pair, Script, ms, secs};
use sunstar_stack::{ConnectOptions, SocketError, UdpTransmit};

fn at(address: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(address)), port)
}

#[test]
fn nobody_connects_to_everybody() {
    let mut script = Script::new();
    for address in [[10, 0, 0, 255], [255, 255, 255, 255], [224, 0, 0, 1], [0, 0, 0, 0]] {
        let refused = script.host.shard_mut().tcp_connect(at(address, 80), &ConnectOptions::default());
        assert!(matches!(refused, Err(SocketError::InvalidInput { .. })), "RFC 9293 MUST-46: {refused:?}");
    }
}

#[test]
fn a_loopback_address_never_leaves_the_host() {
    let mut script = Script::new();
    let socket = script.host.shard_mut().udp_bind(at([127, 0, 0, 1], 0)).unwrap();
    let transmit = UdpTransmit { destination: Some(at([10, 0, 0, 2], 9)), ..UdpTransmit::default() };
    let refused = script.host.shard_mut().udp_send(socket, &transmit, b"x");
    assert!(matches!(refused, Err(SocketError::NetworkUnreachable { .. })), "{refused:?}");
    let local = Some(at([127, 0, 0, 1], 0));
    let refused = script.host.shard_mut().tcp_connect(at([10, 0, 0, 2], 9), &ConnectOptions { local });
    assert!(matches!(refused, Err(SocketError::NetworkUnreachable { .. })), "{refused:?}");
    script.expect_silence(secs(1));
    script.host.shard_mut().udp_close(socket);
}

#[test]
fn a_closed_port_of_our_own_refuses_a_datagram() {
    let mut pair = Pair::builder().build();
    let socket = pair.a.udp_bind(0);
    let closed = pair.a.at(9);
    pair.a.shard_mut().udp_connect(socket, closed).unwrap();
    pair.a.shard_mut().udp_send(socket, &UdpTransmit::default(), b"anybody?").unwrap();
    pair.drive_for(ms(10));
    assert_eq!(pair.a.udp_recv(socket).err(), Some(SocketError::ConnectionRefused));
}

#[test]
fn a_connected_socket_hears_only_its_peer_in_a_group_too() {
    let mut script = Script::new();
    let group = Ipv4Addr::new(224, 1, 2, 3);
    let socket = script.host.udp_bind(5_353);
    script.host.shard_mut().udp_connect(socket, at([10, 0, 0, 2], 5_353)).unwrap();
    script.host.shard_mut().udp_join(socket, group.into()).unwrap();
    let mut to_group = script.envelope.to_address(group);
    to_group.destination_mac = [0x01, 0x00, 0x5e, 1, 2, 3];
    script.inject_frame(&to_group.udp(5_353, 5_353, b"peer"));
    script.inject_frame(&to_group.from_address(Ipv4Addr::new(10, 0, 0, 9)).udp(5_353, 5_353, b"stranger"));
    let received = script.host.udp_recv_all(socket);
    assert_eq!(received, [(at([10, 0, 0, 2], 5_353), b"peer".to_vec())]);
}

#[test]
fn stations_not_heard_of_for_long_make_room_for_new_ones() {
    let mut script = Script::builder().host(|host| host.shard.neighbor.max_entries = 8).build();
    let envelope = script.envelope;
    let socket = script.host.udp_bind(7);
    for host in 10..40 {
        let address = Ipv4Addr::new(10, 0, 0, host);
        script.envelope = envelope.from_address(address);
        script.host.udp_send(socket, at(address.octets(), 7), b"hello");
        let said = script.next_within(secs(1));
        assert!(said.is_some(), "neighbour {host} was not found: {:?}", script.host.counters().drops);
        script.drive_for(secs(60));
    }
}

#[test]
fn batches_that_use_up_the_pool_hang_nobody() {
    let mut script = Script::builder().host(|host| host.pool.small_count = 24).build();
    script.answers_arp = false;
    let socket = script.host.udp_bind(7);
    for host in 50..54 {
        let transmit = UdpTransmit {
            destination: Some(at([10, 0, 0, host], 7)),
            segment_size: Some(20),
            ..UdpTransmit::default()
        };
        script.host.shard_mut().udp_send(socket, &transmit, &[0; 60 * 20]).unwrap();
    }
    script.drive_for(secs(10));
    assert!(script.heard().is_empty());
}

#[test]
fn packets_tell_nothing_of_the_generator_they_are_made_with() {
    let mut script = Script::new();
    let socket = script.host.udp_bind(0);
    for _ in 0..5 {
        script.host.udp_send(socket, at([10, 0, 0, 2], 9), b"x");
    }
    script.settle();
    let ids: Vec<u8> = script.heard().iter().flat_map(|heard| [heard.bytes[18], heard.bytes[19]]).collect();
    assert_eq!(ids, [0; 10], "an atomic datagram needs no identification (RFC 6864 section 4.1)");
}
