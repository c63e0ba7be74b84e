//! One host of the simulation: a shard, its port, and an application that does what the scenario says.

mod application;
mod tcp;
mod udp;

use std::net::{Ipv4Addr, SocketAddr};

use sunstar_packet::{Capabilities, Medium, Memory, Notes, Pool, PoolConfig, SegmentationOffload, SizeClass};
use sunstar_stack::random::Random;
use sunstar_stack::steering::{IndirectionTable, RssKey, ShardId, Steering, TableSize, Toeplitz};
use sunstar_stack::time::{Duration, Instant};
use sunstar_stack::{
    Alone, Configuration, Counters, InterfaceAddress, InterfaceId, Next, Route, Shard, ShardConfig,
    ShardSetup,
};
use sunstar_wire::IpAddress;

use crate::Side;
use crate::check::{Breach, Flows, check_frame};
use crate::decode::{Decoded, decode};
use crate::frame::Frame;
use crate::port::{Port, Sent};
use crate::trace::dump;
pub(crate) use application::Application;

/// What a host is like.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Its address; its network is the /24 around it.
    pub address: Ipv4Addr,
    /// Its default gateway.
    pub gateway: Option<Ipv4Addr>,
    /// The station it is; ignored where the medium has none.
    pub mac: [u8; 6],
    /// What its device carries.
    pub medium: Medium,
    /// The largest IP packet, in bytes.
    pub mtu: usize,
    /// Whether its device completes checksums and cuts large packets.
    pub offloads: bool,
    /// Frames on its device's transmit ring.
    pub ring: usize,
    /// Bits a second its device sends; without an end if `None`.
    pub rate: Option<u64>,
    /// Frames its device's receive ring holds; what comes on top is lost.
    pub receive_ring: u32,
    /// How long its core takes for each frame that a turn receives or builds. By default no time at all.
    pub frame_cost: Duration,
    /// The settings of its shard.
    pub shard: ShardConfig,
    /// Its buffers.
    pub pool: PoolConfig,
    /// Its clock at the start.
    pub start: Instant,
}

/// Settings with which a host says nothing of its own accord: its address is not announced.
pub(crate) fn quiet(mut config: ShardConfig) -> ShardConfig {
    config.neighbor.announcements = 0;
    config
}

impl HostConfig {
    /// The host usual for a side: 10.0.0.1 or 10.0.0.2, Ethernet, no offload.
    pub fn new(side: Side) -> Self {
        let number = side as u8 + 1;
        Self {
            address: Ipv4Addr::new(10, 0, 0, number),
            gateway: None,
            mac: [0x02, 0, 0, 0, 0, number],
            medium: Medium::Ethernet,
            mtu: 1_500,
            offloads: false,
            ring: 256,
            rate: None,
            receive_ring: u32::MAX,
            frame_cost: Duration::ZERO,
            shard: quiet(ShardConfig::default()),
            pool: PoolConfig {
                small_count: 8_192,
                staging_count: 256,
                max_loans: 16_384,
                ..PoolConfig::default()
            },
            start: Instant::from_millis(1),
        }
    }

    /// Its address, and the way out of its network.
    pub(crate) fn configuration(&self) -> Configuration {
        let address = InterfaceAddress { address: self.address.into(), prefix: 24 };
        let default = self.gateway.map(|gateway| Route {
            network: Ipv4Addr::UNSPECIFIED.into(),
            prefix: 0,
            gateway: gateway.into(),
            interface: InterfaceId::DEVICE,
        });
        Configuration::new([address], default)
    }

    /// What its device is and can do.
    pub(crate) fn device(&self) -> Capabilities {
        let on = self.offloads;
        Capabilities {
            medium: self.medium,
            mac: if self.medium == Medium::Ethernet { self.mac } else { [0; 6] },
            mtu: self.mtu,
            transmit_checksum: on,
            segmentation: SegmentationOffload { tcp_v4: on, tcp_v6: on, udp: on },
        }
    }
}

/// A frame that has left a host, and what the checkers read in it.
pub(crate) struct Said {
    /// When its last bit was on the wire.
    pub(crate) at: Instant,
    pub(crate) frame: Frame,
    pub(crate) decoded: Decoded,
}

