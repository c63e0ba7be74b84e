//! The book of a traceroute: which probes are out, what came of them, and which hop is next to be printed. Time is an
//! argument.

use std::time::Duration;

use sunstar::EchoAnswer;
use sunstar::time::Instant;

use super::hop::{Answer, Hop};
use crate::options::TracerouteOptions;

/// A probe that was sent.
#[derive(Debug)]
struct Probe {
    at: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Silent,
    Answered(Answer, Duration),
}

/// One run of traceroute. Probe by probe and hop by hop, several at a time: a probe's sequence number is its place, from 1 on.
#[derive(Debug)]
pub(super) struct Probes {
    queries: usize,
    wait: Duration,
    /// How many may wait for an answer at a time.
    in_flight: usize,
    /// No hop behind this one is of interest.
    last_hop: u8,
    sent: Vec<Probe>,
    printed: u8,
    reached: bool,
}

impl Probes {
    pub(super) fn new(options: &TracerouteOptions) -> Self {
        Self {
            queries: options.queries.into(),
            wait: options.wait,
            in_flight: options.in_flight.into(),
            last_hop: options.max_hops,
            sent: Vec::new(),
            printed: 0,
            reached: false,
        }
    }

    /// Notes the next probe, if it may go now: its sequence number and its time to live.
    pub(super) fn send_next(&mut self, now: Instant) -> Option<(u16, u8)> {
        let waiting = self.of_interest().iter().filter(|probe| probe.state == State::Waiting).count();
        let ttl = self.ttl_of(self.sent.len());
        if waiting >= self.in_flight || ttl > usize::from(self.last_hop) {
            return None;
        }
        self.sent.push(Probe { at: now, state: State::Waiting });
        Some((self.sent.len() as u16, ttl as u8))
    }

    /// Notes what was said to a probe.
    pub(super) fn on_answer(&mut self, sequence: u16, answer: Answer, at: Instant) {
        let Some(index) = usize::from(sequence).checked_sub(1) else { return };
        let ttl = self.ttl_of(index);
        let Some(probe) = self.sent.get_mut(index).filter(|probe| probe.state == State::Waiting) else {
            return;
        };
        probe.state = State::Answered(answer, at.saturating_since(probe.at));
        if answer.is_the_end() {
            self.last_hop = self.last_hop.min(ttl as u8);
            self.reached |= answer.what == EchoAnswer::Reply;
        }
    }

