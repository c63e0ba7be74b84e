//! (being built)

pub mod random;
pub mod time;
pub mod timer;
