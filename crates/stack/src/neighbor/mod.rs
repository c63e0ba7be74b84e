//! Neighbours: which station has an address, found out by ARP (RFC 826; RFC 1122 section 2.3.2; RFC 5227).
//!
//! An entry is made when somebody here wants to send, or when a neighbour asks for us. An answer counts
//! only while we wait for one: what nobody asked for changes nothing. Packets wait with the entry, a few
//! at most; connections wait as [`Waiter`]s and build nothing meanwhile.
//!
//! Every address has an *owner* among the shards, by steering: it alone asks, judges answers and ages, and what it
//! learns, all learn. The others keep what they were told, and ask the owner (`siblings`).

mod arp;
mod entry;
mod own;
mod siblings;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use slotmap::{SlotMap, new_key_type};
use sunstar_packet::{Packet, SlotId};
use sunstar_wire::{IpAddress, MacAddress};

pub(crate) use arp::ArpInput;
use entry::{Entry, State};
pub use own::ConflictInfo;
pub(crate) use own::{AddressNews, OwnAddresses};

use crate::config::NeighborConfig;
use crate::core::Timer;
use crate::counters::Counters;
use crate::hash::{Keyed, KeyedMap};
use crate::ip::InterfaceId;
use crate::random::Random;
use crate::siblings::Siblings;
use crate::steering::{ShardId, Steering};
use crate::time::Instant;
use crate::timer::TimerWheel;

new_key_type! {
    /// Names a cache entry.
    pub(crate) struct NeighborKey;
}

/// A neighbour: an address on an interface.
pub(crate) type Neighbor = (InterfaceId, IpAddress);

/// Somebody who waits for a neighbour without a packet: a connection's key.
pub(crate) type Waiter = crate::tcp::ConnectionKey;

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// It is at this station.
    Known(MacAddress),
    /// It is being asked for.
    Pending,
    /// It did not answer, a moment ago.
    Failed,
}

/// What the owner of a neighbour tells its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// It answered from this station, not long ago.
    Confirmed(MacAddress),
    /// It asked for us from this station, or answered a while ago.
    Heard(MacAddress),
    /// It was at this station, and is being asked again.
    Asked(MacAddress),
    /// It does not answer.
    Silent,
}

/// What the cache uses of its shard.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a NeighborConfig,
    pub(crate) timers: &'a mut TimerWheel<Timer>,
    pub(crate) counters: &'a mut Counters,
    pub(crate) steering: &'a Steering,
    pub(crate) siblings: &'a mut Siblings,
}

/// The state of a neighbour, for listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NeighborState {
    /// Asked for, not answered yet.
    Incomplete,
    /// Confirmed not long ago.
    Reachable,
    /// Known, but not confirmed for a while; the next use asks again.
    Stale,
    /// Known, in use, and asked again.
    Probing,
    /// Did not answer.
    Failed,
}

/// One line of the neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborInfo {
    /// The interface it is reached by.
    pub interface: InterfaceId,
    /// Its address.
    pub address: IpAddress,
    /// Its station, where known.
    pub mac: Option<MacAddress>,
    /// What is known.
    pub state: NeighborState,
    /// The shard that asks for it, and tells its siblings.
    pub owner: ShardId,
}

/// A packet of the neighbour protocol to be built when the device asks for it.
#[derive(Clone, Copy, Debug)]
enum Message {
    Request {
        target: IpAddress,
        to: MacAddress,
    },
    Reply {
        from: IpAddress,
        target: IpAddress,
        to: MacAddress,
    },
    /// Whether anybody has an address (RFC 5227 section 2.1.1).
    Probe {
        address: IpAddress,
    },
    /// That this host has it (RFC 5227 section 2.3).
    Announce {
        address: IpAddress,
    },
}

pub(crate) struct Neighbors {
    entries: SlotMap<NeighborKey, Entry>,
    by_address: KeyedMap<Neighbor, NeighborKey>,
    messages: [VecDeque<Message>; InterfaceId::COUNT],
    released: [VecDeque<(MacAddress, Packet)>; InterfaceId::COUNT],
    /// Packets whose neighbour has made room for another: their senders want to hear what became of them.
    pub(crate) displaced: VecDeque<Packet>,
    /// Entries that were ever made.
    made: u64,
    /// Connections whose wait is over, and whether the neighbour answered.
    pub(crate) woken: Vec<(Waiter, bool)>,
    random: Random,
}

/// Messages that wait for a device at most. A question that finds no place is asked again by its timer.
const MAX_MESSAGES: usize = 256;

/// Connections that wait for one neighbour at most; more ask again later.
const MAX_WAITERS: usize = 65_536;

