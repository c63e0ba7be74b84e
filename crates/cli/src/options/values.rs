//! The values of options that have a syntax of their own: devices, networks, published ports.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;
use sunstar::InterfaceAddress;

/// Why an option's value was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// No device of that kind.
    #[error("`{0}` is no device; use `embedded`, or `tap:NAME` with the name of a tap interface")]
    Device(String),
    /// No address with a prefix length.
    #[error("`{0}` is no address with the length of its prefix; write it like 10.0.0.2/24")]
    Cidr(String),
    /// An address that no host can have.
    #[error("`{0}` is not an address that a host can have; choose one like 10.0.0.2/24")]
    NoHost(String),
    /// An IPv6 address.
    #[error("`{0}` is an IPv6 address, which this stack does not speak; give an IPv4 address")]
    NoIpv6(String),
    /// Neither an address nor a name.
    #[error("`{0}` is neither an IPv4 address nor a name; write one like 10.0.0.1 or example.org")]
    Host(String),
    /// No host with a port.
    #[error("`{0}` is no host with a port; write it like 10.0.0.1:5201 or example.org:5201")]
    Target(String),
    /// No address of a name server.
    #[error("`{0}` is no address of a name server; write one like 10.0.0.1 or 10.0.0.1:53")]
    NameServer(String),
    /// No published port.
    #[error("`{0}` publishes nothing; write HOST_PORT:PORT or IP:HOST_PORT:PORT, like 127.0.0.1:8080:80")]
    Publish(String),
    /// A port that cannot be served.
    #[error("`{0}` publishes port 0 of the stack, which nobody can listen on; name the port to publish")]
    PublishZero(String),
}

/// What the stack sends and receives through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum DeviceName {
    /// A wire to a gateway in the same process: no privilege, no set-up.
    #[default]
    Embedded,
    /// A tap interface of the kernel.
    Tap(String),
}

impl FromStr for DeviceName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.split_once(':') {
            None if text == "embedded" => Ok(Self::Embedded),
            Some(("tap", name)) if !name.is_empty() => Ok(Self::Tap(name.to_owned())),
            _ => Err(ValueError::Device(text.to_owned())),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Tap(name) => write!(f, "tap:{name}"),
        }
    }
}

/// An IPv4 address of the stack, and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Cidr(pub(crate) InterfaceAddress);

impl FromStr for Cidr {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // A prefix is asked for: without one the stack would have no neighbours, which nobody means.
        let wrong = || ValueError::Cidr(text.to_owned());
        let address: InterfaceAddress = text.parse().ok().filter(|_| text.contains('/')).ok_or_else(wrong)?;
        match address.address {
            IpAddr::V6(_) => Err(ValueError::NoIpv6(text.to_owned())),
            IpAddr::V4(own) if own.is_unspecified() || own.is_multicast() || own.is_broadcast() => {
                Err(ValueError::NoHost(text.to_owned()))
            }
            IpAddr::V4(_) => Ok(Self(address)),
        }
    }
}

/// A port of the stack that can be reached at an address of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct PublishedPort {
    /// Where the machine listens.
    pub(crate) host: SocketAddr,
    /// The port of the stack that answers.
    pub(crate) port: u16,
}

impl FromStr for PublishedPort {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::Publish(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let host = match host.parse::<u16>() {
            Ok(host_port) => SocketAddr::from((Ipv4Addr::LOCALHOST, host_port)),
            Err(_) => host.parse().map_err(|_| wrong())?,
        };
        if port == 0 {
            return Err(ValueError::PublishZero(text.to_owned()));
        }
        Ok(Self { host, port })
    }
}

macro_rules! deserialized_like_an_argument {
    ($($value:ty),+) => {$(
        impl TryFrom<String> for $value {
            type Error = ValueError;

            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }
    )+};
}

deserialized_like_an_argument!(DeviceName, Cidr, PublishedPort);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_embedded_or_a_named_tap() {
        assert_eq!("embedded".parse(), Ok(DeviceName::Embedded));
        assert_eq!("tap:sun0".parse(), Ok(DeviceName::Tap("sun0".into())));
        for wrong in ["", "tap", "tap:", "tun:x", "Embedded", "embedded:"] {
            assert_eq!(DeviceName::from_str(wrong), Err(ValueError::Device(wrong.into())));
        }
    }

    #[test]
    fn an_address_is_ipv4_with_a_prefix() {
        assert_eq!("10.0.0.2/24".parse(), Ok(Cidr("10.0.0.2/24".parse().unwrap())));
        for wrong in ["10.0.0.2", "10.0.0.2/", "10.0.0/24", "/24", "10.0.0.2/33", "10.0.0.2/24/1"] {
            assert_eq!(Cidr::from_str(wrong), Err(ValueError::Cidr(wrong.into())));
        }
        for wrong in ["0.0.0.0/0", "224.0.0.1/4", "255.255.255.255/32"] {
            assert_eq!(Cidr::from_str(wrong), Err(ValueError::NoHost(wrong.into())));
        }
        assert!(matches!(Cidr::from_str("fe80::1/64"), Err(ValueError::NoIpv6(_))));
    }

    #[test]
    fn a_port_is_published_on_the_loopback_unless_an_address_is_named() {
        let published = |host: &str, port| Ok(PublishedPort { host: host.parse().unwrap(), port });
        assert_eq!("8080:80".parse(), published("127.0.0.1:8080", 80));
        assert_eq!("0.0.0.0:8080:80".parse(), published("0.0.0.0:8080", 80));
        assert_eq!("[::1]:8080:80".parse(), published("[::1]:8080", 80));
        for wrong in ["8080", "8080:", ":80", "a:b", "65536:80", "80:65536", "::1:8080:80", "host:1:2"] {
            assert_eq!(PublishedPort::from_str(wrong), Err(ValueError::Publish(wrong.into())), "{wrong}");
        }
        assert!(matches!(PublishedPort::from_str("8080:0"), Err(ValueError::PublishZero(_))));
    }
}
