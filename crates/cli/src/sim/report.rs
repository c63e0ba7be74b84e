//! What is told of runs.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;
use sunstar_sim::explore::Run;

use super::Summary;
use super::jobs::Job;

/// Lines shown of what happened last.
const LAST: usize = 20;

/// A run that has failed.
#[derive(Debug, Serialize)]
pub(super) struct Failed {
    pub(super) scenario: String,
    pub(super) seed: u64,
    /// Which invariant does not hold; none if it was a panic.
    pub(super) invariant: Option<u8>,
    pub(super) what: String,
    /// When, in the run's own time.
    pub(super) at_seconds: f64,
    /// Of the smaller plan: what happens in it.
    pub(super) errands: usize,
    pub(super) faults: usize,
    pub(super) last_events: Vec<String>,
    /// Where the smaller plan is, and its capture.
    pub(super) plan: Option<PathBuf>,
    pub(super) capture: Option<PathBuf>,
}

impl Failed {
    pub(super) fn new(job: &Job, run: &Run) -> Self {
        let failure = run.failure.clone();
        let field = failure.as_ref();
        Self {
            scenario: job.scenario.clone(),
            seed: job.seed,
            invariant: field.and_then(|failure| failure.invariant),
            what: field.map(|failure| failure.what.clone()).unwrap_or_default(),
            at_seconds: field.map_or(0.0, |failure| failure.at.as_secs_f64()),
            errands: 0,
            faults: 0,
            last_events: failure.map(|failure| failure.last_events).unwrap_or_default(),
            plan: None,
            capture: None,
        }
    }
}

/// A summary for people.
pub(super) fn lines(summary: &Summary) -> String {
    let Summary { seeds, events, simulated_seconds, wall_seconds, failures, trace_hash, failed } = summary;
    let per_second = |number: f64| number / wall_seconds.max(1e-9);
    let mut text = String::new();
    for failure in failed {
        write_failed(&mut text, failure);
    }
    let _ = writeln!(
        text,
        "{seeds} seeds in {wall_seconds:.1} s: {events} events ({:.0} a second), {:.1} hours simulated ({:.0} s a second)",
        per_second(*events as f64),
        simulated_seconds / 3_600.0,
        per_second(*simulated_seconds),
    );
    let _ = write!(text, "{failures} failed; trace hash {trace_hash}");
    text
}

fn write_failed(text: &mut String, failed: &Failed) {
    let Failed { scenario, seed, what, at_seconds, errands, faults, .. } = failed;
    let rule = failed.invariant.map_or("a panic".into(), |number| format!("invariant {number}"));
    let _ = writeln!(text, "{scenario}, seed {seed}, at {at_seconds:.6} s: {rule}: {what}");
    if let (Some(plan), Some(capture)) = (&failed.plan, &failed.capture) {
        let _ = writeln!(
            text,
            "  made smaller, {errands} errands and {faults} faults: `sunstar sim --plan {}`; its frames: {}",
            plan.display(),
            capture.display()
        );
    }
    let _ = writeln!(text, "  the whole: `sunstar sim --scenario {scenario} --seed {seed}`");
    let skipped = failed.last_events.len().saturating_sub(LAST);
    for line in &failed.last_events[skipped..] {
        let _ = writeln!(text, "    {line}");
    }
}
