//! The handle an application is given: everything it opens, it opens here.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sunstar_stack::time::Instant;
use sunstar_stack::{
    ConnectOptions, FilterId, InterfaceAddress, InterfaceId, ListenOptions, PacketFilter, Shard, TcpInfo,
};
use tokio::task::JoinHandle;

use crate::address::ToSocketAddress;
use crate::builder::{NameService, Publish};
use crate::echo::EchoSocket;
use crate::engine::Engine;
use crate::mailbox::{JobError, Mailbox, on_shard};
use crate::names::Names;
use crate::remote::Remote;
use crate::stall::Noted;
use crate::stats::{ShardStats, Stats, Steered};
use crate::tcp::{TcpListener, TcpStream};
use crate::udp::UdpSocket;

/// How long a shard may take to answer for its counters.
const PATIENCE: Duration = Duration::from_secs(1);

/// A handle to the network of the shard a task runs on. Cheap to clone; it stays on its thread.
#[derive(Clone, Debug)]
pub struct Net {
    engine: Rc<Engine>,
    names: Rc<Names>,
    published: Rc<[Publish]>,
    steered: Steered,
    /// Of every shard, in the order of their numbers.
    mailboxes: Arc<[Mailbox]>,
}

impl Net {
    pub(crate) fn new(
        engine: Rc<Engine>,
        name_service: NameService,
        published: Rc<[Publish]>,
        steered: Steered,
        mailboxes: Arc<[Mailbox]>,
    ) -> Self {
        Self { names: Rc::new(Names::new(name_service, &engine)), engine, published, steered, mailboxes }
    }

    /// Listens for TCP connections on an address of the stack; the unspecified address means all of them, port
    /// 0 any free one. All of the port's connections come to this shard: it returns when every shard knows.
    ///
    /// # Errors
    /// `AddrInUse`, also when another shard has the port; `AddrNotAvailable`, `InvalidInput` for a text that is no
    /// address with a port.
    pub async fn tcp_bind(&self, local: impl ToSocketAddress) -> io::Result<TcpListener> {
        self.tcp_bind_with(local, &ListenOptions::default()).await
    }

    /// The same on a port that every shard may listen on: each accepts the connections that hash to it. Until all of
    /// them do, some connections are refused.
    ///
    /// # Errors
    /// As [`Net::tcp_bind`].
    pub async fn tcp_bind_shared(&self, local: impl ToSocketAddress) -> io::Result<TcpListener> {
        self.tcp_bind_with(local, &ListenOptions { shared: true, ..ListenOptions::default() }).await
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`Net::tcp_bind`].
    pub async fn tcp_bind_with(
        &self,
        local: impl ToSocketAddress,
        options: &ListenOptions,
    ) -> io::Result<TcpListener> {
        let local = local.to_socket_address()?;
        let key = self.engine.call(|shard| shard.tcp_listen(local, options))?;
        let listener = TcpListener::new(Rc::clone(&self.engine), key);
        listener.bound().await?;
        Ok(listener)
    }

    /// Opens a TCP connection. Dropping the future gives it up.
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, `HostUnreachable`, `NetworkUnreachable`, `AddrNotAvailable` when no
    /// source port is left, `NetworkDown`, `InvalidInput` for a text that is no address with a port.
    pub async fn tcp_connect(&self, remote: impl ToSocketAddress) -> io::Result<TcpStream> {
        self.tcp_connect_with(remote, &ConnectOptions::default()).await
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`Net::tcp_connect`].
    pub async fn tcp_connect_with(
        &self,
        remote: impl ToSocketAddress,
        options: &ConnectOptions,
    ) -> io::Result<TcpStream> {
        TcpStream::connect(&self.engine, remote.to_socket_address()?, options).await
    }

    /// Binds a UDP socket to an address of the stack; the unspecified address means all of them, port 0 any
    /// free one. All of the port's datagrams come to this shard: it returns when every shard knows.
    ///
    /// # Errors
    /// `AddrInUse`, also when another shard has the port; `AddrNotAvailable`, `InvalidInput` for a text that is no
    /// address with a port.
    pub async fn udp_bind(&self, local: impl ToSocketAddress) -> io::Result<UdpSocket> {
        UdpSocket::bind(&self.engine, local.to_socket_address()?).await
    }

    /// The same on a port that every shard may bind: each receives the datagrams of the flows that hash to it.
    ///
    /// # Errors
    /// As [`Net::udp_bind`].
    pub async fn udp_bind_shared(&self, local: impl ToSocketAddress) -> io::Result<UdpSocket> {
        UdpSocket::bind_shared(&self.engine, local.to_socket_address()?).await
    }

