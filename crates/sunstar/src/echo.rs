//! Echo sockets: what `ping` needs.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use sunstar_stack::{EchoKey, EchoReply, EchoRequest};

use crate::engine::{Direction, Engine, Socket};

/// Sends ICMP echo requests and receives their replies (RFC 792, RFC 1122 section 3.2.2.6).
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
    /// `NetworkUnreachable` without a route, `InvalidInput` for more data than a packet that may not be cut holds, or any.
    pub async fn send(&self, destination: IpAddr, request: EchoRequest, data: &[u8]) -> io::Result<()> {
        let send = |shard: &mut sunstar_stack::Shard, key| shard.echo_send(key, destination, request, data);
        self.socket.wait(Direction::Write, send).await
    }

    /// The next reply.
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
