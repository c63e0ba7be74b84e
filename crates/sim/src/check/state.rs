//! What can be told of connections from within: their control blocks after every turn, and how they have changed in it. Of
//! the invariants numbers 2, 3, 7 to 10, 12 and 13, and what of 11 has to do with what is held.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use sunstar_stack::time::Instant;
use sunstar_stack::{ConnectionKey, ControlBlock, State, TcpConfig};
use sunstar_wire::tcp::SeqNumber;

use super::Breach;
use super::breach::require;
use crate::decode::Segment;

/// What was known of a connection after the turn before.
#[derive(Clone, Debug)]
struct Seen {
    block: ControlBlock,
    /// When it last came closer to its end, if nobody owns it.
    progress: Instant,
}

/// The connections of one shard.
#[derive(Debug, Default)]
pub(crate) struct States {
    seen: BTreeMap<ConnectionKey, Seen>,
    by_tuple: BTreeMap<(SocketAddr, SocketAddr), ConnectionKey>,
}

/// What is known of a turn besides the connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a TcpConfig,
    /// Whether the device takes frames: without, nothing ends.
    pub(crate) can_send: bool,
    /// Whether the shard has more to do at once: timers that are due among it.
    pub(crate) busy: bool,
    /// When the shard's next timer fires, whosever it is.
    pub(crate) next_timer: Option<Instant>,
}

impl States {
    /// Judges the connections as they are after a turn.
    pub(crate) fn after_turn(
        &mut self,
        blocks: impl Iterator<Item = ControlBlock>,
        turn: Turn<'_>,
    ) -> Result<(), Breach> {
        let mut seen = BTreeMap::new();
        self.by_tuple.clear();
        for block in blocks {
            let before = self.seen.get(&block.key);
            let judged = judge(&block, turn)
                .and_then(|()| before.map_or(Ok(()), |before| judge_change(&before.block, &block)));
            let named = |breach: Breach| Breach {
                what: format!("{} ({} to {}, {:?})", breach.what, block.local, block.remote, block.state),
                ..breach
            };
            judged.map_err(named)?;
            let progress = match before {
                Some(before) if turn.can_send && is_the_same(&before.block, &block) => before.progress,
                _ => turn.now,
            };
            judge_age(&block, turn, progress).map_err(named)?;
            if block.state != State::Closed {
                self.by_tuple.insert((block.local, block.remote), block.key);
            }
            seen.insert(block.key, Seen { block, progress });
        }
        self.seen = seen;
        Ok(())
    }

    /// The connections as they were after the last turn.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &ControlBlock> {
        self.seen.values().map(|seen| &seen.block)
    }

    /// A connection as it was after the last turn.
    pub(crate) fn block(&self, tuple: (SocketAddr, SocketAddr)) -> Option<&ControlBlock> {
        Some(&self.seen.get(self.by_tuple.get(&tuple)?)?.block)
    }

    /// Whether the shard had this connection after the last turn.
    pub(crate) fn has(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        self.by_tuple.contains_key(&(local, remote))
    }

    /// The connections after the last turn, by their ends.
    pub(crate) fn tuples(&self) -> impl Iterator<Item = &(SocketAddr, SocketAddr)> {
        self.by_tuple.keys()
    }

    /// Invariant 11: what a segment built in this turn reports, the connection held when the turn began.
    pub(crate) fn check_reports(&self, segment: &Segment) -> Result<(), Breach> {
        let tuple = (segment.source.into(), segment.destination.into());
        let Some(seen) = self.by_tuple.get(&tuple).and_then(|key| self.seen.get(key)) else { return Ok(()) };
        let mut blocks: Vec<_> =
            segment.options.sack.iter().map(|(left, right)| (SeqNumber(*left), SeqNumber(*right))).collect();
        for (left, right) in &blocks {
            let held = seen
                .block
                .early
                .iter()
                .any(|(start, end)| start.at_or_before(*left) && right.at_or_before(*end));
            require(11, held && left.before(*right), || {
                format!("reports {left} to {right}, which it does not hold")
            })?;
            require(11, left.after(SeqNumber(segment.ack)), || {
                format!("reports {left} to {right} and acknowledges {}", segment.ack)
            })?;
        }
        blocks.sort_by_key(|(left, _)| *left - SeqNumber(segment.ack));
        let disjoint = blocks.windows(2).all(|pair| pair[0].1.before(pair[1].0));
        require(11, disjoint, || format!("reports ranges that overlap: {blocks:?}"))
    }
}

