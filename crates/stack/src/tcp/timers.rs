//! What happens when a connection's time has come: retransmission (RFC 6298), persist and keepalive (RFC 9293
//! sections 3.8.6.1 and 3.8.4), the delayed ACK, and the end of a connection without an owner.

use super::congestion::CongestionControl;
use super::connection::{Connection, State};
use super::input::{Context, Effects};
use super::output::Plan;
use crate::socket::SocketError;
use crate::time::Instant;

impl Connection {
    /// Does what is due.
    pub(super) fn on_deadlines(&mut self, cx: &mut Context<'_>) -> Effects {
        let mut effects = Effects::default();
        let due = |deadline: &mut Option<Instant>| deadline.take_if(|deadline| *deadline <= cx.now).is_some();
        if due(&mut self.deadlines.delayed_ack) {
            self.pending.ack = true;
        }
        if due(&mut self.deadlines.unpark) {
            self.parked = false;
        }
        if due(&mut self.deadlines.orphan) && !self.owned {
            self.abandon(&mut effects);
        } else if due(&mut self.deadlines.retransmit) {
            self.on_retransmit(cx, &mut effects);
        } else if due(&mut self.deadlines.persist) {
            self.on_persist(cx, &mut effects);
        } else if due(&mut self.deadlines.keepalive) {
            self.on_keepalive(cx, &mut effects);
        }
        effects
    }

    fn on_retransmit(&mut self, cx: &mut Context<'_>, effects: &mut Effects) {
        if self.user_timeout_passed(cx.now) {
            self.fail(SocketError::TimedOut, effects);
            return;
        }
        if self.listed && self.plan(false).is_some_and(|plan| plan != Plan::Ack) {
            // The device has not even taken what there is to say: that is no sign from the network.
            self.start_retransmit(cx.now, cx.config);
            return;
        }
        let limit = match self.state {
            State::SynSent => cx.config.syn_retries,
            State::SynReceived => cx.config.syn_ack_retries,
            _ => cx.config.retries,
        };
        // RFC 9293 MUST-20 to MUST-23 (R2). A peer that took its window back and goes on answering is there: then
        // this is a probe of its window (MUST-35, MUST-37).
        let answers = self.snd_wnd == 0
            && self.state.is_synchronized()
            && cx.now.saturating_since(self.last_received) < 2 * cx.config.max_rto
            && (self.owned || self.listener.is_some());
        if self.timeouts >= limit.into() && !answers {
            self.fail(self.soft_error.unwrap_or(SocketError::TimedOut), effects);
            return;
        }
        cx.counters.tcp.timeouts += 1;
        self.timed = None;
        let again = self.timeouts > 0;
        self.timeouts = self.timeouts.saturating_add(1);
        match self.state {
            State::SynSent | State::SynReceived => {
                cx.counters.tcp.retransmissions += 1;
                self.retransmissions += 1;
                self.pending.syn = true;
            }
            _ => {
                let flight = self.flight();
                self.scoreboard.on_timeout(again);
                self.congestion.on_timeout(cx.now, flight, again);
                self.on_size_timeout(cx, effects);
                if self.scoreboard.next_lost().is_none() {
                    // Everything outstanding was reported as held: the acknowledgement itself is missing.
                    self.pending.probe = true;
                }
            }
        }
        self.rtt.back_off();
        self.start_retransmit(cx.now, cx.config);
    }

    /// RFC 9293 section 3.8.6.1: asks after a closed window, and sends what a small one takes.
    fn on_persist(&mut self, cx: &mut Context<'_>, effects: &mut Effects) {
        // MUST-37: a peer that answers may keep its window closed for ever, unless nobody owns this end, or the
        // application has set a limit.
        let orphaned = !self.owned && self.listener.is_none();
        if self.probes > cx.config.retries.into() || self.user_timeout_passed(cx.now) {
            self.fail(SocketError::TimedOut, effects);
            return;
        }
        self.timeouts = self.timeouts.saturating_add(1);
        if orphaned && self.timeouts > cx.config.retries.into() {
            self.abandon(effects);
            return;
        }
        if self.snd_wnd > 0 {
            self.pending.push_small = true;
        } else if !self.pending.probe {
            self.pending.probe = true;
            self.probes += 1;
        }
        self.stuck_since.get_or_insert(cx.now);
        self.rtt.back_off();
        self.deadlines.persist = Some(self.by_user_timeout(cx.now + self.rtt.rto(cx.config)));
    }

    fn on_keepalive(&mut self, cx: &mut Context<'_>, effects: &mut Effects) {
        let Some(keepalive) = self.keepalive else { return };
        let silent_until = self.last_received + keepalive.idle;
        if silent_until > cx.now {
            self.deadlines.keepalive = Some(silent_until);
            return;
        }
        if self.probes >= keepalive.count || self.user_timeout_passed(cx.now) {
            self.fail(SocketError::TimedOut, effects);
            return;
        }
        // Whoever has something outstanding hears of the peer anyway.
        if self.flight() == 0 && !self.pending.probe {
            self.pending.probe = true;
            self.probes += 1;
            cx.counters.tcp.keepalives += 1;
        }
        self.deadlines.keepalive = Some(cx.now + keepalive.interval);
    }

    fn user_timeout_passed(&self, now: Instant) -> bool {
        let stuck = self.stuck_since.map(|since| now.saturating_since(since));
        self.user_timeout.zip(stuck).is_some_and(|(timeout, stuck)| stuck >= timeout)
    }

    /// Nobody is there any more to wait for the end.
    fn abandon(&mut self, effects: &mut Effects) {
        if self.state != State::FinWait2 {
            effects.reset = Some(self.snd_nxt);
        }
        self.fail(SocketError::ConnectionAborted, effects);
    }

    /// Brings the deadlines in line with the state, after anything has changed: persist is on exactly while
    /// something waits, nothing is outstanding, and nothing may go.
    pub(super) fn settle_deadlines(&mut self, cx: &Context<'_>, may_go: bool) {
        if self.state == State::Closed {
            self.deadlines = Default::default();
            return;
        }
        let waits = self.state.is_synchronized()
            && (self.unsent() > 0 || self.fin_queued && !self.fin_sent())
            && self.flight() == 0
            && !may_go
            && !self.parked;
        if !waits {
            self.deadlines.persist = None;
        } else if self.deadlines.persist.is_none() {
            self.deadlines.persist = Some(cx.now + self.rtt.rto(cx.config));
        }
        if let Some(keepalive) = self.keepalive.filter(|_| self.state.is_synchronized())
            && self.deadlines.keepalive.is_none()
        {
            self.deadlines.keepalive = Some(self.last_received.max(cx.now - keepalive.idle) + keepalive.idle);
        }
    }
}
