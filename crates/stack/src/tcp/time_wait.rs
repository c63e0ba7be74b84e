//! TIME-WAIT: what is remembered of a connection that ended in order (RFC 9293 section 3.6.1, RFC 1337, RFC 6191).
//! Compact, bounded, and in the order in which it expires.

use core::num::NonZeroU32;
use std::collections::VecDeque;

use slotmap::{SlotMap, new_key_type};
use sunstar_wire::tcp::{SeqNumber, TcpFlags, TcpHeader, TcpOptions};

use super::challenge::ChallengeLimit;
use super::connection::Connection;
use super::tuple::Tuple;
use crate::time::{Duration, Instant};

new_key_type! {
    pub(crate) struct TimeWaitKey;
}

/// One remembered connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remembered {
    pub(crate) tuple: Tuple,
    pub(crate) snd_nxt: SeqNumber,
    pub(crate) rcv_nxt: SeqNumber,
    /// The peer's timestamp to be echoed; a zero is remembered as one.
    pub(crate) ts_recent: Option<NonZeroU32>,
    expires: Instant,
    challenges: ChallengeLimit,
}

const _: () = assert!(size_of::<Remembered>() <= 64, "a connection in TIME-WAIT costs 64 bytes at most");

/// What to do about a segment for a remembered connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: it says what is known.
    Ignore,
    /// Nothing: it would end what has to be remembered.
    Refuse,
    /// Acknowledge once more.
    Acknowledge,
    /// It cannot be: say what would, but not more often than the limit allows.
    Challenge,
    /// A new connection may take its place; its initial number must be above this.
    Reuse(SeqNumber),
}

/// Places of connections that are gone that are no reason to look for them.
const ORDER_SLACK: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct TimeWait {
    entries: SlotMap<TimeWaitKey, Remembered>,
    order: VecDeque<(Instant, TimeWaitKey)>,
}

impl TimeWait {
    /// Remembers a connection. At the cap the oldest is forgotten, and comes back to be taken out of the table.
    pub(crate) fn insert(
        &mut self,
        connection: &Connection,
        now: Instant,
        keep: Duration,
        cap: usize,
    ) -> (TimeWaitKey, Option<Remembered>) {
        let forgotten = if self.entries.len() >= cap { self.pop_oldest() } else { None };
        let expires = now + keep;
        let key = self.entries.insert(Remembered {
            tuple: connection.tuple,
            snd_nxt: connection.snd_nxt,
            rcv_nxt: connection.rcv_nxt,
            ts_recent: NonZeroU32::new(connection.ts_recent.max(1)).filter(|_| connection.timestamps),
            expires,
            challenges: ChallengeLimit::default(),
        });
        self.order.push_back((expires, key));
        // Connections that made room for new ones (RFC 6191) leave their places here; they do not pile up.
        if self.order.len() > 2 * self.entries.len() + ORDER_SLACK {
            self.order.retain(|(_, key)| self.entries.contains_key(*key));
        }
        (key, forgotten)
    }

    /// A segment for a remembered connection.
    pub(crate) fn on_segment(
        &mut self,
        key: TimeWaitKey,
        header: &TcpHeader,
        options: &TcpOptions,
        len: u32,
        (now, keep): (Instant, Duration),
    ) -> Verdict {
        let Some(entry) = self.entries.get_mut(key) else { return Verdict::Ignore };
        // RFC 1337: a RST does not end TIME-WAIT.
        if header.flags.contains(TcpFlags::RST) {
            return Verdict::Refuse;
        }
        if header.flags.contains(TcpFlags::SYN) && !header.flags.contains(TcpFlags::ACK) {
            // RFC 6191: newer by timestamp, or without one by sequence number.
            let newer = match (entry.ts_recent, options.timestamps) {
                (Some(seen), Some(offered)) if offered.value != seen.get() => {
                    (offered.value.wrapping_sub(seen.get()) as i32) > 0
                }
                _ => header.sequence.after(entry.rcv_nxt),
            };
            return if newer { Verdict::Reuse(entry.snd_nxt) } else { Verdict::Challenge };
        }
        let fin_again = header.flags.contains(TcpFlags::FIN) && header.sequence + len == entry.rcv_nxt;
        if fin_again {
            // RFC 9293 section 3.10.7.4: the peer has not seen our ACK; start over.
            entry.expires = now + keep;
            return Verdict::Acknowledge;
        }
        if len > 0 || header.sequence != entry.rcv_nxt { Verdict::Challenge } else { Verdict::Ignore }
    }

    /// Whether what cannot be is answered now. Each connection has a limit of its own, as the living ones have.
    pub(crate) fn may_challenge(&mut self, key: TimeWaitKey, now: Instant) -> bool {
        self.entries.get_mut(key).is_some_and(|entry| entry.challenges.allow(now))
    }

    pub(crate) fn get(&self, key: TimeWaitKey) -> Option<&Remembered> {
        self.entries.get(key)
    }

    pub(crate) fn remove(&mut self, key: TimeWaitKey) {
        self.entries.remove(key);
    }

    /// The next connection whose time is over, if there is one.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Remembered> {
        while let Some(&(due, key)) = self.order.front() {
            if due > now {
                return None;
            }
            self.order.pop_front();
            match self.entries.get(key).map(|entry| entry.expires) {
                // Started over in the meantime.
                Some(expires) if expires > now => self.order.push_back((expires, key)),
                Some(_) => return self.entries.remove(key),
                None => {}
            }
        }
        None
    }

    /// When to look again.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.order.front().map(|(due, _)| *due)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn pop_oldest(&mut self) -> Option<Remembered> {
        while let Some((_, key)) = self.order.pop_front() {
            if let Some(entry) = self.entries.remove(key) {
                return Some(entry);
            }
        }
        None
    }
}
