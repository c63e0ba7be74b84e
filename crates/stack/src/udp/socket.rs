//! One UDP socket: what it received, what it has to send, and its credit.

use std::collections::VecDeque;
use std::net::SocketAddr;

use sunstar_packet::{Buffer, Packet, Pool, SlotId};
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::udp::UdpHeader;
use sunstar_wire::{Ecn, IpAddress};

use super::UdpKey;
use crate::core::Core;
use crate::ip::Path;
use crate::ip::output::DEFAULT_TTL;
use crate::socket::{Ready, SocketError, SocketHandle, UdpInfo};

/// A datagram received, or several of equal size that the device coalesced.
#[derive(Debug)]
pub struct UdpReceived {
    /// Who sent it.
    pub from: SocketAddr,
    /// Which of our addresses, or which group, it was sent to.
    pub to: SocketAddr,
    /// Its time to live when it arrived.
    pub ttl: u8,
    /// Its congestion mark.
    pub ecn: Ecn,
    /// Bytes of each datagram but the last, when there are several.
    pub segment_size: Option<usize>,
    /// The data, in the buffers it arrived in.
    pub payload: Packet,
}

impl UdpReceived {
    /// The same once more, sharing the memory where that is possible.
    pub(crate) fn share(&self, pool: &Pool) -> Option<Self> {
        let payload = self.payload.share().or_else(|| self.payload.copied_into(pool))?;
        Some(Self { payload, ..*self })
    }
}

/// What goes with a datagram to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct UdpTransmit {
    /// Where to; a connected socket's peer if `None`.
    pub destination: Option<SocketAddr>,
    /// The source address; chosen by route if `None`.
    pub source: Option<IpAddress>,
    /// The time to live; 64 if `None`.
    pub ttl: Option<u8>,
    /// The congestion mark.
    pub ecn: Ecn,
    /// The data is several datagrams of this many bytes each, the last one may be shorter.
    pub segment_size: Option<usize>,
    /// It may be larger than its path is known to take, though not than its interface does: for protocols that find out by
    /// themselves what gets through (RFC 8899, RFC 9000 section 14.2), and whom a forged ICMP message would stop otherwise.
    pub probe: bool,
}

/// Bytes of payload of the longest datagram there can be (RFC 768 over RFC 791).
const MAX_PAYLOAD: usize = u16::MAX as usize - Ipv4Header::LEN - UdpHeader::LEN;

/// Bytes of payload of the longest datagram that passes in one piece where packets of so many bytes do.
pub(super) fn largest_payload(mtu: usize) -> usize {
    mtu.saturating_sub(Ipv4Header::LEN + UdpHeader::LEN)
}

/// A datagram that waits for the device, or several.
pub(crate) struct Outgoing {
    pub(super) path: Path,
    pub(super) destination: SocketAddr,
    pub(super) ttl: u8,
    pub(super) ecn: Ecn,
    pub(super) segment_size: Option<usize>,
    pub(super) may_fragment: bool,
    pub(super) payload: Buffer,
    pub(super) charge: usize,
}

pub(crate) struct UdpSocket {
    pub(crate) local: SocketAddr,
    pub(crate) remote: Option<SocketAddr>,
    pub(super) groups: Vec<IpAddress>,
    /// Whether datagrams too large for their path are cut.
    pub(super) may_fragment: bool,
    /// Whether it may send to everyone on a network.
    pub(super) may_broadcast: bool,
    pub(super) outgoing: VecDeque<Outgoing>,
    /// Bytes of credit taken by datagrams that have not left yet.
    pub(super) charged: usize,
    /// The application has closed it: it only sends what it has.
    pub(super) closed: bool,
    /// Whether the socket stands on a list of those that want to send.
    pub(super) listed: bool,
    received: VecDeque<UdpReceived>,
    held: usize,
    pub(super) error: Option<SocketError>,
    pub(crate) ready: Ready,
}

impl UdpSocket {
    pub(super) fn new(local: SocketAddr) -> Self {
        Self {
            local,
            remote: None,
            groups: Vec::new(),
            may_fragment: true,
            may_broadcast: false,
            outgoing: VecDeque::new(),
            charged: 0,
            closed: false,
            listed: false,
            received: VecDeque::new(),
            held: 0,
            error: None,
            ready: Ready::NONE,
        }
    }

