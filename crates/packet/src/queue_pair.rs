//! What a device is to a stack: one receive ring with one transmit ring.

use std::os::fd::BorrowedFd;

use crate::notes::Departure;
use crate::packet::Packet;
use crate::pool::Pool;

/// One receive ring with one transmit ring of a device.
///
/// Transmission is by pull: only the queue pair knows when it has room, so it asks for the next
/// frame, and nothing is built before it asks.
pub trait QueuePair {
    /// What the device is and can do. Constant once it is open.
    fn capabilities(&self) -> Capabilities;

    /// Asks `source` for frames while there is room, `budget` at most, and tells it of each frame
    /// that has left. How many frames were taken.
    fn pull(
        &mut self,
        pool: &Pool,
        budget: usize,
        source: &mut impl FrameSource,
    ) -> Result<usize, DeviceError>;

    /// Appends received frames to `frames`, `budget` at most. Each one's first 256 bytes, or all of it, are
    /// contiguous. How many.
    fn receive(&mut self, pool: &Pool, budget: usize, frames: &mut Vec<Packet>)
    -> Result<usize, DeviceError>;

    /// Whether the device has a carrier.
    fn link(&self) -> LinkState {
        LinkState::Up
    }

    /// Whether it has to be looked at again once the device has room, whatever its shard wants: frames of others wait for
    /// that, or somebody wants to hear of a frame that has not left yet.
    fn wants_room(&self) -> bool {
        false
    }

    /// Before its shard sleeps: asks for a notification by [`QueuePair::descriptor`] once there is
    /// something to receive, and, if `wants_room`, once there is room to send. True when there already is.
    fn arm(&mut self, wants_room: bool) -> bool {
        let _ = wants_room;
        false
    }

    /// What to wait on for reading while asleep; `None` for a device that moves only when its owner does.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// What the device counted.
    fn counters(&self) -> DeviceCounters {
        DeviceCounters::default()
    }
}

/// Whoever a queue pair pulls from.
pub trait FrameSource {
    /// The next frame, built now; `None` when there is nothing to say.
    fn next(&mut self) -> Option<Packet>;

    /// A frame with this note has left the device.
    fn departed(&mut self, departure: Departure);
}

/// What a device carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Medium {
    /// Ethernet frames.
    Ethernet,
    /// IP packets without a link header.
    Ip,
}

/// Which packets a device cuts on the way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentationOffload {
    /// TCP over IPv4.
    pub tcp_v4: bool,
    /// TCP over IPv6.
    pub tcp_v6: bool,
    /// UDP.
    pub udp: bool,
}

/// What a device is and can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What it carries.
    pub medium: Medium,
    /// Its hardware address; zero where the medium has none.
    pub mac: [u8; 6],
    /// The largest IP packet, in bytes, that goes out as one frame.
    pub mtu: usize,
    /// Whether it completes partial checksums on the way out.
    pub transmit_checksum: bool,
    /// What it cuts on the way out. The largest packet it takes then is 64 KiB.
    pub segmentation: SegmentationOffload,
}

impl Capabilities {
    /// An Ethernet device without any offload.
    pub fn ethernet(mac: [u8; 6], mtu: usize) -> Self {
        Self {
            medium: Medium::Ethernet,
            mac,
            mtu,
            transmit_checksum: false,
            segmentation: SegmentationOffload::default(),
        }
    }
}

/// Whether a device has a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It can send and receive.
    Up,
    /// It has no carrier now; it may come back.
    Down,
}

/// The device is gone for good: its descriptor failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the device failed: {reason}; its sockets are closed, open the device again to go on")]
pub struct DeviceError {
    /// What the system said.
    pub reason: String,
}

crate::counters! {
    /// What a device counted since it was opened.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct DeviceCounters {
        /// Frames received.
        received,
        /// Bytes of those.
        received_bytes,
        /// Frames sent.
        sent,
        /// Bytes of those.
        sent_bytes,
        /// Frames sent that the device was asked to segment.
        segmented,
        /// Frames received that were coalesced from several.
        coalesced,
        /// Frames received and dropped for lack of a buffer.
        no_buffer,
        /// Frames received and dropped because the notes that came with them were false.
        bad_notes,
        /// Frames to be sent that the device refused.
        refused,
    }
}
