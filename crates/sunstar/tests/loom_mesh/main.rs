//! Models of the mesh: what the shards of a host say to each other, and how they sleep and are woken, in every
//! interleaving of a few preemptions, with every value that the memory orderings allow to be read.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p sunstar --release --test loom_mesh`. The mesh, the alarms and the loans
//! are the real ones; the rings are rtrb's in a build, and stand-ins of the same behaviour here. A shard that nobody
//! wakes fails a model as a deadlock.
#![cfg(loom)]

// The mesh finds its rings under this name.
extern crate self as rtrb;

#[path = "../../src/mesh/mod.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "a crate's module, of which models use a part")]
mod mesh;
#[path = "../messages/mod.rs"]
mod messages;
mod queue;
mod rings;
mod siblings;

use std::sync::OnceLock;

use sunstar_packet::{Memory, Pool, PoolConfig};
use sunstar_stack::Control;

use rings::{Consumer, Producer, PushError, RingBuffer};

/// Explores a model with so many preemptions at most; a thread that stops by itself costs none.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    messages();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Three control messages. They are a real shard's, which is in the hands of loom, too.
fn messages() -> &'static [Control] {
    static MESSAGES: OnceLock<Vec<Control>> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let (told, heard) = std::sync::mpsc::channel();
        loom::model(move || told.send(messages::control(3, pool(&Memory::new()))).unwrap());
        heard.recv().unwrap()
    })
}

/// A pool of four small slots, of which two can be lent at a time.
fn pool(memory: &Memory) -> Pool {
    let config = PoolConfig {
        small_size: 256,
        small_count: 4,
        staging_count: 0,
        max_loans: 2,
        ..PoolConfig::default()
    };
    Pool::new(memory, &config).unwrap()
}
