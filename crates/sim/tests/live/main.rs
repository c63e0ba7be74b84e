//! Applications on async sockets, in virtual time.

mod failures;
mod http;
mod repeatable;
mod shards;
mod tcp;
mod time;
mod udp;

use std::io;
use std::time::Duration;

use sunstar::{Net, TcpListener, TcpStream};
use sunstar_sim::Impairments;
use sunstar_sim::live::{Host, HostOptions, Network};

/// Two hosts; the link of the second is like that in both directions, and the first one's takes no time.
fn two_hosts(seed: u64, link: Impairments) -> (Network, Host, Host) {
    let mut network = Network::new(seed);
    let server = network.host(HostOptions::default().link(Impairments::default()));
    let client = network.host(HostOptions::default().link(link));
    (network, server, client)
}

/// A link that does nothing but take its time.
fn slow(latency: Duration) -> Impairments {
    Impairments { latency, ..Impairments::default() }
}

/// Gives every connection back what it sends.
async fn serve_echo(net: Net, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        net.spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<u64> {
    let (mut reader, mut writer) = stream.split();
    let copied = tokio::io::copy(&mut reader, &mut writer).await?;
    tokio::io::AsyncWriteExt::shutdown(&mut writer).await?;
    Ok(copied)
}
