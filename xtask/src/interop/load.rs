//! Load from wrk: many connections, kept alive or one a request.

use std::time::Duration;

use super::http::url;
use super::stage::{Stage, TapServer};
use crate::failure::{Failure, ensure};

/// What one run of wrk says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wrk {
    /// Answers a second.
    pub(crate) requests_per_second: f64,
    /// Answers in all.
    pub(crate) requests: u64,
}

impl Wrk {
    /// Reads wrk's output; any error it counted is a failure.
    pub(crate) fn parse(output: &str) -> Result<Self, Failure> {
        // wrk prints these lines only when there is something to complain of.
        for complaint in ["Socket errors:", "Non-2xx or 3xx responses:"] {
            ensure!(!output.contains(complaint), "wrk counted errors:\n{output}");
        }
        let requests_per_second = output
            .lines()
            .find_map(|line| line.strip_prefix("Requests/sec:"))
            .and_then(|figure| figure.trim().parse().ok());
        let requests = output
            .lines()
            .find_map(|line| line.trim().split_once(" requests in "))
            .and_then(|(figure, _)| figure.parse().ok());
        match (requests_per_second, requests) {
            (Some(requests_per_second), Some(requests)) if requests > 0 => {
                Ok(Self { requests_per_second, requests })
            }
            _ => Err(Failure::Expectation(format!("wrk got no answer:\n{output}"))),
        }
    }
}

/// Runs wrk with one thread for some seconds beside a server's tap.
pub(crate) fn wrk(
    server: &TapServer,
    connections: u32,
    seconds: u64,
    keep_alive: bool,
) -> Result<Wrk, Failure> {
    let (connections, duration, url) = (format!("-c{connections}"), format!("-d{seconds}s"), url("/"));
    let mut arguments = vec!["-t1", &connections, &duration];
    if !keep_alive {
        arguments.extend(["-H", "Connection: close"]);
    }
    arguments.push(&url);
    Wrk::parse(&server.client("wrk", &arguments, Duration::from_secs(seconds + 20))?.stdout)
}

pub(super) fn wrk_keeps_connections_alive_without_an_error(stage: &Stage) -> Result<(), Failure> {
    wrk(&TapServer::start(stage, &[])?, 64, 3, true).map(drop)
}

pub(super) fn wrk_opens_a_connection_a_request_without_an_error(stage: &Stage) -> Result<(), Failure> {
    wrk(&TapServer::start(stage, &[])?, 64, 3, false).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
Running 2s test @ http://10.77.0.2/
  1 threads and 64 connections
  67310 requests in 2.00s, 55.14MB read
Requests/sec:  33603.72
Transfer/sec:     27.53MB
";

    #[test]
    fn the_rate_and_the_count_are_read() {
        let wrk = Wrk::parse(GOOD).unwrap();
        assert_eq!(wrk.requests, 67310);
        assert!((wrk.requests_per_second - 33603.72).abs() < 1e-6);
    }

    #[test]
    fn an_error_that_wrk_counted_is_a_failure() {
        for line in
            ["  Socket errors: connect 0, read 3, write 0, timeout 0\n", "  Non-2xx or 3xx responses: 4\n"]
        {
            assert!(Wrk::parse(&format!("{GOOD}{line}")).is_err());
        }
    }

    #[test]
    fn no_answer_at_all_is_a_failure() {
        assert!(Wrk::parse("  0 requests in 2.00s, 0.00B read\nRequests/sec:      0.00\n").is_err());
    }
}
