//! Interfaces and their addresses.

use core::net::Ipv4Addr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sunstar_packet::{Capabilities, Medium, SegmentationOffload};
use sunstar_wire::{IpAddress, MacAddress};

/// An interface of a shard. All shards number them alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(pub u8);

impl InterfaceId {
    /// The loopback interface: always there.
    pub const LOOPBACK: Self = Self(0);
    /// The device a shard's turn is given.
    pub const DEVICE: Self = Self(1);
    /// How many there are.
    pub(crate) const COUNT: usize = 2;
}

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddress,
    /// Bits of the network's prefix: 0 to 32, or to 128.
    pub prefix: u8,
}

/// The text is not an address with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an interface address: write the address and the length of its prefix, as in 10.0.0.2/24"
)]
pub struct InterfaceAddressError(String);

impl core::str::FromStr for InterfaceAddress {
    type Err = InterfaceAddressError;

    /// Reads `address/prefix`; without a prefix, that of a single host.
    fn from_str(text: &str) -> Result<Self, InterfaceAddressError> {
        let wrong = || InterfaceAddressError(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddress = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| wrong())?;
        if prefix > longest { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

impl core::fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for InterfaceAddress {
    /// As its text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for InterfaceAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl InterfaceAddress {
    /// Whether another address lies in the same network.
    pub fn contains(&self, other: IpAddress) -> bool {
        prefix_matches(self.address, self.prefix, other)
    }

    /// The network's directed broadcast address. A network of one or two addresses has none (RFC 3021).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddress::V4(address) if self.prefix < 31 => {
                Some(Ipv4Addr::from_bits(address.to_bits() | u32::MAX.checked_shr(self.prefix.into())?))
            }
            _ => None,
        }
    }
}

/// Whether `other` begins with the first `prefix` bits of `network`.
pub(crate) fn prefix_matches(network: IpAddress, prefix: u8, other: IpAddress) -> bool {
    let differing = match (network, other) {
        (IpAddress::V4(network), IpAddress::V4(other)) => {
            u128::from(network.to_bits() ^ other.to_bits()) << 96
        }
        (IpAddress::V6(network), IpAddress::V6(other)) => network.to_bits() ^ other.to_bits(),
        _ => return false,
    };
    differing.leading_zeros() >= u32::from(prefix)
}

/// One interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Which one.
    pub id: InterfaceId,
    /// What it carries.
    pub medium: Medium,
    /// Its hardware address.
    pub mac: MacAddress,
    /// The largest IP packet that is sent, in bytes.
    pub mtu: usize,
    /// The largest IP packet that the device takes.
    pub(crate) device_mtu: usize,
    /// Whether the device completes checksums.
    pub transmit_checksum: bool,
    /// What the device segments.
    pub segmentation: SegmentationOffload,
    /// Whether the device has a carrier.
    pub up: bool,
    /// Whether the device is gone for good.
    pub(crate) failed: bool,
    addresses: Vec<InterfaceAddress>,
    groups: Vec<(Ipv4Addr, u32)>,
}

impl Interface {
    /// The loopback interface: it cannot damage a packet, so nobody computes checksums for it, and it takes
    /// segments of any size.
    pub(crate) fn loopback() -> Self {
        let address = InterfaceAddress { address: Ipv4Addr::LOCALHOST.into(), prefix: 8 };
        let capabilities = Capabilities {
            medium: Medium::Ip,
            mac: [0; 6],
            mtu: 65_535,
            transmit_checksum: true,
            segmentation: SegmentationOffload::default(),
        };
        Self { addresses: vec![address], ..Self::new(InterfaceId::LOOPBACK, &capabilities) }
    }

