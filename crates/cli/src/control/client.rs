//! Asking a control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use sunstar::control::{AnswerError, Question, read_answer};

/// How long an answer may take; a shard that is held by a task answers late.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer at most: some hundreds of shards take a megabyte, and thousands of sockets a few.
const ANSWER: u64 = 64 << 20;

/// A client of one stack.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody answers there, or it is not for this user.
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The stack has ended, or does not answer in time; what it says is not understood; it refuses, which is an error of
    /// the kind [`io::ErrorKind::Other`].
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, question: &Question) -> io::Result<T> {
        self.stream.get_mut().write_all(question.to_line().as_bytes())?;
        let mut line = String::new();
        if (&mut self.stream).take(ANSWER).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read_answer(&line).map_err(|error| {
            let kind = match error {
                AnswerError::Refused(_) => io::ErrorKind::Other,
                AnswerError::NotUnderstood(_) => io::ErrorKind::InvalidData,
            };
            io::Error::new(kind, error)
        })
    }
}
