//! The thread of one shard: its executor, its driver, its application, and its part in an orderly end.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sunstar_packet::{
    Capabilities, DeviceCounters, DeviceError, FrameSource, LinkState, Packet, Pool, QueuePair,
};
use sunstar_stack::DhcpState;
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::time::Instant;

use super::host::{Common, QueueParts, ShardParts};
use super::phases::{Phase, Phases};
use crate::cores::{Core, Cores};
use crate::engine::{Driver, Engine, Wakeup};
use crate::error::RunError;
use crate::gateway::Gateway;
use crate::mesh::{ProxyQueue, SharedQueue};
use crate::stall::{Noted, Watch};

/// How often a shard that is being shut down is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// How long the last frames (resets, mostly) may take to leave, and lent buffers to come home.
const LAST_FRAMES: Duration = Duration::from_millis(100);
/// How long it may take to give a lease back: its server may have to be looked for.
const LAST_LEASE: Duration = Duration::from_millis(500);
/// How long a shard that is gone waits for its siblings to be gone, too.
const LAST_SIBLING: Duration = Duration::from_secs(1);

/// Where a shard's thread is.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) cores: Cores,
    /// Which core it is pinned to, if it is.
    pub(super) core: Option<Core>,
    /// How long the shard goes on turning with nothing to do.
    pub(super) spin: Duration,
    /// Where the thread notes what it does.
    pub(super) watch: Arc<Watch>,
}

impl Seat {
    /// An executor for a shard of this thread.
    pub(super) fn executor(&self) -> Result<LocalRuntime, RunError> {
        let cores = self.cores;
        let (falls_asleep, wakes) = (Arc::clone(&self.watch), Arc::clone(&self.watch));
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Threads for blocking work would be pinned to the shard's core otherwise.
            .on_thread_start(move || cores.release())
            .on_thread_park(move || falls_asleep.on_asleep())
            .on_thread_unpark(move || wakes.on_awake())
            .build_local(LocalOptions::default())
            .map_err(RunError::Executor)
    }
}

/// Makes a shard on this thread, which notes in `watch` what it does.
pub(super) fn make_engine<D>(
    common: &Common,
    watch: &Arc<Watch>,
    parts: &ShardParts<D>,
) -> Result<Rc<Engine>, RunError> {
    let engine = Engine::new(parts.birth.clone(), common.clock, Arc::clone(watch))?;
    engine.on_capture(parts.capture_failure.clone());
    if parts.birth.dhcp.is_some() {
        engine.on_dhcp(Arc::clone(&common.dhcp));
    }
    Ok(Rc::new(engine))
}

/// Has a shard take its turns. Inside its runtime.
pub(super) fn drive<D>(engine: &Rc<Engine>, parts: ShardParts<D>, wakeup: Wakeup) -> Result<(), RunError>
where
    D: QueuePair + Unpin + 'static,
{
    let queue = match parts.queue {
        QueueParts::Own(device, sharing) => {
            let shared = SharedQueue::new(device, sharing);
            engine.on_shares(shared.shares());
            ShardQueue::Own(shared)
        }
        QueueParts::Proxy(proxy) => {
            engine.on_proxy(proxy.owner());
            ShardQueue::Proxy(proxy)
        }
    };
    if let Some(program) = parts.program {
        engine.on_program(program);
    }
    let driver = Driver::new(Rc::clone(engine), queue, parts.mesh, wakeup).map_err(RunError::Executor)?;
    tokio::task::spawn_local(Noted::new(engine.watch(), "the shard's own turn", driver));
    Ok(())
}

/// Listeners stop, connections end or are reset at the deadline, the last frames leave; the shards of a host
/// together.
pub(super) async fn shut_down(
    engines: &[&Rc<Engine>],
    gateway: Option<&Gateway>,
    deadline: Duration,
    phases: &Phases,
) {
    phases.arrive(Phase::Applications);
    phases.all(Phase::Applications).await;
    engines.iter().for_each(|engine| engine.close_listeners());
    if let Some(gateway) = gateway {
        gateway.stop();
    }
    let is_quiet = || engines.iter().all(|engine| engine.is_quiet()) && gateway.is_none_or(Gateway::is_quiet);
    wait_until(is_quiet, deadline).await;
    engines.iter().for_each(|engine| engine.abort_connections());
    phases.arrive(Phase::Drained);
    phases.all(Phase::Drained).await;
    // No connection of any shard needs the address any longer.
    for engine in engines.iter().filter(|engine| engine.has_dhcp()) {
        let released = engine.call(|shard| {
            shard.dhcp_release();
            Ok(())
        });
        let is_released =
            || engine.read(|shard| shard.dhcp().is_none_or(|it| it.state() == DhcpState::Stopped));
        if released.is_ok() {
            wait_until(|| is_released().unwrap_or(true), LAST_LEASE).await;
        }
    }
    wait_until(|| !engines.iter().any(|engine| engine.has_work()), LAST_FRAMES).await;
    phases.arrive(Phase::Flushed);
    phases.all(Phase::Flushed).await;
}

async fn wait_until(condition: impl Fn() -> bool, at_most: Duration) {
    let deadline = Instant::now().checked_add(at_most);
    while !condition() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Ends shards whose tasks and devices are gone. How many of their buffers somebody on this thread still has.
pub(super) fn bury(engines: &[Rc<Engine>], phases: &Phases) -> usize {
    engines.iter().for_each(|engine| engine.end_shard());
    phases.arrive(Phase::Gone);
    phases.all_within(Phase::Gone, LAST_SIBLING);
    buffers_held(engines)
}

/// Buffers of dead shards that somebody on this thread still has. Those that a host on another thread has are given
/// a moment to come home.
fn buffers_held(engines: &[Rc<Engine>]) -> usize {
    let lent = || {
        engines.iter().map(|engine| {
            engine.pool().collect();
            engine.pool().counters().lent
        })
    };
    let deadline = std::time::Instant::now() + LAST_FRAMES;
    while lent().sum::<usize>() > 0 && std::time::Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
    let out: usize = engines.iter().map(|engine| engine.pool().buffers_out()).sum();
    out.saturating_sub(lent().sum())
}

/// What a shard sends and receives through: its own queue pair, or a sibling's.
enum ShardQueue<D> {
    Own(SharedQueue<D>),
    Proxy(ProxyQueue),
}

macro_rules! either {
    ($self:ident, $queue:ident => $call:expr) => {
        match $self {
            ShardQueue::Own($queue) => $call,
            ShardQueue::Proxy($queue) => $call,
        }
    };
}

impl<D: QueuePair> QueuePair for ShardQueue<D> {
    fn capabilities(&self) -> Capabilities {
        either!(self, queue => queue.capabilities())
    }

    fn pull(
        &mut self,
        pool: &Pool,
        budget: usize,
        source: &mut impl FrameSource,
    ) -> Result<usize, DeviceError> {
        either!(self, queue => queue.pull(pool, budget, source))
    }

    fn receive(
        &mut self,
        pool: &Pool,
        budget: usize,
        frames: &mut Vec<Packet>,
    ) -> Result<usize, DeviceError> {
        either!(self, queue => queue.receive(pool, budget, frames))
    }

    fn link(&self) -> LinkState {
        either!(self, queue => queue.link())
    }

    fn wants_room(&self) -> bool {
        either!(self, queue => queue.wants_room())
    }

    fn arm(&mut self, wants_room: bool) -> bool {
        either!(self, queue => queue.arm(wants_room))
    }

    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        either!(self, queue => queue.descriptor())
    }

    fn counters(&self) -> DeviceCounters {
        either!(self, queue => queue.counters())
    }
}
