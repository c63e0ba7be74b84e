//! Steps as they pass or fail, each with its duration, and the tally that closes a run.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::failure::Failure;

struct Row {
    name: String,
    took: Duration,
    passed: bool,
}

/// The results of a run so far.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Runs one step, prints its name before and its result after, and says whether it passed.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<(), Failure>) -> bool {
        println!("==> {name}");
        let started = Instant::now();
        let result = work();
        let took = started.elapsed();
        match &result {
            Ok(()) => println!("    {name}: ok in {}", seconds(took)),
            Err(failure) => println!("{failure}\n    {name}: FAILED after {}", seconds(took)),
        }
        // What follows may be a child that writes to the same terminal or file.
        let _ = std::io::stdout().flush();
        self.rows.push(Row { name: name.to_owned(), took, passed: result.is_ok() });
        result.is_ok()
    }

    /// Prints every step's result and duration and, alone on the last line, the tally.
    pub(crate) fn close(self) -> ExitCode {
        println!();
        for row in &self.rows {
            let verdict = if row.passed { "ok    " } else { "FAILED" };
            println!("{verdict} {:>8}  {}", seconds(row.took), row.name);
        }
        let failed = self.rows.iter().filter(|row| !row.passed).count();
        println!("\n{} passed, {failed} failed", self.rows.len() - failed);
        if failed == 0 && !self.rows.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f32())
}
