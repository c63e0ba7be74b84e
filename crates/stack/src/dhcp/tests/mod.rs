//! The client in virtual time, with servers made of `dhcproto`'s own messages.

mod acquire;
mod bytes;
mod hostile;
mod keep;
mod leases;
mod reboot;
mod refused;
mod strangers;

use core::net::Ipv4Addr;
use core::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Encodable};
use sunstar_wire::MacAddress;

use super::*;
use crate::counters::DhcpCounters;

const MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0xaa, 0x01]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// No chance in its times.
fn plain() -> DhcpConfig {
    DhcpConfig { max_initial_delay: Duration::ZERO, retry_jitter: Duration::ZERO, ..DhcpConfig::default() }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A server, with what it tells besides address and lease time.
#[derive(Clone)]
struct Server {
    id: Ipv4Addr,
    address: Ipv4Addr,
    lease: u32,
    options: Vec<DhcpOption>,
}

impl Server {
    fn new() -> Self {
        let options = vec![
            DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
            DhcpOption::Router(vec![SERVER]),
            DhcpOption::DomainNameServer(vec![SERVER, OTHER_SERVER]),
        ];
        Self { id: SERVER, address: ADDRESS, lease: 3_600, options }
    }

    fn with(mut self, option: DhcpOption) -> Self {
        self.options.push(option);
        self
    }

    fn without(mut self, code: OptionCode) -> Self {
        self.options.retain(|option| OptionCode::from(option) != code);
        self
    }

    fn lasting(mut self, lease: u32) -> Self {
        self.lease = lease;
        self
    }

    fn answer(&self, kind: MessageType, question: &Message) -> Message {
        let [zero, address] = [Ipv4Addr::UNSPECIFIED, self.address];
        let chaddr = question.chaddr();
        let mut answer = Message::new_with_id(question.xid(), zero, address, zero, zero, chaddr);
        answer.set_opcode(Opcode::BootReply).set_flags(question.flags());
        let options = answer.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ServerIdentifier(self.id));
        if kind == MessageType::Nak {
            answer.set_yiaddr(zero);
            return answer;
        }
        options.insert(DhcpOption::AddressLeaseTime(self.lease));
        for option in &self.options {
            options.insert(option.clone());
        }
        answer
    }

    fn offer(&self, question: &Message) -> Message {
        self.answer(MessageType::Offer, question)
    }

    fn ack(&self, question: &Message) -> Message {
        self.answer(MessageType::Ack, question)
    }

    fn nak(&self, question: &Message) -> Message {
        self.answer(MessageType::Nak, question)
    }
}

/// A message as it left.
#[derive(Debug)]
struct Sent {
    /// Since the host was made.
    after: Duration,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    payload: Vec<u8>,
    message: Message,
}

impl Sent {
    fn kind(&self) -> MessageType {
        self.message.opts().msg_type().expect("a type")
    }

    fn option(&self, code: OptionCode) -> Option<&DhcpOption> {
        self.message.opts().get(code)
    }

    fn requested(&self) -> Option<Ipv4Addr> {
        match self.option(OptionCode::RequestedIpAddress) {
            Some(DhcpOption::RequestedIpAddress(address)) => Some(*address),
            _ => None,
        }
    }

    fn server(&self) -> Option<Ipv4Addr> {
        match self.option(OptionCode::ServerIdentifier) {
            Some(DhcpOption::ServerIdentifier(server)) => Some(*server),
            _ => None,
        }
    }
}

/// A client with a clock and a device that always has room.
struct Host {
    client: DhcpClient,
    counters: DhcpCounters,
    now: Instant,
}

const START: Instant = Instant::from_millis(1_000_000);

impl Host {
    fn new(config: DhcpConfig) -> Self {
        Self::seeded(config, 1, None)
    }

    fn remembering(config: DhcpConfig, address: Ipv4Addr) -> Self {
        Self::seeded(config, 1, Some(address))
    }

    fn seeded(config: DhcpConfig, seed: u64, remembered: Option<Ipv4Addr>) -> Self {
        let client = DhcpClient::new(config, MAC, &mut Random::from_seed(seed), START, remembered);
        Self { client, counters: DhcpCounters::default(), now: START }
    }

    /// A host that uses an address of this server.
    fn bound(config: DhcpConfig, server: &Server) -> Self {
        let mut host = Self::new(config);
        host.granted(server);
        host.client.on_probed(host.now, server.address, true);
        assert!(matches!(host.events().as_slice(), [DhcpEvent::Bound(_)]));
        host
    }

    /// Goes as far as the first acknowledgement.
    fn granted(&mut self, server: &Server) {
        let discover = self.next();
        self.hear(&server.offer(&discover.message));
        let request = self.next();
        self.hear(&server.ack(&request.message));
    }

    fn events(&mut self) -> Vec<DhcpEvent> {
        let events: Vec<_> = core::iter::from_fn(|| self.client.poll_event()).collect();
        events.into_iter().filter(|event| !matches!(event, DhcpEvent::Probe(_))).collect()
    }

    fn pull(&mut self) -> Option<Sent> {
        let DhcpTransmit { source, destination, payload } =
            self.client.transmit(self.now, &mut self.counters)?;
        let message = Message::from_bytes(&payload).expect("a message");
        Some(Sent { after: self.now - START, source, destination, payload, message })
    }

    /// The next message, whenever it comes.
    fn next(&mut self) -> Sent {
        for _ in 0..100 {
            if let Some(sent) = self.pull() {
                return sent;
            }
            self.now = self.client.next_deadline().expect("something to wait for").max(self.now);
            self.client.on_timer(self.now);
        }
        panic!("a hundred deadlines without a message, {:?}", self.client);
    }

    /// What is sent in that time.
    fn pass(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut sent = Vec::new();
        loop {
            sent.extend(self.pull());
            match self.client.next_deadline().filter(|deadline| *deadline <= end) {
                Some(deadline) => {
                    assert!(sent.len() < 1_000, "a storm, {:?}", self.client);
                    self.now = deadline.max(self.now);
                    self.client.on_timer(self.now);
                }
                None => {
                    sent.extend(self.pull());
                    self.now = end;
                    return sent;
                }
            }
        }
    }

    fn hear(&mut self, message: &Message) {
        self.hear_bytes(&message.to_vec().expect("bytes"));
    }

    fn hear_bytes(&mut self, payload: &[u8]) {
        self.client.input(self.now, payload, &mut self.counters);
    }

    fn state(&self) -> DhcpState {
        self.client.state()
    }

    fn lease(&self) -> &Lease {
        self.client.lease().expect("a lease")
    }

    /// Whole seconds after the start at which something was sent.
    fn seconds(sent: &[Sent]) -> Vec<u64> {
        sent.iter().map(|sent| sent.after.as_secs()).collect()
    }

    /// How many messages were ignored, for whatever reason.
    fn ignored(&self) -> Vec<(&'static str, u64)> {
        let ignored = |(name, count): &(&str, u64)| name.starts_with("ignored") && *count > 0;
        self.counters.iter().filter(ignored).collect()
    }
}
