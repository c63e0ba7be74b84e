//! A shard whose own code has failed: what it had is gone, a fresh one takes its place, the others go on.

use sunstar_sim::{Cluster, Nic, ms, secs, us};
use sunstar_stack::random::Random;
use sunstar_stack::steering::{Owner, PortSpace, ShardId};
use sunstar_stack::{ListenerKey, SocketError, SocketHandle, State};

#[test]
fn the_others_go_on_the_broken_ones_connections_are_reset_and_the_fresh_one_serves() {
    for broken in 0..4 {
        let mut cluster = Cluster::builder(4).nic(Nic::Random).seed(broken as u64).build();
        let listeners: Vec<_> = (0..4).map(|shard| cluster.listen(shard, 80 + shard as u16, false)).collect();
        let mut streams = Vec::new();
        for (shard, listener) in listeners.into_iter().enumerate() {
            let to = cluster.at(80 + shard as u16);
            let client = cluster.peer.connect(to);
            let mut server = None;
            let accepted = |it: &mut Cluster| {
                server = it.accept(shard, listener);
                server.is_some()
            };
            assert!(cluster.drive_until(accepted, secs(5)));
            streams.push((client, server.unwrap()));
        }
        cluster.replace(broken);
        for (client, _) in &streams {
            cluster.peer.send(*client, b"still there?");
        }
        cluster.drive_for(secs(1));
        for (shard, (client, server)) in streams.iter().enumerate() {
            if shard == broken {
                assert_eq!(cluster.peer.state(*client), State::Closed, "it was reset");
            } else {
                assert_eq!(cluster.read(shard, *server).unwrap(), b"still there?");
            }
        }
        let port = 80 + broken as u16;
        let again = cluster.listen(broken, port, false);
        let to = cluster.at(port);
        let client = cluster.peer.connect(to);
        assert!(cluster.drive_until(|it| it.accept(broken, again).is_some(), secs(1)));
        assert_eq!(cluster.peer.state(client), State::Established);
        cluster.finish();
    }
}

#[test]
fn claims_survive_the_registrar_and_those_of_the_dead_are_free() {
    let mut cluster = Cluster::builder(4).build();
    let kept = cluster.listen(2, 80, false);
    cluster.listen(0, 81, false);
    cluster.replace(0);
    cluster.drive_for(ms(10));
    // The port of the living is still theirs...
    let other = cluster.try_listen(1, 80, false).unwrap();
    assert!(cluster.until_bound(1, SocketHandle::Listener(other)).is_err());
    cluster.close_listener(1, other);
    let to = cluster.at(80);
    cluster.peer.connect(to);
    assert!(cluster.drive_until(|it| it.accept(2, kept).is_some(), secs(1)));
    // ...and the dead one's is free.
    cluster.listen(3, 81, false);
    cluster.finish();
}

#[test]
fn a_copy_that_hears_late_of_a_dead_shards_port_hears_that_it_was_given_up_too() {
    for (broken, late) in [(1, 2), (2, 1), (3, 2), (2, 3)] {
        let mut cluster = Cluster::builder(4).build();
        let owner =
            |cluster: &Cluster, shard| cluster.shard(shard).steering().owners().owner(PortSpace::Tcp, 80);
        cluster.suspend(late);
        cluster.try_listen(broken, 80, false).unwrap();
        cluster.drive_for(ms(1));
        let known = cluster.shard(0).steering().owners().version();
        assert_eq!(owner(&cluster, 0), Some(Owner::Shard(ShardId(broken as u16))));
        cluster.replace(broken);
        cluster.drive_for(ms(1));
        // It has both to hear now: whose the port is, and that its owner has died.
        cluster.wake(late);
        cluster.drive_for(ms(1));
        for shard in 0..4 {
            assert_eq!(owner(&cluster, shard), None, "shard {broken} broke, and shard {shard} knows");
        }
        let told = cluster.shard(0).steering().owners().changes_since(known).count();
        assert_eq!(told, 1, "whoever follows the table hears of it");
    }
}

#[test]
fn shards_may_fail_again_and_again_at_any_moment() {
    let mut cluster = Cluster::builder(4).nic(Nic::Random).seed(9).build();
    for round in 0..60 {
        let shard = round % 4;
        let port = 100 + round as u16;
        let listener = cluster.try_listen((shard + 1) % 4, port, round % 3 == 0).unwrap();
        let to = cluster.at(port);
        cluster.peer.connect(to);
        cluster.drive_for(ms((round % 5) as u64));
        cluster.replace(shard);
        cluster.drive_for(ms((round % 7) as u64));
        let handle = SocketHandle::Listener(listener);
        let bound = cluster.until_bound((shard + 1) % 4, handle);
        assert_eq!(bound, Ok(()), "round {round}: the claim of a living shard is granted");
    }
    cluster.finish();
}

