//! The client's part on one shard: its share of the connections, and what they came to between two moments.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use sunstar::{Net, Remote, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Barrier, OnceCell, watch};
use tokio::task::JoinSet;

use super::counted::Counted;
use super::protocol::Hello;
use crate::failure::Failure;
use crate::network;
use crate::options::{PerfOptions, Target, Test};
use crate::signals::Signals;

/// What is not counted yet: windows open, and buffers grow.
const WARM_UP: Duration = Duration::from_millis(300);

/// Bytes sent at a time.
const CHUNK: usize = 64 << 10;

/// The longest latency that is told apart from longer ones, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// What all shards of the client are to do.
pub(super) struct Plan {
    target: Target,
    /// Where the target is, or why nobody knows: looked for once, for all shards.
    server: OnceCell<Result<SocketAddr, String>>,
    tests: Vec<Test>,
    seconds: Duration,
    streams: usize,
    shards: usize,
    size: u32,
    requests: Option<u64>,
    show_progress: bool,
    /// Where the shards meet before each test, and after it.
    together: Barrier,
    /// Says that the user wants an end.
    interrupted: watch::Sender<bool>,
    /// Whether the tests that come next are left out: the user has had enough, or a shard has failed.
    is_over: AtomicBool,
    /// The server's network, if it is in this process.
    server_side: OnceLock<Remote>,
}

impl Plan {
    pub(super) fn new(options: &PerfOptions, target: Target) -> Self {
        let shards = usize::from(options.network.shards());
        Self {
            target,
            server: OnceCell::new(),
            tests: options.tests(),
            seconds: Duration::from_secs(options.seconds),
            streams: usize::from(options.streams.get()).max(shards),
            shards,
            size: options.size,
            requests: options.requests.map(std::num::NonZeroU64::get),
            show_progress: !options.json,
            together: Barrier::new(shards),
            interrupted: watch::Sender::new(false),
            is_over: AtomicBool::new(false),
            server_side: OnceLock::new(),
        }
    }

    /// Where the server is.
    async fn server(&self, net: &Net) -> Result<SocketAddr, Failure> {
        let find = || async {
            let address =
                network::resolve(net, &self.target.host).await.map_err(|error| error.to_string())?;
            Ok(SocketAddr::from((address, self.target.port)))
        };
        self.server.get_or_init(find).await.clone().map_err(Failure::Name)
    }

    /// The server's network is in this process: what it counts is told, too.
    pub(super) fn is_against(&self, server: Remote) {
        // Each of its shards says so; any of them will do.
        let _ = self.server_side.set(server);
    }

    /// What the server has counted so far, if that can be known.
    async fn counted_by_server(&self) -> Option<Counted> {
        match self.server_side.get() {
            Some(server) => Some(Counted::by_host(server).await),
            None => None,
        }
    }

    /// One shard's part of a number of things.
    fn part(&self, shard: usize, all: usize) -> usize {
        all / self.shards + usize::from(shard < all % self.shards)
    }
}

/// What one shard measured, a test after the other.
#[derive(Default)]
pub(super) struct Measured {
    pub(super) tests: Vec<Figures>,
}

/// What one test came to.
#[derive(Clone)]
pub(super) struct Figures {
    pub(super) test: Test,
    pub(super) streams: usize,
    pub(super) elapsed: Duration,
    pub(super) bytes: u64,
    pub(super) requests: u64,
    pub(super) connections: u64,
    pub(super) client: Counted,
    /// Told by the client's first shard, for all of the server's.
    pub(super) server: Option<Counted>,
    /// Nanoseconds from a request to its answer, or from the start of a connection to its end.
    pub(super) latencies: Histogram<u64>,
}

impl Figures {
    /// What the hosts counted, as far as is known: the client, and a server in this process.
    pub(super) fn ends(&self) -> impl Iterator<Item = &Counted> {
        std::iter::once(&self.client).chain(&self.server)
    }
}

