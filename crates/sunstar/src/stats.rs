//! What the shards counted and what they hold, in a form to be shown.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use sunstar_packet::{DeviceCounters, PoolCounters, SizeClass};
use sunstar_stack::steering::ShardId;
use sunstar_stack::{Counters, InterfaceId, Shard};

use crate::engine::{DeviceState, Engine, Queue};
use crate::mesh::ShareCounters;
use crate::stall::Stall;

/// A reading of all shards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stats {
    /// One entry a shard, in their order; a shard that does not answer is left out.
    pub shards: Vec<ShardStats>,
    /// How packets find their shard.
    pub steering: SteeringStats,
}

/// How packets find their shard.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SteeringStats {
    /// What places them.
    pub by: SteeredBy,
    /// Why it is not a program in the kernel, where that was tried.
    pub reason: Option<String>,
    /// The shard that each entry of the indirection table names.
    pub table: Vec<u16>,
    /// How many packets each entry has steered.
    pub heat: Vec<u64>,
}

/// What places packets on the queues of their shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SteeredBy {
    /// There is one shard, which has everything.
    #[default]
    Nothing,
    /// The shards themselves: whichever receives a packet hands it to the one it belongs to.
    Software,
    /// A program in the kernel; what it cannot know, the shards do.
    Program,
}

impl std::fmt::Display for SteeredBy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Nothing => "nothing: one shard has everything",
            Self::Software => "software",
            Self::Program => "a program in the kernel",
        })
    }
}

/// What places packets, and why it is nothing better.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steered {
    pub(crate) by: SteeredBy,
    pub(crate) reason: Option<String>,
}

impl Stats {
    /// All shards' readings together.
    pub(crate) fn of(shards: Vec<ShardStats>, steered: Steered) -> Self {
        let table = shards.first().map(|shard| shard.table.clone()).unwrap_or_default();
        let heat = |entry: usize| shards.iter().filter_map(|shard| shard.heat.get(entry)).sum();
        let heat = (0..table.len()).map(heat).collect();
        Self { shards, steering: SteeringStats { by: steered.by, reason: steered.reason, table, heat } }
    }
}

/// A reading of one shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShardStats {
    /// Which one.
    pub shard: u16,
    /// How many with this number have failed before it.
    pub restarts: u32,
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
    /// Polls of tasks that held it for longer than [`Builder::stall_after`](crate::Builder::stall_after).
    pub stalls: u64,
    /// The last of those.
    pub last_stall: Option<Stall>,
    /// Whose queue of the device it sends through.
    pub queue: QueueStats,
    /// The rings from its siblings.
    pub rings: RingStats,
    /// The indirection table as it knows it.
    #[serde(skip)]
    table: Vec<u16>,
    /// How many packets each entry has steered, of those that arrived here.
    #[serde(skip)]
    heat: Vec<u64>,
}

/// A reading of the queue that a shard sends through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStats {
    /// The shard that owns it.
    pub owner: u16,
    /// Who has sent how much through it; told by its owner.
    pub shares: Vec<ShareStats>,
}

/// A reading of what one shard has sent through a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareStats {
    /// Which shard.
    pub shard: u16,
    /// Its weight.
    pub weight: u32,
    /// Frames.
    pub frames: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// A reading of the rings from a shard's siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingStats {
    /// Packets that waited in them when it last turned.
    pub waiting: usize,
    /// Packets that ever waited in one of them at most.
    pub deepest: usize,
}

/// A reading of a shard's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Every drop by its name, zeros among them: the shard's own, and those of its queue pair.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let device = &self.device;
        let by_device = [
            ("device_no_buffer", device.no_buffer),
            ("device_bad_notes", device.bad_notes),
            ("device_refused", device.refused),
        ];
        self.counters.drops.iter().chain(by_device)
    }

    /// A reading of the shard of an engine; nothing once it is gone.
    pub(crate) fn of(engine: &Rc<Engine>) -> Option<Self> {
        let (stalls, last_stall) = engine.watch().stalls();
        let (waiting, deepest) = engine.mesh_depth();
        engine.read(|shard| Self {
            shard: shard.id().0,
            restarts: engine.incarnation(),
            counters: *shard.counters(),
            connections: shard.socket_counts().connections,
            listeners: engine.listeners(),
            pool: PoolStats::of(shard.pool()),
            device: DeviceStats::of(shard, engine.device()),
            stalls,
            last_stall,
            queue: QueueStats::of(shard.id(), &engine.device()),
            rings: RingStats { waiting, deepest },
            table: shard.steering().table().entries().iter().map(|shard| shard.0).collect(),
            heat: shard.heat().to_vec(),
        })
    }
}

impl QueueStats {
    pub(crate) fn of(shard: ShardId, device: &DeviceState) -> Self {
        match &device.queue {
            // A queue that nobody shares is not counted twice.
            Queue::Own(shares) if shares.len() == 1 => {
                let (frames, bytes) = (device.counters.sent, device.counters.sent_bytes);
                let share = |share: &ShareCounters| ShareStats {
                    shard: shard.0,
                    weight: share.weight,
                    frames,
                    bytes,
                };
                Self { owner: shard.0, shares: shares.iter().map(share).collect() }
            }
            Queue::None => Self { owner: shard.0, shares: Vec::new() },
            Queue::Of(owner) => Self { owner: owner.0, shares: Vec::new() },
            Queue::Own(shares) => {
                let share = |share: &ShareCounters| ShareStats {
                    shard: share.shard.0,
                    weight: share.weight,
                    frames: share.frames.get(),
                    bytes: share.bytes.get(),
                };
                Self { owner: shard.0, shares: shares.iter().map(share).collect() }
            }
        }
    }
}

impl PoolStats {
    pub(crate) fn of(pool: &sunstar_packet::Pool) -> Self {
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
