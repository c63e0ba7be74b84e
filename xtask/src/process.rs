//! Running other programs: each has a deadline, leads its own process group, and is ended by its id.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use thiserror::Error;

use crate::cleanup::{Leftover, Registration};

#[cfg(test)]
mod tests;

/// Why running a program failed. The messages hold what the program printed.
#[derive(Debug, Error)]
pub(crate) enum ProcessError {
    /// The program could not be started or watched.
    #[error("cannot run `{command}`: {source}")]
    Start {
        /// The command line.
        command: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The program outlived its deadline and was ended.
    #[error("`{command}` had not ended after {} s and was killed\n{output}", deadline.as_secs_f32())]
    Deadline {
        /// The command line.
        command: String,
        /// How long it was given.
        deadline: Duration,
        /// What it printed.
        output: String,
    },
    /// The program ended with another status than 0.
    #[error("`{command}` failed: {status}\n{output}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// A service ended, or its deadline passed, before it printed the awaited line.
    #[error("`{command}` {why} before it printed the line that was waited for\n{output}")]
    NotReady {
        /// The command line.
        command: String,
        /// What happened instead.
        why: &'static str,
        /// What it printed.
        output: String,
    },
}

/// What a program that ended has printed.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it wrote to its standard output.
    pub(crate) stdout: String,
    /// What it wrote to its standard error.
    pub(crate) stderr: String,
}

impl Finished {
    /// Both outputs, headed, for a failure's message.
    pub(crate) fn output(&self) -> String {
        both_outputs(&self.stdout, &self.stderr)
    }
}

/// How much of an output a message holds: the end is what tells why.
const LINES_SHOWN: usize = 60;

fn both_outputs(stdout: &str, stderr: &str) -> String {
    let mut text = String::new();
    for (name, output) in [("stdout", stdout), ("stderr", stderr)] {
        let lines: Vec<&str> = output.trim_end().lines().collect();
        let hidden = lines.len().saturating_sub(LINES_SHOWN);
        if hidden > 0 {
            let _ = writeln!(text, "--- its {name}, after {hidden} other lines:");
        } else if !lines.is_empty() {
            let _ = writeln!(text, "--- its {name}:");
        }
        for line in &lines[hidden..] {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// Runs a program to its end with its output captured; any status is a success here.
pub(crate) fn capture(command: &mut Command, deadline: Duration) -> Result<Finished, ProcessError> {
    Service::start(command)?.finish(deadline)
}

/// Runs a program to its end with its output captured; another status than 0 is an error.
pub(crate) fn capture_success(command: &mut Command, deadline: Duration) -> Result<Finished, ProcessError> {
    Service::start(command)?.finish_successfully(deadline)
}

/// Runs a program that prints on our own standard output and error; another status than 0 is an error.
pub(crate) fn stream(command: &mut Command, deadline: Duration) -> Result<(), ProcessError> {
    let line = command_line(command);
    let start_error = |source| ProcessError::Start { command: line.clone(), source };
    let mut running = Running::start(command).map_err(start_error)?;
    let output = String::new();
    match running.wait(deadline).map_err(start_error)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(ProcessError::Failed { command: line, status, output }),
        None => Err(ProcessError::Deadline { command: line, deadline, output }),
    }
}

/// The command as one would type it, for messages.
pub(crate) fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A child that leads its own process group. Dropping it kills the group.
#[derive(Debug)]
struct Running {
    child: Child,
    leader: Pid,
    /// Present until the child is reaped: from then on its id may be another's.
    registration: Option<Registration>,
}

impl Running {
    fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        let leader = Pid::from_child(&child);
        Ok(Self { child, leader, registration: Some(Registration::new(Leftover::Group(leader))) })
    }

    /// Waits for the end, `None` when the deadline passes first.
    fn wait(&mut self, deadline: Duration) -> io::Result<Option<ExitStatus>> {
        if self.registration.is_none() {
            return self.child.wait().map(Some);
        }
        let descriptor = pidfd_open(self.leader, PidfdFlags::empty())?;
        let until = Instant::now() + deadline;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.registration = None;
        self.child.wait().map(Some)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.registration.is_some() {
            Leftover::Group(self.leader).undo();
            let _ = self.wait(Duration::from_secs(5));
        }
    }
}

/// A program that runs beside us, its output collected. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Service {
    command: String,
    running: Running,
    stdout: Transcript,
    stderr: Transcript,
}

impl Service {
    /// Starts the program.
    pub(crate) fn start(command: &mut Command) -> Result<Self, ProcessError> {
        let line = command_line(command);
        let spawned = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut running = spawned.map_err(|source| ProcessError::Start { command: line.clone(), source })?;
        let stdout = Transcript::of(running.child.stdout.take());
        let stderr = Transcript::of(running.child.stderr.take());
        Ok(Self { command: line, running, stdout, stderr })
    }

