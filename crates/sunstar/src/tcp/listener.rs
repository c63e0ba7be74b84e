//! A TCP listener.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use sunstar_stack::{ConnectionKey, ListenerKey, Shard, SocketError};

use super::TcpStream;
use crate::engine::{Direction, Engine, Socket};

/// Accepts TCP connections. Dropping it resets those that nobody accepted.
#[derive(Debug)]
pub struct TcpListener {
    socket: Socket<ListenerKey>,
}

impl TcpListener {
    pub(crate) fn new(engine: Rc<Engine>, key: ListenerKey) -> Self {
        Self { socket: Socket::new(engine, key) }
    }

    /// Waits until the socket has its port.
    pub(crate) async fn bound(&self) -> io::Result<()> {
        self.socket.bound().await
    }

    /// Waits for a connection: the stream, and who is at its other end. Dropping the future loses none.
    ///
    /// # Errors
    /// `NotConnected` once the network is being shut down, `ConnectionAborted` when its shard has failed; no connection
    /// will come any more.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = self.socket.wait(Direction::Read, accept).await?;
        Ok(self.stream(accepted))
    }

    /// Polls for a connection. The task that polled last is woken.
    pub fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.socket.poll(context, Direction::Read, accept).map_ok(|accepted| self.stream(accepted))
    }

    fn stream(&self, (key, peer): (ConnectionKey, SocketAddr)) -> (TcpStream, SocketAddr) {
        (TcpStream::new(Rc::clone(self.socket.engine()), key), peer)
    }

    /// The address and port it listens on.
    ///
    /// # Errors
    /// `NotConnected` once the network is being shut down.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(|shard, key| shard.tcp_listener_addr(key))
    }
}

fn accept(shard: &mut Shard, key: ListenerKey) -> Result<(ConnectionKey, SocketAddr), SocketError> {
    shard.tcp_accept(key)
}
