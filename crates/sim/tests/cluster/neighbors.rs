//! Neighbours with owners: one shard asks, every shard learns, at the ARP layer.

use std::net::{IpAddr, Ipv4Addr};

use sunstar_sim::decode::Body;
use sunstar_sim::{Cluster, Nic, ms, secs, us};
use sunstar_stack::NeighborState;
use sunstar_wire::MacAddress;

/// Nobody but the scenario answers for it.
const NEIGHBOR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const STATION: [u8; 6] = [0x02, 0, 0, 0, 0, 9];

fn known(cluster: &Cluster, shard: usize) -> Option<(MacAddress, NeighborState)> {
    let mut neighbors = cluster.shard(shard).neighbors();
    let found = neighbors.find(|neighbor| neighbor.address == IpAddr::V4(NEIGHBOR))?;
    found.mac.map(|mac| (mac, found.state))
}

fn answer(cluster: &Cluster) -> Vec<u8> {
    let mut envelope = cluster.envelope();
    envelope.source_mac = STATION;
    envelope.arp(false, NEIGHBOR, Ipv4Addr::new(10, 0, 0, 2))
}

fn questions(cluster: &mut Cluster) -> usize {
    let asked = |frame: &sunstar_sim::HeardFromCluster| matches!(&frame.frame.body, Body::Arp(arp) if arp.request && arp.target.1 == NEIGHBOR);
    cluster.heard().iter().filter(|frame| asked(frame)).count()
}

fn all_want_it(cluster: &mut Cluster) {
    for shard in 0..cluster.shards() {
        let socket = cluster.udp_bind(shard, 0, false);
        cluster.udp_send(shard, socket, (NEIGHBOR, 9).into(), b"hello");
    }
}

#[test]
fn the_first_answer_teaches_every_shard_by_whichever_queue_it_comes_and_one_question_was_asked() {
    for queue in 0..4 {
        let mut cluster = Cluster::builder(4).seed(queue as u64).build();
        all_want_it(&mut cluster);
        cluster.drive_for(ms(5));
        assert_eq!(questions(&mut cluster), 1, "all four shards want it, and one asks");
        let answer = answer(&cluster);
        cluster.inject(queue, &answer);
        cluster.drive_for(ms(5));
        for shard in 0..4 {
            let is = known(&cluster, shard);
            assert_eq!(is, Some((MacAddress(STATION), NeighborState::Reachable)), "shard {shard}");
        }
        let sent = cluster.heard().iter().filter(|it| matches!(it.frame.body, Body::Ip(..))).count();
        assert_eq!(sent, 4, "what waited on each shard goes");
    }
}

#[test]
fn an_answer_nobody_asked_for_changes_nothing_on_any_shard() {
    let mut cluster = Cluster::builder(4).build();
    let answer = answer(&cluster);
    for queue in 0..4 {
        cluster.inject(queue, &answer);
    }
    cluster.drive_for(ms(5));
    for shard in 0..4 {
        assert_eq!(cluster.shard(shard).neighbors().count(), 0);
    }
    assert_eq!(cluster.total(|counters| counters.drops.unsolicited_arp), 4);
    // One who is known stays where it is known to be, too.
    all_want_it(&mut cluster);
    cluster.drive_for(ms(5));
    cluster.inject(0, &answer);
    cluster.drive_for(ms(5));
    let mut liar = cluster.envelope();
    liar.source_mac = [0x02, 0, 0, 0, 0, 0x66];
    let lie = liar.arp(false, NEIGHBOR, Ipv4Addr::new(10, 0, 0, 2));
    for queue in 0..4 {
        cluster.inject(queue, &lie);
    }
    cluster.drive_for(ms(5));
    for shard in 0..4 {
        assert_eq!(known(&cluster, shard).map(|(mac, _)| mac), Some(MacAddress(STATION)));
    }
}

#[test]
fn a_neighbor_that_does_not_answer_is_given_up_by_all_who_wait_within_three_seconds() {
    let mut cluster = Cluster::builder(4).build();
    all_want_it(&mut cluster);
    cluster.drive_for(secs(3));
    assert_eq!(questions(&mut cluster), 3);
    assert_eq!(cluster.total(|counters| counters.drops.host_unreachable), 4);
    assert_eq!(cluster.total(|counters| counters.control.neighbors_failed), 1, "the owner alone judges");
}

