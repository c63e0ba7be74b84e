//! One shard, and the one turn that moves it.

mod account;
mod configure;
mod pull;
mod steer;

use std::collections::BTreeSet;

use sunstar_packet::{Capabilities, DeviceError, LinkState, Packet, Pool, QueuePair};
use sunstar_wire::icmpv4::UnreachableCode;
use sunstar_wire::{IpAddress, Protocol};

pub use account::{Fill, SlotOwner};
pub use configure::ConfigureError;
use pull::Source;

use crate::config::ShardConfig;
use crate::core::{Core, Timer};
use crate::counters::Counters;
use crate::dhcp::Leasing;
use crate::ip::icmp::Icmp;
use crate::ip::igmp::Igmp;
use crate::ip::path_mtu::PathMtus;
use crate::ip::{
    Configuration, Disposition, FilterChain, FilterId, Identifications, Interface, InterfaceId, Interfaces,
    IpInput, PacketFilter, Path, PathMtuInfo, Reassembly, ReassemblyInfo, Route, Routes, Whole,
};
use crate::link::{LinkInput, Loopback, RoundRobin, Want};
use crate::mesh::{Arrival, Mesh, Stage};
use crate::neighbor::{NeighborInfo, Neighbors, OwnAddresses};
use crate::random::Random;
use crate::siblings::{SPEAKER, Siblings};
use crate::socket::{Ready, ReadyQueue, SocketHandle};
use crate::steering::{ShardId, Steering};
use crate::tcp::Tcp;
use crate::time::{Duration, Instant};
use crate::timer::TimerWheel;
use crate::udp::Udp;

/// Frames the device pulls in one turn at most.
const PULL_BUDGET: usize = 64;
/// Frames received in one turn at most, from the device and from each other source.
const RECEIVE_BUDGET: usize = 32;
/// Timers fired in one turn at most.
const TIMER_BUDGET: usize = 256;
/// How long a shard sleeps at most while a sender waits for buffers, or a sibling has not been told something.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// When a shard wants its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// There is more to do now.
    pub busy: bool,
    /// Something is to be sent, but the device had no room.
    pub wants_room: bool,
    /// Without anything received, there is nothing to do before this.
    pub deadline: Option<Instant>,
}

/// Everything a new shard is given.
pub struct ShardSetup {
    /// Which shard of its host it is.
    pub id: ShardId,
    /// Its settings.
    pub config: ShardConfig,
    /// The secret all its randomness comes from. The same seed and inputs give the same outputs.
    pub seed: [u8; 32],
    /// What the device its turns are given can do.
    pub device: Capabilities,
    /// Its buffers.
    pub pool: Pool,
    /// How flows are spread over the shards; all siblings have the same. A shard that takes the place of another begins
    /// with the owners of ports that the other knew: what arrives before it is told more goes astray no more than there.
    pub steering: Steering,
    /// How many shards with this number there were before: siblings tell a fresh shard all that it has to know.
    pub incarnation: u32,
    /// Addresses and routes; all siblings begin with the same. A shard that takes the place of another begins with those that
    /// the other knew.
    pub configuration: Configuration,
    /// The time now.
    pub now: Instant,
}

/// One core's whole stack, as a state machine: no thread, no clock, no descriptor.
pub struct Shard {
    id: ShardId,
    pub(crate) core: Core,
    pub(crate) tcp: Tcp,
    pub(crate) udp: Udp,
    pub(crate) icmp: Icmp,
    igmp: Igmp,
    filters: FilterChain,
    loopback: Loopback,
    round_robin: [RoundRobin; InterfaceId::COUNT],
    burst: Vec<Packet>,
    /// Packets that each entry of the indirection table has steered, of those that arrived here.
    heat: Box<[u64]>,
    pub(crate) leasing: Option<Leasing>,
}

