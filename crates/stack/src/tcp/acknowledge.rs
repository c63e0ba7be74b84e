//! The ACK field of a segment, fifth of RFC 9293 section 3.10.7.4: what was sent is acknowledged, reported, or lost
//! (RFC 5681, RFC 6675, RFC 6298), and the peer's window moves.

use core::time::Duration;

use sunstar_wire::tcp::{SeqNumber, TcpFlags, TcpHeader, TcpOptions};

use super::congestion::CongestionControl;
use super::connection::{Connection, State};
use super::input::{Context, Effects, Segment};
use super::recovery::Phase;
use crate::socket::Ready;

impl Connection {
    /// Fifth of RFC 9293 section 3.10.7.4: the ACK field. True to go on.
    pub(super) fn check_acknowledgement(
        &mut self,
        segment: &Segment,
        cx: &mut Context<'_>,
        effects: &mut Effects,
    ) -> bool {
        if !segment.has(TcpFlags::ACK) {
            cx.counters.drops.tcp_bad_acknowledgement += 1;
            return false;
        }
        let header = &segment.header;
        let acknowledged = header.acknowledgement;
        if self.state == State::SynReceived {
            if !acknowledged.after(self.snd_una) || acknowledged.after(self.snd_nxt) {
                cx.counters.drops.tcp_bad_acknowledgement += 1;
                effects.reset = Some(acknowledged);
                return false;
            }
            self.on_valid(segment, cx.now);
            self.on_handshake_acknowledged(header, &segment.options, cx);
            self.establish(header, effects);
            self.update_window(header, cx);
            return true;
        }
        // RFC 5961 section 5.2.
        let too_old = acknowledged.before(self.snd_una - self.max_snd_wnd);
        if too_old || acknowledged.after(self.snd_nxt) {
            cx.counters.drops.tcp_bad_acknowledgement += 1;
            self.challenge(cx);
            return false;
        }
        self.on_valid(segment, cx.now);
        self.on_acknowledged(segment, cx, effects);
        if self.state == State::Closed || effects.time_wait {
            return false;
        }
        true
    }

    /// What an acceptable ACK means to what was sent.
    fn on_acknowledged(&mut self, segment: &Segment, cx: &mut Context<'_>, effects: &mut Effects) {
        let header = &segment.header;
        let acknowledged = header.acknowledgement;
        let size = self.segment_size() as u32;
        let una = self.position(acknowledged);
        let delivered = self.scoreboard.delivered();
        let news = self.sack && !segment.options.sack.is_empty() && {
            let blocks = segment.options.sack;
            let positions = blocks.iter().map(|(start, end)| (self.position(*start), self.position(*end)));
            let positions: arrayvec::ArrayVec<_, 4> = positions.collect();
            self.scoreboard.on_sack(positions.into_iter())
        };
        let window_before = self.snd_wnd;
        if acknowledged.after(self.snd_una) {
            self.on_advance(acknowledged, una, &segment.options, cx, effects);
        } else if acknowledged == self.snd_una && self.flight() > 0 {
            // A duplicate: with SACK one that reports something (RFC 6675 section 2), else by RFC 5681 section 2.
            let unchanged = u32::from(header.window) << self.snd_scale == window_before;
            if if self.sack { news } else { segment.len() == 0 && unchanged } {
                cx.counters.tcp.duplicate_acks += 1;
                self.scoreboard.on_duplicate(size, self.sack);
            }
        }
        self.update_window(header, cx);
        if self.flight() > 0
            && self.scoreboard.detect_loss(size, self.sack)
            && !self.lost_but_a_probe(cx, effects)
        {
            cx.counters.tcp.fast_recoveries += 1;
            self.timed = None;
            self.congestion.on_loss(cx.now, self.flight());
        }
        if self.scoreboard.phase() == Phase::Fast {
            let delivered = self.scoreboard.delivered().saturating_sub(delivered);
            self.scoreboard.on_delivered(delivered, size);
        }
    }

