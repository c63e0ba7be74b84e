//! UDP sockets, with tokio's names, and with what tokio's cannot do: every datagram's destination, TTL and
//! congestion mark, and several datagrams a call.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

use sunstar_stack::{InterfaceId, Shard, SocketError, UdpKey, UdpReceived, UdpTransmit};
use tokio::io::ReadBuf;

use crate::address::ToSocketAddress;
use crate::engine::{Direction, Engine, Socket};

/// A UDP socket (RFC 768). All of its calls take `&self`; several tasks may use it at a time.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket<UdpKey>,
    /// What is left of several datagrams that arrived as one message.
    rest: RefCell<Option<UdpReceived>>,
}

impl UdpSocket {
    /// Binds a socket to an address, and waits until it has its port, which is its shard's alone.
    pub(crate) async fn bind(engine: &Rc<Engine>, local: SocketAddr) -> io::Result<Self> {
        Self::bound(engine, engine.call(|shard| shard.udp_bind(local))?).await
    }

    /// The same with a port that every shard may bind.
    pub(crate) async fn bind_shared(engine: &Rc<Engine>, local: SocketAddr) -> io::Result<Self> {
        Self::bound(engine, engine.call(|shard| shard.udp_bind_shared(local))?).await
    }

    async fn bound(engine: &Rc<Engine>, key: UdpKey) -> io::Result<Self> {
        let bound = Self { socket: Socket::new(Rc::clone(engine), key), rest: RefCell::default() };
        bound.socket.bound().await?;
        Ok(bound)
    }

    /// Fixes the peer: [`UdpSocket::send`] sends to it, and datagrams of others are not received.
    ///
    /// # Errors
    /// `NetworkUnreachable` without a route, `AddrInUse`, `InvalidInput` for a text that is no address with a
    /// port.
    pub fn connect(&self, remote: impl ToSocketAddress) -> io::Result<()> {
        let remote = remote.to_socket_address()?;
        self.socket.call(|shard, key| shard.udp_connect(key, remote))
    }

