//! IGMP for a host (RFC 3376, and RFC 2236 and 1112 where a router speaks no more): the routers of the link are told
//! which groups the host receives, from any source.
//!
//! One shard speaks for all of its host, the one that hears of every member ([`Core::note_group`]): a group is reported
//! when its first member joins, wherever that is, and left when the last one has gone. What is to be said is noted
//! here, in `changed` and `asked`; the message is made of the state of the moment when the device pulls.
//!
//! A group is received from every source or from none, so a record says `EXCLUDE {}` or `INCLUDE {}`; but a query that
//! names sources is answered with those.

mod input;
mod output;
mod querier;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use sunstar_wire::IpAddress;

use super::InterfaceId;
use crate::core::{Core, Timer};
use crate::link::Provider;
use crate::time::{Duration, Instant};
use crate::timer::TimerId;
use querier::{Querier, Version};

/// Every host of the link; joined by all, and never reported (RFC 3376 section 5).
const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// Every router of the link: hears of leaves (RFC 2236 section 9).
const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
/// Every router that speaks version 3: hears its reports (RFC 3376 section 4.2.14).
const ALL_V3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

/// Sources of queries that are remembered for one answer at most. All that a query names lie in its contiguous head
/// then; one that names more is answered as if it named none, with all that the host receives.
const MAX_SOURCES: usize = 32;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// The answer to a general query is due.
    General,
    /// A group's change is to be told again.
    Change(Ipv4Addr),
    /// The answer to a query about a group is due.
    Answer(Ipv4Addr),
}

/// A timer that runs.
#[derive(Clone, Copy, Debug)]
struct Pending {
    timer: TimerId,
    at: Instant,
}

/// A group that somebody of this host receives, or that is not told yet to have been left.
#[derive(Debug, Default)]
struct Group {
    member: bool,
    /// Whether a message of this host was ever about it.
    reported: bool,
    /// How often the last change is still to be told.
    untold: u8,
    change: Option<Pending>,
    answer: Option<Pending>,
    /// What the query named that the answer is for; nothing if it asked about all sources.
    sources: Vec<Ipv4Addr>,
    /// Whether this host was the last that reported the group, as far as it has heard (RFC 2236 section 6).
    last_reporter: bool,
}

#[derive(Debug)]
pub(crate) struct Igmp {
    /// What this host receives, no more than its shards may join (`IgmpConfig::max_groups` each), and what was reported
    /// and has been left since.
    groups: BTreeMap<Ipv4Addr, Group>,
    querier: Querier,
    /// The version that all that is pending is for.
    version: Version,
    /// The answer to a general query of version 3.
    general: Option<Pending>,
    /// Groups whose change is to be told now.
    changed: BTreeSet<Ipv4Addr>,
    /// Groups that were asked about, to be answered now, with the sources that were named.
    asked: BTreeMap<Ipv4Addr, Vec<Ipv4Addr>>,
}

impl Igmp {
    pub(crate) fn new() -> Self {
        Self {
            groups: BTreeMap::new(),
            querier: Querier::new(),
            version: Version::V3,
            general: None,
            changed: BTreeSet::new(),
            asked: BTreeMap::new(),
        }
    }

    pub(crate) fn on_timer(&mut self, core: &mut Core, alarm: Alarm) {
        self.follow_querier(core);
        match alarm {
            // RFC 3376 section 5.2: one record for each group that is received.
            Alarm::General if self.general.take().is_some() => {
                let members = self.groups.iter().filter(|(_, group)| group.member);
                self.asked.extend(members.map(|(address, _)| (*address, Vec::new())));
            }
            Alarm::Change(address) => {
                if self.groups.get_mut(&address).is_some_and(|group| group.change.take().is_some()) {
                    self.changed.insert(address);
                }
            }
            Alarm::Answer(address) => {
                if let Some(group) = self.groups.get_mut(&address)
                    && group.answer.take().is_some()
                {
                    let sources = std::mem::take(&mut group.sources);
                    let asked = self.asked.entry(address).or_insert_with(|| sources.clone());
                    widen(asked, &sources);
                }
            }
            Alarm::General => {}
        }
        self.want(core);
    }

    /// The device is to pull what there is to say.
    fn want(&self, core: &mut Core) {
        if !self.changed.is_empty() || !self.asked.is_empty() {
            core.want.set(InterfaceId::DEVICE, Provider::Igmp);
        }
    }

