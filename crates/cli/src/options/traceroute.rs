//! The options of `sunstar traceroute`: named like those of the traceroute everybody knows.

use std::time::Duration;

use clap::Args;

use super::ping::MAX_SIZE;
use super::{Host, NameOptions, NetworkOptions, OptionsError, seconds};

/// The options of `sunstar traceroute`.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct TracerouteOptions {
    /// The host to find the way to: an IPv4 address, or a name
    #[arg(value_name = "HOST")]
    pub(crate) host: Host,
    /// The most hops to look for
    #[arg(short, long, value_name = "HOPS", default_value_t = 30, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) max_hops: u8,
    /// Probes of each hop
    #[arg(short, long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub(crate) queries: u8,
    /// Seconds to wait for the answer to a probe
    #[arg(short, long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) wait: Duration,
    /// Probes that wait for an answer at a time, of several hops
    #[arg(short = 'N', long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) in_flight: u8,
    /// Bytes of data in a probe
    #[arg(short, long, value_name = "BYTES", default_value_t = 32, value_parser = clap::value_parser!(u16).range(..=MAX_SIZE))]
    pub(crate) size: u16,
    /// Never send a probe in fragments
    #[arg(short = 'F', long)]
    pub(crate) dont_fragment: bool,
    /// Print JSON, an object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Who is asked for names.
    #[command(flatten)]
    pub(crate) names: NameOptions,
    /// How the stack is connected.
    #[command(flatten)]
    pub(crate) network: NetworkOptions,
}

impl TracerouteOptions {
    /// Checks what one option asks of another.
    ///
    /// # Errors
    /// `NoAddress` for a tap without an address, `NoNameServer` for a name that nobody can be asked for.
    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        self.network.check()?;
        self.names.check(&self.host, &self.network)
    }
}
