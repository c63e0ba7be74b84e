//! One shard and everything that its thread shares about it: the state that sockets call and a driver moves.
//!
//! The shard and the table of those who wait are borrowed one after the other and never across a wake: waking
//! (or dropping a waker) may run an application's code, and that code may call a socket.

mod bell;
mod birth;
mod driver;
mod program;
mod socket;
mod waiters;
mod watch;

use std::cell::{Cell, RefCell};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use sunstar_packet::{DeviceCounters, DeviceError, Medium, Pool, QueuePair, RegionError};
use sunstar_stack::steering::ShardId;
use sunstar_stack::time::Instant;
use sunstar_stack::{FilterId, Mesh, Next, Shard, SocketError, SocketHandle, State};

use crate::clock::Clock;
use crate::dhcp::{self, Told};
use crate::filters::FilterMaker;
use crate::mesh::Shares;
use crate::stall::Watch;
use bell::Bell;
pub(crate) use birth::Birth;
use birth::Inheritance;
pub(crate) use driver::{Driver, Wakeup};
pub(crate) use program::Program;
pub(crate) use socket::Socket;
pub(crate) use waiters::Direction;
use waiters::WaiterTable;

/// What ended a capture early. The capture writes it, from wherever the device is.
pub(crate) type CaptureFailure = Arc<OnceLock<String>>;

/// What is known of the device under a shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeviceState {
    /// What it counted.
    pub(crate) counters: DeviceCounters,
    /// Why it failed, if it did.
    pub(crate) failure: Option<DeviceError>,
    /// Why its capture ended early, if it did.
    pub(crate) capture_failure: CaptureFailure,
    /// Whose queue the shard sends through.
    pub(crate) queue: Queue,
}

/// Whose queue a shard sends through.
#[derive(Clone, Debug, Default)]
pub(crate) enum Queue {
    /// Nothing is known yet.
    #[default]
    None,
    /// Its own, and who shares it.
    Own(Shares),
    /// A sibling's.
    Of(ShardId),
}

/// One shard with what its thread shares about it.
pub(crate) struct Engine {
    clock: Clock,
    birth: Birth,
    /// Shards that failed before this one: a socket of an earlier one is a socket of none.
    incarnation: Cell<u32>,
    pool: RefCell<Pool>,
    /// Nothing once `run` is over: sockets that outlive it get an error.
    shard: RefCell<Option<Shard>>,
    waiters: RefCell<WaiterTable>,
    /// Sockets closed by code that ran in the middle of a turn.
    closed: RefCell<Vec<SocketHandle>>,
    bell: Bell,
    watch: Arc<Watch>,
    device: RefCell<DeviceState>,
    /// Packets that wait for the shard in the mesh, and that waited in one ring at most.
    mesh_depth: Cell<(usize, usize)>,
    program: RefCell<Option<Program>>,
    /// The filters that every shard has, and their names on this one.
    filters: RefCell<Vec<(FilterMaker, FilterId)>>,
    /// Where the lease is told, if this shard gets it.
    dhcp: RefCell<Option<Told>>,
}

/// What a socket says when it is used while the shard is in the middle of something.
const REENTERED: SocketError = SocketError::InvalidInput {
    what: "a socket was called while bytes given to the stack were being dropped; do that from a task",
};

impl Engine {
    /// A new shard, and its engine, on the thread that `watch` is for.
    ///
    /// # Errors
    /// There is no memory for its buffers.
    pub(crate) fn new(birth: Birth, clock: Clock, watch: Arc<Watch>) -> Result<Self, RegionError> {
        let (shard, filters) = birth.shard(0, birth.inheritance(), &birth.filters, clock.now())?;
        let filters = birth.filters.iter().cloned().zip(filters).collect();
        Ok(Self {
            clock,
            birth,
            incarnation: Cell::new(0),
            pool: RefCell::new(shard.pool().clone()),
            shard: RefCell::new(Some(shard)),
            waiters: RefCell::default(),
            closed: RefCell::default(),
            bell: Bell::default(),
            watch,
            device: RefCell::default(),
            mesh_depth: Cell::default(),
            program: RefCell::default(),
            filters: RefCell::new(filters),
            dhcp: RefCell::default(),
        })
    }

    /// Which shard it is.
    pub(crate) fn id(&self) -> ShardId {
        self.birth.id
    }

    /// What its device carries.
    pub(crate) fn medium(&self) -> Medium {
        self.birth.device.medium
    }

    /// Until when its driver sleeps: [`Instant::MAX`] without a deadline, nothing while it is awake.
    pub(crate) fn asleep_until(&self) -> Option<Instant> {
        self.bell.asleep_until()
    }

    /// Wakes its driver, if it sleeps.
    pub(crate) fn wake(&self) {
        self.bell.wake();
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> u16 {
        self.birth.steering.shards()
    }

    /// Which shard it is, of those before it.
    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation.get()
    }

