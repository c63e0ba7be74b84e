//! `sunstar top`: a running stack, seen through its control socket.

mod client;
mod rates;
mod screen;
mod text;
mod view;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use sunstar::control::DirectoryError;

use crate::failure::Failure;
use crate::options::TopOptions;
use crate::output::Output;
use client::Client;

/// Why there is nothing to be seen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopError {
    /// There is no place to look for sockets.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Nobody answers.
    #[error(
        "no sunstar runs with a control socket in {directory}; start one (`sunstar serve`, or a program that calls Builder::control), or name its socket"
    )]
    Nobody {
        /// Where they were looked for.
        directory: PathBuf,
    },
    /// There is a choice.
    #[error("several run; name the socket of one: {}", .sockets.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(", "))]
    Several {
        /// Their sockets.
        sockets: Vec<PathBuf>,
    },
    /// The socket that was named does not answer.
    #[error("{path} does not answer: {source}")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
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
    let path = match &options.socket {
        Some(path) => path.clone(),
        None => only_one()?,
    };
    let mut client = connect(&path)?;
    let reading = client.read().map_err(|source| unreachable(&path, source))?;
    if options.once {
        output.say(text::Page(&reading), &reading)?;
        return Ok(());
    }
    screen::show(&path, client, reading, options.interval)?;
    Ok(())
}

fn connect(path: &Path) -> Result<Client, TopError> {
    Client::connect(path).map_err(|source| unreachable(path, source))
}

fn unreachable(path: &Path, source: std::io::Error) -> TopError {
    TopError::Unreachable { path: path.to_owned(), source }
}

/// The socket of the one stack of this user that runs.
fn only_one() -> Result<PathBuf, TopError> {
    // A program that was killed leaves its socket behind.
    let answers = |path: &PathBuf| Client::connect(path).is_ok();
    let mut alive: Vec<_> = sunstar::control::sockets()?.into_iter().filter(answers).collect();
    match alive.len() {
        0 => Err(TopError::Nobody { directory: sunstar::control::default_directory()? }),
        1 => Ok(alive.remove(0)),
        _ => Err(TopError::Several { sockets: alive }),
    }
}
