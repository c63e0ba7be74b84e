//! Echo sockets: send an echo request, receive the reply.

use sunstar_wire::IpAddress;

use super::{SocketError, SocketHandle};
use crate::ip::icmp::{EchoKey, EchoReply};
use crate::shard::Shard;

impl Shard {
    /// Opens an echo socket with an identifier of its own.
    pub fn echo_open(&mut self) -> EchoKey {
        self.icmp.open()
    }

    /// Queues an echo request.
    ///
    /// # Errors
    /// `WouldBlock` while too many are queued, `MessageTooLong` beyond the MTU, `NetworkUnreachable`
    /// without a route, `Closed`.
    pub fn echo_send(
        &mut self,
        socket: EchoKey,
        destination: IpAddress,
        sequence: u16,
        ttl: u8,
        data: &[u8],
    ) -> Result<(), SocketError> {
        self.icmp.send(&mut self.core, socket, destination, (sequence, ttl), data)
    }

    /// The next reply.
    ///
    /// # Errors
    /// `WouldBlock` while there is none, `Closed`.
    pub fn echo_recv(&mut self, socket: EchoKey) -> Result<EchoReply, SocketError> {
        self.icmp.recv(socket)
    }

    /// Closes an echo socket.
    pub fn echo_close(&mut self, socket: EchoKey) {
        self.core.starved.remove(&SocketHandle::Echo(socket));
        self.icmp.sockets.remove(socket);
    }
}
