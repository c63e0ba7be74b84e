//! IGMP messages of others: queries of the link's querier, and reports of other hosts (RFC 3376 sections 5.2, 7.2 and
//! 9; RFC 2236 sections 3 and 6).

use std::net::Ipv4Addr;

use sunstar_wire::IpAddress;
use sunstar_wire::igmp::IgmpMessage;
use sunstar_wire::ipv4::{Ipv4Header, Ipv4Option};

use super::querier::Version;
use super::{ALL_SYSTEMS, Alarm, Igmp, MAX_SOURCES, some_time, start, widen};
use crate::core::Core;
use crate::ip::IpInput;
use crate::time::Duration;

/// What a querier wants to know.
struct Query {
    version: Version,
    /// `None`: every group.
    group: Option<Ipv4Addr>,
    /// The sources it asks about; all if there are none.
    sources: Vec<Ipv4Addr>,
    max_response: Duration,
}

impl Igmp {
    /// An IGMP message. On a host of several shards it has to be the one that speaks for all that gets it.
    pub(crate) fn input(&mut self, core: &mut Core, input: IpInput) {
        if !input.checksum_holds(false) {
            core.counters.drops.bad_checksum += 1;
            return;
        }
        // RFC 3376 section 4: every message has a TTL of 1; what has another may come from beyond the link.
        if input.ttl != 1 {
            core.counters.drops.bad_igmp += 1;
            return;
        }
        let message = match IgmpMessage::parse(input.transport()) {
            Ok(message) => message,
            Err(error) => {
                core.count_parse_error(error);
                return;
            }
        };
        self.follow_querier(core);
        match message {
            IgmpMessage::Query { .. } | IgmpMessage::QueryV3(_) => match acceptable(&message, &input) {
                Some(query) => self.query(core, &message, &query),
                None => core.counters.drops.bad_igmp += 1,
            },
            IgmpMessage::ReportV1 { group } | IgmpMessage::ReportV2 { group } => {
                self.report_of_another(core, group);
            }
            // What hosts tell routers.
            _ => core.counters.drops.igmp_ignored += 1,
        }
    }

    fn query(&mut self, core: &mut Core, message: &IgmpMessage, query: &Query) {
        core.counters.control.igmp_queries_received += 1;
        if let IgmpMessage::QueryV3(fields) = message {
            self.querier.on_query_v3(fields);
        }
        if query.group.is_none() {
            self.querier.on_general_query(core.now, query.version, query.max_response);
            self.follow_querier(core);
        }
        match (self.version, query.group) {
            (Version::V3, None) => self.answer_general(core, query.max_response),
            (Version::V3, Some(group)) => self.answer_about(core, group, query),
            (_, None) => {
                let members: Vec<_> = self.members().collect();
                members.into_iter().for_each(|group| self.answer_older(core, group, query.max_response));
            }
            (_, Some(group)) => self.answer_older(core, group, query.max_response),
        }
    }

    fn members(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.groups.iter().filter(|(_, group)| group.member).map(|(address, _)| *address)
    }

    /// RFC 3376 section 5.2, rules 1 and 2.
    fn answer_general(&mut self, core: &mut Core, within: Duration) {
        let at = some_time(core, within);
        let sooner = self.general.is_some_and(|general| general.at <= at);
        if !sooner && self.members().next().is_some() {
            start(core, &mut self.general, Alarm::General, at);
        }
    }

    /// RFC 3376 section 5.2, rules 1 and 3 to 5.
    fn answer_about(&mut self, core: &mut Core, address: Ipv4Addr, query: &Query) {
        let Some(group) = self.groups.get_mut(&address).filter(|group| group.member) else {
            core.counters.drops.igmp_ignored += 1;
            return;
        };
        let at = some_time(core, query.max_response);
        if self.general.is_some_and(|general| general.at <= at) {
            return;
        }
        match group.answer {
            None => {
                group.sources.clone_from(&query.sources);
                start(core, &mut group.answer, Alarm::Answer(address), at);
            }
            Some(pending) => {
                widen(&mut group.sources, &query.sources);
                start(core, &mut group.answer, Alarm::Answer(address), at.min(pending.at));
            }
        }
    }

