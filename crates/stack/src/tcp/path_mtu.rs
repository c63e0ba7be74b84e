//! How large segments may be on their path: what routers say of it, as far as it can be believed (RFC 1191, RFC 5927
//! section 7), and what timeouts and probes find out where they say nothing (RFC 8899, RFC 4821).
//!
//! A path that swallows large segments shows itself by timeouts. The second one in a row has the same data sent again in
//! smaller pieces. If these arrive, a *probe* of the old size follows, a segment of ordinary data: if it arrives, too, it
//! had been plain loss, and all is as before; if not, a binary search finds the size between. A lost probe is sent again
//! in smaller pieces, and says nothing about congestion.

use sunstar_wire::tcp::SeqNumber;

use super::congestion::CongestionControl;
use super::connection::{Connection, State, mss_for};
use super::input::{Context, Effects};
use super::recovery::Phase;
use super::{ConnectionKey, Tcp};
use crate::config::PathMtuConfig;
use crate::core::Core;
use crate::counters::TcpCounters;
use crate::ip::icmp::IcmpError;
use crate::ip::path_mtu::{PathMtu, PathMtuSource, PathNews, TooBig};
use crate::time::{Duration, Instant};

/// Bytes of the IP and TCP headers without options.
const HEADERS: u16 = 40;

/// Packets that are tried, the greatest first, when larger ones vanish: Ethernet's, and one that fits any tunnel through it
/// (RFC 8899 section 5.1.2). Last of all comes the least that is believed of a path.
const DOWNWARDS: [u16; 2] = [1_500, 1_200];

/// Losses of full segments in a row, without anything having arrived between them, that have smaller ones tried: timeouts
/// count, and of the segments that the first was about two more. So that is the second timeout of a window, and the third
/// of a lone segment, which plain loss may hit as well.
const LOSSES: u32 = 4;

/// How long nothing may have been acknowledged before the least size is tried: packets of less than 1,200 bytes hardly
/// ever vanish for their size. Early enough for data to flow again within ten seconds, as the timeout doubles.
const PATIENCE: Duration = Duration::from_millis(4_500);

/// Probes of one size lost in a row, before it is taken for too large (RFC 8899 section 5.1.2, MAX_PROBES).
const MAX_LOST: u8 = 3;

/// A search has ended when it has come so close, in bytes.
const CLOSE_ENOUGH: u16 = 16;

/// Full segments that have to follow a probe, so that it is found out without a timeout if it is lost.
const FOLLOWERS: u64 = 3;

/// What a connection knows of the packets its path takes. All sizes are those of IP packets, in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathSizes {
    /// The epoch of the shard's knowledge that it has looked at.
    epoch: u64,
    /// The shard knows of a smaller size; but larger ones were acknowledged here, so it is not believed without a timeout.
    doubted: bool,
    /// Some of what was outstanding at the first timeout in a row had arrived.
    arrived: bool,
    /// The largest that was acknowledged (RFC 5927 section 7.2, maxsizeacked).
    acknowledged: u16,
    /// The largest outstanding, if larger than that, and the position behind it.
    outstanding: Option<(u16, u64)>,
    /// What a router claims that is not believed yet: a size, and the position its quote began at.
    claim: Option<(u16, u64)>,
    /// The search for the greatest size that the path takes, while it takes less than it could.
    search: Option<Box<Search>>,
}

/// The search for the greatest size a path takes. The least is the size that is in use.
#[derive(Clone, Debug)]
struct Search {
    /// The size to be reached.
    top: u16,
    /// The least size that is too large. None is known as long as `top` itself is to be tried.
    high: Option<u16>,
    /// Smaller segments are being tried, and nothing has been acknowledged since.
    trial: bool,
    /// Probes of the same size lost in a row.
    lost: u8,
    probe: Option<Probe>,
    /// Not to go on before.
    not_before: Instant,
    /// A probe is to go, as soon as there is enough to send.
    due: bool,
}

/// A probe that is outstanding: its size, and its positions.
#[derive(Clone, Copy, Debug)]
struct Probe {
    size: u16,
    start: u64,
    end: u64,
}

impl Search {
    fn new(top: u16, not_before: Instant) -> Self {
        Self { top, high: None, trial: false, lost: 0, probe: None, not_before, due: false }
    }

    /// The next size to be tried, above the one in use.
    fn next(&self, low: u16) -> u16 {
        // First of all whether there is anything to be searched for.
        self.high.map_or(self.top, |high| low + high.saturating_sub(low) / 2)
    }

    /// After a while all is tried again.
    fn rest(&mut self, until: Instant) {
        (self.high, self.lost, self.not_before) = (None, 0, until);
    }
}

