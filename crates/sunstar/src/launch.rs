//! From a description to a running stack, and back to nothing: opening the device, giving the shard to an
//! executor, and shutting both down in order.

use std::fs::File;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sunstar_device::wire::{self, WireConfig};
use sunstar_device::{Pcap, PcapConfig, PcapError};
use sunstar_packet::{Capabilities, Memory, Pool, PoolConfig, QueuePair};
use sunstar_stack::steering::{IndirectionTable, RssKey, ShardId, Steering, TableSize, Toeplitz};
use sunstar_stack::{Alone, InterfaceAddress, InterfaceId, Route, Shard, ShardConfig, ShardSetup};
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::time::Instant;

use crate::builder::{Builder, Device, Publish, Tap};
use crate::clock::Clock;
use crate::cores::Cores;
use crate::engine::{CaptureFailure, Driver, Engine, Wakeup};
use crate::error::RunError;
use crate::gateway::Gateway;
use crate::net::Net;

/// Shards of a stack.
const SHARDS: usize = 1;
/// How often a stack that is being shut down is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// How long the last frames (resets, mostly) may take to leave, and lent buffers to come home.
const LAST_FRAMES: Duration = Duration::from_millis(100);

/// What all hosts of one `run` have in common.
struct Common {
    /// Shards of each host.
    shards: usize,
    clock: Clock,
    memory: Memory,
    seed: [u8; 32],
    config: ShardConfig,
}

/// The gateway host on the other side of an embedded device.
struct GatewayHost {
    end: wire::WireEnd,
    addresses: Vec<InterfaceAddress>,
    publish: Vec<Publish>,
}

pub(crate) fn run<F, Fut>(builder: Builder, application: F) -> Result<Fut::Output, RunError>
where
    F: FnOnce(Net) -> Fut,
    Fut: Future,
{
    if tokio::runtime::Handle::try_current().is_ok() {
        return Err(RunError::InsideExecutor);
    }
    check(&builder)?;
    let mut builder = builder;
    let mut addresses = std::mem::take(&mut builder.addresses);
    // What only matters to the device is taken out; the rest of the description goes on.
    match std::mem::replace(&mut builder.device, Device::Embedded(Default::default())) {
        Device::Tap(tap) => {
            let queue = open_tap(tap, builder.mtu)?;
            on_device(builder, addresses, queue, None, application)
        }
        Device::Wire(end) => on_device(builder, addresses, end, None, application),
        Device::Embedded(embedded) => {
            if addresses.is_empty() {
                addresses.push(Builder::EMBEDDED_ADDRESS);
            }
            let theirs = gateway_addresses(&addresses, builder.gateway)?;
            let mtu = builder.mtu.unwrap_or(WireConfig::default().mtu);
            let config = WireConfig { mtu, ..WireConfig::default() }.with_offloads();
            let (ours, end) = wire::pair(&config)?;
            let gateway_host = GatewayHost { end, addresses: theirs, publish: embedded.publish };
            on_device(builder, addresses, ours, Some(gateway_host), application)
        }
    }
}

/// Finds what cannot be before anything is opened.
fn check(builder: &Builder) -> Result<(), RunError> {
    let embedded = matches!(builder.device, Device::Embedded(_));
    if let Some(mtu) = builder.mtu.filter(|mtu| !(576..=65_535).contains(mtu)) {
        return Err(RunError::Mtu { mtu });
    }
    if builder.addresses.is_empty() && !embedded {
        return Err(RunError::NoAddress);
    }
    let is_no_host = |address: IpAddr| {
        address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
    };
    if let Some(own) = builder.addresses.iter().find(|own| is_no_host(own.address)) {
        return Err(RunError::NotUnicast { address: own.address });
    }
    let Some(gateway) = builder.gateway else { return Ok(()) };
    if builder.addresses.iter().any(|own| own.address == gateway) {
        return Err(RunError::GatewayIsOurs { gateway });
    }
    let default = [Builder::EMBEDDED_ADDRESS];
    let addresses = if builder.addresses.is_empty() { &default[..] } else { &builder.addresses };
    match addresses.iter().any(|own| own.contains(gateway)) {
        true => Ok(()),
        false => Err(RunError::GatewayOutside { gateway }),
    }
}

fn open_tap(tap: Tap, mtu: Option<usize>) -> Result<sunstar_device::tap::TapQueue, RunError> {
    use sunstar_device::tap::{Tap, TapConfig};
    let defaults = TapConfig::new(tap.name);
    let mac = tap.mac.unwrap_or(defaults.mac);
    let config = TapConfig { mtu, mac, offload: tap.offload, ..defaults };
    let queues = Tap::open(&config)?.into_iter().next();
    queues.ok_or(RunError::Tap(sunstar_device::tap::TapError::Queues { queues: 0 }))
}

