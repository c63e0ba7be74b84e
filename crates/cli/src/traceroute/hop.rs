//! What is printed of a hop: who answered, after what time, and a mark for what is neither the way nor its end.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sunstar::{EchoAnswer, UnreachableCode};

use crate::answers;

/// What was said to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Who said it.
    pub(super) from: IpAddr,
    /// What.
    pub(super) what: EchoAnswer,
    /// The time to live it arrived with.
    pub(super) ttl: u8,
}

impl Answer {
    /// Whether nothing can come behind whoever says this.
    pub(super) fn is_the_end(&self) -> bool {
        self.what != EchoAnswer::TimeExceeded
    }
}

/// One hop, with what came of its probes: an answer and its time, or silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    /// How many hops away it is.
    pub(super) ttl: u8,
    /// What came of its probes.
    pub(super) probes: Vec<Option<(Answer, Duration)>>,
}

impl Hop {
    /// The same for programs; times are in milliseconds.
    pub(super) fn to_json(&self) -> Value {
        let probes = self.probes.iter().map(|probe| {
            probe.map(|(answer, time)| {
                let mut json = answers::to_json(answer.what);
                json["from"] = json!(answer.from);
                json["ttl"] = json!(answer.ttl);
                json["time_ms"] = json!(time.as_nanos() as f64 / 1e6);
                json
            })
        });
        json!({ "hop": self.ttl, "probes": probes.collect::<Vec<_>>() })
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:2} ", self.ttl)?;
        let mut named = None;
        for probe in &self.probes {
            let Some((answer, time)) = probe else {
                f.write_str(" *")?;
                continue;
            };
            if named != Some(answer.from) {
                named = Some(answer.from);
                write!(f, " {}", answer.from)?;
            }
            write!(f, "  {:.3} ms{}", time.as_secs_f64() * 1e3, Mark(answer.what))?;
        }
        Ok(())
    }
}

/// The mark behind a time, as `traceroute` has it.
struct Mark(EchoAnswer);

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            EchoAnswer::Reply | EchoAnswer::TimeExceeded => Ok(()),
            EchoAnswer::ReassemblyTimeExceeded => f.write_str(" !T"),
            EchoAnswer::TooBig { mtu } => write!(f, " !F-{mtu}"),
            EchoAnswer::ParameterProblem { .. } => f.write_str(" !<12-0>"),
            EchoAnswer::Unreachable(code) => match code {
                UnreachableCode::Network => f.write_str(" !N"),
                UnreachableCode::Host => f.write_str(" !H"),
                UnreachableCode::Protocol => f.write_str(" !P"),
                UnreachableCode::SourceRouteFailed => f.write_str(" !S"),
                UnreachableCode::NetworkProhibited
                | UnreachableCode::HostProhibited
                | UnreachableCode::CommunicationProhibited => f.write_str(" !X"),
                UnreachableCode::HostPrecedenceViolation => f.write_str(" !V"),
                UnreachableCode::PrecedenceCutoff => f.write_str(" !C"),
                other => write!(f, " !<{}>", u8::from(other)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(ttl: u8, probes: &[Option<(u8, EchoAnswer)>]) -> Hop {
        let probe = |probe: &Option<(u8, EchoAnswer)>| {
            probe.map(|(last, what)| {
                let from = IpAddr::from([10, 0, 0, last]);
                (Answer { from, what, ttl: 64 }, Duration::from_micros(1_234 + u64::from(last)))
            })
        };
        Hop { ttl, probes: probes.iter().map(probe).collect() }
    }

    const PASSED: EchoAnswer = EchoAnswer::TimeExceeded;

    #[test]
    fn a_hop_is_printed_as_traceroute_does() {
        let same = Some((1, PASSED));
        assert_eq!(hop(1, &[same; 3]).to_string(), " 1  10.0.0.1  1.235 ms  1.235 ms  1.235 ms");
        assert_eq!(hop(12, &[None; 3]).to_string(), "12  * * *");
        let text = hop(2, &[None, same, Some((2, PASSED)), None, Some((2, PASSED))]).to_string();
        assert_eq!(text, " 2  * 10.0.0.1  1.235 ms 10.0.0.2  1.236 ms *  1.236 ms");
    }

    #[test]
    fn what_ends_the_way_has_its_mark() {
        let unreachable = |code: u8| EchoAnswer::Unreachable(code.into());
        for (what, mark) in [
            (EchoAnswer::Reply, ""),
            (unreachable(0), " !N"),
            (unreachable(1), " !H"),
            (unreachable(2), " !P"),
            (unreachable(5), " !S"),
            (unreachable(9), " !X"),
            (unreachable(10), " !X"),
            (unreachable(13), " !X"),
            (unreachable(14), " !V"),
            (unreachable(15), " !C"),
            (unreachable(7), " !<7>"),
            (EchoAnswer::TooBig { mtu: 1_300 }, " !F-1300"),
        ] {
            assert_eq!(hop(3, &[Some((1, what))]).to_string(), format!(" 3  10.0.0.1  1.235 ms{mark}"));
        }
    }

    #[test]
    fn a_program_reads_who_said_what_after_what_time() {
        let json = hop(3, &[Some((1, EchoAnswer::TooBig { mtu: 1_300 })), None]).to_json();
        let first =
            json!({ "what": "too_big", "mtu": 1_300, "from": "10.0.0.1", "ttl": 64, "time_ms": 1.235 });
        assert_eq!(json, json!({ "hop": 3, "probes": [first, null] }));
    }
}
