//! Futures that note in a watch that they are being polled.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::Watch;
use super::watch::{Name, NameId};

pin_project! {
    /// A future that is polled, and dropped, under a name. Measured in a loop on a virtual x86-64 core: 1 ns more a
    /// poll (of about 120 for waking and polling any task), and 60 ns to make one.
    pub(crate) struct Noted<F> {
        watch: Arc<Watch>,
        name: NameId,
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Noted<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                let _note = this.watch.enter(*this.name);
                this.future.set(None);
            }
        }
    }
}

impl<F> Noted<F> {
    /// Notes polls of a future in the watch of the thread that it is going to run on.
    pub(crate) fn new(watch: &Arc<Watch>, name: impl Into<Name>, future: F) -> Self {
        Self { watch: Arc::clone(watch), name: watch.name(name.into()), future: Some(future) }
    }
}

impl<F: Future> Future for Noted<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let _note = this.watch.enter(*this.name);
        let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Pending };
        let output = ready!(future.poll(context));
        // What it owns may take long to drop, too.
        this.future.set(None);
        Poll::Ready(output)
    }
}

/// The task whose polls are a sign of life: the shard's thread is held by nobody. It is never done; it begins the
/// watch when it is first polled, and ends it when it is dropped with its runtime.
pub(crate) struct Pulse {
    watch: Arc<Watch>,
}

impl Pulse {
    /// The pulse of a watch, to be spawned on the thread that the watch is for.
    pub(crate) fn new(watch: &Arc<Watch>) -> Self {
        Self { watch: Arc::clone(watch) }
    }
}

impl Future for Pulse {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.watch.on_pulse(context.waker());
        Poll::Pending
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.watch.on_pulse_ended();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::sync::oneshot;

    use super::*;
    use crate::stall::watch::{Doing, Reading};

    /// What is read of a watch once it is what is waited for.
    fn read_until(watch: &Watch, is_it: impl Fn(&Reading) -> bool) -> Reading {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let reading = watch.read();
            if is_it(&reading) {
                return reading;
            }
            assert!(Instant::now() < deadline, "{reading:?}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_idle_executor_is_asleep_and_gives_a_sign_of_life_when_it_is_asked() {
        let watch = Arc::new(Watch::new(0));
        let [in_thread, falls_asleep, wakes] = [0; 3].map(|_| Arc::clone(&watch));
        let (end, ended) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.on_thread_park(move || falls_asleep.on_asleep());
            builder.on_thread_unpark(move || wakes.on_awake());
            let runtime = builder.build_local(Default::default()).unwrap();
            runtime.block_on(async {
                tokio::task::spawn_local(Pulse::new(&in_thread));
                Noted::new(&in_thread, "waits", ended).await.unwrap();
            });
        });
        let waits = Doing::Task(watch.name("waits".into()));
        // It may be asleep from the beginning; what comes later is the executor's word.
        let idle = read_until(&watch, |reading| reading.poll > 3 && reading.doing == Doing::Asleep);
        watch.ask();
        let beaten = read_until(&watch, |reading| reading.poll > idle.poll && reading.doing == Doing::Asleep);
        assert!(idle.doing != waits && beaten.doing != waits);
        end.send(()).unwrap();
        thread.join().unwrap();
        assert_eq!(watch.read().doing, Doing::Asleep, "nothing is blamed any more");
    }
}
