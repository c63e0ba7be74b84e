//! What a stack is made of: its device, its addresses, its settings.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use sunstar_device::wire::WireEnd;
use sunstar_stack::{DhcpConfig, DhcpFilter, InterfaceAddress, ShardConfig};

use crate::error::RunError;
use crate::filters::FilterMaker;
use crate::launch;
use crate::net::Net;

/// A port of the machine that leads to a port of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Address and port on the machine; port 0 is any free one.
    pub host: SocketAddr,
    /// TCP port of the stack.
    pub port: u16,
}

/// A host in the same process, at the other end of an in-memory wire, that publishes ports of the stack on the machine:
/// nothing has to be set up, and no privilege is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Embedded {
    /// The ports it publishes.
    pub publish: Vec<Publish>,
}

/// A tap interface of the kernel. Opening one takes CAP_NET_ADMIN, or a tap made for this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// The interface's name, at most 15 bytes; created if it is missing.
    pub name: String,
    /// The stack's hardware address; derived from the name if `None`.
    pub mac: Option<[u8; 6]>,
    /// Whether checksums are left to the kernel, and packets of up to 64 KiB are exchanged with it.
    pub offload: bool,
}

impl Tap {
    /// The tap of that name, with offloads.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), mac: None, offload: true }
    }
}

/// Whom the stack asks for the addresses of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameService {
    /// Name servers; no name is known without one.
    pub(crate) servers: Vec<SocketAddr>,
    /// Domains that a name with too few dots may be short for.
    pub(crate) search: Vec<String>,
}

/// What the stack's packets go through.
#[derive(Debug)]
pub enum Device {
    /// A gateway host in the same process.
    Embedded(Embedded),
    /// A tap interface of the kernel.
    Tap(Tap),
    /// Ends of in-memory wires, one for each queue; the other ends belong to another host of this process.
    Wire(Vec<WireEnd>),
}

