//! This host's own addresses on the link (RFC 5227): probed for before they are used, announced when they are, and
//! defended when another station claims one.
//!
//! Shard 0 does this for all. Claims arrive anywhere, and are told to it.

use std::collections::{BTreeMap, VecDeque};

use sunstar_wire::arp::{ArpOperation, ArpPacket};
use sunstar_wire::{IpAddress, MacAddress};

use super::{Message, Neighbor};
use crate::core::{Core, Timer};
use crate::ip::InterfaceId;
use crate::ip::configuration::Subject;
use crate::siblings::SPEAKER;
use crate::time::{Duration, Instant};
use crate::timer::TimerId;

/// Stations that claim an address of ours, remembered for listings at most.
const MAX_CONFLICTS: usize = 64;

/// What a shard's other parts have to know of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressNews {
    /// An address that was probed for is nobody's, or is somebody's.
    Probed { address: IpAddress, free: bool },
    /// Another station goes on claiming an address that was defended a moment ago (RFC 5227 section 2.4).
    Disputed(IpAddress),
}

/// Another station that claims an address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConflictInfo {
    /// The interface.
    pub interface: InterfaceId,
    /// The address.
    pub address: IpAddress,
    /// The station that claims it, or the last one that did.
    pub station: MacAddress,
    /// How often it was heard.
    pub times: u64,
    /// When it was heard last.
    pub last: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Asked whether anybody has it, so many times.
    Probing { sent: u8 },
    /// To be announced so many times more.
    Announcing { left: u8 },
}

#[derive(Debug)]
struct Step {
    phase: Phase,
    timer: TimerId,
}

/// The addresses that something is done about.
#[derive(Debug, Default)]
pub(crate) struct OwnAddresses {
    steps: BTreeMap<Neighbor, Step>,
    /// When an address was last defended.
    defended: BTreeMap<Neighbor, Instant>,
    conflicts: BTreeMap<Neighbor, ConflictInfo>,
    pub(crate) news: VecDeque<AddressNews>,
}

impl OwnAddresses {
    /// The stations that claim addresses of this host.
    pub(crate) fn conflicts(&self) -> impl Iterator<Item = &ConflictInfo> {
        self.conflicts.values()
    }
}

impl Core {
    /// Finds out whether anybody has an address (RFC 5227 section 2.1.1). Until then it is tentative.
    pub(crate) fn probe_address(&mut self, own: Neighbor) {
        let wait = self.some_of(Duration::ZERO, self.config.neighbor.probe_wait);
        self.begin_step(own, Phase::Probing { sent: 0 }, wait);
    }

    /// Tells the link of an address (RFC 5227 section 2.3): caches that have another station for it are wrong.
    pub(crate) fn announce_address(&mut self, own: Neighbor) {
        let left = self.config.neighbor.announcements;
        if let Some(Step { phase: Phase::Probing { .. }, .. }) = self.own_addresses.steps.get(&own) {
            // It became ours before the probe was over: whoever waits for that need not any longer.
            self.own_addresses.news.push_back(AddressNews::Probed { address: own.1, free: true });
        }
        if left > 0 {
            self.begin_step(own, Phase::Announcing { left }, Duration::ZERO);
        }
    }

    /// An address is no longer of interest.
    pub(crate) fn drop_address(&mut self, own: Neighbor) {
        if let Some(step) = self.own_addresses.steps.remove(&own) {
            self.timers.cancel(step.timer);
        }
        self.own_addresses.defended.remove(&own);
    }

    fn begin_step(&mut self, own: Neighbor, phase: Phase, wait: Duration) {
        if let Some(step) = self.own_addresses.steps.remove(&own) {
            self.timers.cancel(step.timer);
        }
        let timer = self.timers.insert(Timer::OwnAddress(own), self.now + wait);
        self.own_addresses.steps.insert(own, Step { phase, timer });
    }

