//! Waking a sleeper without a system call for one that is awake, and without ever missing it.
//!
//! The sleeper *asks*, then looks once more whether there is something; the other end publishes, then
//! *rings*. A sequentially consistent fence stands between the two steps on either side, so that of
//! two that meet, at least one sees the other: either the sleeper finds what was published, or the ring
//! finds the request (C++20 [atomics.fences]; `tests/loom_doorbell.rs` explores it). Every write to the request
//! is a swap, so that requests and answers have one order.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU8, Ordering, fence};

/// A request to be woken for frames to receive.
pub(crate) const FRAMES: u8 = 1;
/// A request to be woken for room to send.
pub(crate) const ROOM: u8 = 2;

/// What one end asks to be woken for; zero while it is awake.
#[derive(Debug)]
pub(crate) struct Doorbell {
    asked: AtomicU8,
}

impl Doorbell {
    /// A bell whose owner is awake.
    pub(crate) fn new() -> Self {
        Self { asked: AtomicU8::new(0) }
    }

    /// Asks to be woken for any of `what`. The caller looks once more after this, and only sleeps when
    /// it still finds nothing.
    pub(crate) fn ask(&self, what: u8) {
        // Release: the owner emptied its event before, and whoever answers fills it after.
        self.asked.swap(what, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// Takes the request back: the owner found something after all.
    pub(crate) fn withdraw(&self) {
        self.asked.swap(0, Ordering::AcqRel);
    }

    /// Whether a request stands that nobody has answered.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) != 0
    }

    /// After publishing `what`: whether the owner asked for it and has to be woken. One request is
    /// answered once.
    pub(crate) fn ring(&self, what: u8) -> bool {
        fence(Ordering::SeqCst);
        self.asked.load(Ordering::Relaxed) & what != 0 && self.asked.swap(0, Ordering::AcqRel) != 0
    }
}
