//! Fragments that no kernel sends: in any order, twice, from many hosts at once, or never all of them.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::RcvBufForce;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket};
use serde_json::json;

use super::Target;
use super::frame::{self, Datagram, PIECE};
use super::packet_socket::PacketSocket;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The port that datagrams come from.
const CLIENT_PORT: u16 = 40_007;

/// Frames a second, so that no queue of the device overflows.
const RATE: u32 = 10_000;

/// What a socket for the echo replies of all hosts may hold.
const RECEIVE_BUFFER: usize = 16 << 20;

/// How the fragments of many datagrams follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrangement {
    InOrder,
    Reversed,
    Shuffled,
    Duplicated,
    Interleaved,
}

impl Arrangement {
    const ALL: [Self; 5] =
        [Self::InOrder, Self::Reversed, Self::Shuffled, Self::Duplicated, Self::Interleaved];

    fn name(self) -> &'static str {
        match self {
            Self::InOrder => "in order",
            Self::Reversed => "reversed",
            Self::Shuffled => "shuffled",
            Self::Duplicated => "duplicated",
            Self::Interleaved => "interleaved",
        }
    }

    /// Puts the fragments of several datagrams in a row.
    fn arrange(self, datagrams: &[Datagram], random: &mut Shuffle) -> Vec<Vec<u8>> {
        let mut each: Vec<_> = datagrams.iter().map(Datagram::fragments).collect();
        match self {
            Self::InOrder => {}
            Self::Reversed => each.iter_mut().for_each(|fragments| fragments.reverse()),
            Self::Shuffled => each.iter_mut().for_each(|fragments| random.shuffle(fragments)),
            Self::Duplicated => {
                for fragments in &mut each {
                    *fragments =
                        fragments.drain(..).flat_map(|fragment| [fragment.clone(), fragment]).collect();
                }
            }
            Self::Interleaved => {
                let mut all = each.concat();
                random.shuffle(&mut all);
                return all;
            }
        }
        each.concat()
    }
}

/// The same disorder every time (xorshift).
struct Shuffle(u64);

impl Shuffle {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, (self.next() % (at as u64 + 1)) as usize);
        }
    }
}

/// Has `count` hosts, whose addresses the interface has from `first` on, each send an echo request and a datagram to the
/// echo port, of so many bytes, in every arrangement. Prints how many were answered with the same bytes, once; one that
/// was not, or not so, is an error.
pub(super) fn answered(
    target: &Target,
    port: u16,
    first: Ipv4Addr,
    count: u16,
    bytes: usize,
) -> io::Result<()> {
    let packets = PacketSocket::open(&target.interface)?;
    let sources: Vec<_> = (0..count).map(|at| Ipv4Addr::from(u32::from(first) + u32::from(at))).collect();
    let clients: Vec<_> = sources.iter().map(|own| Client::bind(*own)).collect::<io::Result<_>>()?;
    let replies = Replies::open()?;
    let mut random = Shuffle(0x9e37_79b9_7f4a_7c15);
    let mut answered = serde_json::Map::new();
    let mut identification = 0;
    for arrangement in Arrangement::ALL {
        let send = |datagrams: &[Datagram], random: &mut Shuffle| {
            let all = arrangement.arrange(datagrams, random).into_iter();
            let frames = all.map(|packet| frame::ethernet(target.station, frame::IPV4, &packet));
            packets.send_paced(frames, RATE, Duration::MAX)
        };
        let data: Vec<Vec<u8>> = sources.iter().map(|_| random_bytes(&mut random, bytes)).collect();

        let datagrams = sources.iter().zip(&data).map(|(source, data)| {
            identification += 1;
            let udp = Datagram::udp((*source, CLIENT_PORT), (target.address, port), data);
            Datagram { identification, ..udp }
        });
        send(&datagrams.collect::<Vec<_>>(), &mut random)?;
        for (client, data) in clients.iter().zip(&data) {
            client.receive(data).map_err(|error| said(error, arrangement, "datagram"))?;
        }

        let requests = sources.iter().zip(&data).zip(0..).map(|((source, data), sequence)| {
            identification += 1;
            Datagram {
                source: *source,
                destination: target.address,
                protocol: frame::ICMP,
                identification,
                payload: frame::echo_request(identifier(arrangement), sequence, data),
            }
        });
        send(&requests.collect::<Vec<_>>(), &mut random)?;
        replies
            .receive(&sources, identifier(arrangement), &data)
            .map_err(|error| said(error, arrangement, "echo request"))?;
        answered.insert(arrangement.name().to_owned(), json!(2 * count));
    }
    for client in &clients {
        client.has_no_more()?;
    }
    println!("{}", json!({ "answered": answered }));
    Ok(())
}

