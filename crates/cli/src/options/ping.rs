//! The options of `sunstar ping`: named like those of the ping everybody knows.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::Args;

use super::{NetworkOptions, OptionsError};

/// The most data an echo request of 65,535 bytes holds, beside 20 bytes of IPv4 and 8 of ICMP header.
const MAX_SIZE: i64 = 65_507;

/// The options of `sunstar ping`.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct PingOptions {
    /// The IPv4 address to send echo requests to
    #[arg(value_name = "HOST", value_parser = host)]
    pub(crate) host: Ipv4Addr,
    /// Stop after this many requests [default: until interrupted]
    #[arg(short, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Seconds between requests, at least 0.001
    #[arg(short, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) interval: Duration,
    /// Bytes of data in a request
    #[arg(short, value_name = "BYTES", default_value_t = 56, value_parser = clap::value_parser!(u16).range(..=MAX_SIZE))]
    pub(crate) size: u16,
    /// Time to live of the requests
    #[arg(short, value_name = "TTL", default_value_t = 64, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) ttl: u8,
    /// Seconds to wait for a reply
    #[arg(short = 'W', value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Print JSON, an object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// How the stack is connected.
    #[command(flatten)]
    pub(crate) network: NetworkOptions,
}

impl PingOptions {
    /// Checks what one option asks of another.
    ///
    /// # Errors
    /// `NoAddress` for a tap without an address.
    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        self.network.check()
    }
}

fn host(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| "give an IPv4 address: the stack has no resolver for names".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "that is no number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(duration) if duration >= Duration::from_millis(1) && number <= 86_400.0 => Ok(duration),
        _ => Err("give between 0.001 and 86400 seconds".to_owned()),
    }
}
