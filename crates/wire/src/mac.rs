//! The 48-bit address of an Ethernet station (IEEE 802), as text and as bits.

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

/// A 48-bit Ethernet address, in the order it has on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Every station on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No station: the address that is not set.
    pub const ZERO: Self = Self([0; 6]);
    /// No station: the address that is not set. The same as [`MacAddress::ZERO`].
    pub const UNSPECIFIED: Self = Self::ZERO;

    /// The Ethernet group that carries an IPv4 multicast group: 01-00-5e and the group's low 23 bits
    /// (RFC 1112 section 6.4). Thirty-two groups share each, so IP still has to look.
    pub const fn multicast(group: Ipv4Addr) -> Self {
        let [_, b, c, d] = group.octets();
        Self([0x01, 0x00, 0x5e, b & 0x7f, c, d])
    }

    /// Whether this is a group address, broadcast included.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether this is the address of every station.
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// Whether this can be the address of one station: neither a group nor zero.
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast() && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not an Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an Ethernet address: write six two-digit hexadecimal bytes with colons, as in 02:00:00:00:00:01"
)]
pub struct MacAddressError;

impl FromStr for MacAddress {
    type Err = MacAddressError;

    /// Reads six bytes of two hexadecimal digits, parted by `:` or by `-`.
    fn from_str(text: &str) -> Result<Self, MacAddressError> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut parts = text.split(separator);
        let mut octets = [0; 6];
        for octet in &mut octets {
            let part = parts.next().ok_or(MacAddressError)?;
            // `from_str_radix` alone would take "+f" for a number.
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(MacAddressError);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| MacAddressError)?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(MacAddressError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_address_are_each_other_inverse() {
        let address = MacAddress([0x02, 0x00, 0x5e, 0xab, 0xcd, 0xef]);
        assert_eq!(address.to_string(), "02:00:5e:ab:cd:ef");
        assert_eq!("02:00:5e:ab:cd:ef".parse(), Ok(address));
        assert_eq!("02-00-5E-AB-CD-EF".parse(), Ok(address));
    }

    #[test]
    fn text_that_is_not_six_bytes_is_refused() {
        for text in ["", "02", "02:00:00:00:00", "02:00:00:00:00:01:02", "2:0:0:0:0:1", "02:00:00:00:00:0g"] {
            assert_eq!(text.parse::<MacAddress>(), Err(MacAddressError), "{text:?}");
        }
        for text in ["+2:00:00:00:00:01", "02:00-00:00:00:01", "02:00:00:00:00:01 ", "é:00:00:00:00:01"] {
            assert_eq!(text.parse::<MacAddress>(), Err(MacAddressError), "{text:?}");
        }
    }

    #[test]
    fn a_group_address_is_no_station() {
        assert!(MacAddress::BROADCAST.is_multicast() && MacAddress::BROADCAST.is_broadcast());
        assert!(!MacAddress::BROADCAST.is_unicast());
        assert!(!MacAddress::ZERO.is_unicast() && !MacAddress::ZERO.is_multicast());
        let group = MacAddress::multicast(Ipv4Addr::new(239, 129, 2, 3));
        assert_eq!(group, MacAddress([0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]));
        assert!(group.is_multicast() && !group.is_broadcast() && !group.is_unicast());
        assert!(MacAddress([0x02, 0, 0, 0, 0, 1]).is_unicast());
    }
}
