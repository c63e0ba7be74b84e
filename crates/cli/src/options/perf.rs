//! The options of `sunstar perf`.

use std::num::{NonZeroU16, NonZeroU64};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::values::ValueError;
use super::{DeviceName, NameOptions, NetworkOptions, OptionsError, Target};

/// The port that a server listens on unless told otherwise.
const PORT: u16 = 5_201;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Test {
    /// Bytes without end, from the server.
    Down,
    /// Bytes without end, to the server.
    Up,
    /// Requests and their answers, one after the other on each connection.
    Requests,
    /// Connections: opened, used for one request, closed.
    Connections,
}

/// The options of `sunstar perf`.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct PerfOptions {
    /// The server to measure against, by address or name; without one both ends are in this process, at the ends of
    /// wires in memory
    #[arg(value_name = "HOST[:PORT]", value_parser = target, conflicts_with = "server")]
    pub(crate) target: Option<Target>,
    /// Be the server, until a signal ends it
    #[arg(long, conflicts_with_all = ["test", "seconds", "streams", "size", "requests"])]
    pub(crate) server: bool,
    /// The port the server listens on; that of a server elsewhere stands behind its address
    #[arg(long, value_name = "PORT", default_value_t = PORT, value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "target")]
    pub(crate) port: u16,
    /// What to measure; may be repeated [default: all]
    #[arg(long, value_name = "TEST")]
    pub(crate) test: Vec<Test>,
    /// Seconds that each test lasts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// Connections at a time, over all shards
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) streams: NonZeroU16,
    /// Bytes of a request, and of its answer
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) size: u32,
    /// Send so many requests in all, or open so many connections, and end; in place of --seconds, for the tests `requests`
    /// (alone, unless --test says more) and `connections`
    #[arg(long, value_name = "N")]
    pub(crate) requests: Option<NonZeroU64>,
    /// Wires in memory that leave checksums and segmentation to nobody
    #[arg(long, conflicts_with_all = ["server", "target"])]
    pub(crate) no_offload: bool,
    /// Sleep as soon as there is nothing to do: for counting instructions
    #[arg(long)]
    pub(crate) no_spin: bool,
    /// Print JSON, an object a test
    #[arg(long)]
    pub(crate) json: bool,
    /// Who is asked for names.
    #[command(flatten)]
    pub(crate) names: NameOptions,
    /// How the stack is connected.
    #[command(flatten)]
    pub(crate) network: NetworkOptions,
}

impl PerfOptions {
    /// Checks what one option asks of another.
    ///
    /// # Errors
    /// `NoAddress` for a tap without an address, `NoServer` for a device without a server at its other end, `InMemory` for
    /// what no wire in memory has, `EndsHere` for a server that cannot be reached, `NoNameServer` for a name that nobody can
    /// be asked for, `NotCounted` for a test that has no requests.
    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        self.network.check()?;
        let in_memory = self.target.is_none() && !self.server;
        if in_memory && (self.network.device.is_some() || !self.network.address.is_empty()) {
            return Err(OptionsError::NoServer);
        }
        let of_a_device = [
            ("--gateway", self.network.gateway.is_some()),
            ("--dhcp", self.network.dhcp),
            ("--software-steering", self.network.software_steering),
            ("--pcap", self.network.pcap.is_some()),
            ("--name-server", !self.names.name_server.is_empty()),
            ("--search", !self.names.search.is_empty()),
        ];
        if let Some((option, _)) = of_a_device.into_iter().find(|(_, given)| in_memory && *given) {
            return Err(OptionsError::InMemory(option));
        }
        if !in_memory && self.network.device() == DeviceName::Embedded {
            return Err(OptionsError::EndsHere);
        }
        if let Some(target) = &self.target {
            self.names.check(&target.host, &self.network)?;
        }
        if self.requests.is_some() && self.tests().iter().any(|test| matches!(test, Test::Down | Test::Up)) {
            return Err(OptionsError::NotCounted);
        }
        Ok(())
    }

    /// The tests to run.
    pub(crate) fn tests(&self) -> Vec<Test> {
        match (self.requests, self.test.is_empty()) {
            (_, false) => self.test.clone(),
            (Some(_), true) => vec![Test::Requests],
            (None, true) => vec![Test::Down, Test::Up, Test::Requests, Test::Connections],
        }
    }
}

fn target(text: &str) -> Result<Target, ValueError> {
    Target::parse(text, PORT)
}