impl Neighbors {
    /// Messages that wait for a device at most.
    pub(crate) const MAX_MESSAGES: usize = MAX_MESSAGES;

    /// How many neighbours there are; how many packets wait for the one that most wait for; how many messages wait for a
    /// device.
    pub(crate) fn waiting(&self) -> (usize, usize, usize) {
        let packets = self.entries.values().map(|entry| entry.packets.len()).max();
        let messages = self.messages.iter().map(VecDeque::len).max();
        (self.entries.len(), packets.unwrap_or(0), messages.unwrap_or(0))
    }

    /// The slots that waiting packets hold.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotId> {
        let waiting = self.entries.values().flat_map(|entry| &entry.packets);
        let released = self.released.iter().flatten().map(|(_, packet)| packet);
        waiting.chain(released).chain(&self.displaced).flat_map(Packet::slots)
    }

    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            entries: SlotMap::with_key(),
            by_address: KeyedMap::with_hasher(Keyed::new(random)),
            messages: Default::default(),
            released: Default::default(),
            displaced: VecDeque::new(),
            made: 0,
            woken: Vec::new(),
            random: Random::from_seed(random.next_u64()),
        }
    }

    pub(crate) fn resolve(&mut self, neighbor: Neighbor, context: &mut Context<'_>) -> Resolution {
        let Some(&key) = self.by_address.get(&neighbor) else {
            return match self.insert(neighbor, State::Incomplete { attempts: 1 }, context) {
                Some(key) => {
                    self.look_for(key, MacAddress::BROADCAST, context);
                    Resolution::Pending
                }
                None => {
                    context.counters.drops.neighbor_cache_full += 1;
                    Resolution::Failed
                }
            };
        };
        let entry = &mut self.entries[key];
        match entry.state {
            State::Incomplete { .. } => Resolution::Pending,
            State::Failed => Resolution::Failed,
            State::Reachable { mac, until } if context.now < until => Resolution::Known(mac),
            State::Reachable { mac, .. } | State::Stale { mac } => {
                entry.state = State::Probing { mac, attempts: 1 };
                self.look_for(key, mac, context);
                Resolution::Known(mac)
            }
            State::Probing { mac, .. } => Resolution::Known(mac),
        }
    }

    /// Asks for a neighbour, or has its owner ask.
    fn look_for(&mut self, key: NeighborKey, to: MacAddress, context: &mut Context<'_>) {
        let Entry { neighbor, owner, .. } = self.entries[key];
        if owner == context.siblings.me() {
            self.ask(neighbor, to);
            self.start_timer(key, context.now + context.config.retry, context.timers);
        } else {
            // The owner always answers, unless it has had to forget what it was asked.
            context.siblings.want_neighbor(owner, neighbor);
            let patience = context.config.retry * (u32::from(context.config.attempts) + 1);
            self.start_timer(key, context.now + patience, context.timers);
        }
    }

    /// Has a packet wait for its neighbour; gives back what has to be dropped for it.
    pub(crate) fn park(&mut self, neighbor: Neighbor, packet: Packet, limit: usize) -> Option<Packet> {
        let Some(entry) = self.by_address.get(&neighbor).and_then(|key| self.entries.get_mut(*key)) else {
            return Some(packet);
        };
        entry.packets.push_back(packet);
        if entry.packets.len() > limit { entry.packets.pop_front() } else { None }
    }

    /// Has a connection wait for its neighbour. False if too many do: connections come and go while a neighbour is
    /// silent, and each leaves its key here.
    pub(crate) fn wait(&mut self, neighbor: Neighbor, waiter: Waiter) -> bool {
        let entry = self.by_address.get(&neighbor).and_then(|key| self.entries.get_mut(*key));
        let Some(entry) = entry.filter(|entry| entry.waiters.len() < MAX_WAITERS) else { return false };
        entry.waiters.push(waiter);
        true
    }

    /// Whether there is anything to send on an interface.
    pub(crate) fn wants(&self, interface: InterfaceId) -> bool {
        let interface = usize::from(interface.0);
        !self.messages[interface].is_empty() || !self.released[interface].is_empty()
    }

    /// A timer of an entry ran out. Packets that waited in vain come back to be dropped.
    pub(crate) fn on_timer(&mut self, key: NeighborKey, context: &mut Context<'_>) -> VecDeque<Packet> {
        let Some(entry) = self.entries.get_mut(key) else { return VecDeque::new() };
        entry.timer = None;
        match entry.state {
            State::Incomplete { ref mut attempts } | State::Probing { ref mut attempts, .. }
                if *attempts < context.config.attempts =>
            {
                *attempts += 1;
                self.look_for(key, MacAddress::BROADCAST, context);
                VecDeque::new()
            }
            State::Incomplete { .. } | State::Probing { .. } => {
                if entry.owner == context.siblings.me() {
                    context.counters.control.neighbors_failed += 1;
                    context.siblings.spread_neighbor(entry.neighbor);
                }
                self.give_up(key, context)
            }
            State::Failed => {
                self.remove(key);
                VecDeque::new()
            }
            State::Reachable { .. } | State::Stale { .. } => VecDeque::new(),
        }
    }

    /// A neighbour does not answer. Packets that waited in vain come back to be dropped.
    fn give_up(&mut self, key: NeighborKey, context: &mut Context<'_>) -> VecDeque<Packet> {
        let entry = &mut self.entries[key];
        entry.state = State::Failed;
        let packets = core::mem::take(&mut entry.packets);
        self.woken.extend(entry.waiters.drain(..).map(|waiter| (waiter, false)));
        self.start_timer(key, context.now + context.config.failed, context.timers);
        packets
    }

    /// Every neighbour of this shard.
    pub(crate) fn iter(&self, now: Instant) -> impl Iterator<Item = NeighborInfo> {
        self.entries.values().map(move |entry| {
            let (mac, state) = entry.state.info(now);
            NeighborInfo {
                interface: entry.neighbor.0,
                address: entry.neighbor.1,
                mac,
                state,
                owner: entry.owner,
            }
        })
    }

    fn ask(&mut self, (interface, target): Neighbor, to: MacAddress) {
        self.say(interface, Message::Request { target, to });
    }

    fn say(&mut self, interface: InterfaceId, message: Message) -> bool {
        let messages = &mut self.messages[usize::from(interface.0)];
        if messages.len() >= MAX_MESSAGES {
            return false;
        }
        messages.push_back(message);
        true
    }

    /// A new entry, if need be in place of one that is not reachable.
    fn insert(&mut self, neighbor: Neighbor, state: State, context: &Context<'_>) -> Option<NeighborKey> {
        if self.entries.len() >= context.config.max_entries {
            let dispensable = self
                .entries
                .iter()
                .filter_map(|(key, entry)| Some((entry.dispensability(context.now)?, key)));
            let (_, victim) = dispensable.min()?;
            self.displace(victim);
        }
        let owner = context.steering.shard_of_neighbor(neighbor.1);
        self.made += 1;
        let key = self.entries.insert(Entry::new(self.made, neighbor, owner, state));
        self.by_address.insert(neighbor, key);
        Some(key)
    }

    /// Removes an entry. What waits for it has waited in vain.
    fn displace(&mut self, key: NeighborKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.displaced.append(&mut entry.packets);
            self.woken.extend(entry.waiters.drain(..).map(|waiter| (waiter, false)));
        }
        self.remove(key);
    }

    fn remove(&mut self, key: NeighborKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_address.remove(&entry.neighbor);
        }
    }

    fn start_timer(&mut self, key: NeighborKey, at: Instant, timers: &mut TimerWheel<Timer>) {
        let entry = &mut self.entries[key];
        match entry.timer {
            Some(timer) => {
                timers.reschedule(timer, at);
            }
            None => entry.timer = Some(timers.insert(Timer::Neighbor(key), at)),
        }
    }

    /// The neighbour is confirmed at a station: what waited may go.
    fn confirm(&mut self, key: NeighborKey, mac: MacAddress, context: &mut Context<'_>) {
        let state = self.reachable(mac, context);
        self.learn(key, state, mac, context.timers);
    }

    /// A station confirmed now; for how long is left to chance, so that shards and hosts do not ask all at once.
    fn reachable(&mut self, mac: MacAddress, context: &Context<'_>) -> State {
        let micros = context.config.reachable.as_micros() as u64;
        let good_for = micros / 2 + self.random.below(micros.max(1));
        State::Reachable { mac, until: context.now + core::time::Duration::from_micros(good_for) }
    }

    fn learn(&mut self, key: NeighborKey, state: State, mac: MacAddress, timers: &mut TimerWheel<Timer>) {
        let entry = &mut self.entries[key];
        entry.state = state;
        if let Some(timer) = entry.timer.take() {
            timers.cancel(timer);
        }
        let released = &mut self.released[usize::from(entry.neighbor.0.0)];
        released.extend(entry.packets.drain(..).map(|packet| (mac, packet)));
        self.woken.extend(entry.waiters.drain(..).map(|waiter| (waiter, true)));
    }
}
