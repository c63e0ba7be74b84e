//! The exchange under way: what it is known by, and when there is something to say in it.

use crate::random::Random;
use crate::time::Instant;

/// A transaction, in the words of RFC 2131 section 2, and the message in it that waits for an answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) xid: u32,
    /// When its first message was sent.
    began: Option<Instant>,
    /// Seconds from then to the message sent last.
    pub(super) secs: u16,
    /// Whether there is a message to be built as soon as it is asked for. Which one, the state says.
    pub(super) due: bool,
    /// How often it was sent.
    pub(super) sent: u32,
    /// When the message was sent that answers are counted from.
    pub(super) asked: Option<Instant>,
    /// When it has waited for an answer long enough.
    pub(super) retry_at: Option<Instant>,
}

impl Exchange {
    /// One in which nothing is said.
    pub(super) fn idle(random: &mut Random) -> Self {
        let xid = random.next_u32();
        Self { xid, began: None, secs: 0, due: false, sent: 0, asked: None, retry_at: None }
    }

    /// One with something to say.
    pub(super) fn new(random: &mut Random) -> Self {
        Self { due: true, ..Self::idle(random) }
    }

    /// It goes on with another message.
    pub(super) fn go_on(&mut self) {
        *self = Self { due: true, sent: 0, asked: None, retry_at: None, ..*self };
    }

    /// Has the next message say how long this has taken (`secs`).
    pub(super) fn count_seconds(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        self.secs = u16::try_from(now.saturating_since(began).as_secs()).unwrap_or(u16::MAX);
    }

    /// The message has left.
    pub(super) fn on_sent(&mut self, now: Instant) {
        self.due = false;
        self.sent = self.sent.saturating_add(1);
        self.asked.get_or_insert(now);
    }

    /// From here on only answers to the message that is being sent now count.
    pub(super) fn ask_anew(&mut self, random: &mut Random) {
        self.xid = random.next_u32();
        self.asked = None;
    }
}
