//! Other stations that claim addresses of this host.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::interfaces::name;
use super::table::{Table, counted};
use super::{Part, Shown, View};

/// Stations that claim addresses of this host (RFC 5227).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conflicts {
    /// One entry for each address.
    pub conflicts: Vec<Conflict>,
}

/// A station that claims an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The address.
    pub address: IpAddr,
    /// The interface.
    pub interface: String,
    /// The station, or the last of them.
    pub mac: String,
    /// How often it was heard.
    pub times: u64,
    /// How long ago it was heard last, in milliseconds.
    pub milliseconds_ago: u64,
}

impl Part for Conflicts {
    fn read(view: &View<'_>) -> Self {
        let now = view.shard.now();
        let conflicts = view.shard.conflicts().map(|conflict| Conflict {
            address: conflict.address,
            interface: name(conflict.interface),
            mac: conflict.station.to_string(),
            times: conflict.times,
            milliseconds_ago: now.saturating_since(conflict.last).as_millis() as u64,
        });
        Self { conflicts: conflicts.take(view.limit).collect() }
    }

    fn join(parts: Vec<Self>) -> Self {
        Self { conflicts: parts.into_iter().flat_map(|part| part.conflicts).collect() }
    }
}

impl Display for Conflicts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["address", "claimed by", "interface", ">times", ">last, s ago"]);
        for it in &self.conflicts {
            let ago = format!("{:.1}", it.milliseconds_ago as f64 / 1_000.0);
            table.row([
                it.address.to_string(),
                it.mac.clone(),
                it.interface.clone(),
                it.times.to_string(),
                ago,
            ]);
        }
        write!(f, "{table}")
    }
}

impl Shown for Conflicts {
    fn summary(&self) -> String {
        counted(self.conflicts.len(), "claim") + " of others to addresses of this host"
    }
}