impl Shard {
    /// A shard without addresses or sockets.
    pub fn new(setup: ShardSetup) -> Self {
        let ShardSetup { id, config, seed, device, pool, mut steering, incarnation, configuration, now } =
            setup;
        let mut random = Random::from_key(seed);
        let reassembly = Reassembly::new(&mut random);
        let identifications = Identifications::new(&mut random);
        let version = configuration.version();
        let siblings = Siblings::new(id, steering.shards(), incarnation, steering.owners_mut(), version);
        let mut shard = Self {
            id,
            leasing: None,
            tcp: Tcp::new(id, &config, &mut random),
            udp: Udp::new(&mut random),
            icmp: Icmp::new(&mut random),
            igmp: Igmp::new(),
            filters: FilterChain::default(),
            loopback: Loopback::default(),
            round_robin: Default::default(),
            burst: Vec::with_capacity(RECEIVE_BUDGET),
            heat: vec![0; steering.table().entries().len()].into(),
            core: Core {
                config,
                now,
                pool,
                interfaces: Interfaces::new(&device),
                configuration,
                own_addresses: OwnAddresses::default(),
                routes: Routes::default(),
                path_mtus: PathMtus::new(&mut random),
                neighbors: Neighbors::new(&mut random),
                timers: TimerWheel::new(now),
                ready: ReadyQueue::default(),
                want: Want::default(),
                steering,
                siblings,
                counters: Counters::default(),
                starved: BTreeSet::new(),
                departed: Vec::new(),
                random,
                reassembly,
                reassembly_timer: None,
                identifications,
                trains: Default::default(),
            },
        };
        shard.configure_first();
        shard
    }

    /// The only way a shard moves: lets the device pull, receives a burst, drains the mesh, fires due timers.
    ///
    /// # Errors
    /// The device is gone. Every socket that used it has failed with `NetworkDown`.
    pub fn turn(
        &mut self,
        now: Instant,
        queue_pair: &mut impl QueuePair,
        mesh: &mut impl Mesh,
    ) -> Result<Next, DeviceError> {
        self.core.now = self.core.now.max(now);
        self.core.counters.turns += 1;
        self.core.pool.collect();
        self.igmp.follow_members(&mut self.core);
        self.core.path_mtus.expire(self.core.now);
        let turned = self.exchange(queue_pair, mesh);
        if turned.is_err() {
            self.fail_device();
        }
        self.exchange_control(mesh);
        self.fire_timers();
        self.follow_addresses();
        self.settle();
        self.feed_starved();
        let (more_received, wants_room) = turned?;
        let due = self.core.timers.next_deadline().is_some_and(|deadline| deadline <= self.core.now);
        let device = self.core.want.any(InterfaceId::DEVICE) && !wants_room;
        let loopback = self.core.want.any(InterfaceId::LOOPBACK) || !self.loopback.is_empty();
        // Buffers come home without a word: whoever waits for them has the shard look again soon.
        // And a sibling's ring has room again without a word.
        let waits = !self.core.starved.is_empty() || self.core.siblings.is_pending();
        let look = waits.then(|| self.core.now + LOOK_AGAIN);
        Ok(Next {
            busy: more_received || device || loopback || due,
            wants_room,
            deadline: self.core.timers.next_deadline().into_iter().chain(look).min(),
        })
    }

    /// Sends and receives. Whether there may be more to receive, and whether the device lacks room.
    fn exchange(
        &mut self,
        queue_pair: &mut impl QueuePair,
        mesh: &mut impl Mesh,
    ) -> Result<(bool, bool), DeviceError> {
        let pool = self.core.pool.clone();
        let mut source = Source { shard: self, interface: InterfaceId::DEVICE };
        let pulled = queue_pair.pull(&pool, PULL_BUDGET, &mut source)?;
        let wants_room = pulled < PULL_BUDGET && self.core.want.any(InterfaceId::DEVICE);
        self.loop_back();

        let mut burst = std::mem::take(&mut self.burst);
        let received = queue_pair.receive(&pool, RECEIVE_BUDGET, &mut burst);
        for frame in burst.drain(..) {
            self.steer(InterfaceId::DEVICE, frame, mesh);
        }
        self.burst = burst;
        let received = received?;
        if received == 0 {
            // To ask may cost a system call, and what just received has a carrier.
            self.core.interfaces.get_mut(InterfaceId::DEVICE).up = queue_pair.link() == LinkState::Up;
        }

        let mut from_mesh = 0;
        while from_mesh < RECEIVE_BUDGET
            && let Some((arrival, loan)) = mesh.receive()
        {
            from_mesh += 1;
            self.input(arrival, loan.adopt(&pool), mesh);
        }
        self.core.counters.mesh.received += from_mesh as u64;
        let mut looped = 0;
        while looped < RECEIVE_BUDGET
            && let Some(packet) = self.loopback.pop()
        {
            looped += 1;
            self.steer(InterfaceId::LOOPBACK, packet, mesh);
        }
        Ok((received == RECEIVE_BUDGET || from_mesh == RECEIVE_BUDGET, wants_room))
    }

