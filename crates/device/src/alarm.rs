//! A doorbell with the descriptor its owner sleeps on: whoever may have something for a sleeping thread rings it, and
//! a system call is made only when that thread asked for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::io::Errno;

use crate::doorbell::Doorbell;

/// Wakes one thread, for any number of others.
#[derive(Debug)]
pub struct Alarm {
    doorbell: Doorbell,
    event: OwnedFd,
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
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { doorbell: Doorbell::new(), event })
    }

    /// Before the owner sleeps: asks to be woken for any of `what`. It looks at everything once more after this, and only
    /// sleeps when there is nothing.
    pub fn ask(&self, what: u8) {
        // Before asking: a wake-up for this request must not be taken for an old one.
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
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

    /// Wakes the owner, asked or not. The only error there can be says that the event is pending already.
    pub fn wake(&self) {
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// What the owner waits on for reading while it sleeps.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
