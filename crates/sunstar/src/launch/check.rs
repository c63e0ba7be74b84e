//! What can be known to be wrong before anything is opened, and which address the gateway host gets.

use std::net::{IpAddr, Ipv4Addr};

use sunstar_stack::InterfaceAddress;

use crate::builder::{Builder, Device};
use crate::error::RunError;

/// Finds what cannot be before anything is opened.
pub(super) fn check(builder: &Builder) -> Result<(), RunError> {
    let embedded = matches!(builder.device, Device::Embedded(_));
    if let Some(mtu) = builder.mtu.filter(|mtu| !(576..=65_535).contains(mtu)) {
        return Err(RunError::Mtu { mtu });
    }
    check_shards(builder)?;
    if builder.dhcp.is_some() && embedded {
        return Err(RunError::DhcpEmbedded);
    }
    if builder.addresses.is_empty() && !embedded && builder.dhcp.is_none() {
        return Err(RunError::NoAddress);
    }
    let is_no_host = |address: IpAddr| {
        address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
    };
    if let Some(own) = builder.addresses.iter().find(|own| is_no_host(own.address)) {
        return Err(RunError::NotUnicast { address: own.address });
    }
    let Some(gateway) = builder.gateway else { return Ok(()) };
    if builder.addresses.iter().any(|own| own.address == gateway) {
        return Err(RunError::GatewayIsOurs { gateway });
    }
    let default = [Builder::EMBEDDED_ADDRESS];
    let addresses = match builder.addresses.is_empty() {
        // Nobody knows yet which networks it will be in. A lease with a router replaces this one.
        true if !embedded => return Ok(()),
        true => &default[..],
        false => &builder.addresses,
    };
    match addresses.iter().any(|own| own.contains(gateway)) {
        true => Ok(()),
        false => Err(RunError::GatewayOutside { gateway }),
    }
}

/// Shards, queues and weights have to go together.
fn check_shards(builder: &Builder) -> Result<(), RunError> {
    let shards = builder.shards;
    if !(1..=Builder::MAX_SHARDS).contains(&shards) {
        return Err(RunError::Shards { shards });
    }
    if let Some(queues) = builder.queues.filter(|queues| !(1..=shards).contains(queues)) {
        return Err(RunError::Queues { queues, shards });
    }
    match builder.weights.as_ref().map(Vec::len) {
        Some(weights) if weights != usize::from(shards) => Err(RunError::Weights { weights, shards }),
        _ => Ok(()),
    }
}

/// The gateway host has an address in each of the stack's networks.
pub(super) fn gateway_addresses(
    ours: &[InterfaceAddress],
    gateway: Option<IpAddr>,
) -> Result<Vec<InterfaceAddress>, RunError> {
    let address_in = |own: &InterfaceAddress| match gateway.filter(|gateway| own.contains(*gateway)) {
        Some(address) => Ok(InterfaceAddress { address, ..*own }),
        None => neighbor_of(own).ok_or_else(|| RunError::NoRoomForGateway { network: own.to_string() }),
    };
    ours.iter().map(address_in).collect()
}

/// A device of so many queues has to fit what was asked for.
pub(super) fn check_queues(builder: &Builder, has: usize) -> Result<(), RunError> {
    let shards = builder.shards;
    let wanted = builder.queues.unwrap_or(shards.min(has as u16));
    match has {
        0 => Err(RunError::DeviceQueues { queues: wanted, has }),
        _ if usize::from(wanted) != has || has > usize::from(shards) => {
            Err(RunError::DeviceQueues { queues: wanted, has })
        }
        _ => Ok(()),
    }
}

/// Another host's address in the same network: the first that is free. `None` when the network has no other,
/// and for IPv6.
fn neighbor_of(own: &InterfaceAddress) -> Option<InterfaceAddress> {
    let IpAddr::V4(address) = own.address else { return None };
    let hosts = u32::MAX.checked_shr(own.prefix.into())?;
    let network = address.to_bits() & !hosts;
    // RFC 3021: a network of two addresses has no broadcast address, and no address of its own.
    let mut range = if hosts == 1 { 0..=1 } else { 1..=hosts.saturating_sub(1) };
    let found = range.find(|host| network | host != address.to_bits())?;
    Some(InterfaceAddress { address: Ipv4Addr::from_bits(network | found).into(), prefix: own.prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_host_of_a_network_is_the_first_that_is_free() {
        for (own, other) in [
            ("10.0.0.2/24", Some("10.0.0.1/24")),
            ("10.0.0.1/24", Some("10.0.0.2/24")),
            ("10.1.2.3/8", Some("10.0.0.1/8")),
            ("192.0.2.4/31", Some("192.0.2.5/31")),
            ("192.0.2.5/30", Some("192.0.2.6/30")),
            ("192.0.2.4/32", None),
            ("2001:db8::1/64", None),
        ] {
            let found = neighbor_of(&own.parse().unwrap());
            assert_eq!(found.map(|it| it.to_string()).as_deref(), other, "{own}");
        }
    }
}
