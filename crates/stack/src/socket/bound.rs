//! Whether a socket has its port, which among several shards takes a moment: every shard has to know first.

use std::net::{Ipv4Addr, SocketAddr};

use super::{SocketError, SocketHandle};
use crate::shard::Shard;
use crate::steering::PortSpace;

impl Shard {
    /// Whether a listener, a UDP socket or an echo socket has its port for itself, or its share of it, and every shard
    /// knows. It becomes writable when that is decided. A lone shard's sockets have theirs at once.
    ///
    /// # Errors
    /// `WouldBlock` until it is decided; `AddressInUse` when another shard has the port: the socket is to be closed;
    /// `Closed`.
    pub fn bound(&self, handle: SocketHandle) -> Result<(), SocketError> {
        let (space, local) = match handle {
            SocketHandle::Listener(key) => (PortSpace::Tcp, self.tcp_listener_addr(key)?),
            SocketHandle::Udp(key) => (PortSpace::Udp, self.udp_local_addr(key)?),
            SocketHandle::Echo(key) => {
                let identifier = self.icmp.sockets.get(key).ok_or(SocketError::Closed)?.identifier;
                (PortSpace::Icmp, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), identifier))
            }
            SocketHandle::Stream(_) => return Ok(()),
        };
        self.core.claimed((space, local.port()), local)
    }
}