    /// Tells siblings what is new here, and hears what is new there; what that settles goes on.
    fn exchange_control(&mut self, mesh: &mut impl Mesh) {
        self.core.exchange_control(mesh);
        while let Some(change) = self.core.siblings.changed.pop_front() {
            self.apply(change.subject, change.setting);
        }
        self.wake_waiters();
        while let Some(handle) = self.core.siblings.settled.pop() {
            if let Some(noted) = noted(&mut self.tcp, &mut self.udp, &mut self.icmp, handle) {
                self.core.ready.set(noted, Ready::WRITABLE, handle);
            }
        }
    }

    /// Takes a packet up, from where it has come: link, IP, transport.
    fn input(&mut self, Arrival { interface, stage }: Arrival, packet: Packet, mesh: &mut impl Mesh) {
        let link_input = match stage {
            Stage::Frame => self.core.link_input(interface, packet),
            Stage::Packet { group } => Some(LinkInput { packet, group }),
            Stage::Datagram { group, ecn } => {
                let whole = Whole { interface, group, ecn, packet };
                return self.core.whole_input(whole).into_iter().for_each(|input| self.deliver(input));
            }
        };
        let Some(link_input) = link_input else { return self.wake_waiters() };
        match self.core.ipv4_input(interface, link_input, &mut self.filters) {
            // RFC 3376 section 4: what has come from beyond the link is none.
            Some(Disposition::Deliver(input) | Disposition::Whole(input))
                if input.protocol == Protocol::IGMP && input.ttl == 1 && self.id != SPEAKER =>
            {
                self.hand_over(SPEAKER, input.arrival(), input.packet, mesh);
            }
            Some(Disposition::Deliver(input)) => self.deliver(input),
            Some(Disposition::Whole(input)) => self.steer_whole(input, mesh),
            Some(Disposition::BadOption(pointer, input)) => {
                self.icmp.parameter_problem(&mut self.core, pointer, input);
            }
            // Two filters that hand over to each other would do so for ever.
            Some(Disposition::HandTo { .. }) if stage != Stage::Frame => {
                self.core.counters.drops.filtered += 1
            }
            Some(Disposition::HandTo { shard, group, packet }) => {
                let arrival = Arrival { interface, stage: Stage::Packet { group } };
                self.hand_over(shard, arrival, packet, mesh);
            }
            Some(Disposition::ToDhcp { header, group, packet }) => {
                if !self.core.is_dhcp_reply(interface, &header, &packet) {
                    self.core.counters.drops.filtered += 1;
                } else if self.id == SPEAKER {
                    self.dhcp_input(interface, &header, packet);
                } else {
                    let arrival = Arrival { interface, stage: Stage::Packet { group } };
                    self.hand_over(SPEAKER, arrival, packet, mesh);
                }
            }
            None => {}
        }
    }

