//! What places packets on the shards.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use super::table::{Table, counted};
use super::{Part, Shown, View};
use crate::stats::SteeredBy;

/// What places packets on the shards, and how many on which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steering {
    /// What places them.
    pub by: SteeredBy,
    /// Why it is not a program in the kernel, where that was tried.
    pub reason: Option<String>,
    /// Entries of the indirection table.
    pub entries: usize,
    /// Each shard's part, in order.
    pub shards: Vec<Steered>,
}

/// What is placed on a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steered {
    /// Which one.
    pub shard: u16,
    /// Entries of the table that name it.
    pub entries: usize,
    /// Packets that the shards have found to be its by the table, whoever received them.
    pub packets: u64,
}

impl Part for Steering {
    fn read(view: &View<'_>) -> Self {
        let steering = view.shard.steering();
        let mut shards: Vec<_> =
            (0..steering.shards()).map(|shard| Steered { shard, entries: 0, packets: 0 }).collect();
        let table = steering.table().entries();
        for (shard, packets) in table.iter().zip(view.shard.heat()) {
            let steered = &mut shards[usize::from(shard.0)];
            steered.entries += 1;
            steered.packets += packets;
        }
        let (by, reason) = (view.steered.by, view.steered.reason.clone());
        Self { by, reason, entries: table.len(), shards }
    }

    fn join(parts: Vec<Self>) -> Self {
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or_else(|| Self {
            by: SteeredBy::Nothing,
            reason: None,
            entries: 0,
            shards: Vec::new(),
        });
        for part in parts {
            for (sum, more) in all.shards.iter_mut().zip(part.shards) {
                sum.packets += more.packets;
            }
        }
        all
    }
}

impl Display for Steering {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "steered by {}", self.by)?;
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        let mut table = Table::new([">shard", ">entries", ">part", ">packets"]);
        for Steered { shard, entries, packets } in &self.shards {
            let part = *entries as f64 * 100.0 / self.entries.max(1) as f64;
            table.row([shard.to_string(), entries.to_string(), format!("{part:.0}%"), packets.to_string()]);
        }
        write!(f, "\n{table}")
    }
}

impl Shown for Steering {
    fn summary(&self) -> String {
        let entries: Vec<_> = self.shards.iter().take(16).map(|it| it.entries.to_string()).collect();
        let more = if self.shards.len() > 16 { ", ..." } else { "" };
        let shards = counted(self.shards.len(), "shard");
        format!("{}; {shards} with {}{more} of {} entries", self.by, entries.join(", "), self.entries)
    }
}