#[test]
fn what_a_fresh_shard_finds_on_its_queue_goes_where_it_belongs() {
    for fresh in [0, 1, 3] {
        let mut cluster = Cluster::builder(4).nic(Nic::Queue(fresh)).build();
        let listener = cluster.listen(2, 80, false);
        let to = cluster.at(80);
        let clients: Vec<_> = (0..8).map(|_| cluster.peer.connect(to)).collect();
        cluster.drive_for(ms(100));
        let accepted: Vec<_> = std::iter::from_fn(|| cluster.accept(2, listener)).collect();
        assert_eq!(accepted.len(), 8);
        // The shard fails while packets for another wait in its queue.
        cluster.suspend(fresh);
        for client in &clients {
            cluster.peer.send(*client, b"hello");
        }
        cluster.drive_for(ms(2));
        cluster.replace(fresh);
        cluster.wake(fresh);
        cluster.drive_for(secs(2));
        for connection in accepted {
            assert_eq!(
                cluster.read(2, connection),
                Ok(b"hello".to_vec()),
                "of shard 2, through shard {fresh}"
            );
        }
        cluster.finish();
    }
}

#[test]
fn a_port_that_a_fresh_shard_binds_at_once_is_known_to_a_shard_that_was_busy_meanwhile() {
    for seed in 0..20 {
        let mut cluster = Cluster::builder(4).seed(seed).build();
        cluster.listen(1, 80, false);
        // Whom the busy shard heard last, and so hears last of all next time.
        cluster.replace(2);
        cluster.drive_for(ms(1));
        cluster.suspend(3);
        cluster.replace(1);
        let again = cluster.try_listen(1, 80, false).unwrap();
        cluster.drive_for(ms(1));
        cluster.wake(3);
        assert_eq!(cluster.until_bound(1, SocketHandle::Listener(again)), Ok(()));
        for shard in 0..4 {
            let owner = cluster.shard(shard).steering().owners().owner(PortSpace::Tcp, 80);
            assert_eq!(owner, Some(Owner::Shard(ShardId(1))), "shard {shard}, seed {seed}");
        }
        cluster.finish();
    }
}

/// Whatever fails, and whoever is late: in the end all know the same, and it is what the living have.
#[test]
fn in_the_end_every_shard_knows_the_same_owners() {
    for seed in 0..300 {
        let mut random = Random::from_seed(seed);
        let mut cluster = Cluster::builder(3).seed(seed).build();
        let mut open: Vec<(usize, u16, ListenerKey)> = Vec::new();
        for _ in 0..30 {
            let shard = random.below(3) as usize;
            let port = 80 + random.below(3) as u16;
            match random.below(8) {
                0..3 => {
                    if let Ok(listener) = cluster.try_listen(shard, port, random.below(3) == 0) {
                        open.push((shard, port, listener));
                    }
                }
                3 if !open.is_empty() => {
                    let (shard, _, listener) = open.swap_remove(random.below(open.len() as u64) as usize);
                    cluster.close_listener(shard, listener);
                }
                4 => {
                    cluster.replace(shard);
                    open.retain(|(of, ..)| *of != shard);
                }
                5 => cluster.suspend(shard),
                6 => cluster.wake(shard),
                _ => cluster.drive_for(us(random.below(2_000))),
            }
            if random.below(2) == 0 {
                cluster.step();
            }
        }
        (0..3).for_each(|shard| cluster.wake(shard));
        cluster.drive_for(ms(10));
        for port in 80..83 {
            let of = |shard: usize| cluster.shard(shard).steering().owners().owner(PortSpace::Tcp, port);
            let known = [of(0), of(1), of(2)];
            assert!(known.iter().all(|owner| *owner == known[0]), "seed {seed}, port {port}: {known:?}");
            let bound = |(shard, _, listener): &&(usize, u16, ListenerKey)| {
                cluster.shard(*shard).bound(SocketHandle::Listener(*listener)).is_ok()
            };
            let here: Vec<_> = open.iter().filter(|(_, at, _)| *at == port).collect();
            let bound: Vec<_> = here.iter().filter(|it| bound(it)).map(|(shard, ..)| *shard).collect();
            match known[0] {
                Some(Owner::Shard(shard)) => {
                    assert_eq!(bound, [usize::from(shard.0)], "seed {seed}, port {port}")
                }
                Some(_) => assert!(!bound.is_empty(), "seed {seed}, port {port}: shared by nobody"),
                None => assert!(bound.is_empty(), "seed {seed}, port {port}: bound by {bound:?}, unknown"),
            }
            for (shard, _, listener) in here {
                let undecided = cluster.shard(*shard).bound(SocketHandle::Listener(*listener));
                assert_ne!(undecided, Err(SocketError::WouldBlock), "seed {seed}, port {port}");
            }
        }
        cluster.finish();
    }
}
