//! Datagrams to an echo server and back. Some may be lost; what arrives is what was sent.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sunstar_stack::time::Instant;
use sunstar_stack::{Shard, SocketError, UdpKey, UdpTransmit};

use super::Outcome;
use super::content::Content;
use crate::check::Breach;

/// Bytes ahead of a datagram's content: its seed, its number, and its length.
const HEADER: usize = 10;

/// How long the last answers are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many datagrams of so many bytes at most are not all lost.
const MANY: u32 = 20;
const SHORT: u16 = 1_000;

/// So many datagrams of so many bytes, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Datagrams {
    pub(crate) seed: u32,
    pub(crate) count: u32,
    pub(crate) len: u16,
    pub(crate) every_us: u64,
}

impl Datagrams {
    fn datagram(&self, number: u32) -> Vec<u8> {
        make(self.seed, number, usize::from(self.len).max(HEADER))
    }
}

fn make(seed: u32, number: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes[..4].copy_from_slice(&seed.to_be_bytes());
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..10].copy_from_slice(&(len as u16).to_be_bytes());
    Content::new(seed ^ number, true).fill(0, &mut bytes[HEADER..]);
    bytes
}

/// Invariant 1, for datagrams: one arrives as it was sent, or not at all.
fn check(bytes: &[u8]) -> Result<(u32, u32), Breach> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|it| it.try_into().ok()).map(u32::from_be_bytes);
    let (Some(seed), Some(number), true) = (word(0), word(4), bytes.len() >= HEADER) else {
        return Err(Breach::new(1, format!("a datagram of {} bytes arrived that nobody sent", bytes.len())));
    };
    if make(seed, number, bytes.len()) != bytes {
        return Err(Breach::new(1, format!("datagram {number} of {} bytes arrived changed", bytes.len())));
    }
    Ok((seed, number))
}

/// Answers every datagram that has come.
pub(crate) fn echo(shard: &mut Shard, socket: UdpKey) -> Result<(), Breach> {
    while let Ok(received) = shard.udp_recv(socket) {
        let (payload, size) = (received.payload.to_vec(), received.segment_size);
        for datagram in payload.chunks(size.unwrap_or(payload.len()).max(1)) {
            check(datagram)?;
            let transmit = UdpTransmit { destination: Some(received.from), ..UdpTransmit::default() };
            // Without room it is lost, as datagrams are.
            let _ = shard.udp_send(socket, &transmit, datagram);
        }
    }
    Ok(())
}

/// Sends datagrams, and counts the answers.
#[derive(Debug)]
pub(crate) struct Asker {
    datagrams: Datagrams,
    to: SocketAddr,
    sent: u32,
    /// The numbers of those that were answered.
    answered: BTreeSet<u32>,
    next: Instant,
}

impl Asker {
    pub(crate) fn new(datagrams: Datagrams, to: SocketAddr, now: Instant) -> Self {
        Self { datagrams, to, sent: 0, answered: BTreeSet::new(), next: now }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        Some(self.next)
    }

    /// Does all that can be done now. How it has ended, if it has.
    pub(crate) fn act(
        &mut self,
        shard: &mut Shard,
        socket: UdpKey,
        now: Instant,
    ) -> Result<Option<Outcome>, Breach> {
        loop {
            match shard.udp_recv(socket) {
                Ok(received) => {
                    let (seed, number) = check(&received.payload.to_vec())?;
                    if seed != self.datagrams.seed || number >= self.sent {
                        return Err(Breach::new(1, format!("datagram {number} was answered, and not sent")));
                    }
                    self.answered.insert(number);
                }
                Err(SocketError::WouldBlock) => break,
                // What routers say of earlier datagrams is told once.
                Err(error) if self.sent == 0 => return Ok(Some(Outcome::Failed(error))),
                Err(SocketError::NetworkDown) => return Ok(Some(Outcome::Failed(SocketError::NetworkDown))),
                Err(_) => break,
            }
        }
        if now < self.next {
            return Ok((self.answered.len() as u32 == self.datagrams.count).then_some(Outcome::Done));
        }
        if self.sent == self.datagrams.count {
            // Some may be lost, but not all of many that are no longer than a packet.
            let many = self.datagrams.count >= MANY && self.datagrams.len <= SHORT;
            let outcome = if many && self.answered.is_empty() { Outcome::Lost } else { Outcome::Done };
            return Ok(Some(outcome));
        }
        let transmit = UdpTransmit { destination: Some(self.to), ..UdpTransmit::default() };
        match shard.udp_send(socket, &transmit, &self.datagrams.datagram(self.sent)) {
            Ok(()) => self.sent += 1,
            Err(SocketError::NetworkDown) => return Ok(Some(Outcome::Failed(SocketError::NetworkDown))),
            // The port is not granted yet, there is no room, or a router has said something.
            Err(_) => {}
        }
        let last = self.sent == self.datagrams.count;
        self.next = now + if last { PATIENCE } else { Duration::from_micros(self.datagrams.every_us.max(1)) };
        Ok(None)
    }
}
