//! An in-memory wire between any two hosts, on any two threads.
//!
//! Frames cross as loans, without a copy, through one bounded ring each way: one thread writes it, one
//! reads it. An end that sleeps is woken through its eventfd, and only then is a system call made. With
//! offloads on, large packets and unfinished checksums cross as they are: no byte is ever on a real wire.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rtrb::{Consumer, Producer, RingBuffer};
use sunstar_packet::{
    Capabilities, ChecksumNote, DeviceCounters, DeviceError, Fragment, FrameSource, HEADROOM, LinkState,
    Loan, MAX_FRAGMENTS, Medium, Packet, Pool, QueuePair, SegmentationKind, SegmentationOffload, SizeClass,
};

use crate::alarm::Alarm;

/// Bytes of a received frame that lie in one piece, as [`QueuePair::receive`] promises.
const CONTIGUOUS: usize = 256;
/// Bytes of an Ethernet header with one 802.1Q tag.
const TAGGED_HEADER: usize = 18;
/// The largest IP packet in bytes: its length field has 16 bits.
const LARGEST_PACKET: usize = 65_535;

/// What a wire is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireConfig {
    /// Frames that fit into it in each direction.
    pub capacity: usize,
    /// The largest IP packet, in bytes, that goes out as one frame.
    pub mtu: usize,
    /// What it carries.
    pub medium: Medium,
    /// Whether frames may cross with partial checksums.
    pub transmit_checksum: bool,
    /// Which packets may cross uncut. The receiver takes them for coalesced ones.
    pub segmentation: SegmentationOffload,
    /// The hardware address of each end; ignored where the medium has none.
    pub macs: [[u8; 6]; 2],
}

impl Default for WireConfig {
    /// Ethernet, 256 frames deep, an MTU of 1,500 bytes, no offload, and two locally administered addresses.
    fn default() -> Self {
        Self {
            capacity: 256,
            mtu: 1_500,
            medium: Medium::Ethernet,
            transmit_checksum: false,
            segmentation: SegmentationOffload::default(),
            macs: [[0x02, 0, 0, 0, 0, 1], [0x02, 0, 0, 0, 0, 2]],
        }
    }
}

impl WireConfig {
    /// The same wire with every offload on: for two hosts that trust each other, in one process.
    pub fn with_offloads(self) -> Self {
        Self {
            transmit_checksum: true,
            segmentation: SegmentationOffload { tcp_v4: true, tcp_v6: true, udp: true },
            ..self
        }
    }
}

/// Why a wire could not be made.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The system gave no descriptor to wake a sleeping end by.
    #[error(
        "no event descriptor for the wire: {0}; a wire takes two, raise the limit of open files (ulimit -n)"
    )]
    Event(#[from] rustix::io::Errno),
}

/// Makes a wire; its two ends may go to two threads.
///
/// # Errors
/// [`WireError::Event`] when the process is out of descriptors.
pub fn pair(config: &WireConfig) -> Result<(WireEnd, WireEnd), WireError> {
    let sides = Arc::new([Side::new()?, Side::new()?]);
    let (to_right, from_left) = RingBuffer::new(config.capacity.max(1));
    let (to_left, from_right) = RingBuffer::new(config.capacity.max(1));
    let end = |index, outgoing, incoming| WireEnd {
        index,
        sides: Arc::clone(&sides),
        outgoing,
        incoming,
        capabilities: Capabilities {
            medium: config.medium,
            mac: if config.medium == Medium::Ethernet { config.macs[index] } else { [0; 6] },
            mtu: config.mtu,
            transmit_checksum: config.transmit_checksum,
            segmentation: config.segmentation,
        },
        counters: DeviceCounters::default(),
        out_of_loans_at: None,
        knows_of_loss: false,
        spent: Vec::new(),
    };
    Ok((end(0, to_right, from_right), end(1, to_left, from_left)))
}

/// What the other end has to know of this one.
#[derive(Debug)]
struct Side {
    alarm: Alarm,
    gone: AtomicBool,
}

