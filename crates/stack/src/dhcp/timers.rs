//! Time passes: waits that end, and the times of a lease (RFC 2131 sections 3.1, 3.2 and 4.4.5).

use super::state::State;
use super::{DhcpClient, Instant, LostReason};

impl DhcpClient {
    /// When [`DhcpClient::on_timer`] has something to do at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        let of_state = match &self.state {
            State::Init { until } => Some(*until),
            State::Selecting { best } => best.map(|(_, until)| until),
            State::Bound(lease) => lease.term.map(|term| term.renews),
            State::Renewing(lease) => lease.term.map(|term| term.rebinds),
            State::Rebinding(lease) | State::Releasing(lease) | State::Probing { lease, .. } => {
                lease.term.map(|term| term.expires)
            }
            State::Requesting(_) | State::Rebooting { .. } | State::Declined(_) | State::Stopped => None,
        };
        of_state.into_iter().chain(self.exchange.retry_at).min()
    }

    /// Does what is due. However late it comes, everything happens once.
    pub fn on_timer(&mut self, now: Instant) {
        self.look_at_lease(now);
        match self.state {
            State::Init { until } if now >= until => self.discover(),
            State::Selecting { best: Some((offer, until)) } if now >= until => self.request(offer),
            _ => {}
        }
        if self.exchange.retry_at.is_some_and(|at| now >= at) {
            self.exchange.retry_at = None;
            self.on_silence(now);
        }
    }

    /// Nobody has answered in time.
    fn on_silence(&mut self, now: Instant) {
        let may_repeat = |attempts: u8| self.exchange.sent < u32::from(attempts);
        match self.state {
            // An offer is there already, and others are waited for.
            State::Selecting { best: Some(_) } => {}
            // RFC 2131 section 3.1: the client begins again after some attempts...
            State::Requesting(_) if !may_repeat(self.config.request_attempts) => self.start_over(now),
            // ...and section 3.2: looks for any address if its own is not known here.
            State::Rebooting { address } if !may_repeat(self.config.reboot_attempts) => {
                self.wish = Some(address);
                self.discover();
            }
            State::Declined(_) => self.start_over(now),
            _ => self.exchange.due = true,
        }
    }

    /// A lease has an end, and before it two times to do something about it.
    fn look_at_lease(&mut self, now: Instant) {
        let Some(term) = self.state.granted().and_then(|lease| lease.term) else { return };
        if now >= term.expires {
            return self.on_expired(now);
        }
        match core::mem::replace(&mut self.state, State::Stopped) {
            State::Bound(lease) if now >= term.rebinds => self.say(State::Rebinding(lease)),
            State::Bound(lease) if now >= term.renews => self.say(State::Renewing(lease)),
            State::Renewing(lease) if now >= term.rebinds => {
                self.exchange.go_on();
                self.state = State::Rebinding(lease);
            }
            unchanged => self.state = unchanged,
        }
    }

    /// RFC 2131 section 4.4.5: the client MUST stop using the address at once, and begins again.
    fn on_expired(&mut self, now: Instant) {
        self.why = LostReason::Expired;
        self.wish = self.state.granted().map(|lease| lease.address);
        match self.state {
            State::Releasing(_) => self.stop(),
            _ => self.start_over(now),
        }
    }
}
