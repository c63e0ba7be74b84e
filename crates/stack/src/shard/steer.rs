//! Which shard a packet goes to from the one where it arrived: by its flow's hash (Toeplitz), by its fragments' flow once
//! they are whole, to all that receive a group (RFC 1112), or to a sibling by name.

use sunstar_packet::Packet;

use super::Shard;
use crate::ip::{InterfaceId, IpInput};
use crate::mesh::{Arrival, Mesh};
use crate::steering::{Decision, FlowKey, ShardId};

impl Shard {
    /// Gives a frame to the shard its flow lives on.
    pub(super) fn steer(&mut self, interface: InterfaceId, frame: Packet, mesh: &mut impl Mesh) {
        let arrival = Arrival::frame(interface);
        if self.core.siblings.is_alone() {
            return self.input(arrival, frame, mesh);
        }
        let medium = self.core.interfaces.get(interface).medium;
        let key = FlowKey::collect(frame.head(), medium);
        if self.core.is_to_group(&key) {
            if let Some(frame) = self.show_to_members(arrival, &key, frame, mesh) {
                self.input(arrival, frame, mesh);
            }
            return;
        }
        let owner = match self.core.steering.decide(&key) {
            Decision::Owner(shard) => shard,
            Decision::Entry(entry) => {
                self.heat[entry] += 1;
                self.core.steering.table().entries()[entry]
            }
            Decision::Stays => self.id,
        };
        if owner == self.id {
            return self.input(arrival, frame, mesh);
        }
        if self.core.forward(owner, arrival, frame, mesh) {
            self.core.counters.mesh.forwarded += 1;
        }
    }

    /// Steers once more: a datagram put together from fragments, which were steered by addresses alone, goes to the shard
    /// of its flow.
    pub(super) fn steer_whole(&mut self, input: IpInput, mesh: &mut impl Mesh) {
        if self.core.siblings.is_alone() {
            return self.deliver(input);
        }
        let key = FlowKey::of_whole(input.packet.head());
        if self.core.is_to_group(&key) {
            let arrival = input.arrival();
            let IpInput { packet, .. } = input;
            if let Some(packet) = self.show_to_members(arrival, &key, packet, mesh) {
                self.deliver(IpInput { packet, ..input });
            }
            return;
        }
        match self.core.steered_to(&key) {
            Some(owner) if owner != self.id => {
                self.core.counters.reassembly.forwarded += 1;
                self.hand_over(owner, input.arrival(), input.packet, mesh);
            }
            _ => self.deliver(input),
        }
    }

    /// Gives a sibling what has come further than its link header: a filter's choice, a whole datagram, or what only the
    /// shard that speaks for all answers.
    pub(super) fn hand_over(&mut self, to: ShardId, arrival: Arrival, packet: Packet, mesh: &mut impl Mesh) {
        let handed = self.core.forward(to, arrival, packet, mesh);
        self.core.counters.mesh.handed_over += u64::from(handed);
    }

    /// Shows a packet for a group to every sibling that has somebody to receive it, from the one buffer it arrived in. It
    /// comes back if this shard has somebody, too.
    fn show_to_members(
        &mut self,
        arrival: Arrival,
        key: &FlowKey,
        frame: Packet,
        mesh: &mut impl Mesh,
    ) -> Option<Packet> {
        let (siblings, here) = self.core.receivers_of(key);
        // Where nobody receives it, it is counted as any other.
        let here = here || siblings.is_empty();
        let mut frame = Some(frame);
        for (at, sibling) in siblings.iter().enumerate() {
            // The last of all has the packet itself. What arrived here is this shard's own, and can be shared; what was put
            // together of a sibling's buffers can only be copied.
            let copy = match &frame {
                Some(_) if !here && at + 1 == siblings.len() => frame.take(),
                Some(frame) => frame.share().or_else(|| frame.copied_into(&self.core.pool)),
                None => None,
            };
            let Some(copy) = copy else {
                self.core.counters.drops.no_buffer += 1;
                continue;
            };
            if self.core.forward(*sibling, arrival, copy, mesh) {
                self.core.counters.mesh.group_forwarded += 1;
            }
        }
        frame.filter(|_| here)
    }
}