impl Side {
    fn new() -> Result<Self, WireError> {
        Ok(Self { alarm: Alarm::new()?, gone: AtomicBool::new(false) })
    }
}

/// One end of a wire made by [`pair`]. Dropping it takes the other end's link down, for good.
///
/// A frame whose sender's pool has no loan left crosses as a copy, and then nothing is pulled until some
/// loans are back; an end that waits for that is not put to sleep, because nobody would wake it.
#[derive(Debug)]
pub struct WireEnd {
    index: usize,
    sides: Arc<[Side; 2]>,
    outgoing: Producer<Loan>,
    incoming: Consumer<Loan>,
    capabilities: Capabilities,
    counters: DeviceCounters,
    /// Loans that were out when one more was refused.
    out_of_loans_at: Option<usize>,
    /// Whether `arm` has reported that the other end is gone.
    knows_of_loss: bool,
    /// Loans whose bytes were copied out, on their way home together.
    spent: Vec<Loan>,
}

impl WireEnd {
    fn own(&self) -> &Side {
        &self.sides[self.index]
    }

    fn other(&self) -> &Side {
        &self.sides[1 - self.index]
    }

    fn has_room(&mut self, pool: &Pool) -> bool {
        if let Some(refused_at) = self.out_of_loans_at {
            pool.collect();
            if pool.counters().lent > refused_at.saturating_sub(MAX_FRAGMENTS) {
                return false;
            }
            self.out_of_loans_at = None;
        }
        self.link() == LinkState::Up && !self.outgoing.is_full()
    }

    /// Whether the wire takes such a packet: what was not offered must not be asked for.
    fn takes(&self, packet: &Packet) -> bool {
        let offload = self.capabilities.segmentation;
        let link_header = if self.capabilities.medium == Medium::Ethernet { TAGGED_HEADER } else { 0 };
        let (offered, largest) = match packet.notes.segmentation.map(|segmentation| segmentation.kind) {
            None => (true, self.capabilities.mtu),
            Some(SegmentationKind::TcpV4) => (offload.tcp_v4, LARGEST_PACKET),
            Some(SegmentationKind::TcpV6) => (offload.tcp_v6, LARGEST_PACKET),
            Some(SegmentationKind::Udp) => (offload.udp, LARGEST_PACKET),
        };
        let partial = matches!(packet.notes.checksum, ChecksumNote::Partial { .. });
        offered && packet.len() <= largest + link_header && (self.capabilities.transmit_checksum || !partial)
    }

    fn send(&mut self, mut packet: Packet, pool: &Pool) {
        packet.notes.departure = None;
        packet.notes.hash = None;
        let (len, segmented) = (packet.len(), packet.notes.segmentation.is_some());
        let sent = match packet.lend(pool) {
            Ok(loan) => self.outgoing.push(loan).is_ok(),
            Err(packet) => self.send_copy(&packet, pool),
        };
        if sent {
            self.counters.sent += 1;
            self.counters.sent_bytes += len as u64;
            self.counters.segmented += u64::from(segmented);
        } else {
            self.counters.refused += 1;
        }
    }

    /// The packet was built already and cannot wait here for a loan: buffers stay with their thread, and an
    /// end does not.
    fn send_copy(&mut self, packet: &Packet, pool: &Pool) -> bool {
        let lendable = |fragment: &Fragment| match fragment {
            Fragment::Buffer(buffer) => pool.owns(buffer),
            Fragment::Loaned(_) | Fragment::Bytes(_) => true,
        };
        if packet.fragments().iter().all(lendable) {
            self.out_of_loans_at = Some(pool.counters().lent);
        }
        let mut copy = Packet::new(Bytes::from(packet.to_vec()));
        copy.notes = packet.notes;
        copy.lend(pool).is_ok_and(|loan| self.outgoing.push(loan).is_ok())
    }

