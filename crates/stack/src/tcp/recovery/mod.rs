//! Loss recovery: what the peer holds, what is taken for lost, and what may be in flight meanwhile.

mod scoreboard;

pub(crate) use scoreboard::{Phase, Scoreboard};
