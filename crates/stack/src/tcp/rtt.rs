//! The round-trip time, and the retransmission timeout made of it (RFC 6298).

use core::time::Duration;

use serde::Serialize;

use crate::config::TcpConfig;

/// The estimator of one connection.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct RttEstimator {
    /// Smoothed round-trip time; `None` before the first sample.
    pub(crate) srtt: Option<Duration>,
    /// Its variation.
    pub(crate) rttvar: Duration,
    /// The least sample.
    pub(crate) min: Duration,
    rto: Duration,
    backoff: u32,
}

/// G of RFC 6298: the clock's granularity.
const GRANULARITY: Duration = Duration::from_millis(1);

/// The timeout after a SYN that timed out (RFC 6298 (5.7)).
const AFTER_SYN_TIMEOUT: Duration = Duration::from_secs(3);

impl RttEstimator {
    pub(crate) fn new(config: &TcpConfig) -> Self {
        Self { srtt: None, rttvar: Duration::ZERO, min: Duration::MAX, rto: config.initial_rto, backoff: 0 }
    }

    /// A sample, of a segment that was sent once (Karn's rule is the caller's).
    pub(crate) fn on_sample(&mut self, sample: Duration, config: &TcpConfig) {
        self.min = self.min.min(sample);
        let srtt = match self.srtt {
            // RFC 6298 (2.2).
            None => {
                self.rttvar = sample / 2;
                sample
            }
            // RFC 6298 (2.3), alpha 1/8, beta 1/4.
            Some(srtt) => {
                self.rttvar = self.rttvar * 3 / 4 + srtt.abs_diff(sample) / 4;
                srtt * 7 / 8 + sample / 8
            }
        };
        self.srtt = Some(srtt);
        let rto = srtt + (self.rttvar * 4).max(GRANULARITY);
        self.rto = rto.clamp(config.min_rto, config.max_rto);
        // RFC 6298 section 5: a sample, and nothing less, ends the backing off. An ACK of what was sent twice says
        // nothing of the path, which may have become slower than the timeout.
        self.backoff = 0;
    }

    /// The handshake is complete, but its SYN had timed out: without a sample the timeout is three seconds (RFC 6298
    /// (5.7)).
    pub(crate) fn on_syn_timed_out(&mut self) {
        if self.srtt.is_none() {
            self.rto = self.rto.max(AFTER_SYN_TIMEOUT);
        }
        self.backoff = 0;
    }

    /// What was waited for was the peer's window, and not the path.
    pub(crate) fn reset_backoff(&mut self) {
        self.backoff = 0;
    }

    /// RFC 6298 (5.5): the timeout doubles.
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// How often the timeout was doubled.
    pub(crate) fn backoff(&self) -> u32 {
        self.backoff
    }

    /// The timeout now, backed off.
    pub(crate) fn rto(&self, config: &TcpConfig) -> Duration {
        let factor = 1_u32.checked_shl(self.backoff).unwrap_or(u32::MAX);
        self.rto.saturating_mul(factor).min(config.max_rto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_samples_within_its_bounds() {
        let config = TcpConfig::default();
        let mut rtt = RttEstimator::new(&config);
        assert_eq!(rtt.rto(&config), Duration::from_secs(1));
        rtt.on_sample(Duration::from_millis(100), &config);
        assert_eq!(rtt.rto(&config), Duration::from_millis(300), "R + 4 * R/2");
        for _ in 0..100 {
            rtt.on_sample(Duration::from_millis(100), &config);
        }
        assert_eq!(rtt.rto(&config), config.min_rto);
        for _ in 0..100 {
            rtt.back_off();
        }
        assert_eq!(rtt.rto(&config), config.max_rto);
        rtt.reset_backoff();
        assert_eq!(rtt.rto(&config), config.min_rto);
    }
}
