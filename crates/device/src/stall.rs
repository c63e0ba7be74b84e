//! A device whose transmit side can be closed for a while, to see what its users do meanwhile.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sunstar_packet::{
    Capabilities, DeviceCounters, DeviceError, FrameSource, LinkState, Packet, Pool, QueuePair,
};

/// Any device, with a transmit side that its [`StallControl`] closes and reopens. Receiving goes on.
///
/// Opening wakes nobody. So an end that waits for room is not put to sleep while the transmit side is
/// closed.
#[derive(Debug)]
pub struct Stall<D> {
    device: D,
    control: StallControl,
}

/// Closes and reopens the transmit side of a [`Stall`]; from any thread, clones control the same one.
#[derive(Clone, Debug, Default)]
pub struct StallControl {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: AtomicBool,
    asked: AtomicU64,
}

impl StallControl {
    /// From now on the device asks for no frame.
    pub fn close(&self) {
        self.state.closed.store(true, Ordering::Release);
    }

    /// The device asks for frames again.
    pub fn open(&self) {
        self.state.closed.store(false, Ordering::Release);
    }

    /// Whether the transmit side is closed.
    pub fn is_closed(&self) -> bool {
        self.state.closed.load(Ordering::Acquire)
    }

    /// How often [`QueuePair::pull`] was called in vain since the device was wrapped.
    pub fn asked_while_closed(&self) -> u64 {
        self.state.asked.load(Ordering::Relaxed)
    }
}

impl<D: QueuePair> Stall<D> {
    /// Wraps a device, its transmit side open, and gives the control over it.
    pub fn new(device: D) -> (Self, StallControl) {
        let control = StallControl::default();
        (Self { device, control: control.clone() }, control)
    }
}

impl<D: QueuePair> QueuePair for Stall<D> {
    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    fn pull(
        &mut self,
        pool: &Pool,
        budget: usize,
        source: &mut impl FrameSource,
    ) -> Result<usize, DeviceError> {
        if self.control.is_closed() {
            self.control.state.asked.fetch_add(1, Ordering::Relaxed);
            return Ok(0);
        }
        self.device.pull(pool, budget, source)
    }

    fn receive(
        &mut self,
        pool: &Pool,
        budget: usize,
        frames: &mut Vec<Packet>,
    ) -> Result<usize, DeviceError> {
        self.device.receive(pool, budget, frames)
    }

    fn link(&self) -> LinkState {
        self.device.link()
    }

    fn wants_room(&self) -> bool {
        self.device.wants_room()
    }

    fn arm(&mut self, wants_room: bool) -> bool {
        let closed = self.control.is_closed();
        self.device.arm(wants_room && !closed) || (wants_room && closed)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.device.descriptor()
    }

    fn counters(&self) -> DeviceCounters {
        self.device.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Source, bytes_of, packet, pool, receive_all};
    use crate::wire::{WireConfig, pair};

    #[test]
    fn a_closed_transmit_side_asks_for_nothing_and_receiving_goes_on() {
        let pool = pool();
        let (left, mut right) = pair(&WireConfig::default()).unwrap();
        let (mut left, control) = Stall::new(left);
        control.close();
        let mut source = Source::of([packet(&pool, b"held back")]);
        for _ in 0..3 {
            assert_eq!(left.pull(&pool, 64, &mut source).unwrap(), 0);
        }
        assert_eq!((source.asked, control.asked_while_closed()), (0, 3));
        right.pull(&pool, 64, &mut Source::of([packet(&pool, b"inwards")])).unwrap();
        assert_eq!(bytes_of(&receive_all(&mut left, &pool)), [b"inwards"]);
        control.open();
        assert_eq!(left.pull(&pool, 64, &mut source).unwrap(), 1);
        assert_eq!(bytes_of(&receive_all(&mut right, &pool)), [b"held back"]);
    }

    #[test]
    fn an_end_that_waits_for_a_closed_side_is_not_put_to_sleep() {
        let (left, _right) = pair(&WireConfig::default()).unwrap();
        let (mut left, control) = Stall::new(left);
        control.close();
        assert!(left.arm(true), "nobody would wake it when the side opens");
        assert!(!left.arm(false));
    }
}
