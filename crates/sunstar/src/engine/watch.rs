//! Waiting for a descriptor, in a future that does other things besides.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits for a descriptor, again and again: for something to read, and for its device to be gone.
pub(super) struct Watch {
    notified: Rc<Cell<bool>>,
    waiting: Pin<Box<dyn Future<Output = ()>>>,
}

impl Watch {
    /// Watches a duplicate: the device keeps its own.
    pub(super) fn new(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        let events = Interest::READABLE | Interest::ERROR;
        let duplicate = descriptor.try_clone_to_owned()?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types whose descriptor may go before they do"
        )]
        let descriptor = AsyncFd::with_interest(duplicate, events)?;
        let notified = Rc::new(Cell::new(false));
        let noted = Rc::clone(&notified);
        let waiting = Box::pin(async move {
            while let Ok(mut ready) = descriptor.ready(events).await {
                ready.clear_ready();
                noted.set(true);
            }
            // The executor is ending; nobody will be woken any more.
            std::future::pending().await
        });
        Ok(Self { notified, waiting })
    }

    /// Whether there was a notification since the last time. The task is woken by the next one.
    pub(super) fn was_notified(&mut self, context: &mut Context<'_>) -> bool {
        let _ = self.waiting.as_mut().poll(context);
        self.notified.take()
    }
}
