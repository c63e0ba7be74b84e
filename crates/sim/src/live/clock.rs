//! The time of a live network, which is its executor's.

use std::time::Duration;

use sunstar_stack::time::Instant;

/// The executor's clock, counted from the start of the network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// When all of it started. The executor's timers fire at whole milliseconds after this.
    pub(super) origin: tokio::time::Instant,
}

impl Clock {
    /// A clock that starts now, at [`Instant::ZERO`].
    pub(super) fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    /// The time now.
    pub(super) fn now(self) -> Instant {
        Instant::ZERO + Duration::from_micros(self.origin.elapsed().as_micros() as u64)
    }

    /// The same point in time as the executor knows it.
    pub(super) fn at(self, instant: Instant) -> tokio::time::Instant {
        self.origin + Duration::from_micros(instant.as_micros())
    }
}
