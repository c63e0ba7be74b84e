//! Applications in virtual time: what is written on `sunstar`'s async sockets, tested on simulated links.
//!
//! A [`Network`] runs any number of hosts as tasks of one tokio executor whose clock is stopped. Each host is a whole stack, as
//! [`Builder`](sunstar::Builder) describes it, of one shard or many; on it runs the code of production, with its
//! [`Net`](sunstar::Net), its `TcpStream`s, `tokio::time`, and libraries on top such as hyper. Links lose, delay, repeat and
//! damage what they carry ([`Impairments`](crate::Impairments)), by chances that come from one seed. Nothing waits: when every
//! task does, time goes on to whatever happens next, and an hour in which little happens is over at once.
//!
//! ```
//! use std::time::Duration;
//!
//! use sunstar_sim::live::{HostOptions, Network};
//! use sunstar_sim::{Impairments, ms};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut network = Network::new(7);
//! let server = network.host(HostOptions::default());
//! let link = Impairments { latency: ms(40), loss: 0.05, ..Impairments::default() };
//! let client = network.host(HostOptions::default().link(link));
//! let run = network.run(async {
//!     let listener = server.net().tcp_bind("0.0.0.0:7").await?;
//!     server.net().spawn(async move {
//!         let (mut stream, _) = listener.accept().await?;
//!         let (mut reader, mut writer) = stream.split();
//!         tokio::io::copy(&mut reader, &mut writer).await
//!     });
//!     let mut stream = client.net().tcp_connect(server.at(7)).await?;
//!     stream.write_all(b"hello").await?;
//!     let mut answer = [0; 5];
//!     tokio::time::timeout(Duration::from_secs(60), stream.read_exact(&mut answer)).await??;
//!     Ok::<_, std::io::Error>(answer)
//! })?;
//! assert_eq!(&run.output?, b"hello");
//! assert!(run.elapsed >= ms(160), "a handshake, a question and its answer, of 80 ms each");
//! # Ok(())
//! # }
//! ```
//!
//! # Time
//!
//! Stacks and links count microseconds. tokio's timers fire at whole milliseconds of the run, rounded up, as they do in
//! production; `tokio::time::Instant::now` has every microsecond. A run in which the application is never done, because all of
//! it waits for what does not come, ends with [`Error::Patience`] as soon as nothing else is left to happen. A task that never
//! waits stops time, and with it everybody else, as it does in production.
//!
//! # What is the same again
//!
//! The same seed gives the same frames at the same times, which [`Trace::hash`] shows, as long as the application does the
//! same: chance of its own (a `HashMap`'s order, a library's nonces) is not the network's, and tokio draws the order of a
//! `select!` unless it says `biased`. `std::time` does not stop. What other threads do (`spawn_blocking`) takes no virtual time
//! to speak of, and comes back when it likes. There is no I/O driver: a socket of the machine's cannot be opened by mistake.

mod clock;
mod conductor;
mod host;
mod queue;
mod wires;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sunstar::RunError;
use sunstar_stack::random::Random;
use sunstar_stack::time::Instant;
use tokio::runtime::{Handle, LocalOptions, LocalRuntime};

use crate::secs;
use crate::trace::Trace;
use clock::Clock;
use conductor::{Halt, Idle, conduct};
use host::Station;
pub use host::{Host, HostOptions};
use wires::Wires;

/// How long an application may take if nothing is said.
const PATIENCE: Duration = secs(3_600);

/// Hosts on a switch, and what runs on them.
pub struct Network {
    random: Random,
    patience: Duration,
    keeps_all: bool,
    stations: Vec<Rc<Station>>,
}

/// What a run came to.
pub struct Run<T> {
    /// What the application did.
    pub output: T,
    /// How long it took, in virtual time.
    pub elapsed: Duration,
    /// What crossed the links.
    pub trace: Trace,
}

/// Why a network could not be run, or did not end as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A host could not be started, or did not end as it should.
    #[error(transparent)]
    Stack(#[from] RunError),
    /// The executor could not be started.
    #[error("the executor could not be started: {0}")]
    Executor(io::Error),
    /// The application is not done, and its time is over.
    #[error(
        "the application is not done after {patience:?} of virtual time: what does it wait for? \
         (`Network::patience` gives it more)\n{frames}"
    )]
    Patience {
        /// How long it was given.
        patience: Duration,
        /// The last frames.
        frames: String,
    },
    /// Something happens again and again, and no time passes.
    #[error(
        "at {at} the network goes in circles: something happens again and again, and no time passes\n{frames}"
    )]
    Circles {
        /// When.
        at: Instant,
        /// The last frames.
        frames: String,
    },
    /// A host has sent what no host may: the fault is the stack's.
    #[error("at {at} a stack has sent what it may not: {what}\n{frames}")]
    Breach {
        /// When.
        at: Instant,
        /// What is wrong with it.
        what: String,
        /// The frames before it.
        frames: String,
    },
}

