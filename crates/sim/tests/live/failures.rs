//! Peers that vanish, tasks that panic, and buffers that are kept.

use std::cell::OnceCell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sunstar::RunError;
use sunstar_sim::live::{Error, HostOptions, Network};
use sunstar_sim::{ms, secs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::{serve_echo, slow, two_hosts};

/// How a connection ends whose peer vanishes, and how long after that.
fn vanishing(seed: u64, user_timeout: Option<Duration>) -> (ErrorKind, Duration) {
    let (network, server, client) = two_hosts(seed, slow(ms(10)));
    let run = network.run(async {
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        server.net().spawn(serve_echo(server.net(), listener));
        let mut stream = client.net().tcp_connect(server.at(7)).await.unwrap();
        if let Some(timeout) = user_timeout {
            stream.set_user_timeout(Some(timeout)).unwrap();
        }
        server.cut();
        let before = Instant::now();
        stream.write_all(b"is anybody there?").await.unwrap();
        let error = stream.read_u8().await.unwrap_err();
        (error.kind(), before.elapsed())
    });
    run.unwrap().output
}

#[test]
fn a_user_timeout_ends_a_connection_whose_peer_has_vanished() {
    let (kind, after) = vanishing(1, Some(secs(20)));
    assert_eq!(kind, ErrorKind::TimedOut);
    assert!((secs(20)..secs(21)).contains(&after), "after {after:?}");
}

#[test]
fn without_one_it_takes_as_long_as_retransmissions_do() {
    let (kind, after) = vanishing(2, None);
    assert_eq!(kind, ErrorKind::TimedOut);
    // RFC 9293 MUST-20 and SHLD-11: at least 100 seconds.
    assert!(after > secs(100), "after {after:?}");
}

#[test]
fn a_connection_outlives_a_link_that_is_cut_for_a_while() {
    let (network, server, client) = two_hosts(3, slow(ms(10)));
    let run = network.run(async {
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        server.net().spawn(serve_echo(server.net(), listener));
        let mut stream = client.net().tcp_connect(server.at(7)).await.unwrap();
        stream.write_all(b"?").await.unwrap();
        stream.read_u8().await.unwrap();
        client.cut();
        stream.write_all(b"!").await.unwrap();
        sleep(secs(10)).await;
        assert!(client.counters()[0].no_link > 1);
        client.mend();
        stream.read_u8().await.unwrap()
    });
    let run = run.unwrap();
    assert_eq!(run.output, b'!');
    assert!(run.elapsed > secs(10));
}

#[test]
fn a_task_that_panics_closes_what_it_owned_and_nothing_else() {
    let (network, server, client) = two_hosts(4, slow(ms(10)));
    let run = network.run(async {
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        let doomed = server.net().spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            panic!("the service has a bug");
        });
        let other = server.net().tcp_bind("0.0.0.0:8").await.unwrap();
        server.net().spawn(serve_echo(server.net(), other));
        let mut kept = client.net().tcp_connect(server.at(8)).await.unwrap();
        let mut stream = client.net().tcp_connect(server.at(7)).await.unwrap();
        stream.write_u8(1).await.unwrap();
        let end = stream.read_u8().await.unwrap_err();
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof, "the stream was closed");
        assert!(doomed.await.unwrap_err().is_panic());
        let refused = client.net().tcp_connect(server.at(7)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "so was the listener");
        kept.write_u8(2).await.unwrap();
        kept.read_u8().await.unwrap()
    });
    assert_eq!(run.unwrap().output, 2);
}

#[test]
fn an_application_that_panics_panics_the_test() {
    let (network, server, client) = two_hosts(5, slow(ms(10)));
    let run = catch_unwind(AssertUnwindSafe(|| {
        network.run(async {
            let _listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
            let _stream = client.net().tcp_connect(server.at(7)).await.unwrap();
            panic!("so it is");
        })
    }));
    let panic = run.map(drop).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"so it is"));
}

#[test]
fn buffers_that_are_kept_past_the_end_are_told() {
    let (network, server, client) = two_hosts(6, slow(ms(10)));
    let kept = OnceCell::new();
    let run = network.run(async {
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        server.net().spawn(serve_echo(server.net(), listener));
        let mut stream = client.net().tcp_connect(server.at(7)).await.unwrap();
        stream.write_all(&[1; 1_000]).await.unwrap();
        let _ = kept.set(stream.recv_fragment().await.unwrap());
    });
    assert!(matches!(run.map(drop), Err(Error::Stack(RunError::BuffersHeld { buffers: 1.. }))));
}

#[test]
fn a_description_that_cannot_be_is_refused() {
    let mut network = Network::new(7);
    network.host(HostOptions::new(sunstar::Builder::new().shards(0)));
    assert!(matches!(network.run(async {}).map(drop), Err(Error::Stack(RunError::Shards { shards: 0 }))));
}

#[test]
fn a_socket_that_outlives_the_network_says_that_it_is_closed() {
    let (network, server, client) = two_hosts(8, slow(ms(10)));
    let run = network.run(async {
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        let stream = client.net().tcp_connect(server.at(7)).await.unwrap();
        (listener, stream)
    });
    let (listener, stream) = run.unwrap().output;
    assert_eq!(stream.try_write(b"?").unwrap_err().kind(), ErrorKind::NotConnected);
    assert!(listener.local_addr().is_err() && server.net().shard_stats().is_none());
}