/// The gateway host has an address in each of the stack's networks.
fn gateway_addresses(
    ours: &[InterfaceAddress],
    gateway: Option<IpAddr>,
) -> Result<Vec<InterfaceAddress>, RunError> {
    let address_in = |own: &InterfaceAddress| match gateway.filter(|gateway| own.contains(*gateway)) {
        Some(address) => Ok(InterfaceAddress { address, ..*own }),
        None => neighbor_of(own).ok_or_else(|| RunError::NoRoomForGateway { network: own.to_string() }),
    };
    ours.iter().map(address_in).collect()
}

/// Another host's address in the same network: the first that is free. `None` when the network has no other,
/// and for IPv6.
fn neighbor_of(own: &InterfaceAddress) -> Option<InterfaceAddress> {
    let IpAddr::V4(address) = own.address else { return None };
    let hosts = u32::MAX.checked_shr(own.prefix.into())?;
    let network = address.to_bits() & !hosts;
    // RFC 3021: a network of two addresses has no broadcast address, and no address of its own.
    let mut range = if hosts == 1 { 0..=1 } else { 1..=hosts.saturating_sub(1) };
    let found = range.find(|host| network | host != address.to_bits())?;
    Some(InterfaceAddress { address: Ipv4Addr::from_bits(network | found).into(), prefix: own.prefix })
}

/// The device's type is known from here on.
fn on_device<D, F, Fut>(
    builder: Builder,
    addresses: Vec<InterfaceAddress>,
    device: D,
    gateway_host: Option<GatewayHost>,
    application: F,
) -> Result<Fut::Output, RunError>
where
    D: QueuePair + Unpin + 'static,
    F: FnOnce(Net) -> Fut,
    Fut: Future,
{
    let cores = Cores::allowed().map_err(RunError::Pin)?;
    let runtime = executor(cores)?;
    let core = cores.place(SHARDS).into_iter().next().filter(|_| builder.pin);
    let _pinned = core.map(|core| cores.pin_to(core)).transpose().map_err(RunError::Pin)?;
    let common = Common {
        shards: SHARDS,
        clock: Clock::start(),
        memory: Memory::new(),
        seed: builder.seed.map_or_else(random_seed, Ok)?,
        config: builder.config,
    };
    let engine = host(&common, device.capabilities(), &addresses, builder.gateway, 0)?;
    let device = match builder.pcap {
        Some(path) => capture(device, path, &engine)?,
        None => Pcap::off(device),
    };
    let deadline = builder.shutdown_deadline;
    let first = addresses.first().ok_or(RunError::NoAddress)?.address;
    let (neighbor, ended) = match gateway_host {
        None => {
            let spin = if cores.may_spin(common.shards) { builder.spin } else { Duration::ZERO };
            let ended = runtime.block_on(async {
                drive(&engine, device, Wakeup::Descriptor { spin })?;
                let output = application(Net::new(Rc::clone(&engine), Rc::default())).await;
                shut_down(&[&engine], None, deadline).await;
                Ok::<_, RunError>(output)
            });
            (None, ended)
        }
        Some(GatewayHost { end, addresses, publish }) => {
            let neighbor = host(&common, end.capabilities(), &addresses, None, 1)?;
            let ended = runtime.block_on(async {
                drive(&engine, device, Wakeup::Partner(Rc::downgrade(&neighbor)))?;
                drive(&neighbor, end, Wakeup::Partner(Rc::downgrade(&engine)))?;
                let net = Net::new(Rc::clone(&neighbor), Rc::default());
                let gateway = Gateway::open(&net, first, &publish)?;
                let output = application(Net::new(Rc::clone(&engine), gateway.published())).await;
                shut_down(&[&engine, &neighbor], Some(&gateway), deadline).await;
                Ok::<_, RunError>(output)
            });
            (Some(neighbor), ended)
        }
    };
    // Tasks go first, with the sockets and devices they own; then the shards; then every buffer is home.
    drop(runtime);
    let engines: Vec<_> = [Some(engine), neighbor].into_iter().flatten().collect();
    engines.iter().for_each(|engine| engine.end_shard());
    let output = ended?;
    match buffers_held(&engines) {
        0 => Ok(output),
        buffers => Err(RunError::BuffersHeld { buffers }),
    }
}

