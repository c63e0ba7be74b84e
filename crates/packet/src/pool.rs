//! A shard's buffers: two size classes of slots, free lists, and the taking back of loans.

use std::cell::{Cell, RefCell};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use crate::buffer::Buffer;
use crate::home::{self, Home, Slot};
use crate::memory::Memory;
use crate::region::{Region, RegionError, RegionKind};
use crate::returns::ReturnRing;
use crate::sync::Watched;
use crate::{HEADROOM, SharedFrame};

/// Which of a pool's two kinds of slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SizeClass {
    /// One frame of the device's MTU, with headroom.
    Small = 0,
    /// 64 KiB and headroom: a frame that a device will segment, or has coalesced.
    Staging = 1,
}

/// How large a pool is. Memory is mapped at once and becomes resident when first used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Bytes of a small slot, headroom included; at least [`HEADROOM`] and 64.
    pub small_size: usize,
    /// Number of small slots.
    pub small_count: usize,
    /// Number of staging slots.
    pub staging_count: usize,
    /// Loans that may be out at a time; the return ring has a cell for each. Rounded up to a power of
    /// two, and at least 2.
    pub max_loans: usize,
    /// What the memory is mapped from.
    pub region: RegionKind,
}

impl PoolConfig {
    /// Bytes of a staging slot: headroom, a device's header, and the largest IP packet.
    pub const STAGING_SIZE: usize = 65_536 + 1_024;

    /// The default pool for frames of up to `mtu` bytes above Ethernet.
    pub fn for_mtu(mtu: usize) -> Self {
        Self { small_size: (mtu + 18 + HEADROOM).next_multiple_of(2_048), ..Self::default() }
    }

    /// Bytes of a slot of each class.
    fn sizes(&self) -> [usize; 2] {
        [self.small_size.max(HEADROOM + 64), Self::STAGING_SIZE]
    }

    /// Bytes of all slots together, `None` if there are too many to count or to number.
    fn total_size(&self) -> Option<usize> {
        let [small, staging] = self.sizes();
        let slots = self.small_count.checked_add(self.staging_count)?;
        if small.max(slots) >= u32::MAX as usize {
            return None;
        }
        small.checked_mul(self.small_count)?.checked_add(staging.checked_mul(self.staging_count)?)
    }
}

impl Default for PoolConfig {
    /// 32,768 small slots of 2 KiB and 1,024 staging slots: at most 129 MiB, none resident at first.
    fn default() -> Self {
        Self {
            small_size: 2_048,
            small_count: 32_768,
            staging_count: 1_024,
            max_loans: 65_536,
            region: RegionKind::Anonymous,
        }
    }
}

/// A reading of a pool's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounters {
    /// Small slots in use, at home or lent.
    pub small_out: usize,
    /// Staging slots in use, at home or lent.
    pub staging_out: usize,
    /// Loans not yet back.
    pub lent: usize,
    /// The most small slots ever in use.
    pub small_high_water: usize,
    /// The most staging slots ever in use.
    pub staging_high_water: usize,
    /// Allocations and loans refused since the start.
    pub refused: u64,
    /// Loans that came home since the start.
    pub returned: u64,
}

/// A handle to a shard's buffers. Clones are the same pool; it stays on one thread.
pub struct Pool {
    pub(crate) home: NonNull<Home>,
}

