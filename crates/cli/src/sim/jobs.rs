//! Seeds shared out among processes, one seed at a time, so that what one takes longer the others make up for. Which process
//! runs a seed changes nothing of what comes of it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sunstar_sim::explore::{Failure, Run};
use sunstar_sim::scenario::Scenario;

use super::SimError;

/// A seed to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) scenario: String,
    pub(super) seed: u64,
}

impl Job {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        Self { scenario: scenario.name.into(), seed }
    }
}

/// All seeds to be run, and those who run them.
pub(super) struct Jobs {
    work: Vec<Job>,
    processes: usize,
    next: AtomicUsize,
    done: Mutex<Vec<(usize, Run)>>,
    progress: ProgressBar,
}

impl Jobs {
    pub(super) fn new(work: Vec<Job>, processes: usize, shows_progress: bool) -> Self {
        let progress = match shows_progress {
            true => ProgressBar::new(work.len() as u64),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {eta} left {msg}");
        progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            processes: processes.clamp(1, work.len().max(1)),
            next: AtomicUsize::new(0),
            done: Mutex::new(Vec::with_capacity(work.len())),
            work,
            progress,
        }
    }

    /// Runs all of it; what came of each, in the order in which they were given.
    ///
    /// # Errors
    /// A process could not be started.
    pub(super) fn run(self) -> Result<Vec<(Job, Run)>, SimError> {
        let results: Vec<_> = thread::scope(|scope| {
            let workers: Vec<_> = (0..self.processes).map(|_| scope.spawn(|| self.work())).collect();
            workers.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        self.progress.finish_and_clear();
        for result in results {
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        let mut done = self.done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        done.sort_by_key(|(number, _)| *number);
        Ok(self.work.into_iter().zip(done.into_iter().map(|(_, run)| run)).collect())
    }

    /// Has a process run seeds until there are none left. One that ends is replaced: the seed has ended it.
    fn work(&self) -> Result<(), SimError> {
        let mut process = Process::start()?;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = self.work.get(number) else { return process.end() };
            let run = match process.ask(job) {
                Some(run) => run,
                None => {
                    let status = process.kill();
                    process = Process::start()?;
                    ended(&status)
                }
            };
            if run.failure.is_some() {
                self.progress.set_message(format!("({} seed {} has failed)", job.scenario, job.seed));
            }
            self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((number, run));
            self.progress.inc(1);
        }
    }
}

/// A run that has taken its process with it, or never came to an end.
fn ended(why: &str) -> Run {
    Run {
        events: 0,
        simulated: Duration::ZERO,
        trace_hash: 0,
        failure: Some(Failure {
            invariant: None,
            what: why.into(),
            at: Duration::ZERO,
            last_events: Vec::new(),
            shards: Vec::new(),
        }),
    }
}

/// How long a process may work on one seed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that runs seeds.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    /// What it says, line by line; whoever waits for it does so for a while only.
    output: Receiver<String>,
}

impl Process {
    fn start() -> Result<Self, SimError> {
        let program = std::env::current_exe().map_err(SimError::Process)?;
        let mut child = Command::new(program)
            .args(["sim", "--worker"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(SimError::Process)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or_else(|| SimError::Process(std::io::ErrorKind::BrokenPipe.into()))?;
        let (sender, receiver) = mpsc::channel();
        // It ends with the process, or when nobody listens any more.
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Self { child, input, output: receiver })
    }

    /// What came of a seed; `None` if the process is gone, or never comes to an end with it.
    fn ask(&mut self, job: &Job) -> Option<Run> {
        writeln!(self.input.as_mut()?, "{} {}", job.scenario, job.seed).ok()?;
        serde_json::from_str(&self.output.recv_timeout(PATIENCE).ok()?).ok()
    }

    /// Ends it, if it has not ended; how it has.
    fn kill(&mut self) -> String {
        self.input = None;
        match self.child.try_wait() {
            Ok(Some(status)) => format!("the process that ran it has ended: {status}"),
            _ => {
                // It may end at this very moment, which is as good.
                let _ = self.child.kill();
                let _ = self.child.wait();
                format!("it did not come to an end within {} s", PATIENCE.as_secs())
            }
        }
    }

    fn end(mut self) -> Result<(), SimError> {
        self.input = None;
        self.child.wait().map(drop).map_err(SimError::Process)
    }
}
