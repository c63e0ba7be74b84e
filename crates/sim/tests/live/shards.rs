//! Hosts of many shards, all of them on one executor.

use std::collections::BTreeSet;

use sunstar::Builder;
use sunstar_sim::live::{Host, HostOptions, Network};
use sunstar_sim::{ms, noise};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{serve_echo, slow};

const SHARDS: u16 = 4;

fn many_shards(seed: u64, queues: u16) -> (Network, Host, Host) {
    let mut network = Network::new(seed);
    let stack = || Builder::new().shards(SHARDS).queues(queues);
    let server = network.host(HostOptions::new(stack()));
    let client = network.host(HostOptions::new(stack()).link(slow(ms(5))));
    (network, server, client)
}

/// Four connections from each shard of a client to a server that listens on all of its own.
async fn converse(server: Host, client: Host) -> BTreeSet<u16> {
    for net in server.nets() {
        let listener = net.tcp_bind_shared("0.0.0.0:7").await.unwrap();
        net.spawn(serve_echo(net.clone(), listener));
    }
    let ask = |net: sunstar::Net| {
        let to = server.at(7);
        net.clone().spawn(async move {
            for number in 0..4 {
                let mut stream = net.tcp_connect(to).await.unwrap();
                let (question, mut answer) = (noise(20_000, number), vec![0; 20_000]);
                let (mut reader, mut writer) = stream.split();
                tokio::join!(async { writer.write_all(&question).await.unwrap() }, async {
                    reader.read_exact(&mut answer).await.unwrap()
                },);
                assert!(question == answer);
            }
        })
    };
    for asking in client.nets().into_iter().map(ask).collect::<Vec<_>>() {
        asking.await.unwrap();
    }
    let accepted = |net: &sunstar::Net| net.shard_stats().unwrap().counters.tcp.passive_opens > 0;
    server.nets().iter().filter(|net| accepted(net)).map(sunstar::Net::shard).collect()
}

#[test]
fn every_shard_of_a_host_has_its_part_of_the_connections() {
    let (network, server, client) = many_shards(1, SHARDS);
    let run = network.run(converse(server, client)).unwrap();
    assert!(run.output.len() > 1, "only {:?} accepted any", run.output);
}

#[test]
fn shards_without_a_queue_send_through_one_that_has() {
    let (network, server, client) = many_shards(2, 1);
    let run = network.run(converse(server, client)).unwrap();
    assert!(run.output.len() > 1, "only {:?} accepted any", run.output);
}

#[test]
fn a_job_is_done_on_the_shard_it_was_sent_to() {
    let (network, server, _client) = many_shards(3, SHARDS);
    let run = network.run(async {
        let mut done = Vec::new();
        for shard in 0..SHARDS {
            done.push(server.net().on_shard(shard, |net| async move { net.shard() }).await.unwrap());
        }
        done
    });
    assert_eq!(run.unwrap().output, (0..SHARDS).collect::<Vec<_>>());
}

#[test]
fn all_shards_answer_for_their_counters_and_for_a_snapshot() {
    let (network, server, _client) = many_shards(4, SHARDS);
    let run = network.run(async {
        let stats = server.net().stats().await;
        (stats.shards.len(), server.net().snapshot(&[], 10).await.silent)
    });
    assert_eq!(run.unwrap().output, (usize::from(SHARDS), Vec::new()));
}
