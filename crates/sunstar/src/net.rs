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
    ConnectOptions, DhcpState, FilterId, InterfaceAddress, InterfaceId, Lease, ListenOptions, PacketFilter,
    Shard, SocketError, TcpInfo,
};
use tokio::task::JoinHandle;

use crate::address::ToSocketAddress;
use crate::builder::{NameService, Publish};
use crate::configure::{self, Change, ConfigureError};
use crate::dhcp::{DhcpStatus, Told};
use crate::echo::EchoSocket;
use crate::engine::Engine;
use crate::filters::FilterMaker;
use crate::mailbox::{JobError, Mailbox, on_shard};
use crate::names::Names;
use crate::remote::Remote;
use crate::snapshot::{MAX_LIMIT, Section, Snapshot, View};
use crate::stall::Noted;
use crate::stats::{ShardStats, Stats, Steered};
use crate::tcp::{TcpListener, TcpStream};
use crate::udp::UdpSocket;

/// How long a shard may take to answer for its counters.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether a shard has an address that it is to have.
const LOOK: Duration = Duration::from_millis(1);

/// How long it may take to give a lease back.
const RELEASE: Duration = Duration::from_millis(500);

/// A handle to the network of the shard a task runs on. Cheap to clone; it stays on its thread.
#[derive(Clone, Debug)]
pub struct Net {
    engine: Rc<Engine>,
    names: Rc<Names>,
    dhcp: Told,
    published: Rc<[Publish]>,
    steered: Steered,
    /// Of every shard, in the order of their numbers.
    mailboxes: Arc<[Mailbox]>,
}

