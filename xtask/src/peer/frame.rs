//! Frames built by hand, so that a mistake of our own headers is not made twice.

use std::net::Ipv4Addr;

/// A station's address.
pub(super) type Station = [u8; 6];

/// The station that crafted frames come from; administered locally, and nobody's.
pub(super) const STRANGER: Station = [0x02, 0, 0, 0, 0x0f, 0x01];

/// RFC 826.
pub(super) const ARP: u16 = 0x0806;
/// RFC 894.
pub(super) const IPV4: u16 = 0x0800;

/// RFC 792.
pub(super) const ICMP: u8 = 1;
/// RFC 768.
pub(super) const UDP: u8 = 17;

const IPV4_HEADER: usize = 20;
/// An unfragmented packet may be so long.
const MTU: usize = 1_500;
/// Bytes of a datagram in each of its fragments but the last: offsets count in units of eight (RFC 791 section 3.1).
pub(super) const PIECE: usize = (MTU - IPV4_HEADER) / 8 * 8;

/// Reads a station's address as it is written.
pub(super) fn station(text: &str) -> Option<Station> {
    let bytes: Vec<u8> = text.split(':').map_while(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.try_into().ok()
}

/// An Ethernet frame.
pub(super) fn ethernet(to: Station, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&to, &STRANGER, &ether_type.to_be_bytes()[..], payload].concat()
}

/// An ARP packet of the stranger's for IPv4 over Ethernet (RFC 826): a question (1) or an answer (2).
pub(super) fn arp(operation: u16, sender: Ipv4Addr, target_mac: Station, target: Ipv4Addr) -> Vec<u8> {
    let fixed = [0, 1, 8, 0, 6, 4];
    let (sender, target) = (sender.octets(), target.octets());
    [&fixed[..], &operation.to_be_bytes(), &STRANGER, &sender, &target_mac, &target].concat()
}

/// The internet checksum (RFC 1071).
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
    let mut sum: u64 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// An ICMP echo request (RFC 792).
pub(super) fn echo_request(identifier: u16, sequence: u16, data: &[u8]) -> Vec<u8> {
    let mut message = [&[8, 0, 0, 0][..], &identifier.to_be_bytes(), &sequence.to_be_bytes(), data].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// A datagram that is not cut yet.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    pub(super) protocol: u8,
    pub(super) identification: u16,
    /// What is behind the IP header.
    pub(super) payload: Vec<u8>,
}

impl Datagram {
    /// A UDP datagram (RFC 768).
    pub(super) fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), data: &[u8]) -> Self {
        let len = (8 + data.len() as u16).to_be_bytes();
        let ports = [source.1.to_be_bytes(), destination.1.to_be_bytes()].concat();
        let pseudo =
            [&source.0.octets()[..], &destination.0.octets(), &[0, UDP], &len, &ports, &len, &[0, 0], data];
        let sum = match checksum(&pseudo.concat()) {
            0 => 0xffff,
            sum => sum,
        };
        let payload = [&ports[..], &len, &sum.to_be_bytes(), data].concat();
        Self { source: source.0, destination: destination.0, protocol: UDP, identification: 0, payload }
    }

    /// All of its fragments, in order; the packet itself, if it needs none.
    pub(super) fn fragments(&self) -> Vec<Vec<u8>> {
        let pieces = self.payload.chunks(PIECE).enumerate();
        let last = self.payload.len().div_ceil(PIECE).saturating_sub(1);
        pieces.map(|(at, bytes)| self.fragment(at * PIECE, bytes, at < last)).collect()
    }

    /// One fragment: what it holds, where that belongs, and whether more follow (RFC 791 section 3.1).
    pub(super) fn fragment(&self, offset: usize, bytes: &[u8], more: bool) -> Vec<u8> {
        let mut header = [0; IPV4_HEADER];
        header[0] = 0x45;
        header[2..4].copy_from_slice(&((IPV4_HEADER + bytes.len()) as u16).to_be_bytes());
        header[4..6].copy_from_slice(&self.identification.to_be_bytes());
        let place = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
        header[6..8].copy_from_slice(&place.to_be_bytes());
        (header[8], header[9]) = (64, self.protocol);
        header[12..16].copy_from_slice(&self.source.octets());
        header[16..20].copy_from_slice(&self.destination.octets());
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&header, bytes].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_say_where_they_belong_and_only_the_last_says_that_none_follows() {
        let us = (Ipv4Addr::new(10, 0, 0, 1), 7);
        let datagram = Datagram::udp(us, us, &[0; 3_000]);
        let places: Vec<_> = datagram
            .fragments()
            .iter()
            .map(|packet| (packet.len(), u16::from_be_bytes([packet[6], packet[7]])))
            .collect();
        assert_eq!(places, [(1_500, 0x2000), (1_500, 0x2000 | 185), (20 + 48, 370)]);
    }

    /// The example of RFC 1071 section 3.
    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff]), !0xff00);
    }

    #[test]
    fn a_station_is_six_bytes() {
        assert_eq!(station("02:00:00:00:0f:01"), Some(STRANGER));
        assert_eq!(station("02:00:00:00:0f"), None);
        assert_eq!(station("02:00:00:00:0f:01:00"), None);
    }
}