    /// Gives a transport what is for it.
    fn deliver(&mut self, input: IpInput) {
        self.core.counters.ip.group_received += u64::from(input.group);
        let refused = match input.protocol {
            Protocol::TCP => return self.tcp.input(&mut self.core, input),
            Protocol::UDP => match self.udp.input(&mut self.core, input) {
                Ok(()) => return,
                Err(input) => {
                    self.core.counters.drops.udp_no_socket += 1;
                    (UnreachableCode::Port, input)
                }
            },
            Protocol::ICMP => {
                if let Some(error) = self.icmp.input(&mut self.core, input) {
                    match error.protocol {
                        Protocol::TCP => self.tcp.on_icmp_error(&mut self.core, &error),
                        Protocol::UDP => self.udp.on_icmp_error(&mut self.core, &error),
                        Protocol::ICMP => self.icmp.on_icmp_error(&mut self.core, &error),
                        _ => self.core.counters.drops.icmp_ignored += 1,
                    }
                }
                return;
            }
            Protocol::IGMP => return self.igmp.input(&mut self.core, input),
            _ => {
                self.core.counters.drops.unknown_protocol += 1;
                (UnreachableCode::Protocol, input)
            }
        };
        self.icmp.unreachable(&mut self.core, refused.0, refused.1);
    }

    /// Connections whose neighbour was found, or was not, go on.
    fn wake_waiters(&mut self) {
        while let Some((connection, answered)) = self.core.neighbors.woken.pop() {
            self.tcp.on_neighbor(&mut self.core, connection, answered);
        }
    }

    fn fire_timers(&mut self) {
        self.core.timers.advance(self.core.now);
        for _ in 0..TIMER_BUDGET {
            let Some(timer) = self.core.timers.pop_expired() else { return };
            match timer {
                Timer::Connection(key) => self.tcp.on_timer(&mut self.core, key),
                Timer::TimeWait => self.tcp.on_time_wait_timer(&mut self.core),
                Timer::Reassembly => self.on_reassembly_timer(),
                Timer::OwnAddress(own) => self.core.on_own_address_timer(own),
                Timer::Dhcp => self.on_dhcp_timer(),
                Timer::Igmp(alarm) => self.igmp.on_timer(&mut self.core, alarm),
                Timer::Neighbor(key) => {
                    let (neighbors, mut context) = self.core.neighbors();
                    let unsent = neighbors.on_timer(key, &mut context);
                    self.core.drop_unsent(unsent);
                    self.core.want_neighbors(InterfaceId::DEVICE);
                    self.wake_waiters();
                }
            }
        }
    }

    /// Datagrams that were not completed are given up, and their senders told (RFC 792).
    fn on_reassembly_timer(&mut self) {
        self.core.reassembly_timer = None;
        let now = self.core.now;
        while let Some(expired) = self.core.reassembly.expire(now, &mut self.core.counters.drops) {
            self.icmp.reassembly_time_exceeded(&mut self.core, expired);
        }
        if let Some(due) = self.core.reassembly.next_due() {
            self.core.reassembly_timer = Some(self.core.timers.insert(Timer::Reassembly, due));
        }
    }

    /// Accounts for packets that were dropped on their way to a device.
    fn settle(&mut self) {
        let displaced = std::mem::take(&mut self.core.neighbors.displaced);
        self.core.drop_unsent(displaced);
        while let Some(departure) = self.core.departed.pop() {
            self.departed(departure);
        }
    }

    /// Tells senders that found the pool empty, as soon as there is a buffer for one of them.
    fn feed_starved(&mut self) {
        if self.core.starved.is_empty() || self.core.is_scarce() {
            return;
        }
        for handle in std::mem::take(&mut self.core.starved) {
            if let Some(noted) = noted(&mut self.tcp, &mut self.udp, &mut self.icmp, handle) {
                self.core.ready.set(noted, Ready::WRITABLE, handle);
            }
        }
    }

    /// The device is gone: what used it fails. A turn sees that by itself; a fresh shard does not, when the device of the
    /// one before it had failed already.
    pub fn fail_device(&mut self) {
        let core = &mut self.core;
        let device = core.interfaces.get_mut(InterfaceId::DEVICE);
        if device.failed {
            return;
        }
        (device.up, device.failed) = (false, true);
        let unsent = core.neighbors.flush(InterfaceId::DEVICE, &mut core.timers);
        core.drop_unsent(unsent);
        let train = core.trains[usize::from(InterfaceId::DEVICE.0)].take();
        core.departed.extend(train.and_then(|train| train.departure()));
        self.tcp.on_device_failed(&mut self.core);
        self.udp.on_device_failed(&mut self.core);
    }

