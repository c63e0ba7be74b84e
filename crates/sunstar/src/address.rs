//! Addresses as an application writes them.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An address of the stack, with the length of its network's prefix: `10.0.0.2/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Bits of the network's prefix: 0 to 32, or to 128.
    pub prefix: u8,
}

/// Why a text is no address with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceAddressError {
    /// It has another form.
    #[error("`{text}` is not an address with a prefix; write it like 10.0.0.2/24")]
    Form {
        /// What was given.
        text: String,
    },
    /// The prefix is longer than the address.
    #[error("the prefix of `{text}` is too long; it has at most {limit} bits")]
    Prefix {
        /// What was given.
        text: String,
        /// The bits of such an address.
        limit: u8,
    },
    /// A host cannot have it.
    #[error("{address} is not an address that a host can have")]
    NotUnicast {
        /// The address given.
        address: IpAddr,
    },
}

impl FromStr for InterfaceAddress {
    type Err = InterfaceAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || InterfaceAddressError::Form { text: text.to_owned() };
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let prefix = prefix.parse().map_err(|_| form())?;
        let limit = if address.is_ipv4() { 32 } else { 128 };
        if prefix > limit {
            return Err(InterfaceAddressError::Prefix { text: text.to_owned(), limit });
        }
        let everybody = IpAddr::V4(Ipv4Addr::BROADCAST);
        if address.is_unspecified() || address.is_multicast() || address == everybody {
            return Err(InterfaceAddressError::NotUnicast { address });
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for InterfaceAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<InterfaceAddress> for sunstar_stack::InterfaceAddress {
    fn from(address: InterfaceAddress) -> Self {
        Self { address: address.address, prefix: address.prefix }
    }
}

impl From<&sunstar_stack::InterfaceAddress> for InterfaceAddress {
    fn from(address: &sunstar_stack::InterfaceAddress) -> Self {
        Self { address: address.address, prefix: address.prefix }
    }
}

impl InterfaceAddress {
    /// Whether another address lies in the same network.
    pub fn contains(&self, other: IpAddr) -> bool {
        sunstar_stack::InterfaceAddress::from(*self).contains(other)
    }

    /// Another host's address in the same network: the first that is free, counted from the network's own.
    /// `None` when the network has no other, and for IPv6.
    pub(crate) fn another(&self) -> Option<InterfaceAddress> {
        let IpAddr::V4(own) = self.address else { return None };
        let hosts = u32::MAX.checked_shr(self.prefix.into())?;
        let network = own.to_bits() & !hosts;
        // RFC 3021: a network of two addresses has no broadcast address, and no address of its own.
        let range = if hosts == 1 { 0..=1 } else { 1..=hosts.saturating_sub(1) };
        let found = range.map(|host| network | host).find(|candidate| *candidate != own.to_bits())?;
        Some(Self { address: Ipv4Addr::from_bits(found).into(), prefix: self.prefix })
    }
}

/// What can stand for an address and a port. Names are not looked up.
pub trait ToSocketAddress {
    /// The address and port.
    ///
    /// # Errors
    /// `InvalidInput` for a text of another form.
    fn to_socket_address(&self) -> io::Result<SocketAddr>;
}

impl ToSocketAddress for SocketAddr {
    fn to_socket_address(&self) -> io::Result<SocketAddr> {
        Ok(*self)
    }
}

impl ToSocketAddress for SocketAddrV4 {
    fn to_socket_address(&self) -> io::Result<SocketAddr> {
        Ok((*self).into())
    }
}

impl<A: Into<IpAddr> + Copy> ToSocketAddress for (A, u16) {
    fn to_socket_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::new(self.0.into(), self.1))
    }
}

impl ToSocketAddress for str {
    fn to_socket_address(&self) -> io::Result<SocketAddr> {
        self.parse().map_err(|_| {
            let message = format!(
                "`{self}` is not an address with a port; write it like 10.0.0.2:80 (names are not looked up)"
            );
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })
    }
}

impl ToSocketAddress for String {
    fn to_socket_address(&self) -> io::Result<SocketAddr> {
        self.as_str().to_socket_address()
    }
}

impl<T: ToSocketAddress + ?Sized> ToSocketAddress for &T {
    fn to_socket_address(&self) -> io::Result<SocketAddr> {
        (**self).to_socket_address()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<InterfaceAddress, InterfaceAddressError> {
        text.parse()
    }

    #[test]
    fn an_address_with_a_prefix_reads_and_prints() {
        for text in ["10.0.0.2/24", "192.0.2.1/32", "2001:db8::1/64"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_text_that_is_no_interface_address_is_refused_with_what_would_be_right() {
        for (text, part) in [
            ("10.0.0.2", "10.0.0.2/24"),
            ("10.0.0/24", "10.0.0.2/24"),
            ("10.0.0.2/33", "at most 32"),
            ("::1/129", "at most 128"),
            ("0.0.0.0/0", "a host can have"),
            ("224.0.0.1/4", "a host can have"),
            ("255.255.255.255/32", "a host can have"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn another_host_of_a_network_is_the_first_that_is_free() {
        for (own, other) in [
            ("10.0.0.2/24", Some("10.0.0.1/24")),
            ("10.0.0.1/24", Some("10.0.0.2/24")),
            ("10.1.2.3/8", Some("10.0.0.1/8")),
            ("192.0.2.4/31", Some("192.0.2.5/31")),
            ("192.0.2.5/30", Some("192.0.2.6/30")),
            ("192.0.2.4/32", None),
            ("2001:db8::1/64", None),
        ] {
            let found = parse(own).unwrap().another();
            assert_eq!(found.map(|it| it.to_string()).as_deref(), other, "{own}");
        }
    }

    #[test]
    fn an_address_and_port_may_be_written_in_several_ways() {
        let expected: SocketAddr = "10.0.0.2:80".parse().unwrap();
        assert_eq!("10.0.0.2:80".to_socket_address().unwrap(), expected);
        assert_eq!((Ipv4Addr::new(10, 0, 0, 2), 80).to_socket_address().unwrap(), expected);
        assert_eq!(([10, 0, 0, 2], 80).to_socket_address().unwrap(), expected);
        assert_eq!(expected.to_socket_address().unwrap(), expected);
        let error = "example.com:80".to_socket_address().unwrap_err();
        assert!(error.to_string().contains("10.0.0.2:80"), "{error}");
    }
}
