//! A queue of a host's card: its driver has one end, and the network the other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use sunstar_packet::{
    Capabilities, DeviceCounters, DeviceError, FrameSource, LinkState, Packet, Pool, QueuePair,
};
use sunstar_stack::time::Instant;

use super::clock::Clock;
use crate::frame::Frame;
use crate::port::{Port, Sent};

/// One queue, held from both sides.
#[derive(Clone)]
pub(super) struct Queue {
    clock: Clock,
    rings: Rc<RefCell<Rings>>,
}

struct Rings {
    port: Port,
    /// Frames that have come, and have no buffer of the host's yet.
    arrived: VecDeque<Frame>,
}

impl Queue {
    pub(super) fn new(port: Port, clock: Clock) -> Self {
        Self { clock, rings: Rc::new(RefCell::new(Rings { port, arrived: VecDeque::new() })) }
    }

    /// Puts a frame there for the driver, who is to be woken.
    pub(super) fn deliver(&self, frame: Frame) {
        self.rings.borrow_mut().arrived.push_back(frame);
    }

    /// The frames that have left since the last time.
    pub(super) fn take_sent(&self) -> Vec<Sent> {
        self.rings.borrow_mut().port.take_sent()
    }

    /// When the next frame on the transmit ring has left, and the driver is to be woken.
    pub(super) fn next_departure(&self) -> Option<Instant> {
        self.rings.borrow().port.next_departure()
    }

    /// Forgets every frame on the rings: their buffers go home.
    pub(super) fn clear(&self) {
        self.rings.borrow_mut().port.clear();
    }
}

impl QueuePair for Queue {
    fn capabilities(&self) -> Capabilities {
        self.rings.borrow().port.capabilities()
    }

    fn pull(
        &mut self,
        pool: &Pool,
        budget: usize,
        source: &mut impl FrameSource,
    ) -> Result<usize, DeviceError> {
        let port = &mut self.rings.borrow_mut().port;
        port.now = self.clock.now();
        port.pull(pool, budget, source)
    }

    fn receive(
        &mut self,
        pool: &Pool,
        budget: usize,
        frames: &mut Vec<Packet>,
    ) -> Result<usize, DeviceError> {
        let Rings { port, arrived } = &mut *self.rings.borrow_mut();
        arrived.drain(..).for_each(|frame| port.deliver(pool, &frame.bytes, frame.notes));
        port.receive(pool, budget, frames)
    }

    fn link(&self) -> LinkState {
        self.rings.borrow().port.link()
    }

    fn arm(&mut self, wants_room: bool) -> bool {
        let rings = self.rings.borrow();
        let has_received = !rings.arrived.is_empty() || rings.port.has_received();
        has_received || wants_room && rings.port.has_room_at(self.clock.now())
    }

    fn counters(&self) -> DeviceCounters {
        self.rings.borrow().port.counters()
    }
}