    /// Tells the time before a call between turns, so that deadlines it sets count from then.
    pub fn set_now(&mut self, now: Instant) {
        self.core.now = self.core.now.max(now);
    }

    /// Which shard this is.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The time of the current turn, or the last one.
    pub fn now(&self) -> Instant {
        self.core.now
    }

    /// The shard's buffers.
    pub fn pool(&self) -> &Pool {
        &self.core.pool
    }

    /// Its settings.
    pub fn config(&self) -> &ShardConfig {
        &self.core.config
    }

    /// What the shard counted.
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// Whether applications or the device have left something to do: the shard wants a turn soon.
    pub fn has_work(&self) -> bool {
        // What still wants to leave by a device that is gone never will.
        let device_failed = self.core.interfaces.get(InterfaceId::DEVICE).failed;
        !device_failed && self.core.want.any(InterfaceId::DEVICE)
            || self.core.want.any(InterfaceId::LOOPBACK)
            || !self.core.ready.is_empty()
            || self.core.siblings.is_pending()
            || !self.core.siblings.settled.is_empty()
    }

    /// How many packets each entry of the indirection table has steered, of those that arrived here. A lone shard
    /// steers none.
    pub fn heat(&self) -> &[u64] {
        &self.heat
    }

    /// How packets are steered, as this shard knows it.
    pub fn steering(&self) -> &Steering {
        &self.core.steering
    }

    /// When the next timer is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.core.timers.next_deadline()
    }

    /// The next socket that became ready, and for what. Sockets closed meanwhile are passed over.
    pub fn poll_ready(&mut self) -> Option<(SocketHandle, Ready)> {
        while let Some(handle) = self.core.ready.pop() {
            if let Some(ready) = noted(&mut self.tcp, &mut self.udp, &mut self.icmp, handle) {
                return Some((handle, std::mem::take(ready)));
            }
        }
        None
    }

    /// The interfaces.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.core.interfaces.iter()
    }

    /// The routes.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.core.routes.iter()
    }

    /// How a destination is reached.
    pub fn path(&self, destination: IpAddress) -> Option<Path> {
        self.core.path(destination, None)
    }

    /// The paths that take less than their interface does.
    pub fn path_mtus(&self) -> impl Iterator<Item = PathMtuInfo> {
        self.core.path_mtus.iter(self.core.now)
    }

    /// The neighbours.
    pub fn neighbors(&self) -> impl Iterator<Item = NeighborInfo> {
        self.core.neighbors.iter(self.core.now)
    }

    /// What incomplete datagrams hold.
    pub fn reassembly(&self) -> ReassemblyInfo {
        ReassemblyInfo { datagrams: self.core.reassembly.len(), held: self.core.reassembly.held() }
    }

    /// Installs a packet filter behind those already there.
    pub fn install_filter(&mut self, filter: Box<dyn PacketFilter>) -> FilterId {
        self.filters.install(filter)
    }

    /// Removes a packet filter; whether it was there.
    pub fn remove_filter(&mut self, filter: FilterId) -> bool {
        self.filters.remove(filter)
    }
}

/// Where a socket notes what it became ready for.
fn noted<'a>(
    tcp: &'a mut Tcp,
    udp: &'a mut Udp,
    icmp: &'a mut Icmp,
    handle: SocketHandle,
) -> Option<&'a mut Ready> {
    match handle {
        SocketHandle::Listener(key) => tcp.listener_ready(key),
        SocketHandle::Stream(key) => tcp.connection_ready(key),
        SocketHandle::Udp(key) => udp.sockets.get_mut(key).map(|socket| &mut socket.ready),
        SocketHandle::Echo(key) => icmp.sockets.get_mut(key).map(|socket| &mut socket.ready),
    }
}
