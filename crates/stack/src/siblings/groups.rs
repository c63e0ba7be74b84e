//! Who has members of which multicast group, at which UDP port: a datagram to a group is shown to every shard that
//! has one, from the one buffer it arrived in.

use std::collections::{BTreeMap, BTreeSet};

use sunstar_packet::Packet;
use sunstar_wire::{IpAddress, Protocol};

use super::control::GroupPort;
use crate::core::Core;
use crate::ip::InterfaceId;
use crate::link::Provider;
use crate::mesh::{Arrival, Mesh};
use crate::steering::{Decision, FlowKey, Owner, PortSpace, ShardId};

/// The members of this host.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    siblings: BTreeMap<GroupPort, BTreeSet<ShardId>>,
    own: BTreeSet<GroupPort>,
    /// Groups that may have got their first member of this host, or lost the last: the shard that speaks for it looks.
    pub(crate) noted: BTreeSet<IpAddress>,
}

impl Groups {
    /// Notes whether this shard has a member.
    pub(super) fn set_own(&mut self, at: GroupPort, member: bool) {
        if member {
            self.own.insert(at)
        } else {
            self.own.remove(&at)
        };
    }

    /// Whether this shard has a member.
    pub(crate) fn has_own(&self, at: GroupPort) -> bool {
        self.own.contains(&at)
    }

    /// Whether this host has a member, of any port, on any shard.
    pub(crate) fn has_member(&self, group: IpAddress) -> bool {
        let ports = (group, 0)..=(group, u16::MAX);
        self.own.range(ports.clone()).next().is_some() || self.siblings.range(ports).next().is_some()
    }

    pub(super) fn own(&self) -> impl Iterator<Item = GroupPort> {
        self.own.iter().copied()
    }

    /// Notes whether a sibling has a member; whether that is news.
    fn set(&mut self, sibling: ShardId, at: GroupPort, member: bool) -> bool {
        let members = self.siblings.entry(at).or_default();
        let is_news = if member { members.insert(sibling) } else { members.remove(&sibling) };
        if members.is_empty() {
            self.siblings.remove(&at);
        }
        is_news
    }

    /// The siblings that have a member.
    pub(crate) fn siblings(&self, at: GroupPort) -> impl Iterator<Item = ShardId> {
        self.siblings.get(&at).into_iter().flatten().copied()
    }

    /// Where a sibling has members.
    fn of(&self, sibling: ShardId) -> impl Iterator<Item = GroupPort> {
        let joined =
            move |(at, members): (&GroupPort, &BTreeSet<_>)| members.contains(&sibling).then_some(*at);
        self.siblings.iter().filter_map(joined)
    }
}

/// The shard that tells routers which groups its host receives.
pub(crate) const SPEAKER: ShardId = ShardId(0);

impl Core {
    /// A group has got a first member on a shard, or lost the last one there.
    pub(super) fn note_group(&mut self, group: IpAddress) {
        if self.siblings.me() == SPEAKER {
            self.siblings.groups.noted.insert(group);
            self.want.set(InterfaceId::DEVICE, Provider::Igmp);
        }
    }

    /// Whether a packet is for more than one host.
    pub(crate) fn is_to_group(&self, key: &FlowKey) -> bool {
        match key.destination() {
            Some(IpAddress::V4(address)) => address.is_multicast() || self.interfaces.is_broadcast(address),
            Some(IpAddress::V6(address)) => address.is_multicast(),
            None => false,
        }
    }

    /// A sibling tells whether it has a member. The interface listens to what any shard has joined: fragments of one
    /// datagram meet on a shard that may have no member itself.
    pub(crate) fn on_group_told(&mut self, sibling: ShardId, at: GroupPort, member: bool) {
        if self.siblings.groups.set(sibling, at, member)
            && let IpAddress::V4(group) = at.0
        {
            let device = self.interfaces.get_mut(InterfaceId::DEVICE);
            if member {
                device.join(group)
            } else {
                device.leave(group)
            }
            self.note_group(at.0);
        }
    }

    /// A sibling has lost all it had.
    pub(super) fn forget_groups(&mut self, sibling: ShardId) {
        let joined: Vec<_> = self.siblings.groups.of(sibling).collect();
        joined.into_iter().for_each(|at| self.on_group_told(sibling, at, false));
    }

    /// The siblings that have somebody to receive a packet for a group, and whether this shard has.
    ///
    /// A multicast datagram goes to the group's members; a broadcast one to the owner of its port, or to every shard
    /// that shares it. What has no port, a fragment among others, goes where its addresses steer it.
    pub(crate) fn receivers_of(&self, key: &FlowKey) -> (Vec<ShardId>, bool) {
        let &FlowKey::Ports { protocol: Protocol::UDP, destination, destination_port, .. } = key else {
            let meeting = self.steered_to(key).filter(|shard| *shard != self.siblings.me());
            return (meeting.into_iter().collect(), meeting.is_none());
        };
        if destination.is_multicast() {
            let at = (destination, destination_port);
            return (self.siblings.groups.siblings(at).collect(), self.siblings.groups.has_own(at));
        }
        match self.steering.decide(key) {
            Decision::Owner(shard) if shard == self.siblings.me() => (Vec::new(), true),
            Decision::Owner(shard) => (vec![shard], false),
            _ => match self.steering.owners().owner(PortSpace::Udp, destination_port) {
                Some(Owner::EveryShard) => (self.siblings.others().collect(), true),
                _ => (Vec::new(), true),
            },
        }
    }

    /// Hands a packet to a sibling; whether it went. If not, it is dropped and counted.
    pub(crate) fn forward(
        &mut self,
        to: ShardId,
        arrival: Arrival,
        packet: Packet,
        mesh: &mut impl Mesh,
    ) -> bool {
        let Ok(loan) = packet.lend(&self.pool) else {
            self.counters.drops.no_loan += 1;
            return false;
        };
        let forwarded = mesh.forward(to, arrival, loan).is_ok();
        self.counters.drops.mesh_full += u64::from(!forwarded);
        forwarded
    }
}
