//! What tells one connection from another: both ends' addresses and ports, in 36 bytes for either family.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use sunstar_wire::Protocol;

use crate::steering::FlowKey;

/// Both ends of a connection. IPv4 addresses are kept mapped into IPv6's (RFC 4291 section 2.5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tuple {
    local: [u8; 16],
    remote: [u8; 16],
    local_port: u16,
    remote_port: u16,
}

impl Tuple {
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local: mapped(local.ip()),
            remote: mapped(remote.ip()),
            local_port: local.port(),
            remote_port: remote.port(),
        }
    }

    pub(crate) fn local(&self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.local).to_canonical(), self.local_port)
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.remote).to_canonical(), self.remote_port)
    }

    /// The flow key of the segments that come in.
    pub(crate) fn arriving(&self) -> FlowKey {
        let (local, remote) = (self.local(), self.remote());
        FlowKey::Ports {
            protocol: Protocol::TCP,
            source: remote.ip(),
            destination: local.ip(),
            source_port: remote.port(),
            destination_port: local.port(),
        }
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
