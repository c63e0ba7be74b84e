//! The event a thread sleeps on: a descriptor that reads as ready from when it is set until it is cleared.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::io::Errno;

#[derive(Debug)]
pub(crate) struct Event {
    descriptor: OwnedFd,
    kernel: Kernel,
}

impl Event {
    /// An event that is not set.
    ///
    /// # Errors
    /// The process, or the system, is out of descriptors.
    pub(crate) fn new() -> Result<Self, Errno> {
        let descriptor = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { descriptor, kernel: Kernel::new() })
    }

    /// Wakes whoever waits. The only error there can be says that the event is set already.
    pub(crate) fn set(&self) {
        let _ = rustix::io::write(&self.descriptor, &1u64.to_ne_bytes());
        self.kernel.set();
    }

    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.descriptor, &mut [0; 8]);
        self.kernel.clear();
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Waits until the event is set, as `poll` would.
    #[cfg(loom)]
    pub(crate) fn wait(&self) {
        self.kernel.wait();
    }
}

/// Stands for what a model cannot see of the kernel: that a thread stops until the event is set, and that whoever sees
/// it set, or clears it, sees what came before. Outside a model it is nothing.
#[derive(Debug)]
struct Kernel {
    #[cfg(loom)]
    is_set: loom::sync::atomic::AtomicBool,
    #[cfg(loom)]
    changed: loom::sync::Notify,
}

#[cfg(loom)]
impl Kernel {
    fn new() -> Self {
        Self { is_set: loom::sync::atomic::AtomicBool::new(false), changed: loom::sync::Notify::new() }
    }

    fn set(&self) {
        self.is_set.swap(true, loom::sync::atomic::Ordering::AcqRel);
        self.changed.notify();
    }

    fn clear(&self) {
        self.is_set.swap(false, loom::sync::atomic::Ordering::AcqRel);
    }

    fn wait(&self) {
        while !self.is_set.load(loom::sync::atomic::Ordering::Acquire) {
            self.changed.wait();
        }
    }
}

#[cfg(not(loom))]
impl Kernel {
    fn new() -> Self {
        Self {}
    }

    #[inline(always)]
    fn set(&self) {}

    #[inline(always)]
    fn clear(&self) {}
}
