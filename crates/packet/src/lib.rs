//! Packet buffers that can leave their shard, and come home.
//!
//! A shard owns one [`Pool`]: two size classes of fixed slots in memory mapped by [`Memory`]. Small
//! slots hold a frame of the device's MTU; staging slots hold 64 KiB, for what a device segments or
//! coalesces. On its own shard a slot is shared by counting: a [`Buffer`] is a range of a slot with
//! one count in it, cheap to clone and to trim, and the count is an ordinary cell.
//!
//! A [`Packet`] is a few [`Fragment`]s in a row (buffers, loans, an application's own [`Bytes`]) and
//! the [`Notes`] a device and a protocol leave each other about it. Headers go in front, into the
//! headroom of the first buffer, so a payload is never moved to make room.
//!
//! To change shards a packet is lent: a [`Loan`] is `Send`, unique, and not `Clone`. It can be read
//! and dropped anywhere, on another shard or on a thread that is no shard. Dropping it does not touch
//! the count: the slot's number goes into the home's return ring, which has room for every loan
//! there can be, and the home takes the returned ones back in one go ([`Pool::collect`]). So the count
//! and the free list belong to one thread, always.
//!
//! A pool may die before its loans do (its shard was killed). Its memory then waits in [`Memory`],
//! the registry the runtime owns, until the last loan is back ([`Memory::reclaim`]).
//!
//! A frame in memory that another process can write at any time is a [`SharedFrame`]: no slice of it can be had,
//! it can only be copied out into a pool.
//!
//! [`QueuePair`] is what a device is to a stack, and lives here beside the frames it moves.
//!
//! [`Bytes`]: bytes::Bytes

mod buffer;
mod counters;
mod home;
mod loaned;
mod memory;
mod notes;
mod packet;
mod pool;
mod queue_pair;
mod region;
mod returns;
mod shared_frame;
mod slot_id;
mod staging;
mod sync;

pub use buffer::Buffer;
pub use loaned::LoanedBuffer;
pub use memory::{Memory, Reclaimed};
pub use notes::{ChecksumNote, Departure, Notes, Segmentation, SegmentationKind};
pub use packet::{Fragment, Loan, MAX_FRAGMENTS, Packet, TooManyFragments};
pub use pool::{Pool, PoolConfig, PoolCounters, SizeClass};
pub use queue_pair::{
    Capabilities, DeviceCounters, DeviceError, FrameSource, LinkState, Medium, QueuePair, SegmentationOffload,
};
pub use region::{Region, RegionError, RegionKind};
pub use shared_frame::SharedFrame;
pub use slot_id::SlotId;
pub use staging::Staging;

/// Bytes left free ahead of what is written into a fresh buffer: room for a device's own header and
/// for Ethernet with a tag, IPv6 or IPv4 with options, and TCP with options.
pub const HEADROOM: usize = 192;

#[cfg(test)]
mod tests;
