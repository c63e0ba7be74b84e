//! A message arrives: what it does in each state (RFC 2131 section 4.4, figure 5).

use super::lease::Lease;
use super::reply::{Addressee, Ignored, Kind, Reply};
use super::state::{Offer, State};
use super::{DhcpClient, Instant};
use crate::counters::DhcpCounters;

impl DhcpClient {
    /// Takes the payload of a UDP datagram from port 67 to port 68. What is no answer to what was asked
    /// changes nothing, and is counted.
    ///
    /// The datagram's source says nothing that could be relied upon: behind a relay it is the relay's.
    pub fn input(&mut self, now: Instant, payload: &[u8], counters: &mut DhcpCounters) {
        self.on_timer(now);
        let to = Addressee {
            xid: self.exchange.xid,
            hardware: self.hardware,
            client_identifier: &self.client_identifier,
        };
        match Reply::parse(payload, &to).and_then(|reply| self.on_reply(now, &reply)) {
            Ok(Kind::Offer) => counters.offers_received += 1,
            Ok(Kind::Ack) => counters.acks_received += 1,
            Ok(Kind::Nak) => counters.naks_received += 1,
            Err(ignored) => ignored.count(counters),
        }
    }

    fn on_reply(&mut self, now: Instant, reply: &Reply) -> Result<Kind, Ignored> {
        // Nobody can know the transaction before it was sent; who guesses it is not heeded either.
        let asked = self.exchange.asked.ok_or(Ignored::State)?;
        match (&self.state, reply.kind) {
            (State::Selecting { .. }, Kind::Offer) => self.on_offer(now, reply)?,
            (State::Requesting(Offer { server, .. }), Kind::Ack | Kind::Nak) if reply.server != *server => {
                return Err(Ignored::Server);
            }
            (State::Renewing(lease), Kind::Ack | Kind::Nak) if reply.server != lease.server => {
                return Err(Ignored::Server);
            }
            (
                State::Requesting(_) | State::Rebooting { .. } | State::Renewing(_) | State::Rebinding(_),
                Kind::Nak,
            ) => self.on_nak(now),
            (State::Requesting(Offer { address, .. }) | State::Rebooting { address }, Kind::Ack) => {
                let address = *address;
                let lease = self.granted_lease(reply, asked, address)?;
                self.on_granted(now, lease);
            }
            (State::Renewing(lease) | State::Rebinding(lease), Kind::Ack) => {
                let address = lease.address;
                let lease = self.granted_lease(reply, asked, address)?;
                self.bind(now, lease);
            }
            _ => return Err(Ignored::State),
        }
        Ok(reply.kind)
    }

    fn on_offer(&mut self, now: Instant, reply: &Reply) -> Result<(), Ignored> {
        // A lease made of it would be acceptable: then so is the offer. What it gives, the acknowledgement
        // says.
        let lease = Lease::from_reply(reply, now, false).ok_or(Ignored::Lease)?;
        let offer = Offer { address: lease.address, server: lease.server };
        let (best, until) = match self.state {
            State::Selecting { best: Some((best, until)) } if self.wish != Some(offer.address) => {
                (best, until)
            }
            State::Selecting { best: Some((_, until)) } => (offer, until),
            _ => (offer, now + self.config.collect_offers),
        };
        self.state = State::Selecting { best: Some((best, until)) };
        self.on_timer(now);
        Ok(())
    }

    fn granted_lease(
        &self,
        reply: &Reply,
        asked: Instant,
        address: core::net::Ipv4Addr,
    ) -> Result<Lease, Ignored> {
        let lease = Lease::from_reply(reply, asked, self.config.classless_routes).ok_or(Ignored::Lease)?;
        if lease.address == address { Ok(lease) } else { Err(Ignored::Address) }
    }
}
