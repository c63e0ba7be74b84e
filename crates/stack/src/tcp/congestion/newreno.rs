//! NewReno: slow start, congestion avoidance and the halving of RFC 5681; initial window of RFC 6928; byte
//! counting of RFC 3465.

use core::time::Duration;

use super::CongestionControl;
use crate::time::Instant;

/// The state of NewReno; all in bytes.
#[derive(Clone, Debug)]
pub(crate) struct NewReno {
    mss: u32,
    cwnd: u32,
    ssthresh: u32,
    initial_window: u32,
    /// Acknowledged in congestion avoidance since the window last grew.
    counted: u32,
}

/// No window above this: more than the largest scaled window is never used.
const MAX_WINDOW: u32 = 1 << 30;

impl NewReno {
    pub(crate) fn new(mss: u32, initial_segments: u32) -> Self {
        let initial_window = initial(mss, initial_segments);
        Self { mss, cwnd: initial_window, ssthresh: MAX_WINDOW, initial_window, counted: 0 }
    }

    fn halve(&mut self, flight: u32) {
        // RFC 5681 equation 4 sets an upper bound. What was sent during a recovery for what the peer reported makes
        // the flight larger than the network ever held.
        self.ssthresh = (flight.min(self.cwnd) / 2).max(2 * self.mss);
        self.counted = 0;
    }
}

fn initial(mss: u32, segments: u32) -> u32 {
    // RFC 6928: min (10*MSS, max (2*MSS, 14600)).
    (segments * mss).min((2 * mss).max(segments * 1_460))
}

impl CongestionControl for NewReno {
    fn window(&self) -> u32 {
        self.cwnd
    }

    fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    fn on_ack(&mut self, _: Instant, acknowledged: u32, _: Option<Duration>) {
        if self.cwnd < self.ssthresh {
            // Byte counting without RFC 3465's limit per ACK: a coalescing receiver acknowledges many segments at once.
            self.cwnd =
                self.cwnd.saturating_add(acknowledged).min(self.ssthresh.max(self.cwnd)).min(MAX_WINDOW);
            return;
        }
        self.counted = self.counted.saturating_add(acknowledged);
        while self.counted >= self.cwnd {
            self.counted -= self.cwnd;
            self.cwnd = (self.cwnd + self.mss).min(MAX_WINDOW);
        }
    }

    fn on_loss(&mut self, _: Instant, flight: u32) {
        self.halve(flight);
        self.cwnd = self.ssthresh;
    }

    fn on_recovered(&mut self, _: Instant, flight: u32) {
        // RFC 6582 section 3.2, step 3, option 1: no burst when little is outstanding.
        self.cwnd = self.ssthresh.min(flight.max(self.mss) + self.mss);
    }

    fn on_timeout(&mut self, _: Instant, flight: u32, again: bool) {
        // RFC 5681 section 3.1: a segment that times out again does not halve again.
        if !again {
            self.halve(flight);
        }
        self.cwnd = self.mss;
    }

    fn on_idle(&mut self) {
        self.cwnd = self.cwnd.min(self.initial_window);
    }

    fn on_mss_changed(&mut self, mss: u32) {
        self.mss = mss;
        self.cwnd = self.cwnd.max(mss);
        // What the window may be set to later has to hold such segments, too: RFC 5681 equation 4, RFC 6928.
        self.ssthresh = self.ssthresh.max(2 * mss);
        self.initial_window = self.initial_window.max(2 * mss);
    }

    fn set_mss(&mut self, mss: u32, initial_segments: u32) {
        *self = Self::new(mss, initial_segments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    #[test]
    fn slow_start_doubles_and_avoidance_adds_a_segment_a_window() {
        let mut reno = NewReno::new(1_000, 10);
        assert_eq!(reno.window(), 10_000);
        reno.on_ack(NOW, 10_000, None);
        assert_eq!(reno.window(), 20_000);
        reno.on_loss(NOW, 20_000);
        assert_eq!((reno.window(), reno.ssthresh()), (10_000, 10_000));
        reno.on_ack(NOW, 5_000, None);
        reno.on_ack(NOW, 5_000, None);
        assert_eq!(reno.window(), 11_000);
    }

    #[test]
    fn segments_that_become_larger_fit_into_the_window_after_a_recovery_and_after_a_pause() {
        let recovered = |reno: &mut NewReno| reno.on_recovered(NOW, 0);
        for then in [recovered, NewReno::on_idle] {
            let mut reno = NewReno::new(100, 10);
            reno.on_loss(NOW, 400);
            reno.on_mss_changed(1_460);
            then(&mut reno);
            assert!(reno.window() >= 1_460, "{reno:?}");
        }
    }

    #[test]
    fn a_second_timeout_of_the_same_data_halves_nothing() {
        let mut reno = NewReno::new(1_000, 10);
        reno.on_ack(NOW, 30_000, None);
        reno.on_timeout(NOW, 90_000, false);
        reno.on_timeout(NOW, 1_000, true);
        assert_eq!((reno.window(), reno.ssthresh()), (1_000, 20_000));
    }
}
