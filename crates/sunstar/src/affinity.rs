//! One core for each shard, out of those the process may use, and none for threads that are no shards.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The cores this thread might run on when it asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    allowed: CpuSet,
}

impl Cores {
    /// Asks the system.
    pub(crate) fn allowed() -> io::Result<Self> {
        Ok(Self { allowed: sched_getaffinity(None)? })
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.allowed.count() as usize
    }

    /// The cores in order, from the one this thread runs on now: processes started at the same time do not
    /// all begin with the first.
    fn in_order(&self) -> impl Iterator<Item = usize> {
        let here = sched_getcpu();
        let allowed = self.allowed;
        (here..CpuSet::MAX_CPU).chain(0..here).filter(move |core| allowed.is_set(*core))
    }

    /// Pins this thread to a core until the answer is dropped.
    pub(crate) fn pin(&self) -> io::Result<Pinned> {
        let mut only = CpuSet::new();
        let core = self.in_order().next().ok_or_else(|| io::Error::other("the affinity mask is empty"))?;
        only.set(core);
        sched_setaffinity(None, &only)?;
        Ok(Pinned { before: *self })
    }

    /// Lets this thread run on all of them again.
    pub(crate) fn release(&self) {
        // It worked when the mask was read; if it no longer does, the thread stays where it is.
        let _ = sched_setaffinity(None, &self.allowed);
    }
}

/// A thread that is pinned. It is let go when this is dropped.
#[derive(Debug)]
pub(crate) struct Pinned {
    before: Cores,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.before.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_of_its_cores_and_gets_all_of_them_back() {
        let cores = Cores::allowed().unwrap();
        let pinned = cores.pin().unwrap();
        let one = Cores::allowed().unwrap();
        assert_eq!(one.count(), 1);
        assert!(one.in_order().all(|core| cores.allowed.is_set(core)));
        drop(pinned);
        assert_eq!(Cores::allowed().unwrap().count(), cores.count());
    }
}
