//! Path MTUs.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sunstar_stack::PathMtuSource;

use super::interfaces::name;
use super::seen::ranges;
use super::table::{Table, counted};
use super::units::micros;
use super::{Part, Seen, Shown, View};

/// The paths that take less than their interface does, and who has found that out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathMtus {
    /// One entry each; more where shards know different things.
    pub path_mtus: Vec<Seen<PathMtu>>,
    /// Some shard has more than are listed.
    pub truncated: bool,
    /// When this was read, by the clock that says when a path is forgotten.
    pub now_us: u64,
}

/// What is known of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PathMtu {
    /// Where it leads.
    pub destination: IpAddr,
    /// The interface it leaves by.
    pub interface: String,
    /// The largest IP packet it takes, in bytes.
    pub mtu: u16,
    /// Who has found that out.
    pub source: PathMtuSource,
    /// When it is forgotten, in microseconds of the stack's own clock.
    pub expires_us: u64,
}

fn named(source: PathMtuSource) -> &'static str {
    match source {
        PathMtuSource::Icmp => "icmp",
        PathMtuSource::Probed => "probed",
    }
}

impl Part for PathMtus {
    fn read(view: &View<'_>) -> Self {
        let mut known = view.shard.path_mtus();
        let listed = known.by_ref().take(view.limit).map(|it| PathMtu {
            destination: it.destination,
            interface: name(it.interface),
            mtu: it.mtu,
            source: it.source,
            expires_us: it.expires.as_micros(),
        });
        Self {
            path_mtus: Seen::by(view.shard.id().0, listed),
            truncated: known.next().is_some(),
            now_us: view.shard.now().as_micros(),
        }
    }

    fn join(parts: Vec<Self>) -> Self {
        let truncated = parts.iter().any(|part| part.truncated);
        let now_us = parts.iter().map(|part| part.now_us).max().unwrap_or_default();
        Self { path_mtus: Seen::join(parts.into_iter().map(|part| part.path_mtus)), truncated, now_us }
    }
}

impl Display for PathMtus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["destination", ">MTU", "by", ">expires in", "interface", "shards"]);
        for Seen { what, shards } in &self.path_mtus {
            table.row([
                what.destination.to_string(),
                what.mtu.to_string(),
                named(what.source).to_owned(),
                micros(what.expires_us.saturating_sub(self.now_us)),
                what.interface.clone(),
                ranges(shards),
            ]);
        }
        write!(f, "{table}")?;
        if self.truncated { write!(f, "\n(there are more; ask for more with a limit)") } else { Ok(()) }
    }
}

impl Shown for PathMtus {
    fn summary(&self) -> String {
        let mut paths: Vec<_> = self.path_mtus.iter().map(|it| (it.what.destination, it.what.mtu)).collect();
        // Shards that have not heard the latest differ in nothing that matters here.
        paths.dedup_by_key(|(destination, _)| *destination);
        let least = paths.iter().map(|(_, mtu)| *mtu).min();
        let narrow = counted(paths.len(), "narrow path");
        least.map_or_else(|| narrow.clone(), |least| format!("{narrow}, the least MTU {least}"))
    }
}
