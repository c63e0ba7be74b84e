//! Handles for threads that are no shard: connections and listeners of the stack that may be sent anywhere.
//!
//! The sockets themselves stay on their shards. `bridge` is the task there that carries a connection's bytes
//! through a `pipe` in each direction, to a `stream` on the other side.

mod bridge;
mod listener;
mod pipe;
mod stream;

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sunstar_stack::ConnectOptions;

use crate::address::ToSocketAddress;
use crate::mailbox::{JobError, Mailbox, on_shard};
use crate::net::Net;
pub use listener::RemoteListener;
pub use stream::{RemoteReadHalf, RemoteStream, RemoteWriteHalf};

/// A handle to the network for threads that are no shard, such as those of a multi-threaded runtime. Cheap to clone,
/// `Send` and `Sync`; made by [`Net::remote`].
///
/// Bytes cross between threads in both directions, and that has its price: tasks that can run on a shard
/// do better with a [`Net`].
#[derive(Clone, Debug)]
pub struct Remote {
    shards: Arc<[Mailbox]>,
    /// Whose turn it is to open a connection.
    next: Arc<AtomicUsize>,
}

impl Remote {
    pub(crate) fn new(shards: Arc<[Mailbox]>) -> Self {
        Self { shards, next: Arc::default() }
    }

    /// How many shards the stack has.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Listens for TCP connections on an address of the stack, on every shard; the unspecified address means all
    /// addresses, port 0 any free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `NotConnected` once the network is shut down, `InvalidInput` for a text that is
    /// no address with a port.
    pub async fn tcp_bind(&self, local: impl ToSocketAddress) -> io::Result<RemoteListener> {
        let local = local.to_socket_address()?;
        RemoteListener::bind(&self.shards, local).await
    }

    /// Opens a TCP connection, on one shard after the other. Dropping the future gives it up.
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, `HostUnreachable`, `NetworkUnreachable`, `AddrNotAvailable` when no
    /// source port is left, `NetworkDown`, `NotConnected` once the network is shut down, `InvalidInput` for a text that
    /// is no address with a port.
    pub async fn tcp_connect(&self, remote: impl ToSocketAddress) -> io::Result<RemoteStream> {
        self.tcp_connect_with(remote, &ConnectOptions::default()).await
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`Remote::tcp_connect`].
    pub async fn tcp_connect_with(
        &self,
        remote: impl ToSocketAddress,
        options: &ConnectOptions,
    ) -> io::Result<RemoteStream> {
        let (remote, options) = (remote.to_socket_address()?, *options);
        let connect = move |net: Net| async move {
            let stream = net.tcp_connect_with(remote, &options).await?;
            RemoteStream::new(&net, stream)
        };
        self.next_shard()?.call(connect).await?
    }

    /// The addresses of a name, as [`Net::resolve`] gives them, on one shard after the other.
    ///
    /// # Errors
    /// As [`Net::resolve`], and `NotConnected` once the network is shut down.
    pub async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let name = name.to_owned();
        self.next_shard()?.call(move |net: Net| async move { net.resolve(&name).await }).await?
    }

    /// Runs a job as a task of a shard, with the [`Net`] there, and waits for its result; the first shard is 0.
    /// Dropping the future aborts the job.
    ///
    /// # Errors
    /// `NoSuchShard`, `Panicked` if the job did, `ShardGone` once the network is shut down.
    pub async fn on_shard<F, Fut, T>(&self, shard: u16, job: F) -> Result<T, JobError>
    where
        F: FnOnce(Net) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        on_shard(&self.shards, shard, job).await
    }

    fn next_shard(&self) -> Result<&Mailbox, JobError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let shard = turn.checked_rem(self.shards.len()).and_then(|shard| self.shards.get(shard));
        shard.ok_or(JobError::ShardGone)
    }
}
