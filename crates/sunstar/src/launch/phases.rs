//! How the shards of a host end together: none goes before all have come so far, because each may hand over packets,
//! or send, for another.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How often a thread without an executor looks.
const LOOK: Duration = Duration::from_millis(1);

/// How far a shard has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes its turns.
    Started,
    /// Its application is done.
    Applications,
    /// Its connections have ended.
    Drained,
    /// Its last frames have left.
    Flushed,
    /// Its shard is gone, and what it had of others' is on its way home.
    Gone,
}

impl Phase {
    const COUNT: usize = 5;
}

/// How an application ended.
pub(super) enum Ended {
    /// By itself.
    Done,
    /// It panicked; with what.
    Panicked(Box<dyn Any + Send>),
    /// Another shard's ended in a way that it cannot go on after.
    Cut,
}

#[derive(Debug, Default)]
struct Arrived {
    shards: [usize; Phase::COUNT],
    /// An application has panicked: the others are cut short.
    cut: bool,
    /// A shard's thread has ended in a way that was not foreseen: nobody waits any longer.
    abandoned: bool,
}

/// Where the shards of a host wait for each other.
#[derive(Debug)]
pub(super) struct Phases {
    shards: usize,
    arrived: watch::Sender<Arrived>,
}

impl Phases {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards, arrived: watch::Sender::default() }
    }

    /// One shard has come so far.
    pub(super) fn arrive(&self, phase: Phase) {
        self.arrived.send_modify(|arrived| arrived.shards[phase as usize] += 1);
    }

    /// Waits until all have.
    pub(super) async fn all(&self, phase: Phase) {
        let mut arrived = self.arrived.subscribe();
        // The sender is this value, and outlives the wait.
        let _ = arrived.wait_for(|arrived| self.is_over(arrived, phase)).await;
    }

    /// The same for a thread without an executor, for so long at most.
    pub(super) fn all_within(&self, phase: Phase, patience: Duration) {
        let deadline = Instant::now() + patience;
        while !self.is_over(&self.arrived.borrow(), phase) && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
    }

    /// Runs an application to its end. Its panic ends those of all shards, in order.
    pub(super) async fn run(&self, application: impl Future<Output = ()>) -> Ended {
        let mut arrived = self.arrived.subscribe();
        let mut application = pin!(application);
        let mut cut = pin!(arrived.wait_for(|arrived| arrived.cut || arrived.abandoned));
        let ended = poll_fn(|context| {
            if cut.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ended::Cut);
            }
            match catch_unwind(AssertUnwindSafe(|| application.as_mut().poll(context))) {
                Ok(polled) => polled.map(|()| Ended::Done),
                Err(panic) => Poll::Ready(Ended::Panicked(panic)),
            }
        })
        .await;
        if let Ended::Panicked(_) = &ended {
            self.arrived.send_modify(|arrived| arrived.cut = true);
        }
        ended
    }

    /// Nobody is to wait for anybody any longer.
    pub(super) fn abandon(&self) {
        self.arrived.send_modify(|arrived| arrived.abandoned = true);
    }

    fn is_over(&self, arrived: &Arrived, phase: Phase) -> bool {
        arrived.abandoned || arrived.shards[phase as usize] == self.shards
    }

    /// Sees that nobody waits for this thread if it ends before it has gone through all phases.
    pub(super) fn guard(&self) -> Guard<'_> {
        Guard { phases: self, done: false }
    }
}

/// Held by a shard's thread.
#[derive(Debug)]
pub(super) struct Guard<'a> {
    phases: &'a Phases,
    done: bool,
}

impl Guard<'_> {
    /// The thread has gone through all phases.
    pub(super) fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.phases.abandon();
        }
    }
}
