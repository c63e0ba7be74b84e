//! The options of `sunstar ping`: named like those of the ping everybody knows.

use std::time::Duration;

use clap::Args;

use super::{Host, NameOptions, NetworkOptions, OptionsError, seconds};

/// The most data an echo request of 65,535 bytes holds, beside 20 bytes of IPv4 and 8 of ICMP header.
pub(super) const MAX_SIZE: i64 = 65_507;

/// The options of `sunstar ping`.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct PingOptions {
    /// The host to send echo requests to: an IPv4 address, or a name
    #[arg(value_name = "HOST")]
    pub(crate) host: Host,
    /// Stop after this many requests [default: until interrupted]
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Seconds between requests, at least 0.001
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) interval: Duration,
    /// Bytes of data in a request; what does not fit one packet goes in fragments
    #[arg(short, long, value_name = "BYTES", default_value_t = 56, value_parser = clap::value_parser!(u16).range(..=MAX_SIZE))]
    pub(crate) size: u16,
    /// Time to live of the requests
    #[arg(short, long, value_name = "TTL", default_value_t = 64, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) ttl: u8,
    /// Never send a request in fragments: say how large a packet may be instead
    #[arg(short = 'M', long)]
    pub(crate) dont_fragment: bool,
    /// Send to every host of a network, if that is what HOST is
    #[arg(short, long)]
    pub(crate) broadcast: bool,
    /// Seconds to wait for a reply
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
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

impl PingOptions {
    /// Checks what one option asks of another.
    ///
    /// # Errors
    /// `NoAddress` for a tap without an address, `NoNameServer` for a name that nobody can be asked for.
    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        self.network.check()?;
        self.names.check(&self.host, &self.network)
    }
}
