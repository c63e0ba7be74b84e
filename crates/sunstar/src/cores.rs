//! One core for each shard, out of those the process may use, and none for threads that are no shards.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::quota::{self, MilliCores, WHOLE};

/// A core, by the system's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Core(usize);

/// The cores that this process may run shards on, by the system's numbers: what
/// [`Builder::cores`](crate::Builder::cores) may name.
///
/// # Errors
/// What the system says about the thread's affinity mask.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    Ok(Cores::allowed()?.numbers())
}

/// The cores this thread might run on when it asked, and how much of them its process may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    allowed: CpuSet,
    quota: Option<MilliCores>,
}

impl Cores {
    /// Asks the system.
    ///
    /// # Errors
    /// What the system says about the thread's affinity mask. A quota that cannot be read is none.
    pub(crate) fn allowed() -> io::Result<Self> {
        Ok(Self { allowed: sched_getaffinity(None)?, quota: quota::of_process() })
    }

    /// How much the process may use at once: all of its cores, or as much of them as its quota grants.
    fn budget(&self) -> MilliCores {
        let cores = MilliCores::from(self.allowed.count()) * WHOLE;
        self.quota.map_or(cores, |quota| quota.min(cores))
    }

    /// How many whole cores the process may use at once, and at least one. A part of a core is no core for a shard: a
    /// process that has used up its quota is stopped until the next period, with all its shards wherever they are.
    pub(crate) fn usable(&self) -> usize {
        usize::try_from(self.budget() / WHOLE).unwrap_or(usize::MAX).max(1)
    }

    /// Whether so many shards may go on turning with nothing to do. Not when they outnumber the usable cores, because
    /// one would keep another from running, or use up the quota of all; nor when one core is all that there is,
    /// because whoever is to give the shard something to do could not. With one and a half, one shard may.
    pub(crate) fn may_spin(&self, shards: usize) -> bool {
        self.budget() > WHOLE && shards <= self.usable()
    }

    /// Each shard's core: one after the other from the one this thread runs on now (processes started at the
    /// same time do not all begin with the first), and again from there when shards outnumber cores.
    pub(crate) fn place(&self, shards: usize) -> Vec<Core> {
        let cores: Vec<_> = self.in_order(sched_getcpu()).collect();
        cores.into_iter().cycle().take(shards).collect()
    }

    /// The same with cores that the user has chosen, in their order.
    ///
    /// # Errors
    /// The first of them that the process may not use.
    pub(crate) fn place_on(&self, chosen: &[usize], shards: usize) -> Result<Vec<Core>, usize> {
        let is_ours = |core: usize| core < CpuSet::MAX_CPU && self.allowed.is_set(core);
        match chosen.iter().find(|core| !is_ours(**core)) {
            Some(core) => Err(*core),
            None => Ok(chosen.iter().copied().map(Core).cycle().take(shards).collect()),
        }
    }

    /// The numbers of all of them.
    pub(crate) fn numbers(&self) -> Vec<usize> {
        self.in_order(0).map(|core| core.0).collect()
    }

    fn in_order(&self, first: usize) -> impl Iterator<Item = Core> {
        let allowed = self.allowed;
        let all = (first..CpuSet::MAX_CPU).chain(0..first.min(CpuSet::MAX_CPU));
        all.filter(move |core| allowed.is_set(*core)).map(Core)
    }

    /// Pins this thread to a core until the answer is dropped.
    ///
    /// # Errors
    /// What the system says: mostly that the core is not one of the process's any more.
    pub(crate) fn pin_to(&self, core: Core) -> io::Result<Pinned> {
        let mut only = CpuSet::new();
        only.set(core.0);
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

    fn cores(numbers: &[usize], quota: Option<MilliCores>) -> Cores {
        let mut allowed = CpuSet::new();
        numbers.iter().for_each(|number| allowed.set(*number));
        Cores { allowed, quota }
    }

    #[test]
    fn a_pinned_thread_has_one_of_its_cores_and_gets_all_of_them_back() {
        let cores = Cores::allowed().unwrap();
        for core in cores.place(2) {
            let pinned = cores.pin_to(core).unwrap();
            let one = Cores::allowed().unwrap();
            assert_eq!((one.allowed.count(), one.place(1)), (1, vec![core]));
            assert!(cores.allowed.is_set(core.0));
            drop(pinned);
            assert_eq!(Cores::allowed().unwrap().allowed, cores.allowed);
        }
    }

    #[test]
    fn shards_are_placed_from_the_core_in_use_and_share_cores_when_they_outnumber_them() {
        let order: Vec<_> = cores(&[1, 4, 6], None).in_order(4).collect();
        assert_eq!(order, [Core(4), Core(6), Core(1)]);
        let beyond: Vec<_> = cores(&[1, 4], None).in_order(CpuSet::MAX_CPU + 1).collect();
        assert_eq!(beyond, [Core(1), Core(4)]);
        let placed = cores(&[1, 4, 6], None).place(7);
        assert_eq!(placed.len(), 7);
        assert!(placed[..4] == placed[3..] && placed[0] != placed[1] && placed[1] != placed[2]);
    }

    #[test]
    fn chosen_cores_are_taken_in_their_order_and_one_of_others_is_refused() {
        let ours = cores(&[1, 4, 6], None);
        assert_eq!(ours.place_on(&[6, 1], 3), Ok(vec![Core(6), Core(1), Core(6)]));
        assert_eq!(ours.place_on(&[6, 2, 3], 1), Err(2));
        assert_eq!(ours.place_on(&[CpuSet::MAX_CPU], 1), Err(CpuSet::MAX_CPU));
        assert_eq!(ours.numbers(), [1, 4, 6]);
    }

    #[test]
    fn usable_are_the_whole_cores_that_mask_and_quota_grant_and_at_least_one() {
        for (mask, quota, usable) in
            [(4, None, 4), (4, Some(2_999), 2), (4, Some(8_000), 4), (4, Some(300), 1), (1, None, 1)]
        {
            let numbers: Vec<_> = (0..mask).collect();
            assert_eq!(cores(&numbers, quota).usable(), usable, "{mask} cores, {quota:?}");
        }
    }

    #[test]
    fn shards_spin_while_each_has_a_core_and_there_is_more_than_one() {
        let four = [0, 1, 2, 3];
        assert!(cores(&four, None).may_spin(4) && !cores(&four, None).may_spin(5));
        assert!(cores(&four, Some(2_500)).may_spin(2) && !cores(&four, Some(2_500)).may_spin(3));
        assert!(cores(&four, Some(1_500)).may_spin(1), "half a core is left for whoever else there is");
        assert!(!cores(&four, Some(1_000)).may_spin(1) && !cores(&[2], None).may_spin(1));
    }
}
