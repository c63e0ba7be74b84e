//! A host's own queue pair: frames leave it for the link as loans, and come to it from there.

use std::collections::VecDeque;

use bytes::Bytes;
use sunstar_packet::{
    Capabilities, Departure, DeviceCounters, DeviceError, FrameSource, HEADROOM, LinkState, Loan,
    MAX_FRAGMENTS, Packet, Pool, QueuePair, SizeClass,
};
use sunstar_stack::time::Instant;

/// Bytes of a received frame that lie in one piece, as [`QueuePair::receive`] promises.
const CONTIGUOUS: usize = 256;

/// A frame that has left a host.
pub(crate) struct Sent {
    /// When its last bit is on the wire.
    pub(crate) at: Instant,
    pub(crate) frame: Loan,
}

/// One receive ring with one transmit ring, both in the simulator's hands.
pub(crate) struct Port {
    capabilities: Capabilities,
    /// Bits a second that go out; without an end if `None`.
    pub(crate) rate: Option<u64>,
    /// Frames the transmit ring holds.
    pub(crate) ring: usize,
    /// Frames the receive ring holds.
    pub(crate) receive_ring: u32,
    /// Whether the transmit ring takes anything at all.
    pub(crate) stalled: bool,
    /// Whether there is a carrier.
    pub(crate) up: bool,
    /// Whether the descriptor has failed.
    failed: bool,
    /// Frames pulled, and received, in this turn at most.
    pub(crate) limits: (usize, usize),
    /// The time of this turn.
    pub(crate) now: Instant,
    /// Frames on the transmit ring: when each has left, and who wants to hear of it.
    transmitting: VecDeque<(Instant, Option<Departure>)>,
    /// When the wire is free for the next frame, in nanoseconds.
    free_at: u64,
    outbox: Vec<Sent>,
    inbox: VecDeque<Loan>,
    /// What was handed up in this turn, if anybody wants to look at it.
    pub(crate) handed_up: Option<Vec<Vec<u8>>>,
    counters: DeviceCounters,
}

impl Port {
    pub(crate) fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            rate: None,
            ring: 256,
            receive_ring: u32::MAX,
            stalled: false,
            up: true,
            failed: false,
            limits: (usize::MAX, usize::MAX),
            now: Instant::ZERO,
            transmitting: VecDeque::new(),
            free_at: 0,
            outbox: Vec::new(),
            inbox: VecDeque::new(),
            handed_up: Some(Vec::new()),
            counters: DeviceCounters::default(),
        }
    }

    /// Puts a frame on the receive ring, if it has a place for it.
    pub(crate) fn deliver(&mut self, frame: Loan) {
        if self.inbox.len() < self.receive_ring as usize {
            self.inbox.push_back(frame);
        }
    }

    /// Frames that went through it, both ways.
    pub(crate) fn frames(&self) -> u64 {
        self.counters.received + self.counters.sent
    }

    /// Whether a frame waits on the receive ring.
    pub(crate) fn has_received(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether the transmit ring takes another frame.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_at(self.now)
    }

    /// Whether it will at that time.
    pub(crate) fn has_room_at(&self, now: Instant) -> bool {
        let waiting = self.transmitting.iter().filter(|(leaves, _)| *leaves > now).count();
        self.up && !self.stalled && waiting < self.ring
    }

    /// When the first frame on the transmit ring has left.
    pub(crate) fn next_departure(&self) -> Option<Instant> {
        self.transmitting.front().map(|(leaves, _)| *leaves)
    }

    /// The frames that left in this turn.
    pub(crate) fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.outbox)
    }

    /// The descriptor fails, and nobody hears any more of what was on the transmit ring.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
        self.transmitting.clear();
    }

    /// Forgets every frame on the rings: their buffers go home.
    pub(crate) fn clear(&mut self) {
        self.inbox.clear();
        self.outbox.clear();
    }

    fn reap(&mut self, source: &mut impl FrameSource) {
        while let Some((leaves, departure)) = self.transmitting.front().copied() {
            if leaves > self.now {
                return;
            }
            self.transmitting.pop_front();
            if let Some(departure) = departure {
                source.departed(departure);
            }
        }
    }

    /// When a frame of so many bytes has left, if it starts as soon as the wire is free.
    fn transmit(&mut self, bytes: usize) -> Instant {
        let Some(rate) = self.rate else { return self.now };
        let start = self.free_at.max(self.now.as_micros() * 1_000);
        self.free_at = start + (bytes as u64 * 8).saturating_mul(1_000_000_000) / rate.max(1);
        Instant::from_micros(self.free_at.div_ceil(1_000))
    }

    /// The frame as the receiver's, its first bytes in one piece: as it is, or copied as far as needed.
    fn take_in(loan: Loan, pool: &Pool) -> Option<Packet> {
        let len = loan.len();
        let first = loan.pieces().next().map_or(0, <[u8]>::len);
        if first >= len.min(CONTIGUOUS) {
            return Some(loan.adopt(pool));
        }
        let whole = pool.class_for(len) == Some(SizeClass::Small);
        let copied = if whole { len } else { CONTIGUOUS };
        let mut rest = loan.adopt(pool);
        let mut buffer = pool.allocate(SizeClass::Small, HEADROOM)?;
        rest.copy_to(0, buffer.append(copied)?);
        let mut packet = Packet::new(buffer);
        packet.notes = rest.notes;
        rest.trim_front(copied);
        for fragment in rest.into_fragments() {
            packet.push(fragment).ok()?;
        }
        Some(packet)
    }

    fn check(&self) -> Result<(), DeviceError> {
        if self.failed {
            return Err(DeviceError { reason: "the scenario took the device away".into() });
        }
        Ok(())
    }
}

