//! Frames of all kinds with bytes changed, by the million: nothing may break, and every drop has a name.

use crate::failure::Failure;
use crate::interop::Stage;
use crate::workspace::{cargo, run_to_success};

/// How many frames the test is to make of the real ones; on its own it makes fewer.
const FRAMES: (&str, &str) = ("SUNSTAR_MUTATED_FRAMES", "1000000");

/// Runs the test of that name, optimised, wherever in the workspace it lives.
pub(super) fn a_million_mutated_frames(_stage: &Stage) -> Result<(), Failure> {
    let mut test = cargo("nextest run --workspace --release --no-tests=fail --no-capture -E test(mutated)");
    run_to_success(test.env(FRAMES.0, FRAMES.1))
}