/// What the streams of a shard count.
struct Tally {
    bytes: Cell<u64>,
    requests: Cell<u64>,
    connections: Cell<u64>,
    /// Requests that may still be sent, or connections opened, if they are counted.
    left: Cell<Option<u64>>,
    latencies: RefCell<Histogram<u64>>,
}

impl Tally {
    fn answered(&self, asked: Instant) {
        self.requests.set(self.requests.get() + 1);
        // What takes longer counts as the longest.
        let nanoseconds = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.latencies.borrow_mut().saturating_record(nanoseconds);
    }

    /// Whether another request may be sent.
    fn take_request(&self) -> bool {
        match self.left.get() {
            None => true,
            Some(left) => {
                self.left.set(Some(left.saturating_sub(1)));
                left > 0
            }
        }
    }
}

/// What a shard has counted by a moment.
struct Reading {
    at: Instant,
    bytes: u64,
    requests: u64,
    connections: u64,
    client: Counted,
    server: Option<Counted>,
}

impl Reading {
    async fn now(net: &Net, plan: &Plan, tally: &Tally) -> Self {
        let server = if net.shard() == 0 { plan.counted_by_server().await } else { None };
        Self {
            at: Instant::now(),
            bytes: tally.bytes.get(),
            requests: tally.requests.get(),
            connections: tally.connections.get(),
            client: Counted::by_shard(net),
            server,
        }
    }
}

/// Runs every test, together with the other shards. A signal ends the one that is running early, and leaves out the rest.
///
/// # Errors
/// The server's name has no address, the server cannot be reached, or a connection broke off.
pub(super) async fn run(net: Net, plan: &Plan) -> Result<Measured, Failure> {
    // All shards are told the same, so none of them goes on alone.
    let server = plan.server(&net).await?;
    let listens = if net.shard() == 0 { until_interrupted(&net, plan) } else { Ok(()) };
    if listens.is_err() {
        plan.is_over.store(true, Ordering::Relaxed);
    }
    plan.together.wait().await;
    let mut measured = Measured::default();
    if plan.is_over.load(Ordering::Relaxed) {
        return listens.map(|()| measured);
    }
    for test in &plan.tests {
        plan.together.wait().await;
        let mut streams = JoinSet::new();
        let figures = measure(&net, plan, server, *test, &mut streams).await;
        if figures.is_err() || *plan.interrupted.borrow() {
            plan.is_over.store(true, Ordering::Relaxed);
        }
        // Between the two meetings nobody writes it, and all read the same. And nobody breaks connections off while
        // others still read counters.
        plan.together.wait().await;
        streams.shutdown().await;
        let is_over = plan.is_over.load(Ordering::Relaxed);
        measured.tests.push(figures.map_err(Failure::Measuring)?);
        if is_over {
            break;
        }
    }
    Ok(measured)
}

/// Has a task wait for a signal, which ends the measurement.
fn until_interrupted(net: &Net, plan: &Plan) -> Result<(), Failure> {
    let (mut signals, interrupted) = (Signals::listen()?, plan.interrupted.clone());
    net.spawn_named("whoever waits for signals", async move {
        signals.next().await;
        interrupted.send_replace(true);
    });
    Ok(())
}

