//! Why the network could not be run.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::control::ControlError;
use sunstar_device::tap::TapError;
use sunstar_device::wire::WireError;
use sunstar_packet::RegionError;
use sunstar_stack::steering::WeightsError;

/// Why the network could not be run, or did not end as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The stack has no address.
    #[error(
        "the stack has no address; give it one with `.address(\"10.0.0.2/24\".parse()?)`, or have it asked for with `.dhcp(..)`"
    )]
    NoAddress,
    /// There is nobody to ask.
    #[error("there is no DHCP server behind the embedded device; use a tap, or give the stack an address")]
    DhcpEmbedded,
    /// An address that a host cannot have.
    #[error("{address} is not an address that a host can have; give the stack one like 10.0.0.2/24")]
    NotUnicast {
        /// The address given.
        address: IpAddr,
    },
    /// No address is left for the gateway host.
    #[error(
        "no other address is free in {network} for the gateway host; use a shorter prefix, such as 10.0.0.2/24"
    )]
    NoRoomForGateway {
        /// The stack's address and network.
        network: String,
    },
    /// The gateway cannot be reached directly.
    #[error("the gateway {gateway} is in none of the stack's networks; its next hop has to be a neighbour")]
    GatewayOutside {
        /// The gateway given.
        gateway: IpAddr,
    },
    /// The gateway has an address of the stack's own.
    #[error("{gateway} is the stack's own address and cannot be its gateway, too")]
    GatewayIsOurs {
        /// The gateway given.
        gateway: IpAddr,
    },
    /// The MTU is out of range.
    #[error("an MTU of {mtu} bytes is out of range: IPv4 hosts take 576 to 65535 (RFC 1122 section 3.3.2)")]
    Mtu {
        /// The MTU given.
        mtu: usize,
    },
    /// The tap could not be opened.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The wire to the gateway host could not be made.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// There is no memory for the buffers.
    #[error("no memory for the packet buffers: {0}")]
    Memory(#[from] RegionError),
    /// The capture could not be begun.
    #[error("cannot write a capture to {}: {source}", path.display())]
    Pcap {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A port could not be published on the machine.
    #[error("{}", publish_message(host, source))]
    Publish {
        /// The address and port on the machine.
        host: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// So many shards cannot be.
    #[error(
        "{shards} shards cannot be: give a number from 1 to {}, and best no more than there are cores",
        crate::Builder::MAX_SHARDS
    )]
    Shards {
        /// The number given.
        shards: u16,
    },
    /// So many queues cannot be.
    #[error(
        "{queues} queues do not fit {shards} shards: each queue belongs to one shard, so give 1 to {shards}"
    )]
    Queues {
        /// The number given.
        queues: u16,
        /// How many shards there are.
        shards: u16,
    },
    /// The device does not have that many queues.
    #[error(
        "the device has {has} queues, not {queues}: the embedded device has one, and a wire as many as ends are given"
    )]
    DeviceQueues {
        /// The number given.
        queues: u16,
        /// How many it has.
        has: usize,
    },
    /// Not one weight a shard.
    #[error("{weights} weights do not fit {shards} shards: give one for each")]
    Weights {
        /// How many were given.
        weights: usize,
        /// How many shards there are.
        shards: u16,
    },
    /// The rings between the shards could not be made.
    #[error(transparent)]
    Mesh(#[from] crate::mesh::MeshError),
    /// A shard's thread could not be started.
    #[error(
        "a shard's thread could not be started: {0}; use fewer shards, or raise the limit of processes (ulimit -u)"
    )]
    Thread(io::Error),
    /// A shard ended before it should have.
    #[error("a shard's thread has ended unexpectedly, and the others with it; what it printed says why")]
    Abandoned,
    /// The shards cannot share the flows.
    #[error(transparent)]
    Steering(#[from] WeightsError),
    /// The control socket could not be opened.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A core was chosen that the process may not use.
    #[error(
        "core {core} cannot have a shard: this process may run on {allowed:?} (see taskset(1), cpuset(7))"
    )]
    Core {
        /// The core.
        core: usize,
        /// Those that it may use.
        allowed: Vec<usize>,
    },
    /// The thread could not be pinned.
    #[error("the thread cannot be pinned to a core: {0}; turn pinning off with `.pin(false)`")]
    Pin(io::Error),
    /// The system has no randomness to give.
    #[error("the system gave no random seed: {0}; give one with `.seed(...)`")]
    Seed(io::Error),
    /// The executor could not be started.
    #[error("the executor could not be started: {0}")]
    Executor(io::Error),
    /// The thread that looks for stalls could not be started.
    #[error("the watchdog's thread could not be started: {0}; do without it with `.stall_after(None)`")]
    Watchdog(io::Error),
    /// It was called from a task.
    #[error(
        "`run` blocks its thread, and this one already runs an async executor; call it from a thread of its own"
    )]
    InsideExecutor,
    /// Buffers were still held when the network had been shut down.
    #[error(
        "{buffers} packet buffers are still held after the end; drop every fragment and message before `run` ends, and return copies"
    )]
    BuffersHeld {
        /// How many.
        buffers: usize,
    },
}

fn publish_message(host: &SocketAddr, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "{host} is in use by another program; stop that one, or publish on another port (0 means any)"
            )
        }
        io::ErrorKind::PermissionDenied => format!(
            "not permitted to listen on {host}: ports below 1024 take privilege; publish on a higher one, such as 8080"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("{host} is not an address of this machine; publish on 127.0.0.1")
        }
        _ => format!("cannot listen on {host}: {source}"),
    }
}
