//! Echo sockets: send an echo request, receive the reply, or what is said instead of one.

use sunstar_wire::IpAddress;

use super::SocketError;
use crate::ip::icmp::{EchoKey, EchoReply, EchoRequest};
use crate::shard::Shard;

impl Shard {
    /// Opens an echo socket with an identifier of its own. Among several shards replies find it once [`Shard::bound`]
    /// says so.
    ///
    /// # Errors
    /// `TooManyConnections` when every identifier is taken.
    pub fn echo_open(&mut self) -> Result<EchoKey, SocketError> {
        let limit = usize::from(u16::MAX) + 1;
        self.icmp.open(&mut self.core).ok_or(SocketError::TooManyConnections { limit })
    }

    /// Queues an echo request.
    ///
    /// # Errors
    /// `WouldBlock` while too many are queued, `MessageTooLong` beyond the MTU of the path when it may not be cut, or
    /// beyond 65,507 bytes, `NetworkUnreachable` without a route, `BroadcastNotAllowed` to everyone on a network unless the
    /// request says so, `Closed`.
    pub fn echo_send(
        &mut self,
        socket: EchoKey,
        destination: IpAddress,
        request: EchoRequest,
        data: &[u8],
    ) -> Result<(), SocketError> {
        self.icmp.send(&mut self.core, socket, destination, request, data)
    }

    /// The next reply; or an ICMP error about a request of this socket, once for each request at most
    /// ([`EchoReply::answer`] tells).
    ///
    /// # Errors
    /// `WouldBlock` while there is none, `Closed`.
    pub fn echo_recv(&mut self, socket: EchoKey) -> Result<EchoReply, SocketError> {
        self.icmp.recv(socket)
    }

    /// Closes an echo socket.
    pub fn echo_close(&mut self, socket: EchoKey) {
        self.icmp.close(&mut self.core, socket);
    }
}
