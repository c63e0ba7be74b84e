//! Echo sockets: what `ping` and `traceroute` need.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use sunstar_stack::{EchoKey, EchoReply, EchoRequest};

use crate::engine::{Direction, Engine, Socket};

/// Sends ICMP echo requests and receives their replies (RFC 792, RFC 1122 section 3.2.2.6), and what routers say instead.
#[derive(Debug)]
pub struct EchoSocket {
    socket: Socket<EchoKey>,
}

impl EchoSocket {
    pub(crate) fn new(engine: Rc<Engine>, key: EchoKey) -> Self {
        Self { socket: Socket::new(engine, key) }
    }

    /// Waits until the socket has its port.
    pub(crate) async fn bound(&self) -> io::Result<()> {
        self.socket.bound().await
    }

    /// Queues an echo request; waits while too many are queued.
    ///
    /// # Errors
    /// `NetworkUnreachable` without a route, `PermissionDenied` to everyone on a network unless the request says so,
    /// `InvalidInput` for more data than a packet that may not be cut holds, or any; what the error is made of, a
    /// [`SocketError`](crate::SocketError), says how much that is.
    pub async fn send(&self, destination: IpAddr, request: EchoRequest, data: &[u8]) -> io::Result<()> {
        let send = |shard: &mut sunstar_stack::Shard, key| shard.echo_send(key, destination, request, data);
        self.socket.wait(Direction::Write, send).await
    }

    /// The next reply; or, for each request once at most, an ICMP error about one of this socket:
    /// [`EchoReply::answer`] tells which it is.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub async fn recv(&self) -> io::Result<EchoReply> {
        self.socket.wait(Direction::Read, |shard, key| shard.echo_recv(key)).await
    }

    /// Polls for the next reply. The task that polled last is woken.
    pub fn poll_recv(&self, context: &mut Context<'_>) -> Poll<io::Result<EchoReply>> {
        self.socket.poll(context, Direction::Read, |shard, key| shard.echo_recv(key))
    }
}
