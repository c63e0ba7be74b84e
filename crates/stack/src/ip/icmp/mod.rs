//! ICMP for a host (RFC 792, RFC 1122 section 3.2.2): answers to echo requests, errors, and echo sockets.

mod echo;
mod limit;
mod memory;

use std::collections::{BTreeMap, VecDeque};

use slotmap::SlotMap;
use sunstar_packet::{HEADROOM, Packet, SizeClass, SlotId};
use sunstar_wire::icmpv4::{Icmpv4Message, UnreachableCode};
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::{Ecn, IpAddress, Protocol};

pub(crate) use echo::EchoSocket;
pub use echo::{EchoAnswer, EchoKey, EchoReply, EchoRequest};
use limit::RateLimit;

use super::input::IpInput;
use super::interface::InterfaceId;
use super::output::{DEFAULT_TTL, IpOutput};
use super::path_mtu::TooBig;
use super::reassembly::{Expired, Whole};
use crate::core::{Addressed, Core};
use crate::link::Provider;
use crate::random::Random;

/// What an ICMP error received tells the protocol whose packet it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IcmpError {
    pub(crate) kind: ErrorKind,
    /// The message itself.
    pub(crate) message: Icmpv4Message,
    /// Who sent it: mostly a router, and neither end of the flow.
    pub(crate) from: IpAddress,
    /// Its own time to live when it arrived.
    pub(crate) ttl: u8,
    pub(crate) protocol: Protocol,
    /// Our end of the quoted flow.
    pub(crate) local: IpAddress,
    /// The other end.
    pub(crate) remote: IpAddress,
    /// The first eight bytes behind the quoted IP header.
    pub(crate) quoted: [u8; 8],
}

/// The meanings of ICMP errors that a transport tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// Network or host unreachable, time exceeded: it may pass.
    Soft(UnreachableCode),
    /// The host refuses the protocol or port.
    Refused,
    /// The packet was too big, and was not to be cut.
    TooBig(TooBig),
    /// A header was not understood.
    NotUnderstood,
}

/// An answer that waits for the device.
struct Reply {
    to: IpAddress,
    from: IpAddress,
    message: Icmpv4Message,
    /// Received bytes that go behind the header, as they are.
    body: Packet,
}

pub(crate) struct Icmp {
    replies: [VecDeque<Reply>; InterfaceId::COUNT],
    limit: RateLimit,
    pub(crate) sockets: SlotMap<EchoKey, EchoSocket>,
    /// Which socket has an identifier; its own to choose, so in order it need not be keyed.
    by_identifier: BTreeMap<u16, EchoKey>,
    /// Sockets with requests, once a request, by the interface it goes out by.
    asking: [VecDeque<EchoKey>; InterfaceId::COUNT],
    next_identifier: u16,
}

