//! The shards themselves.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use super::table::{Table, counted, or_dash};
use super::{Part, Shown, View};
use crate::stall::Stall;
use crate::stats::{PoolStats, QueueStats, RingStats};

/// The shards: their buffers, queues, rings, and what befell them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shards {
    /// In their order.
    pub shards: Vec<Shard>,
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// Which one.
    pub shard: u16,
    /// How many with this number have failed before it.
    pub restarts: u32,
    /// Polls of tasks that held it for too long.
    pub stalls: u64,
    /// The last of those.
    pub last_stall: Option<Stall>,
    /// Why its queue pair failed for good, if it did.
    pub failure: Option<String>,
    /// Why its capture ended early, if it did.
    pub capture_failure: Option<String>,
    /// Its buffers.
    pub pool: PoolStats,
    /// Whose queue of the device it sends through.
    pub queue: QueueStats,
    /// The rings from its siblings.
    pub rings: RingStats,
}

impl Part for Shards {
    fn read(view: &View<'_>) -> Self {
        let (stalls, last_stall) = view.engine.watch().stalls();
        let (waiting, deepest) = view.engine.mesh_depth();
        let device = view.engine.device();
        let shard = Shard {
            shard: view.shard.id().0,
            restarts: view.engine.incarnation(),
            stalls,
            last_stall,
            pool: PoolStats::of(view.shard.pool()),
            queue: QueueStats::of(view.shard.id(), &device),
            rings: RingStats { waiting, deepest },
            capture_failure: device.capture_failure.get().cloned(),
            failure: device.failure.map(|error| error.reason),
        };
        Self { shards: vec![shard] }
    }

    fn join(parts: Vec<Self>) -> Self {
        Self { shards: parts.into_iter().flat_map(|part| part.shards).collect() }
    }
}

impl Display for Shards {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let headings = [
            ">shard",
            "queue",
            ">buffers",
            ">most",
            ">large",
            ">most",
            ">lent",
            ">refused",
            ">waiting",
            ">deepest",
            ">stalls",
            ">restarts",
            "failure",
        ];
        let mut table = Table::new(headings);
        for it in &self.shards {
            let own = it.queue.owner == it.shard;
            table.row([
                it.shard.to_string(),
                if own { "own".to_owned() } else { format!("of {}", it.queue.owner) },
                format!("{}/{}", it.pool.small_out, it.pool.small),
                it.pool.small_high_water.to_string(),
                format!("{}/{}", it.pool.staging_out, it.pool.staging),
                it.pool.staging_high_water.to_string(),
                it.pool.lent.to_string(),
                it.pool.refused.to_string(),
                it.rings.waiting.to_string(),
                it.rings.deepest.to_string(),
                it.stalls.to_string(),
                it.restarts.to_string(),
                or_dash(it.failure.as_ref().or(it.capture_failure.as_ref())),
            ]);
        }
        write!(f, "{table}")
    }
}

impl Shown for Shards {
    fn summary(&self) -> String {
        let queues = self.shards.iter().filter(|it| it.queue.owner == it.shard).count();
        let (out, all) =
            self.shards.iter().fold((0, 0), |(out, all), it| (out + it.pool.small_out, all + it.pool.small));
        let restarts: u64 = self.shards.iter().map(|it| u64::from(it.restarts)).sum();
        let stalls: u64 = self.shards.iter().map(|it| it.stalls).sum();
        let failed = self.shards.iter().filter(|it| it.failure.is_some()).count();
        let mut parts = vec![counted(self.shards.len(), "shard"), counted(queues, "queue")];
        parts.push(format!("{out} of {all} buffers in use"));
        parts.push(format!("{restarts} restarts, {stalls} stalls"));
        if failed > 0 {
            parts.push(format!("{failed} with a failed device"));
        }
        parts.join(", ")
    }
}
