//! The packet filter: a chain ahead of IP delivery that may take or drop a packet.

use sunstar_packet::Packet;
use sunstar_wire::ipv4::Ipv4Header;

use super::interface::InterfaceId;
use crate::steering::ShardId;

/// What a filter decides about a packet.
#[derive(Debug)]
pub enum Verdict {
    /// The next filter decides, and after the last one IP delivers.
    Pass(Packet),
    /// The filter keeps it; nobody else sees it.
    Taken,
    /// It is dropped, and counted.
    Drop,
    /// A sibling has it: there, the chain begins anew, and then IP delivers; to be handed over once more, it is dropped.
    /// Sent to the shard itself, it passes.
    HandTo(ShardId, Packet),
    /// It is for the host's DHCP client, on whichever shard that is; what is no answer for this station is dropped.
    ToDhcp(Packet),
}

/// A filter. It runs on its shard's turn, for packets of valid IPv4 header, before IP asks whether they are
/// for us.
pub trait PacketFilter {
    /// Decides about a packet, which starts with its IP header.
    fn filter(&mut self, interface: InterfaceId, header: &Ipv4Header, packet: Packet) -> Verdict;
}

/// Names an installed filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterId(u64);

/// The ordered chain of a shard. Empty, it costs one branch.
#[derive(Default)]
pub(crate) struct FilterChain {
    filters: Vec<(FilterId, Box<dyn PacketFilter>)>,
    installed: u64,
}

impl FilterChain {
    pub(crate) fn install(&mut self, filter: Box<dyn PacketFilter>) -> FilterId {
        self.installed += 1;
        let id = FilterId(self.installed);
        self.filters.push((id, filter));
        id
    }

    pub(crate) fn remove(&mut self, id: FilterId) -> bool {
        let before = self.filters.len();
        self.filters.retain(|(installed, _)| *installed != id);
        self.filters.len() != before
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    pub(crate) fn run(
        &mut self,
        me: ShardId,
        interface: InterfaceId,
        header: &Ipv4Header,
        mut packet: Packet,
    ) -> Verdict {
        for (_, filter) in &mut self.filters {
            match filter.filter(interface, header, packet) {
                Verdict::Pass(passed) => packet = passed,
                Verdict::HandTo(shard, passed) if shard == me => packet = passed,
                decided => return decided,
            }
        }
        Verdict::Pass(packet)
    }
}