    /// Gives up the probes whose time is over, and says when the next one's will be; nothing when none is waiting and none
    /// is to be sent.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Duration> {
        let wait = self.wait;
        let count = self.of_interest().len();
        let mut next: Option<Duration> = None;
        for probe in self.sent[..count].iter_mut().filter(|probe| probe.state == State::Waiting) {
            match wait.saturating_sub(now.saturating_since(probe.at)) {
                Duration::ZERO => probe.state = State::Silent,
                left => next = Some(next.map_or(left, |next| next.min(left))),
            }
        }
        let more = self.ttl_of(self.sent.len()) <= usize::from(self.last_hop);
        next.or(more.then_some(Duration::ZERO))
    }

    /// The next hop, in their order, all of whose probes were answered or given up.
    pub(super) fn next_hop(&mut self) -> Option<Hop> {
        if self.printed >= self.last_hop {
            return None;
        }
        let first = usize::from(self.printed) * self.queries;
        let probes = self.sent.get(first..first + self.queries)?;
        let outcome = |probe: &Probe| match probe.state {
            State::Waiting => None,
            State::Silent => Some(None),
            State::Answered(answer, time) => Some(Some((answer, time))),
        };
        let probes = probes.iter().map(outcome).collect::<Option<Vec<_>>>()?;
        self.printed += 1;
        Some(Hop { ttl: self.printed, probes })
    }

    /// Whether the host itself has answered.
    pub(super) fn has_reached(&self) -> bool {
        self.reached
    }

    /// Probes of hops that are not behind the last one.
    fn of_interest(&self) -> &[Probe] {
        &self.sent[..self.sent.len().min(usize::from(self.last_hop) * self.queries)]
    }

    /// How many hops the probe at a place has to live.
    fn ttl_of(&self, index: usize) -> usize {
        index / self.queries + 1
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn probes(max_hops: u8, queries: u8, in_flight: u8) -> Probes {
        let (queries, in_flight, wait) = (queries.into(), in_flight.into(), Duration::from_secs(1));
        Probes { queries, wait, in_flight, last_hop: max_hops, sent: Vec::new(), printed: 0, reached: false }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn said(what: EchoAnswer) -> Answer {
        Answer { from: IpAddr::from([10, 0, 0, 1]), what, ttl: 64 }
    }

    const PASSED: EchoAnswer = EchoAnswer::TimeExceeded;

    fn send_all(probes: &mut Probes, now: Instant) -> Vec<(u16, u8)> {
        std::iter::from_fn(|| probes.send_next(now)).collect()
    }

    #[test]
    fn several_hops_are_asked_at_a_time_but_no_more_probes_than_allowed() {
        let mut probes = probes(30, 2, 5);
        assert_eq!(send_all(&mut probes, at(0)), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)]);
        probes.on_answer(2, said(PASSED), at(3));
        assert_eq!(send_all(&mut probes, at(3)), [(6, 3)]);
        assert_eq!(probes.next_hop(), None, "its first probe still waits");
        probes.on_answer(1, said(PASSED), at(4));
        let millis = Duration::from_millis;
        let hop = probes.next_hop().unwrap();
        assert_eq!(hop.probes, [Some((said(PASSED), millis(4))), Some((said(PASSED), millis(3)))]);
    }

    #[test]
    fn the_host_ends_the_way_and_what_is_out_behind_it_is_not_waited_for() {
        let mut probes = probes(30, 1, 8);
        send_all(&mut probes, at(0));
        for sequence in [5, 4, 3, 2] {
            probes.on_answer(sequence, said(EchoAnswer::Reply), at(5));
        }
        probes.on_answer(1, said(PASSED), at(6));
        assert_eq!(send_all(&mut probes, at(6)), []);
        assert_eq!(probes.expire(at(6)), None, "nothing to wait for");
        assert_eq!([probes.next_hop().unwrap().ttl, probes.next_hop().unwrap().ttl], [1, 2]);
        assert_eq!(probes.next_hop(), None);
        assert!(probes.has_reached());
    }

    #[test]
    fn a_router_that_says_unreachable_ends_the_way_and_the_host_is_not_reached() {
        let mut probes = probes(30, 1, 2);
        send_all(&mut probes, at(0));
        probes.on_answer(1, said(EchoAnswer::Unreachable(1.into())), at(1));
        assert_eq!((send_all(&mut probes, at(1)), probes.expire(at(1))), (vec![], None));
        assert!(probes.next_hop().is_some() && probes.next_hop().is_none() && !probes.has_reached());
    }

    #[test]
    fn silence_is_given_up_in_time_and_makes_room_for_the_next() {
        let mut probes = probes(2, 1, 1);
        assert_eq!(send_all(&mut probes, at(0)), [(1, 1)]);
        assert_eq!(probes.expire(at(400)), Some(Duration::from_millis(600)));
        assert_eq!(probes.expire(at(1_000)), Some(Duration::ZERO), "there is more to send");
        assert_eq!(probes.next_hop().unwrap().probes, [None]);
        assert_eq!(send_all(&mut probes, at(1_000)), [(2, 2)]);
        probes.on_answer(1, said(PASSED), at(1_001));
        assert_eq!(probes.expire(at(2_000)), None);
        assert_eq!(probes.next_hop().unwrap().probes, [None]);
        assert!(!probes.has_reached());
    }

    #[test]
    fn what_answers_no_probe_or_one_twice_changes_nothing() {
        let mut probes = probes(1, 1, 1);
        probes.on_answer(1, said(EchoAnswer::Reply), at(0));
        send_all(&mut probes, at(0));
        for sequence in [0, 2, 65_535] {
            probes.on_answer(sequence, said(EchoAnswer::Reply), at(1));
        }
        assert!(!probes.has_reached());
        probes.on_answer(1, said(PASSED), at(1));
        probes.on_answer(1, said(EchoAnswer::Reply), at(2));
        assert_eq!(probes.next_hop().unwrap().probes, [Some((said(PASSED), Duration::from_millis(1)))]);
    }
}
