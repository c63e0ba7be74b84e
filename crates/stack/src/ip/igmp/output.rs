//! IGMP messages of this host, built when the device pulls (RFC 3376 section 4.2, RFC 2236 section 2).

use std::net::Ipv4Addr;

use sunstar_packet::{Buffer, HEADROOM, Packet, SizeClass};
use sunstar_wire::checksum::checksum;
use sunstar_wire::igmp::{GroupRecord, IgmpMessage, RecordKind, emit_sources};
use sunstar_wire::ipv4::{Ipv4Header, Ipv4Option};
use sunstar_wire::{Ecn, IpAddress, Protocol};

use super::querier::Version;
use super::{ALL_ROUTERS, ALL_V3_ROUTERS, Igmp};
use crate::core::{Addressed, Core};
use crate::ip::InterfaceId;

/// Bytes of an IPv4 header with a router alert.
const HEADER_LEN: usize = Ipv4Header::LEN + Ipv4Option::ROUTER_ALERT_BYTES.len();

/// RFC 3376 section 4: all messages have the precedence of internetwork control, 0xc0 as a type of service.
const INTERNETWORK_CONTROL: u8 = 0xc0 >> 2;

impl Igmp {
    /// The next message for the device's interface, built now.
    pub(crate) fn next(&mut self, core: &mut Core) -> Option<Addressed> {
        self.follow_querier(core);
        if self.changed.is_empty() && self.asked.is_empty() {
            return None;
        }
        let mut buffer = core.pool.allocate(SizeClass::Small, HEADROOM)?;
        let destination = match self.version {
            Version::V3 => self.report(core, &mut buffer),
            version => self.older_message(core, version, &mut buffer),
        };
        let packet =
            destination.and_then(|destination| Some((destination, finish(core, destination, buffer)?)));
        let Some((destination, packet)) = packet else {
            core.counters.drops.no_buffer += 1;
            return None;
        };
        core.counters.ip.sent += 1;
        core.counters.ip.sent_bytes += packet.len() as u64;
        core.address(InterfaceId::DEVICE, destination.into(), packet)
    }

    /// A version 3 report: of changes as long as there are any, else of answers, as many as it has room for.
    fn report(&mut self, core: &mut Core, buffer: &mut Buffer) -> Option<Ipv4Addr> {
        let mtu = core.interfaces.get(InterfaceId::DEVICE).mtu;
        let limit = mtu.saturating_sub(HEADER_LEN).min(buffer.tailroom());
        buffer.append(IgmpMessage::LEN)?;
        let (mut len, mut records) = (IgmpMessage::LEN, 0);
        let answers = self.changed.is_empty();
        while let Some((record, mut sources)) = if answers { self.next_answer() } else { self.next_change() }
        {
            if len + size(&sources) > limit {
                if records > 0 {
                    break;
                }
                // Without sources, which says more, one record fits any link.
                sources.clear();
            }
            let kind = if sources.is_empty() { record.kind } else { RecordKind::ModeIsInclude };
            let record = GroupRecord { kind, sources: sources.len() as u16, ..record };
            record.emit(buffer.append(GroupRecord::LEN)?).ok()?;
            emit_sources(&sources, buffer.append(4 * sources.len())?).ok()?;
            (len, records) = (len + size(&sources), records + 1);
            if answers {
                self.asked.pop_first();
            } else {
                self.changed.pop_first();
                self.change_told(core, record.group);
            }
        }
        IgmpMessage::ReportV3 { records }.emit(buffer.get_mut()?).ok()?;
        core.counters.control.igmp_reports_sent += 1;
        Some(ALL_V3_ROUTERS)
    }

    /// RFC 3376 section 5.1: a group that is now received from all sources, or from none.
    fn next_change(&self) -> Option<(GroupRecord, Vec<Ipv4Addr>)> {
        let group = *self.changed.first()?;
        let is_member = self.groups.get(&group).is_some_and(|entry| entry.member);
        let kind = if is_member { RecordKind::ChangeToExclude } else { RecordKind::ChangeToInclude };
        Some((GroupRecord { kind, auxiliary: 0, sources: 0, group }, Vec::new()))
    }

    /// RFC 3376 section 5.2: a group that is received from all sources, or those of the sources asked about.
    fn next_answer(&self) -> Option<(GroupRecord, Vec<Ipv4Addr>)> {
        let (group, sources) = self.asked.first_key_value()?;
        let record = GroupRecord { kind: RecordKind::ModeIsExclude, auxiliary: 0, sources: 0, group: *group };
        Some((record, sources.clone()))
    }

    /// A version 1 or 2 report, or a leave.
    fn older_message(&mut self, core: &mut Core, version: Version, buffer: &mut Buffer) -> Option<Ipv4Addr> {
        let changed = self.changed.pop_first();
        let group = changed.or_else(|| self.asked.pop_first().map(|(group, _)| group))?;
        let entry = self.groups.get_mut(&group)?;
        let (message, destination) = match version {
            _ if !entry.member => (IgmpMessage::Leave { group }, ALL_ROUTERS),
            Version::V1 => (IgmpMessage::ReportV1 { group }, group),
            _ => (IgmpMessage::ReportV2 { group }, group),
        };
        message.emit(buffer.append(IgmpMessage::LEN)?).ok()?;
        (entry.reported, entry.last_reporter) = (true, true);
        if entry.member {
            core.counters.control.igmp_reports_sent += 1;
        } else {
            core.counters.control.igmp_leaves_sent += 1;
        }
        if changed.is_some() {
            self.change_told(core, group);
        }
        Some(destination)
    }
}

/// Bytes of a record with these sources.
fn size(sources: &[Ipv4Addr]) -> usize {
    GroupRecord::LEN + 4 * sources.len()
}

/// Puts the checksum in a message and the IP header before it.
fn finish(core: &Core, destination: Ipv4Addr, mut buffer: Buffer) -> Option<Packet> {
    let message = buffer.get_mut()?;
    let sum = checksum(message).to_be_bytes();
    message.get_mut(IgmpMessage::CHECKSUM_OFFSET..)?.first_chunk_mut().map(|field| *field = sum)?;
    let total_len = u16::try_from(HEADER_LEN + message.len()).ok()?;
    let own = core.interfaces.get(InterfaceId::DEVICE).addresses().iter();
    let source = own.map(|own| own.address).find_map(|address| match address {
        IpAddress::V4(address) => Some(address),
        IpAddress::V6(_) => None,
    });
    let header = Ipv4Header {
        dscp: INTERNETWORK_CONTROL,
        ecn: Ecn::NotEct,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 1,
        protocol: Protocol::IGMP,
        // RFC 3376 section 4.2.13: 0.0.0.0 from who has no address yet.
        source: source.unwrap_or(Ipv4Addr::UNSPECIFIED),
        destination,
        header_len: HEADER_LEN as u8,
        total_len,
    };
    let mut packet = Packet::new(buffer);
    header.emit_with_options(&Ipv4Option::ROUTER_ALERT_BYTES, packet.prepend(HEADER_LEN)?).ok()?;
    Some(packet)
}