    /// The shard has panicked: what it had is gone, and a fresh one takes its place. Whoever waited for a socket of it
    /// is woken, and finds it aborted.
    fn replace_shard(&self, woken: &mut Vec<Waker>) {
        let broken = self.shard.borrow_mut().take();
        let inherited = broken.as_ref().map_or_else(|| self.birth.inheritance(), Inheritance::of);
        // The rest may be in any state; what cannot even be dropped is left where it is.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(broken)));
        self.closed.borrow_mut().clear();
        woken.extend(self.waiters.borrow_mut().close_all());
        self.incarnation.set(self.incarnation.get() + 1);
        let mut filters = self.filters.borrow_mut();
        let makers: Vec<_> = filters.iter().map(|(maker, _)| maker.clone()).collect();
        // Filters are made by an application's code, which may be what has panicked.
        let make = || self.birth.shard(self.incarnation.get(), inherited, &makers, self.clock.now());
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(make))
            .map_err(|_| "a packet filter could not be made again".to_owned())
            .and_then(|made| made.map_err(|error| error.to_string()));
        match made {
            Ok((mut fresh, installed)) => {
                *filters = makers.into_iter().zip(installed).collect();
                if self.device.borrow().failure.is_some() {
                    fresh.fail_device();
                }
                self.birth.memory().reclaim();
                self.pool.replace(fresh.pool().clone());
                self.shard.replace(Some(fresh));
            }
            // Sockets say that they are closed from here on.
            Err(reason) => self.on_device_failed(DeviceError { reason }),
        }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The shard's buffers.
    pub(crate) fn pool(&self) -> Pool {
        self.pool.borrow().clone()
    }

    /// Packets that wait for the shard in the mesh, and that waited in one ring at most.
    pub(crate) fn mesh_depth(&self) -> (usize, usize) {
        self.mesh_depth.get()
    }

    /// What its thread is doing.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// What is known of the device.
    pub(crate) fn device(&self) -> DeviceState {
        self.device.borrow().clone()
    }

    /// Calls the shard, and sees that it gets a turn if the call left something to do.
    ///
    /// # Errors
    /// What the call says; `Closed` once the shard is gone.
    pub(crate) fn call<T>(
        &self,
        call: impl FnOnce(&mut Shard) -> Result<T, SocketError>,
    ) -> Result<T, SocketError> {
        let mut borrowed = self.shard.try_borrow_mut().map_err(|_| REENTERED)?;
        let shard = borrowed.as_mut().ok_or(SocketError::Closed)?;
        if self.bell.is_asleep() {
            // The last turn may be long ago, and deadlines are counted from its time.
            shard.set_now(self.clock.now());
        }
        let result = call(shard);
        let wants_turn =
            self.bell.is_asleep() && (shard.has_work() || self.bell.sleeps_beyond(shard.next_deadline()));
        drop(borrowed);
        if wants_turn {
            self.bell.ring();
        }
        result
    }

    /// Notes that a socket has an owner, who can wait for it.
    pub(crate) fn open(&self, handle: SocketHandle) {
        self.waiters.borrow_mut().open(handle);
    }

    /// Closes a socket whose owner is gone.
    pub(crate) fn close(&self, handle: SocketHandle) {
        let waiting = self.waiters.borrow_mut().close(handle);
        let closed = self.call(|shard| {
            close(shard, handle);
            Ok(())
        });
        if closed == Err(REENTERED) {
            self.closed.borrow_mut().push(handle);
        }
        waiting.into_iter().for_each(Waker::wake);
    }

    /// One turn of the shard. The wakers of everybody whom it concerned go to `woken`, to be woken by the caller.
    ///
    /// # Errors
    /// The device is gone for good.
    fn turn(
        &self,
        device: &mut impl QueuePair,
        mesh: &mut impl Mesh,
        woken: &mut Vec<Waker>,
    ) -> Result<Option<Next>, DeviceError> {
        let mut borrowed = self.shard.borrow_mut();
        let Some(shard) = borrowed.as_mut() else { return Ok(None) };
        let turned = shard.turn(self.clock.now(), device, mesh);
        let mut closed = false;
        while let Some(handle) = self.next_closed() {
            close(shard, handle);
            closed = true;
        }
        let news = shard.take_dhcp_news().then(|| dhcp::status(shard));
        if let Some(program) = &mut *self.program.borrow_mut() {
            program.follow(shard.steering().owners());
        }
        let mut waiters = self.waiters.borrow_mut();
        while let Some((handle, ready)) = shard.poll_ready() {
            waiters.take(handle, ready, woken);
        }
        drop((borrowed, waiters));
        // Last of all: it wakes whoever waits for it.
        if let Some((told, news)) = self.dhcp.borrow().clone().zip(news) {
            told.send_replace(news);
        }
        // What a socket that closed has to say was not there yet when the turn looked.
        turned.map(|next| Some(Next { busy: next.busy || closed, ..next }))
    }

