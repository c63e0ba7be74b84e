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
    }

    /// Something new was acknowledged: the timeout is what the samples say again (RFC 6298 section 5).
    pub(crate) fn reset_backoff(&mut self) {
        self.backoff = 0;
    }

    /// RFC 6298 (5.5): the timeout doubles.
    pub(crate) fn back_off(&mut self) {
        self.backoff += 1;
    }

    /// Timeouts in a row.
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
