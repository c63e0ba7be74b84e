//! UDP (RFC 768, RFC 1122 section 4.1): the sockets' table, demultiplexing, and the sockets that want to send.

mod socket;

use core::hash::BuildHasher;
use std::collections::VecDeque;
use std::net::SocketAddr;

use slotmap::{SlotMap, new_key_type};
use sunstar_packet::{Departure, HEADROOM, Packet, Segmentation, SegmentationKind, SizeClass};
use sunstar_wire::udp::UdpHeader;
use sunstar_wire::{IpAddress, Protocol};

use socket::largest_payload;
pub(crate) use socket::{Outgoing, UdpSocket};
pub use socket::{UdpReceived, UdpTransmit};

use crate::core::{Addressed, Core};
use crate::hash::{Keyed, KeyedMap};
use crate::ip::icmp::{ErrorKind, IcmpError};
use crate::ip::output::IpOutput;
use crate::ip::path_mtu::PathNews;
use crate::ip::{InterfaceId, IpInput};
use crate::link::Provider;
use crate::random::Random;
use crate::socket::{Ready, SocketError, SocketHandle};
use crate::steering::PortSpace;

new_key_type! {
    /// Names a UDP socket.
    pub struct UdpKey;
}

/// Where a socket stands in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Binding {
    /// `None`: every address of the stack.
    local: Option<IpAddress>,
    port: u16,
    /// `None`: from anyone.
    remote: Option<SocketAddr>,
}

pub(crate) struct Udp {
    pub(crate) sockets: SlotMap<UdpKey, UdpSocket>,
    bound: KeyedMap<Binding, UdpKey>,
    groups: KeyedMap<(IpAddress, u16), Vec<UdpKey>>,
    ready: [VecDeque<UdpKey>; InterfaceId::COUNT],
    /// Ports chosen so far for sockets that did not ask for one.
    chosen: u64,
}

