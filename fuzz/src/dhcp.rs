//! A DHCP client and the servers that answer it, well or ill: any options in any field, right and wrong transactions, leases
//! of any length, conflicts and refusals at any time. Every message that arrives is counted once, the client never says
//! more than a message a second for long, what it says can be read, and what it tells of leases makes sense in order.

use std::net::Ipv4Addr;

use arbitrary::Arbitrary;
use dhcproto::v4::{Message, MessageType, Opcode};
use dhcproto::{Decodable, Encodable};
use sunstar_stack::random::Random;
use sunstar_stack::time::{Duration, Instant};
use sunstar_stack::{DhcpClient, DhcpConfig, DhcpCounters, DhcpEvent, DhcpState, Lease};
use sunstar_wire::MacAddress;

const MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 1]);
const MAX_STEPS: usize = 128;
/// Where the options begin (RFC 2131 section 2).
const OPTIONS: usize = 240;

/// One thing that happens.
#[derive(Arbitrary, Debug)]
pub enum Step {
    /// A server answers.
    Reply(Reply),
    /// It does so as it should, with such a lease, until the address is in use.
    Grant(u32, Vec<Told>),
    /// Any bytes arrive.
    Bytes(Vec<u8>),
    /// The device has room.
    Pull,
    /// Whether the address that is probed for is free.
    Probed(bool),
    /// Another host uses the address.
    Conflict,
    /// The address is given back.
    Release,
    /// Time passes, and the device has room.
    Wait(Wait),
}

/// How much of it.
#[derive(Arbitrary, Debug)]
pub enum Wait {
    /// Seconds.
    Seconds(u16),
    /// Until something is due.
    Deadline,
    /// Days.
    Days(u16),
}

/// A message of a server's.
#[derive(Arbitrary, Debug)]
pub struct Reply {
    /// OFFER, ACK, NAK, or another.
    pub kind: u8,
    /// Whether it is of another transaction, or for another station.
    pub wrong: (bool, bool),
    /// The address it gives.
    pub address: [u8; 4],
    /// Whether that is the one that was asked for.
    pub asked: bool,
    /// Which server.
    pub server: u8,
    /// How many seconds; not said if zero.
    pub lease: u32,
    /// What else is in the options.
    pub options: Vec<Told>,
    /// What is in the fields of names, if those hold options.
    pub fields: Option<(u8, [u8; 16], [u8; 16])>,
}

/// An option of a server's, or something like one.
#[derive(Arbitrary, Clone, Debug)]
pub enum Told {
    /// When to renew and when to rebind.
    Times(u32, u32),
    /// A mask, routers, name servers, a domain, a search list, an MTU, routes, or the client's identifier.
    Known(u8, Vec<u8>),
    /// Any bytes.
    Bytes(Vec<u8>),
}

impl Told {
    fn write(&self, bytes: &mut Vec<u8>) {
        const KNOWN: [u8; 8] = [1, 3, 6, 15, 119, 26, 121, 61];
        match self {
            Self::Times(renew, rebind) => {
                bytes.extend([58, 4]);
                bytes.extend(renew.to_be_bytes());
                bytes.extend([59, 4]);
                bytes.extend(rebind.to_be_bytes());
            }
            Self::Known(code, value) => {
                let value = &value[..value.len().min(255)];
                bytes.extend([KNOWN[usize::from(*code) % KNOWN.len()], value.len() as u8]);
                bytes.extend(value);
            }
            Self::Bytes(any) => bytes.extend(any),
        }
    }
}

/// The client, and what is known of it.
struct Play {
    client: DhcpClient,
    counters: DhcpCounters,
    now: Instant,
    /// The last question.
    asked: Option<Message>,
    /// The lease that the embedder was told to use.
    used: Option<Lease>,
    sent: u64,
    /// What may have occasioned a message besides time.
    occasions: u64,
    began: Instant,
}

