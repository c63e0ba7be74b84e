//! A host's description taken apart: what all of its shards have in common, and what each has for itself.

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sunstar_device::{Pcap, PcapConfig, PcapError};
use sunstar_packet::{Capabilities, Memory, QueuePair};
use sunstar_stack::random::Random;
use sunstar_stack::steering::{IndirectionTable, RssKey, ShardId, Steering, TableSize, Toeplitz};
use sunstar_stack::{Configuration, DhcpConfig, InterfaceAddress, InterfaceId, Route, ShardConfig};
use tokio::sync::watch;

use crate::builder::{Builder, NameService, Publish};
use crate::clock::Clock;
use crate::control::ControlSocket;
use crate::dhcp::{DhcpStatus, Told};
use crate::engine::{Birth, CaptureFailure, Engine, Program};
use crate::error::RunError;
use crate::filters::FilterMaker;
use crate::mailbox::{Inbox, Mailbox, mailbox};
use crate::mesh::{self, MeshConfig, MeshEnd, ProxyQueue, Sharing};
use crate::net::Net;
use crate::stats::Steered;

/// What all shards of a host have in common, and all hosts of a process.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) clock: Clock,
    pub(super) memory: Memory,
    pub(super) seed: [u8; 32],
    pub(super) config: ShardConfig,
    pub(super) name_service: NameService,
    /// What DHCP comes to.
    pub(super) dhcp: Told,
    pub(super) shutdown_deadline: Duration,
    /// What places packets on the queues.
    pub(super) steered: Steered,
    /// Where each shard is sent jobs.
    pub(super) mailboxes: Arc<[Mailbox]>,
}

impl Common {
    /// What a description says for all shards, and the inbox of each.
    pub(super) fn new(
        builder: &Builder,
        clock: Clock,
        seed: [u8; 32],
        steered: Steered,
    ) -> (Self, Vec<Inbox>) {
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) = (0..builder.shards).map(|_| mailbox()).unzip();
        let common = Self {
            clock,
            memory: Memory::new(),
            seed,
            config: builder.config.clone(),
            name_service: builder.name_service.clone(),
            dhcp: Arc::new(watch::Sender::new(builder.dhcp.as_ref().map(|_| DhcpStatus::BEGINNING))),
            shutdown_deadline: builder.shutdown_deadline,
            steered,
            mailboxes: mailboxes.into(),
        };
        (common, inboxes)
    }

    /// What an application is given on a shard of the stack.
    pub(super) fn net(&self, engine: &Rc<Engine>, published: Rc<[Publish]>) -> Net {
        let (names, dhcp) = (self.name_service.clone(), Arc::clone(&self.dhcp));
        let (steered, mailboxes) = (self.steered.clone(), Arc::clone(&self.mailboxes));
        Net::new(Rc::clone(engine), names, dhcp, published, steered, mailboxes)
    }
}

/// What one shard has for itself. It goes to the shard's thread.
pub(super) struct ShardParts<D> {
    pub(super) birth: Birth,
    pub(super) mesh: MeshEnd,
    pub(super) queue: QueueParts<D>,
    pub(super) capture_failure: CaptureFailure,
    /// The program that steers for all of them; the first shard's.
    pub(super) program: Option<Program>,
    /// Where the shard finds the jobs sent to it.
    pub(super) inbox: Option<Inbox>,
    /// Where the stack can be looked at; the first shard's.
    pub(super) control: Option<ControlSocket>,
}

/// What a shard sends and receives through.
pub(super) enum QueueParts<D> {
    /// A queue pair of its own, and who shares it.
    Own(D, Sharing),
    /// A sibling's.
    Proxy(ProxyQueue),
}

/// How flows are spread over shards of these weights, by a key that nobody else knows.
///
/// # Errors
/// Not one weight is above zero.
pub(super) fn steering(seed: &[u8; 32], weights: &[u32]) -> Result<Steering, RunError> {
    let size = if weights.len() > 64 { TableSize::Entries512 } else { TableSize::Entries128 };
    let table = IndirectionTable::new(size, weights)?;
    let mut seed = *seed;
    // Apart from what the shards' own secrets come from.
    seed[31] ^= 0xff;
    Ok(Steering::new(Toeplitz::new(RssKey::random(&mut Random::from_key(seed))), table))
}

/// A host to be taken apart.
pub(super) struct HostDescription<'a> {
    /// Tells the hosts of one process apart.
    pub(super) number: u8,
    pub(super) addresses: &'a [InterfaceAddress],
    pub(super) gateway: Option<IpAddr>,
    /// The filters that every shard has.
    pub(super) filters: Vec<FilterMaker>,
    /// How the first shard configures the device by DHCP.
    pub(super) dhcp: Option<DhcpConfig>,
    /// One a shard: its part of the flows, and of its queue's room to send.
    pub(super) weights: Vec<u32>,
    /// How flows are spread over the shards.
    pub(super) steering: Steering,
    /// Where each queue's frames are written to.
    pub(super) pcap: Option<PathBuf>,
}

