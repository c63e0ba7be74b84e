//! tokio's timers beside the network's: all of it is one time, and none of it is waited for.

use sunstar_sim::live::{Error, Network};
use sunstar_sim::{Impairments, ms, secs, us};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{serve_echo, slow, two_hosts};

#[test]
fn a_timeout_fires_at_its_time_when_the_peer_is_silent() {
    let (network, server, client) = two_hosts(1, slow(us(300)));
    let run = network.run(async {
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        let mut stream = client.net().tcp_connect(server.at(7)).await.unwrap();
        let (_silent, _) = listener.accept().await.unwrap();
        // The handshake ended within a millisecond; timers fire at whole ones.
        sleep(ms(1)).await;
        let before = Instant::now();
        let answer = timeout(secs(30), stream.read_u8()).await;
        assert!(answer.is_err());
        before.elapsed()
    });
    assert_eq!(run.unwrap().output, secs(30));
}

#[test]
fn timers_fire_at_whole_milliseconds_in_the_order_of_their_times() {
    let (network, server, client) = two_hosts(2, slow(us(333)));
    let run = network.run(async {
        let start = Instant::now();
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        server.net().spawn(serve_echo(server.net(), listener));
        // Two trips for the neighbour's station and two for the handshake.
        let _stream = client.net().tcp_connect(server.at(7)).await.unwrap();
        let connected = start.elapsed();
        let long = client.net().spawn(async move {
            sleep(ms(7)).await;
            start.elapsed()
        });
        sleep(us(100)).await;
        (connected, start.elapsed(), long.await.unwrap())
    });
    assert_eq!(run.unwrap().output, (us(4 * 333), ms(2), ms(9)));
}

#[test]
fn a_thousand_minutes_of_a_heartbeat_are_soon_over() {
    const MINUTES: u32 = 1_000;
    let (network, server, client) = two_hosts(3, Impairments { loss: 0.01, ..slow(ms(25)) });
    let run = network.patience(secs(100_000)).run(async {
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        server.net().spawn(serve_echo(server.net(), listener));
        let mut stream = client.net().tcp_connect(server.at(7)).await.unwrap();
        let mut beats = interval(secs(60));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for beat in 0..MINUTES {
            beats.tick().await;
            stream.write_u32(beat).await.unwrap();
            assert_eq!(stream.read_u32().await.unwrap(), beat);
        }
    });
    let elapsed = run.unwrap().elapsed;
    assert!((secs(60 * 999)..secs(60 * 1_001)).contains(&elapsed), "it took {elapsed:?}");
}

#[test]
fn an_application_that_waits_for_nothing_is_told_so() {
    let (network, server, _client) = two_hosts(4, slow(ms(1)));
    let run = network.run(async {
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        listener.accept().await.unwrap();
    });
    assert!(matches!(run.map(drop), Err(Error::Patience { patience, .. }) if patience == secs(3_600)));
}

#[test]
fn a_network_without_hosts_still_has_time() {
    let run = Network::new(5).run(async {
        sleep(secs(10)).await;
        "done"
    });
    let run = run.unwrap();
    assert_eq!((run.output, run.elapsed), ("done", secs(10)));
}
