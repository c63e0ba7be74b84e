//! From a description to running shards, and back to nothing: opening the device, giving each shard a thread, and
//! shutting all down in order.

mod check;
mod host;
mod phases;
mod placed;
mod shard;
pub mod simulation;

use std::cell::Cell;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sunstar_device::Pcap;
use sunstar_device::wire::{self, WireConfig};
use sunstar_packet::QueuePair;
use sunstar_stack::steering::Steering;
use sunstar_stack::{InterfaceAddress, InterfaceId, Shard};

use crate::builder::{Builder, Device, NameService, Publish, Tap};
use crate::clock::Clock;
use crate::control::{self, ControlSocket};
use crate::cores::Cores;
use crate::dhcp::Told;
use crate::engine::{Engine, Wakeup};
use crate::error::RunError;
use crate::gateway::Gateway;
use crate::net::Net;
use crate::stall::{Noted, Pulse, Watch, Watchdog};
use crate::stats::Steered;
use check::{check, check_queues, gateway_addresses};
use host::{Common, HostDescription, ShardParts, steering};
use phases::{Ended, Phase, Phases};
use placed::Placed;
use shard::{Seat, bury, drive, make_engine, shut_down};

/// The gateway host on the other side of an embedded device.
struct GatewayHost {
    end: wire::WireEnd,
    addresses: Vec<InterfaceAddress>,
    publish: Vec<Publish>,
}

/// What runs on a shard. Boxed, so that all of this is compiled once and not for every application.
type Application<'a> = Box<dyn FnOnce(Net) -> Running<'a> + 'a>;
/// What runs on every shard but the first.
type Others<'a> = &'a (dyn Fn(Net) -> Running<'a> + Sync);
type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs one application, on the first shard; the others have what is sent to them.
pub(crate) fn run<F, Fut>(builder: Builder, application: F) -> Result<Fut::Output, RunError>
where
    F: FnOnce(Net) -> Fut,
    Fut: Future,
{
    let output = Cell::new(None);
    let first = |net| -> Running<'_> {
        let application = application(net);
        Box::pin(async { output.set(Some(application.await)) })
    };
    launch(builder, Box::new(first), &|_| Box::pin(std::future::ready(())))?;
    output.into_inner().ok_or(RunError::Abandoned)
}

/// Runs an application on every shard. What they come to, in the order of the shards.
pub(crate) fn run_on_each<F, Fut>(builder: Builder, application: F) -> Result<Vec<Fut::Output>, RunError>
where
    F: Fn(Net) -> Fut + Sync,
    Fut: Future<Output: Send>,
{
    let outputs: Vec<_> = (0..builder.shards).map(|_| Mutex::new(None)).collect();
    let each = |net: Net| -> Running<'_> {
        let output = &outputs[usize::from(net.shard())];
        let application = application(net);
        Box::pin(async { *output.lock().unwrap_or_else(PoisonError::into_inner) = Some(application.await) })
    };
    launch(builder, Box::new(&each), &each)?;
    let done = |output: Mutex<_>| output.into_inner().unwrap_or_else(PoisonError::into_inner);
    outputs.into_iter().map(done).collect::<Option<_>>().ok_or(RunError::Abandoned)
}

/// Runs one application on the first shard, on this thread, and another on each of the others.
fn launch(mut builder: Builder, first: Application<'_>, other: Others<'_>) -> Result<(), RunError> {
    if tokio::runtime::Handle::try_current().is_ok() {
        return Err(RunError::InsideExecutor);
    }
    check(&builder)?;
    let seed = builder.seed.map_or_else(random_seed, Ok)?;
    let weights = builder.weights.take().unwrap_or_else(|| vec![1; builder.shards.into()]);
    let control = builder.control.take().map(|path| ControlSocket::open(&path)).transpose()?;
    let steering = steering(&seed, &weights)?;
    let mut start = Start { seed, steering, weights, placed: Placed::default(), control };
    let mut addresses = std::mem::take(&mut builder.addresses);
    // What only matters to the device is taken out; the rest of the description goes on.
    match std::mem::replace(&mut builder.device, Device::Embedded(Default::default())) {
        Device::Tap(tap) => {
            let queues = open_tap(tap, builder.mtu, builder.queues.unwrap_or(builder.shards))?;
            start.placed = Placed::on_tap(&start.steering, &queues, builder.steering_program);
            on_devices(builder, start, &addresses, queues, None, first, other)
        }
        Device::Wire(ends) => {
            check_queues(&builder, ends.len())?;
            start.placed = Placed::by_software(&start.steering, None);
            on_devices(builder, start, &addresses, ends, None, first, other)
        }
        Device::Embedded(embedded) => {
            if addresses.is_empty() {
                addresses.push(Builder::EMBEDDED_ADDRESS);
            }
            check_queues(&builder, 1)?;
            let theirs = gateway_addresses(&addresses, builder.gateway)?;
            let mtu = builder.mtu.unwrap_or(WireConfig::default().mtu);
            let config = WireConfig { mtu, ..WireConfig::default() }.with_offloads();
            let (ours, end) = wire::pair(&config)?;
            let gateway_host = GatewayHost { end, addresses: theirs, publish: embedded.publish };
            start.placed = Placed::by_software(&start.steering, None);
            on_devices(builder, start, &addresses, vec![ours], Some(gateway_host), first, other)
        }
    }
}

