//! Asking a control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use sunstar::control::Introduction;

/// How long an answer may take; a shard that is held by a task answers late.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer at most: some hundreds of shards take a megabyte.
const ANSWER: u64 = 16 << 20;

/// A client of one stack.
#[derive(Debug)]
pub(super) struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody answers there, or it is not for this user.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// What the stack has counted by now.
    ///
    /// # Errors
    /// It has ended, it does not answer in time, or what it says is not understood.
    pub(super) fn read(&mut self) -> io::Result<Introduction> {
        self.stream.get_mut().write_all(b"stats\n")?;
        let mut line = String::new();
        if (&mut self.stream).take(ANSWER).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(|error| {
            let message =
                format!("it answers something else than this version of the command knows: {error}");
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }
}
