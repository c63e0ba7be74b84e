//! The limit on ICMP errors (RFC 1812 section 4.3.2.8): a bucket that refills by a random amount, so that an
//! outsider who counts answers learns nothing (CVE-2020-25705).

use crate::random::Random;
use crate::time::Instant;

#[derive(Debug, Default)]
pub(super) struct RateLimit {
    tokens: u64,
    refilled: Option<Instant>,
}

impl RateLimit {
    /// How often the bucket is refilled, in microseconds.
    const INTERVAL: u64 = 50_000;

    /// Whether one more error may go, at `rate` a second on the average.
    pub(super) fn allow(&mut self, now: Instant, rate: u32, random: &mut Random) -> bool {
        let since = self.refilled.map(|last| now.saturating_since(last).as_micros() as u64);
        let intervals = since.map_or(1, |since| since / Self::INTERVAL);
        if intervals > 0 {
            // Half to one and a half times the fair share, the bucket never above one such share.
            let share = (u64::from(rate) * Self::INTERVAL / 1_000_000).max(1);
            self.tokens = share.div_ceil(2) + random.below(share + 1);
            self.refilled = Some(now);
        }
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_limited_and_the_limit_is_not_the_same_each_time() {
        let mut random = Random::from_seed(1);
        let mut limit = RateLimit::default();
        let mut counts = Vec::new();
        for interval in 0..200 {
            let now = Instant::from_micros(interval * RateLimit::INTERVAL);
            counts.push((0..1_000).filter(|_| limit.allow(now, 1_000, &mut random)).count());
        }
        let total: usize = counts.iter().sum();
        assert!((8_000..12_500).contains(&total), "10 s at about 1,000 a second: {total}");
        counts.sort_unstable();
        counts.dedup();
        assert!(counts.len() > 10, "jittered: {counts:?}");
    }
}
