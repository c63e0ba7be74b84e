//! What the shards counted and what they hold, in a form to be shown.

use std::rc::Rc;

use serde::Serialize;
use sunstar_packet::{DeviceCounters, PoolCounters, SizeClass};
use sunstar_stack::{Counters, InterfaceId, Shard};

use crate::engine::{DeviceState, Engine};

/// A reading of all shards.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// One entry a shard.
    pub shards: Vec<ShardStats>,
}

/// A reading of one shard.
#[derive(Clone, Debug, Serialize)]
pub struct ShardStats {
    /// Which one.
    pub shard: u16,
    /// What it counted; among it every drop by name.
    #[serde(flatten)]
    pub counters: Counters,
    /// TCP connections, in whatever state.
    pub connections: usize,
    /// TCP listeners.
    pub listeners: usize,
    /// Its buffers.
    pub pool: PoolStats,
    /// Its queue pair.
    pub device: DeviceStats,
}

/// A reading of a shard's buffers.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PoolStats {
    /// Buffers for a frame of the MTU, in all.
    pub small: usize,
    /// Those in use.
    pub small_out: usize,
    /// The most of them ever in use.
    pub small_high_water: usize,
    /// Buffers of 64 KiB, in all.
    pub staging: usize,
    /// Those in use.
    pub staging_out: usize,
    /// The most of them ever in use.
    pub staging_high_water: usize,
    /// Buffers lent to other shards and not back yet.
    pub lent: usize,
    /// Loans that came back.
    pub returned: u64,
    /// Requests for a buffer, or a loan, that were refused.
    pub refused: u64,
}

/// A reading of a queue pair.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceStats {
    /// Whether it has a carrier.
    pub up: bool,
    /// Why it failed for good, if it did.
    pub failure: Option<String>,
    /// Why its capture ended early, if it did; traffic goes on without.
    pub capture_failure: Option<String>,
    /// Frames received.
    pub received: u64,
    /// Bytes of those.
    pub received_bytes: u64,
    /// Frames sent.
    pub sent: u64,
    /// Bytes of those.
    pub sent_bytes: u64,
    /// Frames sent that the device segmented.
    pub segmented: u64,
    /// Frames received that were coalesced from several.
    pub coalesced: u64,
    /// Frames dropped on reception for lack of a buffer.
    pub no_buffer: u64,
    /// Frames dropped on reception because the notes that came with them were false.
    pub bad_notes: u64,
    /// Frames to be sent that the device refused.
    pub refused: u64,
}

impl ShardStats {
    /// A reading of the shard of an engine; nothing once it is gone.
    pub(crate) fn of(engine: &Rc<Engine>) -> Option<Self> {
        engine.read(|shard| Self {
            shard: shard.id().0,
            counters: *shard.counters(),
            connections: shard.tcp_connections().count(),
            listeners: engine.listeners(),
            pool: PoolStats::of(shard.pool()),
            device: DeviceStats::of(shard, engine.device()),
        })
    }
}

impl PoolStats {
    fn of(pool: &sunstar_packet::Pool) -> Self {
        let PoolCounters {
            small_out,
            staging_out,
            lent,
            small_high_water,
            staging_high_water,
            refused,
            returned,
        } = pool.counters();
        Self {
            small: pool.total(SizeClass::Small),
            small_out,
            small_high_water,
            staging: pool.total(SizeClass::Staging),
            staging_out,
            staging_high_water,
            lent,
            returned,
            refused,
        }
    }
}

impl DeviceStats {
    fn of(shard: &Shard, state: DeviceState) -> Self {
        let mut device = shard.interfaces().filter(|interface| interface.id == InterfaceId::DEVICE);
        let DeviceCounters {
            received,
            received_bytes,
            sent,
            sent_bytes,
            segmented,
            coalesced,
            no_buffer,
            bad_notes,
            refused,
        } = state.counters;
        Self {
            up: device.any(|device| device.up),
            failure: state.failure.map(|error| error.reason),
            capture_failure: state.capture_failure.get().cloned(),
            received,
            received_bytes,
            sent,
            sent_bytes,
            segmented,
            coalesced,
            no_buffer,
            bad_notes,
            refused,
        }
    }
}
