//! What the way home is synchronised by: the real thing, or loom's when the protocol is model-checked.

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::AtomicU32, atomic::Ordering};
#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicU32, atomic::Ordering};

/// Stands for memory that a model cannot see: it is told of every read and write, and fails when two of
/// them race. Outside a model it is nothing.
pub(crate) struct Watched {
    #[cfg(loom)]
    memory: loom::cell::UnsafeCell<()>,
}

#[cfg(loom)]
impl Watched {
    pub(crate) fn new() -> Self {
        Self { memory: loom::cell::UnsafeCell::new(()) }
    }

    pub(crate) fn read(&self) {
        self.memory.with(|_| ());
    }

    pub(crate) fn write(&self) {
        self.memory.with_mut(|_| ());
    }
}

#[cfg(not(loom))]
impl Watched {
    pub(crate) fn new() -> Self {
        Self {}
    }

    #[inline(always)]
    pub(crate) fn read(&self) {}

    #[inline(always)]
    pub(crate) fn write(&self) {}
}
