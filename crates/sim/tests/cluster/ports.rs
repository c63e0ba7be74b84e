//! Ports with owners: alone, shared, and asked for at the same time.

use sunstar_sim::{Cluster, Nic, ms, noise, secs};
use sunstar_stack::steering::{Owner, PortSpace, ShardId};
use sunstar_stack::{PortOwnerError, SocketError, SocketHandle, State};

#[test]
fn a_port_of_one_shard_gets_all_its_connections_by_whichever_queue_they_come() {
    for nic in [Nic::Steering, Nic::Random, Nic::InTurn, Nic::Queue(3)] {
        let mut cluster = Cluster::builder(4).nic(nic).build();
        let listener = cluster.listen(2, 80, false);
        let to = cluster.at(80);
        let clients: Vec<_> = (0..20).map(|_| cluster.peer.connect(to)).collect();
        let mut accepted = 0;
        let all = cluster.drive_until(
            |cluster| {
                accepted += std::iter::from_fn(|| cluster.accept(2, listener)).count();
                accepted == 20
            },
            secs(5),
        );
        assert!(all, "{nic:?}: {accepted} of 20");
        assert!(clients.iter().all(|client| cluster.peer.state(*client) == State::Established));
        assert_eq!(cluster.total(|counters| counters.tcp.resets_sent), 0);
    }
}

#[test]
fn a_shared_port_accepts_each_connection_where_it_hashes() {
    let mut cluster = Cluster::builder(4).build();
    let listeners: Vec<_> = (0..4).map(|shard| cluster.listen(shard, 80, true)).collect();
    let to = cluster.at(80);
    for _ in 0..200 {
        cluster.peer.connect(to);
    }
    cluster.drive_for(secs(2));
    let mut accepted = [0; 4];
    for (shard, listener) in listeners.iter().enumerate() {
        while cluster.accept(shard, *listener).is_some() {
            accepted[shard] += 1;
        }
    }
    assert_eq!(accepted.iter().sum::<usize>(), 200);
    assert!(accepted.iter().all(|accepted| *accepted >= 20), "{accepted:?}");
    assert_eq!(cluster.total(|counters| counters.mesh.forwarded), 0, "the card steers as the stack does");
}

#[test]
fn of_two_shards_that_want_a_port_alone_one_gets_it() {
    for seed in 0..20 {
        let mut cluster = Cluster::builder(4).seed(seed).build();
        let wanted: Vec<_> =
            [1, 3].into_iter().map(|shard| (shard, cluster.try_listen(shard, 80, false).unwrap())).collect();
        let mut outcomes: Vec<_> = Vec::new();
        for (shard, listener) in wanted {
            outcomes.push(cluster.until_bound(shard, SocketHandle::Listener(listener)));
        }
        outcomes.sort_by_key(Result::is_err);
        assert_eq!(outcomes[0], Ok(()));
        assert!(matches!(outcomes[1], Err(SocketError::AddressInUse { .. })), "{outcomes:?}");
    }
}

#[test]
fn a_port_is_not_bound_before_every_shard_knows() {
    let mut cluster = Cluster::builder(4).build();
    cluster.suspend(3);
    let listener = cluster.try_listen(1, 80, false).unwrap();
    cluster.drive_for(secs(1));
    let handle = SocketHandle::Listener(listener);
    assert_eq!(cluster.shard(1).bound(handle), Err(SocketError::WouldBlock));
    cluster.wake(3);
    cluster.drive_for(ms(1));
    assert_eq!(cluster.shard(1).bound(handle), Ok(()));
}

#[test]
fn a_connection_outlives_its_listener_on_a_port_that_hashes_elsewhere() {
    let mut cluster = Cluster::builder(4).build();
    let listener = cluster.listen(2, 80, false);
    let to = cluster.at(80);
    // One that would belong to another shard if the port were nobody's.
    let clients: Vec<_> = (0..8).map(|_| cluster.peer.connect(to)).collect();
    cluster.drive_for(ms(100));
    let accepted: Vec<_> = std::iter::from_fn(|| cluster.accept(2, listener)).collect();
    assert_eq!(accepted.len(), 8);
    cluster.close_listener(2, listener);
    cluster.drive_for(ms(100));
    let sent = noise(10_000, 1);
    for client in &clients {
        cluster.peer.send(*client, &sent);
    }
    cluster.drive_for(secs(1));
    for connection in accepted {
        assert_eq!(cluster.read(2, connection).unwrap(), sent);
    }
    // While they live nobody else has the port for itself.
    let other = cluster.try_listen(1, 80, false).unwrap();
    let refused = cluster.until_bound(1, SocketHandle::Listener(other));
    assert!(matches!(refused, Err(SocketError::AddressInUse { .. })));
    cluster.close_listener(1, other);
}

