//! A sibling that has stopped while a flood is steered to it.

use sunstar::mesh::MeshConfig;
use sunstar_sim::{Cluster, ms, secs};
use sunstar_stack::{SocketError, SocketHandle};

#[test]
fn a_flood_for_a_stopped_sibling_is_dropped_and_counted_and_delays_nobody() {
    let rings = MeshConfig { packets: 64, messages: 8 };
    let mut cluster = Cluster::builder(4).rings(rings).build();
    let victim = cluster.udp_bind(3, 9, false);
    let healthy: Vec<_> = (0..3).map(|shard| cluster.udp_bind(shard, 20 + shard as u16, false)).collect();
    cluster.suspend(3);
    let envelope = cluster.envelope();
    let flood = envelope.udp(5_000, 9, &[0; 100]);
    let mut received = [0; 3];
    for round in 0..200 {
        for queue in 0..3 {
            for _ in 0..16 {
                cluster.inject(queue, &flood);
            }
            // Each healthy shard's own traffic comes by the next one's queue.
            let next = (queue + 1) % 3;
            cluster.inject(queue, &envelope.udp(6_000, 20 + next as u16, &[round as u8; 100]));
        }
        cluster.drive_for(ms(1));
        for shard in 0..3 {
            received[shard] += cluster.udp_received(shard, healthy[shard]).len();
        }
    }
    assert_eq!(received, [200; 3], "healthy shards lose nothing");
    let dropped = cluster.total(|counters| counters.drops.mesh_full);
    assert_eq!(dropped, 200 * 48 - 3 * 64, "each of three rings holds 64, and the rest is counted");
    assert_eq!(cluster.total(|counters| counters.drops.total()), dropped);

    // Control goes its way beside the full rings: an owner's answer within 10 ms...
    let peer = cluster.peer.address();
    let pings: Vec<_> = (0..3)
        .map(|shard| {
            let socket = cluster.shard_mut(shard).echo_open().unwrap();
            (shard, SocketHandle::Echo(socket))
        })
        .collect();
    let socket = cluster.udp_bind_unconfirmed(0, 0);
    cluster.udp_send(0, socket, (peer, 9).into(), b"whose station has to be asked for");
    cluster.drive_for(ms(10));
    let learnt = (0..3).filter(|shard| cluster.shard(*shard).neighbors().count() > 0).count();
    assert_eq!(learnt, 3, "what one healthy shard learns, all learn");
    // ...and what needs the stopped one waits for it, and comes as soon as it is back.
    for (shard, handle) in &pings {
        assert_eq!(cluster.shard(*shard).bound(*handle), Err(SocketError::WouldBlock));
    }
    cluster.wake(3);
    cluster.drive_for(ms(10));
    for (shard, handle) in &pings {
        assert_eq!(cluster.shard(*shard).bound(*handle), Ok(()));
        let SocketHandle::Echo(key) = *handle else { unreachable!("they are echo sockets") };
        cluster.shard_mut(*shard).echo_close(key);
    }
    assert!(cluster.shard(3).neighbors().count() > 0, "it learns what it has missed");
    cluster.drive_for(secs(1));
    assert_eq!(cluster.udp_received(3, victim).len(), 3 * 64);
    cluster.finish();
}
