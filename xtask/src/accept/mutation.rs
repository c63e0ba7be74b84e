//! Frames of all kinds with bytes changed, by the million: nothing may break, and every drop has a name.

use crate::failure::Failure;
use crate::interop::Stage;
use crate::workspace::{cargo, run_to_success};

/// How many frames the test is to make of the real ones; on its own it makes fewer.
const FRAMES: (&str, &str) = ("SUNSTAR_MUTATED_FRAMES", "1000000");

/// Runs the simulator's test of it, optimised, under our deadline and not that of a unit test.
pub(super) fn a_million_mutated_frames(_stage: &Stage) -> Result<(), Failure> {
    let mut test = cargo("test --package sunstar-sim --release --test mutated -- --nocapture");
    run_to_success(test.env(FRAMES.0, FRAMES.1))
}
