//! `sunstar perf`: how fast a stack is, against a server elsewhere or against another stack in this process.

mod client;
mod counted;
mod protocol;
mod report;
mod server;

use std::net::Ipv4Addr;
use std::time::Duration;

use sunstar::wire::{self, WireConfig};
use sunstar::{Builder, Device, InterfaceAddress, Net, ShardConfig};
use tokio::sync::{Barrier, watch};

use crate::failure::Failure;
use crate::network;
use crate::options::{Host, PerfOptions, Target};
use crate::output::Output;
use crate::signals::Signals;
use client::{Measured, Plan};
use report::Report;

/// How long connections may take to end afterwards.
const CLOSE: Duration = Duration::from_millis(500);

/// How long a connection is remembered: a client that is started again has other clocks and the same address, and is not to
/// wait for a minute until its ports are free (RFC 6191 lets in what is newer only).
const TIME_WAIT: sunstar::time::Duration = sunstar::time::Duration::from_millis(250);

/// The hosts in memory.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// Measures, or is measured against.
///
/// # Errors
/// The network cannot be run, the server cannot be reached, or a test broke off.
pub(crate) fn run(options: &PerfOptions) -> Result<(), Failure> {
    let builder = |builder: Builder| {
        let mut config = ShardConfig::default();
        config.tcp.time_wait = TIME_WAIT;
        let builder = builder.config(config).shutdown_deadline(CLOSE);
        if options.no_spin { builder.spin(Duration::ZERO) } else { builder }
    };
    if options.server {
        return serve(options, builder(network::builder(&options.network, &[])));
    }
    match &options.target {
        Some(target) => {
            let plan = Plan::new(options, target.clone());
            let stack = builder(network::with_names(network::builder(&options.network, &[]), &options.names));
            let measured = stack.run_on_each(|net| client::run(net, &plan))?;
            conclude(options, measured)
        }
        None => in_memory(options, &builder),
    }
}

/// Serves on every shard until a signal comes.
fn serve(options: &PerfOptions, stack: Builder) -> Result<(), Failure> {
    // The shards, and whoever says that they listen.
    let started = Barrier::new(usize::from(options.network.shards()) + 1);
    let stop = watch::Sender::new(false);
    let (stop, started) = (&stop, &started);
    let ended = stack.run_on_each(|net| async move {
        let serving = server::serve(net.clone(), options.port, stop, started);
        let ended = match net.shard() {
            0 => tokio::select! {
                ended = serving => ended,
                ended = until_signal(&net, options, started) => ended,
            },
            _ => serving.await,
        };
        stop.send_replace(true);
        ended
    })?;
    ended.into_iter().collect()
}

async fn until_signal(net: &Net, options: &PerfOptions, started: &Barrier) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    started.wait().await;
    if net.dhcp_status().is_some() {
        tokio::select! {
            configured = net.configured() => drop(configured?),
            () = signals.next() => return Ok(()),
        }
    }
    let addresses: Vec<_> = net.addresses().iter().map(InterfaceAddress::to_string).collect();
    let text = format!("measure against {} port {}", addresses.join(", "), options.port);
    let ready = serde_json::json!({ "listening": options.port, "addresses": addresses });
    Output::new(options.json).say(text, ready)?;
    signals.next().await;
    Ok(())
}

/// Both ends in this process: two hosts, joined by a wire for each queue.
fn in_memory(options: &PerfOptions, describe: &dyn Fn(Builder) -> Builder) -> Result<(), Failure> {
    let shards = options.network.shards();
    let queues = options.network.queues.map_or(shards, std::num::NonZeroU16::get);
    let mtu = options.network.mtu.map_or(WireConfig::default().mtu, usize::from);
    let wire = WireConfig { mtu, ..WireConfig::default() };
    let wire = if options.no_offload { wire } else { wire.with_offloads() };
    let pairs = (0..queues).map(|_| wire::pair(&wire)).collect::<Result<Vec<_>, _>>();
    let (left, right): (Vec<_>, Vec<_>) = pairs.map_err(sunstar::RunError::from)?.into_iter().unzip();
    let host = |ends, address: Ipv4Addr| {
        let address = InterfaceAddress { address: address.into(), prefix: 24 };
        let mut host = Builder::new().device(Device::Wire(ends)).address(address);
        host = host.shards(shards).queues(queues);
        // Left to themselves, both hosts might choose the same cores; and where there are not enough for all shards, the
        // scheduler knows better who has something to do.
        host = match cores_apart(shards.into(), address.address == SERVER) {
            Some(cores) => host.cores(cores),
            None => host.pin(false).spin(Duration::ZERO),
        };
        if !options.network.weights.is_empty() {
            host = host.weights(options.network.weights.clone());
        }
        describe(host)
    };
    let (stop, started) = (watch::Sender::new(false), Barrier::new(2 * usize::from(shards)));
    let (server, client) = (host(left, SERVER), host(right, CLIENT));
    let plan = Plan::new(options, Target { host: Host::Address(SERVER), port: options.port });
    let (stop, started, plan) = (&stop, &started, &plan);
    std::thread::scope(|scope| {
        let serving = move || {
            // However the server ends, the client has nobody to wait for any longer.
            let _stopped = server::StopAtEnd(stop);
            server.run_on_each(|net| {
                plan.is_against(net.remote());
                server::serve(net, options.port, stop, started)
            })
        };
        let serving = scope.spawn(serving);
        let measured = client.run_on_each(|net| async move {
            tokio::select! {
                _ = started.wait() => client::run(net, plan).await,
                // The server could not start.
                _ = server::stopped(stop) => Ok(Measured::default()),
            }
        });
        stop.send_replace(true);
        let served = serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        served?.into_iter().collect::<Result<(), _>>()?;
        conclude(options, measured?)
    })
}

/// A core for each shard of a host: the server's are the first ones, and the client's come after them. None if there are not
/// enough for both.
fn cores_apart(shards: usize, is_server: bool) -> Option<Vec<usize>> {
    let mine = sunstar::allowed_cores().ok()?;
    let skipped = if is_server { 0 } else { shards };
    (mine.len() >= 2 * shards).then(|| mine.into_iter().skip(skipped).take(shards).collect())
}

/// Puts the shards' figures together, and prints them.
fn conclude(options: &PerfOptions, measured: Vec<Result<Measured, Failure>>) -> Result<(), Failure> {
    let measured = measured.into_iter().collect::<Result<Vec<_>, _>>()?;
    Report::new(options, &measured).print(Output::new(options.json))?;
    Ok(())
}