impl Icmp {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            replies: Default::default(),
            limit: RateLimit::default(),
            sockets: SlotMap::with_key(),
            by_identifier: BTreeMap::new(),
            asking: Default::default(),
            next_identifier: random.next_u32() as u16,
        }
    }

    /// How many answers wait for each device.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = usize> {
        self.replies.iter().map(VecDeque::len)
    }

    /// The slots that answers and sockets hold.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotId> {
        let answers = self.replies.iter().flatten().flat_map(|reply| reply.body.slots());
        answers.chain(self.sockets.values().flat_map(EchoSocket::slots))
    }

    /// An ICMP message for us. An error comes back for the transport it concerns.
    pub(crate) fn input(&mut self, core: &mut Core, input: IpInput) -> Option<IcmpError> {
        if !input.checksum_holds(false) {
            core.counters.drops.bad_checksum += 1;
            return None;
        }
        let message = match Icmpv4Message::parse(input.transport()) {
            Ok(message) => message,
            Err(error) => {
                core.count_parse_error(error);
                return None;
            }
        };
        match message {
            Icmpv4Message::EchoRequest { identifier, sequence } => {
                // RFC 1122 section 3.2.2.6: an echo to a group may be dropped silently, and is.
                if input.group || !core.config.icmp.answer_echo {
                    core.counters.drops.icmp_ignored += 1;
                    return None;
                }
                let message = Icmpv4Message::EchoReply { identifier, sequence };
                let (to, from) = (input.source, input.destination);
                let body = input.into_payload(Icmpv4Message::LEN);
                if self.queue(core, Reply { to, from, message, body }) {
                    core.counters.control.echo_answered += 1;
                }
                None
            }
            Icmpv4Message::EchoReply { identifier, sequence } => {
                self.echo_reply(core, identifier, sequence, input);
                None
            }
            Icmpv4Message::DestinationUnreachable { code, next_hop_mtu } => {
                let kind = match code {
                    UnreachableCode::Port | UnreachableCode::Protocol => ErrorKind::Refused,
                    UnreachableCode::FragmentationNeeded => {
                        ErrorKind::TooBig(TooBig { next_hop_mtu, total_len: 0, dont_fragment: false })
                    }
                    code => ErrorKind::Soft(code),
                };
                quoted(core, &input, message, kind)
            }
            Icmpv4Message::TimeExceeded { .. } => {
                quoted(core, &input, message, ErrorKind::Soft(UnreachableCode::Host))
            }
            // RFC 1122 section 3.2.2.5: MUST be passed to the transport.
            Icmpv4Message::ParameterProblem { .. } => quoted(core, &input, message, ErrorKind::NotUnderstood),
            // RFC 6633: source quench is ignored; redirects are not believed.
            _ => {
                core.counters.drops.icmp_ignored += 1;
                None
            }
        }
    }

    /// Answers a packet that cannot be delivered, where RFC 1122 section 3.2.2 allows it.
    pub(crate) fn unreachable(&mut self, core: &mut Core, code: UnreachableCode, input: IpInput) {
        self.error(core, Icmpv4Message::DestinationUnreachable { code, next_hop_mtu: 0 }, input);
    }

    /// Tells the sender of a packet which byte of its header cannot be (RFC 1122 section 3.2.2.5).
    pub(crate) fn parameter_problem(&mut self, core: &mut Core, pointer: u8, input: IpInput) {
        self.error(core, Icmpv4Message::ParameterProblem { code: 0, pointer }, input);
    }

    /// Tells the sender of a datagram that not all of it has come in time (RFC 792; RFC 1122 section 3.3.2).
    pub(crate) fn reassembly_time_exceeded(&mut self, core: &mut Core, expired: Expired) {
        let Expired { interface, packet } = expired;
        let whole = Whole { interface, group: false, ecn: Ecn::NotEct, packet };
        if let Some(input) = core.whole_input(whole) {
            self.error(core, Icmpv4Message::TimeExceeded { code: Icmpv4Message::REASSEMBLY_TIMEOUT }, input);
        }
    }

    /// Answers a packet with an error. RFC 1122 section 3.2.2: MUST NOT be about another error, nor about what was sent to
    /// more than one host, nor go to a source that is no single host.
    fn error(&mut self, core: &mut Core, message: Icmpv4Message, input: IpInput) {
        let about_error = input.protocol == Protocol::ICMP
            && Icmpv4Message::parse(input.transport()).map_or(true, |message| message.is_error());
        if about_error || input.group || !core.interfaces.is_one_host(input.source) {
            return;
        }
        let rate = core.config.icmp.errors_per_second;
        if !self.limit.allow(core.now, rate, &mut core.random) {
            core.counters.drops.icmp_limited += 1;
            return;
        }
        let (to, from) = (input.source, input.destination);
        let mut body = input.packet;
        // RFC 1122 section 3.2.2: the header and at least eight bytes; no more than the question was long, so
        // that nothing is amplified, and no more than fits 576 bytes (RFC 1812 section 4.3.2.3).
        let ours = Ipv4Header::LEN + Icmpv4Message::LEN;
        let quote = body.len().saturating_sub(ours).clamp(input.header_len + 8, 576 - ours);
        body.truncate(quote);
        if self.queue(core, Reply { to, from, message, body }) {
            core.counters.control.errors_sent += 1;
        }
    }

    fn queue(&mut self, core: &mut Core, mut reply: Reply) -> bool {
        let Some(path) = core.path(reply.to, Some(reply.from)) else {
            core.counters.drops.no_route += 1;
            return false;
        };
        let replies = &mut self.replies[usize::from(path.interface.0)];
        if replies.len() >= core.config.icmp.max_queued {
            core.counters.drops.reply_queue_full += 1;
            return false;
        }
        reply.body.notes = Default::default();
        replies.push_back(reply);
        core.want.set(path.interface, Provider::Icmp);
        true
    }

    /// The next ICMP packet for an interface, built now.
    pub(crate) fn next(&mut self, core: &mut Core, interface: InterfaceId) -> Option<Addressed> {
        let replies = &mut self.replies[usize::from(interface.0)];
        while let Some(Reply { to, from, message, body }) = replies.pop_front() {
            let Some(path) = core.path(to, Some(from)) else {
                core.counters.drops.no_route += 1;
                continue;
            };
            let Some(packet) = build(core, &message, body) else {
                core.counters.drops.no_buffer += 1;
                continue;
            };
            let output = IpOutput {
                path,
                destination: to,
                protocol: Protocol::ICMP,
                ttl: DEFAULT_TTL,
                ecn: Ecn::NotEct,
                checksum_offset: Icmpv4Message::CHECKSUM_OFFSET,
                pseudo_header: false,
                may_fragment: true,
            };
            if let Some(addressed) = core.ip_send(&output, packet) {
                return Some(addressed);
            }
        }
        self.next_echo(core, interface)
    }
}

