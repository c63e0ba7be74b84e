//! What an application does with UDP and echo sockets.

use std::net::{Ipv4Addr, SocketAddr};

use sunstar_stack::{EchoKey, EchoReply, EchoRequest, SocketError, UdpKey, UdpReceived, UdpTransmit};

use super::Host;

impl Host {
    /// Binds a UDP socket to a port of every address, 0 for any free one.
    ///
    /// # Panics
    /// When the port is taken.
    pub fn udp_bind(&mut self, port: u16) -> UdpKey {
        let local = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let socket = self.shard_mut().udp_bind(local).expect("a free port");
        self.application.udp.push(socket);
        socket
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// As the socket door says.
    pub fn try_udp_send(
        &mut self,
        socket: UdpKey,
        to: SocketAddr,
        payload: &[u8],
    ) -> Result<(), SocketError> {
        let transmit = UdpTransmit { destination: Some(to), ..UdpTransmit::default() };
        self.shard_mut().udp_send(socket, &transmit, payload)
    }

    /// Sends a datagram.
    ///
    /// # Panics
    /// When the socket does not take it.
    pub fn udp_send(&mut self, socket: UdpKey, to: SocketAddr, payload: &[u8]) {
        self.try_udp_send(socket, to, payload).expect("the socket takes the datagram");
    }

    /// The next datagram received, as the socket door gives it.
    ///
    /// # Errors
    /// As the socket door says.
    pub fn udp_recv(&mut self, socket: UdpKey) -> Result<UdpReceived, SocketError> {
        self.shard_mut().udp_recv(socket)
    }

    /// The payloads of all datagrams received and not yet fetched, and who sent them.
    pub fn udp_recv_all(&mut self, socket: UdpKey) -> Vec<(SocketAddr, Vec<u8>)> {
        std::iter::from_fn(|| self.udp_recv(socket).ok())
            .map(|datagram| (datagram.from, datagram.payload.to_vec()))
            .collect()
    }

    /// Closes a UDP socket.
    pub fn udp_close(&mut self, socket: UdpKey) {
        self.application.udp.retain(|open| *open != socket);
        self.shard_mut().udp_close(socket);
    }

    /// Opens an echo socket.
    ///
    /// # Panics
    /// When no identifier is left.
    pub fn echo_open(&mut self) -> EchoKey {
        let socket = self.shard_mut().echo_open().expect("an identifier");
        self.application.echo.push(socket);
        socket
    }

    /// Opens an echo socket and sends one request of so many bytes with it.
    ///
    /// # Panics
    /// When the socket does not take it.
    pub fn ping(&mut self, to: Ipv4Addr, len: usize) -> EchoKey {
        let socket = self.echo_open();
        let data: Vec<u8> = (0..len).map(|at| at as u8).collect();
        self.shard_mut()
            .echo_send(socket, to.into(), EchoRequest::new(1), &data)
            .expect("the socket takes the request");
        socket
    }

    /// What was said to requests, and was not yet fetched.
    pub fn pongs(&mut self, socket: EchoKey) -> Vec<EchoReply> {
        std::iter::from_fn(|| self.shard_mut().echo_recv(socket).ok()).collect()
    }
}
