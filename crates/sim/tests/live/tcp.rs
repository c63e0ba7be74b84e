//! Streams over links that lose, repeat and reorder, and what they need of time.

use sunstar_sim::live::{HostOptions, Network};
use sunstar_sim::{Impairments, ms, noise, secs, us};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::{serve_echo, slow, two_hosts};

#[test]
fn an_echo_comes_back_whole_over_a_link_that_loses_one_frame_in_twenty() {
    let link = Impairments { loss: 0.05, duplication: 0.01, reordering: 0.01, ..slow(ms(20)) };
    let (network, server, client) = two_hosts(1, link);
    let run = network.run(async {
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        server.net().spawn(serve_echo(server.net(), listener));
        let mut stream = client.net().tcp_connect(server.at(7)).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let sent = noise(500_000, 1);
        let write = async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let (_, read) = tokio::join!(write, reader.read_to_end(&mut received));
        read.unwrap();
        assert!(received == sent);
        client.counters().map(|link| link.lost)
    });
    let run = run.unwrap();
    assert!(run.output.iter().all(|lost| *lost > 0), "{:?}", run.output);
    assert!(run.elapsed > secs(1), "it took {:?}", run.elapsed);
}

#[test]
fn microseconds_of_a_link_are_microseconds_of_the_application() {
    let (network, server, client) = two_hosts(2, slow(us(70)));
    let run = network.run(async {
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        server.net().spawn(serve_echo(server.net(), listener));
        let mut stream = client.net().tcp_connect(server.at(7)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut times = Vec::new();
        for _ in 0..3 {
            let before = Instant::now();
            stream.write_all(b"?").await.unwrap();
            stream.read_u8().await.unwrap();
            times.push(before.elapsed());
        }
        times
    });
    assert_eq!(run.unwrap().output, [us(140); 3]);
}

#[test]
fn a_card_sends_as_fast_as_its_rate() {
    let mut network = Network::new(3);
    let server = network.host(HostOptions::default());
    let client = network.host(HostOptions { rate: Some(10_000_000), ..HostOptions::default() });
    let run = network.run(async {
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        let received = server.net().spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.unwrap();
            received.len()
        });
        let mut stream = client.net().tcp_connect(server.at(7)).await.unwrap();
        stream.write_all(&noise(1_000_000, 3)).await.unwrap();
        stream.shutdown().await.unwrap();
        received.await.unwrap()
    });
    let run = run.unwrap();
    assert_eq!(run.output, 1_000_000);
    // A megabyte is 0.8 seconds of ten megabits, and headers take a few hundredths more.
    assert!((ms(800)..ms(900)).contains(&run.elapsed), "it took {:?}", run.elapsed);
}

#[test]
fn what_is_written_last_arrives_although_the_application_is_done() {
    let (network, server, client) = two_hosts(4, Impairments { loss: 0.2, ..slow(ms(10)) });
    let (heard, hears) = tokio::sync::oneshot::channel();
    let run = network.run(async {
        let listener = server.net().tcp_bind("0.0.0.0:7").await.unwrap();
        let mut stream = client.net().tcp_connect(server.at(7)).await.unwrap();
        let (mut accepted, _) = listener.accept().await.unwrap();
        server.net().spawn(async move {
            let mut received = Vec::new();
            accepted.read_to_end(&mut received).await.unwrap();
            heard.send(received.len()).unwrap();
        });
        stream.write_all(&noise(20_000, 4)).await.unwrap();
    });
    run.unwrap();
    assert_eq!(hears.blocking_recv(), Ok(20_000));
}