/// Bytes behind a message that are rather copied than referred to: an error's quote at least.
const COPIED: usize = 576;

/// A message and what goes behind it.
fn build(core: &Core, message: &Icmpv4Message, body: Packet) -> Option<Packet> {
    let mut header = core.pool.allocate(SizeClass::Small, HEADROOM)?;
    message.emit(header.append(Icmpv4Message::LEN)?).ok()?;
    if body.len() <= COPIED.min(header.tailroom()) {
        // In one piece: who reads an error looks for the quote right behind the header.
        let len = body.len();
        body.copy_to(0, header.append(len)?);
        return Some(Packet::new(header));
    }
    let mut packet = Packet::new(header);
    packet.chain(body);
    Some(packet)
}

/// Reads the packet an error quotes: it must be one of ours (RFC 1122 section 3.2.2).
fn quoted(core: &mut Core, input: &IpInput, message: Icmpv4Message, kind: ErrorKind) -> Option<IcmpError> {
    let quote = input.transport().get(Icmpv4Message::LEN..).unwrap_or_default();
    let error = Ipv4Header::parse(quote).ok().and_then(|header| {
        let behind = quote.get(usize::from(header.header_len)..)?.get(..8)?;
        let mut quoted = [0; 8];
        quoted.copy_from_slice(behind);
        let (local, remote) = (header.source.into(), header.destination.into());
        let kind = match kind {
            ErrorKind::TooBig(too_big) => ErrorKind::TooBig(TooBig {
                total_len: header.total_len,
                dont_fragment: header.dont_fragment,
                ..too_big
            }),
            kind => kind,
        };
        let (from, ttl) = (input.source, input.ttl);
        Some(IcmpError { kind, message, from, ttl, protocol: header.protocol, local, remote, quoted })
    });
    let ours = error.filter(|error| error.local == input.destination);
    match ours {
        Some(_) => core.counters.control.errors_received += 1,
        None => core.counters.drops.icmp_ignored += 1,
    }
    ours
}