impl QueuePair for Port {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn pull(
        &mut self,
        pool: &Pool,
        budget: usize,
        source: &mut impl FrameSource,
    ) -> Result<usize, DeviceError> {
        self.check()?;
        self.reap(source);
        let mut taken = 0;
        while taken < budget.min(self.limits.0) && self.has_room() {
            let Some(mut packet) = source.next() else { break };
            taken += 1;
            let pieces = packet.fragments().len();
            assert!(pieces <= MAX_FRAGMENTS, "a packet of {pieces} pieces, which no device takes");
            let at = self.transmit(packet.len());
            self.transmitting.push_back((at, packet.notes.departure.take()));
            packet.notes.hash = None;
            self.counters.sent += 1;
            self.counters.sent_bytes += packet.len() as u64;
            self.counters.segmented += u64::from(packet.notes.segmentation.is_some());
            let lent = match packet.lend(pool) {
                Ok(loan) => Ok(loan),
                Err(packet) => {
                    let mut copy = Packet::new(Bytes::from(packet.to_vec()));
                    copy.notes = packet.notes;
                    copy.lend(pool)
                }
            };
            match lent {
                Ok(frame) => self.outbox.push(Sent { at, frame }),
                Err(_) => self.counters.refused += 1,
            }
        }
        self.reap(source);
        Ok(taken)
    }

    fn receive(
        &mut self,
        pool: &Pool,
        budget: usize,
        frames: &mut Vec<Packet>,
    ) -> Result<usize, DeviceError> {
        self.check()?;
        let before = frames.len();
        for _ in 0..budget.min(self.limits.1) {
            let Some(loan) = self.inbox.pop_front() else { break };
            let Some(packet) = Self::take_in(loan, pool) else {
                self.counters.no_buffer += 1;
                continue;
            };
            self.counters.received += 1;
            self.counters.received_bytes += packet.len() as u64;
            self.counters.coalesced += u64::from(packet.notes.segmentation.is_some());
            if let Some(handed_up) = &mut self.handed_up {
                handed_up.push(packet.to_vec());
            }
            frames.push(packet);
        }
        Ok(frames.len() - before)
    }

    fn link(&self) -> LinkState {
        if self.up { LinkState::Up } else { LinkState::Down }
    }

    fn counters(&self) -> DeviceCounters {
        self.counters
    }
}
