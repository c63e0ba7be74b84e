//! `sunstar top`: a running stack, seen through its control socket.

mod rates;
mod screen;
mod text;
mod view;

use std::io::IsTerminal;

use sunstar::control::Question;

use crate::control;
use crate::failure::Failure;
use crate::options::TopOptions;
use crate::output::Output;

/// Why there is nothing to be seen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopError {
    /// There is nothing to draw on.
    #[error("the standard output is no terminal; use `--once` for one reading as text, or `--once --json`")]
    NoTerminal,
}

/// Shows a running stack until the user has seen enough, or once.
///
/// # Errors
/// None runs, several do, or it does not answer; there is no terminal.
pub(crate) fn run(options: &TopOptions) -> Result<(), Failure> {
    let output = Output::new(options.json);
    if !options.once && !std::io::stdout().is_terminal() {
        return Err(TopError::NoTerminal.into());
    }
    let (path, mut client) = control::connect(options.socket.as_deref())?;
    let reading = control::ask(&path, &mut client, &Question::Stats)?;
    if options.once {
        output.say(text::Page(&reading), &reading)?;
        return Ok(());
    }
    screen::show(&path, client, reading, options.interval)?;
    Ok(())
}
