//! Datagrams that are being put together.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use super::table::{Table, counted};
use super::units::bytes;
use super::{Part, Shown, View};

/// Datagrams some of whose fragments are missing, and what they hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reassembly {
    /// The shards, in order.
    pub shards: Vec<Incomplete>,
}

/// The incomplete datagrams of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incomplete {
    /// Which shard.
    pub shard: u16,
    /// How many there are.
    pub datagrams: usize,
    /// Bytes of buffers that they hold.
    pub held: usize,
}

impl Part for Reassembly {
    fn read(view: &View<'_>) -> Self {
        let sunstar_stack::ReassemblyInfo { datagrams, held } = view.shard.reassembly();
        Self { shards: vec![Incomplete { shard: view.shard.id().0, datagrams, held }] }
    }

    fn join(parts: Vec<Self>) -> Self {
        Self { shards: parts.into_iter().flat_map(|part| part.shards).collect() }
    }
}

impl Display for Reassembly {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([">shard", ">datagrams", ">held"]);
        for it in &self.shards {
            table.row([it.shard.to_string(), it.datagrams.to_string(), bytes(it.held as u64)]);
        }
        write!(f, "{table}")
    }
}

impl Shown for Reassembly {
    fn summary(&self) -> String {
        let datagrams = self.shards.iter().map(|it| it.datagrams).sum();
        let held: usize = self.shards.iter().map(|it| it.held).sum();
        format!("{}, {} held", counted(datagrams, "incomplete datagram"), bytes(held as u64))
    }
}