#[test]
fn a_connection_opened_from_a_listeners_port_outlives_it_too() {
    // Whichever shard the flow hashes to, on three of four it does not.
    for shard in 0..4 {
        let mut cluster = Cluster::builder(4).build();
        let there = cluster.peer.listen(7);
        let (to, from) = (cluster.peer.at(7), cluster.at(80));
        let listener = cluster.listen(shard, 80, false);
        let opened = cluster.connect(shard, to, Some(from)).unwrap();
        cluster.close_listener(shard, listener);
        let mut accepted = None;
        let reached = cluster.drive_until(
            |cluster| {
                accepted = cluster.peer.try_accept(there);
                accepted.is_some()
            },
            secs(1),
        );
        assert!(reached, "from shard {shard}");
        assert_eq!(cluster.connected(shard, opened), Ok(()));
        cluster.finish();
    }
}

#[test]
fn a_port_given_up_is_free_for_another_shard() {
    let mut cluster = Cluster::builder(4).build();
    let first = cluster.listen(2, 80, false);
    cluster.close_listener(2, first);
    cluster.drive_for(ms(1));
    cluster.listen(1, 80, false);
}

#[test]
fn ports_that_nobody_asked_for_by_number_are_never_the_same() {
    let mut cluster = Cluster::builder(4).build();
    let mut ports = Vec::new();
    for round in 0..50 {
        let shard = round % 4;
        let socket = cluster.udp_bind(shard, 0, false);
        ports.push(cluster.shard(shard).udp_local_addr(socket).unwrap().port());
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 50);
}

#[test]
fn replies_to_four_shards_pings_find_their_askers() {
    for nic in [Nic::Steering, Nic::Random, Nic::Queue(0)] {
        let mut cluster = Cluster::builder(4).nic(nic).build();
        let peer = cluster.peer.address();
        let sockets: Vec<_> = (0..4).map(|shard| cluster.ping(shard, peer)).collect();
        cluster.drive_for(ms(100));
        for (shard, socket) in sockets.into_iter().enumerate() {
            assert_eq!(cluster.pongs(shard, socket), 1, "{nic:?}, shard {shard}");
        }
    }
}

#[test]
fn what_comes_back_to_a_connection_comes_to_the_shard_that_opened_it() {
    let mut cluster = Cluster::builder(4).build();
    let listener = cluster.peer.listen(80);
    let to = cluster.peer.at(80);
    let mut opened = Vec::new();
    for round in 0..500 {
        let shard = round % 4;
        opened.push((shard, cluster.connect(shard, to, None).unwrap()));
        if round % 50 == 49 {
            cluster.drive_for(ms(20));
            while cluster.peer.try_accept(listener).is_some() {}
        }
    }
    cluster.drive_for(secs(1));
    for (shard, connection) in opened {
        assert_eq!(cluster.connected(shard, connection), Ok(()));
    }
    assert_eq!(cluster.total(|counters| counters.mesh.forwarded), 0);
}

