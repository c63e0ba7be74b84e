//! What the command is told: arguments, and a TOML file whose keys are the same options.

mod dhcp;
mod host;
mod perf;
mod ping;
mod serve;
mod set;
mod show;
mod sim;
#[cfg(test)]
mod tests;
mod top;
mod traceroute;
mod values;

use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Deserialize;

pub(crate) use dhcp::DhcpOptions;
pub(crate) use host::{Host, NameOptions, Target};
pub(crate) use perf::{PerfOptions, Test};
pub(crate) use ping::PingOptions;
pub(crate) use serve::{Control, ServeOptions, ServeSettings};
pub(crate) use set::SetOptions;
pub(crate) use show::ShowOptions;
pub(crate) use sim::SimOptions;
pub(crate) use top::TopOptions;
pub(crate) use traceroute::TracerouteOptions;
pub(crate) use values::{Cidr, DeviceName, PublishedPort};

/// Why the options make no sense together, or could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    /// The configuration file could not be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The configuration file is not understood.
    #[error("the configuration file {} is not understood: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A tap without an address.
    #[error(
        "the stack needs an address of its own on {0}: give one with --address, like --address 10.0.0.2/24, or have it asked for with --dhcp"
    )]
    NoAddress(DeviceName),
    /// A name, and nobody who knows its address.
    #[error(
        "`{0}` is a name, and no name server is known: give one with --name-server, like --name-server 10.0.0.1, have it told with --dhcp, or write an address"
    )]
    NoNameServer(String),
    /// A port published where nothing publishes.
    #[error("--publish is for the embedded device; on {0} the stack's own address is reached directly")]
    PublishOnTap(DeviceName),
    /// A device with nobody to measure against.
    #[error(
        "there is nobody to measure against on that device: name a server (another `sunstar perf --server`), or leave --device and --address out to measure in memory"
    )]
    NoServer,
    /// Something that is said of a device, where there is none.
    #[error(
        "{0} is about a device, and both ends are in memory: leave it out, or name a server to measure against"
    )]
    InMemory(&'static str),
    /// A device that leads to nobody.
    #[error(
        "nobody can be reached through the embedded device but this process: give --device tap:NAME with --address, or leave the server out to measure in memory"
    )]
    EndsHere,
    /// A number of requests for a test without any.
    #[error(
        "--requests counts requests and connections; leave out `--test down` and `--test up`, or give --seconds"
    )]
    NotCounted,
    /// Two services on one port.
    #[error("port {port} is to serve both {first} and {second}; give them different ports")]
    PortTwice {
        /// The port.
        port: u16,
        /// A service.
        first: &'static str,
        /// Another service.
        second: &'static str,
    },
    /// A published port that nothing serves.
    #[error("port {0} is published, but nothing serves it; served are {1}")]
    PublishedForNothing(u16, String),
}

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "sunstar",
    version,
    about = "A user-space TCP/IP stack that shares nothing between cores",
    after_help = "Exit codes: 0 success; `serve`, `perf`, `top`, `show`, `set`: 1 it could not run, or was refused; `sim`: 1 a run has failed, or it could not run; `ping`, `dhcp`: 1 no reply came, 2 any other \
                  failure; `traceroute`: 1 the host was not reached, 2 any other failure; all: 2 the options are wrong.",
    arg_required_else_help = true
)]
pub(crate) struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve HTTP over a TCP/IP stack in this process
    Serve(Box<ServeOptions>),
    /// Measure a TCP/IP stack in this process: bytes, requests and connections a second
    Perf(Box<PerfOptions>),
    /// Look at a running TCP/IP stack: its shards, what they hand to each other, what was dropped
    Top(TopOptions),
    /// List what a running TCP/IP stack has: interfaces, routes, neighbours, sockets, ports, counters
    Show(ShowOptions),
    /// Change a running TCP/IP stack: its addresses, its routes, which shard has a port
    Set(SetOptions),
    /// Send ICMP echo requests from a TCP/IP stack in this process
    Ping(PingOptions),
    /// Ask DHCP servers for a lease, and show how it goes
    Dhcp(DhcpOptions),
    /// Find the routers on the way to a host, by ICMP echo requests with few hops to live
    Traceroute(TracerouteOptions),
    /// Run networks of simulated hosts with the real stack, many seeds of them, and look for broken invariants
    Sim(SimOptions),
}

/// How the stack is connected.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
#[command(next_help_heading = "Network")]
#[serde(default)]
pub(crate) struct NetworkOptions {
    /// What to send and receive through: `embedded` (a gateway in this process, no privilege needed)
    /// or `tap:NAME` (a tap interface, made if it is missing) [default: embedded]
    #[arg(long, value_name = "embedded|tap:NAME")]
    pub(crate) device: Option<DeviceName>,
    /// An address of the stack with its prefix length; may be repeated [default: the embedded device has one]
    #[arg(long, value_name = "CIDR")]
    pub(crate) address: Vec<Cidr>,
    /// Have the device configured by DHCP: address, router, MTU, name servers
    #[arg(long)]
    pub(crate) dhcp: bool,
    /// The router that everything beyond the own network goes to
    #[arg(long, value_name = "IP")]
    pub(crate) gateway: Option<Ipv4Addr>,
    /// The largest IP packet, in bytes [default: the device's]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(576..))]
    pub(crate) mtu: Option<u16>,
    /// Threads of the stack, each with a part of the connections for itself [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) shards: Option<NonZeroU16>,
    /// Queues of the device that are used; shards without one send through the others [default: one a shard]
    #[arg(long, value_name = "N")]
    pub(crate) queues: Option<NonZeroU16>,
    /// Each shard's part of the flows, and of a queue that it shares, as in 1,2,1 [default: equal parts]
    #[arg(long, value_name = "N,N...", value_delimiter = ',')]
    pub(crate) weights: Vec<u32>,
    /// Steer a tap's packets without a program in the kernel
    #[arg(long)]
    pub(crate) software_steering: bool,
    /// Write every frame to a pcapng file; further queues to files named like it
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap: Option<PathBuf>,
}

impl NetworkOptions {
    /// These options, and where they say nothing, those of `other`.
    fn or(self, other: Self) -> Self {
        Self {
            device: self.device.or(other.device),
            address: either(self.address, other.address),
            dhcp: self.dhcp || other.dhcp,
            gateway: self.gateway.or(other.gateway),
            mtu: self.mtu.or(other.mtu),
            shards: self.shards.or(other.shards),
            queues: self.queues.or(other.queues),
            weights: either(self.weights, other.weights),
            software_steering: self.software_steering || other.software_steering,
            pcap: self.pcap.or(other.pcap),
        }
    }

    /// The device, the default one if none was named.
    pub(crate) fn device(&self) -> DeviceName {
        self.device.clone().unwrap_or_default()
    }

    /// How many shards, one if nothing was said.
    pub(crate) fn shards(&self) -> u16 {
        self.shards.map_or(1, NonZeroU16::get)
    }

    /// Checks what one option asks of another.
    ///
    /// # Errors
    /// `NoAddress` for a tap without an address.
    fn check(&self) -> Result<(), OptionsError> {
        match self.device() {
            device @ DeviceName::Tap(_) if self.address.is_empty() && !self.dhcp => {
                Err(OptionsError::NoAddress(device))
            }
            _ => Ok(()),
        }
    }
}

fn either<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
    if first.is_empty() { second } else { first }
}

/// A time in seconds, at least a millisecond.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "that is no number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(duration) if duration >= Duration::from_millis(1) && number <= 86_400.0 => Ok(duration),
        _ => Err("give between 0.001 and 86400 seconds".to_owned()),
    }
}