    fn next_closed(&self) -> Option<SocketHandle> {
        self.closed.borrow_mut().pop()
    }

    /// Takes note of how the device is; whether it moved anything since the last time.
    fn observe(&self, device: &impl QueuePair) -> bool {
        let mut state = self.device.borrow_mut();
        let counters = device.counters();
        let moved = (counters.received, counters.sent) != (state.counters.received, state.counters.sent);
        state.counters = counters;
        moved
    }

    /// Has a program in the kernel know what this shard knows of the owners of ports.
    pub(crate) fn on_program(&self, program: Program) {
        self.program.replace(Some(program));
    }

    /// Has the lease told there.
    pub(crate) fn on_dhcp(&self, told: Told) {
        self.dhcp.replace(Some(told));
    }

    /// Whether this shard gets the lease of all.
    pub(crate) fn has_dhcp(&self) -> bool {
        self.dhcp.borrow().is_some()
    }

    /// Installs a filter that every shard has, behind those already there. It comes again with a fresh shard.
    ///
    /// # Errors
    /// The shard is gone.
    pub(crate) fn install_filter(&self, maker: &FilterMaker) -> Result<(), SocketError> {
        let filter = maker.make(self.id().0);
        let id = self.call(|shard| Ok(shard.install_filter(filter)))?;
        self.filters.borrow_mut().push((maker.clone(), id));
        Ok(())
    }

    /// Removes a filter that every shard has; whether it was here.
    ///
    /// # Errors
    /// The shard is gone.
    pub(crate) fn remove_filter(&self, maker: &FilterMaker) -> Result<bool, SocketError> {
        let mut filters = self.filters.borrow_mut();
        let Some(at) = filters.iter().position(|(other, _)| other.is(maker)) else { return Ok(false) };
        let (_, id) = filters.remove(at);
        self.call(|shard| Ok(shard.remove_filter(id)))
    }

    /// Takes note of where a capture will say why it ended early.
    pub(crate) fn on_capture(&self, failure: CaptureFailure) {
        self.device.borrow_mut().capture_failure = failure;
    }

    /// Takes note of who shares the shard's queue.
    pub(crate) fn on_shares(&self, shares: Shares) {
        self.device.borrow_mut().queue = Queue::Own(shares);
    }

    /// Takes note of whose queue the shard sends through.
    pub(crate) fn on_proxy(&self, owner: ShardId) {
        self.device.borrow_mut().queue = Queue::Of(owner);
    }

    /// Takes note that the device has failed.
    fn on_device_failed(&self, error: DeviceError) {
        self.device.borrow_mut().failure = Some(error);
    }

    /// How many listeners have an owner.
    pub(crate) fn listeners(&self) -> usize {
        self.waiters.borrow().listeners().len()
    }

    /// Closes every listener; whoever waits for a connection gets an error.
    pub(crate) fn close_listeners(&self) {
        let listeners = self.waiters.borrow().listeners();
        for key in listeners {
            self.end(SocketHandle::Listener(key), |shard| shard.tcp_close_listener(key));
        }
    }

    /// Resets every connection that an application still has.
    pub(crate) fn abort_connections(&self) {
        let streams = self.waiters.borrow().streams();
        for key in streams {
            self.end(SocketHandle::Stream(key), |shard| shard.tcp_abort(key));
        }
    }

    /// Ends a socket under its owner, who hears of it from every call.
    fn end(&self, handle: SocketHandle, end: impl FnOnce(&mut Shard)) {
        let waiting = self.waiters.borrow_mut().close(handle);
        let _ = self.call(|shard| {
            end(shard);
            Ok(())
        });
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether the shard has nothing to send, and no connection that is not over.
    pub(crate) fn is_quiet(&self) -> bool {
        let borrowed = self.shard.borrow();
        borrowed.as_ref().is_none_or(|shard| {
            !shard.has_work() && shard.tcp_connections().all(|info| info.state == State::Closed)
        })
    }

    /// Whether the shard still has something to do at once.
    pub(crate) fn has_work(&self) -> bool {
        self.shard.borrow().as_ref().is_some_and(Shard::has_work)
    }

    /// Reads from the shard; nothing once it is gone.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Shard) -> T) -> Option<T> {
        self.shard.borrow().as_ref().map(read)
    }

    /// Ends the shard with all its sockets. Its buffers are home then, but for those an application holds.
    pub(crate) fn end_shard(&self) {
        let shard = self.shard.borrow_mut().take();
        drop(shard);
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").field("device", &self.device).finish_non_exhaustive()
    }
}

fn close(shard: &mut Shard, handle: SocketHandle) {
    match handle {
        SocketHandle::Stream(key) => shard.tcp_close(key),
        SocketHandle::Listener(key) => shard.tcp_close_listener(key),
        SocketHandle::Udp(key) => shard.udp_close(key),
        SocketHandle::Echo(key) => shard.echo_close(key),
    }
}
