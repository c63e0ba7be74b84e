//! Which echo requests a socket has sent lately, so that an ICMP error is believed only about one of them (RFC 5927).

use std::collections::BTreeMap;

use sunstar_wire::IpAddress;

use crate::time::{Duration, Instant};

/// The last requests of a socket that nothing was said to yet.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// By the low bits of their sequence number: as these count, those that are kept are the last ones.
    sent: BTreeMap<u16, Sent>,
}

#[derive(Debug)]
struct Sent {
    sequence: u16,
    destination: IpAddress,
    at: Instant,
}

impl Memory {
    /// Requests that are remembered at most.
    const REMEMBERED: u16 = 1_024;
    /// For how long an error may still come: a host that puts fragments together gives up after 60 to 120 seconds (RFC 1122
    /// section 3.3.2).
    const RECENT: Duration = Duration::from_secs(125);

    /// A request leaves.
    pub(super) fn on_send(&mut self, sequence: u16, destination: IpAddress, now: Instant) {
        self.sent.insert(sequence % Self::REMEMBERED, Sent { sequence, destination, at: now });
    }

    /// A request was answered by whom it asked: no error can come any more.
    pub(super) fn on_reply(&mut self, sequence: u16, from: IpAddress) {
        let slot = sequence % Self::REMEMBERED;
        if self.sent.get(&slot).is_some_and(|sent| (sent.sequence, sent.destination) == (sequence, from)) {
            self.sent.remove(&slot);
        }
    }

    /// Whether a request to there was sent lately, and nothing was said to it yet; from now on something was.
    pub(super) fn take(&mut self, sequence: u16, destination: IpAddress, now: Instant) -> bool {
        let slot = sequence % Self::REMEMBERED;
        let known = self.sent.get(&slot).filter(|sent| {
            (sent.sequence, sent.destination) == (sequence, destination)
                && now.saturating_since(sent.at) < Self::RECENT
        });
        let known = known.is_some();
        if known {
            self.sent.remove(&slot);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddress = IpAddress::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddress = IpAddress::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_request_is_known_once_and_only_by_number_and_destination() {
        let (mut memory, now) = (Memory::default(), Instant::from_millis(5));
        memory.on_send(7, HOST, now);
        assert!(!memory.take(8, HOST, now));
        assert!(!memory.take(7, OTHER, now));
        assert!(!memory.take(7 + Memory::REMEMBERED, HOST, now), "the same slot, another number");
        assert!(memory.take(7, HOST, now));
        assert!(!memory.take(7, HOST, now));
    }

    #[test]
    fn a_request_that_was_answered_or_is_old_is_known_no_longer() {
        let (mut memory, now) = (Memory::default(), Instant::from_millis(5));
        memory.on_send(1, HOST, now);
        memory.on_send(2, HOST, now);
        memory.on_reply(1, HOST);
        memory.on_reply(2, OTHER);
        assert!(!memory.take(1, HOST, now));
        assert!(!memory.take(2, HOST, now + Memory::RECENT));
        assert!(memory.take(2, HOST, now + Memory::RECENT - Duration::from_millis(1)));
    }

    #[test]
    fn only_the_last_requests_are_remembered() {
        let (mut memory, now) = (Memory::default(), Instant::from_millis(5));
        for sequence in 0..=u16::MAX {
            memory.on_send(sequence, HOST, now);
        }
        assert_eq!(memory.sent.len(), usize::from(Memory::REMEMBERED));
        assert!(!memory.take(u16::MAX - Memory::REMEMBERED, HOST, now));
        assert!(memory.take(u16::MAX - Memory::REMEMBERED + 1, HOST, now));
    }
}
