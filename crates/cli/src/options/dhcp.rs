//! The options of `sunstar dhcp`.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sunstar::DhcpConfig;

/// The options of `sunstar dhcp`.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct DhcpOptions {
    /// The tap interface to ask on; made if it is missing
    #[arg(value_name = "IFACE")]
    pub(crate) interface: String,
    /// Seconds to wait for a lease
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
    /// Threads of the stack, each with a queue of the interface; the first one has the client
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) shards: NonZeroU16,
    /// Keep the lease and show what becomes of it, until interrupted
    #[arg(long)]
    pub(crate) hold: bool,
    /// The name of this host, told to the server
    #[arg(long, value_name = "NAME")]
    pub(crate) host_name: Option<String>,
    /// Ask for classless static routes (RFC 3442)
    #[arg(long)]
    pub(crate) classless_routes: bool,
    /// Ask servers to broadcast their answers
    #[arg(long)]
    pub(crate) broadcast: bool,
    /// Use the address without finding out whether somebody else does
    #[arg(long)]
    pub(crate) no_probe: bool,
    /// Write every frame to a pcapng file
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap: Option<PathBuf>,
    /// Print JSON, an object a line
    #[arg(long)]
    pub(crate) json: bool,
}

impl DhcpOptions {
    /// What the client is to do.
    pub(crate) fn client(&self) -> DhcpConfig {
        DhcpConfig {
            probe: !self.no_probe,
            broadcast: self.broadcast,
            classless_routes: self.classless_routes,
            host_name: self.host_name.clone(),
            ..DhcpConfig::default()
        }
    }

    /// How long to wait for a lease.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}
