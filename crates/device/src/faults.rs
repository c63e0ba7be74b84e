//! A device with faults: frames lost, doubled, damaged and overtaken, each time in the same way for the same seed.

mod impairment;

use std::os::fd::BorrowedFd;

use sunstar_packet::{
    Capabilities, Departure, DeviceCounters, DeviceError, FrameSource, LinkState, Packet, Pool, QueuePair,
};

use impairment::{Impairment, StoredFrame};

/// How often each fault strikes a frame: probabilities from 0 (never) to 1 (always).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultRates {
    /// The frame is gone.
    pub loss: f64,
    /// The frame comes twice.
    pub duplication: f64,
    /// One bit behind the link header is flipped. Checksums that were vouched for or unfinished are
    /// neither any more, so that the damage can be found. A frame that is not IP is lost instead, as a network
    /// card would see to: it has no checksum of its own.
    pub corruption: f64,
    /// One to three later frames overtake the frame; all of them do that are there when traffic pauses.
    pub reordering: f64,
}

/// The faults of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultConfig {
    /// What all chance is drawn from.
    pub seed: u64,
    /// Faults of received frames.
    pub receive: FaultRates,
    /// Faults of sent frames.
    pub transmit: FaultRates,
}

/// How often each fault has struck, both directions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounters {
    /// Frames lost, those that were damaged beyond notice included.
    pub lost: u64,
    /// Frames that came twice.
    pub duplicated: u64,
    /// Frames with a flipped bit.
    pub corrupted: u64,
    /// Frames that were held back.
    pub reordered: u64,
}

/// Any device, with faults. Without any it changes nothing.
///
/// A frame that is held back or comes twice is kept as a copy outside any pool. While there are such
/// frames the device is not put to sleep.
#[derive(Debug)]
pub struct Faults<D> {
    device: D,
    receive: Impairment,
    transmit: Impairment,
}

impl<D: QueuePair> Faults<D> {
    /// Wraps a device.
    pub fn new(device: D, config: &FaultConfig) -> Self {
        let medium = device.capabilities().medium;
        Self {
            device,
            receive: Impairment::new(config.receive, config.seed, medium),
            // Another stream of chance: what is sent must not suffer what is received does.
            transmit: Impairment::new(config.transmit, !config.seed, medium),
        }
    }

    /// How often each fault has struck.
    pub fn fault_counters(&self) -> FaultCounters {
        let (one, other) = (self.receive.counters(), self.transmit.counters());
        FaultCounters {
            lost: one.lost + other.lost,
            duplicated: one.duplicated + other.duplicated,
            corrupted: one.corrupted + other.corrupted,
            reordered: one.reordered + other.reordered,
        }
    }
}

/// Impairs what a device pulls.
struct ImpairedSource<'a, S> {
    source: &'a mut S,
    impairment: &'a mut Impairment,
    /// Frames that may still be taken from the source.
    budget: usize,
}

impl<S: FrameSource> FrameSource for ImpairedSource<'_, S> {
    fn next(&mut self) -> Option<Packet> {
        loop {
            if let Some(stored) = self.impairment.take_ready() {
                return Some(stored.into_packet());
            }
            self.budget = self.budget.checked_sub(1)?;
            let Some(packet) = self.source.next() else {
                self.impairment.pause();
                return self.impairment.take_ready().map(StoredFrame::into_packet);
            };
            let departure = packet.notes.departure;
            match self.impairment.pass(packet) {
                impairment::Fate::Passes(packet) => return Some(packet),
                impairment::Fate::Stored => {}
                impairment::Fate::Lost => {
                    if let Some(departure) = departure {
                        self.source.departed(departure);
                    }
                }
            }
        }
    }

    fn departed(&mut self, departure: Departure) {
        self.source.departed(departure);
    }
}

impl<D: QueuePair> QueuePair for Faults<D> {
    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    fn pull(
        &mut self,
        pool: &Pool,
        budget: usize,
        source: &mut impl FrameSource,
    ) -> Result<usize, DeviceError> {
        let impairment = &mut self.transmit;
        self.device.pull(pool, budget, &mut ImpairedSource { source, impairment, budget })
    }

    fn receive(
        &mut self,
        pool: &Pool,
        budget: usize,
        frames: &mut Vec<Packet>,
    ) -> Result<usize, DeviceError> {
        let before = frames.len();
        let mut arrived = Vec::new();
        // Twice the budget of steps, so that a frame lost does not have more read without end.
        for _ in 0..budget.saturating_mul(2) {
            if frames.len() - before == budget {
                break;
            }
            if let Some(stored) = self.receive.take_ready() {
                frames.push(stored.into_packet());
                continue;
            }
            // One at a time: a frame may become two, and no more than the budget may come out.
            if self.device.receive(pool, 1, &mut arrived)? == 0 {
                if !self.receive.pause() {
                    break;
                }
                continue;
            }
            for packet in arrived.drain(..) {
                if let impairment::Fate::Passes(packet) = self.receive.pass(packet) {
                    frames.push(packet);
                }
            }
        }
        Ok(frames.len() - before)
    }

    fn link(&self) -> LinkState {
        self.device.link()
    }

    fn wants_room(&self) -> bool {
        self.device.wants_room()
    }

    fn arm(&mut self, wants_room: bool) -> bool {
        self.receive.holds_any() || self.transmit.holds_any() || self.device.arm(wants_room)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.device.descriptor()
    }

    fn counters(&self) -> DeviceCounters {
        self.device.counters()
    }
}

#[cfg(test)]
mod tests;
