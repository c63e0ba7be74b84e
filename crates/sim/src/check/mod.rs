//! Judges what a host says, from outside: every frame on its own, and every connection as it goes on.

mod flow;
mod wire;

pub(crate) use flow::Flows;
pub(crate) use wire::check_frame;