impl Udp {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            sockets: SlotMap::with_key(),
            bound: KeyedMap::with_hasher(Keyed::new(random)),
            groups: KeyedMap::with_hasher(Keyed::new(random)),
            ready: Default::default(),
            chosen: 0,
        }
    }

    pub(crate) fn bind(
        &mut self,
        core: &mut Core,
        local: SocketAddr,
        shared: bool,
    ) -> Result<UdpKey, SocketError> {
        let address = (!local.ip().is_unspecified()).then_some(local.ip());
        if let Some(address) = address.filter(|address| !core.interfaces.is_local(*address)) {
            return Err(SocketError::AddressNotAvailable { address });
        }
        let port = match local.port() {
            0 => self.free_port(core, address, local)?,
            port => port,
        };
        let binding = Binding { local: address, port, remote: None };
        if self.bound.contains_key(&binding) {
            return Err(SocketError::AddressInUse { address: local });
        }
        let local = SocketAddr::new(local.ip(), port);
        let key = self.sockets.insert(UdpSocket::new(local));
        core.claim((PortSpace::Udp, port), shared, SocketHandle::Udp(key), local).inspect_err(|_| {
            self.sockets.remove(key);
        })?;
        self.bound.insert(binding, key);
        Ok(key)
    }

    /// An unpredictable free port (RFC 6056 section 3.3.1: random, then the next that is free).
    fn free_port(
        &mut self,
        core: &Core,
        local: Option<IpAddress>,
        destination: SocketAddr,
    ) -> Result<u16, SocketError> {
        let range = core.config.ephemeral_ports;
        let count = u32::from(range.last.saturating_sub(range.first)) + 1;
        // Hashed with a secret, and not drawn: who saw a few ports could work a generator's next ones out.
        self.chosen += 1;
        let start = (self.bound.hasher().hash_one(("port", self.chosen)) % u64::from(count)) as u32;
        (0..count)
            .map(|step| range.first + ((start + step) % count) as u16)
            .filter(|port| core.may_choose((PortSpace::Udp, *port)))
            .find(|port| !self.bound.contains_key(&Binding { local, port: *port, remote: None }))
            .ok_or(SocketError::NoPortLeft { destination, first: range.first, last: range.last })
    }

    pub(crate) fn connect(
        &mut self,
        core: &Core,
        key: UdpKey,
        remote: SocketAddr,
    ) -> Result<(), SocketError> {
        let socket = self.sockets.get_mut(key).ok_or(SocketError::Closed)?;
        socket.may_send_to(core, remote.ip())?;
        let chosen = (!socket.local.ip().is_unspecified()).then_some(socket.local.ip());
        let path = core
            .path(remote.ip(), chosen)
            .ok_or(SocketError::NetworkUnreachable { destination: remote.ip() })?;
        let new = Binding { local: Some(path.source), port: socket.local.port(), remote: Some(remote) };
        if self.bound.get(&new).is_some_and(|other| *other != key) {
            return Err(SocketError::AddressInUse { address: socket.local });
        }
        self.bound.remove(&socket.binding());
        socket.local.set_ip(path.source);
        socket.remote = Some(remote);
        self.bound.insert(new, key);
        Ok(())
    }

    /// The sockets, for a listing; those that were closed are not among them.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &UdpSocket> {
        self.bound.values().filter_map(|key| self.sockets.get(*key))
    }

    pub(crate) fn join(&mut self, core: &mut Core, key: UdpKey, group: IpAddress) -> Result<(), SocketError> {
        let socket = self.sockets.get_mut(key).ok_or(SocketError::Closed)?;
        let IpAddress::V4(address) = group else {
            return Err(SocketError::InvalidInput { what: "only IPv4 groups can be joined" });
        };
        if !address.is_multicast() {
            return Err(SocketError::InvalidInput { what: "a group is an address from 224.0.0.0/4" });
        }
        let at = (group, socket.local.port());
        let limit = core.config.igmp.max_groups;
        if !self.groups.contains_key(&at) && self.groups.len() >= limit {
            return Err(SocketError::TooManyGroups { limit });
        }
        let members = self.groups.entry(at).or_default();
        if !members.contains(&key) {
            if members.is_empty() {
                core.spread_membership(at, true);
            }
            members.push(key);
            socket.groups.push(group);
            core.interfaces.get_mut(InterfaceId::DEVICE).join(address);
        }
        Ok(())
    }

    pub(crate) fn leave(&mut self, core: &mut Core, key: UdpKey, group: IpAddress) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        if !socket.groups.contains(&group) {
            return;
        }
        socket.groups.retain(|joined| *joined != group);
        let at = (group, socket.local.port());
        if let Some(members) = self.groups.get_mut(&at) {
            members.retain(|member| *member != key);
            if members.is_empty() {
                self.groups.remove(&at);
                core.spread_membership(at, false);
            }
        }
        if let IpAddress::V4(group) = group {
            core.interfaces.get_mut(InterfaceId::DEVICE).leave(group);
        }
    }

    pub(crate) fn close(&mut self, core: &mut Core, key: UdpKey) {
        let groups = self.sockets.get(key).map(|socket| socket.groups.clone()).unwrap_or_default();
        for group in groups {
            self.leave(core, key, group);
        }
        let Some(socket) = self.sockets.get_mut(key).filter(|socket| !socket.closed) else { return };
        self.bound.remove(&socket.binding());
        core.release_port((PortSpace::Udp, socket.local.port()));
        core.starved.remove(&SocketHandle::Udp(key));
        // What was accepted still goes out: the socket stays until its last datagram was pulled.
        socket.closed = true;
        if socket.outgoing.is_empty() {
            self.sockets.remove(key);
        }
    }

    #[expect(clippy::result_large_err, reason = "the packet itself comes back, by value as everywhere")]
    /// A datagram for us. It comes back when no socket is there to take it.
    pub(crate) fn input(&mut self, core: &mut Core, mut input: IpInput) -> Result<(), IpInput> {
        let header = match UdpHeader::parse(input.transport()) {
            Ok(header) => header,
            Err(error) => {
                core.count_parse_error(error);
                return Ok(());
            }
        };
        let len = usize::from(header.length);
        // Datagrams a device coalesced have the length of one in the header, or of all.
        let coalesced = input.packet.notes.segmentation.filter(|it| it.kind == SegmentationKind::Udp);
        if len < UdpHeader::LEN || len > input.payload_len() {
            core.counters.drops.malformed += 1;
            return Ok(());
        }
        if coalesced.is_none() {
            // What IP carries behind the datagram is no part of it, nor of its checksum (RFC 9868 section 6).
            input.packet.truncate(input.header_len + len);
        }
        // RFC 768: zero says that there is none.
        if header.checksum != 0 && !input.checksum_holds(true) {
            core.counters.drops.bad_checksum += 1;
            return Ok(());
        }
        let to = (input.destination, header.destination_port);
        let from = SocketAddr::new(input.source, header.source_port);
        let mut received = UdpReceived {
            from,
            to: SocketAddr::new(to.0, to.1),
            ttl: input.ttl,
            ecn: input.ecn,
            segment_size: coalesced.map(|it| usize::from(it.size)),
            payload: Packet::default(),
        };
        if input.group
            && let Some(members) = self.groups.get(&to)
        {
            received.payload = input.into_payload(UdpHeader::LEN);
            // A connected socket receives from its peer alone, in a group too.
            let listens = |key: &&UdpKey| {
                let socket = self.sockets.get(**key);
                socket.is_some_and(|it| it.remote.is_none_or(|remote| remote == from))
            };
            let members: Vec<_> = members.iter().filter(listens).copied().collect();
            let Some((last, others)) = members.split_last() else { return Ok(()) };
            for key in others {
                match (received.share(&core.pool), self.sockets.get_mut(*key)) {
                    (Some(copy), Some(socket)) => socket.deliver(core, *key, copy),
                    _ => core.counters.drops.no_buffer += 1,
                }
            }
            // The last one has the datagram itself: what a sibling lent is not copied for a single member.
            if let Some(socket) = self.sockets.get_mut(*last) {
                socket.deliver(core, *last, received);
            }
            return Ok(());
        }
        let Some(key) = self.lookup(to.0, to.1, from) else { return Err(input) };
        received.payload = input.into_payload(UdpHeader::LEN);
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.deliver(core, key, received);
        }
        Ok(())
    }

    /// The socket for a datagram: a connected one before a bound one, an address before all addresses.
    fn lookup(&self, local: IpAddress, port: u16, from: SocketAddr) -> Option<UdpKey> {
        let exact = Binding { local: Some(local), port, remote: Some(from) };
        let bound = Binding { remote: None, ..exact };
        let any = Binding { local: None, ..bound };
        [exact, bound, any].iter().find_map(|binding| self.bound.get(binding).copied())
    }

    /// An ICMP error about a datagram of ours (RFC 1122 section 4.1.3.3).
    pub(crate) fn on_icmp_error(&mut self, core: &mut Core, error: &IcmpError) {
        let [a, b, c, d, ..] = error.quoted;
        let (local, remote) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let from = SocketAddr::new(error.remote, remote);
        let Some(key) = self.lookup(error.local, local, from) else {
            return match error.kind {
                ErrorKind::TooBig(_) => core.counters.drops.too_big_ignored += 1,
                _ => core.counters.drops.icmp_ignored += 1,
            };
        };
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let told = match error.kind {
            ErrorKind::Refused => Some(SocketError::ConnectionRefused),
            ErrorKind::NotUnderstood => Some(SocketError::ParameterProblem),
            // What was sent is lost. Whoever has what comes next cut need not know; another hears of the limit.
            ErrorKind::TooBig(too_big) => {
                let claimed = core.claimed_mtu(error, &too_big);
                if let Some((destination, mtu)) = claimed {
                    core.on_path_news(destination, PathNews::Claimed(mtu));
                }
                let len = largest_payload(too_big.total_len.into());
                let limit =
                    claimed.filter(|_| !socket.may_fragment).map(|(_, mtu)| largest_payload(mtu.into()));
                limit.map(|limit| SocketError::MessageTooLong { len, limit })
            }
            ErrorKind::Soft(_) => None,
        };
        // As on Linux, only a connected socket hears of it: another would not know which datagram.
        if let Some(told) = told.filter(|_| socket.remote == Some(from)) {
            socket.error = Some(told);
            core.ready.set(&mut socket.ready, Ready::READABLE, SocketHandle::Udp(key));
        }
    }

    /// The device is gone: whoever waits is told, and what was to leave by it is dropped.
    pub(crate) fn on_device_failed(&mut self, core: &mut Core) {
        for (key, socket) in &mut self.sockets {
            let (gone, kept): (VecDeque<_>, _) = std::mem::take(&mut socket.outgoing)
                .into_iter()
                .partition(|outgoing| outgoing.path.interface == InterfaceId::DEVICE);
            socket.outgoing = kept;
            socket.charged -= gone.iter().map(|outgoing| outgoing.charge).sum::<usize>().min(socket.charged);
            socket.error = Some(SocketError::NetworkDown);
            let ready = Ready::READABLE | Ready::WRITABLE | Ready::CLOSED;
            core.ready.set(&mut socket.ready, ready, SocketHandle::Udp(key));
        }
        self.sockets.retain(|_, socket| !socket.closed || !socket.outgoing.is_empty());
    }

    /// An address is no longer ours: sockets bound to it are told.
    pub(crate) fn on_address_removed(&mut self, core: &mut Core, address: IpAddress) {
        for (key, socket) in &mut self.sockets {
            if socket.local.ip() == address {
                socket.error = Some(SocketError::AddressLost { address });
                let ready = Ready::READABLE | Ready::WRITABLE;
                core.ready.set(&mut socket.ready, ready, SocketHandle::Udp(key));
            }
        }
    }

    pub(crate) fn send(
        &mut self,
        core: &mut Core,
        key: UdpKey,
        transmit: &UdpTransmit,
        payload: &[u8],
    ) -> Result<(), SocketError> {
        let socket = self.sockets.get_mut(key).filter(|socket| !socket.closed).ok_or(SocketError::Closed)?;
        let outgoing = socket.prepare(core, key, transmit, payload)?;
        let interface = outgoing.path.interface;
        socket.charged += outgoing.charge;
        socket.outgoing.push_back(outgoing);
        if !socket.listed {
            socket.listed = true;
            self.ready[usize::from(interface.0)].push_back(key);
        }
        core.want.set(interface, Provider::Udp);
        Ok(())
    }

    /// The next datagram for an interface, built now.
    pub(crate) fn next(&mut self, core: &mut Core, interface: InterfaceId) -> Option<Addressed> {
        while let Some(key) = self.ready[usize::from(interface.0)].pop_front() {
            let Some(socket) = self.sockets.get_mut(key) else { continue };
            if socket.outgoing.front().is_none_or(|first| first.path.interface != interface) {
                self.relist(core, key);
                continue;
            }
            let built = socket.build(core, key);
            self.relist(core, key);
            let Some((output, packet)) = built else {
                if core.pool.free(SizeClass::Small) == 0 {
                    // It stays where it is, and goes when there are buffers again.
                    return None;
                }
                core.counters.drops.no_buffer += 1;
                continue;
            };
            core.counters.udp.sent += 1;
            if let Some(addressed) = core.ip_send(&output, packet) {
                return Some(addressed);
            }
        }
        None
    }

    /// Whether datagrams too large for their path are cut.
    pub(crate) fn set_fragmentation(&mut self, key: UdpKey, allowed: bool) -> Result<(), SocketError> {
        self.sockets.get_mut(key).ok_or(SocketError::Closed)?.may_fragment = allowed;
        Ok(())
    }

    /// Whether a socket may send to everyone on a network.
    pub(crate) fn set_broadcast(&mut self, key: UdpKey, allowed: bool) -> Result<(), SocketError> {
        self.sockets.get_mut(key).ok_or(SocketError::Closed)?.may_broadcast = allowed;
        Ok(())
    }

    /// Puts a socket with more to say at the end of the list it belongs to.
    fn relist(&mut self, core: &mut Core, key: UdpKey) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        match socket.outgoing.front() {
            None if socket.closed => {
                self.sockets.remove(key);
            }
            None => socket.listed = false,
            Some(first) => {
                let interface = first.path.interface;
                self.ready[usize::from(interface.0)].push_back(key);
                core.want.set(interface, Provider::Udp);
            }
        }
    }

    /// A datagram has left the device, or was dropped on the way: its credit is free again.
    pub(crate) fn departed(&mut self, core: &mut Core, departure: Departure) {
        let key = UdpKey::from(slotmap::KeyData::from_ffi(departure.token));
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.charged = socket.charged.saturating_sub(departure.weight as usize);
            core.ready.set(&mut socket.ready, Ready::WRITABLE, SocketHandle::Udp(key));
        }
    }
}