/// Begins to write a device's traffic to a file.
fn capture<D: QueuePair>(device: D, path: PathBuf, engine: &Engine) -> Result<Pcap<D>, RunError> {
    let failure = CaptureFailure::default();
    engine.on_capture(Arc::clone(&failure));
    let on_failure = move |error: PcapError| {
        // There is one failure: it ends the capture.
        let _ = failure.set(error.to_string());
    };
    let config = PcapConfig { interface: "sunstar".to_owned(), snap_length: None };
    File::create(&path)
        .and_then(|file| {
            let capture = Pcap::new(device, config, file, Clock::unix_nanoseconds, on_failure);
            capture.map_err(|error| error.source)
        })
        .map_err(|source| RunError::Pcap { path, source })
}

fn executor(cores: Cores) -> Result<LocalRuntime, RunError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Threads for blocking work would be pinned to the shard's core otherwise.
        .on_thread_start(move || cores.release())
        .build_local(LocalOptions::default())
        .map_err(RunError::Executor)
}

fn random_seed() -> Result<[u8; 32], RunError> {
    let mut seed = [0; 32];
    let fails = |errno: rustix::io::Errno| RunError::Seed(errno.into());
    // Up to 256 bytes come at once, or not at all (getrandom(2)).
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).map_err(fails)?;
    Ok(seed)
}

/// A host of one shard. `number` tells the hosts of one process apart.
fn host(
    common: &Common,
    device: Capabilities,
    addresses: &[InterfaceAddress],
    gateway: Option<IpAddr>,
    number: u8,
) -> Result<Rc<Engine>, RunError> {
    let mut seed = common.seed;
    seed[0] ^= number;
    let mut random = sunstar_stack::random::Random::from_key(seed);
    let weights = vec![1; common.shards];
    let table = IndirectionTable::new(TableSize::Entries128, &weights)?;
    let mut shard_seed = [0; 32];
    random.fill(&mut shard_seed);
    let mut shard = Shard::new(ShardSetup {
        id: ShardId(0),
        config: common.config.clone(),
        seed: shard_seed,
        device,
        pool: Pool::new(&common.memory, &PoolConfig::for_mtu(device.mtu))?,
        steering: Steering::new(Toeplitz::new(RssKey::random(&mut random)), table),
        incarnation: 0,
        now: common.clock.now(),
    });
    for address in addresses {
        shard.add_address(InterfaceId::DEVICE, *address);
    }
    if let Some(gateway) = gateway {
        let network = if gateway.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        shard.add_route(Route { network, prefix: 0, gateway, interface: InterfaceId::DEVICE });
    }
    Ok(Rc::new(Engine::new(shard, common.clock)))
}

fn drive<D>(engine: &Rc<Engine>, device: D, wakeup: Wakeup) -> Result<(), RunError>
where
    D: QueuePair + Unpin + 'static,
{
    let driver = Driver::new(Rc::clone(engine), device, Alone, wakeup).map_err(RunError::Executor)?;
    tokio::task::spawn_local(driver);
    Ok(())
}

/// Listeners stop, connections end or are reset at the deadline, the last frames leave.
async fn shut_down(engines: &[&Rc<Engine>], gateway: Option<&Gateway>, deadline: Duration) {
    engines.iter().for_each(|engine| engine.close_listeners());
    if let Some(gateway) = gateway {
        gateway.stop();
    }
    let is_quiet = || engines.iter().all(|engine| engine.is_quiet()) && gateway.is_none_or(Gateway::is_quiet);
    wait_until(is_quiet, deadline).await;
    engines.iter().for_each(|engine| engine.abort_connections());
    wait_until(|| !engines.iter().any(|engine| engine.has_work()), LAST_FRAMES).await;
}

async fn wait_until(condition: impl Fn() -> bool, at_most: Duration) {
    let deadline = Instant::now().checked_add(at_most);
    while !condition() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        tokio::time::sleep(LOOK).await;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_host_of_a_network_is_the_first_that_is_free() {
        for (own, other) in [
            ("10.0.0.2/24", Some("10.0.0.1/24")),
            ("10.0.0.1/24", Some("10.0.0.2/24")),
            ("10.1.2.3/8", Some("10.0.0.1/8")),
            ("192.0.2.4/31", Some("192.0.2.5/31")),
            ("192.0.2.5/30", Some("192.0.2.6/30")),
            ("192.0.2.4/32", None),
            ("2001:db8::1/64", None),
        ] {
            let found = neighbor_of(&own.parse().unwrap());
            assert_eq!(found.map(|it| it.to_string()).as_deref(), other, "{own}");
        }
    }
}
