//! A service and its client in virtual time: what to copy for a test of one's own.
//!
//! `cargo run -p sunstar-sim --example live_echo -- 7 trace.pcapng`: the seed, and a file for Wireshark.

use std::error::Error;
use std::fs::File;
use std::io;
use std::time::Duration;

use sunstar::{Builder, Net};
use sunstar_sim::live::{HostOptions, Network};
use sunstar_sim::{Impairments, ms};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// The service, as it is written for production: it knows nothing of a simulation.
async fn serve(net: Net) -> io::Result<()> {
    let listener = net.tcp_bind_shared("0.0.0.0:7").await?;
    loop {
        let (mut stream, peer) = listener.accept().await?;
        net.spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            loop {
                match timeout(PATIENCE, stream.read(&mut buffer)).await {
                    Ok(Ok(0) | Err(_)) => return,
                    Ok(Ok(len)) => match stream.write_all(&buffer[..len]).await {
                        Ok(()) => {}
                        Err(_) => return,
                    },
                    Err(_) => return println!("{peer} has said nothing for {PATIENCE:?}"),
                }
            }
        });
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seed = arguments.next().map_or(Ok(7), |seed| seed.parse())?;

    // A server of two shards, and a client at the end of a long and bad link.
    let mut network = Network::new(seed).keep_all();
    let server = network.host(HostOptions::new(Builder::new().shards(2)));
    let link = Impairments { latency: ms(80), jitter: ms(5), loss: 0.05, ..Impairments::default() };
    let client = network.host(HostOptions::default().link(link));

    let run = network.run(async {
        for net in server.nets() {
            net.spawn(serve(net.clone()));
        }
        // Both shards listen before anybody asks.
        while server.nets().iter().any(|net| net.shard_stats().is_none_or(|stats| stats.listeners == 0)) {
            tokio::time::sleep(ms(1)).await;
        }
        let mut stream = client.net().tcp_connect(server.at(7)).await?;
        for number in 0..10_u32 {
            let before = Instant::now();
            stream.write_u32(number).await?;
            assert_eq!(stream.read_u32().await?, number);
            println!("{number} came back after {:?}", before.elapsed());
        }
        // The service gives up whoever is silent.
        let before = Instant::now();
        let end = stream.read(&mut [0; 1]).await?;
        println!("the stream ended with {end} bytes after {:?}", before.elapsed());
        Ok::<_, io::Error>(client.counters()[0])
    })?;

    let counters = run.output?;
    let (sent, lost) = (counters.sent, counters.lost);
    println!("{:?} of virtual time; the client sent {sent} frames, and {lost} were lost", run.elapsed);
    println!("{} frames crossed; seed {seed} has the hash {:016x}", run.trace.frames(), run.trace.hash());
    if let Some(path) = arguments.next() {
        run.trace.write_pcapng(File::create(path)?)?;
    }
    Ok(())
}
