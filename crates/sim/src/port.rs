//! A host's own queue pair: frames leave it for the link, and come to it from there. What has left is copied, so that its
//! buffers go home at once, as from a card that has sent it; what comes takes a buffer of the host's.

use std::collections::VecDeque;

use sunstar_packet::{
    Capabilities, DeviceCounters, DeviceError, FrameSource, LinkState, MAX_FRAGMENTS, Notes, Packet, Pool,
    QueuePair, SlotId,
};
use sunstar_stack::time::Instant;

use crate::frame::Frame;

/// A frame that has left a host.
pub(crate) struct Sent {
    /// When its last bit is on the wire.
    pub(crate) at: Instant,
    pub(crate) frame: Frame,
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
    /// Frames on the transmit ring, each with its buffers, and when it has left.
    transmitting: VecDeque<(Instant, Packet)>,
    /// When the wire is free for the next frame, in nanoseconds.
    free_at: u64,
    outbox: Vec<Sent>,
    inbox: VecDeque<Packet>,
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

    /// Puts a frame on the receive ring, in a buffer of the host's. Without one, or without a place on the ring, it is lost, as
    /// on a card.
    pub(crate) fn deliver(&mut self, pool: &Pool, frame: &[u8], notes: Notes) {
        self.deliver_before(pool, (frame, &[]), notes);
    }

    /// The same with other bytes behind the frame, in the same memory.
    pub(crate) fn deliver_before(&mut self, pool: &Pool, (frame, behind): (&[u8], &[u8]), notes: Notes) {
        if self.failed || self.inbox.len() >= self.receive_ring as usize {
            return;
        }
        let buffer = match behind {
            [] => pool.copy_of(frame),
            _ => pool.copy_of(&[frame, behind].concat()),
        };
        let Some(mut buffer) = buffer else {
            self.counters.no_buffer += 1;
            return;
        };
        buffer.truncate(frame.len());
        let mut packet = Packet::new(buffer);
        packet.notes = notes;
        self.inbox.push_back(packet);
    }

    /// Frames that went through it, both ways.
    pub(crate) fn frames(&self) -> u64 {
        self.counters.received + self.counters.sent
    }

    /// Whether a frame waits on the receive ring.
    pub(crate) fn has_received(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// The slots of the frames on both rings.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotId> {
        self.inbox.iter().chain(self.transmitting.iter().map(|(_, packet)| packet)).flat_map(Packet::slots)
    }

    /// Whether the transmit ring takes another frame.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_at(self.now)
    }

    /// Whether it will at that time.
    pub(crate) fn has_room_at(&self, now: Instant) -> bool {
        // In the order in which they leave.
        let waiting =
            self.transmitting.len() - self.transmitting.partition_point(|(leaves, _)| *leaves <= now);
        self.up && !self.stalled && waiting < self.ring
    }

    /// When the first frame on the transmit ring has left.
    pub(crate) fn next_departure(&self) -> Option<Instant> {
        self.transmitting.front().map(|(leaves, _)| *leaves)
    }

    /// Puts a frame among those that left, though the host never sent it.
    pub(crate) fn say(&mut self, frame: Sent) {
        self.outbox.push(frame);
    }

    /// The frames that left in this turn.
    pub(crate) fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.outbox)
    }

    /// The descriptor fails, and nobody hears any more of what was on the transmit ring.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
        self.inbox.clear();
        self.transmitting.clear();
    }

    /// Forgets every frame on the rings: their buffers go home.
    pub(crate) fn clear(&mut self) {
        self.inbox.clear();
        self.outbox.clear();
        self.transmitting.clear();
    }

    fn reap(&mut self, source: &mut impl FrameSource) {
        while let Some((_, packet)) = self.transmitting.pop_front_if(|(leaves, _)| *leaves <= self.now) {
            if let Some(departure) = packet.notes.departure {
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

    fn pull(&mut self, _: &Pool, budget: usize, source: &mut impl FrameSource) -> Result<usize, DeviceError> {
        self.check()?;
        self.reap(source);
        let mut taken = 0;
        while taken < budget.min(self.limits.0) && self.has_room() {
            let Some(packet) = source.next() else { break };
            taken += 1;
            let pieces = packet.fragments().len();
            assert!(pieces <= MAX_FRAGMENTS, "a packet of {pieces} pieces, which no device takes");
            let at = self.transmit(packet.len());
            self.counters.sent += 1;
            self.counters.sent_bytes += packet.len() as u64;
            self.counters.segmented += u64::from(packet.notes.segmentation.is_some());
            let notes = Notes { hash: None, departure: None, ..packet.notes };
            self.outbox
                .push(Sent { at, frame: Frame { bytes: packet.to_vec().into(), notes, damaged: false } });
            self.transmitting.push_back((at, packet));
        }
        self.reap(source);
        Ok(taken)
    }

    fn receive(&mut self, _: &Pool, budget: usize, frames: &mut Vec<Packet>) -> Result<usize, DeviceError> {
        self.check()?;
        let before = frames.len();
        for _ in 0..budget.min(self.limits.1) {
            let Some(packet) = self.inbox.pop_front() else { break };
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