/// What is to be thought of a router's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Believed,
    Later,
    Ignored,
}

/// Whether a probe goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbePlan {
    /// Now, with so many bytes.
    Go(usize),
    /// As soon as there is room for it: nothing else goes before.
    Wait,
    /// No.
    None,
}

impl PathSizes {
    /// Whether there may be something to be heeded that was not.
    fn has_news(&self, epoch: u64, timeouts: u32) -> bool {
        self.epoch != epoch || self.doubted && timeouts > 0
    }

    /// A packet was sent, up to a position.
    fn on_sent(&mut self, size: u16, end: u64) {
        let known = self.outstanding.map_or(self.acknowledged, |(size, _)| size);
        if size > known {
            self.outstanding = Some((size, end));
        }
    }

    /// What lies there is sent again: whether a probe arrived nobody can tell any more.
    pub(super) fn on_resent(&mut self, start: u64, end: u64) {
        if let Some(search) = &mut self.search {
            search.probe = search.probe.filter(|probe| end <= probe.start || probe.end <= start);
        }
    }
}

impl Tcp {
    /// A router says that a segment of ours was too big for it. The segment is outstanding, or the message is forged (RFC
    /// 5927 section 4).
    pub(super) fn on_too_big(
        &mut self,
        core: &mut Core,
        key: ConnectionKey,
        sequence: SeqNumber,
        (error, too_big): (&IcmpError, &TooBig),
    ) {
        let Some((destination, mtu)) = core.claimed_mtu(error, too_big) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.judge_claim(mtu, connection.position(sequence)) {
            Judgement::Believed => {
                core.on_path_news(destination, PathNews::Claimed(mtu));
                self.update(core, key);
            }
            Judgement::Later => {}
            Judgement::Ignored => core.counters.drops.too_big_ignored += 1,
        }
    }
}

/// Brings a connection in line with what its shard knows of the path.
pub(super) fn heed(core: &Core, connection: &mut Connection) {
    let epoch = core.path_mtus.epoch();
    if connection.sizes.has_news(epoch, connection.timeouts) {
        (connection.sizes.epoch, connection.sizes.doubted) = (epoch, false);
        let destination = (connection.path.interface, connection.remote().ip());
        let known = core.path_mtus.get(destination, core.now);
        connection.heed_path(known, core);
    }
    if let Some(search) = &mut connection.sizes.search {
        search.due = !search.trial && search.probe.is_none() && core.now >= search.not_before;
    }
}

impl Connection {
    /// Whether a probe of a larger size is outstanding.
    pub(crate) fn is_probing_the_path(&self) -> bool {
        self.sizes.search.as_ref().is_some_and(|search| search.probe.is_some())
    }

    /// The largest packet it sends. No MSS is above 65,495.
    fn packet_size(&self) -> u16 {
        self.snd_mss + HEADERS
    }

    /// The largest packet that the peer and the interface take.
    fn greatest_size(&self) -> u16 {
        self.peer_mss.min(mss_for(self.path.link_mtu)) + HEADERS
    }

    fn heed_path(&mut self, known: Option<PathMtu>, core: &Core) {
        let limit = known.map_or(self.path.link_mtu, |known| self.path.link_mtu.min(known.mtu.into()));
        let by_router = known.is_some_and(|known| known.source == PathMtuSource::Icmp);
        if limit < self.path.mtu {
            if usize::from(self.sizes.acknowledged) > limit && self.timeouts == 0 {
                // RFC 5927 section 7.2: what gets through is believed more than what somebody says.
                self.sizes.doubted = true;
            } else {
                self.shrink(limit, core);
            }
        } else if limit > self.path.mtu {
            self.aim_higher(limit, known.is_some() && !by_router, core.now);
        } else if by_router {
            // It has refused the probe, if there is one outstanding; there is nothing more to be found out.
            let size = self.packet_size();
            self.sizes.search.take_if(|search| search.probe.is_none());
            if let Some(search) = &mut self.sizes.search {
                search.top = size;
            }
        }
    }

    /// The path takes less than was thought: segments are smaller from now on, and what is outstanding is cut anew and
    /// sent again at once. That it was lost says nothing about congestion (RFC 1191 section 6.4).
    fn shrink(&mut self, mtu: usize, core: &Core) {
        let before = self.snd_mss;
        self.path.mtu = mtu;
        self.sizes.acknowledged = self.sizes.acknowledged.min(mtu.try_into().unwrap_or(u16::MAX));
        // Who found out searches on; and a router knows.
        self.sizes.search = None;
        self.set_segment_size();
        if self.snd_mss < before && self.state.is_synchronized() && self.flight() > 0 {
            self.scoreboard.on_too_large();
            self.sizes.outstanding = None;
            self.timed = None;
            self.start_retransmit(core.now, &core.config.tcp);
        }
    }

