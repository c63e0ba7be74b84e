//! QUIC in virtual time: quinn's clock and timers are the executor's, and so a simulation's.

mod common;

use std::time::Duration;

use common::{NAME, SERVER, Trust, get, serve};
use quinn::{ConnectionError, TransportConfig, VarInt};
use sunstar_sim::live::{Host, HostOptions, Network};
use sunstar_sim::{Impairments, ms, secs};
use tokio::time::Instant;

/// A client at the end of a link like this, and a server, in the order of their addresses.
fn hosts(seed: u64, link: Impairments) -> (Network, Host, Host) {
    let mut network = Network::new(seed);
    let client = network.host(HostOptions::default().link(link));
    let server = network.host(HostOptions::default().link(Impairments::default()));
    (network, client, server)
}

#[test]
fn a_file_crosses_a_link_that_loses_one_frame_in_twenty() {
    let (network, client, server) =
        hosts(1, Impairments { latency: ms(50), loss: 0.05, ..Impairments::default() });
    let run = network.run(async {
        let trust = Trust::new();
        let endpoint = sunstar_quinn::server(&server.net(), SERVER, trust.server.clone()).await.unwrap();
        server.net().spawn(serve(server.net(), endpoint));
        let connection = trust.connect(&client.net()).await;
        get(&connection, 300_000).await;
        connection.close(VarInt::from_u32(0), b"");
    });
    let elapsed = run.unwrap().elapsed;
    assert!(elapsed > ms(500) && elapsed < secs(60), "it took {elapsed:?}");
}

#[test]
fn a_peer_that_has_vanished_is_given_up_after_the_idle_timeout() {
    const IDLE: Duration = secs(20);
    let (network, client, server) = hosts(2, Impairments { latency: ms(50), ..Impairments::default() });
    let run = network.run(async {
        let mut transport = TransportConfig::default();
        transport.max_idle_timeout(Some(IDLE.try_into().unwrap()));
        let trust = Trust::with(transport);
        let endpoint = sunstar_quinn::server(&server.net(), SERVER, trust.server.clone()).await.unwrap();
        server.net().spawn(serve(server.net(), endpoint));
        let endpoint = trust.client(&client.net()).await;
        let connection = endpoint.connect(SERVER.parse().unwrap(), NAME).unwrap().await.unwrap();
        get(&connection, 100).await;
        // Everything is said and acknowledged.
        tokio::time::sleep(secs(1)).await;
        server.cut();
        let before = Instant::now();
        let end = connection.closed().await;
        (end, before.elapsed())
    });
    let (end, after) = run.unwrap().output;
    assert_eq!(end, ConnectionError::TimedOut);
    assert!((IDLE - secs(1)..=IDLE).contains(&after), "after {after:?}");
}
