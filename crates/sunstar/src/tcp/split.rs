//! The two directions of a stream, borrowed or owned.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use sunstar_packet::Fragment;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::TcpStream;

/// The receiving direction of a borrowed stream.
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a TcpStream);

/// The sending direction of a borrowed stream.
#[derive(Debug)]
pub struct WriteHalf<'a>(&'a TcpStream);

/// The receiving direction of a stream that two share.
#[derive(Debug)]
pub struct OwnedReadHalf(Rc<TcpStream>);

/// The sending direction of a stream that two share. Dropping it queues the end of the stream.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Rc<TcpStream>,
    ends_stream: bool,
}

/// The halves are of different streams; they come back.
#[derive(Debug, thiserror::Error)]
#[error("the halves are of different streams; reunite the two that into_split gave together")]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

pub(super) fn split(stream: &mut TcpStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (ReadHalf(stream), WriteHalf(stream))
}

pub(super) fn into_split(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Rc::new(stream);
    (OwnedReadHalf(Rc::clone(&stream)), OwnedWriteHalf { stream, ends_stream: true })
}

impl OwnedReadHalf {
    /// Puts a stream together again.
    ///
    /// # Errors
    /// The two are not of one stream.
    pub fn reunite(self, other: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        other.reunite(self)
    }

    fn stream(&self) -> &TcpStream {
        &self.0
    }
}

impl OwnedWriteHalf {
    /// Puts a stream together again.
    ///
    /// # Errors
    /// The two are not of one stream.
    pub fn reunite(mut self, other: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        if !Rc::ptr_eq(&self.stream, &other.0) {
            return Err(ReuniteError(other, self));
        }
        self.ends_stream = false;
        let OwnedReadHalf(stream) = other;
        drop(self);
        Rc::try_unwrap(stream).map_err(|stream| {
            let writer = Self { stream: Rc::clone(&stream), ends_stream: true };
            ReuniteError(OwnedReadHalf(stream), writer)
        })
    }

    /// Lets the half go without ending the stream: the other half may still be used.
    pub fn forget(mut self) {
        self.ends_stream = false;
    }

    fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.ends_stream {
            // A connection that is over has no end to queue.
            let _ = self.stream.end_writing();
        }
    }
}

impl ReadHalf<'_> {
    fn stream(&self) -> &TcpStream {
        self.0
    }
}

impl WriteHalf<'_> {
    fn stream(&self) -> &TcpStream {
        self.0
    }
}

macro_rules! addresses {
    () => {
        /// This end's address and port.
        ///
        /// # Errors
        /// `NotConnected` once the network is shut down.
        pub fn local_addr(&self) -> io::Result<SocketAddr> {
            self.stream().local_addr()
        }

        /// The other end's address and port.
        ///
        /// # Errors
        /// `NotConnected` once the network is shut down.
        pub fn peer_addr(&self) -> io::Result<SocketAddr> {
            self.stream().peer_addr()
        }
    };
}

macro_rules! read_half {
    ($name:ty) => {
        impl $name {
            addresses!();

            /// Reads without taking anything away: [`TcpStream::peek`].
            ///
            /// # Errors
            /// As there.
            pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.stream().peek(buffer).await
            }

            /// Waits until there may be something to read: [`TcpStream::readable`].
            ///
            /// # Errors
            /// As there.
            pub async fn readable(&self) -> io::Result<()> {
                self.stream().readable().await
            }

            /// Reads what is there: [`TcpStream::try_read`].
            ///
            /// # Errors
            /// As there.
            pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.stream().try_read(buffer)
            }

            /// Receives a piece of the stream without a copy: [`TcpStream::recv_fragment`].
            ///
            /// # Errors
            /// As there.
            pub async fn recv_fragment(&self) -> io::Result<Option<Fragment>> {
                self.stream().recv_fragment().await
            }
        }

        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.stream().poll_read(context, buffer)
            }
        }
    };
}

macro_rules! write_half {
    ($name:ty) => {
        impl $name {
            addresses!();

            /// Waits until something may be written: [`TcpStream::writable`].
            ///
            /// # Errors
            /// As there.
            pub async fn writable(&self) -> io::Result<()> {
                self.stream().writable().await
            }

            /// Writes what there is room for: [`TcpStream::try_write`].
            ///
            /// # Errors
            /// As there.
            pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
                self.stream().try_write(bytes)
            }

            /// Sends bytes without a copy: [`TcpStream::send_bytes`].
            ///
            /// # Errors
            /// As there.
            pub async fn send_bytes(&self, bytes: Bytes) -> io::Result<()> {
                self.stream().send_bytes(bytes).await
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.stream().poll_write(context, bytes)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.stream().poll_write_vectored(context, slices)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.stream().end_writing())
            }
        }
    };
}

read_half!(ReadHalf<'_>);
read_half!(OwnedReadHalf);
write_half!(WriteHalf<'_>);
write_half!(OwnedWriteHalf);
