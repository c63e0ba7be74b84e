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

/// What two threads share that each sleep for what the other does: frames one way, credits for them the other.
struct Proxy {
    frames: AtomicU32,
    credits: AtomicU32,
    owner: (Doorbell, AtomicBool),
    proxy: (Doorbell, AtomicBool),
}

/// Publishes into `what`, and rings a bell for it.
fn publish(what: &AtomicU32, value: u32, bell: &(Doorbell, AtomicBool), asked: u8) {
    what.store(value, Release);
    if bell.0.ring(asked) {
        bell.1.swap(true, AcqRel);
    }
}

/// Asks a bell, and looks once more; true when there is something.
fn arm(what: &AtomicU32, seen: u32, bell: &(Doorbell, AtomicBool), asked: u8) -> bool {
    bell.1.swap(false, AcqRel);
    bell.0.ask(asked);
    let found = what.load(Acquire) != seen;
    if found {
        bell.0.withdraw();
    }
    found
}

#[test]
fn the_owner_of_a_queue_and_a_proxy_never_both_sleep_with_something_to_do() {
    loom::model(|| {
        let shared = Arc::new(Proxy {
            frames: AtomicU32::new(0),
            credits: AtomicU32::new(0),
            owner: (Doorbell::new(), AtomicBool::new(false)),
            proxy: (Doorbell::new(), AtomicBool::new(false)),
        });
        let proxy = loom::thread::spawn({
            let shared = shared.clone();
            move || {
                // A frame goes, and with it the last credit; then it sleeps until there is one again.
                publish(&shared.frames, 1, &shared.owner, FRAMES);
                arm(&shared.credits, 0, &shared.proxy, FRAMES | ROOM)
            }
        });
        let mut owner_found = shared.frames.load(Acquire) == 1;
        if !owner_found {
            owner_found = arm(&shared.frames, 0, &shared.owner, FRAMES);
        }
        if owner_found {
            publish(&shared.credits, 1, &shared.proxy, ROOM);
        }
        let proxy_found = proxy.join().unwrap();
        if owner_found {
            assert!(proxy_found || shared.proxy.1.load(Acquire), "the proxy sleeps although it has a credit");
        } else {
            assert!(shared.owner.1.load(Acquire), "the owner sleeps although a frame is there");
        }
    });
}

#[test]
fn of_two_siblings_that_ring_at_once_neither_is_missed() {
    loom::model(|| {
        let shared = Arc::new((Doorbell::new(), AtomicBool::new(false)));
        let rings = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let siblings: Vec<_> = [FRAMES, ROOM]
            .into_iter()
            .enumerate()
            .map(|(ring, what)| {
                let (shared, rings) = (shared.clone(), rings.clone());
                loom::thread::spawn(move || publish(&rings[ring], 1, &shared, what))
            })
            .collect();
        shared.1.swap(false, AcqRel);
        shared.0.ask(FRAMES | ROOM);
        let found = rings.iter().any(|ring| ring.load(Acquire) != 0);
        siblings.into_iter().for_each(|sibling| sibling.join().unwrap());
        // Once woken, by whichever, it looks into every ring.
        assert!(found || shared.1.load(Acquire), "it sleeps although both have rung");
    });
}
