//! The one clock of a process: every shard's time is microseconds since the runtime started.

use std::time::Duration;

use sunstar_stack::time::Instant;

/// Turns the system's monotonic clock into the stack's time. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock that starts at [`Instant::ZERO`].
    pub(crate) fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Instant {
        let micros = self.origin.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the Unix epoch at this moment, for captures.
    pub(crate) fn unix_nanoseconds() -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The same point in time as an executor's timer knows it; `None` beyond what it can express.
    pub(crate) fn to_system(self, instant: Instant) -> Option<std::time::Instant> {
        self.origin.checked_add(Duration::from_micros(instant.as_micros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_clocks_agree_and_the_end_of_time_is_no_overflow() {
        let clock = Clock::start();
        let before = clock.now();
        let system = clock.to_system(before).unwrap();
        assert!(system <= std::time::Instant::now());
        assert!(clock.now() >= before);
        let _ = clock.to_system(Instant::MAX);
    }
}
