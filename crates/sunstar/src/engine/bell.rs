//! How a sleeping driver is woken by a call of its own thread.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use sunstar_stack::time::Instant;

/// The driver's waker, and until when it sleeps.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    driver: RefCell<Option<Waker>>,
    asleep_until: Cell<Option<Instant>>,
}

impl Bell {
    /// The driver is awake, and this is how to wake it later. It looks at everything before it sleeps.
    pub(crate) fn on_awake(&self, waker: &Waker) {
        self.asleep_until.set(None);
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }

    /// The driver goes to sleep, until `deadline` if there is one.
    pub(crate) fn on_asleep(&self, deadline: Option<Instant>) {
        self.asleep_until.set(Some(deadline.unwrap_or(Instant::MAX)));
    }

    /// Whether it sleeps.
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep_until.get().is_some()
    }

    /// Until when it sleeps: [`Instant::MAX`] without a deadline, nothing while it is awake.
    pub(crate) fn asleep_until(&self) -> Option<Instant> {
        self.asleep_until.get()
    }

    /// Whether it would sleep through this deadline.
    pub(crate) fn sleeps_beyond(&self, deadline: Option<Instant>) -> bool {
        deadline.is_some_and(|deadline| self.asleep_until.get().is_some_and(|until| deadline < until))
    }

    /// Wakes it, if it sleeps.
    pub(crate) fn ring(&self) {
        if self.asleep_until.take().is_none() {
            return;
        }
        let driver = self.driver.borrow().clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}
