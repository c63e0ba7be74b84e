//! The limit on ACKs that answer what is not acceptable (RFC 5961 section 10, per connection: CVE-2016-5696), and
//! that keeps two desynchronised ends from storming each other.

use core::time::Duration;

use crate::time::Instant;

/// At most one answer each half second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChallengeLimit {
    next: Instant,
}

impl Default for ChallengeLimit {
    fn default() -> Self {
        Self { next: Instant::ZERO }
    }
}

impl ChallengeLimit {
    const INTERVAL: Duration = Duration::from_millis(500);

    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + Self::INTERVAL;
        true
    }
}
