//! `sunstar sim`: networks of simulated hosts, a great many of them, each from a seed, in as many processes as there are
//! cores. What fails is made smaller, and written down as a plan to run again and a capture to look at.

mod error;
mod explain;
mod jobs;
mod report;
mod worker;

use std::hash::Hasher;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use siphasher::sip::SipHasher13;
use sunstar_sim::explore::Run;
use sunstar_sim::plan::Plan;
use sunstar_sim::scenario::{ALL, Scenario};

use crate::failure::Failure;
use crate::options::SimOptions;
use crate::output::Output;
pub(crate) use error::SimError;
use jobs::{Job, Jobs};

/// Failures that are looked at closely; of further ones it is only told what is wrong.
const EXPLAINED: usize = 3;

/// What all runs together came to.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// Runs.
    seeds: u64,
    /// Turns taken, frames delivered, in all of them.
    events: u64,
    /// How much time has passed in all of them.
    simulated_seconds: f64,
    /// How long that took.
    wall_seconds: f64,
    /// Runs that have failed.
    failures: u64,
    /// Over the traces of all runs, in the order of the seeds.
    trace_hash: String,
    /// Each of them; the first with what happened last, and where it is written down.
    failed: Vec<report::Failed>,
}

/// Runs what is asked for; whether nothing has failed.
///
/// # Errors
/// There is no such scenario or plan, or no process could be started.
pub(crate) fn run(options: &SimOptions) -> Result<bool, Failure> {
    let output = Output::new(options.json);
    if options.worker {
        worker::serve()?;
        return Ok(true);
    }
    if options.list {
        let listed: Vec<_> = ALL.iter().map(|it| format!("{:12} {}", it.name, it.about)).collect();
        let names: Vec<_> = ALL.iter().map(|scenario| (scenario.name, scenario.about)).collect();
        output.say(listed.join("\n"), names)?;
        return Ok(true);
    }
    if let Some(path) = &options.plan {
        return run_plan(path, options, output);
    }
    let scenarios = chosen(&options.scenario)?;
    let work: Vec<Job> = match options.seed {
        Some(seed) => scenarios.iter().map(|scenario| Job::new(scenario, seed)).collect(),
        None => (0..options.seeds)
            .map(|number| {
                let scenario = scenarios[(number % scenarios.len() as u64) as usize];
                Job::new(scenario, number / scenarios.len() as u64)
            })
            .collect(),
    };
    let processes = options.jobs.or(std::thread::available_parallelism().ok()).map_or(1, usize::from);
    let started = std::time::Instant::now();
    let jobs = Jobs::new(work, processes, !options.json);
    let runs = jobs.run()?;
    let mut summary = sum_up(&runs, started.elapsed());
    for (number, (job, run)) in runs.iter().filter(|(_, run)| run.failure.is_some()).enumerate() {
        summary.failed.push(match number < EXPLAINED {
            true => explain::explain(job, run, &options.out)?,
            false => report::Failed { last_events: Vec::new(), ..report::Failed::new(job, run) },
        });
    }
    output.say(report::lines(&summary), &summary)?;
    Ok(summary.failures == 0)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, SimError> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let by_name = |name: &String| {
        Scenario::by_name(name).ok_or_else(|| SimError::NoScenario {
            name: name.clone(),
            there_are: ALL.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", "),
        })
    };
    names.iter().map(by_name).collect()
}

fn run_plan(path: &Path, options: &SimOptions, output: Output) -> Result<bool, Failure> {
    let text = std::fs::read_to_string(path).map_err(SimError::unreadable(path))?;
    let plan: Plan =
        serde_json::from_str(&text).map_err(|source| SimError::Plan { path: path.to_owned(), source })?;
    let started = std::time::Instant::now();
    let run = sunstar_sim::explore::run(&plan);
    let name = path.file_stem().map_or("plan".into(), |stem| stem.to_string_lossy().into_owned());
    let job = Job { scenario: name, seed: plan.seed };
    let mut summary = sum_up(&[(job.clone(), run.clone())], started.elapsed());
    if run.failure.is_some() {
        summary.failed.push(explain::explain_plan(&job, &plan, &run, &options.out)?);
    }
    output.say(report::lines(&summary), &summary)?;
    Ok(summary.failures == 0)
}

fn sum_up(runs: &[(Job, Run)], wall: Duration) -> Summary {
    let mut hasher = SipHasher13::new();
    let mut summary = Summary { wall_seconds: wall.as_secs_f64(), ..Summary::default() };
    let mut simulated = Duration::ZERO;
    for (_, run) in runs {
        hasher.write_u64(run.trace_hash);
        summary.seeds += 1;
        summary.events += run.events;
        simulated += run.simulated;
        summary.failures += u64::from(run.failure.is_some());
    }
    summary.simulated_seconds = simulated.as_secs_f64();
    summary.trace_hash = format!("{:016x}", hasher.finish());
    summary
}
