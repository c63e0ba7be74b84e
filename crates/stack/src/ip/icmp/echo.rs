//! Echo sockets: what ping and traceroute need (RFC 792). One identifier each; requests out, replies in, and ICMP errors
//! about the requests.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use slotmap::new_key_type;
use sunstar_packet::{Packet, SlotId};
use sunstar_wire::icmpv4::{Icmpv4Message, UnreachableCode};
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::{Ecn, IpAddress, Protocol};

use super::memory::Memory;
use super::{ErrorKind, Icmp, IcmpError, build};
use crate::core::{Addressed, Core};
use crate::ip::input::IpInput;
use crate::ip::interface::InterfaceId;
use crate::ip::output::IpOutput;
use crate::ip::path_mtu::PathNews;
use crate::link::Provider;
use crate::socket::{EchoInfo, Ready, SocketError, SocketHandle};
use crate::steering::PortSpace;
use crate::time::Instant;

new_key_type! {
    /// Names an echo socket.
    pub struct EchoKey;
}

/// What was said to an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoAnswer {
    /// The reply.
    Reply,
    /// Its hops ran out on the way.
    TimeExceeded,
    /// It came in fragments, and not all of them in time.
    ReassemblyTimeExceeded,
    /// It cannot be delivered.
    Unreachable(UnreachableCode),
    /// It is too big for the next link and must not be cut.
    TooBig {
        /// The largest packet that link takes, in bytes; 0 if the router does not say (RFC 1191 section 4).
        mtu: u16,
    },
    /// Its header was not understood.
    ParameterProblem {
        /// The byte at which the trouble begins, as it stands in the message.
        pointer: u8,
    },
}

impl EchoAnswer {
    /// What an ICMP error says of the request that it quotes.
    fn of(message: &Icmpv4Message) -> Option<Self> {
        Some(match *message {
            Icmpv4Message::DestinationUnreachable {
                code: UnreachableCode::FragmentationNeeded,
                next_hop_mtu,
            } => Self::TooBig { mtu: next_hop_mtu },
            Icmpv4Message::DestinationUnreachable { code, .. } => Self::Unreachable(code),
            Icmpv4Message::TimeExceeded { code: Icmpv4Message::REASSEMBLY_TIMEOUT } => {
                Self::ReassemblyTimeExceeded
            }
            Icmpv4Message::TimeExceeded { .. } => Self::TimeExceeded,
            Icmpv4Message::ParameterProblem { pointer, .. } => Self::ParameterProblem { pointer },
            _ => return None,
        })
    }
}

/// A reply to an echo request, or what was said instead of one.
#[derive(Debug)]
pub struct EchoReply {
    /// What it is.
    pub answer: EchoAnswer,
    /// Who said so: whoever was asked, or a router on the way there.
    pub from: IpAddress,
    /// The request's sequence number.
    pub sequence: u16,
    /// Its time to live when it arrived.
    pub ttl: u8,
    /// When it arrived.
    pub at: Instant,
    /// The request's data; nothing in an error.
    pub payload: Packet,
}

pub(crate) struct EchoSocket {
    pub(crate) identifier: u16,
    requests: VecDeque<Request>,
    /// What was sent and is not answered.
    sent: Memory,
    replies: VecDeque<EchoReply>,
    pub(crate) ready: Ready,
}

struct Request {
    destination: IpAddress,
    sequence: u16,
    ttl: u8,
    may_fragment: bool,
    payload: Packet,
}

/// What goes with an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoRequest {
    /// Comes back with the reply.
    pub sequence: u16,
    /// How many hops it may take.
    pub ttl: u8,
    /// Whether it is cut when it is too large for the path; if not, it is refused.
    pub may_fragment: bool,
    /// Whether it may go to every host of a network.
    pub broadcast: bool,
}

impl EchoRequest {
    /// A request as `ping` sends it: 64 hops at most, to one host, and cut when it is large.
    pub const fn new(sequence: u16) -> Self {
        Self { sequence, ttl: 64, may_fragment: true, broadcast: false }
    }
}

/// Requests or replies that wait in one socket at most.
const MAX_WAITING: usize = 64;

impl EchoSocket {
    /// Requests or replies that wait in one socket at most.
    pub(crate) const MAX_WAITING: usize = MAX_WAITING;

