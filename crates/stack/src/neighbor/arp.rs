//! ARP in and out (RFC 826; the checks of RFC 5227 and of the reliability page).

use std::collections::VecDeque;

use sunstar_packet::{HEADROOM, Packet, Pool, SizeClass};
use sunstar_wire::arp::{ArpOperation, ArpPacket};
use sunstar_wire::{EtherType, IpAddress, MacAddress};

use super::entry::State;
use super::{Message, Neighbors};
use crate::core::{Addressed, Core, Timer};
use crate::ip::{Interface, InterfaceId};
use crate::timer::TimerWheel;

/// A received ARP packet, and where it arrived.
pub(crate) struct ArpInput {
    pub(crate) interface: InterfaceId,
    /// The station the frame came from.
    pub(crate) station: MacAddress,
    pub(crate) arp: ArpPacket,
}

impl Core {
    /// Judges an ARP packet.
    pub(crate) fn arp_input(&mut self, input: &ArpInput) {
        let ArpInput { interface, station, arp } = input;
        let own = self.interfaces.get(*interface);
        let sender = IpAddress::V4(arp.sender_address);
        if arp.sender_mac == *station
            && let Some(address) = self.claimed_by(*interface, arp)
        {
            return self.on_conflict((*interface, address), arp.sender_mac);
        }
        if arp.is_announcement() {
            // What nobody asked for changes nothing here; who is spoken of is asked when its entry is old.
            self.counters.control.announcements_received += 1;
            return;
        }
        let plausible = arp.sender_mac.is_unicast()
            && arp.sender_mac == *station
            && arp.sender_mac != own.mac
            && !arp.sender_address.is_multicast()
            && !self.interfaces.is_broadcast(arp.sender_address)
            && !self.interfaces.is_local(sender);
        if !plausible {
            self.counters.drops.bad_arp += 1;
            return;
        }
        let target = IpAddress::V4(arp.target_address);
        if !own.addresses().iter().any(|address| address.address == target) {
            self.counters.drops.not_for_us += 1;
            return;
        }
        match arp.operation {
            ArpOperation::Request => self.arp_request(*interface, arp, sender, target),
            ArpOperation::Reply => self.arp_reply(*interface, arp, sender),
            ArpOperation::Other(_) => self.counters.drops.bad_arp += 1,
        }
        self.want_neighbors(*interface);
    }

    fn arp_request(&mut self, interface: InterfaceId, arp: &ArpPacket, sender: IpAddress, target: IpAddress) {
        let reply = Message::Reply { from: target, target: sender, to: arp.sender_mac };
        if !self.neighbors.say(interface, reply) {
            self.counters.drops.reply_queue_full += 1;
        }
        // RFC 5227 section 2.1.1: a probe comes from nobody.
        if arp.sender_address.is_unspecified() {
            return;
        }
        let neighbor = (interface, sender);
        let owner = self.steering.shard_of_neighbor(sender);
        if owner == self.siblings.me() {
            self.on_neighbor_heard(neighbor, arp.sender_mac);
        } else if self.neighbors.lacks(neighbor) {
            self.siblings.heard_neighbor(owner, neighbor, arp.sender_mac);
        }
    }

    fn arp_reply(&mut self, interface: InterfaceId, arp: &ArpPacket, sender: IpAddress) {
        let (neighbors, mut context) = self.neighbors();
        let asked = neighbors.by_address.get(&(interface, sender)).copied().filter(|key| {
            let entry = &neighbors.entries[*key];
            entry.owner == context.siblings.me()
                && matches!(entry.state, State::Incomplete { .. } | State::Probing { .. })
        });
        let Some(key) = asked else {
            context.counters.drops.unsolicited_arp += 1;
            return;
        };
        context.counters.control.neighbors_resolved += 1;
        neighbors.confirm(key, arp.sender_mac, &mut context);
        context.siblings.spread_neighbor((interface, sender));
    }