/// What holds of a connection at any time.
fn judge(block: &ControlBlock, turn: Turn<'_>) -> Result<(), Breach> {
    let config = turn.config;
    // RFC 6298 (2.4), (2.5).
    require(9, (config.min_rto..=config.max_rto).contains(&block.rto), || {
        format!("a retransmission timeout of {:?}", block.rto)
    })?;
    if block.state == State::Closed {
        return Ok(());
    }
    require(2, block.snd_una.at_or_before(block.snd_nxt), || {
        format!("SND.UNA {} is beyond SND.NXT {}", block.snd_una, block.snd_nxt)
    })?;
    let flight = block.snd_nxt - block.snd_una;
    let syn = u32::from(block.snd_una == block.iss && flight > 0);
    let most = block.queued as u32 + syn + u32::from(block.fin_sent);
    require(3, flight <= most, || format!("{flight} outstanding of {most} that there are"))?;
    require(7, block.cwnd as usize >= block.segment_size, || {
        format!("a congestion window of {} bytes for segments of {}", block.cwnd, block.segment_size)
    })?;
    // Karn's rule: what was sent twice is not timed, and so nothing is in recovery.
    require(9, block.timed.is_none() || !block.recovering, || "a segment is timed in recovery".into())?;
    judge_timers(block, flight, turn)?;
    let mut edge = block.rcv_nxt;
    for (start, end) in &block.early {
        require(11, edge.before(*start) && start.before(*end), || {
            format!("holds {start} to {end}, and everything to {edge}")
        })?;
        edge = *end;
    }
    Ok(())
}

/// Invariant 8: whatever waits for the peer has a timer, and the timer fires.
fn judge_timers(block: &ControlBlock, flight: u32, turn: Turn<'_>) -> Result<(), Breach> {
    require(8, flight == 0 || block.retransmit.is_some(), || {
        format!("{flight} bytes outstanding without a retransmission timer")
    })?;
    let to_say = block.unsent > 0 || block.fin_queued && !block.fin_sent;
    let synchronised = !matches!(block.state, State::SynSent | State::SynReceived);
    let held_up = synchronised && to_say && flight == 0 && !block.listed && !block.parked;
    require(8, !held_up || block.persist.is_some(), || {
        format!("{} bytes wait for a window of {} without a persist timer", block.unsent, block.snd_wnd)
    })?;
    if let Some(earliest) = block.earliest {
        require(8, block.armed.is_some_and(|armed| armed <= earliest), || {
            format!("a deadline at {earliest}, and a timer at {:?}", block.armed)
        })?;
        let fires = turn.next_timer.is_some_and(|next| block.armed.is_some_and(|armed| next <= armed));
        require(8, fires, || {
            format!("a timer at {:?}, and the wheel stops at {:?}", block.armed, turn.next_timer)
        })?;
        require(8, turn.busy || earliest > turn.now, || format!("a deadline at {earliest} has passed"))?;
    }
    // RFC 6298 (5.1): no timer is further away than the longest timeout.
    let latest = turn.now + turn.config.max_rto;
    require(9, block.retransmit.is_none_or(|at| at <= latest), || {
        format!("data is sent again at {:?}, after the longest timeout", block.retransmit)
    })
}

