//! A router: it forwards between its networks, counts hops, cuts what is too long (RFC 791 section 3.2) or says so (RFC
//! 1191), and says what it cannot deliver (RFC 1812 section 5.2.7). Its own words and tables are the simulator's.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use sunstar_packet::{ChecksumNote, Medium, Notes};
use sunstar_stack::time::Instant;
use sunstar_wire::checksum::checksum;

use crate::craft::Envelope;
use crate::decode::{Body, Decoded, decode};
use crate::frame::Frame;

/// Bytes of an Ethernet header.
const LINK: usize = 14;

/// Packets that wait for one neighbour.
const MAX_WAITING: usize = 16;

/// How long a neighbour is not asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// One of a router's ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouterPort {
    /// Its address; its network is the /24 around it.
    pub(crate) address: Ipv4Addr,
    pub(crate) mac: [u8; 6],
    /// The longest packet that its network takes.
    pub(crate) mtu: usize,
}

impl RouterPort {
    fn reaches(&self, address: Ipv4Addr) -> bool {
        self.address.octets()[..3] == address.octets()[..3]
    }
}

/// A router.
#[derive(Debug)]
pub(crate) struct Router {
    ports: Vec<RouterPort>,
    /// Whether it says what it drops for its length.
    pub(crate) speaks: bool,
    neighbors: BTreeMap<Ipv4Addr, [u8; 6]>,
    asked: BTreeMap<Ipv4Addr, Instant>,
    waiting: BTreeMap<Ipv4Addr, VecDeque<Frame>>,
}

/// Frames that leave, by which port.
type Leaving = Vec<(usize, Frame)>;

