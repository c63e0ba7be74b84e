//! Hosts as they are named on a command line, and who knows their addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use clap::Args;

use super::values::ValueError;
use super::{NetworkOptions, OptionsError};

/// The port that name servers are asked on (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// A host, by address or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// An address, which is what it is.
    Address(Ipv4Addr),
    /// A name, to be resolved.
    Name(String),
}

impl FromStr for Host {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.parse() {
            Ok(IpAddr::V4(address)) => return Ok(Self::Address(address)),
            Ok(IpAddr::V6(_)) => return Err(ValueError::NoIpv6(text.to_owned())),
            Err(_) => {}
        }
        if is_name(text) { Ok(Self::Name(text.to_owned())) } else { Err(ValueError::Host(text.to_owned())) }
    }
}

/// RFC 1123 section 2.1, and the underscore that is found in the wild. What ends in a number is meant to be an address.
fn is_name(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text).split('.');
    let last_is_number =
        labels.clone().next_back().is_none_or(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    let is_label = |label: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(known) && !label.starts_with('-')
    };
    text.len() <= 254 && !last_is_number && labels.into_iter().all(is_label)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A host and a port of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The host.
    pub(crate) host: Host,
    /// Its port.
    pub(crate) port: u16,
}

impl Target {
    /// Reads `HOST`, or `HOST:PORT`.
    ///
    /// # Errors
    /// The host is neither an address nor a name, or the port is no port.
    pub(crate) fn parse(text: &str, default_port: u16) -> Result<Self, ValueError> {
        match text.rsplit_once(':').filter(|(host, _)| !host.contains(':')) {
            Some((host, port)) => match port.parse() {
                Ok(port) if port > 0 => Ok(Self { host: host.parse()?, port }),
                _ => Err(ValueError::Target(text.to_owned())),
            },
            None => Ok(Self { host: text.parse()?, port: default_port }),
        }
    }
}

/// A name server, and the port it is asked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameServer(pub(crate) SocketAddr);

impl FromStr for NameServer {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match Target::parse(text, DNS_PORT) {
            Ok(Target { host: Host::Address(address), port }) => Ok(Self((address, port).into())),
            _ => Err(ValueError::NameServer(text.to_owned())),
        }
    }
}

/// Who is asked for the addresses of names.
#[derive(Clone, Debug, Default, PartialEq, Args)]
#[command(next_help_heading = "Names")]
pub(crate) struct NameOptions {
    /// A server to ask for the addresses of names; may be repeated
    #[arg(long, value_name = "IP[:PORT]")]
    pub(crate) name_server: Vec<NameServer>,
    /// A domain in which names without a dot are looked for; may be repeated
    #[arg(long, value_name = "DOMAIN", value_parser = domain)]
    pub(crate) search: Vec<String>,
}

impl NameOptions {
    /// Checks that somebody can be asked for a host, if it is a name. A DHCP server tells who, mostly.
    ///
    /// # Errors
    /// `NoNameServer` when there is nobody.
    pub(crate) fn check(&self, host: &Host, network: &NetworkOptions) -> Result<(), OptionsError> {
        match host {
            Host::Name(name) if self.name_server.is_empty() && !network.dhcp => {
                Err(OptionsError::NoNameServer(name.clone()))
            }
            _ => Ok(()),
        }
    }
}

fn domain(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("that is no domain; write one like example.org".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_or_a_name() {
        assert_eq!("10.0.0.1".parse(), Ok(Host::Address(Ipv4Addr::new(10, 0, 0, 1))));
        for name in ["localhost", "example.org", "example.org.", "3com.com", "a-b.c_d.e1", &"a".repeat(63)] {
            assert_eq!(name.parse(), Ok(Host::Name(name.into())));
        }
        for wrong in ["", ".", "10.0.0", "10.0.0.256", "a..b", "-a", "a b", "a/24", "ä.org", &"a".repeat(64)]
        {
            assert_eq!(Host::from_str(wrong), Err(ValueError::Host(wrong.into())));
        }
        assert_eq!(Host::from_str("fe80::1"), Err(ValueError::NoIpv6("fe80::1".into())));
    }

    #[test]
    fn a_target_has_a_port_or_the_default_one() {
        let target = |host: &str, port| Ok(Target { host: host.parse().unwrap(), port });
        assert_eq!(Target::parse("10.0.0.1", 7), target("10.0.0.1", 7));
        assert_eq!(Target::parse("10.0.0.1:9", 7), target("10.0.0.1", 9));
        assert_eq!(Target::parse("example.org:9", 7), target("example.org", 9));
        for wrong in ["a:", "a:0", "a:65536", "a:b"] {
            assert_eq!(Target::parse(wrong, 7), Err(ValueError::Target(wrong.into())));
        }
        assert_eq!(Target::parse(":9", 7), Err(ValueError::Host(String::new())));
        assert_eq!(Target::parse("fe80::1", 7), Err(ValueError::NoIpv6("fe80::1".into())));
    }

    #[test]
    fn a_name_server_is_an_address() {
        assert_eq!("10.0.0.1".parse(), Ok(NameServer("10.0.0.1:53".parse().unwrap())));
        assert_eq!("10.0.0.1:5353".parse(), Ok(NameServer("10.0.0.1:5353".parse().unwrap())));
        for wrong in ["", "dns.example.org", "fe80::1", "10.0.0.1:"] {
            assert_eq!(NameServer::from_str(wrong), Err(ValueError::NameServer(wrong.into())));
        }
    }
}