impl Network {
    /// A network without hosts. All that is left to chance comes from the seed.
    pub fn new(seed: u64) -> Self {
        let random = Random::from_seed(seed);
        Self { random, patience: PATIENCE, keeps_all: false, stations: Vec::new() }
    }

    /// How much virtual time the application may take before it is thought to be stuck: an hour if nothing is said.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Has the trace remember every frame, for a capture ([`Trace::write_pcapng`]), and not only the last hundred.
    pub fn keep_all(mut self) -> Self {
        self.keeps_all = true;
        self
    }

    /// Adds a host, which starts when the network runs. They are 10.0.0.1, 10.0.0.2 and so on.
    ///
    /// # Panics
    /// When there are 254 already: no address is left.
    pub fn host(&mut self, options: HostOptions) -> Host {
        assert!(self.stations.len() < 254, "10.0.0.0/24 has no address left for another host");
        let number = self.stations.len() as u8;
        let station = Rc::new(Station::new(number, options, &mut self.random));
        self.stations.push(Rc::clone(&station));
        Host::new(&station)
    }

    /// Starts all hosts, and runs the application until it is done; then shuts all stacks down as in production, and sees that
    /// every buffer is home. Tasks go on ([`Net::spawn`](sunstar::Net::spawn)) as long as the application does.
    ///
    /// # Errors
    /// See [`Error`]. What the application returns is no error of the run's.
    ///
    /// # Panics
    /// When the application does, with the last frames on standard error.
    pub fn run<F: Future>(self, application: F) -> Result<Run<F::Output>, Error> {
        if Handle::try_current().is_ok() {
            return Err(RunError::InsideExecutor.into());
        }
        let idle = Arc::new(Idle::default());
        let runtime = executor(&idle).map_err(Error::Executor)?;
        let wires = Rc::new(RefCell::new(Wires::new(self.stations.clone())));
        if self.keeps_all {
            wires.borrow_mut().trace.keep_all();
        }
        let run = self.run_inside(application, Rc::clone(&wires), idle);
        let ran = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run)));
        // Tasks go first, with the sockets and queues they own; then the shards.
        drop(runtime);
        let ended = self.stations.iter().map(|station| station.end()).collect::<Result<Vec<()>, _>>();
        let trace = Rc::into_inner(wires).expect("the conductor went with its executor").into_inner().trace;
        let (output, elapsed) = match ran {
            Ok(ran) => ran?.map_err(|halt| self.error(halt, &trace))?,
            Err(panic) => {
                eprintln!("{trace}");
                resume_unwind(panic)
            }
        };
        ended?;
        Ok(Run { output, elapsed, trace })
    }

    /// Inside the executor: from the start of all hosts to the end of all connections.
    async fn run_inside<F: Future>(
        &self,
        application: F,
        wires: Rc<RefCell<Wires>>,
        idle: Arc<Idle>,
    ) -> Result<Result<(F::Output, Duration), Halt>, RunError> {
        let clock = Clock::start();
        self.stations.iter().try_for_each(|station| station.start(clock))?;
        let end = Instant::ZERO + self.patience;
        let mut conductor = tokio::task::spawn_local(conduct(wires, idle, clock, end));
        let mut all = pin!(async {
            let output = application.await;
            let elapsed = clock.origin.elapsed();
            let shut_down = |station: &Rc<Station>| {
                let station = Rc::clone(station);
                tokio::task::spawn_local(async move { station.stack().shut_down().await })
            };
            for ended in self.stations.iter().map(shut_down).collect::<Vec<_>>() {
                ended.await.unwrap_or_else(|failed| resume_unwind(failed.into_panic()));
            }
            (output, elapsed)
        });
        let ran = poll_fn(|context| {
            if let Poll::Ready(done) = all.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            let halted = Pin::new(&mut conductor).poll(context);
            halted.map(|halted| Err(halted.unwrap_or_else(|failed| resume_unwind(failed.into_panic()))))
        });
        Ok(ran.await)
    }

    fn error(&self, halt: Halt, trace: &Trace) -> Error {
        let frames = trace.to_string();
        match halt {
            Halt::Patience => Error::Patience { patience: self.patience, frames },
            Halt::Circles(at) => Error::Circles { at, frames },
            Halt::Breach(at, breach) => Error::Breach { at, what: breach.to_string(), frames },
        }
    }
}

/// An executor whose clock is stopped, and which says when it has nothing to do.
fn executor(idle: &Arc<Idle>) -> io::Result<LocalRuntime> {
    let idle = Arc::clone(idle);
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_park(move || idle.on_idle())
        .build_local(LocalOptions::default())
}