    /// The path may take more than is sent: as much was proven by another connection, or it is to be found out.
    fn aim_higher(&mut self, limit: usize, proven: bool, now: Instant) {
        let top = self.greatest_size().min(limit.try_into().unwrap_or(u16::MAX));
        if proven || !self.state.is_synchronized() || top <= self.packet_size() {
            self.path.mtu = limit;
            self.set_segment_size();
            // Who has proven it searches on.
            self.sizes.search = None;
            return;
        }
        match &mut self.sizes.search {
            Some(search) => {
                search.top = top;
                search.high = search.high.filter(|high| *high <= top);
            }
            None => self.sizes.search = Some(Box::new(Search::new(top, now))),
        }
    }

    /// Segments are as large as the peer and the path take.
    fn set_segment_size(&mut self) {
        let mss = self.peer_mss.min(mss_for(self.path.mtu));
        if mss != self.snd_mss {
            self.snd_mss = mss;
            self.congestion.on_mss_changed(mss.into());
        }
    }

    /// RFC 5927 section 7.2: what is claimed of packets larger than any that were sent is a lie; what contradicts
    /// acknowledgements has to wait for a timeout.
    fn judge_claim(&mut self, mtu: u16, position: u64) -> Judgement {
        let sizes = &mut self.sizes;
        let largest = sizes.outstanding.map_or(sizes.acknowledged, |(size, _)| size);
        if mtu >= largest {
            Judgement::Ignored
        } else if mtu < sizes.acknowledged && self.timeouts == 0 {
            // One is kept: the one whose place it takes comes to nothing, and counts in its stead.
            let before = sizes.claim.replace((mtu, position));
            if before.is_some() { Judgement::Ignored } else { Judgement::Later }
        } else {
            Judgement::Believed
        }
    }

    /// SND.UNA moves to a position: what was outstanding has arrived.
    pub(super) fn on_sizes_acknowledged(&mut self, una: u64, cx: &mut Context<'_>, effects: &mut Effects) {
        let sizes = &mut self.sizes;
        if let Some((size, _)) = sizes.outstanding.take_if(|(_, end)| *end <= una) {
            sizes.acknowledged = sizes.acknowledged.max(size);
        }
        if sizes.claim.take_if(|(_, start)| *start < una).is_some() {
            // What it was about has arrived.
            cx.counters.drops.too_big_ignored += 1;
        }
        let Some(search) = &mut sizes.search else { return };
        if std::mem::take(&mut search.trial) {
            search.not_before = cx.now;
            effects.path = Some(PathNews::Trial(self.packet_size()));
        } else if let Some(probe) = search.probe.take_if(|probe| probe.end <= una) {
            self.on_probe_acknowledged(probe.size, cx, effects);
        }
    }

    fn on_probe_acknowledged(&mut self, size: u16, cx: &mut Context<'_>, effects: &mut Effects) {
        cx.counters.tcp.path_probes_acknowledged += 1;
        self.path.mtu = usize::from(size).max(self.path.mtu);
        self.set_segment_size();
        let Some(search) = &mut self.sizes.search else { return };
        search.lost = 0;
        if size >= search.top {
            self.sizes.search = None;
            effects.path = Some(PathNews::Unlimited);
        } else {
            self.look_whether_found(cx, effects);
        }
    }

    /// What was found is known from now on; and whether there is anything more to be found.
    fn look_whether_found(&mut self, cx: &Context<'_>, effects: &mut Effects) {
        let low = self.packet_size();
        let Some(search) = &mut self.sizes.search else { return };
        effects.path = Some(PathNews::Limit(low));
        if search.high.is_some_and(|high| high.saturating_sub(low) <= CLOSE_ENOUGH) {
            search.rest(cx.now + cx.path_mtu.lifetime);
        }
    }

    /// Whether what was just found lost is a probe and nothing else. It is sent again in smaller pieces.
    pub(super) fn lost_but_a_probe(&mut self, cx: &mut Context<'_>, effects: &mut Effects) -> bool {
        let una = self.scoreboard.una();
        let Some(search) = &mut self.sizes.search else { return false };
        let Some(probe) = search.probe.take_if(|probe| probe.start == una) else { return false };
        self.scoreboard.on_probe_lost(probe.end);
        self.sizes.outstanding = None;
        self.timed = None;
        self.on_probe_lost(probe.size, cx, effects);
        true
    }