impl Router {
    pub(crate) fn new(ports: Vec<RouterPort>) -> Self {
        Self {
            ports,
            speaks: true,
            neighbors: BTreeMap::new(),
            asked: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// A network takes other packets from now on.
    pub(crate) fn set_mtu(&mut self, port: usize, mtu: usize) {
        self.ports[port].mtu = mtu;
    }

    /// A frame has come in: what leaves because of it.
    pub(crate) fn input(&mut self, port: usize, frame: &Frame, now: Instant) -> Leaving {
        let own = self.ports[port];
        match frame.bytes.get(12..14) {
            Some([0x08, 0x06]) => self.arp_input(port, &frame.bytes, now),
            Some([0x08, 0x00]) if frame.bytes[..6] == own.mac && is_whole(&frame.bytes[LINK..]) => {
                self.forward(port, frame, now)
            }
            _ => Vec::new(),
        }
    }

    fn arp_input(&mut self, port: usize, frame: &[u8], now: Instant) -> Leaving {
        let own = self.ports[port].address;
        let Ok(Decoded { body: Body::Arp(arp), .. }) = decode(frame, Medium::Ethernet) else {
            return Vec::new();
        };
        let (station, address) = arp.sender;
        self.neighbors.insert(address, station);
        let mut leaving = self.flush(address, now);
        if arp.request && arp.target.1 == own {
            let reply = self.envelope(port, address, station).arp(false, own, address);
            leaving.push((port, Frame::plain(reply)));
        }
        leaving
    }

    /// From one of its ports to a neighbour there.
    fn envelope(&self, port: usize, destination: Ipv4Addr, destination_mac: [u8; 6]) -> Envelope {
        let own = self.ports[port];
        Envelope {
            medium: Medium::Ethernet,
            source_mac: own.mac,
            destination_mac,
            source: own.address,
            destination,
            ttl: 64,
            ecn: 0,
        }
    }

    fn forward(&mut self, from: usize, frame: &Frame, now: Instant) -> Leaving {
        let packet = &frame.bytes[LINK..];
        let word = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap_or_default());
        let (source, destination) = (word(12), word(16));
        if destination.is_multicast() || destination.is_broadcast() {
            return Vec::new();
        }
        if packet[8] <= 1 {
            return self.say(from, source, (11, 0), 0, packet, now);
        }
        let Some(to) = self.ports.iter().position(|port| port.reaches(destination)) else {
            return self.say(from, source, (3, 0), 0, packet, now);
        };
        let mtu = self.ports[to].mtu;
        let dont_fragment = packet[6] & 0x40 != 0;
        let too_long = frame.piece_len() - LINK > mtu;
        if too_long && (dont_fragment || frame.notes.segmentation.is_some()) {
            return match self.speaks {
                true => self.say(from, source, (3, 4), mtu as u16, packet, now),
                false => Vec::new(),
            };
        }
        let mut onward = complete(frame);
        onward.bytes[LINK + 8] -= 1;
        mend_header(&mut onward.bytes[LINK..]);
        if !too_long {
            let frame = Frame { bytes: onward.bytes.into(), notes: onward.notes, damaged: frame.damaged };
            return self.send(to, destination, frame, now);
        }
        let pieces = cut(&onward.bytes, mtu).into_iter();
        let piece = |bytes: Vec<u8>| Frame { damaged: frame.damaged, ..Frame::plain(bytes) };
        pieces.flat_map(|bytes| self.send(to, destination, piece(bytes), now)).collect()
    }

    /// An ICMP error about a packet; never about one, nor about a fragment but the first (RFC 1812 section 4.3.2.7).
    fn say(
        &mut self,
        port: usize,
        to: Ipv4Addr,
        (kind, code): (u8, u8),
        mtu: u16,
        about: &[u8],
        now: Instant,
    ) -> Leaving {
        let is_icmp_error = about[9] == 1 && about.get(20).is_some_and(|kind| ![0, 8].contains(kind));
        let is_later_fragment = u16::from_be_bytes([about[6], about[7]]) & 0x1fff != 0;
        if is_icmp_error || is_later_fragment || to.is_unspecified() {
            return Vec::new();
        }
        let [high, low] = mtu.to_be_bytes();
        let quote = &about[..about.len().min(28)];
        let message = self.envelope(port, to, [0; 6]).icmp(kind, code, [0, 0, high, low], quote);
        match self.ports.iter().position(|port| port.reaches(to)) {
            Some(port) => self.send(port, to, Frame::plain(message), now),
            None => Vec::new(),
        }
    }

    /// Gives a packet its link header; while its station is not known it waits.
    fn send(&mut self, port: usize, to: Ipv4Addr, mut frame: Frame, now: Instant) -> Leaving {
        if let Some(station) = self.neighbors.get(&to) {
            let mut bytes = frame.bytes.to_vec();
            bytes[..6].copy_from_slice(station);
            bytes[6..12].copy_from_slice(&self.ports[port].mac);
            frame.bytes = bytes.into();
            return vec![(port, frame)];
        }
        let waiting = self.waiting.entry(to).or_default();
        waiting.push_back(frame);
        if waiting.len() > MAX_WAITING {
            waiting.pop_front();
        }
        if self.asked.get(&to).is_some_and(|asked| now < *asked + ASK_AGAIN) {
            return Vec::new();
        }
        self.asked.insert(to, now);
        let question = self.envelope(port, to, [0xff; 6]).arp(true, self.ports[port].address, to);
        vec![(port, Frame::plain(question))]
    }

    /// What waited for a neighbour that has become known.
    fn flush(&mut self, neighbor: Ipv4Addr, now: Instant) -> Leaving {
        let waiting = self.waiting.remove(&neighbor).unwrap_or_default();
        let Some(port) = self.ports.iter().position(|port| port.reaches(neighbor)) else { return Vec::new() };
        waiting.into_iter().flat_map(|frame| self.send(port, neighbor, frame, now)).collect()
    }
}

/// Whether a packet has a header of version 4 that is whole and right, and its full length.
fn is_whole(packet: &[u8]) -> bool {
    let header_len = usize::from(packet.first().copied().unwrap_or_default() & 15) * 4;
    let header = packet.get(..header_len).filter(|header| header.len() >= 20 && header[0] >> 4 == 4);
    header.is_some_and(|header| {
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        checksum(header) == 0 && total_len == packet.len()
    })
}

/// A frame that is being changed.
struct Onward {
    bytes: Vec<u8>,
    notes: Notes,
}

/// A frame as it is on the wire behind its sender's card: its checksum completed, unless it is still to be cut into
/// segments.
fn complete(frame: &Frame) -> Onward {
    let (mut bytes, mut notes) = (frame.bytes.to_vec(), frame.notes);
    if let (ChecksumNote::Partial { start, offset }, None) = (notes.checksum, notes.segmentation) {
        let (start, field) = (usize::from(start), usize::from(start + offset));
        let sum = match (checksum(&bytes[start..]), bytes[LINK + 9]) {
            (0, 17) => 0xffff,
            (sum, _) => sum,
        };
        bytes[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        notes.checksum = ChecksumNote::None;
    }
    Onward { bytes, notes }
}

/// Makes the checksum of a packet's header right.
fn mend_header(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..len]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// A frame in fragments that an MTU takes (RFC 791 section 3.2), options copied whole.
fn cut(frame: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let packet = &frame[LINK..];
    let header_len = usize::from(packet[0] & 15) * 4;
    let size = (mtu - header_len) / 8 * 8;
    let flags = u16::from_be_bytes([packet[6], packet[7]]);
    let pieces = packet[header_len..].chunks(size);
    let last = pieces.len() - 1;
    let piece = |(number, data): (usize, &[u8])| {
        let mut piece = [&frame[..LINK + header_len], data].concat();
        let more = if number < last { 0x2000 } else { flags & 0x2000 };
        let offset = (flags & 0x1fff) + (number * size / 8) as u16;
        let header = &mut piece[LINK..];
        header[2..4].copy_from_slice(&((header_len + data.len()) as u16).to_be_bytes());
        header[6..8].copy_from_slice(&(more | offset).to_be_bytes());
        mend_header(header);
        piece
    };
    pieces.enumerate().map(piece).collect()
}
