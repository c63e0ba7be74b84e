//! Fragments on a host of many shards: steered by addresses alone until they are whole, and then once more by ports.

use std::net::{Ipv4Addr, SocketAddr};

use sunstar_sim::{Cluster, Nic, ms, noise, secs};
use sunstar_stack::UdpTransmit;
use sunstar_stack::steering::FlowKey;

/// The shard that fragments from an address meet on.
fn meeting(cluster: &Cluster, source: Ipv4Addr) -> usize {
    let destination = cluster.at(0).ip();
    let key = FlowKey::Addresses { source: source.into(), destination };
    usize::from(cluster.steering().shard_of(&key).unwrap().0)
}

#[test]
fn a_datagram_is_forwarded_a_second_time_to_the_shard_its_port_belongs_to() {
    for (queue, home) in [(0, 0), (1, 2), (2, 3), (3, 1)] {
        let mut cluster = Cluster::builder(4).nic(Nic::Queue(queue)).build();
        let socket = cluster.udp_bind(home, 53, false);
        let envelope = cluster.envelope();
        let data = noise(60_000, queue as u64);
        let mut fragments = envelope.cut(&envelope.udp(1_000, 53, &data), 1_500, 7);
        fragments.reverse();
        let count = fragments.len() as u64;
        for fragment in &fragments {
            cluster.inject(queue, fragment);
            cluster.drive_for(ms(1));
        }
        assert!(cluster.drive_until(|it| it.counters(home).udp.received == 1, secs(1)));
        assert_eq!(cluster.udp_received(home, socket), [data]);
        let meet = meeting(&cluster, envelope.source);
        let first = cluster.total(|counters| counters.mesh.forwarded);
        assert_eq!(first, if meet == queue { 0 } else { count }, "every fragment to where they meet");
        let second = cluster.total(|counters| counters.reassembly.forwarded);
        assert_eq!(second, u64::from(meet != home), "and all of it once more");
        assert_eq!(cluster.counters(meet).reassembly.reassembled, 1);
    }
}

#[test]
fn what_was_put_together_travels_by_reference_and_every_buffer_comes_home() {
    let mut cluster = Cluster::builder(4).nic(Nic::InTurn).build();
    let socket = cluster.udp_bind(1, 53, false);
    let envelope = cluster.envelope();
    let data = noise(20_000, 1);
    for fragment in envelope.cut(&envelope.udp(1_000, 53, &data), 1_500, 1) {
        cluster.inject(2, &fragment);
    }
    assert!(cluster.drive_until(|it| it.counters(1).udp.received == 1, secs(1)));
    let received = cluster.shard_mut(1).udp_recv(socket).unwrap();
    assert_eq!(received.payload.fragments().len(), 14, "the buffers the fragments arrived in");
    assert!(cluster.buffers_out(2) >= 14 && received.payload.to_vec() == data);
    drop(received);
    cluster.drive_for(ms(10));
    assert_eq!(cluster.buffers_out(2), 0);
}

#[test]
fn large_datagrams_are_echoed_by_a_socket_on_any_shard() {
    for home in 0..4 {
        let mut cluster = Cluster::builder(4).nic(Nic::Random).seed(home as u64).build();
        let socket = cluster.udp_bind(home, 7, false);
        let client = cluster.peer.udp_bind(0);
        let data = noise(60_000, home as u64);
        let to = cluster.at(7);
        cluster.peer.udp_send(client, to, &data);
        assert!(cluster.drive_until(|it| it.counters(home).udp.received == 1, secs(5)));
        let received = cluster.shard_mut(home).udp_recv(socket).unwrap();
        let transmit = UdpTransmit { destination: Some(received.from), ..UdpTransmit::default() };
        cluster.shard_mut(home).udp_send(socket, &transmit, &received.payload.to_vec()).unwrap();
        drop(received);
        assert!(cluster.drive_until(|it| it.peer.counters().udp.received == 1, secs(5)));
        assert!(cluster.peer.udp_recv_all(client)[0].1 == data);
    }
}

#[test]
fn a_large_echo_is_answered_whichever_queue_its_fragments_come_by() {
    for nic in [Nic::Steering, Nic::Random, Nic::Queue(0), Nic::Queue(3)] {
        let mut cluster = Cluster::builder(4).nic(nic).build();
        let address = match cluster.at(0) {
            SocketAddr::V4(at) => *at.ip(),
            SocketAddr::V6(_) => unreachable!("the cluster has an IPv4 address"),
        };
        let socket = cluster.peer.ping(address, 60_000);
        cluster.drive_for(secs(5));
        let pongs = cluster.peer.pongs(socket);
        assert!(pongs.len() == 1 && pongs[0].payload.len() == 60_000, "{nic:?}");
    }
}

#[test]
fn a_large_reply_finds_the_shard_that_asked() {
    for shard in 0..4 {
        let mut cluster = Cluster::builder(4).nic(Nic::Random).seed(7).build();
        let peer = cluster.peer.address();
        let key = cluster.ping_with(shard, peer, 30_000);
        cluster.drive_for(secs(5));
        assert_eq!(cluster.pongs(shard, key), 1, "{shard}");
    }
}

#[test]
fn a_large_datagram_to_a_group_is_delivered_on_every_shard_with_a_member() {
    let mut cluster = Cluster::builder(4).build();
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let sockets: Vec<_> = (0..4).map(|shard| cluster.udp_bind(shard, 5_000, true)).collect();
    for (shard, socket) in sockets.iter().enumerate().filter(|(shard, _)| *shard != 2) {
        cluster.shard_mut(shard).udp_join(*socket, group.into()).unwrap();
    }
    cluster.drive_for(ms(100));
    let envelope = cluster.envelope().to_address(group);
    let envelope = sunstar_sim::craft::Envelope { destination_mac: [1, 0, 0x5e, 1, 2, 3], ..envelope };
    let data = noise(9_000, 1);
    for (queue, fragment) in envelope.cut(&envelope.udp(1_000, 5_000, &data), 1_500, 3).iter().enumerate() {
        cluster.inject(queue % 4, fragment);
    }
    cluster.drive_for(ms(100));
    let received: Vec<_> = sockets
        .iter()
        .enumerate()
        .map(|(shard, socket)| cluster.udp_received(shard, *socket).len())
        .collect();
    assert_eq!(received, [1, 1, 0, 1]);
}
