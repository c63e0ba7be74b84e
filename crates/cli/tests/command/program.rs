//! Running the command, and reading what it says.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The command with these arguments.
pub(crate) fn sunstar(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunstar"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    sunstar(arguments).output().unwrap()
}

/// The command while it runs; it is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Program {
    /// Starts the command.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_by(sunstar(arguments))
    }

    /// Starts the command as it is described.
    pub(crate) fn start_by(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    /// The next line it prints, which is JSON.
    pub(crate) fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Waits until it has a handler for a signal, which would end it before.
    pub(crate) fn until_it_hears(&self, signal: Signal) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let handles = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            u64::from_str_radix(mask.trim(), 16).unwrap() & 1 << (signal.as_raw() - 1) != 0
        };
        while !handles() {
            assert!(Instant::now() < deadline, "it never listens for {signal:?}");
            std::thread::yield_now();
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What it prints from now on, and how it ends.
    pub(crate) fn rest(mut self) -> (String, ExitStatus) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `sunstar serve --json` on free ports of the loopback, ready.
pub(crate) struct Server {
    pub(crate) program: Program,
    /// What it said when it was ready.
    pub(crate) ready: Value,
}

impl Server {
    /// Starts it with these further arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_by(sunstar(&Self::arguments(arguments)))
    }

    /// All of its arguments, with these further ones.
    pub(crate) fn arguments<'a>(further: &[&'a str]) -> Vec<&'a str> {
        [&["serve", "--json", "--publish", "127.0.0.1:0:80"], further].concat()
    }

    /// Starts it as it is described.
    pub(crate) fn start_by(command: Command) -> Self {
        let mut program = Program::start_by(command);
        let ready = program.json();
        Self { program, ready }
    }

    /// Where its HTTP is reached.
    pub(crate) fn http(&self) -> SocketAddr {
        let url = self.ready["listening"].as_str().unwrap();
        url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap()
    }

    /// Where another of its services is reached.
    pub(crate) fn service(&self, name: &str) -> SocketAddr {
        self.ready[name].as_str().unwrap().parse().unwrap()
    }

    /// Asks it to end, and returns its last words; it must end with success.
    pub(crate) fn stop(self, signal: Signal) -> Value {
        self.program.signal(signal);
        let (last, status) = self.program.rest();
        assert!(status.success(), "{status}: {last}");
        serde_json::from_str(&last).unwrap()
    }
}
