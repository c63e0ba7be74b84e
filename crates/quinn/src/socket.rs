//! A UDP socket as quinn wants it: never blocking, several datagrams a call, with what RFC 9000 needs to know of each.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use send_wrapper::SendWrapper;
use sunstar::{Ecn, UdpReceived, UdpSocket, UdpTransmit};

/// Datagrams of one batch at most, either way: what the sockets take, and what devices coalesce.
const SEGMENTS: usize = 64;
/// Bytes of one batch at most: what the length fields of IP and UDP leave.
const BATCH: usize = 65_507;

/// A UDP socket of a shard. Used from another thread, it panics.
#[derive(Debug)]
pub(crate) struct ShardSocket {
    inner: SendWrapper<Inner>,
}

#[derive(Debug)]
struct Inner {
    socket: UdpSocket,
    /// What is left of several datagrams that arrived as one message and did not fit into one buffer.
    rest: RefCell<Option<UdpReceived>>,
    /// The end of the device, if it was a sender that heard of it: the reader is who can tell the endpoint.
    failure: RefCell<Option<io::Error>>,
}

impl ShardSocket {
    pub(crate) fn new(socket: UdpSocket) -> Self {
        let inner = Inner { socket, rest: RefCell::default(), failure: RefCell::default() };
        Self { inner: SendWrapper::new(inner) }
    }
}

impl AsyncUdpSocket for ShardSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        let wait = move || {
            let socket = Arc::clone(&self);
            SendWrapper::new(async move { socket.inner.socket.writable().await })
        };
        Box::pin(WritePoller { wait, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_receive(context, buffers, metas)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        SEGMENTS
    }

    fn max_receive_segments(&self) -> usize {
        SEGMENTS
    }

    /// Every packet leaves with Don't Fragment set (RFC 9000 section 14).
    fn may_fragment(&self) -> bool {
        false
    }
}

impl Inner {
    /// Sends a batch: all of it, or nothing and `WouldBlock`. quinn gives a connection up without a word on any other
    /// error, so what cannot be sent is lost.
    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        let options = UdpTransmit {
            destination: Some(transmit.destination),
            source: transmit.src_ip,
            ecn: to_ecn(transmit.ecn),
            segment_size: transmit.segment_size,
            // quinn looks for its own path MTU.
            probe: true,
            ..UdpTransmit::default()
        };
        // Datagrams larger than Ethernet's may not go out as one packet all together.
        let together = size * (BATCH / size).clamp(1, SEGMENTS);
        let mut parts = transmit.contents.chunks(together);
        let first = parts.next().unwrap_or_default();
        if let Err(error) = self.send_part(&options, first) {
            if error.kind() == ErrorKind::WouldBlock {
                return Err(error);
            }
            self.on_send_error(transmit, error);
        }
        for part in parts {
            // The first is on its way: what finds no room after it may not be asked for once more.
            if let Err(error) = self.send_part(&options, part) {
                self.on_send_error(transmit, error);
            }
        }
        Ok(())
    }

    fn send_part(&self, options: &UdpTransmit, part: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.try_send_message(options, part) {
                // That was an earlier datagram, and is said once.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                result => return result.map(drop),
            }
        }
    }

    fn on_send_error(&self, transmit: &Transmit<'_>, error: io::Error) {
        tracing::debug!(destination = %transmit.destination, %error, "datagrams could not be sent");
        if error.kind() == ErrorKind::NetworkDown {
            self.failure.replace(Some(error));
        }
    }

    /// Receives one message into each buffer, as far as there are any.
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let mut message = match self.poll_next(context) {
                Poll::Ready(Ok(message)) => message,
                _ if count > 0 => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            *meta = fill(&mut message, buffer);
            if !message.payload.is_empty() {
                self.rest.replace(Some(message));
            }
            count += 1;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<io::Result<UdpReceived>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Ok(rest));
        }
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        loop {
            match ready!(self.socket.poll_recv_message(context)) {
                // One peer is not there, or a datagram was too large for its path; an endpoint has others.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::InvalidInput) => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

/// Moves as many of a message's datagrams as fit into a buffer, whole. One that is larger than the buffer is cut off
/// there, as any socket would do.
fn fill(message: &mut UdpReceived, buffer: &mut [u8]) -> RecvMeta {
    let stride = message.segment_size.unwrap_or(message.payload.len()).max(1);
    let fit = (buffer.len() / stride * stride).max(buffer.len().min(stride));
    let len = message.payload.copy_to(0, &mut buffer[..fit]);
    message.payload.trim_front(len.max(stride));
    RecvMeta { addr: message.from, len, stride, ecn: from_ecn(message.ecn), dst_ip: Some(message.to.ip()) }
}

fn to_ecn(codepoint: Option<EcnCodepoint>) -> Ecn {
    match codepoint {
        None => Ecn::NotEct,
        Some(EcnCodepoint::Ect0) => Ecn::Ect0,
        Some(EcnCodepoint::Ect1) => Ecn::Ect1,
        Some(EcnCodepoint::Ce) => Ecn::Ce,
    }
}

fn from_ecn(ecn: Ecn) -> Option<EcnCodepoint> {
    match ecn {
        Ecn::NotEct => None,
        Ecn::Ect0 => Some(EcnCodepoint::Ect0),
        Ecn::Ect1 => Some(EcnCodepoint::Ect1),
        Ecn::Ce => Some(EcnCodepoint::Ce),
    }
}

pin_project! {
    /// Waits for room on behalf of one of many connections. Each waits with a future of its own: the place that a
    /// socket has for who polls it is one, and would be the last connection's.
    struct WritePoller<M, F> {
        wait: M,
        #[pin]
        waiting: Option<F>,
    }
}

impl<M, F> UdpPoller for WritePoller<M, F>
where
    M: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<()>> + Send + Sync + 'static,
{
    fn poll_writable(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        if this.waiting.is_none() {
            this.waiting.set(Some((this.wait)()));
        }
        if let Some(waiting) = this.waiting.as_mut().as_pin_mut() {
            // A socket that has failed takes whatever it is given; its reader tells the endpoint.
            let _ = ready!(waiting.poll(context));
        }
        this.waiting.set(None);
        Poll::Ready(Ok(()))
    }
}

impl<M, F> std::fmt::Debug for WritePoller<M, F> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("WritePoller").finish_non_exhaustive()
    }
}
