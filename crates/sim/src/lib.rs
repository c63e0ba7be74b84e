//! Hosts and links in virtual time: real shards on a wire that loses, delays, repeats and forges.
//!
//! A [`Host`] is a real shard with a real pool, behind a queue pair that is the simulator's own. A [`Pair`]
//! joins two of them by a link with [`Impairments`], in one thread and in virtual time; a [`Script`] puts
//! one host before a peer that is the scenario itself, packet by packet. Nothing here waits: time jumps to the
//! next event. Everything that is left to chance comes from one seed, so the same seed gives the same frames at
//! the same times, which [`Trace::hash`] shows.
//!
//! A scenario reads like a sentence:
//!
//! ```
//! use sunstar_sim::{Pair, ms};
//!
//! let mut pair = Pair::builder().latency(ms(10)).loss(0.1).build();
//! let server = pair.b.udp_bind(53);
//! let client = pair.a.udp_bind(0);
//! pair.drop_next(1); // the question for the neighbour's station, which is asked again
//! pair.a.udp_send(client, pair.b.at(53), b"hello");
//! pair.drive();
//! pair.finish();
//! ```
//!
//! A [`World`] is any number of hosts of any number of shards, joined by a switch or a router, with applications that check
//! their own bytes and judges that look at the invariants after every event. It runs a [`plan`], which a [`scenario`] makes of
//! a seed; [`explore`] runs plans, and makes those that fail smaller.
//!
//! A [`gate::Gate`] puts a host under attack while it serves a healthy flow, and says what that came to. What is written on
//! `sunstar`'s async sockets runs in virtual time, too: see [`live`].
//!
//! Every frame that leaves a host is read by an independent parser, and its connections are watched from outside;
//! what they may not do ends the scenario with a dump. At the end of each scenario all sockets are closed, and
//! every buffer has to be home.

mod app;
mod check;
mod cluster;
pub mod craft;
pub mod decode;
pub mod explore;
mod frame;
pub mod gate;
mod host;
mod link;
#[cfg(feature = "live")]
pub mod live;
mod machine;
mod pair;
pub mod plan;
mod port;
pub mod scenario;
mod script;
mod trace;
mod world;

use std::time::Duration;

use sunstar_stack::random::Random;

pub use app::{Content, Dialogue, Errand, Outcome, PORT, Role};
pub use check::{Breach, Tampering};
pub use cluster::{Cluster, ClusterBuilder, Heard as HeardFromCluster};
pub use host::{Host, HostConfig};
pub use link::{Bursts, Impairments, LinkCounters};
pub use machine::{MachineConfig, Nic};
pub use pair::{Pair, PairBuilder};
pub use script::{Heard, Script, ScriptBuilder, Tcp, ack, data, fin, rst, syn, syn_ack, tcp};
pub use trace::{Fate, Trace};
pub use world::{Foreign, World};

/// One of the two ends of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The first host, 10.0.0.1.
    A,
    /// The second host, 10.0.0.2.
    B,
}

/// Bytes that look like noise and are always the same for the same `seed`: what a scenario sends.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random::from_seed(seed).fill(&mut bytes);
    bytes
}

/// So many microseconds.
pub const fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// So many milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// So many seconds.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
