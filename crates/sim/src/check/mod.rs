//! Judges what hosts say and are: every frame on its own, every connection as it goes on, from outside and from within.

mod breach;
mod flow;
mod judge;
mod memory;
mod received;
mod state;
mod tamper;
mod wire;

pub use breach::Breach;
pub(crate) use flow::Flows;
pub(crate) use judge::Judge;
pub use tamper::Tampering;
pub(crate) use wire::check_frame;
