//! Owners of ports.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use sunstar_stack::steering::{HookId, Owner, ShardId};

use super::seen::ranges;
use super::table::{Table, counted};
use super::{Part, Seen, Shown, View};
use crate::configure::PortName;

/// The ports that have an owner, which is asked before the hash is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ports {
    /// One entry each; more where a shard has not been told yet.
    pub ports: Vec<Seen<Port>>,
    /// There are more than are listed.
    pub truncated: bool,
}

/// A port with an owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Which one.
    pub port: PortName,
    /// `shard N` for all flows, `every` shard for those that hash to it, `hook N`.
    pub owner: String,
}

impl Part for Ports {
    fn read(view: &View<'_>) -> Self {
        let mut owned = view.shard.steering().owners().changes_since(0).filter_map(|change| {
            let owner = match change.owner? {
                Owner::Shard(ShardId(shard)) => format!("shard {shard}"),
                Owner::EveryShard => "every".to_owned(),
                Owner::Hook(HookId(hook)) => format!("hook {hook}"),
            };
            Some(Port { port: PortName { space: change.space, port: change.port }, owner })
        });
        let ports = Seen::by(view.shard.id().0, owned.by_ref().take(view.limit));
        Self { ports, truncated: owned.next().is_some() }
    }

    fn join(parts: Vec<Self>) -> Self {
        let truncated = parts.iter().any(|part| part.truncated);
        Self { ports: Seen::join(parts.into_iter().map(|part| part.ports)), truncated }
    }
}

impl Display for Ports {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["port", "owner", "shards"]);
        for Seen { what, shards } in &self.ports {
            table.row([what.port.to_string(), what.owner.clone(), ranges(shards)]);
        }
        write!(f, "{table}")?;
        if self.truncated { write!(f, "\n(there are more; ask for more with a limit)") } else { Ok(()) }
    }
}

impl Shown for Ports {
    fn summary(&self) -> String {
        let one = |Seen { what, .. }: &Seen<Port>| format!("{} {}", what.port, what.owner);
        let mut parts = vec![counted(self.ports.len(), "port") + " with an owner"];
        parts.extend(self.ports.iter().take(8).map(one));
        if self.ports.len() > 8 {
            parts.push(format!("and {} more", self.ports.len() - 8));
        }
        parts.join(", ")
    }
}
