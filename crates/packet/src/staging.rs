//! A slot being filled from the front, while ranges of what is filled are already in use.

use crate::buffer::Buffer;
use crate::pool::{Pool, SizeClass};
use crate::slot_id::SlotId;

/// Fills one slot: an application's bytes are appended, and segments made of what is there refer to
/// it without copying. Not `Clone`: only its owner reaches past the filled part.
#[derive(Debug)]
pub struct Staging {
    buffer: Buffer,
}

impl Staging {
    /// A fresh slot of a class without headroom, or `None` when the class is used up.
    pub fn new(pool: &Pool, class: SizeClass) -> Option<Self> {
        Some(Self { buffer: pool.allocate(class, 0)? })
    }

    /// Appends as much of `bytes` as there is room for; how many bytes.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.room());
        // SAFETY: this buffer was allocated empty for this `Staging`, which never lets it out; all
        // others are slices of its filled part. A slice cannot grow at its end while this one holds a
        // count.
        unsafe { self.buffer.append_shared(&bytes[..len]) };
        len
    }

    /// Bytes that can still be appended.
    pub fn room(&self) -> usize {
        self.buffer.tailroom()
    }

    /// Bytes filled.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing is filled yet.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes that it holds out of use: the whole slot.
    pub fn true_size(&self) -> usize {
        self.buffer.true_size()
    }

    /// The name of the slot.
    pub fn slot_id(&self) -> SlotId {
        self.buffer.slot_id()
    }

    /// A range of what is filled, cut to what there is, without copying.
    pub fn slice(&self, from: usize, len: usize) -> Buffer {
        self.buffer.slice(from, len)
    }
}

impl std::ops::Deref for Staging {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}
