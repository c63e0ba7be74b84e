//! More of the simulator than a test run has time for.

use crate::failure::Failure;
use crate::interop::Stage;
use crate::simulator;
use crate::workspace::{cargo, run_to_success};

/// Seeds of the long run.
const SEEDS: u64 = 20_000;

/// How many transfers the test is to make; on its own it makes fewer.
const TRANSFERS: (&str, &str) = ("SUNSTAR_TRANSFERS", "10000");

pub(super) fn twenty_thousand_seeds(_stage: &Stage) -> Result<(), Failure> {
    simulator::many_seeds(SEEDS)
}

/// The simulator's test of it, optimised, under our deadline and not that of a unit test.
pub(super) fn ten_thousand_transfers_at_thirty_percent_loss(_stage: &Stage) -> Result<(), Failure> {
    let mut test = cargo("test --package sunstar-sim --profile checked --test world thirty -- --nocapture");
    run_to_success(test.env(TRANSFERS.0, TRANSFERS.1))
}