    /// The program's process id (`ip netns exec`, `setpriv` and `taskset` keep it over their own `exec`).
    pub(crate) fn id(&self) -> u32 {
        self.running.child.id()
    }

    /// Waits until a line of standard output satisfies `find`, and returns what it found there.
    pub(crate) fn wait_for_line<T>(
        &self,
        deadline: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ProcessError> {
        self.wait_for_output(deadline, |text| text.lines().find_map(&find))
    }

    /// Waits until there is something in all that the standard output has so far.
    pub(crate) fn wait_for_output<T>(
        &self,
        deadline: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ProcessError> {
        self.stdout.wait_for(deadline, find).map_err(|why| {
            // The reason for an early end may still be on its way.
            if why == Transcript::ENDED {
                self.stderr.wait_closed(Duration::from_secs(1));
            }
            ProcessError::NotReady { command: self.command.clone(), why, output: self.output() }
        })
    }

    /// Both outputs so far.
    pub(crate) fn output(&self) -> String {
        both_outputs(&self.stdout.text(), &self.stderr.text())
    }

    /// Shares the outputs, which stay readable when the program is gone.
    pub(crate) fn transcripts(&self) -> Transcripts {
        let (stdout, stderr) = (self.stdout.clone(), self.stderr.clone());
        Transcripts { command: self.command.clone(), stdout, stderr }
    }

    /// Asks the program to end (SIGTERM) and waits for it.
    pub(crate) fn terminate(self, deadline: Duration) -> Result<Finished, ProcessError> {
        let _ = kill_process(self.running.leader, Signal::TERM);
        self.finish(deadline)
    }

    /// Waits for the program's own end, which must be with status 0.
    pub(crate) fn finish_successfully(self, deadline: Duration) -> Result<Finished, ProcessError> {
        let command = self.command.clone();
        let finished = self.finish(deadline)?;
        if !finished.status.success() {
            let output = finished.output();
            return Err(ProcessError::Failed { command, status: finished.status, output });
        }
        Ok(finished)
    }

    /// Waits for the program's own end; any status will do.
    pub(crate) fn finish(mut self, deadline: Duration) -> Result<Finished, ProcessError> {
        let waited = self.running.wait(deadline);
        let start_error = |source| ProcessError::Start { command: self.command.clone(), source };
        let Some(status) = waited.map_err(start_error)? else {
            let output = self.output();
            return Err(ProcessError::Deadline { command: self.command.clone(), deadline, output });
        };
        // A grandchild may hold the pipes open: what is there by then is what counts.
        self.stdout.wait_closed(Duration::from_secs(2));
        self.stderr.wait_closed(Duration::from_secs(2));
        Ok(Finished { status, stdout: self.stdout.text(), stderr: self.stderr.text() })
    }
}

/// What a service has printed, also after its end.
#[derive(Debug, Clone)]
pub(crate) struct Transcripts {
    command: String,
    stdout: Transcript,
    stderr: Transcript,
}

impl Transcripts {
    /// The command line and both outputs.
    pub(crate) fn text(&self) -> String {
        format!("`{}`\n{}", self.command, both_outputs(&self.stdout.text(), &self.stderr.text()))
    }
}

#[derive(Debug, Default)]
struct Collected {
    bytes: Vec<u8>,
    closed: bool,
}

/// One output of a child, collected by a thread as it comes.
#[derive(Debug, Clone)]
struct Transcript(Arc<(Mutex<Collected>, Condvar)>);

impl Transcript {
    const ENDED: &'static str = "ended";
    const TOO_LATE: &'static str = "took too long";

    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let transcript = Self(Arc::default());
        let writer = transcript.clone();
        std::thread::spawn(move || {
            if let Some(pipe) = pipe {
                writer.collect(pipe);
            }
            writer.lock().closed = true;
            writer.0.1.notify_all();
        });
        transcript
    }

    fn collect(&self, mut pipe: impl Read) {
        let mut buffer = [0; 64 * 1024];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    self.lock().bytes.extend_from_slice(&buffer[..length]);
                    self.0.1.notify_all();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    fn wait_closed(&self, deadline: Duration) {
        let _ = self.wait_for(deadline, |_| None::<()>);
    }

    /// Waits until `find` is satisfied by the text so far; says why it never was.
    fn wait_for<T>(&self, deadline: Duration, find: impl Fn(&str) -> Option<T>) -> Result<T, &'static str> {
        let until = Instant::now() + deadline;
        let mut collected = self.lock();
        loop {
            if let Some(found) = find(&String::from_utf8_lossy(&collected.bytes)) {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if collected.closed {
                return Err(Self::ENDED);
            }
            if left.is_zero() {
                return Err(Self::TOO_LATE);
            }
            collected = self.0.1.wait_timeout(collected, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