    /// SND.UNA moves.
    fn on_advance(
        &mut self,
        acknowledged: SeqNumber,
        una: u64,
        options: &TcpOptions,
        cx: &mut Context<'_>,
        effects: &mut Effects,
    ) {
        let bytes = acknowledged - self.snd_una;
        self.sample_rtt(acknowledged, options, cx);
        self.timeouts = 0;
        let fin_acknowledged = self.fin_sent() && acknowledged == self.snd_nxt;
        if self.small_end.before(acknowledged) {
            // Kept within half the sequence space of SND.UNA.
            self.small_end = acknowledged;
        }
        self.send.acknowledge(una.min(self.data_end()) - 1);
        let size = self.segment_size() as u32;
        let ended = self.scoreboard.on_acknowledged(una, size, self.sack);
        self.snd_una = acknowledged;
        self.on_sizes_acknowledged(una, cx, effects);
        match ended {
            Some(Phase::Fast) => self.congestion.on_recovered(cx.now, self.flight()),
            _ => match self.scoreboard.phase() {
                Phase::Open if !self.cwnd_limited => {}
                Phase::Open | Phase::Timeout => self.congestion.on_ack(cx.now, bytes, self.rtt.srtt),
                Phase::Fast => {}
            },
        }
        if self.flight() == 0 {
            self.deadlines.retransmit = None;
            self.stuck_since = None;
            self.cwnd_limited = false;
        } else {
            self.stuck_since = Some(cx.now);
            self.start_retransmit(cx.now, cx.config);
        }
        if self.state.may_send() && self.send.len() < cx.config.send_buffer {
            effects.ready |= Ready::WRITABLE;
        }
        if fin_acknowledged {
            match self.state {
                State::FinWait1 => {
                    self.state = State::FinWait2;
                    if !self.owned {
                        self.deadlines.orphan = Some(cx.now + cx.config.orphan_timeout);
                    }
                }
                State::Closing => {
                    effects.time_wait = true;
                    self.state = State::Closed;
                }
                State::LastAck => {
                    self.state = State::Closed;
                    effects.closed = true;
                }
                _ => {}
            }
        }
    }

    /// A sample of the round trip: the timed segment, or after a retransmission the echoed timestamp.
    pub(super) fn sample_rtt(&mut self, acknowledged: SeqNumber, options: &TcpOptions, cx: &Context<'_>) {
        if let Some((end, sent)) = self.timed {
            if acknowledged.at_or_after(end) {
                self.rtt.on_sample(cx.now.saturating_since(sent), cx.config);
                self.timed = None;
            }
            return;
        }
        // RFC 7323 section 4: an echo tells which of the copies was answered. One from before the latest
        // transmission may have waited for an ACK that was lost, and says too much.
        let ambiguous = self.rtt.backoff() > 0 || self.scoreboard.phase() != Phase::Open;
        let echoed = options.timestamps.filter(|it| self.timestamps && ambiguous && it.echo != 0);
        if let Some(timestamps) = echoed {
            let age = self.timestamp(cx.now).wrapping_sub(timestamps.echo);
            let latest = cx.now.as_millis().saturating_sub(self.last_sent.as_millis());
            if u64::from(age) <= latest {
                self.rtt.on_sample(Duration::from_millis(age.max(1).into()), cx.config);
            }
        }
    }

    /// RFC 9293 section 3.10.7.4: SND.WND, SND.WL1, SND.WL2. Also that it may have closed, or opened.
    pub(super) fn update_window(&mut self, header: &TcpHeader, cx: &Context<'_>) {
        // What acknowledges more was said later, also if it is old data that is sent again: the window of before would
        // slide beyond what the peer takes.
        let newer = self.snd_wl2.before(header.acknowledgement)
            || self.snd_wl1.before(header.sequence)
            || self.snd_wl1 == header.sequence && self.snd_wl2.at_or_before(header.acknowledgement);
        if !newer || header.acknowledgement.before(self.snd_una) {
            return;
        }
        let opened = self.snd_wnd == 0;
        self.snd_wnd = u32::from(header.window) << self.snd_scale;
        self.max_snd_wnd = self.max_snd_wnd.max(self.snd_wnd);
        self.snd_wl1 = header.sequence;
        self.snd_wl2 = header.acknowledgement;
        if opened && self.snd_wnd > 0 {
            self.deadlines.persist = None;
            self.timeouts = 0;
            self.rtt.reset_backoff();
            if self.flight() > 0 {
                self.start_retransmit(cx.now, cx.config);
            }
        }
    }
}
