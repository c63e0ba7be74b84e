//! The one clock of a process: every shard's time is microseconds since the runtime started.
//!
//! It is the executor's clock, which is the system's unless somebody has stopped it: a simulator does, and then the stack and
//! the timers of the tasks on it still have one time.

use std::time::Duration;

use sunstar_stack::time::Instant;

/// Turns the executor's clock into the stack's time. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// A clock that starts at [`Instant::ZERO`].
    pub(crate) fn start() -> Self {
        Self::since(tokio::time::Instant::now())
    }

    /// A clock that was at [`Instant::ZERO`] at `origin`.
    pub(crate) fn since(origin: tokio::time::Instant) -> Self {
        Self { origin }
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

    /// The same point in time as the executor's timers know it; `None` beyond what they can express.
    pub(crate) fn to_executor(self, instant: Instant) -> Option<tokio::time::Instant> {
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
        let executor = clock.to_executor(before).unwrap();
        assert!(executor <= tokio::time::Instant::now());
        assert!(clock.now() >= before);
        let _ = clock.to_executor(Instant::MAX);
    }
}
