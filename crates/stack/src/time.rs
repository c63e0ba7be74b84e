//! Points in time as the stack sees them: microseconds since an origin nobody needs to know.
//!
//! The stack reads no clock. Whoever drives it (the runtime, the simulator, a test) passes an [`Instant`]
//! into every turn, so the same inputs give the same outputs. All arithmetic saturates: no duration, however
//! hostile, can turn a deadline back or panic.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
pub use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time, in whole microseconds since an arbitrary origin that all shards of a host share.
///
/// The origin says nothing about the time of day. An `Instant` is meaningful only among instants of the
/// same host and run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Instant(u64);

impl Instant {
    /// The origin itself; nothing is earlier.
    pub const ZERO: Self = Self(0);

    /// The latest instant there is, about 584,000 years after the origin.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The instant `millis` milliseconds after the origin, or [`Instant::MAX`] where that is later.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the origin, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// How long after `earlier` this is; zero when it is not after it at all.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Whole microseconds in `duration`, any part of one counted as a whole.
fn micros_rounded_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// `duration` later. Parts of a microsecond round up, so that a deadline is never early; the sum stops
    /// at [`Instant::MAX`].
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros_rounded_up(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// `duration` earlier, but never before [`Instant::ZERO`]. Parts of a microsecond round up, so that
    /// `instant + duration - duration` is `instant` again.
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros_rounded_up(duration)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// The same as [`Instant::saturating_since`].
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Display for Instant {
    /// Seconds with all six places of the microseconds, as in `12.000345s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_microsecond_makes_a_deadline_later_and_never_earlier() {
        let start = Instant::from_micros(10);
        assert_eq!(start + Duration::from_nanos(1), Instant::from_micros(11));
        assert_eq!(start + Duration::from_nanos(1_000), Instant::from_micros(11));
        assert_eq!(start + Duration::from_nanos(1_001), Instant::from_micros(12));
        assert_eq!(start + Duration::from_nanos(1_001) - Duration::from_nanos(1_001), start);
    }

    #[test]
    fn arithmetic_stops_at_both_ends_of_time() {
        assert_eq!(Instant::MAX + Duration::from_micros(1), Instant::MAX);
        assert_eq!(Instant::ZERO + Duration::MAX, Instant::MAX);
        assert_eq!(Instant::from_micros(5) - Duration::from_micros(6), Instant::ZERO);
        assert_eq!(Instant::from_millis(u64::MAX), Instant::MAX);
        assert_eq!(Instant::ZERO - Instant::MAX, Duration::ZERO);
    }

    #[test]
    fn the_difference_of_two_instants_added_back_gives_the_later_one() {
        let (earlier, later) = (Instant::from_millis(3), Instant::from_micros(3_456));
        assert_eq!(later - earlier, Duration::from_micros(456));
        assert_eq!(earlier + (later - earlier), later);
        assert_eq!(later.saturating_since(earlier), later - earlier);
        assert_eq!(later.as_millis(), 3);
    }

    #[test]
    fn an_instant_prints_as_seconds_with_microseconds() {
        assert_eq!(Instant::from_micros(12_000_345).to_string(), "12.000345s");
    }
}
