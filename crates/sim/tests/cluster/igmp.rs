//! IGMP of a host of many shards: wherever its members are, it speaks once, by the shard that speaks for all.

use std::net::Ipv4Addr;

use sunstar_sim::craft::{Envelope, igmp};
use sunstar_sim::decode::{Body, Igmp, Transport};
use sunstar_sim::{Cluster, ms, secs};
use sunstar_stack::UdpKey;
use sunstar_wire::MacAddress;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// What was said, and by which queue.
fn heard(cluster: &mut Cluster) -> Vec<(usize, Igmp)> {
    let message = |heard: sunstar_sim::HeardFromCluster| match heard.frame.body {
        Body::Ip(_, Transport::Igmp(message)) => Some((heard.queue, message)),
        _ => None,
    };
    cluster.heard().into_iter().filter_map(message).collect()
}

/// A general query of version 2 arrives, by another queue each time: not that of the shard that speaks.
fn query_v2(cluster: &mut Cluster, tenths: u8) {
    let envelope = cluster.envelope().to_address(ALL_SYSTEMS);
    let envelope = Envelope { ttl: 1, destination_mac: MacAddress::multicast(ALL_SYSTEMS).0, ..envelope };
    cluster
        .inject(1 + usize::from(tenths % 3), &envelope.igmp(&igmp(0x11, tenths, Ipv4Addr::UNSPECIFIED, &[])));
    cluster.drive_for(secs(1));
}

fn bind(cluster: &mut Cluster, shards: &[usize]) -> Vec<(usize, UdpKey)> {
    shards.iter().map(|shard| (*shard, cluster.udp_bind(*shard, 9, true))).collect()
}

fn join(cluster: &mut Cluster, (shard, socket): (usize, UdpKey)) {
    cluster.shard_mut(shard).udp_join(socket, GROUP.into()).unwrap();
    cluster.drive_for(secs(20));
}

fn leave(cluster: &mut Cluster, (shard, socket): (usize, UdpKey)) {
    cluster.shard_mut(shard).udp_leave(socket, GROUP.into());
    cluster.drive_for(secs(20));
}

#[test]
fn four_shards_with_members_on_several_say_one_report_and_one_leave() {
    let mut cluster = Cluster::builder(4).build();
    query_v2(&mut cluster, 1);
    let sockets = bind(&mut cluster, &[1, 2, 3]);
    heard(&mut cluster);
    for socket in &sockets {
        join(&mut cluster, *socket);
    }
    let report = (0, Igmp::ReportV2(GROUP));
    assert_eq!(heard(&mut cluster), [report.clone(), report.clone()], "once, and again should that be lost");
    query_v2(&mut cluster, 5);
    assert_eq!(heard(&mut cluster), [report]);
    leave(&mut cluster, sockets[0]);
    leave(&mut cluster, sockets[2]);
    assert_eq!(heard(&mut cluster), [], "shard 2 still has a member");
    leave(&mut cluster, sockets[1]);
    assert_eq!(heard(&mut cluster), [(0, Igmp::Leave(GROUP))]);
    let counted = |counters: &sunstar_stack::Counters| {
        (counters.control.igmp_reports_sent, counters.control.igmp_leaves_sent)
    };
    let counted: Vec<_> = (0..4).map(|shard| counted(cluster.counters(shard))).collect();
    assert_eq!(counted, [(3, 1), (0, 0), (0, 0), (0, 0)]);
}

#[test]
fn members_that_all_shards_have_at_once_are_one_change() {
    let mut cluster = Cluster::builder(4).build();
    let sockets = bind(&mut cluster, &[0, 1, 2, 3]);
    for (shard, socket) in &sockets {
        cluster.shard_mut(*shard).udp_join(*socket, GROUP.into()).unwrap();
    }
    cluster.drive_for(secs(20));
    let joined = (0, Igmp::ReportV3(vec![(4, GROUP, Vec::new())]));
    assert_eq!(heard(&mut cluster), [joined.clone(), joined]);
    for (shard, socket) in &sockets {
        cluster.shard_mut(*shard).udp_leave(*socket, GROUP.into());
    }
    cluster.drive_for(secs(20));
    let left = (0, Igmp::ReportV3(vec![(3, GROUP, Vec::new())]));
    assert_eq!(heard(&mut cluster), [left.clone(), left]);
}

#[test]
fn the_shard_that_speaks_hears_other_hosts_report_a_group_it_has_no_member_of() {
    let mut cluster = Cluster::builder(4).build();
    query_v2(&mut cluster, 1);
    let socket = bind(&mut cluster, &[2])[0];
    join(&mut cluster, socket);
    heard(&mut cluster);
    query_v2(&mut cluster, 255);
    let envelope = cluster.envelope().to_address(GROUP);
    let envelope = Envelope { ttl: 1, destination_mac: MacAddress::multicast(GROUP).0, ..envelope };
    cluster.inject(3, &envelope.igmp(&igmp(0x16, 0, GROUP, &[])));
    cluster.drive_for(secs(30));
    assert_eq!(heard(&mut cluster), []);
    assert_eq!(cluster.counters(0).drops.not_for_us + cluster.counters(0).drops.other_station, 0);
    assert_eq!(cluster.counters(0).control.igmp_suppressed, 1);
    leave(&mut cluster, socket);
    assert_eq!(heard(&mut cluster), []);
}

#[test]
fn a_group_whose_only_member_was_on_a_shard_that_failed_is_left() {
    let mut cluster = Cluster::builder(4).build();
    let socket = bind(&mut cluster, &[2])[0];
    join(&mut cluster, socket);
    heard(&mut cluster);
    cluster.replace(2);
    cluster.drive_for(secs(20));
    let left = (0, Igmp::ReportV3(vec![(3, GROUP, Vec::new())]));
    assert_eq!(heard(&mut cluster), [left.clone(), left]);
}

#[test]
fn a_fresh_shard_that_speaks_reports_what_the_others_receive() {
    let mut cluster = Cluster::builder(4).build();
    let sockets = bind(&mut cluster, &[0, 2]);
    join(&mut cluster, sockets[1]);
    heard(&mut cluster);
    cluster.replace(0);
    cluster.drive_for(ms(10));
    let joined = (0, Igmp::ReportV3(vec![(4, GROUP, Vec::new())]));
    assert_eq!(heard(&mut cluster), [joined]);
    cluster.drive_for(secs(20));
    heard(&mut cluster);
    leave(&mut cluster, sockets[1]);
    let left = (0, Igmp::ReportV3(vec![(3, GROUP, Vec::new())]));
    assert_eq!(heard(&mut cluster), [left.clone(), left]);
}