    pub(crate) fn new(id: InterfaceId, capabilities: &Capabilities) -> Self {
        Self {
            id,
            medium: capabilities.medium,
            mac: MacAddress(capabilities.mac),
            mtu: capabilities.mtu,
            device_mtu: capabilities.mtu,
            transmit_checksum: capabilities.transmit_checksum,
            segmentation: capabilities.segmentation,
            up: true,
            failed: false,
            addresses: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Its addresses; the first is the preferred source.
    pub fn addresses(&self) -> &[InterfaceAddress] {
        &self.addresses
    }

    /// Whether a multicast group was joined.
    pub fn has_joined(&self, group: Ipv4Addr) -> bool {
        group == Ipv4Addr::new(224, 0, 0, 1) || self.groups.iter().any(|(joined, _)| *joined == group)
    }

    pub(crate) fn join(&mut self, group: Ipv4Addr) {
        match self.groups.iter_mut().find(|(joined, _)| *joined == group) {
            Some((_, members)) => *members += 1,
            None => self.groups.push((group, 1)),
        }
    }

    pub(crate) fn leave(&mut self, group: Ipv4Addr) {
        if let Some((_, members)) = self.groups.iter_mut().find(|(joined, _)| *joined == group) {
            *members -= 1;
        }
        self.groups.retain(|(_, members)| *members > 0);
    }

    /// Whether a frame to this station address concerns us.
    pub(crate) fn listens_to(&self, mac: MacAddress) -> bool {
        mac == self.mac
            || mac.is_broadcast()
            || mac == MacAddress::multicast(Ipv4Addr::new(224, 0, 0, 1))
            || self.groups.iter().any(|(group, _)| MacAddress::multicast(*group) == mac)
    }
}

/// All interfaces of a shard.
#[derive(Clone, Debug)]
pub struct Interfaces {
    list: [Interface; InterfaceId::COUNT],
}

impl Interfaces {
    pub(crate) fn new(device: &Capabilities) -> Self {
        Self { list: [Interface::loopback(), Interface::new(InterfaceId::DEVICE, device)] }
    }

    /// One interface.
    pub fn get(&self, id: InterfaceId) -> &Interface {
        &self.list[usize::from(id.0).min(InterfaceId::COUNT - 1)]
    }

    pub(crate) fn get_mut(&mut self, id: InterfaceId) -> &mut Interface {
        &mut self.list[usize::from(id.0).min(InterfaceId::COUNT - 1)]
    }

    /// Every interface.
    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.list.iter()
    }

    /// Whether an address is one of ours; the whole of 127/8 is.
    pub fn is_local(&self, address: IpAddress) -> bool {
        address.is_loopback()
            || self.iter().flat_map(|interface| &interface.addresses).any(|own| own.address == address)
    }

    /// Whether an address means every host of one of our networks.
    pub fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address == Ipv4Addr::BROADCAST
            || self
                .iter()
                .flat_map(|interface| &interface.addresses)
                .any(|own| own.broadcast() == Some(address))
    }

    /// Whether an address is that of one host, as far as can be seen from here: not of a group, of everyone, of nobody, or
    /// of a class that no host is in (RFC 1122 section 3.2.1.3).
    pub(crate) fn is_one_host(&self, address: IpAddress) -> bool {
        match address {
            IpAddress::V4(v4) => {
                !v4.is_unspecified() && !v4.is_multicast() && v4.octets()[0] < 240 && !self.is_broadcast(v4)
            }
            IpAddress::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
        }
    }

    /// Whether what is sent to an address goes to everyone on a network.
    pub(crate) fn is_everyone(&self, address: IpAddress) -> bool {
        matches!(address, IpAddress::V4(address) if self.is_broadcast(address))
    }

    pub(crate) fn add_address(&mut self, id: InterfaceId, address: InterfaceAddress) {
        let addresses = &mut self.get_mut(id).addresses;
        match addresses.iter_mut().find(|own| own.address == address.address) {
            Some(own) => *own = address,
            None => addresses.push(address),
        }
    }

    pub(crate) fn remove_address(&mut self, id: InterfaceId, address: IpAddress) {
        self.get_mut(id).addresses.retain(|own| own.address != address);
    }
}
