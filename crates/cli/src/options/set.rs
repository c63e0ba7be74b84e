//! The options of `sunstar set`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use sunstar::InterfaceAddress;
use sunstar::configure::{Change, Network, PortName, PortOwner};

use super::Cidr;

/// The options of `sunstar set`.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct SetOptions {
    /// What to change
    #[command(subcommand)]
    what: What,
    /// The control socket of a running stack [default: that of the only one of this user that runs]
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) control: Option<PathBuf>,
    /// Say in JSON what was changed
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, PartialEq, Subcommand)]
enum What {
    /// An address of the stack on its device
    #[command(subcommand)]
    Address(AddressChange),
    /// A route by way of a gateway
    #[command(subcommand)]
    Route(RouteChange),
    /// Which shard the packets for a port go to, as in `set port udp/53 shard 2`
    Port {
        /// The port, as in udp/53
        #[arg(value_name = "PROTOCOL/PORT")]
        port: PortName,
        /// `shard N` for one shard, `every` for all by hash, `none` for no owner
        #[arg(value_name = "OWNER", num_args = 1..=2, required = true)]
        owner: Vec<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Subcommand)]
enum AddressChange {
    /// Give the stack one more address
    Add {
        /// The address with its prefix length, as in 10.0.0.3/24
        #[arg(value_name = "CIDR")]
        address: Cidr,
    },
    /// Take an address away; connections from it are reset
    Remove {
        /// The address with its prefix length, as in 10.0.0.3/24
        #[arg(value_name = "CIDR")]
        address: Cidr,
    },
}

#[derive(Clone, Debug, PartialEq, Subcommand)]
enum RouteChange {
    /// Add a route, in place of one to the same network, as in `set route add 10.1.0.0/16 via 10.0.0.1`
    Add {
        /// Where to: a network, as in 10.1.0.0/16, or `default`
        #[arg(value_name = "NETWORK")]
        network: Network,
        /// The word `via`
        #[arg(value_name = "via", value_parser = ["via"], hide_possible_values = true)]
        via: String,
        /// The next hop, in a network of the stack
        #[arg(value_name = "GATEWAY")]
        gateway: IpAddr,
    },
    /// Remove a route
    Remove {
        /// Where to: a network, as in 10.1.0.0/16, or `default`
        #[arg(value_name = "NETWORK")]
        network: Network,
    },
}

impl SetOptions {
    /// The change that is meant.
    ///
    /// # Errors
    /// The owner of a port is none.
    pub(crate) fn change(&self) -> Result<Change, <PortOwner as std::str::FromStr>::Err> {
        let own = |address: &Cidr| -> InterfaceAddress { address.0 };
        Ok(match &self.what {
            What::Address(AddressChange::Add { address }) => Change::AddAddress(own(address)),
            What::Address(AddressChange::Remove { address }) => Change::RemoveAddress(own(address)),
            What::Route(RouteChange::Add { network, gateway, .. }) => {
                Change::AddRoute { network: *network, gateway: *gateway }
            }
            What::Route(RouteChange::Remove { network }) => Change::RemoveRoute { network: *network },
            What::Port { port, owner } => {
                let owner: PortOwner = owner.join(" ").parse()?;
                Change::SetPort { port: *port, owner }
            }
        })
    }
}
