//! Datagrams to a group: shown on every shard that has a member, from the one buffer they arrived in.

use std::net::Ipv4Addr;

use sunstar_sim::{Cluster, ms};
use sunstar_wire::MacAddress;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

fn datagram(cluster: &Cluster, port: u16) -> Vec<u8> {
    let mut envelope = cluster.envelope().to_address(GROUP);
    envelope.destination_mac = MacAddress::multicast(GROUP).0;
    envelope.udp(5_000, port, &[7; 1_000])
}

#[test]
fn a_datagram_joined_on_four_shards_is_received_on_all_four_from_one_buffer() {
    for queue in 0..4 {
        let mut cluster = Cluster::builder(4).seed(queue as u64).build();
        let sockets: Vec<_> = (0..4).map(|shard| cluster.udp_bind(shard, 9, true)).collect();
        for (shard, socket) in sockets.iter().enumerate() {
            cluster.shard_mut(shard).udp_join(*socket, GROUP.into()).unwrap();
        }
        cluster.drive_for(ms(5));
        let before = datagram(&cluster, 9);
        cluster.inject(queue, &before);
        cluster.drive_for(ms(5));
        let out: Vec<_> = (0..4).map(|shard| cluster.buffers_out(shard)).collect();
        let expected: Vec<_> = (0..4).map(|shard| usize::from(shard == queue)).collect();
        assert_eq!(out, expected, "one buffer, of the shard it arrived at, serves all four");
        for (shard, socket) in sockets.iter().enumerate() {
            let received = cluster.shard_mut(shard).udp_recv(*socket).unwrap();
            assert_eq!(received.payload.to_vec(), vec![7; 1_000]);
            assert_eq!(received.to, (GROUP, 9).into());
        }
        cluster.drive_for(ms(5));
        assert_eq!(cluster.buffers_out(queue), 0);
        assert_eq!(cluster.total(|counters| counters.mesh.group_forwarded), 3);
    }
}

#[test]
fn who_has_left_receives_nothing_and_a_datagram_nobody_receives_is_counted() {
    let mut cluster = Cluster::builder(4).build();
    let sockets: Vec<_> = (0..4).map(|shard| cluster.udp_bind(shard, 9, true)).collect();
    for (shard, socket) in sockets.iter().enumerate() {
        cluster.shard_mut(shard).udp_join(*socket, GROUP.into()).unwrap();
    }
    cluster.drive_for(ms(5));
    cluster.shard_mut(2).udp_leave(sockets[2], GROUP.into());
    cluster.drive_for(ms(5));
    let frame = datagram(&cluster, 9);
    cluster.inject(0, &frame);
    cluster.drive_for(ms(5));
    let received: Vec<_> = (0..4).map(|shard| cluster.udp_received(shard, sockets[shard]).len()).collect();
    assert_eq!(received, [1, 1, 0, 1]);
    let nobody = datagram(&cluster, 10);
    cluster.inject(0, &nobody);
    cluster.drive_for(ms(5));
    assert_eq!(cluster.total(|counters| counters.drops.total()), 1);
}

#[test]
fn a_broadcast_reaches_the_owner_of_its_port_or_all_that_share_it() {
    let mut cluster = Cluster::builder(4).build();
    let shared: Vec<_> = (0..4).map(|shard| cluster.udp_bind(shard, 9, true)).collect();
    let owned = cluster.udp_bind(3, 10, false);
    let everyone = cluster.envelope().to_everyone().to_address(Ipv4Addr::new(10, 0, 0, 255));
    cluster.inject(1, &everyone.udp(5_000, 9, b"all"));
    cluster.inject(1, &everyone.udp(5_000, 10, b"one"));
    cluster.drive_for(ms(5));
    for (shard, socket) in shared.into_iter().enumerate() {
        assert_eq!(cluster.udp_received(shard, socket), [b"all"], "shard {shard}");
    }
    assert_eq!(cluster.udp_received(3, owned), [b"one"]);
}
