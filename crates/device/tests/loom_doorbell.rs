//! Every interleaving of falling asleep and being woken, explored by loom:
//! `RUSTFLAGS="--cfg loom" cargo test -p sunstar-device --release --test 'loom*'`.
#![cfg(loom)]

#[path = "../src/doorbell.rs"]
mod doorbell;

use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use doorbell::{Doorbell, FRAMES, ROOM};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32};

/// A ring's write position, the doorbell of its reader, and whether its eventfd was written (under the
/// kernel's lock, hence a swap that synchronizes).
struct Wire {
    published: AtomicU32,
    doorbell: Doorbell,
    event: AtomicBool,
}

impl Wire {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            published: AtomicU32::new(0),
            doorbell: Doorbell::new(),
            event: AtomicBool::new(false),
        })
    }

    fn publish(&self, frame: u32) {
        self.published.store(frame, Release);
        if self.doorbell.ring(FRAMES) {
            self.event.swap(true, AcqRel);
        }
    }

    /// What `arm` does for frames; true when there is something, false when the reader would sleep.
    fn arm(&self, seen: u32) -> bool {
        self.event.swap(false, AcqRel);
        self.doorbell.ask(FRAMES | ROOM);
        let found = self.published.load(Acquire) != seen;
        if found {
            self.doorbell.withdraw();
        }
        found
    }
}

#[test]
fn a_frame_published_while_the_reader_falls_asleep_is_found_or_wakes_it() {
    loom::model(|| {
        let wire = Wire::new();
        let writer = loom::thread::spawn({
            let wire = wire.clone();
            move || wire.publish(1)
        });
        let found = wire.arm(0);
        writer.join().unwrap();
        assert!(found || wire.event.load(Acquire), "the reader sleeps for ever");
    });
}

#[test]
fn a_reader_that_arms_again_with_its_old_request_standing_misses_nothing() {
    loom::model(|| {
        let wire = Wire::new();
        let writer = loom::thread::spawn({
            let wire = wire.clone();
            move || (1..=2).for_each(|frame| wire.publish(frame))
        });
        // It was woken by a timer, so nobody took its first request back.
        let _ = wire.arm(0);
        let seen = wire.published.load(Acquire);
        let found = wire.arm(seen);
        writer.join().unwrap();
        let missed = !found && wire.published.load(Acquire) != seen && !wire.event.load(Acquire);
        assert!(!missed, "the reader sleeps although a frame is there");
    });
}
