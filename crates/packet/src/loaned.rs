//! A range of a slot away from its shard: unique, `Send`, and on its way home when it is dropped.

use std::ops::Deref;
use std::ptr::NonNull;

use arrayvec::ArrayVec;

use crate::buffer::Buffer;
use crate::home::Home;
use crate::slot_id::SlotId;

/// A range of bytes in another shard's slot. Dropping it sends the slot's number home.
///
/// It carries what it needs to be read and sent home: what the home keeps about the slot lies on cache lines that the
/// home writes all the time.
pub struct LoanedBuffer {
    home: NonNull<Home>,
    first: NonNull<u8>,
    len: u32,
    index: u32,
    capacity: u32,
}

// SAFETY: a loan reads the slot's bytes, which nobody writes while the slot is shared, and pushes into
// the home's return ring, which any thread may. It never touches a cell.
unsafe impl Send for LoanedBuffer {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for LoanedBuffer {}

impl LoanedBuffer {
    pub(crate) fn same_slot(&self, other: &Self) -> bool {
        (self.home, self.index) == (other.home, other.index)
    }

    /// The loan of `len` bytes at `first` in a slot; it takes over a count of the slot.
    pub(crate) fn new(home: NonNull<Home>, index: u32, capacity: u32, first: NonNull<u8>, len: u32) -> Self {
        Self { home, first, len, index, capacity }
    }

    /// The name of its slot.
    pub fn slot_id(&self) -> SlotId {
        SlotId::new(self.home, self.index)
    }

    /// Bytes that this loan holds out of use: its whole slot.
    pub fn true_size(&self) -> usize {
        self.capacity as usize
    }

    /// Forgets the first `len` bytes (all of them, if there are fewer).
    pub fn trim_front(&mut self, len: usize) {
        let len = len.min(self.len as usize);
        // SAFETY: at most one byte behind the range, which lies in the slot.
        self.first = unsafe { self.first.add(len) };
        self.len -= len as u32;
    }

    /// Keeps at most the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = len.min(self.len as usize) as u32;
    }

    pub(crate) fn home(&self) -> NonNull<Home> {
        self.home
    }

    /// The buffer itself: the loan is home again, without the ring.
    ///
    /// # Safety
    /// This is the thread of the loan's home.
    pub(crate) unsafe fn reclaim(self) -> Buffer {
        // SAFETY: the loan keeps the home alive.
        let home = unsafe { self.home.as_ref() };
        home.cells.write();
        home.lent.set(home.lent.get() - 1);
        let slot = &home.slots[self.index as usize];
        let start = (self.first.as_ptr() as usize - slot.data.as_ptr() as usize) as u32;
        let buffer = Buffer::from_parts(NonNull::from(slot), start, start + self.len);
        std::mem::forget(self);
        buffer
    }

    /// Sends many loans home at once: one trip for each run of the same home.
    pub fn send_home(loans: impl IntoIterator<Item = LoanedBuffer>) {
        let mut trip = Trip::default();
        for loan in loans {
            trip.add(loan);
        }
    }
}

impl Deref for LoanedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the loan keeps the home alive.
        unsafe { self.home.as_ref() }.note_read(self.index);
        // SAFETY: the range lies in the slot, and nobody writes to a slot that is lent, but behind
        // every range that was lent.
        unsafe { NonNull::slice_from_raw_parts(self.first, self.len as usize).as_ref() }
    }
}

impl Drop for LoanedBuffer {
    fn drop(&mut self) {
        // SAFETY: this loan is the slot's, and nothing of the home is touched after it.
        unsafe { Home::send(self.home, &[self.index]) };
    }
}

impl std::fmt::Debug for LoanedBuffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "LoanedBuffer(slot {}, {} bytes)", self.index, self.len)
    }
}

/// Loans on their way to one home. They leave when another home's loan is added, when there is no room, and at
/// the end.
#[derive(Default)]
pub(crate) struct Trip {
    home: Option<NonNull<Home>>,
    slots: ArrayVec<u32, 64>,
}

impl Trip {
    pub(crate) fn add(&mut self, loan: LoanedBuffer) {
        if self.home != Some(loan.home) || self.slots.is_full() {
            self.leave();
            self.home = Some(loan.home);
        }
        self.slots.push(loan.index);
        std::mem::forget(loan);
    }

    fn leave(&mut self) {
        if let Some(home) = self.home.take().filter(|_| !self.slots.is_empty()) {
            // SAFETY: the slots are those of forgotten loans of this home, and are cleared.
            unsafe { Home::send(home, &self.slots) };
            self.slots.clear();
        }
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        self.leave();
    }
}