impl Pool {
    /// Maps the memory for a new pool. Fails when the system has not that much, and when a slot would be 4 GiB
    /// or more, or there would be as many slots.
    pub fn new(memory: &Memory, config: &PoolConfig) -> Result<Self, RegionError> {
        let sizes = config.sizes();
        let counts = [config.small_count, config.staging_count];
        let region = Region::new(config.region, config.total_size().unwrap_or(usize::MAX))?;
        let base = region.base();
        let pointer = NonNull::from(Box::leak(Box::new(Home {
            slots: Box::default(),
            totals: counts,
            free: counts.map(|count| RefCell::new(Vec::with_capacity(count))),
            handles: Cell::new(1),
            references: Cell::new(0),
            lent: Cell::new(0),
            high_water: Default::default(),
            refused: Cell::new(0),
            returned: Cell::new(0),
            head: Cell::new(ReturnRing::FIRST_TICKET),
            returns: ReturnRing::new(config.max_loans),
            memory: memory.clone(),
            region,
            cells: Watched::new(),
            life: Watched::new(),
        })));
        let slot = |index: usize| {
            let (class, offset) = match index.checked_sub(counts[0]) {
                None => (SizeClass::Small, index * sizes[0]),
                Some(staging) => (SizeClass::Staging, counts[0] * sizes[0] + staging * sizes[1]),
            };
            Slot {
                count: Cell::new(0),
                in_ring: Cell::new(false),
                class,
                index: index as u32,
                capacity: sizes[class as usize] as u32,
                // SAFETY: the region has room for every slot of both classes.
                data: unsafe { base.add(offset) },
                home: pointer,
                bytes: Watched::new(),
            }
        };
        let slots = (0..counts[0] + counts[1]).map(slot).collect();
        // SAFETY: the home was made just now, and nothing else refers to it yet.
        let home = unsafe { &mut *pointer.as_ptr() };
        home.slots = slots;
        // The last pushed is used first: low indexes first, and the warm ones again.
        home.free[0].get_mut().extend((0..counts[0] as u32).rev());
        home.free[1].get_mut().extend((counts[0] as u32..(counts[0] + counts[1]) as u32).rev());
        memory.on_home_made();
        Ok(Self { home: pointer })
    }

    fn home(&self) -> &Home {
        // SAFETY: a handle keeps its home alive.
        unsafe { self.home.as_ref() }
    }

    /// An empty buffer at `headroom` bytes into a fresh slot, or `None` when the class is used up.
    pub fn allocate(&self, class: SizeClass, headroom: usize) -> Option<Buffer> {
        let home = self.home();
        home.cells.write();
        let Some(index) = home.free[class as usize].borrow_mut().pop() else {
            home.refused.set(home.refused.get() + 1);
            return None;
        };
        let slot = &home.slots[index as usize];
        slot.count.set(1);
        home.references.set(home.references.get() + 1);
        let high_water = &home.high_water[class as usize];
        high_water.set(high_water.get().max(self.out(class)));
        Some(Buffer::new(NonNull::from(slot), headroom.min(slot.capacity as usize) as u32))
    }

    /// A buffer with a copy of `bytes` behind the usual headroom, in the smallest class that
    /// holds it; `None` when that class is used up or `bytes` is too long for any.
    pub fn copy_of(&self, bytes: &[u8]) -> Option<Buffer> {
        let class = self.class_for(bytes.len())?;
        let mut buffer = self.allocate(class, HEADROOM)?;
        buffer.append(bytes.len())?.copy_from_slice(bytes);
        Some(buffer)
    }

    /// Copies a frame out of memory that a peer can write.
    pub fn copy_of_shared(&self, frame: &SharedFrame<'_>) -> Option<Buffer> {
        let class = self.class_for(frame.len())?;
        let mut buffer = self.allocate(class, HEADROOM)?;
        frame.copy_to(buffer.append(frame.len())?);
        Some(buffer)
    }

    /// The smallest class whose slot holds `len` bytes behind the usual headroom.
    pub fn class_for(&self, len: usize) -> Option<SizeClass> {
        [SizeClass::Small, SizeClass::Staging]
            .into_iter()
            .find(|class| self.capacity(*class).saturating_sub(HEADROOM) >= len)
    }

    /// Bytes of a slot of a class, headroom included.
    pub fn capacity(&self, class: SizeClass) -> usize {
        let home = self.home();
        let slot = match class {
            SizeClass::Small => home.slots.first(),
            SizeClass::Staging => home.slots.last(),
        };
        slot.filter(|slot| slot.class == class).map_or(0, |slot| slot.capacity as usize)
    }

    /// Slots of a class that are free.
    pub fn free(&self, class: SizeClass) -> usize {
        self.home().free[class as usize].borrow().len()
    }

    /// Slots of a class in all.
    pub fn total(&self, class: SizeClass) -> usize {
        self.home().totals[class as usize]
    }

    /// Slots of a class that are in use, at home or lent.
    pub fn out(&self, class: SizeClass) -> usize {
        self.total(class) - self.free(class)
    }

