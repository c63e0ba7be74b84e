//! The link: Ethernet in and out, the loopback ring, and the round robin over what wants to send.

mod ethernet;
mod loopback;
mod round_robin;

pub(crate) use ethernet::LinkInput;
pub(crate) use loopback::Loopback;
pub(crate) use round_robin::{Provider, RoundRobin, Want};
