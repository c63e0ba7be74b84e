//! The DHCP client (RFC 2131, RFC 2132): how an interface gets an address, keeps it, and gives it back.
//!
//! [`DhcpClient`] is a state machine like all of the stack. Whoever embeds it
//!
//! - hands it what arrives at UDP port 68 from port 67 ([`DhcpClient::input`]), by way of a packet filter: a
//!   client without an address gets messages that IP would not deliver;
//! - calls [`DhcpClient::on_timer`] at [`DhcpClient::next_deadline`];
//! - has it build a message when the device has room ([`DhcpClient::transmit`]), while
//!   [`DhcpClient::wants_transmit`]. What is to be said is state until then: a message that could not leave
//!   for a while says what holds when it does, and the wait for an answer begins when it has left;
//! - does what [`DhcpClient::poll_event`] tells: finds out whether an address is in use, puts one on the
//!   interface, takes one off. Events are no queue, but the difference between what was told and what is; so
//!   there are two at most, and what came and went meanwhile is never told.
//!
//! # The way to an address, and on
//!
//! | state | says | and then |
//! | --- | --- | --- |
//! | `Init` | nothing for a moment | |
//! | `Selecting` | DISCOVER, for as long as it takes | the first acceptable OFFER, or the best within a time |
//! | `Requesting` | REQUEST of the offer, four times | ACK; NAK or silence: `Init` |
//! | `Rebooting` | REQUEST of the address had before, twice | ACK; NAK: `Init`; silence: DISCOVER |
//! | `Probing` | nothing: the embedder looks for conflicts (RFC 5227) | free: in use from here on; else DECLINE |
//! | `Bound` | nothing | T1 |
//! | `Renewing` | REQUEST to the server | ACK: `Bound`; NAK: address gone; T2 |
//! | `Rebinding` | REQUEST to all | ACK of any: `Bound`; NAK or the end of the lease: address gone |
//! | `Declined` | DECLINE, and ten seconds nothing | `Init` |
//! | `Releasing` | RELEASE | `Stopped` |
//!
//! Where an address goes, it goes at once, and the way begins anew; the second refusal in a row and those
//! after it make it wait longer each time, so that a server that offers what it then refuses is not asked
//! without end.
//!
//! # What it does not do
//!
//! It does not ask for parameters alone (DHCPINFORM), authenticate servers (RFC 3118), or go without the four
//! messages (RFC 4039). It does not look whether the network is still the same when a carrier comes back (RFC
//! 4436): a new client that remembers the address does that.

mod exchange;
mod filter;
mod input;
mod lease;
mod leasing;
mod message;
mod options;
mod output;
mod reply;
mod retry;
mod state;
#[cfg(test)]
mod tests;
mod timers;

use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use sunstar_wire::MacAddress;

use crate::config::DhcpConfig;
use crate::random::Random;
use crate::time::Instant;
use exchange::Exchange;
pub use filter::DhcpFilter;
pub use lease::{ClasslessRoute, Lease, LeaseTerm};
pub use leasing::Applied;
pub(crate) use leasing::Leasing;
pub use output::DhcpTransmit;
pub use state::DhcpState;
use state::{Offer, State};

/// Where servers listen (RFC 2131 section 4.1).
const SERVER_PORT: u16 = 67;
/// Where clients listen.
const CLIENT_PORT: u16 = 68;

/// What the embedder of a client has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DhcpEvent {
    /// Find out whether anybody uses this address (RFC 5227 section 2.1), and tell with
    /// [`DhcpClient::on_probed`].
    Probe(Ipv4Addr),
    /// Use this lease. If there is one of the same address, other settings have changed.
    Bound(Lease),
    /// The lease has more time, or another server; there is nothing to apply.
    Renewed(Lease),
    /// Stop using this lease, now.
    Lost {
        /// The lease.
        lease: Lease,
        /// Why.
        why: LostReason,
    },
}

/// Why a lease was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LostReason {
    /// Its time has run out, and no server gave it more.
    Expired,
    /// A server has refused it (DHCPNAK).
    Nak,
    /// Another host uses the address (RFC 5227 section 2.4).
    Conflict,
    /// It was given back ([`DhcpClient::release`]).
    Released,
}

/// A DHCP client of one interface: it is handed messages and told of time, and asked for messages and events.
///
/// It belongs between a packet filter, which takes what arrives at UDP port 68 ahead of IP's delivery, and
/// whoever puts addresses on the interface and looks for conflicts. After every call there may be an event
/// ([`DhcpClient::poll_event`]), a message ([`DhcpClient::wants_transmit`]), and another deadline
/// ([`DhcpClient::next_deadline`]).
#[derive(Debug)]
pub struct DhcpClient {
    config: DhcpConfig,
    hardware: MacAddress,
    client_identifier: Vec<u8>,
    random: Random,
    state: State,
    exchange: Exchange,
    /// An address to ask for when any would do, because it was ours.
    wish: Option<Ipv4Addr>,
    /// Refusals since the last lease.
    naks: u32,
    /// The lease in use as the embedder was told.
    told: Option<Lease>,
    /// Why the last lease in use is so no more.
    why: LostReason,
}

