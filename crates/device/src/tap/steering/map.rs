//! What the program looks up: one value in the kernel that is mapped here, so that a change is a store.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU16, AtomicU32};

use rustix::io::Errno;

use super::{PortSpace, system};

/// Bytes of the longest tuple: two IPv6 addresses and two ports.
const TUPLE_LEN: usize = 36;
/// Bytes of a Toeplitz key: as many bits as the longest tuple has, and 32 more.
pub(super) const KEY_LEN: usize = TUPLE_LEN + 4;
/// Entries of the largest indirection table, a power of two.
pub(super) const ENTRIES: usize = 512;
const PORTS: usize = 1 << 16;

/// The value. The program only reads it, and every number in it stands alone: whether a frame meets an entry before
/// or after a change, it meets a whole one, and no other. That is why relaxed stores do, and nothing can be torn.
#[repr(C)]
pub(super) struct Tables {
    /// What each value of each byte of a tuple adds to its Toeplitz hash.
    added: [[AtomicU32; 256]; TUPLE_LEN],
    /// The queue of each low part of a hash. A smaller table is repeated until it fills this one, which picks the
    /// same queues without a mask that would have to change together with the entries.
    entries: [AtomicU16; ENTRIES],
    /// One more than the queue of each port, by its space; zero where the hash decides.
    owners: [[AtomicU16; PORTS]; PortSpace::ALL],
}

/// Bytes from the value's start to what the byte at a position of a tuple adds.
pub(super) const fn added_at(position: usize) -> i32 {
    (std::mem::offset_of!(Tables, added) + position * size_of::<[AtomicU32; 256]>()) as i32
}

/// Bytes from the value's start to the entries.
pub(super) const ENTRIES_AT: i32 = std::mem::offset_of!(Tables, entries) as i32;

/// Bytes from the value's start to the owners of a space.
pub(super) const fn owners_at(space: PortSpace) -> i32 {
    let space = space as usize * size_of::<[AtomicU16; PORTS]>();
    (std::mem::offset_of!(Tables, owners) + space) as i32
}

/// The array in the kernel, and where its value is mapped.
#[derive(Debug)]
pub(super) struct Map {
    file: OwnedFd,
    tables: NonNull<Tables>,
}

// SAFETY: the mapping belongs to this value alone, and does not care which thread it is used on.
unsafe impl Send for Map {}

impl Map {
    /// Tables for a key, in which everything goes to queue 0.
    pub(super) fn new(key: &[u8; KEY_LEN]) -> Result<Self, Errno> {
        let file = system::create_map(size_of::<Tables>())?;
        let tables = system::map(file.as_fd(), size_of::<Tables>())?.cast();
        let map = Self { file, tables };
        for (position, added) in map.tables().added.iter().enumerate() {
            for (value, added) in (0..=u8::MAX).zip(added) {
                let bits = (0..8).filter(|bit| value << bit & 0x80 != 0);
                let hash = bits.fold(0, |hash, bit| hash ^ window(key, position, bit));
                added.store(hash, Relaxed);
            }
        }
        Ok(map)
    }

    /// The array, for the program that reads it.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Sets all entries, to these over and over.
    pub(super) fn set_entries(&self, queues: &[u16]) {
        for (entry, queue) in self.tables().entries.iter().zip(queues.iter().cycle()) {
            entry.store(*queue, Relaxed);
        }
    }

    /// Sets the queue of a port.
    pub(super) fn set_owner(&self, space: PortSpace, port: u16, queue: Option<u16>) {
        let stored = queue.and_then(|queue| queue.checked_add(1)).unwrap_or(0);
        self.tables().owners[space as usize][usize::from(port)].store(stored, Relaxed);
    }

    fn tables(&self) -> &Tables {
        // SAFETY: so many bytes are mapped there for as long as this lives, aligned to a page, zero at first, and
        // valid for any content; they are only written through atomics, and the kernel only reads them.
        unsafe { self.tables.as_ref() }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and references to it do not outlive `self`.
        unsafe { system::unmap(self.tables.cast(), size_of::<Tables>()) };
    }
}

/// The 32 bits of the key that begin at a bit of a byte, counted from the most significant: what that bit of a tuple
/// adds to the hash (Microsoft RSS specification, "RSS Hashing Types").
fn window(key: &[u8; KEY_LEN], byte: usize, bit: usize) -> u32 {
    let bytes = key.iter().skip(byte).take(5).fold(0_u64, |bytes, byte| bytes << 8 | u64::from(*byte));
    (bytes >> (8 - bit)) as u32
}
