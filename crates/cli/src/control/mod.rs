//! Running stacks, found and asked by their control sockets.

mod client;

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use sunstar::control::{DirectoryError, Instance, Question};

pub(crate) use client::Client;

/// Why no stack could be asked, or what it refuses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
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
    #[error("{path} does not answer: {source}; is it the control socket of a stack that runs?")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The stack does not do what was asked.
    #[error("{0}")]
    Refused(io::Error),
}

/// Connects to a stack: by the socket that was named, or the only one of this user that runs. Also where it is.
///
/// # Errors
/// None runs, several do, or it does not answer.
pub(crate) fn connect(named: Option<&Path>) -> Result<(PathBuf, Client), AskError> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => only_one()?,
    };
    let client = Client::connect(&path).map_err(|source| unreachable(&path, source))?;
    Ok((path, client))
}

/// Asks a stack that was connected to.
///
/// # Errors
/// It does not answer, or refuses.
pub(crate) fn ask<T: DeserializeOwned>(
    path: &Path,
    client: &mut Client,
    question: &Question,
) -> Result<T, AskError> {
    client.ask(question).map_err(|error| match error.kind() {
        io::ErrorKind::Other => AskError::Refused(error),
        _ => unreachable(path, error),
    })
}

fn unreachable(path: &Path, source: io::Error) -> AskError {
    AskError::Unreachable { path: path.to_owned(), source }
}

/// The socket of the one stack of this user that runs.
fn only_one() -> Result<PathBuf, AskError> {
    // A program that was killed leaves its socket behind.
    let answers = |path: &PathBuf| Client::connect(path).is_ok();
    let mut alive: Vec<_> = sunstar::control::sockets()?.into_iter().filter(answers).collect();
    match alive.len() {
        0 => Err(AskError::Nobody { directory: sunstar::control::default_directory()? }),
        1 => Ok(alive.remove(0)),
        _ => Err(AskError::Several { sockets: alive }),
    }
}

/// A stack in a line: whose it is, and since when.
pub(crate) fn headline(instance: &Instance) -> String {
    let Instance { program, pid, version, uptime } = instance;
    format!("{program}, process {pid}, sunstar {version}, up {}", duration(*uptime))
}

/// How long, in the two largest units.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_the_two_largest_units() {
        for (seconds, text) in
            [(59.9, "59 s"), (61.0, "1 min 1 s"), (7_260.0, "2 h 1 min"), (90_000.0, "1 d 1 h")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
