//! A TCP connection of a shard, used from another thread.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::task::coop;

use super::bridge::{Wishes, bridge};
use super::pipe::{PIECE, PipeReader, PipeWriter, pipe};
use crate::net::Net;
use crate::tcp::TcpStream;

/// A TCP connection of a shard, used from another thread; made by
/// [`Remote::tcp_connect`](super::Remote::tcp_connect) or [`RemoteListener::accept`](super::RemoteListener::accept).
///
/// A task of the shard carries its bytes over, a bounded number of them in each direction: a reader that stops stops
/// its writer, on either side. Ends and errors go through as they are. A write that returned `Ok(n)` means that `n`
/// bytes have been taken, `flush` has nothing to do, `shutdown` queues the end of the stream behind them. Dropping the
/// stream closes it: what was written still goes out. If data arrived that nobody read, the peer gets a reset
/// instead. When the network is shut down, it fails with `ConnectionAborted`.
#[derive(Debug)]
pub struct RemoteStream {
    read: RemoteReadHalf,
    write: RemoteWriteHalf,
}

/// The receiving direction of a [`RemoteStream`].
#[derive(Debug)]
pub struct RemoteReadHalf {
    /// What is left of the piece that is being read.
    piece: Bytes,
    // Dropped before what both halves share: with the last of that, the shard looks for what was left unread.
    pipe: PipeReader,
    shared: Arc<Shared>,
}

/// The sending direction of a [`RemoteStream`]. Dropping it queues the end of the stream.
#[derive(Debug)]
pub struct RemoteWriteHalf {
    pipe: PipeWriter,
    shared: Arc<Shared>,
}

/// What both halves of a stream know. The shard's task notices when it is gone.
#[derive(Debug)]
struct Shared {
    local: SocketAddr,
    peer: SocketAddr,
    wishes: watch::Sender<Wishes>,
}

impl RemoteStream {
    /// Makes a connection of the shard usable elsewhere. Called on the shard.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub(super) fn new(net: &Net, stream: TcpStream) -> io::Result<Self> {
        let (local, peer, nodelay) = (stream.local_addr()?, stream.peer_addr()?, stream.nodelay()?);
        let (wishes, wished) = watch::channel(Wishes { nodelay, abort: false });
        let (inward, from_remote) = pipe();
        let (to_remote, outward) = pipe();
        net.spawn(bridge(stream, from_remote, to_remote, wished));
        let shared = Arc::new(Shared { local, peer, wishes });
        let read = RemoteReadHalf { piece: Bytes::new(), pipe: outward, shared: Arc::clone(&shared) };
        Ok(Self { read, write: RemoteWriteHalf { pipe: inward, shared } })
    }

    /// This end's address and port.
    ///
    /// # Errors
    /// None today; the shape is tokio's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.read.local_addr()
    }

    /// The other end's address and port.
    ///
    /// # Errors
    /// None today; the shape is tokio's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.read.peer_addr()
    }

    /// Whether small segments go out at once, without waiting for an acknowledgement (RFC 9293 MUST-17). It counts
    /// for what is written from now on.
    ///
    /// # Errors
    /// None today; the shape is tokio's.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.read.shared.wishes.send_modify(|wishes| wishes.nodelay = nodelay);
        Ok(())
    }

    /// Whether small segments go out at once.
    ///
    /// # Errors
    /// None today; the shape is tokio's.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.read.shared.wishes.borrow().nodelay)
    }

    /// Resets the connection: what was written and not yet acknowledged is lost, and the peer hears of it.
    pub fn abort(self) {
        self.read.shared.wishes.send_modify(|wishes| wishes.abort = true);
    }

    /// The two directions, each to be owned by somebody else. They share nothing that either waits for.
    pub fn into_split(self) -> (RemoteReadHalf, RemoteWriteHalf) {
        (self.read, self.write)
    }
}

macro_rules! addresses {
    () => {
        /// This end's address and port.
        ///
        /// # Errors
        /// None today; the shape is tokio's.
        pub fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(self.shared.local)
        }

        /// The other end's address and port.
        ///
        /// # Errors
        /// None today; the shape is tokio's.
        pub fn peer_addr(&self) -> io::Result<SocketAddr> {
            Ok(self.shared.peer)
        }
    };
}

impl RemoteReadHalf {
    addresses!();
}

impl RemoteWriteHalf {
    addresses!();

    /// Waits for room, and puts in what fits of up to `len` bytes. `copy` is told how many to give.
    fn poll_put(
        &self,
        context: &mut Context<'_>,
        len: usize,
        copy: impl FnOnce(usize) -> Bytes,
    ) -> Poll<io::Result<usize>> {
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        let budget = ready!(coop::poll_proceed(context));
        let room = ready!(self.pipe.poll_room(context));
        budget.made_progress();
        let taken = len.min(room?).min(PIECE);
        self.pipe.push(copy(taken));
        Poll::Ready(Ok(taken))
    }
}

impl Drop for RemoteReadHalf {
    fn drop(&mut self) {
        if !self.piece.is_empty() {
            self.pipe.leave_unread();
        }
    }
}

impl Drop for RemoteWriteHalf {
    fn drop(&mut self) {
        // A connection that is over has no end to queue.
        let _ = self.pipe.end(Ok(()));
    }
}

impl AsyncRead for RemoteReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let budget = ready!(coop::poll_proceed(context));
        if this.piece.is_empty() {
            let next = ready!(this.pipe.poll_next(context));
            budget.made_progress();
            this.piece = next?.unwrap_or_default();
        }
        budget.made_progress();
        let len = this.piece.len().min(buffer.remaining());
        buffer.put_slice(&this.piece[..len]);
        this.piece.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RemoteWriteHalf {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_put(context, bytes.len(), |taken| Bytes::copy_from_slice(&bytes[..taken]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = slices.iter().fold(0, |len: usize, slice| len.saturating_add(slice.len()));
        self.poll_put(context, len, |taken| {
            let mut bytes = BytesMut::with_capacity(taken);
            for slice in slices {
                let left = taken - bytes.len();
                bytes.extend_from_slice(&slice[..slice.len().min(left)]);
            }
            bytes.freeze()
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.pipe.end(Ok(())).map_err(io::Error::from))
    }
}

impl AsyncRead for RemoteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(context, buffer)
    }
}

impl AsyncWrite for RemoteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(context)
    }
}