    /// RFC 2236 section 3: each group has a timer, which is set again only if it would run out too late.
    fn answer_older(&mut self, core: &mut Core, address: Ipv4Addr, within: Duration) {
        let Some(group) = self.groups.get_mut(&address).filter(|group| group.member) else {
            core.counters.drops.igmp_ignored += 1;
            return;
        };
        if self.changed.contains(&address) || self.asked.contains_key(&address) {
            return;
        }
        let (pending, alarm) = match group.change {
            Some(_) => (&mut group.change, Alarm::Change(address)),
            None => (&mut group.answer, Alarm::Answer(address)),
        };
        if pending.is_none_or(|pending| pending.at.saturating_since(core.now) > within) {
            let at = some_time(core, within);
            start(core, pending, alarm, at);
        }
    }

    /// RFC 2236 section 3: who hears another host report a group says nothing itself. RFC 3376 section 7.2.2 allows the
    /// same of a host of version 3, whose reports are not heard by others, and it is not done.
    fn report_of_another(&mut self, core: &mut Core, address: Ipv4Addr) {
        let pending = |group: &super::Group| group.change.is_some() || group.answer.is_some();
        let due = self.changed.contains(&address) || self.asked.contains_key(&address);
        let group = self.groups.get_mut(&address).filter(|group| group.member && (due || pending(group)));
        let Some(group) = group.filter(|_| self.version != Version::V3) else {
            core.counters.drops.igmp_ignored += 1;
            return;
        };
        super::cancel(core, &mut group.change);
        group.forget_query(core);
        (group.untold, group.last_reporter) = (0, false);
        self.changed.remove(&address);
        self.asked.remove(&address);
        core.counters.control.igmp_suppressed += 1;
    }
}

/// What a query asks, if it is one to be answered (RFC 3376 section 9.1).
fn acceptable(message: &IgmpMessage, input: &IpInput) -> Option<Query> {
    let tenths = |count: u16| Duration::from_millis(u64::from(count) * 100);
    let (version, group, max_response, named) = match *message {
        // RFC 1112 appendix I: the group of a query means nothing. RFC 2236 section 4: ten seconds.
        IgmpMessage::Query { max_response: 0, .. } => {
            (Version::V1, Ipv4Addr::UNSPECIFIED, Duration::from_secs(10), 0)
        }
        IgmpMessage::Query { max_response, group } => (Version::V2, group, tenths(max_response.into()), 0),
        IgmpMessage::QueryV3(query) => {
            let named = usize::from(query.sources);
            let whole = IgmpMessage::QUERY_V3_LEN + 4 * named <= input.payload_len();
            whole.then_some((Version::V3, query.group, tenths(query.max_response.value()), named))?
        }
        _ => return None,
    };
    // Queries without a router alert are ignored, but for those of version 1, which did not know it.
    if version != Version::V1 && !has_router_alert(input) {
        return None;
    }
    let group = (!group.is_unspecified()).then_some(group);
    let plausible = match group {
        Some(group) => group.is_multicast(),
        // General queries to another group are ignored; one to an address of ours is accepted (section 4.1.12).
        None => {
            let to_all = input.destination == IpAddress::V4(ALL_SYSTEMS);
            (to_all || !input.destination.is_multicast()) && named == 0
        }
    };
    let sources = match named {
        0..=MAX_SOURCES => IgmpMessage::sources(input.transport()).collect(),
        _ => Vec::new(),
    };
    plausible.then_some(Query { version, group, sources, max_response })
}

fn has_router_alert(input: &IpInput) -> bool {
    let mut options = Ipv4Header::options(input.packet.head()).flatten();
    options.any(|option| option.kind == Ipv4Option::ROUTER_ALERT)
}
