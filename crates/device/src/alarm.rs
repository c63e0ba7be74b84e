//! A doorbell with the descriptor its owner sleeps on: whoever may have something for a sleeping thread rings it, and
//! a system call is made only when that thread asked for it.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::doorbell::Doorbell;
use crate::event::Event;

/// Wakes one thread, for any number of others.
#[derive(Debug)]
pub struct Alarm {
    doorbell: Doorbell,
    event: Event,
}

impl Alarm {
    /// There is something to receive.
    pub const FRAMES: u8 = crate::doorbell::FRAMES;
    /// There is room to send.
    pub const ROOM: u8 = crate::doorbell::ROOM;

    /// An alarm whose owner is awake.
    ///
    /// # Errors
    /// The process, or the system, is out of descriptors.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self { doorbell: Doorbell::new(), event: Event::new()? })
    }

    /// Before the owner sleeps: asks to be woken for any of `what`. It looks at everything once more after this, and only
    /// sleeps when there is nothing.
    pub fn ask(&self, what: u8) {
        // Before asking: a wake-up for this request must not be taken for an old one.
        self.event.clear();
        self.doorbell.ask(what);
    }

    /// Takes the request back: the owner found something after all.
    pub fn withdraw(&self) {
        self.doorbell.withdraw();
    }

    /// Whether the owner has asked and nobody has rung since: how it looks on the thread that all of them share.
    pub fn is_asking(&self) -> bool {
        self.doorbell.is_asked()
    }

    /// After making `what` visible: wakes the owner if it asked for that.
    pub fn ring(&self, what: u8) {
        if self.doorbell.ring(what) {
            self.wake();
        }
    }

    /// Wakes the owner, asked or not.
    pub fn wake(&self) {
        self.event.set();
    }

    /// What the owner waits on for reading while it sleeps.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.descriptor()
    }

    /// Waits until the owner is woken: what a model has in the place of waiting on the descriptor.
    #[cfg(loom)]
    pub fn sleep(&self) {
        self.event.wait();
    }
}
