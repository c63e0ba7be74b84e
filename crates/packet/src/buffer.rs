//! A range of a slot on its own shard: counted, and cheap to clone.

use std::ops::Deref;
use std::ptr::NonNull;

use crate::home::{self, Home, Slot};
use crate::loaned::LoanedBuffer;
use crate::slot_id::SlotId;

/// A range of bytes in a slot of this thread's pool, with one count of the slot.
///
/// Clones share the slot. Bytes can be changed or added only while nobody else refers to the slot.
pub struct Buffer {
    slot: NonNull<Slot>,
    start: u32,
    end: u32,
}

impl Buffer {
    pub(crate) fn new(slot: NonNull<Slot>, start: u32) -> Self {
        Self { slot, start, end: start }
    }

    /// Takes over a count of the slot from a device's ring, or from a loan.
    pub(crate) fn from_parts(slot: NonNull<Slot>, start: u32, end: u32) -> Self {
        Self { slot, start, end }
    }

    pub(crate) fn into_ring(self, base: NonNull<u8>) -> (u32, usize) {
        let slot = self.slot();
        slot.in_ring.set(true);
        let at = (slot.index, slot.data.as_ptr() as usize - base.as_ptr() as usize);
        std::mem::forget(self);
        at
    }

    pub(crate) fn same_slot(&self, other: &Self) -> bool {
        self.slot == other.slot
    }

    pub(crate) fn slot(&self) -> &Slot {
        // SAFETY: the count held by this buffer keeps the slot and its home alive.
        unsafe { self.slot.as_ref() }
    }

    /// The name of its slot.
    pub fn slot_id(&self) -> SlotId {
        SlotId::new(self.home(), self.slot().index)
    }

    pub(crate) fn home(&self) -> NonNull<Home> {
        self.slot().home
    }

    /// Whether nobody else refers to the slot.
    pub fn is_unique(&self) -> bool {
        self.slot().count.get() == 1
    }

    /// Bytes that this buffer holds out of use: its whole slot.
    pub fn true_size(&self) -> usize {
        self.slot().capacity as usize
    }

    /// Free bytes ahead of the range.
    pub fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Free bytes behind the range.
    pub fn tailroom(&self) -> usize {
        (self.slot().capacity - self.end) as usize
    }

    /// The bytes, to be changed; `None` while somebody else refers to the slot.
    pub fn get_mut(&mut self) -> Option<&mut [u8]> {
        if !self.is_unique() {
            return None;
        }
        self.slot().bytes.write();
        // SAFETY: the range lies in the slot, and no one else refers to the slot.
        Some(unsafe { std::slice::from_raw_parts_mut(self.at(self.start).as_ptr(), self.len()) })
    }

    /// Grows the range by `len` bytes at its front, and gives those; `None` without that headroom, or
    /// while somebody else refers to the slot. Their content is left over from earlier use.
    pub fn prepend(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > self.headroom() || !self.is_unique() {
            return None;
        }
        self.slot().bytes.write();
        self.start -= len as u32;
        // SAFETY: within the slot, as checked, and no one else refers to the slot.
        Some(unsafe { std::slice::from_raw_parts_mut(self.at(self.start).as_ptr(), len) })
    }

    /// Grows the range by `len` bytes at its end, and gives those; `None` without that tailroom, or
    /// while somebody else refers to the slot. Their content is left over from earlier use.
    pub fn append(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > self.tailroom() || !self.is_unique() {
            return None;
        }
        self.slot().bytes.write();
        let at = self.at(self.end);
        self.end += len as u32;
        // SAFETY: within the slot, as checked, and no one else refers to the slot.
        Some(unsafe { std::slice::from_raw_parts_mut(at.as_ptr(), len) })
    }

    /// Forgets the first `len` bytes (all of them, if there are fewer).
    pub fn trim_front(&mut self, len: usize) {
        self.start += len.min((self.end - self.start) as usize) as u32;
    }

    /// Keeps at most the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.start + len.min((self.end - self.start) as usize) as u32;
    }

    /// A clone of `len` bytes from `from` on, cut to what there is.
    pub fn slice(&self, from: usize, len: usize) -> Buffer {
        let mut slice = self.clone();
        slice.trim_front(from);
        slice.truncate(len);
        slice
    }

    /// Adds bytes behind the range although clones of earlier ranges may exist.
    ///
    /// # Safety
    /// Among all that refer to the slot, this buffer alone ever reaches past its own end, and no
    /// other's range reaches past that end either.
    pub(crate) unsafe fn append_shared(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.tailroom());
        // SAFETY: within the slot, and by contract beyond what anyone else can see.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(self.end).as_ptr(), bytes.len()) };
        self.end += bytes.len() as u32;
    }

    fn at(&self, offset: u32) -> NonNull<u8> {
        // SAFETY: every offset kept in a buffer is at most the slot's capacity.
        unsafe { self.slot().data.add(offset as usize) }
    }

    /// Turns the count this buffer holds into a loan's. The caller has checked that one may go.
    pub(crate) fn lend(self) -> LoanedBuffer {
        // SAFETY: the count held by this buffer keeps the home alive.
        let home = unsafe { self.slot().home.as_ref() };
        home.cells.write();
        home.lent.set(home.lent.get() + 1);
        let slot = self.slot();
        let first = self.at(self.start);
        let loaned = LoanedBuffer::new(slot.home, slot.index, slot.capacity, first, self.end - self.start);
        std::mem::forget(self);
        loaned
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.slot().bytes.read();
        // SAFETY: the range lies in the slot, was written before, and writers need to be alone or keep
        // behind it.
        unsafe { std::slice::from_raw_parts(self.at(self.start).as_ptr(), (self.end - self.start) as usize) }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let slot = self.slot();
        slot.count.set(slot.count.get() + 1);
        // SAFETY: the count held by this buffer keeps the home alive.
        let home = unsafe { slot.home.as_ref() };
        home.references.set(home.references.get() + 1);
        Self { ..*self }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let home = self.home();
        // SAFETY: the count held by this buffer kept the home alive until here, on its thread.
        unsafe {
            home.as_ref().release(self.slot());
            home::settle(home);
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Buffer(slot {}, {}..{})", self.slot().index, self.start, self.end)
    }
}
