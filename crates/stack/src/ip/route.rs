//! Where a packet goes next (RFC 1122 section 3.3.1).

use core::cmp::Reverse;

use sunstar_wire::IpAddress;

use super::interface::{InterfaceId, Interfaces, prefix_matches};

/// A route by way of a gateway. Networks an interface has an address in need none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network's address.
    pub network: IpAddress,
    /// Bits of the network's prefix; 0 is the default route.
    pub prefix: u8,
    /// The next hop; it must lie in a network of `interface`.
    pub gateway: IpAddress,
    /// The interface it leaves by.
    pub interface: InterfaceId,
}

/// How to reach a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The interface the packet leaves by.
    pub interface: InterfaceId,
    /// The neighbour it is handed to.
    pub next_hop: IpAddress,
    /// The source address it should have, unless one was chosen.
    pub source: IpAddress,
    /// The largest IP packet, in bytes, as far as is known.
    pub mtu: usize,
    /// The largest IP packet its interface takes, in bytes.
    pub link_mtu: usize,
}

/// A shard's routes; the longest prefix wins.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    routes: Vec<Route>,
}

impl Routes {
    /// Adds a route, in place of one to the same network.
    pub(crate) fn add(&mut self, route: Route) {
        self.routes.retain(|other| (other.network, other.prefix) != (route.network, route.prefix));
        let at = self.routes.partition_point(|other| other.prefix >= route.prefix);
        self.routes.insert(at, route);
    }

    /// Removes the route to a network; whether there was one.
    pub(crate) fn remove(&mut self, network: IpAddress, prefix: u8) -> bool {
        let before = self.routes.len();
        self.routes.retain(|route| (route.network, route.prefix) != (network, prefix));
        self.routes.len() != before
    }

    /// The routes, longest prefix first.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// How to reach `destination`, as far as the interfaces say; from `source`, if one is given. `None` without a route, or without an
    /// address of the destination's family on the way.
    pub fn find(
        &self,
        interfaces: &Interfaces,
        destination: IpAddress,
        source: Option<IpAddress>,
    ) -> Option<Path> {
        if interfaces.is_local(destination) {
            let loopback = interfaces.get(InterfaceId::LOOPBACK);
            return Some(path_by(loopback, destination, source.unwrap_or(destination)));
        }
        // RFC 1122 section 3.2.1.3 (g): a loopback address never leaves the host.
        if source.is_some_and(|source| source.is_loopback()) {
            return None;
        }
        let on_link = interfaces.iter().flat_map(|interface| {
            let holds = move |own: &&super::InterfaceAddress| own.contains(destination);
            interface.addresses().iter().filter(holds).map(move |own| (own.prefix, interface, own.address))
        });
        // The first of several that are as near: an interface's first address is the preferred source.
        let nearest =
            on_link.filter(|(_, it, _)| it.id != InterfaceId::LOOPBACK).min_by_key(|found| Reverse(found.0));
        let routed =
            self.routes.iter().find(|route| prefix_matches(route.network, route.prefix, destination));
        let group_or_everyone = destination.is_multicast()
            || matches!(destination, IpAddress::V4(address) if address.is_broadcast());
        match (nearest, routed) {
            (Some((prefix, interface, own)), routed) if routed.is_none_or(|route| route.prefix <= prefix) => {
                let source = source.unwrap_or(own);
                Some(path_by(interface, destination, source))
            }
            (_, Some(route)) if !group_or_everyone => {
                let interface = interfaces.get(route.interface);
                let source = source.or_else(|| source_towards(interface, route.gateway))?;
                Some(path_by(interface, route.gateway, source))
            }
            _ if group_or_everyone => {
                let interface = interfaces.get(InterfaceId::DEVICE);
                let source = source.or_else(|| source_towards(interface, destination))?;
                Some(path_by(interface, destination, source))
            }
            _ => None,
        }
    }
}

fn path_by(interface: &super::Interface, next_hop: IpAddress, source: IpAddress) -> Path {
    Path { interface: interface.id, next_hop, source, mtu: interface.mtu, link_mtu: interface.mtu }
}

fn source_towards(interface: &super::Interface, hop: IpAddress) -> Option<IpAddress> {
    let same_family = |own: &&super::InterfaceAddress| own.address.is_ipv4() == hop.is_ipv4();
    let mut candidates = interface.addresses().iter().filter(same_family);
    let first = candidates.clone().next()?;
    Some(candidates.find(|own| own.contains(hop)).unwrap_or(first).address)
}
