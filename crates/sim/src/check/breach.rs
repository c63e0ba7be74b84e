//! A broken invariant.

use std::fmt;

/// An invariant that does not hold, by its number on the list of them, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which, from 1 to 20.
    pub invariant: u8,
    /// What is wrong.
    pub what: String,
}

impl Breach {
    pub(crate) fn new(invariant: u8, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {} does not hold: {}", self.invariant, self.what)
    }
}

/// The breach of an invariant, unless something holds.
pub(crate) fn require(invariant: u8, holds: bool, else_say: impl FnOnce() -> String) -> Result<(), Breach> {
    if holds { Ok(()) } else { Err(Breach::new(invariant, else_say())) }
}
