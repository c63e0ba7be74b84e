//! Why a step or an interop case failed, in words that help to put it right.

use std::io;

use thiserror::Error;

use crate::process::ProcessError;

/// What made a step or an interop case fail.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// A program could not be started, did not end in time, or said it failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Something was observed that must not be, or the reverse.
    #[error("{0}")]
    Expectation(String),
    /// The file system or a socket refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path or address.
        what: String,
        /// What the system answered.
        source: io::Error,
    },
}

impl Failure {
    /// Wraps a system error with what was being done, for `map_err`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Returns early with [`Failure::Expectation`] unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::failure::Failure::Expectation(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;