impl DhcpClient {
    /// A client for the interface of that hardware address. It begins by asking for `remembered`, if it is
    /// given and can be an address: the one a lease had that may still be good (INIT-REBOOT, RFC 2131 section
    /// 3.2).
    pub fn new(
        config: DhcpConfig,
        hardware: MacAddress,
        random: &mut Random,
        now: Instant,
        remembered: Option<Ipv4Addr>,
    ) -> Self {
        let mut random = Random::from_seed(random.next_u64());
        let mut client = Self {
            client_identifier: message::client_identifier(&config, hardware),
            config,
            hardware,
            exchange: Exchange::idle(&mut random),
            random,
            state: State::Stopped,
            wish: None,
            naks: 0,
            told: None,
            why: LostReason::Expired,
        };
        match remembered.filter(|address| reply::is_host(*address)) {
            Some(address) => client.say(State::Rebooting { address }),
            None => client.start_over(now),
        }
        client
    }

    /// What it is about.
    pub fn state(&self) -> DhcpState {
        self.state.name()
    }

    /// The lease in use.
    pub fn lease(&self) -> Option<&Lease> {
        self.state.used()
    }

    /// What the embedder has to do next.
    pub fn poll_event(&mut self) -> Option<DhcpEvent> {
        let used = self.state.used();
        if let Some(told) = &self.told
            && used.is_none_or(|used| used.address != told.address)
        {
            let why = self.why;
            return self.told.take().map(|lease| DhcpEvent::Lost { lease, why });
        }
        if let Some(used) = used
            && self.told.as_ref() != Some(used)
        {
            let used = used.clone();
            let told = self.told.replace(used.clone());
            let same = told.is_some_and(|told| told.has_settings_of(&used));
            return Some(if same { DhcpEvent::Renewed(used) } else { DhcpEvent::Bound(used) });
        }
        match &mut self.state {
            State::Probing { lease, told } if !*told => {
                *told = true;
                Some(DhcpEvent::Probe(lease.address))
            }
            _ => None,
        }
    }

    /// The address that was probed is free, or is not. Says nothing about another than the one that is being
    /// probed.
    pub fn on_probed(&mut self, now: Instant, address: Ipv4Addr, free: bool) {
        self.on_timer(now);
        match &self.state {
            State::Probing { lease, .. } if lease.address == address => match free {
                true => {
                    let lease = lease.clone();
                    self.bind(now, lease);
                }
                false => self.decline(),
            },
            _ => {}
        }
    }

    /// Another host uses the address that is in use here (RFC 5227 section 2.4). It is declined, and goes at
    /// once.
    pub fn on_conflict(&mut self, now: Instant, address: Ipv4Addr) {
        self.on_timer(now);
        if matches!(self.state, State::Bound(_) | State::Renewing(_) | State::Rebinding(_))
            && self.lease().is_some_and(|lease| lease.address == address)
        {
            self.decline();
        }
    }

    /// Gives the address back, if there is one, and stops. The address is in use until the message is built
    /// that says so: its server may have to be looked for first, and that takes an address. A client that has
    /// not got to use an address yet says nothing.
    pub fn release(&mut self, now: Instant) {
        self.on_timer(now);
        match core::mem::replace(&mut self.state, State::Stopped) {
            State::Bound(lease) | State::Renewing(lease) | State::Rebinding(lease) => {
                self.say(State::Releasing(lease));
            }
            State::Releasing(lease) => self.state = State::Releasing(lease),
            _ => self.stop(),
        }
    }

    /// The next state is one with something to say, in an exchange of its own.
    fn say(&mut self, state: State) {
        self.exchange = Exchange::new(&mut self.random);
        self.state = state;
    }

    /// The next state is one with nothing to say.
    fn rest(&mut self, state: State) {
        self.exchange = Exchange::idle(&mut self.random);
        self.state = state;
    }

    fn stop(&mut self) {
        self.rest(State::Stopped);
    }

    /// Begins again at the beginning, whatever there was.
    fn start_over(&mut self, now: Instant) {
        let least = self.config.min_initial_delay;
        let delay = retry::between(least, self.config.max_initial_delay.max(least), &mut self.random);
        let patience = match self.naks {
            0 | 1 => core::time::Duration::ZERO,
            naks => retry::doubled(self.config.retry, naks - 1, self.config.max_retry),
        };
        self.rest(State::Init { until: now + delay + patience });
    }

    fn discover(&mut self) {
        self.say(State::Selecting { best: None });
    }

    fn request(&mut self, offer: Offer) {
        // RFC 2131 section 4.4.1: the request has the offer's transaction, and section 3.1: the same `secs`.
        self.exchange.go_on();
        self.state = State::Requesting(offer);
    }

    /// A lease was granted that was not in use before.
    fn on_granted(&mut self, now: Instant, lease: Lease) {
        if self.config.probe {
            self.rest(State::Probing { lease, told: false });
        } else {
            self.bind(now, lease);
        }
    }

    fn bind(&mut self, now: Instant, lease: Lease) {
        self.naks = 0;
        self.wish = None;
        self.rest(State::Bound(lease));
        // It may have taken so long that there is something to do about it already.
        self.on_timer(now);
    }

    /// The address that was granted is in use elsewhere.
    fn decline(&mut self) {
        let Some(lease) = self.state.granted() else { return };
        let offer = Offer { address: lease.address, server: lease.server };
        self.why = LostReason::Conflict;
        self.wish = None;
        self.say(State::Declined(offer));
    }

    /// The address that was asked for, or is in use, is refused.
    fn on_nak(&mut self, now: Instant) {
        self.naks = self.naks.saturating_add(1);
        self.why = LostReason::Nak;
        self.wish = None;
        self.start_over(now);
    }
}
