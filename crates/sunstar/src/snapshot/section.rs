//! What a section of a snapshot has to be able to do.

use std::fmt::Display;

use sunstar_stack::Shard;

use crate::engine::Engine;
use crate::stats;

/// What a section is read from, on the thread of its shard.
pub(crate) struct View<'a> {
    /// The shard, between two turns.
    pub(crate) shard: &'a Shard,
    /// What its thread shares about it.
    pub(crate) engine: &'a Engine,
    /// What places packets on the shards.
    pub(crate) steered: &'a stats::Steered,
    /// How many lines of a kind the whole may have.
    pub(crate) limit: usize,
}

impl View<'_> {
    /// How many lines of a kind this shard may list, of what each shard has its own of.
    pub(crate) fn share(&self) -> usize {
        self.limit.div_ceil(self.shard.steering().shards().max(1).into())
    }
}

/// A section, as it is read.
pub(crate) trait Part: Sized {
    /// One shard's part of it. Packets wait meanwhile: of a kind it lists [`View::limit`] lines at most, or its
    /// [`View::share`].
    fn read(view: &View<'_>) -> Self;

    /// The parts of all shards that answered, in their order and one at least, put together. On a thread that is no shard.
    fn join(parts: Vec<Self>) -> Self;
}

/// A section, as it is shown: whole as a table, or in a line.
pub trait Shown: Display {
    /// What matters most of it, in one line.
    fn summary(&self) -> String;
}
