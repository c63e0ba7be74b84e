//! One entry of the neighbour cache.

use std::collections::VecDeque;

use sunstar_packet::Packet;
use sunstar_wire::MacAddress;

use super::{Binding, Neighbor, NeighborState, Waiter};
use crate::steering::ShardId;
use crate::time::Instant;
use crate::timer::TimerId;

/// What is known of a neighbour's station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Asked for, so many times. (Where another shard asks, it is only waited for; so in `Probing`.)
    Incomplete { attempts: u8 },
    /// It answered us.
    Reachable { mac: MacAddress, until: Instant },
    /// It asked for us, and we have not asked it: good enough to answer with, to be confirmed in use.
    Stale { mac: MacAddress },
    /// In use and asked again, so many times.
    Probing { mac: MacAddress, attempts: u8 },
    /// It did not answer.
    Failed,
}

impl State {
    pub(super) fn info(&self, now: Instant) -> (Option<MacAddress>, NeighborState) {
        match *self {
            State::Incomplete { .. } => (None, NeighborState::Incomplete),
            State::Reachable { mac, until } if now < until => (Some(mac), NeighborState::Reachable),
            State::Reachable { mac, .. } | State::Stale { mac } => (Some(mac), NeighborState::Stale),
            State::Probing { mac, .. } => (Some(mac), NeighborState::Probing),
            State::Failed => (None, NeighborState::Failed),
        }
    }

    /// What siblings are told; nothing while nothing is known.
    pub(super) fn binding(&self, now: Instant) -> Option<Binding> {
        match *self {
            State::Incomplete { .. } => None,
            State::Reachable { mac, until } if now < until => Some(Binding::Confirmed(mac)),
            State::Reachable { mac, .. } | State::Stale { mac } => Some(Binding::Heard(mac)),
            State::Probing { mac, .. } => Some(Binding::Asked(mac)),
            State::Failed => Some(Binding::Silent),
        }
    }
}

pub(super) struct Entry {
    /// The lower, the older.
    pub(super) serial: u64,
    pub(super) neighbor: Neighbor,
    /// The shard that asks, judges and ages.
    pub(super) owner: ShardId,
    pub(super) state: State,
    pub(super) timer: Option<TimerId>,
    pub(super) packets: VecDeque<Packet>,
    pub(super) waiters: Vec<Waiter>,
}

impl Entry {
    pub(super) fn new(serial: u64, neighbor: Neighbor, owner: ShardId, state: State) -> Self {
        Self { serial, neighbor, owner, state, timer: None, packets: VecDeque::new(), waiters: Vec::new() }
    }

    /// Which of several makes room for another: the least. `None` for one that stays. An address that somebody claims to
    /// have may be nobody's: what never answered us goes before what did, and of its like the oldest, which has had its time
    /// to answer.
    pub(super) fn dispensability(&self, now: Instant) -> Option<(u8, u64)> {
        let rank = match self.state {
            State::Failed => 0,
            State::Incomplete { .. } | State::Stale { .. } => 1,
            State::Reachable { until, .. } if now >= until => 2,
            State::Reachable { .. } | State::Probing { .. } => return None,
        };
        Some((rank, self.serial))
    }
}