    /// The slots that its datagrams hold, those received and those to be sent.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotId> {
        let received = self.received.iter().flat_map(|datagram| datagram.payload.slots());
        received.chain(self.outgoing.iter().map(|outgoing| outgoing.payload.slot_id()))
    }

    pub(crate) fn info(&self) -> UdpInfo {
        UdpInfo {
            local: self.local,
            remote: self.remote,
            send_queue: self.charged,
            receive_queue: self.held,
            datagrams: self.received.len(),
        }
    }

    pub(super) fn deliver(&mut self, core: &mut Core, key: UdpKey, mut datagram: UdpReceived) {
        // A small datagram in a large buffer is copied out, so that the buffer is not held for it.
        if datagram.payload.true_size() > 4 * datagram.payload.len().max(512)
            && let Some(copy) = datagram.payload.copied_into(&core.pool)
        {
            datagram.payload = copy;
        }
        let size = datagram.payload.true_size();
        if self.held + size > core.config.udp.receive_buffer {
            core.counters.drops.receive_buffer_full += 1;
            return;
        }
        self.held += size;
        self.received.push_back(datagram);
        core.counters.udp.received += 1;
        core.ready.set(&mut self.ready, Ready::READABLE, SocketHandle::Udp(key));
    }

    pub(crate) fn recv(&mut self) -> Result<UdpReceived, SocketError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let datagram = self.received.pop_front().ok_or(SocketError::WouldBlock)?;
        self.held -= datagram.payload.true_size();
        Ok(datagram)
    }

    pub(crate) fn peek(&self) -> Option<&UdpReceived> {
        self.received.front()
    }

    /// RFC 1122 section 3.3.6: nobody sends to everyone by accident.
    pub(super) fn may_send_to(&self, core: &Core, destination: IpAddress) -> Result<(), SocketError> {
        if !self.may_broadcast && core.interfaces.is_everyone(destination) {
            return Err(SocketError::BroadcastNotAllowed { destination });
        }
        Ok(())
    }

    /// Checks and copies a datagram to be sent, if there is credit for it.
    pub(super) fn prepare(
        &mut self,
        core: &mut Core,
        key: UdpKey,
        transmit: &UdpTransmit,
        payload: &[u8],
    ) -> Result<Outgoing, SocketError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let destination = transmit.destination.or(self.remote).ok_or(SocketError::NotConnected)?;
        if destination.port() == 0 {
            return Err(SocketError::InvalidInput { what: "port 0 cannot be sent to" });
        }
        self.may_send_to(core, destination.ip())?;
        let bound = (!self.local.ip().is_unspecified()).then_some(self.local.ip());
        let source = transmit.source.or(bound);
        if let Some(address) = source.filter(|source| !core.interfaces.is_local(*source)) {
            return Err(SocketError::AddressNotAvailable { address });
        }
        let path = core
            .path(destination.ip(), source)
            .ok_or(SocketError::NetworkUnreachable { destination: destination.ip() })?;
        core.check_device(&path)?;
        let may_fragment = self.may_fragment && !transmit.probe;
        let limit = match transmit.probe {
            _ if may_fragment => MAX_PAYLOAD,
            true => largest_payload(path.link_mtu),
            false => largest_payload(path.mtu),
        };
        let longest = transmit.segment_size.map_or(payload.len(), |size| size.min(payload.len()));
        if longest > limit || payload.len() > MAX_PAYLOAD {
            return Err(SocketError::MessageTooLong { len: longest, limit });
        }
        if transmit.segment_size.is_some_and(|size| size == 0 || payload.len().div_ceil(size) > 64) {
            return Err(SocketError::InvalidInput {
                what: "a batch is 1 to 64 datagrams of at least a byte",
            });
        }
        if self.charged >= core.config.udp.send_buffer {
            return Err(SocketError::WouldBlock);
        }
        let Some(payload) = core.copy_written(payload) else {
            core.starved.insert(SocketHandle::Udp(key));
            return Err(SocketError::WouldBlock);
        };
        Ok(Outgoing {
            path,
            destination,
            ttl: transmit.ttl.unwrap_or(DEFAULT_TTL),
            ecn: transmit.ecn,
            segment_size: transmit.segment_size,
            may_fragment,
            charge: payload.true_size(),
            payload,
        })
    }
}
