//! The resolver's sockets and tasks: those of the shard it works for. The resolver wants them to be `Send`; they are not, and
//! neither it nor they ever leave the shard's thread.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn, TokioTime};
use send_wrapper::SendWrapper;
use sunstar_stack::ConnectOptions;
use tokio::io::ReadBuf;

use crate::engine::Engine;
use crate::stall::Noted;
use crate::tcp::TcpStream;
use crate::udp::UdpSocket;

/// How long a connection to a name server may take unless the resolver says more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the resolver's sockets on a shard, and runs its tasks there.
#[derive(Clone)]
pub(super) struct Provider {
    engine: SendWrapper<Weak<Engine>>,
}

impl Provider {
    pub(super) fn new(engine: SendWrapper<Weak<Engine>>) -> Self {
        Self { engine }
    }

    fn engine(&self) -> io::Result<Rc<Engine>> {
        self.engine.upgrade().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Spawn for Provider {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        if let Ok(engine) = self.engine() {
            tokio::task::spawn_local(Noted::new(engine.watch(), "a question to a name server", future));
        }
    }
}

/// What a socket's opening comes to, elsewhere than its own thread in name only.
type Opening<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl RuntimeProvider for Provider {
    type Handle = Self;
    type Timer = TokioTime;
    type Udp = Datagrams;
    type Tcp = Stream;

    fn create_handle(&self) -> Self {
        self.clone()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        _: Option<SocketAddr>,
        patience: Option<Duration>,
    ) -> Opening<Stream> {
        let engine = self.engine();
        Box::pin(SendWrapper::new(async move {
            let connect = async {
                let stream = TcpStream::connect(&engine?, server, &ConnectOptions::default()).await?;
                stream.set_nodelay(true)?;
                Ok(Stream(SendWrapper::new(stream)))
            };
            tokio::time::timeout(patience.unwrap_or(PATIENCE), connect).await?
        }))
    }

    fn bind_udp(&self, local: SocketAddr, _: SocketAddr) -> Opening<Datagrams> {
        let engine = self.engine();
        Box::pin(SendWrapper::new(async move {
            let socket = UdpSocket::bind(&engine?, local).await?;
            Ok(Datagrams(SendWrapper::new(socket)))
        }))
    }
}

/// A UDP socket of the resolver's.
pub(super) struct Datagrams(SendWrapper<UdpSocket>);

impl DnsUdpSocket for Datagrams {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(buffer);
        let received = self.0.poll_recv_from(context, &mut buffer);
        received.map_ok(|from| (buffer.filled().len(), from))
    }

    fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        payload: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send_to(context, payload, target)
    }
}

/// A TCP connection of the resolver's.
pub(super) struct Stream(SendWrapper<TcpStream>);

impl DnsTcpStream for Stream {
    type Time = TokioTime;
}

impl Stream {
    fn inner(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut *self.get_mut().0)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let read = tokio::io::AsyncRead::poll_read(self.inner(), context, &mut buffer);
        read.map_ok(|()| buffer.filled().len())
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(self.inner(), context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(self.inner(), context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(self.inner(), context)
    }
}