    /// The addresses of a name (RFC 1034), from the stack's name servers ([`Builder::name_server`]). A text that is an
    /// address gives that address. Each shard remembers answers for as long as they say.
    ///
    /// # Errors
    /// `NotFound` for a name that does not exist or has no address, `TimedOut` when no server answers, `Unsupported`
    /// without a name server, `InvalidInput` for a text that is no name.
    ///
    /// [`Builder::name_server`]: crate::Builder::name_server
    pub async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.names.resolve(name).await
    }

    /// Opens a socket for ICMP echo requests, their replies, and errors about them.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub async fn echo(&self) -> io::Result<EchoSocket> {
        let key = self.engine.call(Shard::echo_open)?;
        let socket = EchoSocket::new(Rc::clone(&self.engine), key);
        socket.bound().await?;
        Ok(socket)
    }

    /// Which shard this is a handle to, from 0 on.
    pub fn shard(&self) -> u16 {
        self.engine.id().0
    }

    /// How many shards the stack has.
    pub fn shards(&self) -> u16 {
        self.engine.shards()
    }

    /// Installs a packet filter on this shard, behind those already there: it sees the packets that this shard receives,
    /// and no other's. A shard that begins anew after a panic has none ([`ShardStats::restarts`] says so): install them again.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn install_filter(&self, filter: Box<dyn PacketFilter>) -> io::Result<FilterId> {
        Ok(self.engine.call(|shard| Ok(shard.install_filter(filter)))?)
    }

    /// Removes a packet filter of this shard; whether it was there.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn remove_filter(&self, filter: FilterId) -> io::Result<bool> {
        Ok(self.engine.call(|shard| Ok(shard.remove_filter(filter)))?)
    }

    /// The stack's addresses on its device; the first is the preferred source.
    pub fn addresses(&self) -> Vec<InterfaceAddress> {
        let addresses = self.engine.read(|shard| {
            let device = shard.interfaces().filter(|interface| interface.id == InterfaceId::DEVICE);
            device.flat_map(|device| device.addresses()).copied().collect()
        });
        addresses.unwrap_or_default()
    }

    /// Where ports of the stack are published on the machine, with the ports that were chosen for 0.
    pub fn published(&self) -> &[Publish] {
        &self.published
    }

    /// What this shard counted, and what it holds; nothing once the network is shut down.
    pub fn shard_stats(&self) -> Option<ShardStats> {
        ShardStats::of(&self.engine)
    }

    /// What all shards counted, and what they hold: each is asked, and one that does not answer within a second is left
    /// out.
    pub async fn stats(&self) -> Stats {
        let ask = |shard| {
            let net = self.clone();
            self.spawn_named("a reading of the counters", async move {
                match shard == net.shard() {
                    true => net.shard_stats(),
                    false => net.on_shard(shard, |net| async move { net.shard_stats() }).await.ok().flatten(),
                }
            })
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let asked: Vec<_> = (0..self.shards()).map(ask).collect();
        let mut shards = Vec::new();
        for mut answer in asked {
            match tokio::time::timeout_at(deadline, &mut answer).await {
                Ok(answered) => shards.extend(answered.ok().flatten()),
                Err(_) => answer.abort(),
            }
        }
        Stats::of(shards, self.steered.clone())
    }

    /// A reading of every TCP connection of this shard; those in TIME-WAIT are only remembered, and not among them.
    pub fn connections(&self) -> Vec<TcpInfo> {
        self.engine.read(|shard| shard.tcp_connections().collect()).unwrap_or_default()
    }

    /// Runs a task beside this one, on the same shard. Should it hold the shard for too long
    /// ([`Builder::stall_after`](crate::Builder::stall_after)), it is told by the file and line of this call.
    #[track_caller]
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        tokio::task::spawn_local(Noted::new(self.engine.watch(), Location::caller(), task))
    }

    /// The same for a task that is told by a name.
    #[track_caller]
    pub fn spawn_named<F>(&self, name: &'static str, task: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        tokio::task::spawn_local(Noted::new(self.engine.watch(), name, task))
    }

    /// Runs a job as a task of a shard, with the `Net` there, and waits for its result; the first shard is 0. Only
    /// the closure and the result change threads. Dropping the future aborts the job.
    ///
    /// # Errors
    /// `NoSuchShard`, `Panicked` if the job did, `ShardGone` once the network is shut down.
    pub async fn on_shard<F, Fut, T>(&self, shard: u16, job: F) -> Result<T, JobError>
    where
        F: FnOnce(Net) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        on_shard(&self.mailboxes, shard, job).await
    }

    /// A handle for threads that are no shard, such as those of a multi-threaded runtime.
    pub fn remote(&self) -> Remote {
        Remote::new(Arc::clone(&self.mailboxes))
    }

    /// The stack's time: what [`EchoReply::at`](crate::EchoReply) is given in.
    pub fn now(&self) -> Instant {
        self.engine.now()
    }
}
