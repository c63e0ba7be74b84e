//! The name of a slot, by which accounts of who holds what are kept.

use std::ptr::NonNull;

use crate::home::Home;

/// Names a slot of a pool, among all pools that live at a time. Whoever has it holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId {
    home: usize,
    index: u32,
}

impl SlotId {
    pub(crate) fn new(home: NonNull<Home>, index: u32) -> Self {
        Self { home: home.as_ptr().addr(), index }
    }
}
