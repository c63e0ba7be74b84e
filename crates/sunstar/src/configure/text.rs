//! What changes are made of, and how it is written: `10.1.0.0/16` or `default`, `udp/53`, `shard 2`.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sunstar_stack::InterfaceAddress;
use sunstar_stack::steering::PortSpace;

use super::SPACES;

/// A network: an address whose bits behind the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

/// The text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is nothing of the kind.
    #[error(
        "`{0}` is no network; write its address and the length of its prefix, as in 10.1.0.0/16, or `default`"
    )]
    NoNetwork(String),
    /// It is an address in a network.
    #[error("`{text}` is an address in a network; the network is {network}")]
    HostBits {
        /// What was written.
        text: String,
        /// What was meant.
        network: Network,
    },
}

impl Network {
    /// The network with so long a prefix that an address is in.
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        match address {
            IpAddr::V4(own) => {
                let prefix = prefix.min(32);
                let behind = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                Self { address: Ipv4Addr::from_bits(own.to_bits() & !behind).into(), prefix }
            }
            IpAddr::V6(own) => {
                let prefix = prefix.min(128);
                let behind = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                Self { address: Ipv6Addr::from_bits(own.to_bits() & !behind).into(), prefix }
            }
        }
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Bits of its prefix.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if text == "default" {
            return Ok(Self { address: Ipv4Addr::UNSPECIFIED.into(), prefix: 0 });
        }
        let no_network = || NetworkError::NoNetwork(text.to_owned());
        // A prefix is asked for: a network of one host is seldom what is meant.
        let written: InterfaceAddress =
            text.parse().ok().filter(|_| text.contains('/')).ok_or_else(no_network)?;
        let network = Self::around(written.address, written.prefix);
        match network.address == written.address {
            true => Ok(network),
            false => Err(NetworkError::HostBits { text: text.to_owned(), network }),
        }
    }
}

impl Display for Network {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.address, self.prefix) {
            (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0) => f.write_str("default"),
            (address, prefix) => write!(f, "{address}/{prefix}"),
        }
    }
}

/// A port and its protocol, or the identifier of an echo socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName {
    /// What it is one of.
    pub space: PortSpace,
    /// Its number.
    pub port: u16,
}

/// The text is no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no port; write the protocol and the number, as in udp/53 or tcp/80")]
pub struct PortNameError(String);

impl FromStr for PortName {
    type Err = PortNameError;

    fn from_str(text: &str) -> Result<Self, PortNameError> {
        let wrong = || PortNameError(text.to_owned());
        let (space, port) = text.split_once('/').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let (space, _) = *SPACES.iter().find(|(_, name)| *name == space).ok_or_else(wrong)?;
        // Port 0 is nobody's; an identifier may be 0.
        if port == 0 && space != PortSpace::Icmp { Err(wrong()) } else { Ok(Self { space, port }) }
    }
}

impl Display for PortName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = SPACES.iter().find(|(space, _)| *space == self.space).map_or("port", |(_, name)| name);
        write!(f, "{name}/{}", self.port)
    }
}

/// Which shard has a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortOwner {
    /// One shard has all of its flows.
    Shard(u16),
    /// Every shard has those that hash to it, and is told of a broadcast.
    Every,
    /// It is nobody's: its packets go where they hash to.
    Nobody,
}

/// The text is no owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no owner of a port; write `shard N`, `every`, or `none`")]
pub struct PortOwnerTextError(String);

impl FromStr for PortOwner {
    type Err = PortOwnerTextError;

    fn from_str(text: &str) -> Result<Self, PortOwnerTextError> {
        let wrong = || PortOwnerTextError(text.to_owned());
        match text {
            "every" => Ok(Self::Every),
            "none" => Ok(Self::Nobody),
            _ => {
                let number = text.strip_prefix("shard ").ok_or_else(wrong)?;
                number.parse().map(Self::Shard).map_err(|_| wrong())
            }
        }
    }
}

impl Display for PortOwner {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard(shard) => write!(f, "shard {shard}"),
            Self::Every => f.write_str("every"),
            Self::Nobody => f.write_str("none"),
        }
    }
}

macro_rules! written_as_text {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            /// As its text.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

written_as_text!(Network, PortName, PortOwner);
