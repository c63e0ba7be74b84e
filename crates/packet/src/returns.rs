//! The return ring: the way home for slots whose loans were dropped elsewhere.
//!
//! Many threads push, the home alone takes. It never overflows, because the home lends no more than
//! the ring has cells ([`crate::Pool::lend`] counts), and so a push neither fails nor waits.
//!
//! A push takes a ticket from `tail` and stores the slot's number, plus one, in the ticket's cell. The
//! home reads cells in order until it meets an empty one. Why a push never lands on a cell that is
//! still full: with at most C loans out, the (t+1)-th loan ever lent was lent after the home emptied the
//! cell of ticket t-C. One of the tickets 0..=t was taken by that loan or a later one, and the tickets are a
//! chain of acquire-release increments, so whoever takes ticket t sees the cell emptied.

use crate::sync::{AtomicU32, Ordering};

pub(crate) struct ReturnRing {
    tail: AtomicU32,
    cells: Box<[AtomicU32]>,
    mask: u32,
}

impl ReturnRing {
    /// A ring for at least `capacity` loans at a time.
    pub(crate) fn new(capacity: usize) -> Self {
        let size = capacity.next_power_of_two().max(2);
        let cells = (0..size).map(|_| AtomicU32::new(0)).collect();
        Self { tail: AtomicU32::new(0), cells, mask: size as u32 - 1 }
    }

    /// How many loans may be out at a time.
    pub(crate) fn capacity(&self) -> usize {
        self.cells.len()
    }

    /// Sends slots home. Wait-free; any thread.
    pub(crate) fn push(&self, slots: &[u32]) {
        let first = self.tail.fetch_add(slots.len() as u32, Ordering::AcqRel);
        for (ticket, slot) in slots.iter().enumerate() {
            let cell = first.wrapping_add(ticket as u32) & self.mask;
            self.cells[cell as usize].store(slot + 1, Ordering::Release);
        }
    }

    /// Takes the next slot that came home; `head` is the home's own count of those it took.
    pub(crate) fn take(&self, head: &mut u32) -> Option<u32> {
        let cell = &self.cells[(*head & self.mask) as usize];
        let value = cell.load(Ordering::Acquire);
        if value == 0 {
            return None;
        }
        cell.store(0, Ordering::Relaxed);
        *head = head.wrapping_add(1);
        Some(value - 1)
    }
}
