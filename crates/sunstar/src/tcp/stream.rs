//! A TCP connection.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use sunstar_packet::Fragment;
use sunstar_stack::{ConnectOptions, ConnectionKey, Keepalive, Shard, Shutdown, TcpInfo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::engine::{Direction, Engine, Socket};

/// A TCP connection (RFC 9293), made by [`Net::tcp_connect`](crate::Net::tcp_connect) or
/// [`TcpListener::accept`](crate::TcpListener::accept).
///
/// A write that returned `Ok(n)` means that the stack has taken `n` bytes, not that the peer has them; `flush`
/// has nothing to do, and `shutdown` queues the end of the stream behind what was written. Dropping the
/// stream closes it: what was written still goes out. If data arrived that nobody read, the peer gets a reset
/// instead (RFC 9293 section 3.6.1).
#[derive(Debug)]
pub struct TcpStream {
    socket: Socket<ConnectionKey>,
}

impl TcpStream {
    pub(crate) fn new(engine: Rc<Engine>, key: ConnectionKey) -> Self {
        Self { socket: Socket::new(engine, key) }
    }

    /// Opens a connection, and waits until it stands.
    pub(crate) async fn connect(
        engine: &Rc<Engine>,
        remote: SocketAddr,
        options: &ConnectOptions,
    ) -> io::Result<Self> {
        let key = engine.call(|shard| shard.tcp_connect(remote, options))?;
        let stream = Self::new(Rc::clone(engine), key);
        stream.socket.wait(Direction::Write, |shard, key| shard.tcp_connected(key)).await?;
        Ok(stream)
    }

    /// This end's address and port.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(|shard, key| shard.tcp_local_addr(key))
    }

    /// The other end's address and port.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(|shard, key| shard.tcp_peer_addr(key))
    }

    /// How the connection is doing: state, round-trip time, windows, retransmissions.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn info(&self) -> io::Result<TcpInfo> {
        self.socket.call(|shard, key| shard.tcp_info(key))
    }

    /// Whether small segments go out at once, without waiting for an acknowledgement (RFC 9293 MUST-17).
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.call(|shard, key| shard.tcp_set_nodelay(key, nodelay))
    }

    /// Whether small segments go out at once.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.call(|shard, key| shard.tcp_nodelay(key))
    }

    /// How long a dropped stream may take to hand over what was written; zero resets the connection at once,
    /// `None` leaves it to the stack's settings.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.socket.call(|shard, key| shard.tcp_set_linger(key, linger))
    }

    /// What [`TcpStream::set_linger`] was given.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.socket.call(|shard, key| shard.tcp_linger(key))
    }

    /// Probes an idle peer, and gives the connection up when it does not answer (RFC 9293 section 3.8.4); off
    /// by default (MUST-25).
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        self.socket.call(|shard, key| shard.tcp_set_keepalive(key, keepalive))
    }

    /// How long written data may stay unacknowledged before the connection is given up (RFC 5482); `None`
    /// leaves it to the stack's settings.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.call(|shard, key| shard.tcp_set_user_timeout(key, timeout))
    }

    /// Waits until there may be something to read, or the end of the stream.
    ///
    /// # Errors
    /// None today; the shape is tokio's.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.ready(Direction::Read).await
    }

    /// Waits until something may be written.
    ///
    /// # Errors
    /// None today; the shape is tokio's.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.ready(Direction::Write).await
    }

    /// Polls until there may be something to read. The task that polled last is woken.
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(context, Direction::Read)
    }

    /// Polls until something may be written. The task that polled last is woken.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(context, Direction::Write)
    }

    /// Reads what is there; 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` while there is nothing; why the connection ended, if it did not end in order.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.socket.try_call(Direction::Read, |shard, key| shard.tcp_recv(key, buffer))
    }

    /// Writes what there is room for.
    ///
    /// # Errors
    /// `WouldBlock` while there is no room; why the connection takes no data, if it does not.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.socket.try_call(Direction::Write, |shard, key| shard.tcp_send(key, bytes))
    }

    /// Writes what there is room for, from several slices in order.
    ///
    /// # Errors
    /// As [`TcpStream::try_write`].
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        self.socket.try_call(Direction::Write, |shard, key| shard.tcp_send_vectored(key, slices))
    }

    /// Reads without taking anything away; 0 is the end of the stream.
    ///
    /// # Errors
    /// Why the connection ended, if it did not end in order.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.socket.wait(Direction::Read, |shard, key| shard.tcp_peek(key, buffer)).await
    }

    /// Polls to read without taking anything away.
    pub fn poll_peek(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(0));
        }
        let into = buffer.initialize_unfilled();
        let peeked = self.socket.poll(context, Direction::Read, |shard, key| shard.tcp_peek(key, into));
        peeked.map_ok(|len| {
            buffer.advance(len);
            len
        })
    }

    /// Receives the next piece of the stream in the buffer it arrived in, without a copy; `None` is the end.
    ///
    /// A piece holds its buffer until it is dropped, and the stack has only so many: do not hoard them, and let
    /// none outlive `run`.
    ///
    /// # Errors
    /// Why the connection ended, if it did not end in order.
    pub async fn recv_fragment(&self) -> io::Result<Option<Fragment>> {
        self.socket.wait(Direction::Read, |shard, key| shard.tcp_recv_fragment(key)).await
    }

    /// Polls for the next piece of the stream. The task that polled last is woken.
    pub fn poll_recv_fragment(&self, context: &mut Context<'_>) -> Poll<io::Result<Option<Fragment>>> {
        self.socket.poll(context, Direction::Read, |shard, key| shard.tcp_recv_fragment(key))
    }

    /// Copies out what is there, up to `limit` bytes, into memory of just that size; none is the end of the stream.
    pub(crate) async fn recv_bytes(&self, limit: usize) -> io::Result<Bytes> {
        let receive = |shard: &mut Shard, key| {
            let mut bytes = Vec::with_capacity(shard.tcp_info(key)?.receive_queue.min(limit));
            shard.tcp_recv_with(key, limit, |piece| bytes.extend_from_slice(piece))?;
            Ok(Bytes::from(bytes))
        };
        self.socket.wait(Direction::Read, receive).await
    }

    /// Sends all of `bytes` without a copy: the stack keeps them until they are acknowledged. When the future
    /// is dropped early, part of them may have been taken.
    ///
    /// # Errors
    /// Why the connection takes no data, if it does not.
    pub async fn send_bytes(&self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            self.socket.wait(Direction::Write, |shard, key| shard.tcp_send_bytes(key, &mut bytes)).await?;
        }
        Ok(())
    }

    /// Polls to send the front of `bytes` without a copy. What was taken is taken off; how many bytes.
    pub fn poll_send_bytes(&self, context: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.socket.poll(context, Direction::Write, |shard, key| shard.tcp_send_bytes(key, bytes))
    }

    /// Resets the connection: what was written and not yet acknowledged is lost, and the peer hears of it.
    pub fn abort(self) {
        self.reset();
    }

    /// The same for a stream that is still borrowed. Every call on it fails from here on.
    pub(crate) fn reset(&self) {
        let abort = |shard: &mut Shard, key| {
            shard.tcp_abort(key);
            Ok(())
        };
        // A connection that is gone already needs no reset.
        let _ = self.socket.call(abort);
    }

    /// The two directions, borrowed.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::split(self)
    }

    /// The two directions, each to be owned by somebody else.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::into_split(self)
    }

    pub(super) fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // Piece by piece into memory that need not be initialised: filling a large buffer with zeros first would
        // cost more than the bytes that came.
        let limit = buffer.remaining();
        let read = self.socket.poll(context, Direction::Read, |shard, key| {
            shard.tcp_recv_with(key, limit, |piece| buffer.put_slice(piece))
        });
        read.map_ok(|_| ())
    }

    pub(super) fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.socket.poll(context, Direction::Write, |shard, key| shard.tcp_send(key, bytes))
    }

    pub(super) fn poll_write_vectored(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.socket.poll(context, Direction::Write, |shard, key| shard.tcp_send_vectored(key, slices))
    }

    /// Queues the end of the stream.
    pub(crate) fn end_writing(&self) -> io::Result<()> {
        self.socket.call(|shard, key| shard.tcp_shutdown(key, Shutdown::Write))
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        TcpStream::poll_read(&self, context, buffer)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        TcpStream::poll_write(&self, context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        TcpStream::poll_write_vectored(&self, context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.end_writing())
    }
}
