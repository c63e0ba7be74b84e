//! Judges what a host says, from outside: every frame on its own, and every connection as it goes on.

mod breach;
mod flow;
mod wire;

pub use breach::Breach;
pub(crate) use flow::Flows;
pub(crate) use wire::check_frame;
