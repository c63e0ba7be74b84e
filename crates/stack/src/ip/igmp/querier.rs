//! What is known of the link's querier: how often it asks, how robust it wants reports to be, and which version every
//! host has to speak while an older one is there (RFC 3376 sections 7.2.1 and 8).

use core::time::Duration;

use sunstar_wire::igmp::QueryV3;

use crate::time::Instant;

/// A version of IGMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// RFC 1112: reports only.
    V1,
    /// RFC 2236: leaves, too.
    V2,
    /// RFC 3376: reports of records.
    V3,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Querier {
    /// How often a change is told, so that one loss is none (RFC 3376 section 8.1).
    pub(super) robustness: u8,
    /// Between two general queries (section 8.2).
    interval: Duration,
    /// Until when hosts of version 1, or 2, are to be understood (section 8.12).
    v1_until: Instant,
    v2_until: Instant,
}

impl Querier {
    const ROBUSTNESS: u8 = 2;
    const INTERVAL: Duration = Duration::from_secs(125);

    /// Nobody has asked yet: the defaults of section 8, and version 3.
    pub(super) fn new() -> Self {
        Self {
            robustness: Self::ROBUSTNESS,
            interval: Self::INTERVAL,
            v1_until: Instant::ZERO,
            v2_until: Instant::ZERO,
        }
    }

    /// The version to speak (section 7.2.1): the oldest of the queriers heard lately.
    pub(super) fn version(&self, now: Instant) -> Version {
        if now < self.v1_until {
            Version::V1
        } else if now < self.v2_until {
            Version::V2
        } else {
            Version::V3
        }
    }

    /// Sections 4.1.6 and 4.1.7: a query of version 3 says what it goes by; zero stands for the default.
    pub(super) fn on_query_v3(&mut self, query: &QueryV3) {
        self.robustness = if query.robustness == 0 { Self::ROBUSTNESS } else { query.robustness };
        self.interval = match query.interval.value() {
            0 => Self::INTERVAL,
            seconds => Duration::from_secs(seconds.into()),
        };
    }

    /// Section 7.2.1: the general query of an older querier has hosts speak its version until it has been silent for
    /// the Older Version Querier Present Timeout (section 8.12).
    pub(super) fn on_general_query(&mut self, now: Instant, version: Version, max_response: Duration) {
        let until = now + self.interval * self.robustness.into() + max_response;
        match version {
            Version::V1 => self.v1_until = until,
            Version::V2 => self.v2_until = until,
            Version::V3 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use sunstar_wire::igmp::TimeCode;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    #[test]
    fn the_oldest_querier_that_was_heard_lately_decides() {
        let mut querier = Querier::new();
        assert_eq!(querier.version(at(0)), Version::V3);
        let ten = Duration::from_secs(10);
        querier.on_general_query(at(0), Version::V1, ten);
        querier.on_general_query(at(100), Version::V2, ten);
        assert_eq!(querier.version(at(259)), Version::V1, "2 * 125 + 10 seconds");
        assert_eq!(querier.version(at(260)), Version::V2);
        assert_eq!(querier.version(at(359)), Version::V2);
        assert_eq!(querier.version(at(360)), Version::V3);
    }

    #[test]
    fn a_query_of_version_3_says_for_how_long_an_older_one_is_remembered() {
        let mut querier = Querier::new();
        let mut query = QueryV3 {
            max_response: TimeCode(100),
            group: Ipv4Addr::UNSPECIFIED,
            suppress: false,
            robustness: 3,
            interval: TimeCode(20),
            sources: 0,
        };
        querier.on_query_v3(&query);
        querier.on_general_query(at(0), Version::V2, Duration::from_secs(1));
        assert_eq!(querier.version(at(60)), Version::V2);
        assert_eq!(querier.version(at(61)), Version::V3, "3 * 20 + 1 seconds");
        (query.robustness, query.interval) = (0, TimeCode(0));
        querier.on_query_v3(&query);
        assert_eq!((querier.robustness, querier.interval), (2, Duration::from_secs(125)), "the defaults");
    }
}
