//! Path MTUs: what one shard has learnt of a path, its siblings know.

use std::net::Ipv4Addr;

use sunstar_sim::{Cluster, Nic, ms, secs};
use sunstar_stack::{InterfaceId, PathMtuSource, Route};

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);

/// What a shard knows of the path to the peer.
fn known(cluster: &Cluster, shard: usize) -> Option<(u16, PathMtuSource)> {
    let peer = cluster.peer.address();
    let mut paths = cluster.shard(shard).path_mtus();
    paths.find(|path| path.destination == peer).map(|path| (path.mtu, path.source))
}

/// A router's word about a datagram that was sent from a port to an address.
fn too_big(cluster: &Cluster, mtu: u16, port: u16, to: Ipv4Addr) -> Vec<u8> {
    let envelope = cluster.envelope();
    let quoted = envelope.from_address(envelope.destination).to_address(to).udp(port, 9, &[0; 1_472]);
    let [high, low] = mtu.to_be_bytes();
    envelope.from_address(ROUTER).icmp(3, 4, [0, 0, high, low], &quoted[14..42])
}

#[test]
fn what_one_shard_has_learnt_of_a_path_all_know_and_go_by() {
    for queue in 0..4 {
        let mut cluster = Cluster::builder(4).seed(queue as u64).build();
        cluster.udp_bind(1, 53, false);
        let peer = cluster.peer.address();
        let message = too_big(&cluster, 1_000, 53, peer);
        cluster.inject(queue, &message);
        cluster.drive_for(ms(5));
        for shard in 0..4 {
            assert_eq!(known(&cluster, shard), Some((1_000, PathMtuSource::Icmp)), "shard {shard}");
        }
        assert_eq!(cluster.total(|counters| counters.control.too_big_believed), 1, "one has judged it");
        let listener = cluster.peer.listen(80);
        for shard in 0..4 {
            let to = cluster.peer.at(80);
            let connection = cluster.connect(shard, to, None).expect("a connection");
            assert!(cluster.drive_until(|it| it.connected(shard, connection).is_ok(), secs(1)));
            assert_eq!(cluster.shard(shard).tcp_info(connection).unwrap().mss, 960, "shard {shard}");
            let _ = cluster.peer.try_accept(listener);
        }
        // And all forget it at the same time.
        cluster.drive_for(secs(601));
        for shard in 0..4 {
            cluster.shard_mut(shard);
            assert_eq!(known(&cluster, shard), None, "shard {shard}");
        }
    }
}

#[test]
fn a_shard_that_begins_anew_is_told_of_the_paths_its_siblings_know() {
    let mut cluster = Cluster::builder(3).build();
    cluster.udp_bind(1, 53, false);
    let peer = cluster.peer.address();
    let message = too_big(&cluster, 1_000, 53, peer);
    cluster.inject(0, &message);
    cluster.drive_for(ms(5));
    for shard in 0..3 {
        cluster.replace(shard);
        assert_eq!(known(&cluster, shard), None);
        cluster.drive_for(ms(5));
        assert_eq!(known(&cluster, shard), Some((1_000, PathMtuSource::Icmp)), "shard {shard}");
    }
}

#[test]
fn what_a_stopped_sibling_is_to_be_told_of_paths_has_a_cap() {
    let mut cluster = Cluster::builder(2).nic(Nic::Queue(0)).build();
    cluster.udp_bind(0, 53, false);
    let (interface, network) = (InterfaceId::DEVICE, Ipv4Addr::UNSPECIFIED.into());
    let gateway = cluster.peer.address().into();
    cluster.shard_mut(0).add_route(Route { network, prefix: 0, gateway, interface });
    cluster.suspend(1);
    for stranger in 0..4_000_u32 {
        let [_, _, high, low] = stranger.to_be_bytes();
        let message = too_big(&cluster, 1_000, 53, Ipv4Addr::new(10, 1, high, low));
        cluster.inject(0, &message);
        if stranger % 32 == 31 {
            cluster.drive_for(ms(1));
        }
    }
    assert_eq!(cluster.shard(0).path_mtus().count(), 1_024);
    assert!(cluster.counters(0).mesh.untold > 4_000 - 1_024 - 512, "but for those in its ring");
    cluster.wake(1);
    cluster.drive_for(ms(20));
    let peer = cluster.peer.address();
    let message = too_big(&cluster, 1_000, 53, peer);
    cluster.inject(0, &message);
    cluster.drive_for(ms(5));
    assert!(known(&cluster, 1).is_some(), "then it hears of everything again");
}
