//! UDP sockets.

use std::net::SocketAddr;

use sunstar_wire::IpAddress;

use super::SocketError;
use crate::shard::Shard;
use crate::udp::{UdpKey, UdpReceived, UdpTransmit};

impl Shard {
    /// Binds a socket to an address and port of the stack; the unspecified address means all, port 0 any free one.
    /// All of the port's datagrams come to this shard. Among several shards the port is certain once [`Shard::bound`]
    /// says so.
    ///
    /// # Errors
    /// `AddressInUse`, `AddressNotAvailable`, `NoPortLeft`.
    pub fn udp_bind(&mut self, local: SocketAddr) -> Result<UdpKey, SocketError> {
        self.udp.bind(&mut self.core, local, false)
    }

    /// As [`Shard::udp_bind`], but the port is shared by every shard that binds it so: each receives the datagrams of
    /// the flows that hash to it.
    ///
    /// # Errors
    /// As [`Shard::udp_bind`].
    pub fn udp_bind_shared(&mut self, local: SocketAddr) -> Result<UdpKey, SocketError> {
        self.udp.bind(&mut self.core, local, true)
    }

    /// Fixes a socket's peer: it sends to it by default, and receives from nobody else.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `AddressInUse`, `BroadcastNotAllowed`, `Closed`.
    pub fn udp_connect(&mut self, socket: UdpKey, remote: SocketAddr) -> Result<(), SocketError> {
        self.udp.connect(&self.core, socket, remote)
    }

    /// Queues a datagram, or several at once, against the socket's credit. The bytes are copied.
    ///
    /// # Errors
    /// `WouldBlock` without credit, `MessageTooLong`, `NetworkUnreachable`, `AddressNotAvailable`,
    /// `NotConnected`, `InvalidInput`, `BroadcastNotAllowed` unless [`Shard::udp_set_broadcast`] allows it,
    /// `ConnectionRefused` when an earlier datagram was, `ParameterProblem` when one was not understood, `Closed`.
    pub fn udp_send(
        &mut self,
        socket: UdpKey,
        transmit: &UdpTransmit,
        payload: &[u8],
    ) -> Result<(), SocketError> {
        self.udp.send(&mut self.core, socket, transmit, payload)
    }

    /// Whether datagrams that are too large for the path to their destination are cut into fragments, as they are unless
    /// this says otherwise. If not, they are refused with `MessageTooLong`: what an application wants that finds out
    /// itself how much fits, or that would rather send less than have a datagram lost with any one of its fragments
    /// (RFC 8900, RFC 8085 section 3.2).
    ///
    /// # Errors
    /// `Closed`.
    pub fn udp_set_fragmentation(&mut self, socket: UdpKey, allowed: bool) -> Result<(), SocketError> {
        self.udp.set_fragmentation(socket, allowed)
    }

    /// Whether the socket may send to every host of a network: to 255.255.255.255, or to the last address of a network of
    /// ours. It may not unless this says so (`SO_BROADCAST` elsewhere).
    ///
    /// # Errors
    /// `Closed`.
    pub fn udp_set_broadcast(&mut self, socket: UdpKey, allowed: bool) -> Result<(), SocketError> {
        self.udp.set_broadcast(socket, allowed)
    }

    /// The next datagram received, or the next several that came coalesced, in the buffers they came in.
    ///
    /// # Errors
    /// `WouldBlock` while there is none, `ConnectionRefused` when a datagram sent was, `ParameterProblem` when one was not
    /// understood, `Closed`.
    pub fn udp_recv(&mut self, socket: UdpKey) -> Result<UdpReceived, SocketError> {
        self.udp.sockets.get_mut(socket).ok_or(SocketError::Closed)?.recv()
    }

    /// The next datagram received, left where it is.
    pub fn udp_peek(&self, socket: UdpKey) -> Option<&UdpReceived> {
        self.udp.sockets.get(socket)?.peek()
    }

    /// The socket's own address.
    pub fn udp_local_addr(&self, socket: UdpKey) -> Result<SocketAddr, SocketError> {
        Ok(self.udp.sockets.get(socket).ok_or(SocketError::Closed)?.local)
    }

    /// The socket's peer, if it is connected.
    pub fn udp_peer_addr(&self, socket: UdpKey) -> Result<SocketAddr, SocketError> {
        self.udp.sockets.get(socket).ok_or(SocketError::Closed)?.remote.ok_or(SocketError::NotConnected)
    }

    /// Receives a multicast group's datagrams for the socket's port, on the device's interface. Routers are told by IGMP.
    ///
    /// # Errors
    /// `InvalidInput` unless it is an IPv4 group, `TooManyGroups`, `Closed`.
    pub fn udp_join(&mut self, socket: UdpKey, group: IpAddress) -> Result<(), SocketError> {
        self.udp.join(&mut self.core, socket, group)
    }

    /// No longer receives a group's datagrams.
    pub fn udp_leave(&mut self, socket: UdpKey, group: IpAddress) {
        self.udp.leave(&mut self.core, socket, group);
    }

    /// Closes a socket. What it had queued still goes out; its port is free at once.
    pub fn udp_close(&mut self, socket: UdpKey) {
        self.udp.close(&mut self.core, socket);
    }
}
