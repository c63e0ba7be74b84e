//! Addresses as an application writes them.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

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
    use std::net::Ipv4Addr;

    use super::*;

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
