//! How long to wait for an answer before a message is sent again (RFC 2131 sections 4.1 and 4.4.5).

use core::time::Duration;

use crate::config::DhcpConfig;
use crate::random::Random;

/// However a client is configured, and however short its lease: no less than this.
const LEAST: Duration = Duration::from_secs(1);

/// What keeps a lease's last requests apart, as a part of its whole length, where that is short.
const SHORT_LEASE_PART: u32 = 16;

/// Microseconds; those of any sensible configuration fit.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A time of that range, left to chance.
pub(super) fn between(least: Duration, most: Duration, random: &mut Random) -> Duration {
    Duration::from_micros(random.range(micros(least)..=micros(most)))
}

/// The wait after the `sent`th message: 4, 8, 16, 32, 64 seconds, each a second longer or shorter.
pub(super) fn backoff(config: &DhcpConfig, sent: u32, random: &mut Random) -> Duration {
    let wait = doubled(config.retry, sent, config.max_retry);
    let jitter = config.retry_jitter;
    between(wait.saturating_sub(jitter), wait.saturating_add(jitter), random).max(LEAST)
}

/// `first`, doubled for every time but the first.
pub(super) fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    let factor = 1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(most)
}

/// The wait after a request to have a lease of `length` renewed, `remaining` before something else is to be
/// done: half of that, but not too soon.
pub(super) fn renewal(config: &DhcpConfig, remaining: Duration, length: Duration) -> Duration {
    let least = (length / SHORT_LEASE_PART).min(config.min_renewal_retry).max(LEAST);
    (remaining / 2).max(least)
}
