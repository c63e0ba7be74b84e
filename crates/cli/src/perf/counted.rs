//! What a host's stack counted while a test ran.

use std::collections::BTreeMap;

use sunstar::{Net, Remote, ShardStats};

/// What some shards of a host have counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    pub(super) segments: u64,
    pub(super) retransmissions: u64,
    pub(super) timeouts: u64,
    pub(super) forwarded: u64,
    /// Packets dropped, by reason; what a device dropped, too.
    pub(super) drops: BTreeMap<&'static str, u64>,
}

impl Counted {
    /// What a shard has counted so far; nothing once its network is gone.
    pub(super) fn by_shard(net: &Net) -> Self {
        net.shard_stats().as_ref().map(Self::of).unwrap_or_default()
    }

    /// What all shards of a host have counted so far, asked from elsewhere; nothing once it is gone.
    pub(super) async fn by_host(host: &Remote) -> Self {
        let stats = host.on_shard(0, |net| async move { net.stats().await }).await;
        let shards = stats.map(|stats| stats.shards).unwrap_or_default();
        shards.iter().map(Self::of).fold(Self::default(), Self::and)
    }

    fn of(shard: &ShardStats) -> Self {
        let tcp = &shard.counters.tcp;
        Self {
            segments: tcp.segments_built + tcp.segments_received,
            retransmissions: tcp.retransmissions,
            timeouts: tcp.timeouts,
            forwarded: shard.counters.mesh.forwarded,
            drops: shard.drops().filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// What others counted besides.
    pub(super) fn and(mut self, other: Self) -> Self {
        other.drops.into_iter().for_each(|(name, count)| *self.drops.entry(name).or_default() += count);
        Self {
            segments: self.segments + other.segments,
            retransmissions: self.retransmissions + other.retransmissions,
            timeouts: self.timeouts + other.timeouts,
            forwarded: self.forwarded + other.forwarded,
            drops: self.drops,
        }
    }

    /// What was counted since an earlier moment. A shard that began anew in between has counted from nothing again.
    pub(super) fn since(mut self, before: &Self) -> Self {
        self.drops.retain(|name, count| {
            *count = count.saturating_sub(before.drops.get(name).copied().unwrap_or_default());
            *count > 0
        });
        Self {
            segments: self.segments.saturating_sub(before.segments),
            retransmissions: self.retransmissions.saturating_sub(before.retransmissions),
            timeouts: self.timeouts.saturating_sub(before.timeouts),
            forwarded: self.forwarded.saturating_sub(before.forwarded),
            drops: self.drops,
        }
    }

    /// Packets dropped, for whatever reason.
    pub(super) fn dropped(&self) -> u64 {
        self.drops.values().sum()
    }
}
