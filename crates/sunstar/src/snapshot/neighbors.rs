//! Neighbours.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sunstar_stack::NeighborState;

use super::interfaces::name;
use super::seen::ranges;
use super::table::{Table, counted, or_dash};
use super::{Part, Seen, Shown, View};

/// The stations of the neighbours, and which shard asks for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbors {
    /// One entry each; more where shards know different things.
    pub neighbors: Vec<Seen<Neighbor>>,
    /// Some shard has more than are listed.
    pub truncated: bool,
}

/// What is known of a neighbour.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Neighbor {
    /// Its address.
    pub address: IpAddr,
    /// The interface it is reached by.
    pub interface: String,
    /// The shard that asks for it, and tells its siblings.
    pub owner: u16,
    /// Its station, where known.
    pub mac: Option<String>,
    /// How sure that is.
    pub state: NeighborState,
}

fn named(state: NeighborState) -> &'static str {
    match state {
        NeighborState::Incomplete => "incomplete",
        NeighborState::Reachable => "reachable",
        NeighborState::Stale => "stale",
        NeighborState::Probing => "probing",
        NeighborState::Failed => "failed",
    }
}

impl Part for Neighbors {
    fn read(view: &View<'_>) -> Self {
        let mut known = view.shard.neighbors();
        let listed = known.by_ref().take(view.limit).map(|it| Neighbor {
            address: it.address,
            interface: name(it.interface),
            owner: it.owner.0,
            mac: it.mac.map(|mac| mac.to_string()),
            state: it.state,
        });
        Self { neighbors: Seen::by(view.shard.id().0, listed), truncated: known.next().is_some() }
    }

    fn join(parts: Vec<Self>) -> Self {
        let truncated = parts.iter().any(|part| part.truncated);
        Self { neighbors: Seen::join(parts.into_iter().map(|part| part.neighbors)), truncated }
    }
}

impl Display for Neighbors {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["address", "MAC", "state", "interface", ">owner", "shards"]);
        for Seen { what, shards } in &self.neighbors {
            table.row([
                what.address.to_string(),
                or_dash(what.mac.as_ref()),
                named(what.state).to_owned(),
                what.interface.clone(),
                what.owner.to_string(),
                ranges(shards),
            ]);
        }
        write!(f, "{table}")?;
        if self.truncated { write!(f, "\n(there are more; ask for more with a limit)") } else { Ok(()) }
    }
}

impl Shown for Neighbors {
    fn summary(&self) -> String {
        // What its owner knows counts; where that is missing, what is known at all.
        let mut states: BTreeMap<IpAddr, NeighborState> = BTreeMap::new();
        for Seen { what, shards } in &self.neighbors {
            let by_owner = shards.contains(&what.owner);
            match states.entry(what.address) {
                Entry::Occupied(mut known) if by_owner => {
                    known.insert(what.state);
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(free) => {
                    free.insert(what.state);
                }
            }
        }
        let mut counts: BTreeMap<NeighborState, usize> = BTreeMap::new();
        states.values().for_each(|state| *counts.entry(*state).or_default() += 1);
        let mut parts = vec![counted(states.len(), "neighbour")];
        parts.extend(counts.iter().map(|(state, count)| format!("{count} {}", named(*state))));
        parts.join(", ")
    }
}