#[test]
fn a_source_port_whose_answers_go_elsewhere_is_refused_and_so_is_one_more_than_there_are() {
    let mut cluster = Cluster::builder(4)
        .config(|config| (config.ephemeral_ports.first, config.ephemeral_ports.last) = (40_000, 40_063))
        .build();
    let to = cluster.peer.at(80);
    let mut refused = 0;
    for port in 1_000..1_100 {
        let local = Some(cluster.at(port));
        match cluster.connect(1, to, local) {
            Ok(_) => {}
            Err(SocketError::PortElsewhere { shard, .. }) => {
                assert_ne!(shard, 1);
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!((40..100).contains(&refused), "about three of four: {refused}");
    let mut opened = 0;
    let error = loop {
        match cluster.connect(0, to, None) {
            Ok(_) => opened += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SocketError::NoPortLeft { .. }), "{error}");
    assert!((1..=32).contains(&opened), "{opened}");
}

#[test]
fn a_shard_reaches_a_listener_of_another_at_the_stacks_own_address() {
    for address in [[10, 0, 0, 2], [127, 0, 0, 1]] {
        let mut cluster = Cluster::builder(4).build();
        let listener = cluster.listen(3, 80, false);
        let to = (address, 80).into();
        let clients: Vec<_> = (0..4).map(|shard| cluster.connect(shard, to, None).unwrap()).collect();
        cluster.drive_for(ms(100));
        let accepted: Vec<_> = std::iter::from_fn(|| cluster.accept(3, listener)).collect();
        assert_eq!(accepted.len(), 4);
        for (shard, client) in clients.into_iter().enumerate() {
            cluster.write(shard, client, b"hello").unwrap();
        }
        cluster.drive_for(ms(100));
        for connection in accepted {
            assert_eq!(cluster.read(3, connection).unwrap(), b"hello");
        }
    }
}

#[test]
fn a_port_given_to_a_shard_by_an_operator_has_all_its_datagrams_there_until_it_is_spread_again() {
    let mut cluster = Cluster::builder(4).nic(Nic::InTurn).build();
    let sockets: Vec<_> = (0..4).map(|shard| cluster.udp_bind(shard, 53, true)).collect();
    let senders: Vec<_> = (0..40).map(|_| cluster.peer.udp_bind(0)).collect();
    let to = cluster.at(53);
    // Few packets wait for an address that is not known yet.
    cluster.peer.udp_send(senders[0], to, b"where are you?");
    cluster.drive_for(ms(100));
    (0..4).for_each(|shard| drop(cluster.udp_received(shard, sockets[shard])));
    let received_by = |cluster: &mut Cluster, owner| {
        cluster.shard_mut(0).set_port_owner(PortSpace::Udp, 53, owner).unwrap();
        cluster.drive_for(ms(10));
        senders.iter().for_each(|sender| cluster.peer.udp_send(*sender, to, b"where to?"));
        cluster.drive_for(ms(100));
        let received = |(shard, socket)| cluster.udp_received(shard, socket).len();
        sockets.iter().copied().enumerate().map(received).collect::<Vec<_>>()
    };
    assert_eq!(received_by(&mut cluster, Some(Owner::Shard(ShardId(2)))), [0, 0, 40, 0]);
    let spread = received_by(&mut cluster, Some(Owner::EveryShard));
    assert!(
        spread.iter().sum::<usize>() == 40 && spread.iter().filter(|some| **some > 0).count() > 1,
        "{spread:?}"
    );
}

#[test]
fn an_operator_does_not_take_a_port_from_the_socket_that_has_it_nor_ask_a_shard_that_does_not_decide() {
    let mut cluster = Cluster::builder(3).build();
    cluster.udp_bind(1, 53, false);
    let to_shard_2 = Some(Owner::Shard(ShardId(2)));
    let mut give = |shard, owner| cluster.shard_mut(shard).set_port_owner(PortSpace::Udp, 53, owner);
    assert_eq!(give(0, to_shard_2), Err(PortOwnerError::Held { port: 53, holder: 1 }));
    assert_eq!(give(1, to_shard_2), Err(PortOwnerError::NotRegistrar));
    let nobody = Some(Owner::Shard(ShardId(3)));
    assert_eq!(give(0, nobody), Err(PortOwnerError::NoSuchShard { shard: 3, shards: 3 }));
}

#[test]
fn an_owner_without_a_socket_lasts_until_a_socket_is_bound() {
    let mut cluster = Cluster::builder(3).build();
    cluster.shard_mut(0).set_port_owner(PortSpace::Udp, 53, Some(Owner::Shard(ShardId(2)))).unwrap();
    cluster.drive_for(secs(1));
    let owner = |cluster: &Cluster| {
        let owners: Vec<_> =
            (0..3).map(|shard| cluster.shard(shard).steering().owners().owner(PortSpace::Udp, 53)).collect();
        assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
        owners[0]
    };
    assert_eq!(owner(&cluster), Some(Owner::Shard(ShardId(2))));
    cluster.udp_bind(1, 53, false);
    cluster.drive_for(ms(10));
    assert_eq!(owner(&cluster), Some(Owner::Shard(ShardId(1))));
}