/// Plays a scenario.
///
/// # Panics
/// When the client does something wrong.
pub fn check(steps: &[Step]) {
    let began = Instant::from_millis(1_000);
    let config = DhcpConfig { classless_routes: steps.len().is_multiple_of(2), ..DhcpConfig::default() };
    let remembered = steps.len().is_multiple_of(3).then_some(Ipv4Addr::new(192, 0, 2, 7));
    let client = DhcpClient::new(config, MAC, &mut Random::from_seed(1), began, remembered);
    let mut play = Play {
        client,
        counters: DhcpCounters::default(),
        now: began,
        asked: None,
        used: None,
        sent: 0,
        occasions: 0,
        began,
    };
    for step in steps.iter().take(MAX_STEPS) {
        play.occasions += 1;
        match step {
            Step::Reply(reply) => play.hear(&reply.bytes(play.asked.as_ref())),
            Step::Grant(lease, options) => play.grant(*lease, options),
            Step::Bytes(bytes) => play.hear(bytes),
            Step::Pull => play.pull(),
            Step::Probed(free) => play.probed(*free),
            Step::Conflict => {
                if let Some(address) = play.client.lease().map(|lease| lease.address) {
                    play.client.on_conflict(play.now, address);
                }
            }
            Step::Release => play.client.release(play.now),
            Step::Wait(wait) => play.wait(wait),
        }
        play.follow();
    }
    play.rest();
}

impl Play {
    /// As far as this is what the client waits for.
    fn grant(&mut self, lease: u32, options: &[Told]) {
        for (kind, asked) in [(0, false), (3, true)] {
            self.wait(&Wait::Deadline);
            self.pull();
            let (address, wrong, server, fields) = ([192, 0, 2, 10], (false, false), 1, None);
            let reply =
                Reply { kind, wrong, address, asked, server, lease, options: options.to_vec(), fields };
            self.hear(&reply.bytes(self.asked.as_ref()));
            self.follow();
        }
        self.probed(true);
    }

    fn probed(&mut self, free: bool) {
        let probed = self.client.lease().map(|lease| lease.address).or(self.probing());
        if let Some(address) = probed {
            self.client.on_probed(self.now, address, free);
        }
    }

    /// The address that was asked for, while it is looked for conflicts.
    fn probing(&self) -> Option<Ipv4Addr> {
        let asked = self.asked.as_ref().filter(|_| self.client.state() == DhcpState::Probing)?;
        requested(asked)
    }

    fn hear(&mut self, payload: &[u8]) {
        let total = |counters: &DhcpCounters| counters.total();
        let before = total(&self.counters);
        self.client.input(self.now, payload, &mut self.counters);
        assert_eq!(total(&self.counters), before + 1, "each message is counted once");
    }

    fn pull(&mut self) {
        let Some(transmit) = self.client.transmit(self.now, &mut self.counters) else { return };
        self.sent += 1;
        let message = Message::from_bytes(&transmit.payload).expect("dhcproto reads what is sent");
        assert!((300..=1_472).contains(&transmit.payload.len()), "{} bytes", transmit.payload.len());
        assert_eq!((message.opcode(), message.chaddr()), (Opcode::BootRequest, &MAC.0[..]));
        // RFC 2131 table 5: the address in use is told where one is, and the packet comes from it.
        assert_eq!(message.ciaddr(), transmit.source);
        let kind = message.opts().msg_type().expect("a type");
        let may = [MessageType::Discover, MessageType::Request, MessageType::Decline, MessageType::Release];
        assert!(may.contains(&kind), "a client says no {kind:?}");
        assert!(message.to_vec().is_ok());
        self.asked = Some(message);
        let elapsed = self.now.saturating_since(self.began).as_secs();
        assert!(self.sent <= 4 + elapsed + 4 * self.occasions, "a storm of {} messages", self.sent);
    }

    fn wait(&mut self, wait: &Wait) {
        let end = match wait {
            Wait::Seconds(count) => self.now + Duration::from_secs((*count).into()),
            Wait::Days(count) => self.now + Duration::from_secs(86_400 * u64::from(*count)),
            Wait::Deadline => match self.client.next_deadline() {
                Some(deadline) => deadline.max(self.now),
                None => return,
            },
        };
        // What is due meanwhile is done, as far as that does not take for ever: time may also pass without a turn.
        for _ in 0..64 {
            self.pull();
            self.follow();
            let Some(deadline) = self.client.next_deadline().filter(|deadline| *deadline <= end) else {
                break;
            };
            self.now = self.now.max(deadline);
            self.client.on_timer(self.now);
            self.follow();
            self.occasions += 1;
        }
        self.now = end.max(self.now);
        self.client.on_timer(self.now);
        let due = self.client.next_deadline();
        assert!(due.is_none_or(|due| due > self.now), "due at {due:?}, and done at {}", self.now);
    }

