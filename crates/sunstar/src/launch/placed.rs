//! What places packets on the queues of their shards: a program in the kernel where it can be had, or the shards
//! themselves.

use sunstar_device::tap::{TapQueue, TapSteering};
use sunstar_stack::steering::Steering;

use crate::engine::Program;
use crate::stats::{Steered, SteeredBy};

/// What places packets.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) program: Option<Program>,
    pub(super) steered: Steered,
}

impl Placed {
    /// The shards hand over what arrived at the wrong one; why there is nothing better, if there might be.
    pub(super) fn by_software(steering: &Steering, reason: Option<String>) -> Self {
        let by = if steering.shards() > 1 { SteeredBy::Software } else { SteeredBy::Nothing };
        Self { program: None, steered: Steered { by, reason } }
    }

    /// A program in the kernel for a tap of several queues; software where the kernel refuses it, or nobody wants it.
    pub(super) fn on_tap(steering: &Steering, queues: &[TapQueue], wanted: bool) -> Self {
        let Some(first) = queues.first() else { return Self::by_software(steering, None) };
        // A tap outlives its owners, and so does the program of the last one, whose key and table are nobody's now. A
        // kernel that cannot take it off has none.
        let _ = TapSteering::detach(first);
        if queues.len() == 1 || !wanted {
            return Self::by_software(steering, None);
        }
        let count = queues.len() as u16;
        let entries = steering.table().entries();
        let table: Vec<u16> = entries.iter().map(|shard| shard.0 % count).collect();
        let loaded = TapSteering::load(&steering.toeplitz().key().0).and_then(|mut program| {
            program.set_table(&table)?;
            program.attach(first)?;
            Ok(program)
        });
        match loaded {
            Ok(program) => Self {
                program: Some(Program::new(program, count)),
                steered: Steered { by: SteeredBy::Program, reason: None },
            },
            Err(error) => Self::by_software(steering, Some(error.to_string())),
        }
    }
}
