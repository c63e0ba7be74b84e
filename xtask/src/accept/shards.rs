//! Several shards under load for longer, and their protocols on real threads.

use crate::failure::Failure;
use crate::interop::{Stage, by_software, by_the_program, through_proxies};
use crate::workspace::{cargo, run_to_success};

/// How many packets and control messages cross the mesh, on real threads that fall asleep at random.
const MESSAGES: (&str, &str) = ("SUNSTAR_MESH_MESSAGES", "10000000");

/// How long each load lasts, in seconds.
const SECONDS: u64 = 10;

pub(super) fn two_shards_by_the_program(stage: &Stage) -> Result<(), Failure> {
    by_the_program(stage, SECONDS)
}

pub(super) fn two_shards_by_software(stage: &Stage) -> Result<(), Failure> {
    by_software(stage, SECONDS)
}

pub(super) fn four_shards_on_one_queue(stage: &Stage) -> Result<(), Failure> {
    through_proxies(stage, "1", SECONDS)
}

pub(super) fn four_shards_on_two_queues(stage: &Stage) -> Result<(), Failure> {
    through_proxies(stage, "2", SECONDS)
}

pub(super) fn ten_million_messages(_stage: &Stage) -> Result<(), Failure> {
    let mut test = cargo("test --package sunstar --release --test mesh -- --nocapture");
    run_to_success(test.env(MESSAGES.0, MESSAGES.1))
}
