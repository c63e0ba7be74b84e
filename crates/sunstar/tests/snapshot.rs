//! A running stack read as a whole, and changed: what its shards have, listed once, and changes that reach all of them.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::run;
use sunstar::configure::{Change, ConfigureError};
use sunstar::snapshot::{DEFAULT_LIMIT, Section, Snapshot};
use sunstar::{Builder, InterfaceId, Ipv4Header, Net, Packet, PacketFilter, PortOwnerError, State, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs an application on a stack of three shards.
fn three<F: Future>(application: impl FnOnce(Net) -> F) -> F::Output {
    run(Builder::new().shards(3), application).expect("the stack runs")
}

async fn all(net: &Net) -> Snapshot {
    net.snapshot(&[], DEFAULT_LIMIT).await
}

fn change(text: &str) -> Change {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_section_is_read_on_every_shard() {
    three(|net| async move {
        let snapshot = all(&net).await;
        assert_eq!((&snapshot.answered[..], &snapshot.silent[..]), (&[0, 1, 2][..], &[][..]));
        let sections: Vec<_> = snapshot.sections().map(|(section, _)| section).collect();
        assert_eq!(sections, Section::ALL);
        let interfaces = snapshot.interfaces.unwrap().interfaces;
        let names: Vec<_> = interfaces.iter().map(|it| (it.what.name.as_str(), &it.shards[..])).collect();
        assert_eq!(names, [("loopback", &[0, 1, 2][..]), ("device", &[0, 1, 2][..])]);
        assert!(interfaces[1].what.up && interfaces[1].what.mac.is_some());
        assert_eq!(interfaces[1].what.addresses, net.addresses());
        let steering = snapshot.steering.unwrap();
        assert_eq!(steering.shards.iter().map(|it| it.entries).sum::<usize>(), steering.entries);
        let counters = snapshot.counters.unwrap();
        let turns = &counters.counters[0];
        assert_eq!((turns.name.as_str(), turns.by_shard.len()), ("turns", 3));
        assert_eq!(turns.total, turns.by_shard.iter().sum::<u64>());
        assert_eq!(snapshot.shards.unwrap().shards.len(), 3);
    });
}

#[test]
fn sections_that_were_not_asked_for_are_left_out() {
    three(|net| async move {
        let snapshot = net.snapshot(&[Section::Routes], DEFAULT_LIMIT).await;
        let sections: Vec<_> = snapshot.sections().map(|(section, _)| section).collect();
        assert_eq!(sections, [Section::Routes]);
    });
}

#[test]
fn sockets_of_every_kind_are_listed_with_what_they_did() {
    three(|net| async move {
        let listener = net.tcp_bind("0.0.0.0:80").await.unwrap();
        let address = std::net::SocketAddr::new(net.addresses()[0].address, 80);
        let (mut client, server) = tokio::join!(net.tcp_connect(address), listener.accept());
        let (client, mut server) = (client.as_mut().unwrap(), server.unwrap().0);
        client.write_all(&[7; 5_000]).await.unwrap();
        server.read_exact(&mut [0; 2_000]).await.unwrap();
        let udp = net.udp_bind("0.0.0.0:53").await.unwrap();
        let echo = net.echo().await.unwrap();
        // The last bytes may be on their way.
        let (sockets, from_client, at_server) = loop {
            let sockets = all(&net).await.sockets.unwrap();
            let connections: Vec<_> = sockets.connections.iter().map(|it| it.socket).collect();
            let (from_client, at_server) = match connections[..] {
                [one, other] if one.remote == address => (one, other),
                [one, other] => (other, one),
                _ => panic!("{connections:?}"),
            };
            if from_client.send_queue == 0 {
                break (sockets, from_client, at_server);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert_eq!((from_client.state, at_server.state), (State::Established, State::Established));
        assert_eq!((from_client.bytes_sent, from_client.bytes_received), (5_000, 0));
        assert_eq!((at_server.bytes_sent, at_server.bytes_received), (0, 5_000));
        assert_eq!(at_server.receive_queue, 3_000);
        let counts = sockets.counts;
        assert_eq!((counts.connections, counts.listeners, counts.udp, counts.echo), (2, 1, 1, 1));
        assert!(!sockets.truncated);
        assert_eq!(sockets.listeners[0].socket.local.port(), 80);
        assert_eq!((sockets.udp[0].shard, sockets.udp[0].socket.local.port()), (net.shard(), 53));
        let text = sockets.to_string();
        for part in ["LISTEN", "ESTABLISHED", "cwnd:", "sent:4.88KiB", "0.0.0.0:53", "identifier "] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let ports = all(&net).await.ports.unwrap();
        let owners: Vec<_> =
            ports.ports.iter().map(|it| (it.what.port.to_string(), &*it.what.owner)).collect();
        let expected = [("tcp/80".to_owned(), "shard 0"), ("udp/53".to_owned(), "shard 0")];
        assert!(expected.iter().all(|port| owners.contains(port)), "{owners:?}");
        drop((udp, echo));
    });
}

#[test]
fn what_is_beyond_the_limit_is_counted_and_said_to_be_missing() {
    three(|net| async move {
        let mut sockets = Vec::new();
        for _ in 0..20 {
            sockets.push(net.udp_bind("0.0.0.0:0").await.unwrap());
        }
        let snapshot = net.snapshot(&[Section::Sockets, Section::Ports], 12).await;
        let listed = snapshot.sockets.unwrap();
        assert_eq!((listed.udp.len(), listed.counts.udp, listed.truncated), (4, 20, true), "a third of 12");
        assert!(listed.to_string().contains("not all are listed"));
        assert!(snapshot.ports.unwrap().truncated);
    });
}

#[test]
fn a_shard_that_a_task_holds_is_named_as_silent() {
    three(|net| async move {
        let held = net.clone();
        let holder = tokio::task::spawn_local(async move {
            let hold = |_| async { std::thread::sleep(Duration::from_millis(2_000)) };
            held.on_shard(2, hold).await.unwrap();
        });
        // The job has to have begun.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let snapshot = net.snapshot(&[Section::Interfaces], DEFAULT_LIMIT).await;
        assert_eq!((&snapshot.answered[..], &snapshot.silent[..]), (&[0, 1][..], &[2][..]));
        holder.await.unwrap();
    });
}

#[test]
fn addresses_and_routes_are_changed_on_every_shard_from_any() {
    three(|net| async move {
        let from_another = |change| net.on_shard(2, move |net| async move { net.configure(change).await });
        for text in [
            r#"{"add_address":"192.0.2.1/25"}"#,
            r#"{"add_route":{"network":"default","gateway":"192.0.2.2"}}"#,
            r#"{"add_route":{"network":"198.51.100.0/24","gateway":"192.0.2.3"}}"#,
            r#"{"remove_route":{"network":"default"}}"#,
        ] {
            from_another(change(text)).await.unwrap().unwrap();
        }
        let snapshot = all(&net).await;
        let routes: Vec<_> = snapshot.routes.unwrap().routes;
        let texts: Vec<_> = routes.iter().map(|it| it.what.network.to_string()).collect();
        assert_eq!(texts, ["10.0.0.0/24", "127.0.0.0/8", "192.0.2.0/25", "198.51.100.0/24"]);
        assert!(routes.iter().all(|it| it.shards == [0, 1, 2]));
        let there = net.on_shard(1, |net| async move { net.addresses() }).await.unwrap();
        assert_eq!(there, net.addresses());
        assert_eq!(there.len(), 2);
        let needed = net.configure(change(r#"{"remove_address":"192.0.2.1/25"}"#)).await;
        assert!(matches!(needed, Err(ConfigureError::RouteNeeds { .. })), "{needed:?}");
        net.configure(change(r#"{"remove_route":{"network":"198.51.100.0/24"}}"#)).await.unwrap();
        net.configure(change(r#"{"remove_address":"192.0.2.1/25"}"#)).await.unwrap();
        let device = &all(&net).await.interfaces.unwrap().interfaces[1];
        assert_eq!((device.what.addresses.len(), &device.shards[..]), (1, &[0, 1, 2][..]));
    });
}

#[test]
fn what_cannot_be_is_refused_with_advice_and_made_nowhere() {
    three(|net| async move {
        let before = all(&net).await;
        for (text, advice) in [
            (r#"{"add_address":"10.0.0.2/24"}"#, "already"),
            (r#"{"add_address":"10.0.0.2/16"}"#, "remove it first"),
            (r#"{"add_address":"10.0.0.0/24"}"#, "10.0.0.2/24"),
            (r#"{"add_address":"10.0.0.255/24"}"#, "10.0.0.2/24"),
            (r#"{"add_address":"224.0.0.1/24"}"#, "10.0.0.2/24"),
            (r#"{"add_address":"127.0.0.2/8"}"#, "10.0.0.2/24"),
            (r#"{"add_address":"2001:db8::1/64"}"#, "IPv4"),
            (r#"{"remove_address":"10.0.0.2/25"}"#, "it has 10.0.0.2/24"),
            (r#"{"add_route":{"network":"default","gateway":"10.0.1.1"}}"#, "it is in 10.0.0.0/24"),
            (r#"{"add_route":{"network":"default","gateway":"10.0.0.2"}}"#, "other host"),
            (r#"{"add_route":{"network":"default","gateway":"10.0.0.255"}}"#, "other host"),
            (r#"{"remove_route":{"network":"198.51.100.0/24"}}"#, "no route to 198.51.100.0/24"),
            (r#"{"set_port":{"port":"udp/53","owner":"shard 3"}}"#, "has 3, and the first is 0"),
        ] {
            let error = net.configure(change(text)).await.expect_err(text).to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
        let after = all(&net).await;
        assert_eq!((before.interfaces, before.routes), (after.interfaces, after.routes));
        assert_eq!(before.ports, after.ports);
    });
}

#[test]
fn there_are_no_more_addresses_and_routes_than_a_packet_can_be_held_against() {
    three(|net| async move {
        let add = |host: u32| change(&format!(r#"{{"add_address":"10.9.0.{host}/24"}}"#));
        for host in 1..64 {
            net.configure(add(host)).await.unwrap();
        }
        assert_eq!(net.configure(add(64)).await, Err(ConfigureError::TooManyAddresses(64)));
        let route = |third: u32| {
            change(&format!(r#"{{"add_route":{{"network":"10.8.{third}.0/24","gateway":"10.0.0.1"}}}}"#))
        };
        for third in 0..256 {
            net.configure(route(third)).await.unwrap();
        }
        let more = change(r#"{"add_route":{"network":"default","gateway":"10.0.0.1"}}"#);
        assert_eq!(net.configure(more).await, Err(ConfigureError::TooManyRoutes(256)));
        net.configure(route(0)).await.unwrap();
    });
}

#[test]
fn a_port_is_given_to_a_shard_and_every_shard_is_told() {
    three(|net| async move {
        net.configure(change(r#"{"set_port":{"port":"udp/53","owner":"shard 2"}}"#)).await.unwrap();
        // Shards are told by messages.
        let told = async |owner: &str| loop {
            let ports = all(&net).await.ports.unwrap().ports;
            if matches!(&ports[..], [port] if port.what.owner == owner && port.shards == [0, 1, 2]) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        told("shard 2").await;
        net.configure(change(r#"{"set_port":{"port":"udp/53","owner":"every"}}"#)).await.unwrap();
        told("every").await;
        net.configure(change(r#"{"set_port":{"port":"udp/53","owner":"none"}}"#)).await.unwrap();
        while !all(&net).await.ports.unwrap().ports.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_port_that_a_socket_has_for_itself_stays_with_it() {
    three(|net| async move {
        let _socket = net.udp_bind("0.0.0.0:53").await.unwrap();
        let refused = net.configure(change(r#"{"set_port":{"port":"udp/53","owner":"shard 2"}}"#)).await;
        assert_eq!(refused, Err(ConfigureError::Port(PortOwnerError::Held { port: 53, holder: 0 })));
    });
    common::alone(|net| async move {
        let refused = net.configure(change(r#"{"set_port":{"port":"udp/53","owner":"shard 0"}}"#)).await;
        assert_eq!(refused, Err(ConfigureError::Port(PortOwnerError::Alone)));
    });
}

#[test]
fn changes_made_at_once_leave_every_shard_the_same() {
    three(|net| async move {
        let change_from = |shard: u16| {
            let net = net.clone();
            tokio::task::spawn_local(async move {
                let work = |net: Net| async move {
                    for _ in 0..50 {
                        // Whichever comes first, the other is refused.
                        let _ = net.configure(change(r#"{"add_address":"192.0.2.1/24"}"#)).await;
                        let _ = net.configure(change(r#"{"remove_address":"192.0.2.1/24"}"#)).await;
                    }
                };
                net.on_shard(shard, work).await.unwrap();
            })
        };
        let workers: Vec<_> = (0..3).map(change_from).collect();
        for worker in workers {
            worker.await.unwrap();
        }
        let interfaces = all(&net).await.interfaces.unwrap().interfaces;
        let ways: BTreeSet<_> = interfaces.iter().map(|it| it.what.name.clone()).collect();
        assert_eq!(ways.len(), interfaces.len(), "shards differ: {interfaces:?}");
    });
}

/// A filter that panics on the first packet.
struct Trap(Arc<AtomicBool>);

impl PacketFilter for Trap {
    fn filter(&mut self, _: InterfaceId, _: &Ipv4Header, packet: Packet) -> Verdict {
        assert!(!self.0.swap(false, Ordering::Relaxed), "the shard is broken on purpose");
        Verdict::Pass(packet)
    }
}

#[test]
fn a_shard_that_begins_anew_has_the_addresses_and_routes_that_were_changed() {
    three(|net| async move {
        net.configure(change(r#"{"add_address":"192.0.2.1/24"}"#)).await.unwrap();
        net.configure(change(r#"{"add_route":{"network":"default","gateway":"192.0.2.2"}}"#)).await.unwrap();
        let before = all(&net).await;
        let trap = Arc::new(AtomicBool::new(true));
        for shard in 0..3 {
            let trap = Trap(Arc::clone(&trap));
            net.on_shard(shard, move |net| async move { net.install_filter(Box::new(trap)) })
                .await
                .unwrap()
                .unwrap();
        }
        // Whichever shard gets this is broken by it.
        let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
        socket.send_to(b"?", (net.addresses()[0].address, 9)).await.unwrap();
        let after = loop {
            let after = all(&net).await;
            if after.shards.as_ref().unwrap().shards.iter().any(|shard| shard.restarts == 1) {
                break after;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert_eq!((before.interfaces, before.routes), (after.interfaces, after.routes));
    });
}