    /// Slots of both classes in use. Zero at a clean shutdown, after [`Pool::collect`].
    pub fn buffers_out(&self) -> usize {
        self.out(SizeClass::Small) + self.out(SizeClass::Staging)
    }

    /// Takes back every loan that has come home, in one go; how many. Once a turn.
    pub fn collect(&self) -> usize {
        self.home().collect()
    }

    /// Whether so many more buffers may be lent.
    pub(crate) fn may_lend(&self, buffers: usize) -> bool {
        let home = self.home();
        let may = home.lent.get() + buffers <= home.returns.capacity();
        if !may {
            home.refused.set(home.refused.get() + 1);
        }
        may
    }

    /// A reading of the pool's state.
    pub fn counters(&self) -> PoolCounters {
        let home = self.home();
        PoolCounters {
            small_out: self.out(SizeClass::Small),
            staging_out: self.out(SizeClass::Staging),
            lent: home.lent.get(),
            small_high_water: home.high_water[0].get(),
            staging_high_water: home.high_water[1].get(),
            refused: home.refused.get(),
            returned: home.returned.get(),
        }
    }

    /// Whether a buffer came from this pool.
    pub fn owns(&self, buffer: &Buffer) -> bool {
        buffer.home() == self.home
    }

    /// The address and length of the pool's memory, to be registered with a device.
    pub fn memory_range(&self) -> (NonNull<u8>, usize) {
        let region = &self.home().region;
        (region.base(), region.len())
    }

    /// The memory file behind the pool, to be given to a peer process. From then on that process can write
    /// any byte of the pool at any time: it has to be trusted as a device is. What an untrusted peer may
    /// write belongs in a [`Region`] of its own, and is read as a [`SharedFrame`].
    pub fn memory_file(&self) -> Option<BorrowedFd<'_>> {
        self.home().region.file()
    }

    /// Gives a buffer to a device's ring: its number, and the offset of its slot in the pool's memory. The slot
    /// stays counted as out until [`Pool::take_from_ring`] or [`Pool::clear_rings`]; a pool that dies before is never
    /// unmapped, since the device may still write to it.
    ///
    /// Only a buffer nobody else refers to can go; another comes back as the error.
    pub fn give_to_ring(&self, buffer: Buffer) -> Result<(u32, usize), Buffer> {
        if !self.owns(&buffer) || !buffer.is_unique() {
            return Err(buffer);
        }
        Ok(buffer.into_ring(self.home().region.base()))
    }

    /// Takes a buffer back from a device's ring: `len` bytes at `start` of the slot. `None`, and nothing
    /// changed, if no ring has a slot of this number, or the range does not lie within it: what a device says is
    /// checked.
    ///
    /// # Safety
    /// If a ring has the slot, then the device has finished with it: it neither reads nor writes it any more.
    pub unsafe fn take_from_ring(&self, slot: u32, start: usize, len: usize) -> Option<Buffer> {
        let slot = self.home().slots.get(slot as usize)?;
        let end = start.checked_add(len)?;
        if !slot.in_ring.get() || end > slot.capacity as usize {
            return None;
        }
        slot.in_ring.set(false);
        Some(Buffer::from_parts(NonNull::from(slot), start as u32, end as u32))
    }

    /// Frees every slot that a device's ring still has; how many. For a device that is closed for good.
    ///
    /// # Safety
    /// Every device that was given slots of this pool is closed: none reads or writes them any more.
    pub unsafe fn clear_rings(&self) -> usize {
        let home = self.home();
        let mut cleared = 0;
        for slot in home.slots.iter().filter(|slot| slot.in_ring.replace(false)) {
            home.release(slot);
            cleared += 1;
        }
        cleared
    }
}

impl Clone for Pool {
    fn clone(&self) -> Self {
        let handles = &self.home().handles;
        handles.set(handles.get() + 1);
        Self { home: self.home }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let handles = &self.home().handles;
        handles.set(handles.get() - 1);
        // SAFETY: the handle just dropped kept the home alive until here, on its thread.
        unsafe { home::settle(self.home) };
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Pool").field(&self.counters()).finish()
    }
}