    /// The socket's own address and port.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(|shard, key| shard.udp_local_addr(key))
    }

    /// The peer fixed by [`UdpSocket::connect`].
    ///
    /// # Errors
    /// `NotConnected` without one.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(|shard, key| shard.udp_peer_addr(key))
    }

    /// Receives datagrams sent to a multicast group at the socket's port. `interface` is an address of the
    /// stack's device, or unspecified.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is no group, `AddrNotAvailable` for an interface that is not there,
    /// `QuotaExceeded` for more groups than a shard may join.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.socket.call(|shard, key| {
            check_interface(shard, interface)?;
            shard.udp_join(key, group.into())
        })
    }

    /// No longer receives a group's datagrams.
    ///
    /// # Errors
    /// `AddrNotAvailable` for an interface that is not there.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.socket.call(|shard, key| {
            check_interface(shard, interface)?;
            shard.udp_leave(key, group.into());
            Ok(())
        })
    }

    /// Whether datagrams that are too large for the path to their destination are cut into fragments, as they are unless
    /// this says otherwise; see [`Shard::udp_set_fragmentation`](sunstar_stack::Shard::udp_set_fragmentation).
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn set_fragmentation(&self, allowed: bool) -> io::Result<()> {
        self.socket.call(|shard, key| shard.udp_set_fragmentation(key, allowed))
    }

    /// Whether the socket may send to every host of a network, to 255.255.255.255 or to the last address of a network of the
    /// stack's. It may not unless this says so.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub fn set_broadcast(&self, allowed: bool) -> io::Result<()> {
        self.socket.call(|shard, key| shard.udp_set_broadcast(key, allowed))
    }

    /// Sends a datagram to the peer. `Ok` means that the stack has taken it: all its bytes, always.
    ///
    /// # Errors
    /// `NotConnected` without a peer, `InvalidInput` for a datagram that is too long (beyond 65,507 bytes; or beyond the
    /// path's MTU, where it may not be cut),
    /// `NetworkUnreachable` without a route, `PermissionDenied` to every host of a network unless
    /// [`UdpSocket::set_broadcast`] allows it, `ConnectionRefused` when an earlier datagram was.
    pub async fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.send_message(&UdpTransmit::default(), payload).await
    }

    /// Sends a datagram to an address.
    ///
    /// # Errors
    /// As [`UdpSocket::send`], and `InvalidInput` for a text that is no address with a port.
    pub async fn send_to(&self, payload: &[u8], destination: impl ToSocketAddress) -> io::Result<usize> {
        self.send_message(&to(destination.to_socket_address()?), payload).await
    }

    /// Sends a datagram with a source address, a TTL or a congestion mark of its own; or several datagrams of
    /// `segment_size` bytes each, which a device that can do so cuts apart.
    ///
    /// # Errors
    /// As [`UdpSocket::send`], and `AddrNotAvailable` for a source address that is not ours.
    pub async fn send_message(&self, transmit: &UdpTransmit, payload: &[u8]) -> io::Result<usize> {
        let send = |shard: &mut Shard, key| shard.udp_send(key, transmit, payload);
        self.socket.wait(Direction::Write, send).await?;
        Ok(payload.len())
    }

    /// Sends a message now, or not at all.
    ///
    /// # Errors
    /// `WouldBlock` while the socket's send buffer is full; else as [`UdpSocket::send_message`].
    pub fn try_send_message(&self, transmit: &UdpTransmit, payload: &[u8]) -> io::Result<usize> {
        self.socket.try_call(Direction::Write, |shard, key| shard.udp_send(key, transmit, payload))?;
        Ok(payload.len())
    }

    /// Sends a datagram to the peer now, or not at all.
    ///
    /// # Errors
    /// `WouldBlock` while the socket's send buffer is full; else as [`UdpSocket::send`].
    pub fn try_send(&self, payload: &[u8]) -> io::Result<usize> {
        self.try_send_message(&UdpTransmit::default(), payload)
    }

    /// Sends a datagram to an address now, or not at all.
    ///
    /// # Errors
    /// `WouldBlock` while the socket's send buffer is full; else as [`UdpSocket::send`].
    pub fn try_send_to(&self, payload: &[u8], destination: SocketAddr) -> io::Result<usize> {
        self.try_send_message(&to(destination), payload)
    }

    /// Polls to send a datagram to the peer. The task that polled last is woken.
    pub fn poll_send(&self, context: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send_message(context, &UdpTransmit::default(), payload)
    }

    /// Polls to send a datagram to an address.
    pub fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        payload: &[u8],
        destination: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.poll_send_message(context, &to(destination), payload)
    }

    /// Polls to send a message.
    pub fn poll_send_message(
        &self,
        context: &mut Context<'_>,
        transmit: &UdpTransmit,
        payload: &[u8],
    ) -> Poll<io::Result<usize>> {
        let send = |shard: &mut Shard, key| shard.udp_send(key, transmit, payload);
        self.socket.poll(context, Direction::Write, send).map_ok(|()| payload.len())
    }

    /// Waits until a datagram may be sent.
    ///
    /// # Errors
    /// None today; the shape is tokio's.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.ready(Direction::Write).await
    }

    /// Polls until a datagram may be sent.
    pub fn poll_send_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(context, Direction::Write)
    }

    /// Receives a datagram from the peer; what does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// `ConnectionRefused` when a datagram sent was (ICMP port unreachable, to a connected socket).
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv_from(buffer).await?.0)
    }

    /// Receives a datagram; what does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// As [`UdpSocket::recv`].
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.wait(Direction::Read, |shard, key| self.copy_next(shard, key, buffer)).await
    }

    /// Receives a datagram, if there is one.
    ///
    /// # Errors
    /// `WouldBlock` while there is none; else as [`UdpSocket::recv`].
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_call(Direction::Read, |shard, key| self.copy_next(shard, key, buffer))
    }

    /// Receives a datagram from the peer, if there is one.
    ///
    /// # Errors
    /// `WouldBlock` while there is none; else as [`UdpSocket::recv`].
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.try_recv_from(buffer)?.0)
    }

    /// Polls for a datagram from the peer. The task that polled last is woken.
    pub fn poll_recv(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_recv_from(context, buffer).map_ok(|_| ())
    }

    /// Polls for a datagram.
    pub fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        let into = buffer.initialize_unfilled();
        let received =
            self.socket.poll(context, Direction::Read, |shard, key| self.copy_next(shard, key, into));
        received.map_ok(|(len, from)| {
            buffer.advance(len);
            from
        })
    }

    /// Waits until there may be a datagram.
    ///
    /// # Errors
    /// None today; the shape is tokio's.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.ready(Direction::Read).await
    }

    /// Reads a datagram and leaves it where it is.
    ///
    /// # Errors
    /// `NotConnected` once the network is shut down.
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let peek = |shard: &mut Shard, key| {
            let rest = self.rest.borrow();
            let Some(message) = rest.as_ref().or_else(|| shard.udp_peek(key)) else {
                return Err(SocketError::WouldBlock);
            };
            Ok((copy_datagram(message, buffer), message.from))
        };
        self.socket.wait(Direction::Read, peek).await
    }

    /// Receives a message: a datagram with everything known of it, in the buffers it arrived in, or several
    /// datagrams of `segment_size` bytes each that arrived as one.
    ///
    /// # Errors
    /// As [`UdpSocket::recv`].
    pub async fn recv_message(&self) -> io::Result<UdpReceived> {
        self.socket.wait(Direction::Read, |shard, key| self.next_message(shard, key)).await
    }

    /// Polls for a message.
    pub fn poll_recv_message(&self, context: &mut Context<'_>) -> Poll<io::Result<UdpReceived>> {
        self.socket.poll(context, Direction::Read, |shard, key| self.next_message(shard, key))
    }

    /// Waits for a message and appends it, and those that are there with it, to `messages`, `limit` at most.
    /// How many.
    ///
    /// # Errors
    /// As [`UdpSocket::recv`].
    pub async fn recv_many(&self, messages: &mut Vec<UdpReceived>, limit: usize) -> io::Result<usize> {
        if limit == 0 {
            return Ok(0);
        }
        let before = messages.len();
        let receive = |shard: &mut Shard, key| {
            messages.push(self.next_message(shard, key)?);
            while messages.len() - before < limit
                && let Ok(message) = self.next_message(shard, key)
            {
                messages.push(message);
            }
            Ok(messages.len() - before)
        };
        self.socket.wait(Direction::Read, receive).await
    }

    fn next_message(&self, shard: &mut Shard, key: UdpKey) -> Result<UdpReceived, SocketError> {
        match self.rest.borrow_mut().take() {
            Some(rest) => Ok(rest),
            None => shard.udp_recv(key),
        }
    }

    /// Copies the next datagram out, and keeps those that came with it.
    fn copy_next(
        &self,
        shard: &mut Shard,
        key: UdpKey,
        buffer: &mut [u8],
    ) -> Result<(usize, SocketAddr), SocketError> {
        let mut message = self.next_message(shard, key)?;
        let (len, from) = (copy_datagram(&message, buffer), message.from);
        if let Some(size) = message.segment_size.filter(|size| *size < message.payload.len()) {
            message.payload.trim_front(size);
            *self.rest.borrow_mut() = Some(message);
        }
        Ok((len, from))
    }
}

/// Copies the first datagram of a message, as much of it as fits.
fn copy_datagram(message: &UdpReceived, buffer: &mut [u8]) -> usize {
    let len = message.segment_size.unwrap_or(usize::MAX).min(buffer.len());
    message.payload.copy_to(0, &mut buffer[..len])
}

fn to(destination: SocketAddr) -> UdpTransmit {
    UdpTransmit { destination: Some(destination), ..UdpTransmit::default() }
}

/// There is one device: it is meant by any of its addresses.
fn check_interface(shard: &Shard, interface: Ipv4Addr) -> Result<(), SocketError> {
    let mut addresses =
        shard.interfaces().filter(|it| it.id == InterfaceId::DEVICE).flat_map(|device| device.addresses());
    match interface.is_unspecified() || addresses.any(|own| own.address == interface) {
        true => Ok(()),
        false => Err(SocketError::AddressNotAvailable { address: interface.into() }),
    }
}