/// One host: a real shard with real buffers, and an application that does as it is told.
///
/// Its methods are what a scenario's application does. They act at once; what follows from them happens when
/// the simulation is driven.
pub struct Host {
    name: &'static str,
    address: Ipv4Addr,
    device: Capabilities,
    shard: Shard,
    port: Port,
    next: Next,
    /// Whether the application did something since the last turn.
    touched: bool,
    now: Instant,
    random: Random,
    flows: Flows,
    pub(crate) application: Application,
    failure: Option<String>,
    /// Whether its core does something else: it takes no turn.
    suspended: bool,
    frame_cost: Duration,
    /// When its core is done with the last turn, if that took time.
    working_until: Option<Instant>,
}

impl Host {
    pub(crate) fn new(name: &'static str, config: &HostConfig, memory: &Memory, random: &mut Random) -> Self {
        let device = config.device();
        let pool = Pool::new(memory, &config.pool).expect("memory for a host's buffers");
        let table = IndirectionTable::new(TableSize::Entries128, &[1]).expect("one shard is a valid table");
        let mut seed = [0; 32];
        random.fill(&mut seed);
        let shard = Shard::new(ShardSetup {
            id: ShardId(0),
            config: config.shard.clone(),
            seed,
            device,
            pool,
            steering: Steering::new(Toeplitz::new(RssKey::MICROSOFT), table),
            incarnation: 0,
            configuration: config.configuration(),
            now: config.start,
        });
        let mut port = Port::new(device);
        (port.ring, port.rate, port.receive_ring) = (config.ring, config.rate, config.receive_ring);
        Self {
            name,
            address: config.address,
            device,
            shard,
            port,
            next: Next { busy: false, wants_room: false, deadline: None },
            touched: false,
            now: config.start,
            random: Random::from_seed(random.next_u64()),
            flows: Flows::new(config.mtu, config.shard.tcp.min_mss),
            application: Application::default(),
            failure: None,
            suspended: false,
            frame_cost: config.frame_cost,
            working_until: None,
        }
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What its device is and can do.
    pub fn device(&self) -> &Capabilities {
        &self.device
    }

    /// One of its ports, as others reach it.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address.into(), port)
    }

    /// What its shard counted.
    pub fn counters(&self) -> &Counters {
        self.shard.counters()
    }

    /// How many events were counted of what became of frames, what IP as such counts aside: no frame that is received leaves
    /// this as it was.
    pub fn fates(&self) -> u64 {
        let Counters { drops, reassembly, control, udp, tcp, .. } = self.counters();
        drops.total() + reassembly.total() + control.total() + udp.total() + tcp.total()
    }

    /// Its buffers.
    pub fn pool(&self) -> &Pool {
        self.shard.pool()
    }

    /// Its shard, to look at.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Its shard, for calls that have no method here.
    pub fn shard_mut(&mut self) -> &mut Shard {
        self.touched = true;
        &mut self.shard
    }

    /// Buffers in use after those lent have been taken back.
    pub fn buffers_out(&self) -> usize {
        self.pool().collect();
        self.pool().buffers_out()
    }

    /// Its transmit ring takes nothing from now on.
    pub fn stall(&mut self) {
        self.port.stalled = true;
    }

    /// Its transmit ring takes frames again.
    pub fn resume(&mut self) {
        self.port.stalled = false;
    }

    /// It takes no turn from now on, whatever happens: its core is taken away, or its machine sleeps.
    pub fn suspend(&mut self) {
        self.suspended = true;
    }

    /// It takes turns again.
    pub fn wake(&mut self) {
        self.suspended = false;
    }

    /// Its device is gone for good.
    pub fn fail_device(&mut self) {
        self.port.fail();
        self.touched = true;
    }

    /// Gives it another address beside its own.
    pub fn add_address(&mut self, address: Ipv4Addr) {
        let address = InterfaceAddress { address: address.into(), prefix: 24 };
        self.shard_mut().add_address(InterfaceId::DEVICE, address);
    }

    /// Takes one of its addresses away.
    pub fn remove_address(&mut self, address: Ipv4Addr) {
        self.shard_mut().remove_address(InterfaceId::DEVICE, IpAddress::V4(address));
    }

    pub(crate) fn set_link(&mut self, up: bool) {
        self.port.up = up;
        self.touched = true;
    }

    pub(crate) fn port_mut(&mut self) -> &mut Port {
        &mut self.port
    }

    /// Whether there is something to do without waiting for time to pass.
    pub(crate) fn is_busy(&self) -> bool {
        self.failure.is_none()
            && !self.suspended
            && self.working_until.is_none()
            && (self.touched
                || self.next.busy
                || self.port.has_received()
                || self.next.wants_room && self.port.has_room() && !self.is_starved())
    }

    /// Whether it could send, but has no buffer to build with.
    fn is_starved(&self) -> bool {
        let pool = self.shard.pool();
        pool.collect();
        pool.free(SizeClass::Small) == 0
    }