    /// The frame as the receiver's, its first bytes in one piece; `None` when that takes a buffer and
    /// there is none.
    fn take_in(&mut self, loan: Loan, pool: &Pool) -> Option<Packet> {
        let len = loan.len();
        let head = loan.pieces().next().map_or(0, <[u8]>::len);
        if head >= len.min(CONTIGUOUS) {
            return Some(loan.adopt(pool));
        }
        let copied = if pool.class_for(len) == Some(SizeClass::Small) { len } else { CONTIGUOUS };
        let mut buffer = pool.allocate(SizeClass::Small, HEADROOM)?;
        let mut into = buffer.append(copied)?;
        for piece in loan.pieces() {
            let (part, rest) = into.split_at_mut(piece.len().min(into.len()));
            part.copy_from_slice(&piece[..part.len()]);
            into = rest;
        }
        let mut packet = Packet::new(buffer);
        packet.notes = loan.notes;
        if copied == len {
            self.spent.push(loan);
            return Some(packet);
        }
        let mut rest = loan.adopt(pool);
        rest.trim_front(copied);
        for fragment in rest.into_fragments() {
            // The copied bytes took the first piece's place, so the rest has room.
            packet.push(fragment).ok()?;
        }
        Some(packet)
    }
}

impl QueuePair for WireEnd {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn pull(
        &mut self,
        pool: &Pool,
        budget: usize,
        source: &mut impl FrameSource,
    ) -> Result<usize, DeviceError> {
        let mut taken = 0;
        while taken < budget && self.has_room(pool) {
            let Some(packet) = source.next() else { break };
            taken += 1;
            let departure = packet.notes.departure;
            if self.takes(&packet) {
                self.send(packet, pool);
            } else {
                self.counters.refused += 1;
            }
            if let Some(departure) = departure {
                source.departed(departure);
            }
        }
        if taken > 0 {
            self.other().alarm.ring(Alarm::FRAMES);
        }
        Ok(taken)
    }

    fn receive(
        &mut self,
        pool: &Pool,
        budget: usize,
        frames: &mut Vec<Packet>,
    ) -> Result<usize, DeviceError> {
        let before = frames.len();
        let mut popped = 0;
        while popped < budget
            && let Ok(loan) = self.incoming.pop()
        {
            popped += 1;
            let (len, coalesced) = (loan.len(), loan.notes.segmentation.is_some());
            let Some(packet) = self.take_in(loan, pool) else {
                self.counters.no_buffer += 1;
                continue;
            };
            self.counters.received += 1;
            self.counters.received_bytes += len as u64;
            self.counters.coalesced += u64::from(coalesced);
            frames.push(packet);
        }
        if !self.spent.is_empty() {
            Loan::send_home(self.spent.drain(..));
        }
        if popped > 0 {
            self.other().alarm.ring(Alarm::ROOM);
        }
        Ok(frames.len() - before)
    }

    fn link(&self) -> LinkState {
        match self.other().gone.load(Ordering::Acquire) {
            true => LinkState::Down,
            false => LinkState::Up,
        }
    }

    fn arm(&mut self, wants_room: bool) -> bool {
        self.own().alarm.ask(if wants_room { Alarm::FRAMES | Alarm::ROOM } else { Alarm::FRAMES });
        let lost = self.link() == LinkState::Down;
        let news_of_loss = lost && !self.knows_of_loss;
        self.knows_of_loss = lost;
        let room = wants_room && !lost && (self.out_of_loans_at.is_some() || !self.outgoing.is_full());
        let found = news_of_loss || room || !self.incoming.is_empty();
        if found {
            self.own().alarm.withdraw();
        }
        found
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.own().alarm.descriptor())
    }

    fn counters(&self) -> DeviceCounters {
        self.counters
    }
}

impl Drop for WireEnd {
    fn drop(&mut self) {
        self.own().gone.store(true, Ordering::Release);
        // Frames nobody will read hold their sender's buffers.
        while self.incoming.pop().is_ok() {}
        self.other().alarm.wake();
    }
}

#[cfg(test)]
mod tests;
