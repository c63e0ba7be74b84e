//! From options to a network.

use sunstar::{Builder, Device, DhcpConfig, Embedded, Publish, Tap};

use crate::options::{DeviceName, NetworkOptions, PublishedPort};

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
