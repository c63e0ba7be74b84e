//! The scoreboard (RFC 6675, a simple form): ranges the peer reported, the edge below which the rest is
//! taken for lost, and how much of that was sent again. Without SACK it counts duplicate ACKs instead (RFC 6582).
//!
//! Positions count the sequence space from the SYN on: the SYN is 0, the first byte 1.

use crate::tcp::range_set::RangeSet;

/// Which kind of recovery is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// None.
    #[default]
    Open,
    /// Fast recovery (RFC 6675, RFC 6582).
    Fast,
    /// After a retransmission timeout (RFC 5681 section 3.1).
    Timeout,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Scoreboard {
    sacked: RangeSet,
    una: u64,
    nxt: u64,
    /// What is not sacked below this is taken for lost.
    lost_edge: u64,
    /// What was lost below this was sent again.
    resent: u64,
    /// Recovery ends when everything below this is acknowledged.
    recovery_point: u64,
    phase: Phase,
    /// The next lost segment goes at once, however full the network still is.
    owes: bool,
    /// Bytes delivered in this fast recovery that nothing was sent for yet.
    balance: u64,
    /// Bytes that may be sent before the next ACK of a fast recovery.
    allowance: u64,
    duplicates: u32,
    /// Without SACK: bytes that duplicate ACKs say have left the network.
    departed: u64,
}

/// DupThresh of RFC 6675.
const DUP_THRESH: u32 = 3;

impl Scoreboard {
    /// Everything up to `nxt` was sent.
    pub(crate) fn on_sent(&mut self, nxt: u64) {
        self.spend(nxt.saturating_sub(self.nxt));
        self.nxt = self.nxt.max(nxt);
    }

    fn spend(&mut self, bytes: u64) {
        self.balance = self.balance.saturating_sub(bytes);
        self.allowance = self.allowance.saturating_sub(bytes);
    }

    /// How far delivery has come: a number that grows by what each ACK reports as delivered.
    pub(crate) fn delivered(&self) -> u64 {
        self.una + self.sacked.bytes() + self.departed
    }

    /// An ACK has delivered so many bytes. In fast recovery it pays for as many, and a segment more (the bound of
    /// RFC 6937 section 3, PRR-SSRB): a large hole found at once is no reason for a burst, most of which would be lost
    /// again.
    pub(crate) fn on_delivered(&mut self, bytes: u64, mss: u32) {
        self.balance += bytes;
        self.allowance = self.balance.max(bytes) + u64::from(mss);
    }

    /// What may be sent now as far as recovery is concerned.
    pub(crate) fn allowance(&self) -> u64 {
        if self.phase == Phase::Fast { self.allowance } else { u64::MAX }
    }

    /// What was lost is sent again up to a position.
    pub(crate) fn on_resent(&mut self, end: u64) {
        self.spend(end.saturating_sub(self.resent));
        self.resent = self.resent.max(end);
        self.owes = false;
    }

    /// Whether the next lost segment goes at once, whatever the window has room for: the first of a recovery (RFC
    /// 6675 section 5, step 4.3; RFC 5681 section 3.2, step 3), and without SACK the one a partial ACK stops at (RFC
    /// 6582 section 3.2, step 3).
    pub(crate) fn owes_a_segment(&self) -> bool {
        self.owes
    }

