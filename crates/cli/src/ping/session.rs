//! The book of a ping: which requests are out, which were answered, and when it is over. Time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use sunstar::time::Instant;

use super::statistics::Statistics;

/// Requests that are remembered; a sequence number names only so many.
const MAX_REMEMBERED: usize = 1 << 15;

/// What a reply turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The first answer to a request, after this time.
    Answer(Duration),
    /// A further answer to one, after this time.
    Duplicate(Duration),
    /// An answer to nothing, or too late to count.
    Unexpected,
}

/// A request that may still be answered.
#[derive(Debug)]
struct Request {
    at: Instant,
    answered: bool,
}

/// One run of ping.
#[derive(Debug)]
pub(super) struct Session {
    count: Option<u64>,
    timeout: Duration,
    /// Number of the first request that is remembered; they count from 1.
    first: u64,
    remembered: VecDeque<Request>,
    /// What came of it so far.
    pub(super) statistics: Statistics,
}

impl Session {
    /// So many requests, or without end; each may be answered within `timeout`.
    pub(super) fn new(count: Option<u64>, timeout: Duration) -> Self {
        let (first, remembered) = (1, VecDeque::new());
        Self { count, timeout, first, remembered, statistics: Statistics::default() }
    }

    /// Whether there is another request to send.
    pub(super) fn wants_to_send(&self) -> bool {
        self.count.is_none_or(|count| self.statistics.transmitted < count)
    }

    /// Notes a request, and gives its sequence number (RFC 792): its own number, which counts from 1 and wraps.
    pub(super) fn on_send(&mut self, now: Instant) -> u16 {
        if self.remembered.len() == MAX_REMEMBERED {
            self.remembered.pop_front();
            self.first += 1;
        }
        self.remembered.push_back(Request { at: now, answered: false });
        self.statistics.transmitted += 1;
        self.statistics.transmitted as u16
    }

    /// The latest request with that number, if it is remembered.
    fn latest(&mut self, sequence: u16) -> Option<&mut Request> {
        let age = (self.statistics.transmitted as u16).wrapping_sub(sequence);
        let number = self.statistics.transmitted.checked_sub(age.into())?;
        let index = number.checked_sub(self.first)?;
        self.remembered.get_mut(usize::try_from(index).ok()?)
    }

    /// Notes a reply.
    pub(super) fn on_reply(&mut self, sequence: u16, at: Instant) -> Verdict {
        let Some(request) = self.latest(sequence) else { return Verdict::Unexpected };
        let time = at.saturating_since(request.at);
        if std::mem::replace(&mut request.answered, true) {
            self.statistics.duplicates += 1;
            return Verdict::Duplicate(time);
        }
        self.statistics.on_answer(time);
        Verdict::Answer(time)
    }

    /// Notes that something else than a reply was said to a request; whether it was still waiting for one.
    pub(super) fn on_error(&mut self, sequence: u16) -> bool {
        let waiting =
            self.latest(sequence).is_some_and(|request| !std::mem::replace(&mut request.answered, true));
        self.statistics.errors += u64::from(waiting);
        waiting
    }

    /// Forgets the requests whose time is over, and says when the next one's will be.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Duration> {
        while let Some(request) = self.remembered.front() {
            let waited = now.saturating_since(request.at);
            if waited < self.timeout {
                return Some(self.timeout - waited);
            }
            self.remembered.pop_front();
            self.first += 1;
        }
        None
    }

    /// Whether every request was sent, and answered or given up.
    pub(super) fn is_over(&self) -> bool {
        !self.wants_to_send() && self.remembered.iter().all(|request| request.answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn a_reply_is_counted_once_and_its_double_apart() {
        let mut session = Session::new(Some(2), TIMEOUT);
        assert_eq!((session.on_send(at(0)), session.on_send(at(100))), (1, 2));
        assert_eq!(session.on_reply(2, at(103)), Verdict::Answer(Duration::from_millis(3)));
        assert_eq!(session.on_reply(2, at(104)), Verdict::Duplicate(Duration::from_millis(4)));
        assert!(!session.wants_to_send() && !session.is_over());
        assert_eq!(session.on_reply(1, at(105)), Verdict::Answer(Duration::from_millis(105)));
        assert!(session.is_over());
        assert_eq!((session.statistics.received, session.statistics.duplicates), (2, 1));
    }

    #[test]
    fn a_reply_to_nothing_is_not_counted() {
        let mut session = Session::new(None, TIMEOUT);
        assert_eq!(session.on_reply(1, at(0)), Verdict::Unexpected);
        session.on_send(at(0));
        for sequence in [0, 2, 65_535] {
            assert_eq!(session.on_reply(sequence, at(1)), Verdict::Unexpected, "{sequence}");
        }
        assert_eq!(session.statistics.received, 0);
    }

    #[test]
    fn a_request_is_given_up_when_its_time_is_over() {
        let mut session = Session::new(Some(1), TIMEOUT);
        session.on_send(at(0));
        assert_eq!(session.expire(at(400)), Some(Duration::from_millis(600)));
        assert!(!session.is_over());
        assert_eq!(session.expire(at(1000)), None);
        assert!(session.is_over());
        assert_eq!(session.on_reply(1, at(1001)), Verdict::Unexpected);
    }

    #[test]
    fn an_error_ends_a_request_and_is_counted_once() {
        let mut session = Session::new(Some(1), TIMEOUT);
        assert!(!session.on_error(1), "nothing was sent yet");
        session.on_send(at(0));
        assert!(session.on_error(1) && session.is_over());
        assert!(!session.on_error(1));
        assert_eq!((session.statistics.errors, session.statistics.received), (1, 0));
    }

    #[test]
    fn sequence_numbers_wrap_and_still_name_the_latest_request() {
        let mut session = Session::new(None, TIMEOUT);
        for _ in 0..65_535 {
            session.on_send(at(0));
        }
        assert_eq!(session.on_send(at(5)), 0);
        assert_eq!(session.on_reply(0, at(7)), Verdict::Answer(Duration::from_millis(2)));
        assert_eq!(session.on_reply(65_535, at(7)), Verdict::Answer(Duration::from_millis(7)));
        assert_eq!(session.on_reply(1, at(7)), Verdict::Unexpected);
    }
}