/// Describes a stack, and runs it.
#[derive(Debug)]
#[must_use = "nothing happens until `run`"]
pub struct Builder {
    pub(crate) device: Device,
    pub(crate) addresses: Vec<InterfaceAddress>,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) name_service: NameService,
    pub(crate) mtu: Option<usize>,
    pub(crate) pcap: Option<PathBuf>,
    pub(crate) config: ShardConfig,
    pub(crate) seed: Option<[u8; 32]>,
    pub(crate) shutdown_deadline: Duration,
    pub(crate) pin: bool,
    /// Empty for any.
    pub(crate) cores: Vec<usize>,
    pub(crate) spin: Duration,
    pub(crate) shards: u16,
    pub(crate) queues: Option<u16>,
    pub(crate) weights: Option<Vec<u32>>,
    pub(crate) steering_program: bool,
    pub(crate) stall_after: Option<Duration>,
    pub(crate) control: Option<PathBuf>,
    pub(crate) filters: Vec<FilterMaker>,
    pub(crate) dhcp: Option<DhcpConfig>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// The address of a stack on the embedded device, when none is given.
    pub const EMBEDDED_ADDRESS: InterfaceAddress =
        InterfaceAddress { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), prefix: 24 };

    /// The most shards that a stack can have.
    pub const MAX_SHARDS: u16 = 256;

    /// A stack on the embedded device, with nothing published.
    pub fn new() -> Self {
        Self {
            device: Device::Embedded(Embedded::default()),
            addresses: Vec::new(),
            gateway: None,
            name_service: NameService::default(),
            mtu: None,
            pcap: None,
            config: ShardConfig::default(),
            seed: None,
            shutdown_deadline: Duration::from_secs(5),
            pin: true,
            cores: Vec::new(),
            spin: Duration::from_micros(50),
            shards: 1,
            queues: None,
            weights: None,
            steering_program: true,
            stall_after: Some(Duration::from_millis(50)),
            control: None,
            filters: Vec::new(),
            dhcp: None,
        }
    }

    /// What its packets go through; the embedded device by default.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Gives it an address, besides those it was given before. The first is the preferred source.
    pub fn address(mut self, address: InterfaceAddress) -> Self {
        self.addresses.push(address);
        self
    }

    /// Where packets to other networks go. On the embedded device it is the gateway host's address: the first
    /// other one of the network by default.
    pub fn gateway(mut self, gateway: IpAddr) -> Self {
        self.gateway = Some(gateway);
        self
    }

    /// A server that is asked for the addresses of names ([`Net::resolve`]), mostly on port 53, besides those given before.
    pub fn name_server(mut self, server: SocketAddr) -> Self {
        self.name_service.servers.push(server);
        self
    }

    /// A domain in which names without a dot are looked for, besides those given before.
    pub fn search_domain(mut self, domain: impl Into<String>) -> Self {
        self.name_service.search.push(domain.into());
        self
    }

    /// Has the device configured by DHCP (RFC 2131), besides the addresses given: address, routers, MTU, name servers and
    /// domains. A filter on every shard has what servers say sent to the first, and what is granted all learn.
    /// [`Net::configured`] waits for it. The lease is given back at the end.
    pub fn dhcp(mut self, config: DhcpConfig) -> Self {
        self.filters.insert(0, FilterMaker::new(|_| DhcpFilter));
        self.dhcp = Some(config);
        self
    }

    /// A packet filter that every shard has from the beginning, behind those given before. [`Net::filter_everywhere`] does
    /// the same for a stack that runs.
    pub fn packet_filter(mut self, filter: FilterMaker) -> Self {
        self.filters.push(filter);
        self
    }

    /// The largest IP packet, in bytes: 1,500 by default, or what a tap already has. A wire has its own.
    pub fn mtu(mut self, mtu: usize) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Writes every frame to a pcapng file.
    pub fn pcap(mut self, path: impl Into<PathBuf>) -> Self {
        self.pcap = Some(path.into());
        self
    }

    /// The shard's settings.
    pub fn config(mut self, config: ShardConfig) -> Self {
        self.config = config;
        self
    }

    /// The secret behind sequence numbers, ports and hashes; the system's randomness by default. Only tests should
    /// choose one.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How long connections may take to end after the application has; 5 seconds by default. What is left
    /// then is reset.
    pub fn shutdown_deadline(mut self, deadline: Duration) -> Self {
        self.shutdown_deadline = deadline;
        self
    }

    /// Whether the thread is pinned to one of the cores it may run on; it is by default. Threads for blocking work are
    /// not, but those that the application starts itself inherit it.
    pub fn pin(mut self, pin: bool) -> Self {
        self.pin = pin;
        self
    }

    /// The cores that the shards are pinned to, by the system's numbers and in the order of the shards; when shards outnumber
    /// them they share in turn. By default each has one of all that the process may use, from the one that `run` is
    /// called on. Two stacks in one process want this, or one may keep the other from running.
    pub fn cores(mut self, cores: impl Into<Vec<usize>>) -> Self {
        self.cores = cores.into();
        self
    }

    /// How long a shard with nothing to do goes on asking its device before it sleeps: 50 microseconds by
    /// default, which saves the 30 or so that waking takes. Where that would keep others from running (a single
    /// core, a control group's quota of no more than one, or the embedded device, whose other end is the same
    /// thread) it sleeps at once.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.spin = spin;
        self
    }

    /// How many shards the stack has; one by default. Each is a thread of its own, pinned to a core of its own as far as
    /// there are cores, and shares nothing with the others.
    pub fn shards(mut self, shards: u16) -> Self {
        self.shards = shards;
        self
    }

    /// How many queues of the device are used: as many as there are shards by default. With fewer, the other shards send
    /// through those that have one, and what they receive is handed over. The embedded device has one, a wire as many
    /// as ends were given.
    pub fn queues(mut self, queues: u16) -> Self {
        self.queues = Some(queues);
        self
    }

    /// Each shard's part, in proportion to the others': of the flows, and of the room to send where shards share a queue.
    /// Equal parts by default. A shard of weight zero gets only what it asks for (a port of its own).
    pub fn weights(mut self, weights: impl Into<Vec<u32>>) -> Self {
        self.weights = Some(weights.into());
        self
    }

    /// Whether a tap with several queues is given a program that steers its packets in the kernel, where that is permitted;
    /// it is by default. Without, each shard hands over what arrived at it for another, with the same results.
    pub fn steering_program(mut self, wanted: bool) -> Self {
        self.steering_program = wanted;
        self
    }

    /// How long one poll of a task may take before it is reported as a stall, with a warning through `tracing` and in
    /// [`ShardStats`](crate::ShardStats): 50 milliseconds by default, at least 4. A thread of its own looks for it, four
    /// times as often; `None` starts none. Time in which the kernel gave the task no processor does not count.
    pub fn stall_after(mut self, stall_after: Option<Duration>) -> Self {
        self.stall_after = stall_after;
        self
    }

    /// A Unix socket by which the stack can be looked at while it runs, by its own user: `sunstar top` does. None by default;
    /// [`control::default_path`](crate::control::default_path) is where that command looks. The file goes when `run` ends.
    pub fn control(mut self, path: impl Into<PathBuf>) -> Self {
        self.control = Some(path.into());
        self
    }

    /// Runs the stack on this thread until the application's future is done, then shuts it down: listeners stop,
    /// connections have until the deadline to end, and all buffers come home.
    ///
    /// Where there are several shards, the application runs on the first, and sends the others what they are to do
    /// ([`Builder::run_on_each`] runs it on each of them).
    ///
    /// # Errors
    /// See [`RunError`]: mostly that the device could not be opened, and what to do about it.
    ///
    /// # Panics
    /// When the application does, after the stack was shut down.
    pub fn run<F, Fut>(self, application: F) -> Result<Fut::Output, RunError>
    where
        F: FnOnce(Net) -> Fut,
        Fut: Future,
    {
        launch::run(self, application)
    }

    /// Runs an application on every shard, the first one's on this thread, until all of them are done. What they came
    /// to, in the order of the shards. A port that each of them listens on is to be *shared*
    /// ([`Net::tcp_bind_shared`]).
    ///
    /// # Errors
    /// As [`Builder::run`].
    ///
    /// # Panics
    /// When one of the applications does, after the others were dropped and the stack was shut down.
    pub fn run_on_each<F, Fut>(self, application: F) -> Result<Vec<Fut::Output>, RunError>
    where
        F: Fn(Net) -> Fut + Sync,
        Fut: Future<Output: Send>,
    {
        launch::run_on_each(self, application)
    }
}