    /// The next frame of the neighbour protocol, or a packet that waited for its neighbour.
    pub(crate) fn next_from_neighbors(&mut self, interface: InterfaceId) -> Option<Addressed> {
        let at = usize::from(interface.0);
        if let Some((destination, packet)) = self.neighbors.released[at].pop_front() {
            return Some(Addressed { packet, destination, ether_type: EtherType::IPV4 });
        }
        let (arp, destination) = loop {
            let message = self.neighbors.messages[at].pop_front()?;
            // Without an address of ours there is nobody to ask for.
            if let Some(built) = build(&message, self.interfaces.get(interface)) {
                break built;
            }
        };
        let packet = emit(&arp, &self.pool)?;
        match arp.operation {
            ArpOperation::Request => self.counters.control.arp_requests_sent += 1,
            _ => self.counters.control.arp_replies_sent += 1,
        }
        Some(Addressed { packet, destination, ether_type: EtherType::ARP })
    }
}

impl Neighbors {
    /// Whether nothing is known of a neighbour's station.
    fn lacks(&self, neighbor: super::Neighbor) -> bool {
        let entry = self.by_address.get(&neighbor).map(|key| &self.entries[*key]);
        entry.is_none_or(|entry| matches!(entry.state, State::Incomplete { .. } | State::Failed))
    }

    /// Forgets what cannot be sent: an interface has lost its last address. Whoever probes for one needs none.
    pub(crate) fn forget_messages(&mut self, interface: InterfaceId) {
        let messages = &mut self.messages[usize::from(interface.0)];
        messages.retain(|message| matches!(message, Message::Probe { .. }));
    }

    /// Forgets every neighbour of an interface. What waited for one of them comes back.
    #[must_use = "senders want to hear what became of their packets"]
    pub(crate) fn flush(
        &mut self,
        interface: InterfaceId,
        timers: &mut TimerWheel<Timer>,
    ) -> VecDeque<Packet> {
        let mut unsent = VecDeque::new();
        let keys: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.neighbor.0 == interface)
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            let entry = &mut self.entries[key];
            unsent.extend(entry.packets.drain(..));
            self.woken.extend(entry.waiters.drain(..).map(|waiter| (waiter, false)));
            if let Some(timer) = entry.timer.take() {
                timers.cancel(timer);
            }
            self.remove(key);
        }
        self.forget_messages(interface);
        unsent
    }
}

fn build(message: &Message, interface: &Interface) -> Option<(ArpPacket, MacAddress)> {
    let to_all = |arp| Some((arp, MacAddress::BROADCAST));
    match *message {
        Message::Probe { address: IpAddress::V4(address) } => {
            return to_all(ArpPacket::probe(interface.mac, address));
        }
        Message::Announce { address: IpAddress::V4(address) } => {
            return to_all(ArpPacket::announcement(interface.mac, address));
        }
        _ => {}
    }
    let (operation, sender, target, to) = match *message {
        Message::Request { target, to } => {
            let near = interface.addresses().iter().find(|own| own.contains(target));
            let own = near.or_else(|| interface.addresses().iter().find(|own| own.address.is_ipv4()))?;
            (ArpOperation::Request, own.address, target, to)
        }
        Message::Reply { from, target, to } => (ArpOperation::Reply, from, target, to),
        Message::Probe { .. } | Message::Announce { .. } => return None,
    };
    let (IpAddress::V4(sender_address), IpAddress::V4(target_address)) = (sender, target) else {
        return None;
    };
    let target_mac = if to.is_broadcast() { MacAddress::ZERO } else { to };
    let arp = ArpPacket { operation, sender_mac: interface.mac, sender_address, target_mac, target_address };
    Some((arp, to))
}

fn emit(arp: &ArpPacket, pool: &Pool) -> Option<Packet> {
    let mut buffer = pool.allocate(SizeClass::Small, HEADROOM)?;
    arp.emit(buffer.append(ArpPacket::LEN)?).ok()?;
    Some(Packet::new(buffer))
}