    /// Does what the events say, which make sense in order.
    fn follow(&mut self) {
        let mut events = 0;
        while let Some(event) = self.client.poll_event() {
            events += 1;
            assert!(events <= 3, "no more is told than has changed");
            match event {
                DhcpEvent::Probe(_) => assert_eq!(self.client.state(), DhcpState::Probing),
                DhcpEvent::Bound(lease) => {
                    let same = self.used.as_ref().is_none_or(|used| used.address == lease.address);
                    assert!(same, "another address is used before the last one was lost");
                    self.use_lease(lease);
                }
                DhcpEvent::Renewed(lease) => {
                    let used = self.used.as_ref().expect("what is renewed is in use");
                    assert_eq!((used.address, used.prefix), (lease.address, lease.prefix));
                    self.use_lease(lease);
                }
                DhcpEvent::Lost { lease, .. } => {
                    assert_eq!(self.used.take().map(|used| used.address), Some(lease.address));
                }
            }
        }
        assert_eq!(self.client.lease(), self.used.as_ref(), "what is used is what was told");
        let expired = |lease: &Lease| lease.term.is_some_and(|term| self.now >= term.expires);
        assert!(!self.used.as_ref().is_some_and(expired), "a lease is used beyond its end");
    }

    fn use_lease(&mut self, lease: Lease) {
        let is_host = |address: &Ipv4Addr| matches!(address.octets()[0], 1..=126 | 128..=223);
        assert!(is_host(&lease.address) && is_host(&lease.server) && lease.prefix <= 32, "{lease:?}");
        assert!(lease.routers.iter().chain(&lease.dns_servers).all(is_host), "{lease:?}");
        let listed = [lease.routers.len(), lease.dns_servers.len(), lease.search.len()];
        assert!(listed.iter().all(|len| *len <= 16) && lease.classless_routes.len() <= 64, "{lease:?}");
        assert!(lease.mtu.is_none_or(|mtu| mtu >= 576), "{lease:?}");
        if let Some(term) = lease.term {
            let in_order =
                lease.obtained <= term.renews && term.renews <= term.rebinds && term.rebinds <= term.expires;
            assert!(in_order && lease.obtained < term.expires, "{lease:?}");
        }
        self.used = Some(lease);
    }

    /// Nothing is kept of an address that was given back.
    fn rest(mut self) {
        self.client.release(self.now);
        self.pull();
        self.follow();
        assert_eq!((self.client.lease(), self.client.next_deadline()), (None, None));
        assert!(!self.client.wants_transmit() && self.used.is_none());
    }
}

/// The address that a question is about.
fn requested(question: &Message) -> Option<Ipv4Addr> {
    use dhcproto::v4::{DhcpOption, OptionCode};
    match question.opts().get(OptionCode::RequestedIpAddress) {
        Some(DhcpOption::RequestedIpAddress(address)) => Some(*address),
        _ => Some(question.ciaddr()).filter(|address| !address.is_unspecified()),
    }
}

impl Reply {
    fn bytes(&self, asked: Option<&Message>) -> Vec<u8> {
        let mut bytes = vec![0; OPTIONS];
        bytes[..4].copy_from_slice(&[2, 1, 6, 0]);
        let xid = asked.map_or(0, Message::xid) ^ u32::from(self.wrong.0);
        bytes[4..8].copy_from_slice(&xid.to_be_bytes());
        let asked_for = asked.filter(|_| self.asked).and_then(requested);
        bytes[16..20].copy_from_slice(&asked_for.map_or(self.address, |address| address.octets()));
        bytes[28..34].copy_from_slice(&MAC.0);
        bytes[33] ^= u8::from(self.wrong.1);
        if let Some((_, sname, file)) = &self.fields {
            bytes[44..60].copy_from_slice(sname);
            bytes[108..124].copy_from_slice(file);
        }
        bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
        let kind = match self.kind % 8 {
            0..3 => 2,
            3..6 => 5,
            6 => 6,
            _ => self.kind,
        };
        bytes.extend([53, 1, kind]);
        bytes.extend([54, 4, 192, 0, 2, self.server % 4]);
        if self.lease > 0 {
            bytes.extend([51, 4]);
            bytes.extend(self.lease.to_be_bytes());
        }
        bytes.extend(self.fields.iter().flat_map(|(which, ..)| [52, 1, *which]));
        self.options.iter().for_each(|told| told.write(&mut bytes));
        bytes.push(255);
        bytes
    }
}