/// What holds of every change.
fn judge_change(before: &ControlBlock, block: &ControlBlock) -> Result<(), Breach> {
    require(12, may_become(before.state, block.state), || {
        format!("went from {:?} to {:?}", before.state, block.state)
    })?;
    if before.state == State::Closed || block.state == State::Closed {
        return Ok(());
    }
    require(2, block.snd_una.at_or_after(before.snd_una), || {
        format!("SND.UNA went back from {} to {}", before.snd_una, block.snd_una)
    })?;
    require(2, block.snd_nxt.at_or_after(before.snd_nxt), || {
        format!("SND.NXT went back from {} to {}", before.snd_nxt, block.snd_nxt)
    })?;
    if before.irs == block.irs && before.state != State::SynSent {
        require(10, block.rcv_nxt.at_or_after(before.rcv_nxt), || {
            format!("RCV.NXT went back from {} to {}", before.rcv_nxt, block.rcv_nxt)
        })?;
        require(4, block.rcv_adv.at_or_after(before.rcv_adv), || {
            format!("the right edge went back from {} to {}", before.rcv_adv, block.rcv_adv)
        })?;
    }
    // Flight may be above a window that has become smaller, but nothing new is sent then.
    // A lone FIN is no load, and is not held back (as Linux).
    let sent = block.snd_nxt - before.snd_nxt - u32::from(block.fin_sent && !before.fin_sent);
    let in_recovery = before.recovering || block.recovering || before.probing || block.probing;
    let synchronised = before.state != State::SynSent && before.state != State::SynReceived;
    let window = u64::from(before.cwnd.max(block.cwnd));
    // The device pulls before anything is received: what was in the network then, and what was added.
    let most = before.pipe + u64::from(sent);
    require(7, sent == 0 || in_recovery || !synchronised || block.pipe.max(most) <= window + 1, || {
        format!("{sent} bytes more were sent: {most} were in the network then, the window is {window}")
    })?;
    // Karn's rule: what is timed was sent for the first time since something was sent again.
    let again = block.retransmissions > before.retransmissions;
    require(9, !again || block.timed.is_none_or(|end| end.after(before.snd_nxt)), || {
        format!("{:?} is timed, and something was sent twice", block.timed)
    })?;
    Ok(())
}

/// Invariant 13: nobody waits for ever for a connection that its application has closed.
fn judge_age(block: &ControlBlock, turn: Turn<'_>, progress: Instant) -> Result<(), Breach> {
    let config = turn.config;
    let closed = !block.owned && !block.listening && block.state != State::Closed;
    // R2 at the longest timeout, once for what is outstanding and once for a closed window, and then an orphan's time.
    let bound = (u32::from(config.retries) + 2) * config.max_rto * 2 + config.orphan_timeout;
    let bound = bound + Duration::from_secs(120);
    let age = turn.now.saturating_since(progress);
    require(13, !closed || age <= bound, || format!("nothing has come of it in {age:?} since it was closed"))
}

fn is_the_same(before: &ControlBlock, block: &ControlBlock) -> bool {
    (before.state, before.snd_una, before.snd_nxt, before.rcv_nxt, before.owned)
        == (block.state, block.snd_una, block.snd_nxt, block.rcv_nxt, block.owned)
}

/// Invariant 12: RFC 9293 section 3.3.2, any number of steps at once, as one turn takes many segments. TIME-WAIT is a table
/// of its own: a connection there is Closed.
fn may_become(from: State, to: State) -> bool {
    use State::{CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, SynReceived, SynSent};
    let next: &[State] = match from {
        SynSent => &[SynReceived, Established, Closed],
        SynReceived => &[Established, FinWait1, CloseWait, Closed],
        Established => &[FinWait1, CloseWait, Closed],
        FinWait1 => &[FinWait2, Closing, Closed],
        CloseWait => &[LastAck, Closed],
        FinWait2 | Closing | LastAck => &[Closed],
        Closed => &[],
    };
    from == to || next.iter().any(|next| *next == to || may_become(*next, to))
}