fn open_tap(
    tap: Tap,
    mtu: Option<usize>,
    queues: u16,
) -> Result<Vec<sunstar_device::tap::TapQueue>, RunError> {
    use sunstar_device::tap::{Tap, TapConfig};
    let defaults = TapConfig::new(tap.name);
    let mac = tap.mac.unwrap_or(defaults.mac);
    let config = TapConfig { mtu, mac, offload: tap.offload, queues: queues.into(), ..defaults };
    Ok(Tap::open(&config)?)
}

/// What is decided before the device is opened, or when it is.
struct Start {
    seed: [u8; 32],
    weights: Vec<u32>,
    steering: Steering,
    placed: Placed,
    control: Option<ControlSocket>,
}

/// The device's type is known from here on.
fn on_devices<D>(
    builder: Builder,
    start: Start,
    addresses: &[InterfaceAddress],
    devices: Vec<D>,
    gateway_host: Option<GatewayHost>,
    first: Application<'_>,
    other: Others<'_>,
) -> Result<(), RunError>
where
    D: QueuePair + Unpin + Send + 'static,
{
    let shards = usize::from(builder.shards);
    let cores = Cores::allowed().map_err(RunError::Pin)?;
    let spin = if cores.may_spin(shards) { builder.spin } else { Duration::ZERO };
    let watches: Vec<_> = (0..builder.shards).map(|shard| Arc::new(Watch::new(shard))).collect();
    let seat = |(core, watch): (_, &Arc<Watch>)| Seat {
        cores,
        core: Some(core).filter(|_| builder.pin),
        spin,
        watch: Arc::clone(watch),
    };
    let placed = match &builder.cores[..] {
        [] => cores.place(shards),
        chosen => {
            let refused = |core| RunError::Core { core, allowed: cores.numbers() };
            cores.place_on(chosen, shards).map_err(refused)?
        }
    };
    let seats: Vec<_> = placed.into_iter().zip(&watches).map(seat).collect();
    let mut seats = seats.into_iter();
    let (common, inboxes) = Common::new(&builder, Clock::start(), start.seed, start.placed.steered);
    let host = HostDescription {
        number: 0,
        addresses,
        gateway: builder.gateway,
        filters: builder.filters,
        dhcp: builder.dhcp,
        weights: start.weights,
        steering: start.steering,
        pcap: builder.pcap,
    };
    let mut parts = host.take_apart(&common, devices)?;
    parts.iter_mut().zip(inboxes).for_each(|(part, inbox)| part.inbox = Some(inbox));
    let mut parts = parts.into_iter();
    let (Some(mut first_parts), Some(first_seat)) = (parts.next(), seats.next()) else {
        return Err(RunError::Shards { shards: 0 });
    };
    first_parts.program = start.placed.program;
    first_parts.control = start.control;
    let watchdog = |stall_after| Watchdog::start(stall_after, cores, watches);
    let watchdog = builder.stall_after.map(watchdog).transpose().map_err(RunError::Watchdog)?;
    let phases = Phases::new(shards);
    let (first, others) = std::thread::scope(|scope| {
        let start = |(parts, seat): (ShardParts<_>, Seat)| {
            let (common, phases) = (&common, &phases);
            let name = format!("sunstar-{}", parts.birth.id.0);
            let thread = std::thread::Builder::new().name(name);
            let run = move || run_shard(common, &seat, parts, None, phases, Box::new(other));
            thread.spawn_scoped(scope, run)
        };
        let threads: Result<Vec<_>, _> = parts.zip(seats).map(start).collect();
        let first = match &threads {
            Ok(_) => run_shard(&common, &first_seat, first_parts, gateway_host, &phases, first),
            Err(_) => {
                phases.abandon();
                Err(RunError::Abandoned)
            }
        };
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| Ok((Ended::Panicked(panic), 0)))
        };
        threads
            .map(|threads| (first, threads.into_iter().map(join).collect::<Vec<_>>()))
            .map_err(RunError::Thread)
    })?;
    drop(watchdog);
    conclude(others.into_iter().chain([first]))
}

/// What all shards together came to: the first error or panic there was, if any.
fn conclude(ended: impl IntoIterator<Item = Result<(Ended, usize), RunError>>) -> Result<(), RunError> {
    let (mut buffers, mut abandoned) = (0, false);
    for ended in ended {
        match ended {
            Ok((Ended::Done, held)) => buffers += held,
            Ok((Ended::Panicked(panic), _)) => std::panic::resume_unwind(panic),
            // A shard that had to give up because of another is not the cause.
            Ok((Ended::Cut, _)) | Err(RunError::Abandoned) => abandoned = true,
            Err(error) => return Err(error),
        }
    }
    match buffers {
        _ if abandoned => Err(RunError::Abandoned),
        0 => Ok(()),
        buffers => Err(RunError::BuffersHeld { buffers }),
    }
}