    /// The time of a step has come.
    pub(crate) fn on_own_address_timer(&mut self, own: Neighbor) {
        let Some(step) = self.own_addresses.steps.remove(&own) else { return };
        let config = &self.config.neighbor;
        match step.phase {
            Phase::Probing { sent } if sent >= config.probes => {
                self.own_addresses.news.push_back(AddressNews::Probed { address: own.1, free: true });
            }
            Phase::Probing { sent } => {
                let (shortest, longest) = config.probe_interval;
                let wait = match sent + 1 < config.probes {
                    true => self.some_of(shortest, longest),
                    false => config.announce_wait,
                };
                // One that finds no place, or no carrier, is not sent.
                let up = self.interfaces.get(own.0).up;
                let said = up && self.neighbors.say(own.0, Message::Probe { address: own.1 });
                self.begin_step(own, Phase::Probing { sent: sent + u8::from(said) }, wait);
            }
            Phase::Announcing { left } => {
                let wait = config.announce_interval;
                self.neighbors.say(own.0, Message::Announce { address: own.1 });
                if left > 1 {
                    self.begin_step(own, Phase::Announcing { left: left - 1 }, wait);
                }
            }
        }
        self.want_neighbors(own.0);
    }

    /// The address of ours that an ARP packet claims, or wants to have as we do (RFC 5227 sections 2.1.1 and 2.4).
    pub(super) fn claimed_by(&self, interface: InterfaceId, arp: &ArpPacket) -> Option<IpAddress> {
        let own = self.interfaces.get(interface);
        if arp.sender_mac == own.mac {
            return None;
        }
        let tentative = |address| self.configuration.get(Subject::Tentative(interface, address)).is_some();
        let (sender, target) = (IpAddress::V4(arp.sender_address), IpAddress::V4(arp.target_address));
        let is_ours = own.addresses().iter().any(|own| own.address == sender) || tentative(sender);
        let also_probes = arp.operation == ArpOperation::Request
            && arp.sender_address.is_unspecified()
            && tentative(target);
        match (is_ours, also_probes) {
            (true, _) => Some(sender),
            (_, true) => Some(target),
            _ => None,
        }
    }

    /// Another station claims an address of this host.
    pub(crate) fn on_conflict(&mut self, own: Neighbor, station: MacAddress) {
        if self.siblings.me() != SPEAKER {
            return self.siblings.tell_conflict(own, station);
        }
        self.counters.control.address_conflicts += 1;
        self.note_conflict(own, station);
        let step = self.own_addresses.steps.get(&own).map(|step| step.phase);
        if let Some(Phase::Probing { .. }) = step {
            self.drop_address(own);
            self.own_addresses.news.push_back(AddressNews::Probed { address: own.1, free: false });
            return;
        }
        if self.configuration.get(Subject::Address(own.0, own.1)).is_none() {
            return;
        }
        let interval = self.config.neighbor.defend_interval;
        let defended = self.own_addresses.defended.get(&own).copied();
        if defended.is_some_and(|at| self.now.saturating_since(at) < interval) {
            self.own_addresses.news.push_back(AddressNews::Disputed(own.1));
            return;
        }
        self.own_addresses.defended.insert(own, self.now);
        self.neighbors.say(own.0, Message::Announce { address: own.1 });
        self.counters.control.address_defences += 1;
        self.want_neighbors(own.0);
    }

    fn note_conflict(&mut self, own: Neighbor, station: MacAddress) {
        let conflicts = &mut self.own_addresses.conflicts;
        if !conflicts.contains_key(&own) && conflicts.len() >= MAX_CONFLICTS {
            let oldest = conflicts.iter().min_by_key(|(_, conflict)| conflict.last).map(|(own, _)| *own);
            oldest.and_then(|oldest| conflicts.remove(&oldest));
        }
        let (interface, address) = own;
        let blank = ConflictInfo { interface, address, station, times: 0, last: self.now };
        let conflict = conflicts.entry(own).or_insert(blank);
        (conflict.station, conflict.last) = (station, self.now);
        conflict.times += 1;
    }

    fn some_of(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let micros = |duration: Duration| duration.as_micros() as u64;
        let (shortest, longest) = (micros(shortest), micros(longest));
        Duration::from_micros(self.random.range(shortest..=longest.max(shortest)))
    }
}
