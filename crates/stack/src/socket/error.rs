//! Why a call on a socket was refused.

use std::io;
use std::net::SocketAddr;

use sunstar_wire::IpAddress;

/// Why a call on a socket was refused. `std::io::Error` can be made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// Not now: wait until the handle is ready, and call again.
    #[error("the call would block; wait until the socket is ready")]
    WouldBlock,
    /// The handle was closed.
    #[error("the socket is closed")]
    Closed,
    /// The address is not one of this stack's.
    #[error("{address} is not an address of this stack; add it to an interface, or bind to 0.0.0.0")]
    AddressNotAvailable {
        /// The address asked for.
        address: IpAddress,
    },
    /// The address was taken from the stack: its lease has ended, it was refused, or somebody removed it.
    #[error(
        "{address} is no longer an address of this stack: its lease ended, or it was removed; connect or bind again"
    )]
    AddressLost {
        /// The address.
        address: IpAddress,
    },
    /// Another socket has the address and port.
    #[error(
        "{address} is in use by another socket of this stack; choose another port, or 0 for any free one"
    )]
    AddressInUse {
        /// The address and port asked for.
        address: SocketAddr,
    },
    /// Every port of the ephemeral range is in use towards the destination.
    #[error(
        "no source port is left towards {destination}: all of {first} to {last} are in use; widen `ephemeral_ports`"
    )]
    NoPortLeft {
        /// Where the connection was to go.
        destination: SocketAddr,
        /// The range's first port.
        first: u16,
        /// The range's last port.
        last: u16,
    },
    /// The answers to that port go to another shard.
    #[error(
        "what comes back to {address} goes to shard {shard}: connect there, or leave the port to be chosen (0)"
    )]
    PortElsewhere {
        /// The source address and port asked for.
        address: SocketAddr,
        /// The shard that would receive the answers.
        shard: u16,
    },
    /// There is no route.
    #[error("no route to {destination}; add one, or a gateway")]
    NetworkUnreachable {
        /// Where to.
        destination: IpAddress,
    },
    /// The next hop, or a router on the way, says the host cannot be reached.
    #[error("the host cannot be reached")]
    HostUnreachable,
    /// A host or router on the way did not understand a packet's header (ICMP parameter problem, RFC 1122 section 3.2.2.5).
    #[error("a host or router on the way does not understand the packets' header")]
    ParameterProblem,
    /// The destination is everyone on a network, and the socket has not asked to send there.
    #[error(
        "{destination} is every host of a network; if that is meant, allow the socket to broadcast (`udp_set_broadcast`, or `broadcast` of an echo request)"
    )]
    BroadcastNotAllowed {
        /// Where to.
        destination: IpAddress,
    },
    /// The peer refused the connection, or the datagram (RFC 9293 section 3.10.7.3; ICMP port unreachable).
    #[error("the peer refused the connection")]
    ConnectionRefused,
    /// The peer reset the connection.
    #[error("the peer reset the connection")]
    ConnectionReset,
    /// This end aborted the connection.
    #[error("the connection was aborted")]
    ConnectionAborted,
    /// The peer did not answer for too long (R2, or the user timeout).
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The socket has no peer.
    #[error("the socket is not connected")]
    NotConnected,
    /// The application has shut down this direction, or the connection is gone.
    #[error("the connection no longer takes data")]
    BrokenPipe,
    /// A datagram that does not fit one packet.
    #[error("a datagram of {len} bytes does not fit; the limit to this destination is {limit}")]
    MessageTooLong {
        /// Its payload, in bytes.
        len: usize,
        /// What would fit, in bytes.
        limit: usize,
    },
    /// The shard has as many sockets or connections as its configuration allows.
    #[error("the shard has all the connections its configuration allows ({limit})")]
    TooManyConnections {
        /// The cap.
        limit: usize,
    },
    /// The shard is in as many groups as its configuration allows.
    #[error("the shard is in all the groups its configuration allows ({limit}); raise `igmp.max_groups`")]
    TooManyGroups {
        /// The cap.
        limit: usize,
    },
    /// The device has failed.
    #[error("the network device has failed; sockets on it are closed")]
    NetworkDown,
    /// What was asked for makes no sense.
    #[error("{what}")]
    InvalidInput {
        /// What is wrong, and what would be right.
        what: &'static str,
    },
}

impl From<SocketError> for io::Error {
    fn from(error: SocketError) -> Self {
        use io::ErrorKind;
        let kind = match error {
            SocketError::WouldBlock => ErrorKind::WouldBlock,
            SocketError::Closed | SocketError::NotConnected => ErrorKind::NotConnected,
            SocketError::AddressNotAvailable { .. }
            | SocketError::AddressLost { .. }
            | SocketError::NoPortLeft { .. }
            | SocketError::PortElsewhere { .. } => ErrorKind::AddrNotAvailable,
            SocketError::AddressInUse { .. } => ErrorKind::AddrInUse,
            SocketError::NetworkUnreachable { .. } => ErrorKind::NetworkUnreachable,
            SocketError::HostUnreachable => ErrorKind::HostUnreachable,
            SocketError::ParameterProblem => ErrorKind::Other,
            SocketError::BroadcastNotAllowed { .. } => ErrorKind::PermissionDenied,
            SocketError::ConnectionRefused => ErrorKind::ConnectionRefused,
            SocketError::ConnectionReset => ErrorKind::ConnectionReset,
            SocketError::ConnectionAborted => ErrorKind::ConnectionAborted,
            SocketError::TimedOut => ErrorKind::TimedOut,
            SocketError::BrokenPipe => ErrorKind::BrokenPipe,
            SocketError::MessageTooLong { .. } | SocketError::InvalidInput { .. } => ErrorKind::InvalidInput,
            SocketError::TooManyConnections { .. } | SocketError::TooManyGroups { .. } => {
                ErrorKind::QuotaExceeded
            }
            SocketError::NetworkDown => ErrorKind::NetworkDown,
        };
        io::Error::new(kind, error)
    }
}
