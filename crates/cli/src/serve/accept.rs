//! Accepting connections: so many at a time, each a task, until the server is asked to end.

use std::io::ErrorKind;

use sunstar::{Net, TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::failure::Failure;

/// What every task waits for besides its work: that the server is asked to end.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// It is asked once this becomes true, or its sender is gone.
    pub(super) fn new(stopping: watch::Receiver<bool>) -> Self {
        Self(stopping)
    }

    /// Waits until the server is asked to end.
    pub(super) async fn wait(mut self) {
        // A sender that is gone is an end, too.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

/// A service on one port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    /// What it is called in messages.
    pub(super) name: &'static str,
    /// The port of the stack it is on; every shard has its share of it.
    pub(super) port: u16,
    /// Connections at a time, on each shard. At the cap none is accepted: the next ones wait in the stack, which has
    /// caps of its own.
    pub(super) max_connections: usize,
    /// Whether a connection ends by itself when the server is asked to; others are cut off.
    pub(super) finishes: bool,
}

impl Service {
    /// Listens on its port, on this shard; on a fresh one, if it fails meanwhile.
    ///
    /// # Errors
    /// The port is taken, or the network is gone.
    pub(super) async fn listen(&self, net: &Net) -> Result<TcpListener, Failure> {
        loop {
            match net.tcp_bind_shared(([0, 0, 0, 0], self.port)).await {
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(source) => {
                    return Err(Failure::Listen { service: self.name, port: self.port, source });
                }
                Ok(listener) => return Ok(listener),
            }
        }
    }

    /// Accepts connections and has a task `handle` each, until it is asked to stop; then waits for the tasks.
    /// Dropping the future ends them, too. When its shard has failed, it listens again on the fresh one.
    ///
    /// # Errors
    /// The listener failed: the device is gone.
    pub(super) async fn accept<F>(
        self,
        mut listener: TcpListener,
        net: Net,
        stop: Stop,
        handle: impl Fn(TcpStream) -> F,
    ) -> Result<(), Failure>
    where
        F: Future<Output = ()> + 'static,
    {
        let mut connections = JoinSet::new();
        let mut stopped = std::pin::pin!(stop.wait());
        loop {
            tokio::select! {
                biased;
                () = &mut stopped => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept(), if connections.len() < self.max_connections => {
                    match accepted {
                        Ok((stream, _)) => drop(connections.spawn_local(handle(stream))),
                        Err(error) if error.kind() == ErrorKind::ConnectionAborted => {
                            listener = self.listen(&net).await?;
                        }
                        Err(source) => return Err(Failure::Accept { service: self.name, source }),
                    }
                }
            }
        }
        drop(listener);
        if !self.finishes {
            connections.abort_all();
        }
        while connections.join_next().await.is_some() {}
        Ok(())
    }
}
