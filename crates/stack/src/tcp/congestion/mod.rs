//! Congestion control: what may be in flight. One trait, one file an algorithm.

mod newreno;

use core::time::Duration;

pub(crate) use newreno::NewReno;

use crate::time::Instant;

/// An algorithm that decides how many bytes may be in flight. Windows are in bytes.
pub(crate) trait CongestionControl {
    /// The congestion window.
    fn window(&self) -> u32;

    /// The slow-start threshold.
    fn ssthresh(&self) -> u32;

    /// New data was acknowledged outside of fast recovery, and the window had been used.
    fn on_ack(&mut self, now: Instant, acknowledged: u32, rtt: Option<Duration>);

    /// Loss was detected by duplicate acknowledgements; `flight` bytes were outstanding. Once a recovery.
    fn on_loss(&mut self, now: Instant, flight: u32);

    /// Fast recovery is over; `flight` bytes are outstanding.
    fn on_recovered(&mut self, now: Instant, flight: u32);

    /// The retransmission timer fired, for the first time for this data or `again`.
    fn on_timeout(&mut self, now: Instant, flight: u32, again: bool);

    /// Nothing was sent for more than a timeout (RFC 5681 section 4.1).
    fn on_idle(&mut self);

    /// The path takes segments of another size from now on. The window is in bytes, and stays.
    fn on_mss_changed(&mut self, mss: u32);

    /// The segment size became known.
    fn set_mss(&mut self, mss: u32, initial_segments: u32);
}

/// The algorithm of a connection: plain data, dispatched without a pointer.
#[derive(Clone, Debug)]
pub(crate) enum Controller {
    NewReno(NewReno),
}

impl Controller {
    pub(crate) fn new(mss: u32, initial_segments: u32) -> Self {
        Controller::NewReno(NewReno::new(mss, initial_segments))
    }
}

impl CongestionControl for Controller {
    fn window(&self) -> u32 {
        match self {
            Controller::NewReno(algorithm) => algorithm.window(),
        }
    }

    fn ssthresh(&self) -> u32 {
        match self {
            Controller::NewReno(algorithm) => algorithm.ssthresh(),
        }
    }

    fn on_ack(&mut self, now: Instant, acknowledged: u32, rtt: Option<Duration>) {
        match self {
            Controller::NewReno(algorithm) => algorithm.on_ack(now, acknowledged, rtt),
        }
    }

    fn on_loss(&mut self, now: Instant, flight: u32) {
        match self {
            Controller::NewReno(algorithm) => algorithm.on_loss(now, flight),
        }
    }

    fn on_recovered(&mut self, now: Instant, flight: u32) {
        match self {
            Controller::NewReno(algorithm) => algorithm.on_recovered(now, flight),
        }
    }

    fn on_timeout(&mut self, now: Instant, flight: u32, again: bool) {
        match self {
            Controller::NewReno(algorithm) => algorithm.on_timeout(now, flight, again),
        }
    }

    fn on_idle(&mut self) {
        match self {
            Controller::NewReno(algorithm) => algorithm.on_idle(),
        }
    }

    fn on_mss_changed(&mut self, mss: u32) {
        match self {
            Controller::NewReno(algorithm) => algorithm.on_mss_changed(mss),
        }
    }

    fn set_mss(&mut self, mss: u32, initial_segments: u32) {
        match self {
            Controller::NewReno(algorithm) => algorithm.set_mss(mss, initial_segments),
        }
    }
}
