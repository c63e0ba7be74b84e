//! Why the simulator could not do its work.

use std::io;
use std::path::{Path, PathBuf};

/// Why the simulator could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SimError {
    /// A scenario nobody knows.
    #[error("no scenario is called `{name}`; there are {there_are}")]
    NoScenario {
        /// What was asked for.
        name: String,
        /// What there is.
        there_are: String,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}; say with --out where there is room", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is no plan.
    #[error("{} is no plan of this version: {source}", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A process could not be started, or talked to.
    #[error("cannot run a process for the seeds: {0}")]
    Process(io::Error),
}

impl SimError {
    pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unreadable { path, source }
    }

    pub(super) fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unwritable { path, source }
    }
}
