//! Changing a stack that runs: addresses, routes, owners of ports.
//!
//! A change is looked at by the first shard, which refuses what cannot be, makes it, and tells all others.

mod check;
mod text;

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sunstar_stack::steering::{Owner, PortSpace, ShardId};
use sunstar_stack::{InterfaceAddress, InterfaceId, PortOwnerError, Route, Shard, SocketError};

use crate::mailbox::JobError;
use crate::net::Net;
pub use text::{Network, NetworkError, PortName, PortNameError, PortOwner, PortOwnerTextError};

/// How long each shard may take to be told.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether a shard was told.
const LOOK: Duration = Duration::from_millis(1);

/// A change to a running stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Gives the device's interface one more address.
    AddAddress(InterfaceAddress),
    /// Takes an address away. Connections from it are reset.
    RemoveAddress(InterfaceAddress),
    /// Adds a route, in place of one to the same network.
    AddRoute {
        /// Where to.
        network: Network,
        /// The next hop, in a network of the device's interface.
        gateway: IpAddr,
    },
    /// Removes a route.
    RemoveRoute {
        /// Where to.
        network: Network,
    },
    /// Says which shard the packets for a port go to.
    SetPort {
        /// Which port.
        port: PortName,
        /// Whose it is.
        owner: PortOwner,
    },
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddAddress(address) => write!(f, "address {address} added"),
            Self::RemoveAddress(address) => write!(f, "address {address} removed"),
            Self::AddRoute { network, gateway } => write!(f, "route {network} via {gateway} added"),
            Self::RemoveRoute { network } => write!(f, "route {network} removed"),
            Self::SetPort { port, owner: PortOwner::Nobody } => write!(f, "port {port} has no owner"),
            Self::SetPort { port, owner } => write!(f, "port {port} belongs to {owner}"),
        }
    }
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigureError {
    /// This stack has no IPv6.
    #[error("{0} is an IPv6 address, which this stack does not speak; give an IPv4 address")]
    NoIpv6(IpAddr),
    /// No host has such an address.
    #[error("{0} is not an address that a host of that network can have; choose one like 10.0.0.2/24")]
    NoHost(InterfaceAddress),
    /// The stack has it.
    #[error("the stack has {0} already; to change its prefix, remove it first")]
    AddressThere(InterfaceAddress),
    /// The stack does not have it.
    #[error("the stack has no address {wanted}; it has {there}")]
    NoSuchAddress {
        /// What was to be removed.
        wanted: InterfaceAddress,
        /// What it has.
        there: String,
    },
    /// A gateway would be out of reach.
    #[error("the route {network} via {gateway} needs {address}; remove the route first")]
    RouteNeeds {
        /// The address that was to be removed.
        address: InterfaceAddress,
        /// Where the route leads.
        network: Network,
        /// By way of whom.
        gateway: IpAddr,
    },
    /// There are enough.
    #[error("the stack has {0} addresses, which is as many as it may have; remove one first")]
    TooManyAddresses(usize),
    /// There are enough.
    #[error("the stack has {0} routes, which is as many as it may have; remove one first")]
    TooManyRoutes(usize),
    /// The gateway is no neighbour.
    #[error("the gateway {gateway} is no other host of a network that the stack is in; it is in {networks}")]
    GatewayOutside {
        /// The gateway.
        gateway: IpAddr,
        /// The networks of the device's interface.
        networks: String,
    },
    /// There is no such route.
    #[error("the stack has no route to {wanted}; it has {there}")]
    NoSuchRoute {
        /// What was to be removed.
        wanted: Network,
        /// What there is.
        there: String,
    },
    /// The port does not get that owner.
    #[error(transparent)]
    Port(#[from] PortOwnerError),
    /// A shard is held by a task.
    #[error(
        "the change is made, but not on every shard yet: a task holds one (`sunstar top` names it), which makes the change as soon as it can"
    )]
    Late,
    /// A shard, or the network, is no more.
    #[error("the change is not made on every shard: {0}")]
    Shard(#[from] JobError),
    /// The shard is in no state to be changed.
    #[error("a shard cannot be changed now: {0}")]
    Socket(#[from] SocketError),
}

/// Makes a change, on the thread of the first shard, which tells the others; waits until all know.
pub(crate) async fn change(net: &Net, change: Change) -> Result<(), ConfigureError> {
    let versions = net.on_engine(|shard| Ok(first(shard, &change)))??;
    for shard in 1..net.shards() {
        let known = net.on_shard(shard, move |net| async move { until_known(&net, versions).await });
        match tokio::time::timeout(PATIENCE, known).await {
            Err(_) => return Err(ConfigureError::Late),
            Ok(known) => known??,
        }
    }
    Ok(())
}

/// How far a shard knows the configuration and the owners of ports.
#[derive(Clone, Copy, Debug)]
struct Versions {
    configuration: u64,
    owners: u64,
}

impl Versions {
    fn of(shard: &Shard) -> Self {
        let (configuration, owners) = (shard.configuration().version(), shard.steering().owners().version());
        Self { configuration, owners }
    }
}

/// Waits until a shard has been told.
async fn until_known(net: &Net, versions: Versions) -> Result<(), SocketError> {
    loop {
        let known = net.on_engine(|shard| Ok(Versions::of(shard)))?;
        if known.configuration >= versions.configuration && known.owners >= versions.owners {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The first shard's part: refuses what cannot be, and makes the change. What is to be known after it.
fn first(shard: &mut Shard, change: &Change) -> Result<Versions, ConfigureError> {
    check::check(shard, change)?;
    if let Change::SetPort { port, owner } = change {
        let owner = match owner {
            PortOwner::Shard(shard) => Some(Owner::Shard(ShardId(*shard))),
            PortOwner::Every => Some(Owner::EveryShard),
            PortOwner::Nobody => None,
        };
        shard.set_port_owner(port.space, port.port, owner)?;
    }
    match *change {
        Change::AddAddress(address) => shard.add_address(InterfaceId::DEVICE, address),
        Change::RemoveAddress(own) => shard.remove_address(InterfaceId::DEVICE, own.address),
        Change::AddRoute { network: Network { address, prefix }, gateway } => {
            shard.add_route(Route { network: address, prefix, gateway, interface: InterfaceId::DEVICE });
        }
        Change::RemoveRoute { network } => {
            // It was looked for a moment ago.
            let _ = shard.remove_route(network.address, network.prefix);
        }
        Change::SetPort { .. } => {}
    }
    Ok(Versions::of(shard))
}

/// Which ports have owners that can be said from outside.
const SPACES: [(PortSpace, &str); 3] =
    [(PortSpace::Tcp, "tcp"), (PortSpace::Udp, "udp"), (PortSpace::Icmp, "icmp")];

#[cfg(test)]
mod tests;
