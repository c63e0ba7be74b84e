//! A TCP listener on every shard, used from another thread.

use std::io;
use std::net::SocketAddr;

use tokio::sync::{Mutex, mpsc, watch};

use super::RemoteStream;
use crate::mailbox::Mailbox;
use crate::net::Net;
use crate::tcp::TcpListener;

/// Connections that wait here to be accepted; the others wait in the stack.
const ACCEPTED: usize = 128;

/// Accepts TCP connections of every shard on another thread; made by [`Remote::tcp_bind`](super::Remote::tcp_bind).
///
/// Dropping it resets the connections that nobody accepted, and lets the port go soon after;
/// [`RemoteListener::close`] waits until that is done.
#[derive(Debug)]
pub struct RemoteListener {
    local: SocketAddr,
    accepted: Mutex<mpsc::Receiver<Unaccepted>>,
    /// Every shard's task has a receiver of it as long as it listens.
    listening: watch::Sender<()>,
}

/// A connection on its way to whoever accepts it. Nobody does when it is dropped.
#[derive(Debug)]
struct Unaccepted(Option<(RemoteStream, SocketAddr)>);

impl Drop for Unaccepted {
    fn drop(&mut self) {
        if let Some((stream, _)) = self.0.take() {
            stream.abort();
        }
    }
}

impl RemoteListener {
    /// Listens on every shard. The first one chooses the port, if none was given.
    pub(super) async fn bind(shards: &[Mailbox], local: SocketAddr) -> io::Result<Self> {
        let (sender, accepted) = mpsc::channel(ACCEPTED);
        let (listening, listens) = watch::channel(());
        let mut local = local;
        for shard in shards {
            let (sender, listens) = (sender.clone(), listens.clone());
            let listen = move |net: Net| async move {
                let listener = net.tcp_bind_shared(local).await?;
                let bound = listener.local_addr()?;
                let network = net.clone();
                net.spawn(async move {
                    accept(network, sender, listener, bound).await;
                    drop(listens);
                });
                Ok::<_, io::Error>(bound)
            };
            local = shard.call(listen).await??;
        }
        Ok(Self { local, accepted: Mutex::new(accepted), listening })
    }

    /// Waits for a connection: the stream, and who is at its other end. Dropping the future loses none.
    ///
    /// # Errors
    /// `NotConnected` once the network is being shut down; no connection will come any more.
    pub async fn accept(&self) -> io::Result<(RemoteStream, SocketAddr)> {
        let next = self.accepted.lock().await.recv().await;
        let accepted = next.and_then(|mut unaccepted| unaccepted.0.take());
        accepted.ok_or_else(|| {
            let message = "the listener is closed: the network was shut down";
            io::Error::new(io::ErrorKind::NotConnected, message)
        })
    }

    /// The address and port it listens on.
    ///
    /// # Errors
    /// None today; the shape is tokio's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    /// Stops listening, and waits until every shard has let the port go. Connections that nobody accepted are
    /// reset.
    pub async fn close(self) {
        drop(self.accepted);
        self.listening.closed().await;
    }
}

/// Listens on the fresh shard; on the next one, if that has failed before it could.
async fn listen_again(net: &Net, local: SocketAddr) -> io::Result<TcpListener> {
    loop {
        match net.tcp_bind_shared(local).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            bound => return bound,
        }
    }
}

/// Accepts a shard's connections as long as somebody takes them, and then stops listening. When the shard has failed,
/// it listens again on the fresh one.
async fn accept(net: Net, accepted: mpsc::Sender<Unaccepted>, mut listener: TcpListener, local: SocketAddr) {
    while let Ok(place) = accepted.reserve().await {
        let next = tokio::select! {
            biased;
            () = accepted.closed() => break,
            next = listener.accept() => next,
        };
        let (stream, peer) = match next {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                let Ok(again) = listen_again(&net, local).await else { break };
                listener = again;
                continue;
            }
            // The network is being shut down.
            Err(_) => break,
        };
        // A connection that is gone again has no address, and nobody misses it.
        if let Ok(stream) = RemoteStream::new(&net, stream) {
            place.send(Unaccepted(Some((stream, peer))));
        }
    }
}
