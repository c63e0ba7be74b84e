//! The same seed gives the same frames at the same times.

use sunstar::Builder;
use sunstar_sim::live::{HostOptions, Network};
use sunstar_sim::{Impairments, ms, noise};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::{serve_echo, slow};

/// Clients of two hosts talk to a server of four shards over bad links. The hash of all frames, and how many.
fn run(seed: u64) -> (u64, u64) {
    let link = || Impairments { loss: 0.03, jitter: ms(2), duplication: 0.01, ..slow(ms(10)) };
    let mut network = Network::new(seed);
    let server = network.host(HostOptions::new(Builder::new().shards(4).queues(2)));
    let clients = [1, 2].map(|shards| {
        let options = HostOptions::new(Builder::new().shards(shards)).link(link());
        network.host(HostOptions { rate: Some(50_000_000), offloads: shards == 2, ..options })
    });
    let run = network.run(async {
        for net in server.nets() {
            let listener = net.tcp_bind_shared("0.0.0.0:7").await.unwrap();
            net.spawn(serve_echo(net.clone(), listener));
        }
        let nets = clients.iter().flat_map(|client| client.nets());
        let ask = |(number, net): (u64, sunstar::Net)| {
            let to = server.at(7);
            net.clone().spawn(async move {
                sleep(ms(number)).await;
                let mut stream = net.tcp_connect(to).await.unwrap();
                let question = noise(50_000, number);
                let (mut reader, mut writer) = stream.split();
                let mut answer = Vec::new();
                let write = async {
                    writer.write_all(&question).await.unwrap();
                    writer.shutdown().await.unwrap();
                };
                tokio::join!(biased; write, async { reader.read_to_end(&mut answer).await.unwrap() });
                assert!(question == answer);
            })
        };
        for asking in (0..).zip(nets).map(ask).collect::<Vec<_>>() {
            asking.await.unwrap();
        }
    });
    let trace = run.unwrap().trace;
    (trace.hash(), trace.frames())
}

#[test]
fn the_same_seed_gives_the_same_frames_and_another_seed_others() {
    let first = run(11);
    assert!(first.1 > 200, "{first:?}");
    assert_eq!(first, run(11));
    assert_ne!(first.0, run(12).0);
}
