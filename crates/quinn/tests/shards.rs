//! QUIC on a host of four shards with fewer queues, asked from several shards of another host.

mod common;

use std::time::Duration;

use common::{SERVER, Trust, connect, get, run_on_each, serve};
use quinn::{Endpoint, EndpointConfig};
use sunstar::wire::{self, WireConfig};
use sunstar::{Builder, Device, Net};
use tokio::sync::Barrier;

const SHARDS: u16 = 4;
const WIRES: u16 = 2;
/// A shard of the server that has no queue.
const PROXIED: u16 = 3;

/// Runs a client on each of two shards, one a wire, against a server on each of four. Clients begin once every server has
/// its endpoint, if it is to have one; those serve files until all clients are done. How many connections each accepted.
fn against_shards<F, G>(
    config: &WireConfig,
    client: impl Fn(Net) -> F + Sync,
    server: impl Fn(Net) -> G + Sync,
) -> Vec<u64>
where
    F: Future<Output = ()>,
    G: Future<Output = Option<Endpoint>>,
{
    let pairs: Vec<_> = (0..WIRES).map(|_| wire::pair(config).unwrap()).collect();
    let (left, right): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let host = |shards, ends, address: &str| {
        let host = Builder::new().shards(shards).device(Device::Wire(ends));
        host.address(address.parse().unwrap()).shutdown_deadline(Duration::from_millis(500))
    };
    let (clients, servers) = (host(WIRES, left, "10.0.0.1/24"), host(SHARDS, right, "10.0.0.2/24"));
    let listening = &Barrier::new(usize::from(WIRES + SHARDS));
    let over = &Barrier::new(usize::from(WIRES + SHARDS));
    let server = &server;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            run_on_each(clients, |net| async {
                listening.wait().await;
                client(net).await;
                over.wait().await;
            })
        });
        run_on_each(servers, |net| async move {
            let endpoint = server(net.clone()).await;
            if let Some(endpoint) = endpoint.clone() {
                net.spawn(serve(net.clone(), endpoint));
            }
            listening.wait().await;
            over.wait().await;
            endpoint.map_or(0, |endpoint| endpoint.stats().accepted_handshakes)
        })
    })
}

async fn on_one_shard(net: &Net, trust: &Trust) -> Option<Endpoint> {
    match net.shard() == PROXIED {
        true => Some(sunstar_quinn::server(net, SERVER, trust.server.clone()).await.unwrap()),
        false => None,
    }
}

#[test]
fn an_endpoint_on_a_shard_without_a_queue_serves_clients_of_several_shards() {
    for config in [WireConfig::default(), WireConfig::default().with_offloads()] {
        let trust = &Trust::new();
        against_shards(
            &config,
            |net| async move {
                let endpoint = trust.client(&net).await;
                let ask = |number: usize| {
                    let endpoint = endpoint.clone();
                    net.spawn(async move { get(&connect(&endpoint, SERVER).await, (1 << 20) + number).await })
                };
                for answered in (0..4).map(ask).collect::<Vec<_>>() {
                    answered.await.unwrap();
                }
            },
            |net| async move { on_one_shard(&net, trust).await },
        );
    }
}

#[test]
fn a_connection_goes_on_whichever_shard_its_clients_new_port_hashes_to() {
    let trust = &Trust::new();
    against_shards(
        &WireConfig::default(),
        |net| async move {
            let endpoint = trust.client(&net).await;
            let connection = connect(&endpoint, SERVER).await;
            for _ in 0..12 {
                get(&connection, 50_000).await;
                let elsewhere = net.udp_bind("0.0.0.0:0").await.unwrap();
                endpoint.rebind_abstract(sunstar_quinn::abstract_socket(elsewhere)).unwrap();
            }
            get(&connection, 50_000).await;
        },
        |net| async move { on_one_shard(&net, trust).await },
    );
}

#[test]
fn every_shard_serves_on_a_port_of_its_own() {
    let trust = &Trust::new();
    against_shards(
        &WireConfig::default(),
        |net| async move {
            let endpoint = trust.client(&net).await;
            for shard in 0..SHARDS {
                get(&connect(&endpoint, &format!("10.0.0.2:{}", 4_433 + shard)).await, 100_000).await;
            }
        },
        |net| async move {
            let local = ([0, 0, 0, 0], 4_433 + net.shard());
            Some(sunstar_quinn::server(&net, local, trust.server.clone()).await.unwrap())
        },
    );
}

#[test]
fn every_shard_has_its_part_of_a_shared_port_while_clients_stay_where_they_are() {
    let trust = &Trust::new();
    let accepted = against_shards(
        &WireConfig::default(),
        |net| async move {
            for _ in 0..40 {
                // From a port of its own each time.
                get(&trust.connect(&net).await, 10_000).await;
            }
        },
        |net| async move {
            let socket = net.udp_bind_shared(SERVER).await.unwrap();
            let config = Some(trust.server.clone());
            Some(sunstar_quinn::endpoint(&net, socket, EndpointConfig::default(), config).unwrap())
        },
    );
    assert_eq!(accepted.iter().sum::<u64>(), 80);
    assert!(accepted.iter().all(|accepted| *accepted > 0), "{accepted:?}");
}