impl UdpSocket {
    fn binding(&self) -> Binding {
        let local = (!self.local.ip().is_unspecified()).then_some(self.local.ip());
        Binding { local, port: self.local.port(), remote: self.remote }
    }

    /// Builds the socket's first datagram, or as many of a batch as go out as one packet.
    fn build(&mut self, core: &mut Core, key: UdpKey) -> Option<(IpOutput, Packet)> {
        let first = self.outgoing.front_mut()?;
        // What has to be cut by IP is not left to the device.
        let fits = |size| !first.may_fragment || size <= largest_payload(first.path.mtu);
        let segmented =
            first.segment_size.is_none_or(fits) && core.interfaces.get(first.path.interface).segmentation.udp;
        let whole = first.segment_size.is_none_or(|size| first.payload.len() <= size || segmented);
        let departure = Departure {
            provider: Provider::Udp as u8,
            token: slotmap::Key::data(&key).as_ffi(),
            weight: first.charge as u32,
        };
        let output = first.output();
        let segment_size = first.segment_size;
        let mut packet = if whole && first.payload.is_unique() {
            Packet::new(self.outgoing.pop_front()?.payload)
        } else if whole {
            let mut packet = Packet::new(core.pool.allocate(SizeClass::Small, HEADROOM)?);
            packet.push(self.outgoing.pop_front()?.payload).ok()?;
            packet
        } else {
            // A batch on a device that does not segment: one datagram at a time, the credit with the last.
            let size = segment_size?;
            let mut packet = Packet::new(core.pool.allocate(SizeClass::Small, HEADROOM)?);
            packet.push(first.payload.slice(0, size)).ok()?;
            first.payload.trim_front(size);
            packet
        };
        let payload_len = packet.len();
        if whole {
            packet.notes.departure = Some(departure);
        }
        if let Some(size) = segment_size.filter(|size| *size < payload_len) {
            packet.notes.segmentation = Some(Segmentation {
                kind: SegmentationKind::Udp,
                size: size as u16,
                header_len: UdpHeader::LEN as u16,
            });
        }
        let header = UdpHeader {
            source_port: self.local.port(),
            destination_port: output.1,
            length: (payload_len + UdpHeader::LEN) as u16,
            checksum: 0,
        };
        header.emit(packet.prepend(UdpHeader::LEN)?).ok()?;
        Some((output.0, packet))
    }
}

impl Outgoing {
    fn output(&self) -> (IpOutput, u16) {
        let output = IpOutput {
            path: self.path,
            destination: self.destination.ip(),
            protocol: Protocol::UDP,
            ttl: self.ttl,
            ecn: self.ecn,
            checksum_offset: UdpHeader::CHECKSUM_OFFSET,
            pseudo_header: true,
            may_fragment: self.may_fragment,
        };
        (output, self.destination.port())
    }
}
