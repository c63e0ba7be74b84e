//! `cargo xtask accept`: what takes minutes and gigabytes, or compares with others. Each part prints the
//! figures it judges by.

mod bulk;
mod impaired;
mod instructions;
mod ipv4;
mod mutation;
mod shards;
mod simulator;
mod speed;

use std::process::ExitCode;

use crate::failure::{Failure, ensure};
use crate::interop::{self, Stage};
use crate::report::Report;
use crate::{tools, workspace};

/// Speed and memory are judged as users get them.
const PROFILE: &str = "release";

/// One part of the acceptance.
struct Part {
    name: &'static str,
    run: fn(&Stage) -> Result<(), Failure>,
}

const PARTS: &[Part] = &[
    Part { name: "ping, curl and wrk, and what tshark thinks of it", run: bulk::ping_curl_and_wrk },
    Part { name: "a gibibyte each way, and what tshark thinks of it", run: bulk::a_gibibyte_each_way },
    Part { name: "a flood of fragments beside a download", run: ipv4::a_flood_of_fragments },
    Part { name: "100 MiB by a narrow path, with a router's word and without", run: ipv4::a_narrow_path },
    Part { name: "a million mutated frames", run: mutation::a_million_mutated_frames },
    Part { name: "twenty thousand seeds of the simulator", run: simulator::twenty_thousand_seeds },
    Part {
        name: "ten thousand transfers at thirty percent loss",
        run: simulator::ten_thousand_transfers_at_thirty_percent_loss,
    },
    Part { name: "two shards, steered by the kernel's program", run: shards::two_shards_by_the_program },
    Part { name: "two shards, steered by software", run: shards::two_shards_by_software },
    Part { name: "four shards on one queue", run: shards::four_shards_on_one_queue },
    Part { name: "four shards on two queues", run: shards::four_shards_on_two_queues },
    Part { name: "ten million messages between shards", run: shards::ten_million_messages },
    Part { name: "instructions a request and a connection", run: instructions::a_request_and_a_connection },
    Part {
        name: "the kernel's TCP under the same impairments",
        run: impaired::the_kernel_s_tcp_under_the_same_impairments,
    },
    Part { name: "speed beside the kernel", run: speed::beside_the_kernel },
];

/// Runs the parts whose name contains `only` (all, if it is `None`).
pub(crate) fn run(only: Option<&str>) -> ExitCode {
    let parts: Vec<&Part> =
        PARTS.iter().filter(|part| only.is_none_or(|only| part.name.contains(only))).collect();
    if parts.is_empty() {
        let names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
        eprintln!("no part is called {:?}; there are:\n  {}", only.unwrap_or_default(), names.join("\n  "));
        return ExitCode::FAILURE;
    }
    let mut report = Report::default();
    report.step("tools", || tools::ensure_installed(&tools::ACCEPTANCE.iter().copied().collect()));
    let built = report.step("release build", || workspace::build_sunstar(PROFILE).map(drop));
    for part in parts {
        report.step(part.name, || {
            ensure!(built, "there is no command to test: the release build failed");
            interop::ensure_possible()?;
            let stage = Stage::new(workspace::sunstar(PROFILE)?)?;
            stage.play(part.run)
        });
    }
    report.close()
}
