//! The rings between one shard and one sibling.

use std::sync::Arc;

use rtrb::{Consumer, Producer, PushError};
use sunstar_device::Alarm;
use sunstar_packet::Loan;
use sunstar_stack::{Arrival, Control};

/// A packet on its way, and how it arrived.
type Forwarded = (Arrival, Loan);

/// One end of the rings that join two shards.
#[derive(Debug)]
pub(super) struct Link {
    outgoing: Producer<Forwarded>,
    incoming: Consumer<Forwarded>,
    told: Producer<Control>,
    heard: Consumer<Control>,
    /// What the sibling is woken by.
    alarm: Arc<Alarm>,
    /// Whether there is something new for it.
    touched: bool,
}

impl Link {
    pub(super) fn new(
        (outgoing, incoming): (Producer<Forwarded>, Consumer<Forwarded>),
        (told, heard): (Producer<Control>, Consumer<Control>),
        alarm: Arc<Alarm>,
    ) -> Self {
        Self { outgoing, incoming, told, heard, alarm, touched: false }
    }

    #[expect(clippy::result_large_err, reason = "the loan itself comes back, by value as everywhere")]
    pub(super) fn forward(&mut self, arrival: Arrival, loan: Loan) -> Result<(), Loan> {
        self.touched = true;
        self.outgoing.push((arrival, loan)).map_err(|PushError::Full((_, loan))| loan)
    }

    pub(super) fn receive(&mut self) -> Option<Forwarded> {
        self.incoming.pop().ok()
    }

    pub(super) fn tell(&mut self, message: Control) -> bool {
        self.touched = true;
        self.told.push(message).is_ok()
    }

    pub(super) fn hear(&mut self) -> Option<Control> {
        self.heard.pop().ok()
    }

    /// Packets that wait here.
    pub(super) fn depth(&self) -> usize {
        self.incoming.slots()
    }

    pub(super) fn has_something(&self) -> bool {
        !self.incoming.is_empty() || !self.heard.is_empty()
    }

    /// Wakes the sibling if it sleeps and there is something new for it.
    pub(super) fn flush(&mut self) {
        if std::mem::take(&mut self.touched) {
            self.alarm.ring(Alarm::FRAMES);
        }
    }
}
