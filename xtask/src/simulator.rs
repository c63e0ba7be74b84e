//! The simulator's seeds: every test run goes through thousands of them, the acceptance through more.

use std::time::Duration;

use serde_json::Value;

use crate::failure::{Failure, ensure};
use crate::{interop, process, workspace};

/// Seeds of a test run, over all scenarios in turn.
const SEEDS: u64 = 14_400;

/// Seeds that are run once more, in another process and one at a time, and have to come to the same.
const AGAIN: u64 = 360;

/// The least number of scenarios there are.
const SCENARIOS: usize = 12;

/// How long the seeds of a test run may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(8 * 60);

/// What the command says of its runs.
struct Summary(Value);

impl Summary {
    fn number(&self, field: &str) -> f64 {
        self.0[field].as_f64().unwrap_or_default()
    }

    fn hash(&self) -> &str {
        self.0["trace_hash"].as_str().unwrap_or_default()
    }
}

/// Runs so many seeds; an error if one fails, with everything that is known of it.
fn run(seeds: u64, jobs: Option<u64>, deadline: Duration) -> Result<Summary, Failure> {
    let out = workspace::target_directory()?.join("sim");
    std::fs::create_dir_all(&out).map_err(Failure::io(format!("make {}", out.display())))?;
    let mut command = std::process::Command::new(workspace::sunstar(interop::PROFILE)?);
    command.args(["sim", "--json", "--seeds", &seeds.to_string(), "--out"]).arg(&out);
    if let Some(jobs) = jobs {
        command.args(["--jobs", &jobs.to_string()]);
    }
    let finished = process::capture(&mut command, deadline)?;
    let summary = Summary(serde_json::from_str(&finished.stdout).unwrap_or_default());
    ensure!(finished.status.success(), "runs have failed:\n{:#}\n{}", summary.0, finished.stderr);
    ensure!(summary.number("seeds") == seeds as f64, "it ran other seeds than asked for: {:#}", summary.0);
    Ok(summary)
}

fn print(summary: &Summary) {
    let wall = summary.number("wall_seconds").max(1e-9);
    let (events, simulated) = (summary.number("events"), summary.number("simulated_seconds"));
    println!(
        "{} seeds in {wall:.1} s: {events} events, {:.0} a second; {:.1} hours simulated, {:.0} s a second; trace hash {}",
        summary.number("seeds"),
        events / wall,
        simulated / 3_600.0,
        simulated / wall,
        summary.hash(),
    );
}

/// The seeds of a test run.
pub(crate) fn seeds_of_every_scenario() -> Result<(), Failure> {
    workspace::build_sunstar(interop::PROFILE)?;
    let mut list = std::process::Command::new(workspace::sunstar(interop::PROFILE)?);
    let listed = process::capture_success(list.args(["sim", "--list"]), DEADLINE)?;
    let scenarios = listed.stdout.lines().count();
    ensure!(scenarios >= SCENARIOS, "there are {scenarios} scenarios only");
    println!("{scenarios} scenarios");
    print(&run(SEEDS, None, DEADLINE)?);
    let (together, alone) = (run(AGAIN, None, DEADLINE)?, run(AGAIN, Some(1), DEADLINE)?);
    println!("{AGAIN} seeds: trace hash {} in parallel, {} one at a time", together.hash(), alone.hash());
    ensure!(together.hash() == alone.hash(), "the same seeds came to something else");
    Ok(())
}

/// As many as a night has time for, or so.
pub(crate) fn many_seeds(seeds: u64) -> Result<(), Failure> {
    workspace::build_sunstar(interop::PROFILE)?;
    print(&run(seeds, None, Duration::from_secs(4 * 3_600))?);
    Ok(())
}