async fn measure(
    net: &Net,
    plan: &Plan,
    server: SocketAddr,
    test: Test,
    tasks: &mut JoinSet<io::Result<()>>,
) -> io::Result<Figures> {
    let shard = usize::from(net.shard());
    let streams = plan.part(shard, plan.streams);
    let left = plan.requests.map(|all| plan.part(shard, all as usize) as u64);
    let latencies = Histogram::new_with_bounds(1, LONGEST, 3).map_err(io::Error::other)?;
    let tally = Rc::new(Tally {
        bytes: Cell::new(0),
        requests: Cell::new(0),
        connections: Cell::new(0),
        left: Cell::new(left),
        latencies: RefCell::new(latencies),
    });
    let mut interrupted = plan.interrupted.subscribe();
    // Ahead of all streams: it waits for the server, and what they did meanwhile would not be counted.
    let mut before = Reading::now(net, plan, &tally).await;
    for _ in 0..streams {
        tasks.spawn_local(stream(net.clone(), server, Hello { test, size: plan.size }, Rc::clone(&tally)));
    }
    let progress = (plan.show_progress && shard == 0).then(|| progress(test, plan.seconds));
    let work = async {
        if plan.requests.is_some() {
            while let Some(ended) = tasks.join_next().await {
                ended.map_err(io::Error::other)??;
            }
            return Ok(());
        }
        until(WARM_UP, tasks, None).await?;
        tally.latencies.borrow_mut().reset();
        before = Reading::now(net, plan, &tally).await;
        until(plan.seconds, tasks, progress.as_ref()).await
    };
    tokio::select! {
        ended = work => ended?,
        _ = interrupted.wait_for(|interrupted| *interrupted) => {}
    }
    let after = Reading::now(net, plan, &tally).await;
    if let Some(progress) = progress {
        progress.finish_and_clear();
    }
    let latencies = tally.latencies.borrow().clone();
    Ok(Figures {
        test,
        streams,
        elapsed: after.at.duration_since(before.at),
        bytes: after.bytes - before.bytes,
        requests: after.requests - before.requests,
        connections: after.connections - before.connections,
        client: after.client.since(&before.client),
        server: after.server.zip(before.server).map(|(after, before)| after.since(&before)),
        latencies,
    })
}

/// Waits so long, unless a stream breaks off before.
async fn until(
    duration: Duration,
    tasks: &mut JoinSet<io::Result<()>>,
    progress: Option<&ProgressBar>,
) -> io::Result<()> {
    let deadline = tokio::time::Instant::now() + duration;
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => return Ok(()),
            Some(ended) = tasks.join_next() => ended.map_err(io::Error::other)??,
            _ = tick.tick() => if let Some(progress) = progress { progress.inc(1) },
        }
    }
}

fn progress(test: Test, duration: Duration) -> ProgressBar {
    // It draws on a terminal only.
    let bar = ProgressBar::new(duration.as_millis() as u64 / 100);
    bar.println(format!("{test:?}..."));
    bar
}

/// One stream of a test, until it is aborted.
async fn stream(net: Net, server: SocketAddr, hello: Hello, tally: Rc<Tally>) -> io::Result<()> {
    if hello.test == Test::Connections {
        return connections(&net, server, hello, &tally).await;
    }
    let mut stream = open(&net, server, hello).await?;
    match hello.test {
        Test::Up => {
            let chunk = Bytes::from(vec![b'.'; CHUNK]);
            loop {
                stream.send_bytes(chunk.clone()).await?;
                tally.bytes.set(tally.bytes.get() + chunk.len() as u64);
            }
        }
        Test::Down => {
            while let Some(fragment) = stream.recv_fragment().await? {
                tally.bytes.set(tally.bytes.get() + fragment.len() as u64);
            }
            Err(io::ErrorKind::UnexpectedEof.into())
        }
        Test::Requests | Test::Connections => {
            let mut bytes = vec![0; hello.size as usize];
            while tally.take_request() {
                let asked = Instant::now();
                stream.write_all(&bytes).await?;
                stream.read_exact(&mut bytes).await?;
                tally.answered(asked);
            }
            Ok(())
        }
    }
}

async fn connections(net: &Net, server: SocketAddr, hello: Hello, tally: &Tally) -> io::Result<()> {
    let mut bytes = vec![0; hello.size as usize];
    while tally.take_request() {
        let asked = Instant::now();
        let mut stream = open(net, server, hello).await?;
        stream.write_all(&bytes).await?;
        stream.read_exact(&mut bytes).await?;
        // The server closes first.
        if stream.read(&mut bytes).await? > 0 {
            return Err(io::Error::other("the server says more than it was asked"));
        }
        tally.connections.set(tally.connections.get() + 1);
        tally.answered(asked);
    }
    Ok(())
}

async fn open(net: &Net, server: SocketAddr, hello: Hello) -> io::Result<TcpStream> {
    let mut stream = net.tcp_connect(server).await?;
    stream.set_nodelay(true)?;
    hello.say(&mut stream).await?;
    Ok(stream)
}