    /// When there is something to do by itself.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.suspended {
            return None;
        }
        if self.working_until.is_some() {
            return self.working_until;
        }
        let timer = self.next.deadline.filter(|_| self.failure.is_none());
        timer.into_iter().chain(self.port.next_departure()).min()
    }

    /// Lets the shard take its turn, and the application act on what became ready. The frames that left.
    ///
    /// # Panics
    /// When the host says something it must not say.
    pub(crate) fn turn(&mut self, now: Instant) -> Vec<Said> {
        if self.suspended || self.working_until.is_some_and(|done| now < done) {
            return Vec::new();
        }
        self.working_until = None;
        let timer_due = self.deadline().is_some_and(|deadline| deadline <= now);
        let may_speak = self.is_busy() || timer_due;
        self.now = now;
        self.touched = false;
        self.port.now = now;
        self.port.limits = self.limits();
        let before = self.port.frames();
        match self.shard.turn(now, &mut self.port, &mut Alone) {
            Ok(next) => self.next = next,
            Err(error) => {
                self.next = Next { busy: false, wants_room: false, deadline: self.shard.next_deadline() };
                self.failure.get_or_insert_with(|| error.to_string());
            }
        }
        let work = self.frame_cost * (self.port.frames() - before) as u32;
        self.working_until = (!work.is_zero()).then(|| now + work);
        let said = self.judge_sent(may_speak);
        self.note_delivered();
        self.attend();
        said
    }

    /// Now and then a device has room for few frames only, or gives few.
    fn limits(&mut self) -> (usize, usize) {
        let mut limit = || match self.random.below(8) {
            0 => self.random.range(1..=4) as usize,
            _ => usize::MAX,
        };
        (limit(), limit())
    }

    fn judge_sent(&mut self, may_speak: bool) -> Vec<Said> {
        let sent = self.port.take_sent();
        let judge = |sent: Sent| {
            let Sent { at, frame } = sent;
            let verdict = if may_speak {
                check_frame(&frame.bytes, &frame.notes, &self.device).and_then(|decoded| {
                    self.flows.on_sent(&decoded, &frame.notes)?;
                    Ok(decoded)
                })
            } else {
                Err(Breach::new(20, "it speaks without input, timer or call"))
            };
            match verdict {
                Ok(decoded) => Said { at, frame, decoded },
                Err(breach) => self.object(&breach, &frame),
            }
        };
        sent.into_iter().map(judge).collect()
    }

    fn object(&self, breach: &Breach, frame: &Frame) -> ! {
        let Frame { bytes, notes, .. } = frame;
        let line =
            decode(bytes, self.device.medium).map_or_else(|error| error, |decoded| decoded.to_string());
        panic!("host {} at {} is wrong: {breach}\n{line}\n{notes:?}\n{}", self.name, self.now, dump(bytes));
    }

    fn note_delivered(&mut self) {
        let handed_up = self.port.handed_up.as_mut().map(std::mem::take).unwrap_or_default();
        for bytes in handed_up {
            self.flows.on_arrived();
            if let Ok(decoded) = decode(&bytes, self.device.medium) {
                self.flows.on_delivered(&decoded);
            }
        }
    }

    /// Puts a frame before the host as if it came from the wire. One for which there is no buffer is lost, as on a card.
    pub fn receive_frame(&mut self, frame: &[u8], notes: Notes) {
        self.receive_frame_before(frame, &[], notes);
    }

    /// The same with other bytes behind the frame, in the same memory.
    pub fn receive_frame_before(&mut self, frame: &[u8], behind: &[u8], notes: Notes) {
        self.port.deliver_before(self.shard.pool(), (frame, behind), notes);
    }

    /// Sees that nothing is left behind.
    ///
    /// # Panics
    /// When something is.
    pub(crate) fn assert_at_rest(&mut self) {
        while self.shard.poll_ready().is_some() {}
        assert!(!self.is_busy(), "host {} does not come to rest: {:?}", self.name, self.next);
        assert!(!self.shard.has_work(), "host {} has something left to say", self.name);
        let left: Vec<_> = self.shard.tcp_connections().collect();
        assert!(left.is_empty(), "host {} has connections left: {left:?}", self.name);
        assert_eq!(self.shard.tcp_time_wait(), 0, "host {} remembers closed connections", self.name);
        let out = self.buffers_out();
        assert_eq!(out, 0, "host {} has buffers out: {:?}", self.name, self.pool());
    }
}
