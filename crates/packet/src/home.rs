//! A pool's own state: slots, counts, free lists and the return ring. One thread touches the cells.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use crate::memory::Memory;
use crate::pool::SizeClass;
use crate::region::Region;
use crate::returns::ReturnRing;
use crate::sync::Watched;

/// What is known of one slot. It lies outside the slot's memory, which a peer may be able to write.
pub(crate) struct Slot {
    /// References to the slot: buffers at home plus loans. Touched at home only.
    pub(crate) count: Cell<usize>,
    /// Whether a device's ring has the slot: one reference, and no buffer that stands for it.
    pub(crate) in_ring: Cell<bool>,
    pub(crate) class: SizeClass,
    pub(crate) index: u32,
    pub(crate) capacity: u32,
    pub(crate) data: NonNull<u8>,
    pub(crate) home: NonNull<Home>,
    /// Stands for the bytes at `data`.
    pub(crate) bytes: Watched,
}

pub(crate) struct Home {
    pub(crate) slots: Box<[Slot]>,
    pub(crate) totals: [usize; 2],
    pub(crate) free: [RefCell<Vec<u32>>; 2],
    /// Pool handles; at zero the home is closed.
    pub(crate) handles: Cell<u32>,
    /// References of all slots together: buffers at home plus loans.
    pub(crate) references: Cell<usize>,
    /// Loans not yet back.
    pub(crate) lent: Cell<usize>,
    pub(crate) high_water: [Cell<usize>; 2],
    pub(crate) refused: Cell<u64>,
    pub(crate) returned: Cell<u64>,
    pub(crate) head: Cell<u32>,
    pub(crate) returns: ReturnRing,
    pub(crate) memory: Memory,
    pub(crate) region: Region,
    /// Stands for the cells above.
    pub(crate) cells: Watched,
    /// Stands for the home as a whole: read by whoever goes home, written by whoever frees it.
    pub(crate) life: Watched,
}

impl Home {
    /// Takes back every loan that has come home; how many.
    pub(crate) fn collect(&self) -> usize {
        self.cells.write();
        let mut head = self.head.get();
        let mut taken = 0;
        while let Some(index) = self.returns.take(&mut head) {
            taken += 1;
            self.release(&self.slots[index as usize]);
        }
        self.head.set(head);
        self.lent.set(self.lent.get() - taken);
        self.returned.set(self.returned.get() + taken as u64);
        taken
    }

    /// Drops one reference of a slot, and frees the slot with the last.
    pub(crate) fn release(&self, slot: &Slot) {
        self.cells.write();
        let count = slot.count.get() - 1;
        slot.count.set(count);
        self.references.set(self.references.get() - 1);
        if count == 0 {
            self.free[slot.class as usize].borrow_mut().push(slot.index);
        }
    }

    /// Tells a model that a slot's bytes are read by a loan. Outside a model nothing is touched.
    #[inline(always)]
    pub(crate) fn note_read(&self, _index: u32) {
        #[cfg(loom)]
        self.slots[_index as usize].bytes.read();
    }

    /// Sends loans of slots home, from any thread.
    ///
    /// # Safety
    /// The slots are loans of `home`, each not yet sent: they keep it alive until they are home. The caller does not
    /// touch `home` afterwards.
    pub(crate) unsafe fn send(home: NonNull<Home>, slots: &[u32]) {
        // SAFETY: alive by this function's contract.
        let this = unsafe { home.as_ref() };
        this.life.read();
        // SAFETY: by this function's contract.
        unsafe { ReturnRing::push(NonNull::from(&this.returns), slots) };
    }

    /// Frees a home.
    ///
    /// # Safety
    /// No handle, buffer or loan is left, and no other thread touches the home.
    pub(crate) unsafe fn free(home: NonNull<Home>) {
        // SAFETY: made by `Box::leak` in `Pool::new`, and the caller has the last pointer to it.
        let home = unsafe { Box::from_raw(home.as_ptr()) };
        home.life.write();
        drop(home);
    }

    /// Whether only loans, or nothing at all, still refer to this closed home.
    fn is_abandoned(&self) -> bool {
        self.handles.get() == 0 && self.references.get() == self.lent.get()
    }
}

/// Called where a handle or a buffer at home was just dropped: a closed home without any of either
/// is freed, or waits in the registry for its loans.
///
/// # Safety
/// `home` is alive, and the caller is its home thread and does not touch it afterwards unless it holds a
/// handle or a buffer of it.
pub(crate) unsafe fn settle(home: NonNull<Home>) {
    // SAFETY: alive by this function's contract.
    let this = unsafe { home.as_ref() };
    if !this.is_abandoned() {
        return;
    }
    let memory = this.memory.clone();
    this.collect();
    if this.lent.get() == 0 {
        // SAFETY: no handle, buffer or loan is left, and this is the home's thread.
        unsafe { Home::free(home) };
        memory.on_home_freed();
    } else {
        memory.adopt_orphan(home);
    }
}