    /// Whether the peer has reported anything beyond what it acknowledges.
    pub(crate) fn has_reports(&self) -> bool {
        self.sacked.bytes() > 0
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn una(&self) -> u64 {
        self.una
    }

    /// Ranges the peer holds, by its report; only of what was sent and not acknowledged. Whether any was news.
    pub(crate) fn on_sack(&mut self, blocks: impl Iterator<Item = (u64, u64)>) -> bool {
        let before = self.sacked.bytes();
        for (start, end) in blocks {
            if self.una < start && start < end && end <= self.nxt {
                self.sacked.insert(start, end);
            }
        }
        self.sacked.bytes() != before
    }

    /// A duplicate ACK, or one with news in its SACK blocks.
    pub(crate) fn on_duplicate(&mut self, mss: u32, sack: bool) {
        self.duplicates = self.duplicates.saturating_add(1);
        if !sack {
            self.departed = (self.departed + u64::from(mss)).min(self.nxt - self.una);
        }
    }

    /// Everything below `una` is acknowledged. Whether that ends a recovery, and which.
    pub(crate) fn on_acknowledged(&mut self, una: u64, mss: u32, sack: bool) -> Option<Phase> {
        let advanced = una - self.una;
        self.una = una;
        self.duplicates = 0;
        // RFC 6582 section 3.2, step 3: a partial ACK takes off what it acknowledged, but for a segment.
        self.departed = self.departed.saturating_sub(advanced.saturating_sub(u64::from(mss)));
        // RFC 2018 section 8: the peer had reported this, and has dropped it.
        if self.sacked.containing(una).is_some_and(|(start, _)| start <= una) {
            self.sacked.clear();
        }
        self.sacked.trim_below(una);
        self.lost_edge = self.lost_edge.max(una);
        self.resent = self.resent.max(una);
        if self.phase == Phase::Open {
            self.departed = 0;
            return None;
        }
        if una >= self.recovery_point {
            self.departed = 0;
            self.lost_edge = una;
            self.resent = una;
            self.owes = false;
            return Some(std::mem::take(&mut self.phase));
        }
        if self.phase == Phase::Fast && !sack {
            // RFC 6582: what a partial ACK stops at is lost too.
            self.lost_edge = self.lost_edge.max((una + u64::from(mss)).min(self.nxt));
            self.owes = true;
        }
        None
    }

    /// Looks for loss (RFC 6675 section 4, IsLost; section 5). True when fast recovery begins here.
    pub(crate) fn detect_loss(&mut self, mss: u32, sack: bool) -> bool {
        if self.una == self.nxt {
            return false;
        }
        let mut edge = self.lost_edge;
        if sack {
            let mut above = 0;
            for (start, end) in self.sacked.iter().rev() {
                above += end - start;
                if above > u64::from((DUP_THRESH - 1) * mss) {
                    edge = edge.max(start);
                    break;
                }
            }
        }
        match self.phase {
            Phase::Open if self.duplicates >= DUP_THRESH || edge > self.una => {
                let first = self.sacked.first().map_or(self.nxt, |(start, _)| start);
                self.lost_edge = edge.max((self.una + u64::from(mss)).min(first));
                self.resent = self.una;
                self.recovery_point = self.nxt;
                self.phase = Phase::Fast;
                self.owes = true;
                self.balance = 0;
                true
            }
            Phase::Open => false,
            Phase::Fast | Phase::Timeout => {
                self.lost_edge = edge;
                false
            }
        }
    }

    /// The retransmission timer fired, for the first time or `again` without progress: everything not sacked is lost.
    pub(crate) fn on_timeout(&mut self, again: bool) {
        if again {
            // RFC 2018 section 8: do not rely on reports for ever.
            self.sacked.clear();
        }
        self.on_too_large();
    }

    /// What is outstanding was too large for its path: everything not sacked is lost, and is sent again as after a timeout.
    pub(crate) fn on_too_large(&mut self) {
        self.phase = Phase::Timeout;
        self.recovery_point = self.nxt;
        self.lost_edge = self.nxt;
        self.resent = self.una;
        self.duplicates = 0;
        self.departed = 0;
        self.owes = false;
    }

    /// What was lost is a probe of the path, up to `end`: it is sent again at once, and when it has arrived all is as
    /// before. No other loss is looked for meanwhile that would be a sign of congestion.
    pub(crate) fn on_probe_lost(&mut self, end: u64) {
        self.phase = Phase::Timeout;
        self.recovery_point = end;
        self.lost_edge = self.lost_edge.max(end);
        self.resent = self.una;
        self.duplicates = 0;
        self.owes = true;
    }

    /// The next range to be sent again.
    pub(crate) fn next_lost(&self) -> Option<(u64, u64)> {
        self.sacked.gap(self.resent.max(self.una), self.lost_edge)
    }

    /// Bytes in the network (RFC 6675 section 4, SetPipe).
    pub(crate) fn pipe(&self) -> u64 {
        let resent = self.resent.max(self.una).min(self.lost_edge);
        let waiting = self.lost_edge - resent - self.sacked.bytes_within(resent, self.lost_edge);
        (self.nxt - self.una).saturating_sub(self.sacked.bytes() + waiting + self.departed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 100;

    fn sent(nxt: u64) -> Scoreboard {
        let mut board = Scoreboard::default();
        board.on_sent(nxt);
        board.on_acknowledged(1, MSS, true);
        board
    }

    #[test]
    fn three_segments_above_a_hole_make_it_lost() {
        let mut board = sent(1_001);
        for end in [301, 401] {
            board.on_sack([(201, end)].into_iter());
            board.on_duplicate(MSS, true);
            assert!(!board.detect_loss(MSS, true));
        }
        board.on_sack([(201, 501)].into_iter());
        board.on_duplicate(MSS, true);
        assert!(board.detect_loss(MSS, true));
        assert_eq!(board.next_lost(), Some((1, 201)));
        assert_eq!(board.pipe(), 500, "1000 less 300 sacked and 200 lost");
        board.on_resent(101);
        assert_eq!((board.next_lost(), board.pipe()), (Some((101, 201)), 600));
        assert_eq!(board.on_acknowledged(501, MSS, true), None);
        assert_eq!(board.on_acknowledged(1_001, MSS, true), Some(Phase::Fast));
    }

    #[test]
    fn a_large_hole_found_at_once_is_no_reason_for_a_burst() {
        let mut board = sent(10_001);
        let before = board.delivered();
        board.on_sack([(8_001, 8_401)].into_iter());
        board.on_duplicate(MSS, true);
        assert!(board.detect_loss(MSS, true));
        board.on_delivered(board.delivered() - before, MSS);
        assert_eq!(board.next_lost(), Some((1, 8_001)));
        assert_eq!(board.allowance(), 500, "what was delivered, and a segment");
        board.on_resent(501);
        assert_eq!(board.allowance(), 0);
        board.on_delivered(100, MSS);
        assert_eq!(board.allowance(), 200);
        board.on_acknowledged(10_001, MSS, true);
        assert_eq!(board.allowance(), u64::MAX, "the recovery is over");
    }

    #[test]
    fn without_sack_a_partial_ack_brings_the_next_hole() {
        let mut board = sent(1_001);
        for _ in 0..3 {
            board.on_duplicate(MSS, false);
        }
        assert!(board.detect_loss(MSS, false));
        assert_eq!(board.next_lost(), Some((1, 101)));
        board.on_resent(101);
        assert_eq!(board.next_lost(), None);
        assert_eq!(board.on_acknowledged(301, MSS, false), None);
        assert_eq!(board.next_lost(), Some((301, 401)));
    }

    #[test]
    fn a_report_of_what_was_never_sent_or_is_acknowledged_changes_nothing() {
        let mut board = sent(1_001);
        assert!(!board.on_sack([(0, 50), (900, 1_002), (500, 400), (5_000, 6_000)].into_iter()));
    }

    #[test]
    fn after_a_timeout_everything_unreported_is_sent_again() {
        let mut board = sent(1_001);
        board.on_sack([(201, 301)].into_iter());
        board.on_timeout(false);
        assert_eq!((board.pipe(), board.next_lost()), (0, Some((1, 201))));
        board.on_resent(201);
        assert_eq!(board.next_lost(), Some((301, 1_001)));
        board.on_timeout(true);
        assert_eq!(board.next_lost(), Some((1, 1_001)), "reports are not relied on for ever");
    }
}
