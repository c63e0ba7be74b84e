//! Packets that arrive at the wrong shard: handed over once, in order, and counted.

use sunstar_sim::{Cluster, Nic, ms, noise, secs};

/// Half a mebibyte each way on each of four shards, against a card that does this.
fn both_ways(nic: Nic, queues: usize, seed: u64) -> Cluster {
    let mut cluster = Cluster::builder(4).nic(nic).queues(queues).seed(seed).build();
    let listeners: Vec<_> = (0..4).map(|shard| cluster.listen(shard, 80 + shard as u16, false)).collect();
    let mut streams = Vec::new();
    for (shard, listener) in listeners.into_iter().enumerate() {
        let to = cluster.at(80 + shard as u16);
        let client = cluster.peer.connect(to);
        let mut server = None;
        assert!(cluster.drive_until(
            |it| {
                server = it.accept(shard, listener);
                server.is_some()
            },
            secs(5)
        ));
        streams.push((shard, client, server.unwrap(), noise(512 << 10, shard as u64), 0, Vec::new()));
    }
    for (_, client, _, bytes, ..) in &streams {
        cluster.peer.send(*client, bytes);
    }
    let done = cluster.drive_until(
        |cluster| {
            let mut done = true;
            for (shard, client, server, bytes, written, received) in &mut streams {
                if let Ok(taken) = cluster.write(*shard, *server, &bytes[*written..]) {
                    *written += taken;
                }
                if let Ok(read) = cluster.read(*shard, *server) {
                    received.extend(read);
                }
                done &= received.len() == bytes.len() && cluster.peer.received(*client).len() == bytes.len();
            }
            done
        },
        secs(60),
    );
    assert!(done, "{nic:?} with {queues} queues");
    for (_, client, _, bytes, _, received) in &streams {
        assert!(received == bytes && cluster.peer.received(*client) == bytes);
    }
    cluster
}

#[test]
fn with_a_card_that_steers_nothing_is_forwarded() {
    let cluster = both_ways(Nic::Steering, 4, 1);
    assert_eq!(cluster.total(|counters| counters.mesh.forwarded), 0);
}

#[test]
fn with_one_that_does_not_everything_still_arrives_and_what_was_forwarded_is_counted() {
    for (nic, seed) in [(Nic::Random, 2), (Nic::InTurn, 3), (Nic::Queue(1), 4)] {
        let cluster = both_ways(nic, 4, seed);
        let forwarded = cluster.total(|counters| counters.mesh.forwarded);
        assert!(forwarded > 500, "{nic:?}: {forwarded}");
        assert_eq!(forwarded, cluster.total(|counters| counters.mesh.received));
    }
}

#[test]
fn a_flow_that_always_arrives_at_the_wrong_queue_stays_in_order() {
    let cluster = both_ways(Nic::Queue(0), 4, 5);
    assert_eq!(cluster.total(|counters| counters.tcp.out_of_order), 0);
    assert_eq!(cluster.total(|counters| counters.tcp.retransmissions), 0);
}

#[test]
fn an_icmp_error_is_told_to_the_socket_whose_flow_it_quotes() {
    for queue in 0..4 {
        let mut cluster = Cluster::builder(4).build();
        let socket = cluster.udp_bind(2, 0, false);
        let to = cluster.peer.at(9);
        cluster.shard_mut(2).udp_connect(socket, to).unwrap();
        cluster.set_nic(Nic::Queue(queue));
        cluster.udp_send(2, socket, to, b"to nobody");
        cluster.drive_for(ms(100));
        let told = cluster.shard_mut(2).udp_recv(socket);
        assert_eq!(told.unwrap_err(), sunstar_stack::SocketError::ConnectionRefused, "queue {queue}");
    }
}
