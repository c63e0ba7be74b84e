//! The runtime's registry of buffer memory: what a killed shard leaves behind until its loans are back.

use std::ptr::NonNull;
use std::sync::{Arc, PoisonError};

use crate::home::Home;
use crate::sync::{Mutex, MutexGuard};

/// Owns the memory of every pool. Cheap to clone; all clones are one registry.
///
/// The memory of a pool that died with loans out is kept until [`Memory::reclaim`] finds them all
/// back. If nobody ever asks, it is leaked, never freed under a loan.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    homes: usize,
    orphans: Vec<Orphan>,
}

#[derive(Debug)]
struct Orphan(NonNull<Home>);

// SAFETY: an orphaned home has no handle and no buffer on its old thread (`home::settle`); loans only
// read its immutable fields and push into its return ring. Whoever holds the registry's lock is the
// one thread that touches its cells.
unsafe impl Send for Orphan {}

/// What [`Memory::reclaim`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Loans of dead pools that came home in this call.
    pub returned: usize,
    /// Dead pools whose memory was freed in this call.
    pub freed: usize,
    /// Loans of dead pools that are still out.
    pub still_out: usize,
}

impl Memory {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Pools whose memory is mapped: living ones, and dead ones with loans out.
    pub fn homes(&self) -> usize {
        self.lock().homes
    }

    /// Takes back the loans of dead pools and frees the memory of those that have none left.
    /// Any thread; a runtime calls it when it replaces a shard, and at shutdown.
    pub fn reclaim(&self) -> Reclaimed {
        let mut inner = self.lock();
        let mut reclaimed = Reclaimed::default();
        let mut orphans = std::mem::take(&mut inner.orphans);
        orphans.retain(|orphan| {
            // SAFETY: an orphan is alive until it is freed here, and the lock makes this thread
            // the only one that touches its cells.
            let home = unsafe { orphan.0.as_ref() };
            reclaimed.returned += home.collect();
            let lent = home.lent.get();
            reclaimed.still_out += lent;
            if lent == 0 {
                // The registry's lock is held: dropping the home's clone of it takes no lock.
                // SAFETY: no handle, buffer or loan is left, and the lock keeps other threads out.
                unsafe { Home::free(orphan.0) };
                reclaimed.freed += 1;
            }
            lent != 0
        });
        inner.homes -= reclaimed.freed;
        inner.orphans = orphans;
        reclaimed
    }

    pub(crate) fn on_home_made(&self) {
        self.lock().homes += 1;
    }

    pub(crate) fn on_home_freed(&self) {
        self.lock().homes -= 1;
    }

    pub(crate) fn adopt_orphan(&self, home: NonNull<Home>) {
        self.lock().orphans.push(Orphan(home));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