impl HostDescription<'_> {
    /// The parts of each shard. The first shards own the queues, one each; the others share those in turn.
    ///
    /// # Errors
    /// No descriptors; a capture that cannot be begun.
    pub(super) fn take_apart<D: QueuePair>(
        self,
        common: &Common,
        devices: Vec<D>,
    ) -> Result<Vec<ShardParts<Pcap<D>>>, RunError> {
        let capabilities = devices.first().ok_or(RunError::Queues { queues: 0, shards: 1 })?.capabilities();
        let births = self.births(common, capabilities);
        let shards = self.weights.len();
        let ends = mesh::join(shards as u16, &MeshConfig::for_shards(shards))?;
        let failures: Vec<_> = (0..shards).map(|_| CaptureFailure::default()).collect();
        let mut queues: Vec<Option<QueueParts<Pcap<D>>>> = (0..shards).map(|_| None).collect();
        let count = devices.len();
        for (owner, device) in devices.into_iter().enumerate() {
            let of = |shard: usize| (ShardId(shard as u16), self.weights[shard], ends[shard].alarm());
            let others: Vec<_> = (owner + count..shards).step_by(count).map(of).collect();
            let (sharing, proxies) = mesh::share(capabilities, of(owner), &others);
            for ((shard, ..), proxy) in others.iter().zip(proxies) {
                queues[usize::from(shard.0)] = Some(QueueParts::Proxy(proxy));
            }
            let device = match &self.pcap {
                Some(path) => capture(device, &queue_path(path, owner), &failures[owner])?,
                None => Pcap::off(device),
            };
            queues[owner] = Some(QueueParts::Own(device, sharing));
        }
        let parts = births.into_iter().zip(ends).zip(queues).zip(failures);
        let part = |(((birth, mesh), queue), capture_failure)| {
            let queue: Option<QueueParts<_>> = queue;
            queue.map(|queue| ShardParts {
                birth,
                mesh,
                queue,
                capture_failure,
                program: None,
                inbox: None,
                control: None,
            })
        };
        Ok(parts.filter_map(part).collect())
    }

    fn births(&self, common: &Common, device: Capabilities) -> Vec<Birth> {
        let mut seed = common.seed;
        seed[0] ^= self.number;
        let mut random = Random::from_key(seed);
        let default_route = |gateway: IpAddr| Route {
            network: if gateway.is_ipv4() { [0; 4].into() } else { [0; 16].into() },
            prefix: 0,
            gateway,
            interface: InterfaceId::DEVICE,
        };
        let addresses = self.addresses.iter().copied();
        let configuration = Configuration::new(addresses, self.gateway.map(default_route));
        let birth = |shard| {
            let mut seed = [0; 32];
            random.fill(&mut seed);
            Birth {
                id: ShardId(shard),
                config: common.config.clone(),
                seed,
                device,
                memory: common.memory.clone(),
                steering: self.steering.clone(),
                configuration: configuration.clone(),
                filters: self.filters.clone(),
                dhcp: self.dhcp.clone().filter(|_| shard == 0),
            }
        };
        (0..self.weights.len() as u16).map(birth).collect()
    }
}

/// Each queue has a capture of its own: `a.pcapng`, `a.1.pcapng`, `a.2.pcapng`...
fn queue_path(path: &Path, queue: usize) -> PathBuf {
    if queue == 0 {
        return path.to_owned();
    }
    let extension = path.extension().map(|extension| extension.to_string_lossy()).unwrap_or_default();
    let dot = if extension.is_empty() { "" } else { "." };
    path.with_extension(format!("{queue}{dot}{extension}"))
}

/// Begins to write a device's traffic to a file.
fn capture<D: QueuePair>(device: D, path: &Path, failure: &CaptureFailure) -> Result<Pcap<D>, RunError> {
    let failure = Arc::clone(failure);
    let on_failure = move |error: PcapError| {
        // There is one failure: it ends the capture.
        let _ = failure.set(error.to_string());
    };
    let config = PcapConfig { interface: "sunstar".to_owned(), snap_length: None };
    File::create(path)
        .and_then(|file| {
            let capture = Pcap::new(device, config, file, Clock::unix_nanoseconds, on_failure);
            capture.map_err(|error| error.source)
        })
        .map_err(|source| RunError::Pcap { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_is_captured_to_a_file_of_its_own() {
        let named = |queue| queue_path(Path::new("/tmp/a.pcapng"), queue);
        assert_eq!([named(0), named(1)], [PathBuf::from("/tmp/a.pcapng"), PathBuf::from("/tmp/a.1.pcapng")]);
        assert_eq!(queue_path(Path::new("/tmp/a"), 2), PathBuf::from("/tmp/a.2"));
    }
}
