//! A host of a live network: what it is made of, and the handle that applications and scenarios have of it.

use std::cell::{OnceCell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use sunstar::simulation::{self, Wanted};
use sunstar::{Builder, InterfaceAddress, Net, RunError};
use sunstar_packet::{Capabilities, Medium, SegmentationOffload};
use sunstar_stack::random::Random;

use super::clock::Clock;
use super::queue::Queue;
use crate::link::{Impairments, Link, LinkCounters};
use crate::port::Port;
use crate::us;

/// What a host is like.
#[derive(Debug)]
pub struct HostOptions {
    /// Its stack, described as for production: shards, queues, weights, settings, filters. It gets an address of the
    /// network's, 10.0.0.1/24 for the first host, unless it has one; its seed is always the network's. What it says of the
    /// machine (device, cores, watchdog, control socket, capture) does not matter.
    pub stack: Builder,
    /// What happens to frames on their way from it, and to it.
    pub link: [Impairments; 2],
    /// Bits a second that each of its queues sends; without an end if `None`.
    pub rate: Option<u64>,
    /// Frames on the transmit ring of each queue.
    pub ring: usize,
    /// Whether its card completes checksums and cuts large packets.
    pub offloads: bool,
}

impl Default for HostOptions {
    /// One shard on a link to the switch that takes 50 microseconds and does no more. A link may take no time at all, but what
    /// talks over it then may talk for ever without time passing.
    fn default() -> Self {
        let link = Impairments { latency: us(50), ..Impairments::default() };
        Self { stack: Builder::new(), link: [link.clone(), link], rate: None, ring: 256, offloads: false }
    }
}

impl HostOptions {
    /// The usual host with that stack.
    pub fn new(stack: Builder) -> Self {
        Self { stack, ..Self::default() }
    }

    /// The same on a link that is like this in both directions.
    pub fn link(mut self, impairments: Impairments) -> Self {
        self.link = [impairments.clone(), impairments];
        self
    }
}

/// A host, for those who use it. What it has of the stack is there while [`Network::run`](super::Network::run) runs.
#[derive(Clone)]
pub struct Host {
    station: Rc<Station>,
}

impl Host {
    pub(super) fn new(station: &Rc<Station>) -> Self {
        Self { station: Rc::clone(station) }
    }

    /// What an application is given, on the first shard.
    ///
    /// # Panics
    /// Before the network runs.
    pub fn net(&self) -> Net {
        self.nets().swap_remove(0)
    }

    /// The same of every shard, in their order.
    ///
    /// # Panics
    /// Before the network runs.
    pub fn nets(&self) -> Vec<Net> {
        self.station.stack().nets().cloned().collect()
    }

    /// Its first address.
    ///
    /// # Panics
    /// Before the network runs, and while it has none.
    pub fn address(&self) -> IpAddr {
        self.net().addresses().first().expect("a host that waits for DHCP has no address yet").address
    }

    /// One of its ports, as others reach it.
    ///
    /// # Panics
    /// As [`Host::address`].
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(), port)
    }

    /// From now on its frames vanish, and those to it, those on their way among them. It does not notice.
    pub fn cut(&self) {
        self.set_cut(true);
    }

    /// The link is whole again.
    pub fn mend(&self) {
        self.set_cut(false);
    }

    fn set_cut(&self, cut: bool) {
        for link in &mut *self.station.links.borrow_mut() {
            link.cut = cut;
            link.clear();
        }
    }

    /// Its link is like this from now on: what it sends, and what it gets.
    pub fn impair(&self, impairments: [Impairments; 2]) {
        for (link, impairments) in self.station.links.borrow_mut().iter_mut().zip(impairments) {
            link.impairments = impairments;
        }
    }

    /// What the link did to frames: to those that it sent, and to those that it was sent.
    pub fn counters(&self) -> [LinkCounters; 2] {
        self.station.links.borrow().each_ref().map(|link| link.counters)
    }
}

/// A host, as its network knows it.
pub(super) struct Station {
    pub(super) device: Capabilities,
    /// Away from it, and to it.
    pub(super) links: RefCell<[Link; 2]>,
    /// What is still to be started.
    description: RefCell<Option<Described>>,
    running: OnceCell<Running>,
}

struct Described {
    stack: Builder,
    ports: Vec<Port>,
}

struct Running {
    queues: Vec<Queue>,
    stack: simulation::Host,
}

impl Station {
    /// The host of that number, which is not running yet.
    pub(super) fn new(number: u8, options: HostOptions, random: &mut Random) -> Self {
        let HostOptions { mut stack, link, rate, ring, offloads: on } = options;
        let wanted = Wanted::by(&stack);
        if !wanted.addressed {
            let address = Ipv4Addr::new(10, 0, 0, number + 1).into();
            stack = stack.address(InterfaceAddress { address, prefix: 24 });
        }
        let mut seed = [0; 32];
        random.fill(&mut seed);
        let device = Capabilities {
            medium: Medium::Ethernet,
            mac: [0x02, 0, 0, 0, 1, number + 1],
            mtu: wanted.mtu.unwrap_or(1_500),
            transmit_checksum: on,
            segmentation: SegmentationOffload { tcp_v4: on, tcp_v6: on, udp: on },
        };
        let port = |_| {
            let mut port = Port::new(device);
            (port.rate, port.ring, port.handed_up) = (rate, ring, None);
            port
        };
        let ports = (0..wanted.queues).map(port).collect();
        let mut made =
            |impairments| Link::new(Medium::Ethernet, impairments, Random::from_seed(random.next_u64()));
        Self {
            device,
            links: RefCell::new(link.map(&mut made)),
            description: RefCell::new(Some(Described { stack: stack.seed(seed), ports })),
            running: OnceCell::new(),
        }
    }

    /// Starts the stack, as tasks of the executor this is called on.
    pub(super) fn start(&self, clock: Clock) -> Result<(), RunError> {
        let Some(Described { stack, ports }) = self.description.take() else { return Ok(()) };
        let queues: Vec<_> = ports.into_iter().map(|port| Queue::new(port, clock)).collect();
        let stack = simulation::Host::start(stack, queues.clone(), clock.origin)?;
        let _ = self.running.set(Running { queues, stack });
        Ok(())
    }

    fn running(&self) -> &Running {
        self.running.get().expect("the host is there once the network runs")
    }

    /// The stack.
    pub(super) fn stack(&self) -> &simulation::Host {
        &self.running().stack
    }

    /// The queues of its card.
    pub(super) fn queues(&self) -> &[Queue] {
        &self.running().queues
    }

    /// Ends the stack, whose tasks are gone.
    pub(super) fn end(&self) -> Result<(), RunError> {
        let Some(Running { queues, stack }) = self.running.get() else { return Ok(()) };
        queues.iter().for_each(Queue::clear);
        stack.end()
    }
}