    /// RFC 3376 section 7.2.1: when the version changes, pending answers and repetitions are cancelled. What was to be
    /// said at once still is.
    fn follow_querier(&mut self, core: &mut Core) {
        let version = self.querier.version(core.now);
        if version == self.version {
            return;
        }
        self.version = version;
        cancel(core, &mut self.general);
        self.asked.clear();
        for (address, group) in &mut self.groups {
            cancel(core, &mut group.change);
            group.forget_query(core);
            if !self.changed.contains(address) {
                group.untold = 0;
            }
        }
        if version == Version::V1 {
            // It knows no leaves.
            self.changed.retain(|address| self.groups.get(address).is_some_and(|group| group.member));
        }
        let changed = &self.changed;
        self.groups.retain(|address, group| group.member || changed.contains(address));
    }

    /// Looks at the groups whose members have changed since the last turn.
    pub(crate) fn follow_members(&mut self, core: &mut Core) {
        while let Some(noted) = core.siblings.groups.noted.pop_first() {
            let IpAddress::V4(address) = noted else { continue };
            let is_member = core.siblings.groups.has_member(noted);
            let was_member = self.groups.get(&address).is_some_and(|group| group.member);
            // RFC 3376 section 5: no messages about 224.0.0.1 are ever sent.
            if is_member == was_member || address == ALL_SYSTEMS {
                continue;
            }
            // The interface of every shard listens to the group: reports of other hosts are sent there, and queries about it.
            if is_member { self.join(core, address) } else { self.leave(core, address) }
        }
    }

    /// RFC 3376 section 5.1, RFC 2236 section 3: a new member is reported at once, and again.
    fn join(&mut self, core: &mut Core, address: Ipv4Addr) {
        let group = self.groups.entry(address).or_default();
        cancel(core, &mut group.change);
        group.member = true;
        group.untold = self.querier.robustness;
        self.changed.insert(address);
    }

    fn leave(&mut self, core: &mut Core, address: Ipv4Addr) {
        let Some(group) = self.groups.get_mut(&address) else { return };
        cancel(core, &mut group.change);
        group.forget_query(core);
        group.member = false;
        self.asked.remove(&address);
        group.untold = match self.version {
            // Nobody has to be told of the end of what nobody was told.
            Version::V3 if group.reported => self.querier.robustness,
            // RFC 2236 section 3: once, and only if this host was the last to report the group.
            Version::V2 if group.last_reporter => 1,
            _ => 0,
        };
        if group.untold > 0 {
            self.changed.insert(address);
        } else {
            self.changed.remove(&address);
            self.groups.remove(&address);
        }
    }

    /// A group's change was told once: it is told again later, or all is said.
    fn change_told(&mut self, core: &mut Core, address: Ipv4Addr) {
        // RFC 3376 section 8.11, RFC 2236 section 8.10: the Unsolicited Report Interval.
        let within = match self.version {
            Version::V3 => Duration::from_secs(1),
            _ => Duration::from_secs(10),
        };
        let Some(group) = self.groups.get_mut(&address) else { return };
        group.untold = group.untold.saturating_sub(1);
        (group.reported, group.last_reporter) = (true, true);
        if group.untold > 0 {
            let at = some_time(core, within);
            start(core, &mut group.change, Alarm::Change(address), at);
        } else if !group.member {
            self.groups.remove(&address);
        }
    }
}

impl Group {
    fn forget_query(&mut self, core: &mut Core) {
        cancel(core, &mut self.answer);
        self.sources.clear();
    }
}

/// Has an answer be about more sources. About none means about all.
fn widen(sources: &mut Vec<Ipv4Addr>, more: &[Ipv4Addr]) {
    if sources.is_empty() {
        return;
    }
    for source in more {
        if !sources.contains(source) {
            sources.push(*source);
        }
    }
    if more.is_empty() || sources.len() > MAX_SOURCES {
        sources.clear();
    }
}

/// A time by chance, after now and before a duration has passed.
fn some_time(core: &mut Core, within: Duration) -> Instant {
    let micros = within.as_micros() as u64;
    core.now + Duration::from_micros(core.random.range(1..=micros.max(1)))
}

fn start(core: &mut Core, pending: &mut Option<Pending>, alarm: Alarm, at: Instant) {
    cancel(core, pending);
    let timer = core.timers.insert(Timer::Igmp(alarm), at);
    *pending = Some(Pending { timer, at });
}

fn cancel(core: &mut Core, pending: &mut Option<Pending>) {
    if let Some(pending) = pending.take() {
        core.timers.cancel(pending.timer);
    }
}
