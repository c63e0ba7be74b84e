//! What was measured, as a table or as JSON.

use std::fmt::{self, Display};
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::client::{Figures, Measured};
use super::counted::Counted;
use crate::options::{PerfOptions, Test};
use crate::output::Output;

/// Every test, all shards together.
pub(super) struct Report {
    shards: u16,
    tests: Vec<Figures>,
}

impl Report {
    pub(super) fn new(options: &PerfOptions, measured: &[Measured]) -> Self {
        let count = measured.first().map_or(0, |first| first.tests.len());
        let together = |at: usize| {
            let mut parts = measured.iter().filter_map(|shard| shard.tests.get(at));
            let first = parts.next()?.clone();
            Some(parts.fold(first, add))
        };
        Self { shards: options.network.shards(), tests: (0..count).filter_map(together).collect() }
    }

    /// Prints a table, or an object a test.
    ///
    /// # Errors
    /// The standard output takes no more.
    pub(super) fn print(&self, output: Output) -> io::Result<()> {
        if output.is_json() {
            return self.tests.iter().try_for_each(|test| output.say("", self.json(test)));
        }
        output.say(self, ())
    }

    fn json(&self, test: &Figures) -> Value {
        let Rates { gigabits, segments, requests, connections, forwarded } = Rates::of(test);
        json!({
            "test": test.test,
            "shards": self.shards,
            "streams": test.streams,
            "seconds": test.elapsed.as_secs_f64(),
            "bytes": test.bytes,
            "requests": test.requests,
            "connections": test.connections,
            "gigabits_per_second": gigabits,
            "segments_per_second": segments,
            "requests_per_second": requests,
            "connections_per_second": connections,
            "forwarded_per_second": forwarded,
            "latency_us": {
                "p50": micros(&test.latencies, 0.5),
                "p99": micros(&test.latencies, 0.99),
                "max": test.latencies.max() as f64 / 1e3,
            },
            "client": counted(&test.client),
            "server": test.server.as_ref().map(counted),
        })
    }
}

fn counted(host: &Counted) -> Value {
    json!({
        "retransmissions": host.retransmissions,
        "timeouts": host.timeouts,
        "forwarded": host.forwarded,
        "drops": host.drops,
    })
}

/// Two shards' parts of a test.
fn add(one: Figures, other: &Figures) -> Figures {
    let mut latencies = one.latencies;
    // Both have the same bounds.
    let _ = latencies.add(&other.latencies);
    Figures {
        test: one.test,
        streams: one.streams + other.streams,
        elapsed: one.elapsed.max(other.elapsed),
        bytes: one.bytes + other.bytes,
        requests: one.requests + other.requests,
        connections: one.connections + other.connections,
        client: one.client.and(other.client.clone()),
        server: one.server.or_else(|| other.server.clone()),
        latencies,
    }
}

/// What a test came to in a second.
struct Rates {
    gigabits: f64,
    segments: f64,
    requests: f64,
    connections: f64,
    forwarded: f64,
}

impl Rates {
    fn of(test: &Figures) -> Self {
        let seconds = test.elapsed.max(Duration::from_nanos(1)).as_secs_f64();
        let rate = |count: u64| count as f64 / seconds;
        Self {
            gigabits: rate(test.bytes) * 8.0 / 1e9,
            segments: rate(test.client.segments),
            requests: rate(test.requests),
            connections: rate(test.connections),
            forwarded: rate(test.ends().map(|end| end.forwarded).sum()),
        }
    }
}

fn micros(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e3
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:>7} {:>7} {:>8} {:>12} {:>12} {:>10} {:>9} {:>9} {:>12} {:>8} {:>6}",
            "test",
            "shards",
            "streams",
            "Gbit/s",
            "segments/s",
            "requests/s",
            "opened/s",
            "p50 us",
            "p99 us",
            "forwarded/s",
            "resent",
            "drops"
        )?;
        for (at, test) in self.tests.iter().enumerate() {
            let rates = Rates::of(test);
            let timed = matches!(test.test, Test::Requests | Test::Connections);
            let latency = |quantile| match timed {
                true => format!("{:.0}", micros(&test.latencies, quantile)),
                false => String::new(),
            };
            write!(
                f,
                "{:<12} {:>7} {:>7} {:>8.2} {:>12.0} {:>12.0} {:>10.0} {:>9} {:>9} {:>12.0} {:>8} {:>6}",
                format!("{:?}", test.test).to_lowercase(),
                self.shards,
                test.streams,
                rates.gigabits,
                rates.segments,
                rates.requests,
                rates.connections,
                latency(0.5),
                latency(0.99),
                rates.forwarded,
                test.ends().map(|end| end.retransmissions).sum::<u64>(),
                test.ends().map(Counted::dropped).sum::<u64>(),
            )?;
            if at + 1 < self.tests.len() {
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
