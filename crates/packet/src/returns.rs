//! The return ring: the way home for slots whose loans were dropped elsewhere.
//!
//! Many threads push, the home alone takes. It never overflows, because the home lends no more than
//! the ring has cells ([`crate::Packet::lend`] counts), and so a push neither fails nor waits.
//!
//! A push takes a ticket from `tail` and stores the slot's number, plus one, in the ticket's cell. The
//! home reads cells in order until it meets an empty one. Why a push never lands on a cell that is
//! still full: each of the tickets 0..=t belongs to another loan. Look at the last of these t+1 loans to be
//! lent: at that moment at most C were out, itself among them, so the home had taken t+1-C tickets, and
//! emptied the cell of ticket t-C. That loan was handed over after it was lent, and its own ticket is one of
//! 0..=t. The tickets are a chain of acquire-release increments, so whoever takes ticket t sees the cell
//! emptied. (A loan that is adopted at home takes no ticket, and is no part of this.)
//!
//! A cell is stored with release and read with acquire: whatever the borrower read of the slot's bytes, and
//! its last look at the ring itself, come before the home writes the slot again or frees the ring.

use std::ptr::NonNull;

use crate::sync::{AtomicU32, Ordering};

pub(crate) struct ReturnRing {
    tail: Tail,
    cells: Box<[AtomicU32]>,
    mask: u32,
}

/// On cache lines of its own: other threads write it, and beside it lies what the home writes all the time.
#[repr(align(128))]
struct Tail(AtomicU32);

impl ReturnRing {
    /// The most loans a ring can be asked to have room for.
    pub(crate) const MAX_CAPACITY: usize = 1 << 31;

    /// The first ticket: every ring's count wraps at once, not after a day of traffic.
    pub(crate) const FIRST_TICKET: u32 = u32::MAX - 1;

    /// A ring for at least `capacity` loans at a time, rounded up to a power of two.
    pub(crate) fn new(capacity: usize) -> Self {
        let size = capacity.clamp(2, Self::MAX_CAPACITY).next_power_of_two();
        let cells = (0..size).map(|_| AtomicU32::new(0)).collect();
        Self { tail: Tail(AtomicU32::new(Self::FIRST_TICKET)), cells, mask: (size - 1) as u32 }
    }

    /// How many loans may be out at a time.
    pub(crate) fn capacity(&self) -> usize {
        self.cells.len()
    }

    /// Sends slots home. Wait-free; any thread.
    ///
    /// The ring comes as a pointer because the home may free it as soon as the last slot is stored, while this
    /// function has not returned yet: a reference as argument would promise that it lives until then.
    ///
    /// # Safety
    /// The slots are loans of the ring's home, each not yet sent: they keep the ring alive until they are stored.
    pub(crate) unsafe fn push(ring: NonNull<Self>, slots: &[u32]) {
        // SAFETY: alive by this function's contract, and not touched after the last store.
        let ring = unsafe { ring.as_ref() };
        let first = ring.tail.0.fetch_add(slots.len() as u32, Ordering::AcqRel);
        for (ticket, slot) in slots.iter().enumerate() {
            let cell = first.wrapping_add(ticket as u32) & ring.mask;
            ring.cells[cell as usize].store(slot + 1, Ordering::Release);
        }
    }

    /// Takes the next slot that came home; `head` is the home's own count of those it took.
    pub(crate) fn take(&self, head: &mut u32) -> Option<u32> {
        let cell = &self.cells[(*head & self.mask) as usize];
        let value = cell.load(Ordering::Acquire);
        if value == 0 {
            return None;
        }
        // Relaxed: the next push to this cell comes after a loan that the home lends later.
        cell.store(0, Ordering::Relaxed);
        *head = head.wrapping_add(1);
        Some(value - 1)
    }
}
