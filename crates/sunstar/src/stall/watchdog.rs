//! The thread that looks after all shards, and says which task holds one.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::judge::{Finding, Held, Judge};
use super::{Stall, Watch};
use crate::cores::Cores;

/// Nothing shorter is a stall: a look takes some microseconds a shard, and is worth no more of the processor's time.
const LEAST: Duration = Duration::from_millis(4);

/// The running watchdog. It ends, at once, when this is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// Nothing is sent: the thread ends when it is gone.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts to look after the shards with these watches; polls of `stall_after` are stalls. It runs on any of `cores`.
    ///
    /// # Errors
    /// What the system says when there can be no more threads.
    pub(crate) fn start(stall_after: Duration, cores: Cores, watches: Vec<Arc<Watch>>) -> io::Result<Self> {
        let stall_after = stall_after.max(LEAST);
        let (alive, ended) = mpsc::channel();
        let thread = std::thread::Builder::new().name("sunstar-watchdog".to_owned()).spawn(move || {
            // It was started by a shard's thread, perhaps, and would be pinned beside it.
            cores.release();
            watch(stall_after, &watches, &ended);
        })?;
        Ok(Self { alive: Some(alive), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            // A watchdog that failed has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn watch(stall_after: Duration, watches: &[Arc<Watch>], ended: &Receiver<()>) {
    let started = Instant::now();
    let interval = Judge::interval(stall_after);
    let mut shards: Vec<_> = watches.iter().map(|watch| (watch, Judge::new(stall_after))).collect();
    while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        for (watch, judge) in &mut shards {
            look(watch, judge, started.elapsed());
        }
    }
}

fn look(watch: &Watch, judge: &mut Judge, now: Duration) {
    let reading = watch.read();
    match judge.look(now, &reading) {
        Finding::Fine => {}
        Finding::Ask => watch.ask(),
        Finding::Stalled(held) => {
            let (milliseconds, on_processor) = whole_milliseconds(held);
            let stall = Stall { task: watch.describe(reading.doing), milliseconds, on_processor };
            tracing::warn!(shard = watch.shard(), "{}", message(watch.shard(), &stall));
            watch.on_stall(stall);
        }
        Finding::GoesOn(held) => {
            let (milliseconds, on_processor) = whole_milliseconds(held);
            watch.on_stall_grown(milliseconds, on_processor);
        }
    }
}

fn whole_milliseconds(held: Held) -> (u64, Option<u64>) {
    let whole = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    (whole(held.time), held.on_processor.map(whole))
}

fn message(shard: u16, stall: &Stall) -> String {
    let Stall { task, milliseconds, on_processor } = stall;
    let processor = on_processor.map(|time| format!(", {time} ms of them on the processor"));
    let processor = processor.unwrap_or_default();
    format!(
        "shard {shard} has been held for {milliseconds} ms{processor}, by {task}; let it yield, or give what blocks or computes for long to tokio::task::spawn_blocking"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_task_the_shard_and_the_time() {
        let stall = Stall { task: "src/main.rs:17".to_owned(), milliseconds: 63, on_processor: Some(60) };
        let text = message(3, &stall);
        let begin = "shard 3 has been held for 63 ms, 60 ms of them on the processor, by src/main.rs:17; let it yield";
        assert!(text.starts_with(begin), "{text}");
        let text = message(3, &Stall { on_processor: None, ..stall });
        assert!(text.starts_with("shard 3 has been held for 63 ms, by src/main.rs:17;"), "{text}");
    }

    #[test]
    fn the_watchdog_ends_at_once_although_it_looks_seldom() {
        let started = Instant::now();
        let day = Duration::from_secs(24 * 60 * 60);
        let watches = vec![Arc::new(Watch::new(0))];
        drop(Watchdog::start(day, Cores::allowed().unwrap(), watches).unwrap());
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}