/// Sends fragments of datagrams that are never completed, from ever other hosts, and prints how many.
pub(super) fn flood(target: &Target, a_second: u32, seconds: u64) -> io::Result<()> {
    let packets = PacketSocket::open(&target.interface)?;
    let mut random = Shuffle(0x2545_f491_4f6c_dd1d);
    let frames = (0..).map(|at: u64| {
        let payload = vec![at as u8; PIECE];
        let datagram = Datagram {
            // RFC 2544: addresses of nobody, for measuring.
            source: Ipv4Addr::from(0xc612_0000 | random.next() as u32 & 0x0001_ffff),
            destination: target.address,
            protocol: frame::UDP,
            identification: random.next() as u16,
            payload,
        };
        // The first, one from the middle, the last.
        let (offset, more) = [(0, true), (2 * PIECE, true), (3 * PIECE, false)][(at % 3) as usize];
        frame::ethernet(target.station, frame::IPV4, &datagram.fragment(offset, &datagram.payload, more))
    });
    let started = Instant::now();
    let sent = packets.send_paced(frames, a_second, Duration::from_secs(seconds))?;
    println!("{}", json!({ "sent": sent, "seconds": started.elapsed().as_secs_f64() }));
    Ok(())
}

fn random_bytes(random: &mut Shuffle, len: usize) -> Vec<u8> {
    (0..len.div_ceil(8)).flat_map(|_| random.next().to_be_bytes()).take(len).collect()
}

/// The ICMP identifier of an arrangement's echo requests.
fn identifier(arrangement: Arrangement) -> u16 {
    0x5300 + arrangement as u16
}

fn said(error: io::Error, arrangement: Arrangement, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("fragments {}, {what}: {error}", arrangement.name()))
}

/// A host's UDP socket, to receive by.
struct Client(UdpSocket);

impl Client {
    fn bind(own: Ipv4Addr) -> io::Result<Self> {
        let socket = UdpSocket::bind((own, CLIENT_PORT))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    fn receive(&self, expected: &[u8]) -> io::Result<()> {
        let mut received = vec![0; u16::MAX.into()];
        let own = self.0.local_addr()?;
        let len = self
            .0
            .recv(&mut received)
            .map_err(|error| io::Error::new(error.kind(), format!("no answer to {own}: {error}")))?;
        if received[..len] != *expected {
            return Err(wrong(format!("{own} received {len} other bytes than it sent")));
        }
        Ok(())
    }

    /// Nothing was answered twice.
    fn has_no_more(&self) -> io::Result<()> {
        self.0.set_nonblocking(true)?;
        match self.0.recv(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(wrong(format!("{} was answered twice", self.0.local_addr()?))),
        }
    }
}

/// The ICMP messages that this host receives, whichever address they are for.
struct Replies(UdpSocket);

impl Replies {
    fn open() -> io::Result<Self> {
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp)?;
        setsockopt(&raw, RcvBufForce, &RECEIVE_BUFFER)?;
        // It has the same calls.
        let socket = UdpSocket::from(raw);
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Receives the reply to each host's request, whose number in order is its sequence number.
    fn receive(&self, sources: &[Ipv4Addr], identifier: u16, data: &[Vec<u8>]) -> io::Result<()> {
        let mut answered = vec![false; sources.len()];
        let mut packet = vec![0; u16::MAX.into()];
        let deadline = Instant::now() + PATIENCE;
        while answered.contains(&false) {
            if Instant::now() > deadline {
                let silent = answered.iter().filter(|answered| !**answered).count();
                return Err(wrong(format!("{silent} of {} were not answered", sources.len())));
            }
            let len = self.0.recv(&mut packet)?;
            let (header, message) = packet[..len].split_at(usize::from(packet[0] & 0xf) * 4);
            // An echo reply, code 0.
            if message.get(..2) != Some(&[0, 0]) || message[4..6] != identifier.to_be_bytes() {
                continue;
            }
            let at = usize::from(u16::from_be_bytes([message[6], message[7]]));
            let right = sources.get(at).is_some_and(|own| header[16..20] == own.octets())
                && message[8..] == data[at]
                && frame::checksum(message) == 0;
            if !right {
                return Err(wrong(format!("reply {at} has other bytes than the request")));
            }
            if std::mem::replace(&mut answered[at], true) {
                return Err(wrong(format!("request {at} was answered twice")));
            }
        }
        Ok(())
    }
}

fn wrong(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arrangement_has_every_fragment_and_only_one_has_any_twice() {
        let us = Ipv4Addr::new(10, 0, 0, 1);
        let datagrams: Vec<_> = (0..3)
            .map(|identification| Datagram {
                identification,
                ..Datagram::udp((us, 1), (us, 2), &[identification as u8; 5_000])
            })
            .collect();
        let mut plain = Arrangement::InOrder.arrange(&datagrams, &mut Shuffle(1));
        let first = plain.clone();
        plain.sort();
        for arrangement in Arrangement::ALL {
            let mut arranged = arrangement.arrange(&datagrams, &mut Shuffle(1));
            assert_eq!(arranged == first, arrangement == Arrangement::InOrder, "{arrangement:?}");
            let twice = if arrangement == Arrangement::Duplicated { 2 } else { 1 };
            assert_eq!(arranged.len(), plain.len() * twice);
            arranged.sort();
            arranged.dedup();
            assert_eq!(arranged, plain, "{arrangement:?}");
        }
    }
}