/// Runs one shard on this thread, from its beginning to its end. How its application ended, and how many of its
/// buffers somebody still has.
fn run_shard<D>(
    common: &Common,
    seat: &Seat,
    mut parts: ShardParts<D>,
    gateway_host: Option<GatewayHost>,
    phases: &Phases,
    application: Application<'_>,
) -> Result<(Ended, usize), RunError>
where
    D: QueuePair + Unpin + 'static,
{
    let guard = phases.guard();
    let runtime = seat.executor()?;
    let _pinned = seat.core.map(|core| seat.cores.pin_to(core)).transpose().map_err(RunError::Pin)?;
    let engine = make_engine(common, &seat.watch, &parts)?;
    let neighbor = gateway_host.map(|host| Neighbor::make(common, seat, host)).transpose()?;
    let (inbox, control) = (parts.inbox.take(), parts.control.take());
    let ended = runtime.block_on(async {
        // The first task of all: what is polled before it cannot be told from it.
        tokio::task::spawn_local(Pulse::new(&seat.watch));
        let mut published = Rc::default();
        let mut gateway = None;
        match &neighbor {
            None => drive(&engine, parts, Wakeup::Descriptor { spin: seat.spin })?,
            Some(Neighbor { engine: other, publish, parts: theirs }) => {
                drive(&engine, parts, Wakeup::Partner(Rc::downgrade(other)))?;
                if let Some(theirs) = theirs.take() {
                    drive(other, theirs, Wakeup::Partner(Rc::downgrade(&engine)))?;
                }
                let net = Net::new(
                    Rc::clone(other),
                    NameService::default(),
                    Told::default(),
                    Rc::default(),
                    Steered::default(),
                    Arc::default(),
                );
                let stack = first_address(&engine).ok_or(RunError::NoAddress)?;
                let opened = Gateway::open(&net, stack, publish)?;
                published = opened.published();
                gateway = Some(opened);
            }
        }
        let net = common.net(&engine, published);
        if let Some(inbox) = inbox {
            inbox.open(net.clone());
        }
        if let Some(control) = &control {
            let listener = control.listener().map_err(RunError::Executor)?;
            net.spawn_named("the control socket", control::serve(net.clone(), listener));
        }
        phases.arrive(Phase::Started);
        phases.all(Phase::Started).await;
        let application = async move { application(net).await };
        let ended = phases.run(Noted::new(&seat.watch, "the application", application)).await;
        let engines: Vec<_> =
            [Some(&engine), neighbor.as_ref().map(|it| &it.engine)].into_iter().flatten().collect();
        shut_down(&engines, gateway.as_ref(), common.shutdown_deadline, phases).await;
        Ok::<_, RunError>(ended)
    });
    // Tasks go first, with the sockets and devices they own; then the shards; then every buffer is home.
    drop(runtime);
    let engines: Vec<_> = [Some(engine), neighbor.map(|it| it.engine)].into_iter().flatten().collect();
    let ended = ended?;
    let held = bury(&engines, phases);
    guard.done();
    Ok((ended, held))
}

/// The gateway host on the thread of the first shard.
struct Neighbor {
    engine: Rc<Engine>,
    publish: Vec<Publish>,
    parts: Cell<Option<ShardParts<Pcap<wire::WireEnd>>>>,
}

impl Neighbor {
    fn make(common: &Common, seat: &Seat, host: GatewayHost) -> Result<Self, RunError> {
        let GatewayHost { end, addresses, publish } = host;
        let weights = vec![1];
        let steering = steering(&common.seed, &weights)?;
        let description = HostDescription {
            number: 1,
            addresses: &addresses,
            gateway: None,
            filters: Vec::new(),
            dhcp: None,
            weights,
            steering,
            pcap: None,
        };
        let parts = description.take_apart(common, vec![end])?.into_iter().next();
        let parts = parts.ok_or(RunError::Shards { shards: 0 })?;
        let engine = make_engine(common, &seat.watch, &parts)?;
        Ok(Self { engine, publish, parts: Cell::new(Some(parts)) })
    }
}

/// The first address of a shard's device.
fn first_address(engine: &Engine) -> Option<IpAddr> {
    let first = |shard: &Shard| {
        let mut device = shard.interfaces().filter(|interface| interface.id == InterfaceId::DEVICE);
        Some(device.next()?.addresses().first()?.address)
    };
    engine.read(first).flatten()
}

fn random_seed() -> Result<[u8; 32], RunError> {
    let mut seed = [0; 32];
    let fails = |errno: rustix::io::Errno| RunError::Seed(errno.into());
    // Up to 256 bytes come at once, or not at all (getrandom(2)).
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).map_err(fails)?;
    Ok(seed)
}
