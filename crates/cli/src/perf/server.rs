//! The server's part: does on each connection what its client asks for.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use sunstar::{Net, TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Barrier, watch};

use super::protocol::Hello;
use crate::failure::Failure;
use crate::options::Test;

/// Bytes written at a time.
const CHUNK: usize = 64 << 10;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves on this shard until it is to stop; meets the others at `started` once it listens.
///
/// # Errors
/// The port is taken, or the network is gone.
pub(super) async fn serve(
    net: Net,
    port: u16,
    stop: &watch::Sender<bool>,
    started: &Barrier,
) -> Result<(), Failure> {
    let fails = |source| Failure::Listen { service: "perf", port, source };
    let listener = net.tcp_bind_shared(([0, 0, 0, 0], port)).await.map_err(fails).inspect_err(|_| {
        stop.send_replace(true);
    })?;
    tokio::select! {
        _ = started.wait() => {}
        () = stopped(stop) => return Ok(()),
    }
    tokio::select! {
        ended = accept(&net, listener) => ended,
        () = stopped(stop) => Ok(()),
    }
}

/// Has all stop when it is dropped.
pub(super) struct StopAtEnd<'a>(pub(super) &'a watch::Sender<bool>);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Waits until all is to stop.
pub(super) async fn stopped(stop: &watch::Sender<bool>) {
    // The sender is this one.
    let _ = stop.subscribe().wait_for(|stop| *stop).await;
}

async fn accept(net: &Net, listener: TcpListener) -> Result<(), Failure> {
    loop {
        let accepted = listener.accept().await;
        let (stream, _) = accepted.map_err(|source| Failure::Accept { service: "perf", source })?;
        net.spawn_named("a measured connection", async move {
            // How one client's connection ended is the client's to judge.
            let _ = answer(stream).await;
        });
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let hello = tokio::time::timeout(PATIENCE, Hello::hear(&mut stream)).await??;
    stream.set_nodelay(true)?;
    match hello.test {
        Test::Up => {
            while stream.recv_fragment().await?.is_some() {}
            Ok(())
        }
        Test::Down => {
            let chunk = Bytes::from(vec![b'.'; CHUNK]);
            loop {
                stream.send_bytes(chunk.clone()).await?;
            }
        }
        Test::Requests => {
            let mut bytes = vec![0; hello.size as usize];
            loop {
                stream.read_exact(&mut bytes).await?;
                stream.write_all(&bytes).await?;
            }
        }
        // The server closes first: TIME-WAIT stays here, where a new connection may end it (RFC 6191), and the client's
        // port is free at once.
        Test::Connections => {
            let mut bytes = vec![0; hello.size as usize];
            stream.read_exact(&mut bytes).await?;
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
            stream.read(&mut bytes).await.map(drop)
        }
    }
}
