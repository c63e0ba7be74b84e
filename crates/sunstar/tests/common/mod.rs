//! What the tests share: a host alone, and two hosts on two threads with a wire between them.
#![allow(dead_code, unreachable_pub, reason = "no test uses all of it")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sunstar::wire::{self, WireConfig};
use sunstar::{Builder, Device, Net, RunError};
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

/// A test that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first host's address.
pub const A: [u8; 4] = [10, 0, 0, 1];
/// The second host's address.
pub const B: [u8; 4] = [10, 0, 0, 2];

/// Runs an application on a host that talks to itself, or to its gateway.
pub fn alone<F: Future>(application: impl FnOnce(Net) -> F) -> F::Output {
    try_alone(application).expect("the stack runs, and all buffers come home")
}

/// The same, with the error.
pub fn try_alone<F: Future>(application: impl FnOnce(Net) -> F) -> Result<F::Output, RunError> {
    run(Builder::new().shutdown_deadline(Duration::from_millis(500)), application)
}

/// Runs an application that must not hang.
pub fn run<F: Future>(builder: Builder, application: impl FnOnce(Net) -> F) -> Result<F::Output, RunError> {
    builder.run(|net| async move {
        let ended = tokio::time::timeout(PATIENCE, application(net)).await;
        ended.expect("the test hangs")
    })
}

/// Where two applications meet: each waits for the other, as often as they agreed on.
pub type Meeting = Arc<Barrier>;

/// Runs two applications on two hosts, on two threads, with a wire between them: `10.0.0.1` and `10.0.0.2`.
pub fn two_hosts<F, G>(
    config: &WireConfig,
    first: impl FnOnce(Net, Meeting) -> F + Send + 'static,
    second: impl FnOnce(Net, Meeting) -> G,
) -> (F::Output, G::Output)
where
    F: Future<Output: Send + 'static>,
    G: Future,
{
    two_hosts_that(|host| host, config, first, second)
}

/// The same with hosts that are described further.
pub fn two_hosts_that<F, G>(
    describe: fn(Builder) -> Builder,
    config: &WireConfig,
    first: impl FnOnce(Net, Meeting) -> F + Send + 'static,
    second: impl FnOnce(Net, Meeting) -> G,
) -> (F::Output, G::Output)
where
    F: Future<Output: Send + 'static>,
    G: Future,
{
    let (left, right) = wire::pair(config).expect("a wire takes two descriptors");
    let meeting = Arc::new(Barrier::new(2));
    let same = Arc::clone(&meeting);
    let other = std::thread::spawn(move || {
        let builder = Builder::new().device(Device::Wire(vec![left])).address("10.0.0.1/24".parse().unwrap());
        run(describe(builder), |net| first(net, same))
    });
    let builder = Builder::new().device(Device::Wire(vec![right])).address("10.0.0.2/24".parse().unwrap());
    let second = run(describe(builder), |net| second(net, meeting));
    let first = other.join().expect("the first host's thread ends well");
    let runs = "a host runs, and all its buffers come home";
    (first.expect(runs), second.expect(runs))
}

/// Bytes that are not the same anywhere.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&(state >> 8).to_ne_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Threads that are no shard: two, with a runtime that moves tasks between them.
pub struct Threads(Runtime);

/// Starts them.
pub fn threads() -> Threads {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    Threads(runtime.worker_threads(2).enable_all().build().expect("threads start"))
}

impl Threads {
    /// Runs a task on them, that must not hang.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.0.spawn(async move { tokio::time::timeout(PATIENCE, task).await.expect("the test hangs") })
    }
}
