//! What ping says at its end: losses, and the round-trip times' minimum, average, maximum and deviation.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// What came of the requests so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Statistics {
    /// Requests sent.
    pub(super) transmitted: u64,
    /// Requests answered.
    pub(super) received: u64,
    /// Further answers to requests that were answered already.
    pub(super) duplicates: u64,
    /// Answers whose data was not that of the request.
    pub(super) damaged: u64,
    /// Requests to which something else was said: that they cannot get there.
    pub(super) errors: u64,
    /// How long all of it took.
    pub(super) elapsed: Duration,
    fastest: Duration,
    slowest: Duration,
    /// In milliseconds, and their squares.
    sum: f64,
    sum_of_squares: f64,
}

impl Statistics {
    /// Counts an answer.
    pub(super) fn on_answer(&mut self, time: Duration) {
        self.fastest = if self.received == 0 { time } else { self.fastest.min(time) };
        self.slowest = self.slowest.max(time);
        self.received += 1;
        let millis = millis(time);
        self.sum += millis;
        self.sum_of_squares += millis * millis;
    }

    /// Requests without an answer, in percent.
    fn loss(&self) -> f64 {
        match self.transmitted {
            0 => 0.0,
            sent => 100.0 * self.transmitted.saturating_sub(self.received) as f64 / sent as f64,
        }
    }

    /// Average and standard deviation, in milliseconds, if there was an answer.
    fn average_and_deviation(&self) -> Option<(f64, f64)> {
        let count = (self.received > 0).then_some(self.received as f64)?;
        let average = self.sum / count;
        // Rounding may make of nothing a little less than nothing.
        let variance = (self.sum_of_squares / count - average * average).max(0.0);
        Some((average, variance.sqrt()))
    }

    /// The same for programs; times are in milliseconds.
    pub(super) fn to_json(&self) -> Value {
        let rtt = self.average_and_deviation().map(|(average, deviation)| {
            json!({
                "min": millis(self.fastest),
                "avg": average,
                "max": millis(self.slowest),
                "mdev": deviation,
            })
        });
        json!({
            "transmitted": self.transmitted,
            "received": self.received,
            "duplicates": self.duplicates,
            "damaged": self.damaged,
            "errors": self.errors,
            "loss_percent": self.loss(),
            "elapsed_ms": millis(self.elapsed),
            "rtt_ms": rtt,
        })
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transmitted, received, duplicates, damaged, errors, .. } = self;
        write!(f, "{transmitted} packets transmitted, {received} received")?;
        for (count, what) in [(duplicates, "duplicates"), (damaged, "damaged"), (errors, "errors")] {
            if *count > 0 {
                write!(f, ", +{count} {what}")?;
            }
        }
        // Seven digits, as many as are true: 33.3333 and 100, not 100.000.
        let loss = format!("{:.4}", self.loss());
        let loss = loss.trim_end_matches('0').trim_end_matches('.');
        write!(f, ", {loss}% packet loss, time {}ms", self.elapsed.as_millis())?;
        if let Some((average, deviation)) = self.average_and_deviation() {
            let (fastest, slowest) = (millis(self.fastest), millis(self.slowest));
            write!(f, "\nrtt min/avg/max/mdev = {fastest:.3}/{average:.3}/{slowest:.3}/{deviation:.3} ms")?;
        }
        Ok(())
    }
}

/// A time in milliseconds.
pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_that_of_ping() {
        let mut statistics = Statistics { transmitted: 3, ..Statistics::default() };
        statistics.on_answer(Duration::from_micros(1_000));
        statistics.on_answer(Duration::from_micros(3_000));
        statistics.elapsed = Duration::from_millis(2003);
        let expected = "3 packets transmitted, 2 received, 33.3333% packet loss, time 2003ms\n\
                        rtt min/avg/max/mdev = 1.000/2.000/3.000/1.000 ms";
        assert_eq!(statistics.to_string(), expected);
    }

    #[test]
    fn without_an_answer_there_are_no_times() {
        let statistics = Statistics { transmitted: 2, ..Statistics::default() };
        assert_eq!(statistics.to_string(), "2 packets transmitted, 0 received, 100% packet loss, time 0ms");
        assert_eq!(statistics.to_json()["rtt_ms"], Value::Null);
    }

    #[test]
    fn what_is_odd_is_named() {
        let mut statistics =
            Statistics { transmitted: 1, duplicates: 2, damaged: 1, errors: 3, ..Statistics::default() };
        statistics.on_answer(Duration::from_millis(1));
        let text = statistics.to_string();
        assert!(text.starts_with(
            "1 packets transmitted, 1 received, +2 duplicates, +1 damaged, +3 errors, 0% packet loss"
        ));
    }

    #[test]
    fn equal_times_deviate_by_nothing() {
        let mut statistics = Statistics { transmitted: 3, ..Statistics::default() };
        (0..3).for_each(|_| statistics.on_answer(Duration::from_nanos(100_100)));
        assert!(statistics.to_string().ends_with("/0.000 ms"), "{statistics}");
    }
}
