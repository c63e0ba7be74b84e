//! The handle an application is given: everything it opens, it opens here.

use std::future::Future;
use std::io;
use std::rc::Rc;

use sunstar_stack::time::Instant;
use sunstar_stack::{ConnectOptions, InterfaceAddress, InterfaceId, ListenOptions, Shard, TcpInfo};
use tokio::task::JoinHandle;

use crate::address::ToSocketAddress;
use crate::builder::Publish;
use crate::echo::EchoSocket;
use crate::engine::Engine;
use crate::stats::{ShardStats, Stats};
use crate::tcp::{TcpListener, TcpStream};
use crate::udp::UdpSocket;

/// A handle to the network of the shard a task runs on. Cheap to clone; it stays on its thread.
#[derive(Clone, Debug)]
pub struct Net {
    engine: Rc<Engine>,
    published: Rc<[Publish]>,
}

impl Net {
    pub(crate) fn new(engine: Rc<Engine>, published: Rc<[Publish]>) -> Self {
        Self { engine, published }
    }

    /// Listens for TCP connections on an address of the stack; the unspecified address means all of them, port
    /// 0 any free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `InvalidInput` for a text that is no address with a port.
    pub fn tcp_bind(&self, local: impl ToSocketAddress) -> io::Result<TcpListener> {
        self.tcp_bind_with(local, &ListenOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`Net::tcp_bind`].
    pub fn tcp_bind_with(
        &self,
        local: impl ToSocketAddress,
        options: &ListenOptions,
    ) -> io::Result<TcpListener> {
        let local = local.to_socket_address()?;
        let key = self.engine.call(|shard| shard.tcp_listen(local, options))?;
        Ok(TcpListener::new(Rc::clone(&self.engine), key))
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
        let remote = remote.to_socket_address()?;
        let key = self.engine.call(|shard| shard.tcp_connect(remote, options))?;
        let stream = TcpStream::new(Rc::clone(&self.engine), key);
        stream.connected().await?;
        Ok(stream)
    }

    /// Binds a UDP socket to an address of the stack; the unspecified address means all of them, port 0 any
    /// free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `InvalidInput` for a text that is no address with a port.
    pub fn udp_bind(&self, local: impl ToSocketAddress) -> io::Result<UdpSocket> {
        let local = local.to_socket_address()?;
        let key = self.engine.call(|shard| shard.udp_bind(local))?;
        Ok(UdpSocket::new(Rc::clone(&self.engine), key))
    }

    /// Opens a socket for ICMP echo requests and their replies.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn echo(&self) -> io::Result<EchoSocket> {
        let key = self.engine.call(Shard::echo_open)?;
        Ok(EchoSocket::new(Rc::clone(&self.engine), key))
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

    /// What the shards counted, and what they hold.
    pub fn stats(&self) -> Stats {
        Stats { shards: ShardStats::of(&self.engine).into_iter().collect() }
    }

    /// A reading of every TCP connection of this shard; those in TIME-WAIT are only remembered, and not among them.
    pub fn connections(&self) -> Vec<TcpInfo> {
        self.engine.read(|shard| shard.tcp_connections().collect()).unwrap_or_default()
    }

    /// Runs a task beside this one, on the same shard.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        tokio::task::spawn_local(task)
    }

    /// The stack's time: what [`EchoReply::at`](crate::EchoReply) is given in.
    pub fn now(&self) -> Instant {
        self.engine.now()
    }
}
