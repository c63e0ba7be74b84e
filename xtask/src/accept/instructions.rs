//! Instructions that a request takes, and a connection, both ends and everything between them included.
//!
//! `sunstar perf` joins two hosts in memory under callgrind, once for few requests and once for more: the difference is
//! what they took, whatever it takes to start. Threads run one after the other there, and the counts repeat within a few
//! hundredths on any machine.

use std::process::Command;
use std::time::Duration;

use crate::failure::{Failure, ensure};
use crate::interop::Stage;
use crate::{process, tools};

/// How often each thing is done, in the shorter run and in the longer one.
const COUNTS: [u64; 2] = [1_000, 4_000];

const DEADLINE: Duration = Duration::from_secs(120);

/// What is counted, with how many shards a host, and how many instructions it may take: a tenth more than it took when this
/// was written.
const MOST: [(&str, u64, u64); 6] = [
    ("requests", 1, 23_500),
    ("requests", 2, 28_000),
    ("requests", 4, 35_000),
    ("connections", 1, 82_000),
    ("connections", 2, 99_000),
    ("connections", 4, 120_000),
];

pub(super) fn a_request_and_a_connection(stage: &Stage) -> Result<(), Failure> {
    let mut too_many = Vec::new();
    for (test, shards, most) in MOST {
        let [fewer, more] = COUNTS.map(|count| count_instructions(stage, test, shards, count));
        let each = more?.saturating_sub(fewer?) / (COUNTS[1] - COUNTS[0]);
        println!("{test}, {shards} shards a host: {each} instructions each, {most} at most");
        if each > most || each == 0 {
            too_many.push(format!("{test} with {shards} shards: {each}, and not 1 to {most}"));
        }
    }
    ensure!(too_many.is_empty(), "not as many instructions as expected: {}", too_many.join("; "));
    Ok(())
}

fn count_instructions(stage: &Stage, test: &str, shards: u64, count: u64) -> Result<u64, Failure> {
    let mut command: Command = tools::VALGRIND.command();
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(stage.sunstar());
    command.args(["perf", "--no-spin", "--test", test]);
    command.args(["--shards", &shards.to_string(), "--requests", &count.to_string()]);
    let finished = process::capture_success(&mut command, DEADLINE)?;
    let text = finished.output();
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let instructions = collected.and_then(|(_, count)| count.trim().parse().ok());
    ensure!(instructions.is_some(), "callgrind collected nothing:\n{text}");
    Ok(instructions.unwrap_or_default())
}