    fn on_probe_lost(&mut self, size: u16, cx: &mut Context<'_>, effects: &mut Effects) {
        cx.counters.tcp.path_probes_lost += 1;
        let low = self.packet_size();
        let Some(search) = &mut self.sizes.search else { return };
        if search.top < size {
            // A router said so, and how much it takes.
            search.rest(cx.now);
            if search.top <= low {
                self.sizes.search = None;
            }
            return;
        }
        search.lost += 1;
        if search.lost < MAX_LOST {
            return;
        }
        if search.high.is_none() {
            cx.counters.tcp.black_holes += 1;
        }
        (search.lost, search.high) = (0, Some(size));
        self.look_whether_found(cx, effects);
    }

    /// A retransmission has timed out. What was claimed and not believed is now; and if large segments seem to vanish,
    /// smaller ones are tried.
    pub(super) fn on_size_timeout(&mut self, cx: &mut Context<'_>, effects: &mut Effects) {
        if let Some(search) = self.sizes.search.as_mut().filter(|search| search.probe.is_some()) {
            // More is amiss than that a probe was too large. It says nothing, and the next one waits.
            (search.probe, search.not_before) = (None, cx.now + self.rtt.rto(cx.config));
        }
        if self.timeouts == 1 {
            self.sizes.arrived = self.scoreboard.has_reports();
        }
        let flight = self.flight() / self.segment_size() as u32;
        let losses = self.timeouts + if self.sizes.arrived { 0 } else { flight.min(2) };
        if let Some((mtu, _)) = self.sizes.claim.take() {
            effects.path = Some(PathNews::Claimed(mtu));
        } else if losses >= LOSSES && cx.path_mtu.probing && self.snd_wnd > 0 {
            self.try_smaller(cx);
        }
    }

    fn try_smaller(&mut self, cx: &Context<'_>) {
        let size = self.packet_size();
        let options = self.snd_mss.saturating_sub(self.segment_size() as u16);
        let data = self.data_end().min(self.position(self.snd_nxt)).saturating_sub(self.scoreboard.una());
        let sent = data.saturating_add((HEADERS + options).into());
        // Smaller than what is sent again now, or it would prove nothing.
        let smaller = |candidate: &u16| *candidate < size && u64::from(*candidate) < sent;
        let least = least_size(cx.path_mtu);
        let stuck = self.stuck_since.is_some_and(|since| cx.now.saturating_since(since) >= PATIENCE);
        let usual = DOWNWARDS.into_iter().filter(|candidate| *candidate > least);
        let Some(next) = usual.chain(stuck.then_some(least)).find(smaller) else { return };
        let search = self.sizes.search.get_or_insert_with(|| Box::new(Search::new(size, cx.now)));
        search.rest(cx.now);
        search.trial = true;
        self.path.mtu = next.into();
        self.sizes.outstanding = None;
        self.set_segment_size();
    }

    /// Whether a probe is to go, `pipe` bytes being in the network, and `room` left by the windows.
    pub(super) fn plan_path_probe(&self, pipe: u64, window_end: u64, room: u64) -> ProbePlan {
        let Some(search) = self.sizes.search.as_deref().filter(|search| search.due) else {
            return ProbePlan::None;
        };
        if self.scoreboard.phase() != Phase::Open
            || !matches!(self.state, State::Established | State::CloseWait)
        {
            return ProbePlan::None;
        }
        let size = self.segment_size() as u64;
        let low = self.packet_size();
        let len = size + u64::from(search.next(low).saturating_sub(low));
        // Enough has to follow for its loss to be seen without a timeout.
        let needed = len + FOLLOWERS * size;
        let una = self.scoreboard.una();
        if self.unsent() < needed || window_end - una < needed || u64::from(self.congestion.window()) < needed
        {
            return ProbePlan::None;
        }
        match room >= len {
            true => ProbePlan::Go(len as usize),
            // Acknowledgements make room.
            false if pipe > 0 => ProbePlan::Wait,
            false => ProbePlan::None,
        }
    }

    /// Data was sent, in one packet or in full segments; or a probe.
    pub(super) fn note_size(&mut self, start: u64, len: usize, probe: bool, counters: &mut TcpCounters) {
        let full = self.segment_size();
        let piece = if probe { len } else { len.min(full) };
        let (size, end) = (self.packet_size() - full as u16 + piece as u16, start + len as u64);
        self.sizes.on_sent(size, end);
        if let Some(search) = self.sizes.search.as_mut().filter(|_| probe) {
            (search.probe, search.due) = (Some(Probe { size, start, end }), false);
            counters.path_probes_sent += 1;
        }
    }
}

/// The least packet that is ever tried.
fn least_size(config: &PathMtuConfig) -> u16 {
    config.min_mtu.max(68)
}
