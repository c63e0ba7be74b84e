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

    /// Wakes it, if it sleeps, for a call that has told the shard the time: it counts as awake from here on.
    pub(crate) fn ring(&self) {
        if self.is_asleep() {
            self.wake();
            self.asleep_until.set(None);
        }
    }

    /// Wakes it, if it sleeps, for something that is not a call. Until it has run, its shard's time is that of its last turn,
    /// and calls have to see that it still sleeps.
    pub(crate) fn wake(&self) {
        if !self.is_asleep() {
            return;
        }
        let driver = self.driver.borrow().clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_driver_that_was_woken_by_no_call_counts_as_asleep_until_it_runs() {
        let counter = Arc::new(Counter::default());
        let waker = Arc::clone(&counter).into();
        let bell = Bell::default();
        bell.on_awake(&waker);
        bell.wake();
        assert_eq!(counter.0.load(Ordering::Relaxed), 0, "it was not asleep");
        bell.on_asleep(None);
        bell.wake();
        assert_eq!((counter.0.load(Ordering::Relaxed), bell.is_asleep()), (1, true));
        bell.ring();
        assert_eq!((counter.0.load(Ordering::Relaxed), bell.is_asleep()), (2, false));
        bell.ring();
        assert_eq!(counter.0.load(Ordering::Relaxed), 2, "a call is told once");
    }
}
