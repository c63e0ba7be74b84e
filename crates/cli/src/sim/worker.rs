//! A process that runs seeds: a line asks for one, a line of JSON answers.

use std::io::{self, BufRead, Write};

use sunstar_sim::explore;
use sunstar_sim::scenario::Scenario;

use super::SimError;

/// Answers until nobody asks any more.
///
/// # Errors
/// The standard input or output is broken.
pub(super) fn serve() -> Result<(), SimError> {
    let (input, mut output) = (io::stdin().lock(), io::stdout().lock());
    for line in input.lines() {
        let line = line.map_err(SimError::Process)?;
        let asked = line.split_once(' ');
        let read = asked.and_then(|(name, seed)| Some((Scenario::by_name(name)?, seed.parse().ok()?)));
        let Some((scenario, seed)) = read else {
            return Err(SimError::Process(io::Error::new(io::ErrorKind::InvalidInput, line)));
        };
        let run = explore::run(&scenario.plan(seed));
        serde_json::to_writer(&mut output, &run).map_err(|error| SimError::Process(error.into()))?;
        writeln!(output).and_then(|()| output.flush()).map_err(SimError::Process)?;
    }
    Ok(())
}
