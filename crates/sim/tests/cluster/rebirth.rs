//! A shard whose own code has failed: what it had is gone, a fresh one takes its place, the others go on.

use sunstar_sim::{Cluster, Nic, ms, secs};
use sunstar_stack::steering::{Owner, PortSpace, ShardId};
use sunstar_stack::{SocketHandle, State};

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
