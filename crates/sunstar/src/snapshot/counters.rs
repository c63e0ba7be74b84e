//! Counters, each by its name.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use sunstar_packet::DeviceCounters;

use super::table::Table;
use super::{Part, Shown, View};

/// Every counter by its name, by shard and in sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// The shards whose counts are given, in order.
    pub shards: Vec<u16>,
    /// Every counter, zeros among them.
    pub counters: Vec<Counter>,
}

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Its group and name, as in `drops.martian`.
    pub name: String,
    /// All shards' counts together.
    pub total: u64,
    /// Each shard's count, in the order of [`Counters::shards`].
    pub by_shard: Vec<u64>,
}

/// The group of what the device counted.
const DEVICE: &str = "device";

/// A counter's full name.
fn full(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") }
}

impl Counters {
    /// The name of every counter that there is, and what it counts, in the order they are listed in.
    pub fn meanings() -> impl Iterator<Item = (String, &'static str)> {
        let by_device = DeviceCounters::MEANINGS.iter().map(|(name, meaning)| (full(DEVICE, name), *meaning));
        sunstar_stack::Counters::meanings()
            .map(|(group, name, meaning)| (full(group, name), meaning))
            .chain(by_device)
    }

    /// All shards' counts of one name together; zero for a name that there is not.
    pub fn total(&self, name: &str) -> u64 {
        self.counters.iter().find(|counter| counter.name == name).map_or(0, |counter| counter.total)
    }
}

impl Part for Counters {
    fn read(view: &View<'_>) -> Self {
        let device = view.engine.device().counters;
        let by_device = device.iter().map(|(name, count)| (DEVICE, name, count));
        let counter =
            |(group, name, count)| Counter { name: full(group, name), total: count, by_shard: vec![count] };
        let counters = view.shard.counters().iter().chain(by_device).map(counter).collect();
        Self { shards: vec![view.shard.id().0], counters }
    }

    fn join(parts: Vec<Self>) -> Self {
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or_else(|| Self { shards: Vec::new(), counters: Vec::new() });
        for part in parts {
            all.shards.extend(part.shards);
            // All shards have the same counters, in the same order.
            for (sum, more) in all.counters.iter_mut().zip(part.counters) {
                sum.total += more.total;
                sum.by_shard.extend(more.by_shard);
            }
        }
        all
    }
}

impl Display for Counters {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let several = self.shards.len() > 1;
        let by_shard = self.shards.iter().map(|shard| format!(">shard {shard}")).filter(|_| several);
        let mut table = Table::new(["counter".to_owned(), ">all".to_owned()].into_iter().chain(by_shard));
        for counter in &self.counters {
            let by_shard = counter.by_shard.iter().map(u64::to_string).filter(|_| several);
            table.row([counter.name.clone(), counter.total.to_string()].into_iter().chain(by_shard));
        }
        write!(f, "{table}")
    }
}

impl Shown for Counters {
    fn summary(&self) -> String {
        let total = |name| self.total(name);
        let dropped = |counter: &&Counter| counter.name.starts_with("drops.") && counter.total > 0;
        let name =
            |counter: &Counter| format!("{} {}", counter.name.trim_start_matches("drops."), counter.total);
        let drops: Vec<_> = self.counters.iter().filter(dropped).map(name).collect();
        let dropped = if drops.is_empty() { "nothing".to_owned() } else { drops.join(", ") };
        format!(
            "packets in {}, out {}, forwarded {}; segments resent {}; dropped: {dropped}",
            total("ip.received"),
            total("ip.sent"),
            total("mesh.forwarded") + total("mesh.group_forwarded"),
            total("tcp.retransmissions"),
        )
    }
}
