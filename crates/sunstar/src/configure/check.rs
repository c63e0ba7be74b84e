//! What a change must not be, before it is made anywhere.

use std::fmt::Display;
use std::net::IpAddr;

use sunstar_stack::{InterfaceAddress, InterfaceId, Route, Shard};

use super::{Change, ConfigureError, Network};

/// Addresses of the device's interface at most: each is looked at for every packet received.
const MAX_ADDRESSES: usize = 64;

/// Routes at most.
const MAX_ROUTES: usize = 256;

/// Refuses what cannot be.
pub(super) fn check(shard: &Shard, change: &Change) -> Result<(), ConfigureError> {
    let device = shard.interfaces().filter(|interface| interface.id == InterfaceId::DEVICE);
    let addresses: Vec<_> = device.flat_map(|device| device.addresses()).copied().collect();
    let routes: Vec<_> = shard.routes().copied().collect();
    match *change {
        Change::AddAddress(address) => added(address, &addresses),
        Change::RemoveAddress(address) => removed(address, &addresses, &routes),
        Change::AddRoute { network, gateway } => routed(network, gateway, &addresses, &routes),
        Change::RemoveRoute { network: wanted } if !routes.iter().any(|it| network(it) == wanted) => {
            Err(ConfigureError::NoSuchRoute { wanted, there: list(routes.iter().map(network)) })
        }
        Change::RemoveRoute { .. } | Change::SetPort { .. } => Ok(()),
    }
}

fn network(route: &Route) -> Network {
    Network::around(route.network, route.prefix)
}

fn list<T: Display>(things: impl Iterator<Item = T>) -> String {
    let things: Vec<_> = things.map(|thing| thing.to_string()).collect();
    if things.is_empty() { "none".to_owned() } else { things.join(", ") }
}

/// Whether a host can have an address in its network.
fn is_host(own: &InterfaceAddress) -> bool {
    let IpAddr::V4(address) = own.address else { return false };
    let is_network = own.prefix < 31 && Network::around(own.address, own.prefix).address == own.address;
    let is_no_host = is_network
        || own.broadcast() == Some(address)
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_loopback();
    !is_no_host
}

fn added(address: InterfaceAddress, there: &[InterfaceAddress]) -> Result<(), ConfigureError> {
    if address.address.is_ipv6() {
        return Err(ConfigureError::NoIpv6(address.address));
    }
    if !is_host(&address) {
        return Err(ConfigureError::NoHost(address));
    }
    if let Some(own) = there.iter().find(|own| own.address == address.address) {
        return Err(ConfigureError::AddressThere(*own));
    }
    if there.len() >= MAX_ADDRESSES { Err(ConfigureError::TooManyAddresses(there.len())) } else { Ok(()) }
}

fn removed(
    address: InterfaceAddress,
    there: &[InterfaceAddress],
    routes: &[Route],
) -> Result<(), ConfigureError> {
    if !there.contains(&address) {
        return Err(ConfigureError::NoSuchAddress { wanted: address, there: list(there.iter()) });
    }
    let reaches = |gateway| there.iter().any(|own| *own != address && own.contains(gateway));
    match routes.iter().find(|route| address.contains(route.gateway) && !reaches(route.gateway)) {
        Some(route) => {
            let (network, gateway) = (network(route), route.gateway);
            Err(ConfigureError::RouteNeeds { address, network, gateway })
        }
        None => Ok(()),
    }
}

fn routed(
    to: Network,
    gateway: IpAddr,
    addresses: &[InterfaceAddress],
    routes: &[Route],
) -> Result<(), ConfigureError> {
    if let Some(address) = [to.address, gateway].into_iter().find(IpAddr::is_ipv6) {
        return Err(ConfigureError::NoIpv6(address));
    }
    let is_neighbor = |own: &InterfaceAddress| {
        own.contains(gateway) && is_host(&InterfaceAddress { address: gateway, ..*own })
    };
    let is_own = addresses.iter().any(|own| own.address == gateway);
    if is_own || !addresses.iter().any(is_neighbor) {
        let networks = list(addresses.iter().map(|own| Network::around(own.address, own.prefix)));
        return Err(ConfigureError::GatewayOutside { gateway, networks });
    }
    let is_new = !routes.iter().any(|route| network(route) == to);
    if is_new && routes.len() >= MAX_ROUTES {
        Err(ConfigureError::TooManyRoutes(routes.len()))
    } else {
        Ok(())
    }
}
