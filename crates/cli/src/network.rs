//! From options to a network.

use std::net::{IpAddr, Ipv4Addr};

use sunstar::{Builder, Device, DhcpConfig, Embedded, Net, Publish, Tap};

use crate::failure::Failure;
use crate::options::{DeviceName, Host, NameOptions, NetworkOptions, PublishedPort};

/// Describes the network that the options ask for.
pub(crate) fn builder(options: &NetworkOptions, publish: &[PublishedPort]) -> Builder {
    builder_with(options, publish, &DhcpConfig::default())
}

/// The same, with settings for the DHCP client, should there be one.
pub(crate) fn builder_with(
    options: &NetworkOptions,
    publish: &[PublishedPort],
    client: &DhcpConfig,
) -> Builder {
    let device = match options.device() {
        DeviceName::Embedded => {
            let publish = publish.iter().map(|it| Publish { host: it.host, port: it.port }).collect();
            Device::Embedded(Embedded { publish })
        }
        DeviceName::Tap(name) => Device::Tap(Tap::new(name)),
    };
    let mut builder = Builder::new().device(device);
    for address in &options.address {
        builder = builder.address(address.0);
    }
    builder = builder.shards(options.shards()).steering_program(!options.software_steering);
    if let Some(queues) = options.queues {
        builder = builder.queues(queues.get());
    }
    if !options.weights.is_empty() {
        builder = builder.weights(options.weights.clone());
    }
    if options.dhcp {
        builder = builder.dhcp(client.clone());
    }
    if let Some(gateway) = options.gateway {
        builder = builder.gateway(gateway.into());
    }
    if let Some(mtu) = options.mtu {
        builder = builder.mtu(mtu.into());
    }
    if let Some(path) = &options.pcap {
        builder = builder.pcap(path);
    }
    builder
}

/// The network with whoever is to be asked for names.
pub(crate) fn with_names(mut builder: Builder, options: &NameOptions) -> Builder {
    for server in &options.name_server {
        builder = builder.name_server(server.0);
    }
    for domain in &options.search {
        builder = builder.search_domain(domain);
    }
    builder
}

/// The address of a host: the first one that its name has. Asked for when the stack has been configured.
///
/// # Errors
/// The name has none, or no name server answers.
pub(crate) async fn resolve(net: &Net, host: &Host) -> Result<Ipv4Addr, Failure> {
    if net.dhcp_status().is_some() {
        net.configured().await.map_err(|error| Failure::Name(error.to_string()))?;
    }
    let name = match host {
        Host::Address(address) => return Ok(*address),
        Host::Name(name) => name,
    };
    let addresses = net.resolve(name).await.map_err(|error| Failure::Name(error.to_string()))?;
    let first = addresses.into_iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    first.ok_or_else(|| Failure::Name(format!("`{name}` has no IPv4 address")))
}
