//! ICMP errors about echo requests on a host of many shards: whichever queue they come by, the shard that asked hears of
//! them.

use std::net::{IpAddr, Ipv4Addr};

use sunstar_sim::craft::Envelope;
use sunstar_sim::decode::{Body, Transport};
use sunstar_sim::{Cluster, Nic, ms};
use sunstar_stack::{EchoAnswer, InterfaceId, Route};

/// Beyond the peer, which is the router.
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

fn behind_a_router(nic: Nic) -> Cluster {
    let mut cluster = Cluster::builder(4).nic(nic).build();
    let gateway: IpAddr = cluster.peer.address().into();
    for shard in 0..4 {
        let network = Ipv4Addr::new(192, 0, 2, 0).into();
        let route = Route { network, prefix: 24, gateway, interface: InterfaceId::DEVICE };
        cluster.shard_mut(shard).add_route(route);
    }
    cluster
}

/// What a router quotes of the last request that left: its IP header, and eight bytes.
fn quote_of_request(cluster: &mut Cluster) -> Vec<u8> {
    let ours = Envelope { destination: FAR, source: cluster.envelope().destination, ..cluster.envelope() };
    let heard = cluster.heard();
    let request = heard.iter().rev().find_map(|heard| match heard.frame.body {
        Body::Ip(_, Transport::Icmp { kind: 8, rest, .. }) => Some(rest),
        _ => None,
    });
    ours.icmp(8, 0, request.expect("the request left"), &[0; 8])[14..][..28].to_vec()
}

#[test]
fn what_a_router_says_of_a_request_finds_the_shard_that_asked_by_every_queue() {
    for queue in 0..4 {
        for asker in 0..4 {
            let mut cluster = behind_a_router(Nic::Steering);
            let router = cluster.envelope();
            let socket = cluster.ping(asker, FAR);
            cluster.drive_for(ms(100));
            let quote = quote_of_request(&mut cluster);
            cluster.inject(queue, &router.icmp(11, 0, [0; 4], &quote));
            cluster.drive_for(ms(1));
            let replies: Vec<_> =
                std::iter::from_fn(|| cluster.shard_mut(asker).echo_recv(socket).ok()).collect();
            assert_eq!(replies.len(), 1, "queue {queue}, shard {asker}");
            assert_eq!(replies[0].answer, EchoAnswer::TimeExceeded);
            assert_eq!(replies[0].from, IpAddr::from(router.source));
            let forwarded = cluster.total(|counters| counters.mesh.forwarded);
            assert_eq!(forwarded, u64::from(queue != asker), "and nobody else is troubled with it");
            assert_eq!(cluster.total(|counters| counters.drops.icmp_ignored), 0);
        }
    }
}

#[test]
fn a_card_that_steers_gives_it_to_that_shard_at_once() {
    let mut cluster = behind_a_router(Nic::Steering);
    let router = cluster.envelope();
    for asker in 0..4 {
        let socket = cluster.ping(asker, FAR);
        cluster.drive_for(ms(100));
        let error = router.icmp(3, 1, [0; 4], &quote_of_request(&mut cluster));
        let medium = router.medium;
        let steered = cluster.shard(0).steering().shard_of_frame(&error, medium).unwrap();
        assert_eq!(usize::from(steered.0), asker);
        cluster.inject(asker, &error);
        cluster.drive_for(ms(1));
        assert_eq!(cluster.pongs(asker, socket), 1);
    }
    assert_eq!(cluster.total(|counters| counters.mesh.forwarded), 0);
}
