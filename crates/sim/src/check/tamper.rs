//! What a scenario breaks on purpose, to see that it is caught: between what the stack does and is, and those who judge it.

use sunstar_stack::{ControlBlock, Fill};

/// Changes bytes, or a reading.
type Change<T> = Option<Box<dyn FnMut(&mut T)>>;

/// What is broken about a machine. Without a word, nothing.
#[derive(Default)]
pub struct Tampering {
    /// The frames that it sends.
    pub sent: Change<Vec<u8>>,
    /// The frames that it gets, as the judge sees them; the stack gets them as they are.
    pub delivered: Change<Vec<u8>>,
    /// The control blocks of its connections.
    pub blocks: Change<ControlBlock>,
    /// How full its queues are.
    pub fills: Change<Fill>,
    /// Its applications are not told what has become ready.
    pub deaf: bool,
}

impl Tampering {
    pub(crate) fn sent(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        changed(&mut self.sent, frame)
    }

    pub(crate) fn delivered(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        changed(&mut self.delivered, frame)
    }

    pub(crate) fn block(&mut self, block: &mut ControlBlock) {
        if let Some(change) = &mut self.blocks {
            change(block);
        }
    }

    pub(crate) fn fill(&mut self, mut fill: Fill) -> Fill {
        if let Some(change) = &mut self.fills {
            change(&mut fill);
        }
        fill
    }
}

fn changed(change: &mut Change<Vec<u8>>, frame: &[u8]) -> Option<Vec<u8>> {
    let change = change.as_mut()?;
    let mut bytes = frame.to_vec();
    change(&mut bytes);
    Some(bytes)
}
