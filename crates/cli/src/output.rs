//! What the command prints: lines for people, or an object a line for programs.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

/// Where the command says what it has to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// Lines for people, or JSON.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether it is JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints something in the form that is asked for, and a newline.
    ///
    /// # Errors
    /// The standard output takes no more.
    pub(crate) fn say(self, text: impl Display, json: impl Serialize) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, &json)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()
    }

    /// Prints what the user should know of, though the command goes on.
    pub(crate) fn warn(self, message: impl Display) {
        let mut error = io::stderr().lock();
        // Nobody reads it, and the command goes on.
        let _ = if self.json {
            writeln!(error, "{}", json!({ "warning": message.to_string() }))
        } else {
            writeln!(error, "sunstar: {message}")
        };
    }

    /// Prints why the command fails.
    pub(crate) fn complain(self, message: impl Display, exit_code: u8) {
        let mut error = io::stderr().lock();
        let message = message.to_string();
        // When the standard error is gone, too, the exit code is all that is left to say.
        let _ = if self.json {
            writeln!(error, "{}", json!({ "error": message.trim_end(), "exit_code": exit_code }))
        } else {
            writeln!(error, "sunstar: {message}")
        };
    }
}