impl Net {
    pub(crate) fn new(
        engine: Rc<Engine>,
        name_service: NameService,
        dhcp: Told,
        published: Rc<[Publish]>,
        steered: Steered,
        mailboxes: Arc<[Mailbox]>,
    ) -> Self {
        Self {
            names: Rc::new(Names::new(name_service, &dhcp, &engine)),
            engine,
            dhcp,
            published,
            steered,
            mailboxes,
        }
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

    /// How the DHCP client stands; nothing without one ([`Builder::dhcp`](crate::Builder::dhcp)).
    pub fn dhcp_status(&self) -> Option<DhcpStatus> {
        self.dhcp.borrow().clone()
    }

    /// Hears of every change of the DHCP client's state, as a receiver does. Shards other than the first may have what a
    /// lease brings a moment later.
    pub fn watch_dhcp(&self) -> tokio::sync::watch::Receiver<Option<DhcpStatus>> {
        self.dhcp.subscribe()
    }

    /// Waits until this shard has an address from a DHCP server, and says what was granted.
    ///
    /// # Errors
    /// `Unsupported` for a stack without DHCP, `NotConnected` once its lease was given back.
    pub async fn configured(&self) -> io::Result<Lease> {
        let mut status = self.dhcp.subscribe();
        let is_told = |status: &Option<DhcpStatus>| {
            status.as_ref().is_none_or(|it| it.lease.is_some() || it.state == DhcpState::Stopped)
        };
        // The sender is this stack's own, and outlives the wait.
        let told = status.wait_for(is_told).await.ok().and_then(|status| status.clone());
        let Some(told) = told else {
            let message = "the stack is not configured by DHCP; ask for it (Builder::dhcp)";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        };
        let Some(lease) = told.lease else {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the lease was given back"));
        };
        // The shard that gets the lease tells the others, a moment later.
        while !self.addresses().iter().any(|own| own.address == lease.address)
            && self.dhcp.borrow().as_ref().is_some_and(|status| status.lease.is_some())
        {
            tokio::time::sleep(LOOK).await;
        }
        Ok(lease)
    }

    /// Gives the lease back and asks for no other; returns when the server has been told, or a moment later. What
    /// [`Builder::run`](crate::Builder::run) does at its end.
    ///
    /// # Errors
    /// The first shard has ended.
    pub async fn release_lease(&self) -> io::Result<()> {
        let release = |net: Net| async move {
            net.engine.call(|shard| {
                shard.dhcp_release();
                Ok(())
            })
        };
        self.on_shard(0, release).await.map_err(io::Error::other)??;
        let mut status = self.dhcp.subscribe();
        let is_done = |status: &Option<DhcpStatus>| {
            status.as_ref().is_none_or(|status| status.state == DhcpState::Stopped)
        };
        // A server that cannot be found is not waited for.
        let _ = tokio::time::timeout(RELEASE, status.wait_for(is_done)).await;
        Ok(())
    }

    /// Installs a packet filter on every shard, behind those already there: none of the stack's packets misses it once this
    /// has returned. It comes again with a shard that begins anew.
    ///
    /// # Errors
    /// A shard has ended.
    pub async fn filter_everywhere(&self, filter: &FilterMaker) -> io::Result<()> {
        for shard in 0..self.shards() {
            let filter = filter.clone();
            let install = move |net: Net| async move { net.engine.install_filter(&filter) };
            self.on_shard(shard, install).await.map_err(io::Error::other)??;
        }
        Ok(())
    }

    /// Removes a packet filter that every shard has, from each of them.
    ///
    /// # Errors
    /// A shard has ended.
    pub async fn unfilter_everywhere(&self, filter: &FilterMaker) -> io::Result<()> {
        for shard in 0..self.shards() {
            let filter = filter.clone();
            let remove = move |net: Net| async move { net.engine.remove_filter(&filter).map(drop) };
            self.on_shard(shard, remove).await.map_err(io::Error::other)??;
        }
        Ok(())
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
        let read = self.on_each_shard("a reading of the counters", Self::shard_stats).await;
        let shards = read.into_iter().flatten().collect();
        Stats::of(shards, self.steered.clone())
    }

    /// Everything the stack has, as it is now: each shard reads its part, and one that does not answer within a second is
    /// named in [`Snapshot::silent`]. No sections are all sections. Of each kind of things about `limit` are listed at most
    /// ([`DEFAULT_LIMIT`](crate::snapshot::DEFAULT_LIMIT) is what is usual, [`MAX_LIMIT`] the most), of sockets an equal part by each shard; what has more says so.
    pub async fn snapshot(&self, sections: &[Section], limit: usize) -> Snapshot {
        let limit = limit.clamp(1, MAX_LIMIT);
        let sections: Arc<[Section]> = sections.into();
        let read = move |net: &Net| {
            let view = |shard: &mut Shard| {
                let view = View { shard, engine: &net.engine, steered: &net.steered, limit };
                Ok(Snapshot::read(&view, &sections))
            };
            net.engine.call(view).ok()
        };
        let read = self.on_each_shard("a reading of the shard", read).await;
        let silent = (0..).zip(&read).filter(|(_, part)| part.is_none()).map(|(shard, _)| shard).collect();
        let join = move || Snapshot::join(read.into_iter().flatten().collect(), silent);
        // It only fails when the runtime ends, and then there is nothing left to be told.
        tokio::task::spawn_blocking(join).await.unwrap_or_default()
    }

    /// Changes the stack while it runs, on every shard; returns when all have made the change. From whichever shard it is
    /// called, the first one looks at the change, makes it, and tells the others.
    ///
    /// A shard that begins anew after a panic has the addresses and routes of the one before it.
    ///
    /// # Errors
    /// See [`ConfigureError`]; a change that is refused is made nowhere.
    pub async fn configure(&self, change: Change) -> Result<(), ConfigureError> {
        self.on_shard(0, move |net| async move { configure::change(&net, change).await }).await?
    }

    /// Calls the shard of this thread.
    ///
    /// # Errors
    /// As [`Engine::call`].
    pub(crate) fn on_engine<T>(
        &self,
        call: impl FnOnce(&mut Shard) -> Result<T, SocketError>,
    ) -> Result<T, SocketError> {
        self.engine.call(call)
    }

    /// What every shard reads, in their order; nothing of one that does not answer within a second.
    async fn on_each_shard<T: Send + 'static>(
        &self,
        name: &'static str,
        read: impl Fn(&Net) -> Option<T> + Clone + Send + 'static,
    ) -> Vec<Option<T>> {
        let ask = |shard| {
            let (net, read) = (self.clone(), read.clone());
            self.spawn_named(name, async move {
                match shard == net.shard() {
                    true => read(&net),
                    false => net.on_shard(shard, move |net| async move { read(&net) }).await.ok().flatten(),
                }
            })
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let asked: Vec<_> = (0..self.shards()).map(ask).collect();
        let mut shards = Vec::new();
        for mut answer in asked {
            let answered = tokio::time::timeout_at(deadline, &mut answer).await;
            if answered.is_err() {
                answer.abort();
            }
            shards.push(answered.ok().and_then(Result::ok).flatten());
        }
        shards
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