    /// The slots that they hold.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotId> {
        let requests = self.requests.iter().flat_map(|request| request.payload.slots());
        requests.chain(self.replies.iter().flat_map(|reply| reply.payload.slots()))
    }

    pub(crate) fn info(&self) -> EchoInfo {
        EchoInfo { identifier: self.identifier, requests: self.requests.len(), replies: self.replies.len() }
    }
}

impl Icmp {
    /// The sockets, for a listing.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &EchoSocket> {
        self.by_identifier.values().filter_map(|key| self.sockets.get(*key))
    }

    /// Opens a socket. `None` when no identifier is left.
    pub(crate) fn open(&mut self, core: &mut Core) -> Option<EchoKey> {
        let identifier = self.free_identifier(core)?;
        let key = self.sockets.insert(EchoSocket {
            identifier,
            requests: VecDeque::new(),
            sent: Memory::default(),
            replies: VecDeque::new(),
            ready: Ready::NONE,
        });
        self.by_identifier.insert(identifier, key);
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), identifier);
        // An identifier that is free here is claimed by no sibling: each has its own to choose from.
        core.claim((PortSpace::Icmp, identifier), false, SocketHandle::Echo(key), nowhere).ok().map(|()| key)
    }

    fn free_identifier(&mut self, core: &Core) -> Option<u16> {
        (0..=u16::MAX).find_map(|_| {
            self.next_identifier = self.next_identifier.wrapping_add(1);
            let identifier = self.next_identifier;
            let is_free = !self.by_identifier.contains_key(&identifier);
            (is_free && core.may_choose((PortSpace::Icmp, identifier))).then_some(identifier)
        })
    }

    pub(crate) fn close(&mut self, core: &mut Core, key: EchoKey) {
        core.starved.remove(&SocketHandle::Echo(key));
        if let Some(socket) = self.sockets.remove(key) {
            self.by_identifier.remove(&socket.identifier);
            if !socket.requests.is_empty() {
                self.asking.iter_mut().for_each(|asking| asking.retain(|asker| *asker != key));
            }
            core.release_port((PortSpace::Icmp, socket.identifier));
        }
    }

    pub(crate) fn send(
        &mut self,
        core: &mut Core,
        key: EchoKey,
        destination: IpAddress,
        request: EchoRequest,
        data: &[u8],
    ) -> Result<(), SocketError> {
        let socket = self.sockets.get_mut(key).ok_or(SocketError::Closed)?;
        let path = core.path(destination, None).ok_or(SocketError::NetworkUnreachable { destination })?;
        core.check_device(&path)?;
        let EchoRequest { sequence, ttl, may_fragment, broadcast } = request;
        if !broadcast && core.interfaces.is_everyone(destination) {
            return Err(SocketError::BroadcastNotAllowed { destination });
        }
        let largest = if may_fragment { usize::from(u16::MAX) } else { path.mtu };
        let limit = largest.saturating_sub(Ipv4Header::LEN + Icmpv4Message::LEN);
        if data.len() > limit {
            return Err(SocketError::MessageTooLong { len: data.len(), limit });
        }
        if socket.requests.len() >= MAX_WAITING {
            return Err(SocketError::WouldBlock);
        }
        let Some(payload) = core.copy_written(data).map(Packet::new) else {
            core.starved.insert(SocketHandle::Echo(key));
            return Err(SocketError::WouldBlock);
        };
        socket.requests.push_back(Request { destination, sequence, ttl, may_fragment, payload });
        self.asking[usize::from(path.interface.0)].push_back(key);
        core.want.set(path.interface, Provider::Icmp);
        Ok(())
    }

    pub(crate) fn recv(&mut self, key: EchoKey) -> Result<EchoReply, SocketError> {
        let socket = self.sockets.get_mut(key).ok_or(SocketError::Closed)?;
        socket.replies.pop_front().ok_or(SocketError::WouldBlock)
    }

    pub(super) fn echo_reply(&mut self, core: &mut Core, identifier: u16, sequence: u16, input: IpInput) {
        let key = self.by_identifier.get(&identifier).copied();
        let Some((key, socket)) = key.and_then(|key| Some((key, self.sockets.get_mut(key)?))) else {
            core.counters.drops.icmp_ignored += 1;
            return;
        };
        socket.sent.on_reply(sequence, input.source);
        let (from, ttl) = (input.source, input.ttl);
        let payload = input.into_payload(Icmpv4Message::LEN);
        let answer = EchoAnswer::Reply;
        socket.deliver(core, key, EchoReply { answer, from, sequence, ttl, at: core.now, payload });
    }

    /// An ICMP error about an echo message of ours: heard by the socket that has sent it as a request, lately, and only once.
    /// Anybody can make up an error; only who has seen the request, or guesses well, is believed (RFC 5927 section 4).
    pub(crate) fn on_icmp_error(&mut self, core: &mut Core, error: &IcmpError) {
        let request = match Icmpv4Message::parse(&error.quoted) {
            Ok(Icmpv4Message::EchoRequest { identifier, sequence }) => Some((identifier, sequence)),
            _ => None,
        };
        let found =
            request.zip(EchoAnswer::of(&error.message)).and_then(|((identifier, sequence), answer)| {
                let key = *self.by_identifier.get(&identifier)?;
                let socket = self.sockets.get_mut(key)?;
                let sent = socket.sent.take(sequence, error.remote, core.now);
                sent.then_some((key, socket, sequence, answer))
            });
        let Some((key, socket, sequence, answer)) = found else {
            match error.kind {
                ErrorKind::TooBig(_) => core.counters.drops.too_big_ignored += 1,
                _ => core.counters.drops.icmp_ignored += 1,
            }
            return;
        };
        let (from, ttl, payload) = (error.from, error.ttl, Packet::default());
        socket.deliver(core, key, EchoReply { answer, from, sequence, ttl, at: core.now, payload });
        if let ErrorKind::TooBig(too_big) = error.kind
            && let Some((destination, mtu)) = core.claimed_mtu(error, &too_big)
        {
            core.on_path_news(destination, PathNews::Claimed(mtu));
        }
    }

    pub(super) fn next_echo(&mut self, core: &mut Core, interface: InterfaceId) -> Option<Addressed> {
        while let Some(key) = self.asking[usize::from(interface.0)].pop_front() {
            let Some(socket) = self.sockets.get_mut(key) else { continue };
            let Some(request) = socket.requests.pop_front() else { continue };
            let path = core.path(request.destination, None);
            if let Some(path) = path.filter(|path| path.interface != interface) {
                // It asked before another request of its socket that goes by here, or the routes have changed.
                socket.requests.push_back(request);
                self.asking[usize::from(path.interface.0)].push_back(key);
                core.want.set(path.interface, Provider::Icmp);
                continue;
            }
            core.ready.set(&mut socket.ready, Ready::WRITABLE, SocketHandle::Echo(key));
            let Some(path) = path else {
                core.counters.drops.no_route += 1;
                continue;
            };
            let message =
                Icmpv4Message::EchoRequest { identifier: socket.identifier, sequence: request.sequence };
            let Some(packet) = build(core, &message, request.payload) else {
                core.counters.drops.no_buffer += 1;
                continue;
            };
            socket.sent.on_send(request.sequence, request.destination, core.now);
            let output = IpOutput {
                path,
                destination: request.destination,
                protocol: Protocol::ICMP,
                ttl: request.ttl,
                ecn: Ecn::NotEct,
                checksum_offset: Icmpv4Message::CHECKSUM_OFFSET,
                pseudo_header: false,
                may_fragment: request.may_fragment,
            };
            if let Some(addressed) = core.ip_send(&output, packet) {
                return Some(addressed);
            }
        }
        None
    }
}

impl EchoSocket {
    /// Keeps what was said until the application fetches it.
    fn deliver(&mut self, core: &mut Core, key: EchoKey, reply: EchoReply) {
        if self.replies.len() >= MAX_WAITING {
            core.counters.drops.receive_buffer_full += 1;
            return;
        }
        core.counters.control.echo_replies_received += u64::from(reply.answer == EchoAnswer::Reply);
        self.replies.push_back(reply);
        core.ready.set(&mut self.ready, Ready::READABLE, SocketHandle::Echo(key));
    }
}