#[test]
fn a_neighbor_that_asks_for_us_anywhere_is_known_everywhere() {
    for queue in 0..4 {
        let mut cluster = Cluster::builder(4).seed(queue as u64).build();
        let mut envelope = cluster.envelope().to_everyone();
        envelope.source_mac = STATION;
        let question = envelope.arp(true, NEIGHBOR, Ipv4Addr::new(10, 0, 0, 2));
        cluster.inject(queue, &question);
        cluster.drive_for(ms(5));
        for shard in 0..4 {
            assert_eq!(known(&cluster, shard), Some((MacAddress(STATION), NeighborState::Stale)));
        }
        assert_eq!(cluster.total(|counters| counters.control.arp_replies_sent), 1);
    }
}

#[test]
fn what_a_stopped_sibling_is_to_be_told_of_strangers_has_a_cap_and_what_it_needs_it_asks_for() {
    let mut cluster = Cluster::builder(4).build();
    cluster.suspend(3);
    let mut envelope = cluster.envelope().to_everyone();
    for stranger in 0..20_000_u32 {
        let [_, _, high, low] = stranger.to_be_bytes();
        envelope.source_mac = [0x02, 0, 0, 1, high, low];
        let question = envelope.arp(true, Ipv4Addr::new(10, 1, high, low), Ipv4Addr::new(10, 0, 0, 2));
        cluster.inject(stranger as usize % 3, &question);
        if stranger % 32 == 31 {
            cluster.drive_for(us(10));
        }
    }
    assert!(cluster.total(|counters| counters.mesh.untold) > 5_000);
    cluster.wake(3);
    cluster.drive_for(ms(10));
    let to = cluster.peer.at(9);
    let socket = cluster.udp_bind(3, 0, false);
    cluster.udp_send(3, socket, to, b"hello");
    cluster.drive_for(ms(100));
    assert_eq!(cluster.counters(3).drops.host_unreachable, 0);
}

#[test]
fn a_neighbor_that_grows_old_is_asked_again_by_its_owner_alone() {
    let mut cluster = Cluster::builder(4).build();
    all_want_it(&mut cluster);
    cluster.drive_for(ms(5));
    let answer = answer(&cluster);
    cluster.inject(0, &answer);
    cluster.drive_for(secs(60));
    cluster.heard();
    all_want_it(&mut cluster);
    cluster.drive_for(ms(5));
    assert_eq!(questions(&mut cluster), 1);
    cluster.inject(1, &answer);
    cluster.drive_for(ms(5));
    for shard in 0..4 {
        assert_eq!(known(&cluster, shard), Some((MacAddress(STATION), NeighborState::Reachable)));
    }
}

#[test]
fn whoever_waits_for_a_neighbor_gets_it_though_its_owner_has_begun_anew() {
    for owner in 0..4 {
        let mut cluster = Cluster::builder(4).build();
        all_want_it(&mut cluster);
        cluster.drive_for(ms(5));
        cluster.replace(owner);
        cluster.drive_for(ms(5));
        let answer = answer(&cluster);
        cluster.inject(0, &answer);
        cluster.drive_for(ms(5));
        for shard in (0..4).filter(|shard| *shard != owner) {
            assert!(known(&cluster, shard).is_some(), "shard {shard}, with shard {owner} begun anew");
        }
    }
}

#[test]
fn a_scan_leaves_the_caches_at_their_caps_and_evicts_nobody_reachable() {
    let mut cluster =
        Cluster::builder(4).nic(Nic::Random).config(|config| config.neighbor.max_entries = 32).build();
    all_want_it(&mut cluster);
    cluster.drive_for(ms(5));
    let answer = answer(&cluster);
    cluster.inject(0, &answer);
    cluster.drive_for(ms(5));
    for last in 10..=254 {
        let mut scanner = cluster.envelope().to_everyone();
        scanner.source_mac = [0x02, 0, 0, 0, 1, last];
        let question = scanner.arp(true, Ipv4Addr::new(10, 0, 0, last), Ipv4Addr::new(10, 0, 0, 2));
        cluster.inject(usize::from(last) % 4, &question);
        cluster.drive_for(ms(1));
    }
    for shard in 0..4 {
        assert!(cluster.shard(shard).neighbors().count() <= 32);
        assert_eq!(known(&cluster, shard), Some((MacAddress(STATION), NeighborState::Reachable)));
    }
}
