//! A failed run, looked at closely: made smaller, written down as a plan, and captured.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use sunstar_sim::explore::{self, Run};
use sunstar_sim::plan::Plan;
use sunstar_sim::scenario::Scenario;

use super::SimError;
use super::jobs::Job;
use super::report::Failed;

/// Plans that are tried to make one smaller.
const TRIES: u32 = 500;

/// Explains a failed seed.
///
/// # Errors
/// The files could not be written.
pub(super) fn explain(job: &Job, run: &Run, out: &Path) -> Result<Failed, SimError> {
    match Scenario::by_name(&job.scenario) {
        // What has ended its process would end this one, too.
        Some(scenario) if run.events > 0 => explain_plan(job, &scenario.plan(job.seed), run, out),
        _ => Ok(Failed::new(job, run)),
    }
}

/// Explains a plan that has failed.
///
/// # Errors
/// The files could not be written.
pub(super) fn explain_plan(job: &Job, plan: &Plan, run: &Run, out: &Path) -> Result<Failed, SimError> {
    let smallest = explore::minimise(plan, TRIES);
    let (small_run, world) = explore::run_with(&smallest, |world| world.trace.keep_all());
    let path = |extension: &str| out.join(format!("sim-{}-{}.{extension}", job.scenario, job.seed));
    let (plan_path, capture_path) = (path("json"), path("pcapng"));
    let text = serde_json::to_vec_pretty(&smallest)
        .map_err(|error| SimError::Unwritable { path: plan_path.clone(), source: error.into() })?;
    fs::write(&plan_path, text).map_err(SimError::unwritable(&plan_path))?;
    write_capture(&world, &capture_path).map_err(SimError::unwritable(&capture_path))?;
    let last_events = small_run.failure.map(|failure| failure.last_events).unwrap_or_default();
    Ok(Failed {
        last_events,
        errands: smallest.errands.len(),
        faults: smallest.faults.len(),
        plan: Some(plan_path),
        capture: Some(capture_path),
        ..Failed::new(job, run)
    })
}

fn write_capture(world: &sunstar_sim::World, path: &PathBuf) -> std::io::Result<()> {
    world.trace.write_pcapng(BufWriter::new(File::create(path)?))
}
