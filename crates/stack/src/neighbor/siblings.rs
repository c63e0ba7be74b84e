//! Neighbours among shards: what the owner of an address is asked and told by its siblings, and tells them.

use sunstar_wire::MacAddress;

use super::entry::State;
use super::{Binding, Neighbor, Neighbors, Resolution};
use crate::core::Core;
use crate::ip::InterfaceId;
use crate::link::Provider;
use crate::steering::ShardId;
use crate::time::Instant;

impl Core {
    /// The owner's part: a sibling wants to send to a neighbour. It is told what is known at once, and what will
    /// be known, with all others, when it is.
    pub(crate) fn on_neighbor_wanted(&mut self, from: ShardId, neighbor: Neighbor) {
        let (neighbors, mut context) = self.neighbors();
        if neighbors.resolve(neighbor, &mut context) != Resolution::Pending {
            context.siblings.tell_neighbor(from, neighbor);
        }
        self.want_neighbors(neighbor.0);
    }

    /// The owner's part: a neighbour has asked for us, here or at a sibling.
    pub(crate) fn on_neighbor_heard(&mut self, neighbor: Neighbor, mac: MacAddress) {
        let (neighbors, context) = self.neighbors();
        let stale = State::Stale { mac };
        let learnt = match neighbors.by_address.get(&neighbor).copied() {
            Some(key) => {
                // A question may end our wait, but never changes a binding.
                match neighbors.entries[key].state {
                    // Our own question is out all the same: its answer is still to confirm what was heard.
                    State::Incomplete { attempts } => {
                        neighbors.learn(key, State::Probing { mac, attempts }, mac, context.timers);
                        neighbors.start_timer(key, context.now + context.config.retry, context.timers);
                        true
                    }
                    State::Failed => {
                        neighbors.learn(key, stale, mac, context.timers);
                        true
                    }
                    _ => false,
                }
            }
            None => {
                let inserted = neighbors.insert(neighbor, stale, &context).is_some();
                context.counters.drops.neighbor_cache_full += u64::from(!inserted);
                inserted
            }
        };
        if learnt {
            context.siblings.spread_neighbor(neighbor);
        }
        self.want_neighbors(neighbor.0);
    }

    /// The owner of a neighbour tells what it knows.
    pub(crate) fn on_neighbor_told(&mut self, neighbor: Neighbor, binding: Binding) {
        let (neighbors, mut context) = self.neighbors();
        let mut unsent = Default::default();
        match (neighbors.by_address.get(&neighbor).copied(), binding) {
            (None, Binding::Silent) => {}
            (None, Binding::Confirmed(mac)) => {
                let state = neighbors.reachable(mac, &context);
                neighbors.insert(neighbor, state, &context);
            }
            (None, Binding::Heard(mac) | Binding::Asked(mac)) => {
                neighbors.insert(neighbor, State::Stale { mac }, &context);
            }
            (Some(key), Binding::Confirmed(mac)) => neighbors.confirm(key, mac, &mut context),
            (Some(key), binding) => match (neighbors.entries[key].state, binding) {
                (State::Incomplete { .. } | State::Failed, Binding::Heard(mac)) => {
                    neighbors.learn(key, State::Stale { mac }, mac, context.timers);
                }
                (State::Incomplete { .. } | State::Failed | State::Stale { .. }, Binding::Asked(mac)) => {
                    neighbors.learn(key, State::Probing { mac, attempts: 0 }, mac, context.timers);
                }
                (State::Incomplete { .. } | State::Probing { .. }, Binding::Silent) => {
                    unsent = neighbors.give_up(key, &mut context);
                }
                _ => {}
            },
        }
        self.drop_unsent(unsent);
        self.want_neighbors(neighbor.0);
    }

    /// Sees that what the cache has to send is asked for.
    pub(crate) fn want_neighbors(&mut self, interface: InterfaceId) {
        if self.neighbors.wants(interface) {
            self.want.set(interface, Provider::Neighbor);
        }
    }
}

impl Neighbors {
    /// What a sibling is told of a neighbour of ours; nothing while we wait for its answer.
    pub(crate) fn binding(&self, neighbor: Neighbor, now: Instant) -> Option<Binding> {
        match self.by_address.get(&neighbor) {
            Some(key) => self.entries[*key].state.binding(now),
            // There was no room for it.
            None => Some(Binding::Silent),
        }
    }

    /// Neighbours that a shard owns.
    pub(crate) fn owned_by(&self, owner: ShardId) -> impl Iterator<Item = Neighbor> {
        self.entries.values().filter(move |entry| entry.owner == owner).map(|entry| entry.neighbor)
    }

    /// Neighbours that a shard owns, and that are waited for here.
    pub(crate) fn unsettled_of(&self, owner: ShardId) -> impl Iterator<Item = Neighbor> {
        let open = |state: &State| matches!(state, State::Incomplete { .. } | State::Probing { .. });
        let waited = self.entries.values().filter(move |entry| entry.owner == owner && open(&entry.state));
        waited.map(|entry| entry.neighbor)
    }
}
