//! (being built)

pub mod random;
pub mod time;
