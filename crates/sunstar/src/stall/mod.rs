//! Tells which task held a shard: the shard's thread can do nothing else until a poll returns, and every packet,
//! timer and other task of the shard waits for it.
//!
//! A shard's thread notes in its [`Watch`] what it is doing: one plain store when it begins and one when it ends,
//! and no clock is read. One thread for all shards, the [`Watchdog`], looks at every watch four times within the
//! time that a poll may take, and has a [`Judge`](judge::Judge) say whether it is the same poll that it saw before.
//!
//! Only what was spawned through [`Net`](crate::Net) has a name. The rest is told from idleness by the executor,
//! which says when it goes to sleep; and a long poll from many short ones by the watch's [`Pulse`], a task that the
//! watchdog wakes when it is in doubt: it is not polled as long as another task holds the thread.
//!
//! What the kernel does is not the task's fault: time in which the thread could have run, and was given no processor, is
//! not counted ([`Schedule`](schedule::Schedule)). Nor is a watchdog that comes late trusted with more than two of its
//! intervals: the whole process may have been stopped, or the machine asleep.
//!
//! Looking 80 times a second was measured to take 0.3 % of a core of a virtual machine, nearly all of it the kernel's for
//! waking the thread; a shard that is awake adds 4 microseconds a look.

mod judge;
mod noted;
mod schedule;
mod watch;
mod watchdog;

pub(crate) use noted::{Noted, Pulse};
use serde::{Deserialize, Serialize};
pub(crate) use watch::Watch;
pub(crate) use watchdog::Watchdog;

/// A poll of a task that held its shard for longer than it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// The task: the name it was spawned under, or else the file and line that spawned it.
    pub task: String,
    /// How long it held the shard, in milliseconds, from the first look that saw it to the last: the time that was
    /// missed is no more than an interval at each end. It grows as long as the poll goes on.
    pub milliseconds: u64,
    /// How much of that it spent on the processor, in milliseconds, in steps of the kernel's tick; the rest it spent
    /// blocked in the kernel, or waiting for a processor. `None` where the kernel does not say.
    pub on_processor: Option<u64>,
}
