//! The message that is due, built when the device has room for it (RFC 2131 section 4.4, table 5).

use core::net::Ipv4Addr;
use core::time::Duration;

use dhcproto::v4::MessageType;

use super::message::Message;
use super::state::{Offer, State};
use super::{DhcpClient, Instant, LostReason, retry};
use crate::counters::DhcpCounters;

/// RFC 2131 section 3.1: the least wait after a DHCPDECLINE.
const MIN_DECLINE_WAIT: Duration = Duration::from_secs(10);

/// A message to be sent from UDP port 68 to port 67.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpTransmit {
    /// The IP source: the address in use, or 0.0.0.0 before there is one.
    pub source: Ipv4Addr,
    /// The IP destination: a server, or 255.255.255.255.
    pub destination: Ipv4Addr,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// What a message has to say in a state.
struct Said {
    kind: MessageType,
    source: Ipv4Addr,
    ciaddr: Ipv4Addr,
    destination: Ipv4Addr,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
}

impl DhcpClient {
    /// Whether there is a message to send.
    pub fn wants_transmit(&self) -> bool {
        self.exchange.due
    }

    /// From where to where the message would go that is to be sent now, if there is one.
    pub fn next_addresses(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let said = self.said().filter(|_| self.exchange.due)?;
        Some((said.source, said.destination))
    }

    /// Builds the message that is to be sent now, if there is one. It counts as sent.
    pub fn transmit(&mut self, now: Instant, counters: &mut DhcpCounters) -> Option<DhcpTransmit> {
        self.on_timer(now);
        if !self.exchange.due {
            return None;
        }
        let said = self.said()?;
        match self.state {
            State::Selecting { .. } | State::Rebooting { .. } => self.exchange.count_seconds(now),
            State::Renewing(_) | State::Rebinding(_) => {
                // The lease counts from the request that is answered, so each has to be told from the others.
                self.exchange.ask_anew(&mut self.random);
                self.exchange.count_seconds(now);
            }
            _ => {}
        }
        let message = Message {
            kind: said.kind,
            xid: self.exchange.xid,
            secs: self.exchange.secs,
            ciaddr: said.ciaddr,
            hardware: self.hardware,
            client_identifier: &self.client_identifier,
            requested: said.requested,
            server: said.server,
        };
        let payload = message.build(&self.config);
        match said.kind {
            MessageType::Discover => counters.discovers_sent += 1,
            MessageType::Request => counters.requests_sent += 1,
            MessageType::Decline => counters.declines_sent += 1,
            _ => counters.releases_sent += 1,
        }
        self.on_sent(now);
        Some(DhcpTransmit { source: said.source, destination: said.destination, payload })
    }

    /// What this state says.
    fn said(&self) -> Option<Said> {
        // What a client without an address says to all.
        let to_all = Said {
            kind: MessageType::Request,
            source: Ipv4Addr::UNSPECIFIED,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            destination: Ipv4Addr::BROADCAST,
            requested: None,
            server: None,
        };
        Some(match &self.state {
            State::Selecting { .. } => Said { kind: MessageType::Discover, requested: self.wish, ..to_all },
            State::Requesting(Offer { address, server }) => {
                Said { requested: Some(*address), server: Some(*server), ..to_all }
            }
            State::Rebooting { address } => Said { requested: Some(*address), ..to_all },
            State::Renewing(lease) => {
                Said { source: lease.address, ciaddr: lease.address, destination: lease.server, ..to_all }
            }
            State::Rebinding(lease) => Said { source: lease.address, ciaddr: lease.address, ..to_all },
            // RFC 2131 section 4.4.4: broadcast, for the address is not to be used.
            State::Declined(Offer { address, server }) => Said {
                kind: MessageType::Decline,
                requested: Some(*address),
                server: Some(*server),
                ..to_all
            },
            State::Releasing(lease) => Said {
                kind: MessageType::Release,
                source: lease.address,
                ciaddr: lease.address,
                destination: lease.server,
                server: Some(lease.server),
                ..to_all
            },
            State::Init { .. } | State::Probing { .. } | State::Bound(_) | State::Stopped => return None,
        })
    }

    /// The message of this state has been built: from now on an answer is waited for.
    fn on_sent(&mut self, now: Instant) {
        self.exchange.on_sent(now);
        let wait = match &self.state {
            State::Selecting { .. } | State::Requesting(_) | State::Rebooting { .. } => {
                retry::backoff(&self.config, self.exchange.sent, &mut self.random)
            }
            State::Renewing(lease) | State::Rebinding(lease) => {
                let Some(term) = lease.term else { return };
                let next = if matches!(self.state, State::Renewing(_)) { term.rebinds } else { term.expires };
                retry::renewal(&self.config, next - now, term.expires - lease.obtained)
            }
            State::Declined(_) => self.config.decline_wait.max(MIN_DECLINE_WAIT),
            State::Releasing(_) => {
                self.why = LostReason::Released;
                return self.stop();
            }
            State::Init { .. } | State::Probing { .. } | State::Bound(_) | State::Stopped => return,
        };
        self.exchange.retry_at = Some(now + wait);
    }
}
