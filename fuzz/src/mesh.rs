//! Two shards of one host, joined by rings that are soon full: frames by the wrong queue, binds that both want, shards that
//! fail and begin anew in the middle of it, cores that are taken away. The simulator judges every frame, sees that each
//! flow lives on one shard, and that every buffer comes home. Here is looked at what follows once all is quiet: every
//! claim is decided, nobody disagrees about a port, and no port has two owners.

use std::net::SocketAddr;

use arbitrary::Arbitrary;
use sunstar::mesh::MeshConfig;
use sunstar_sim::{Cluster, Nic, ms, secs};
use sunstar_stack::steering::{Owner, PortSpace};
use sunstar_stack::{ConnectionKey, ListenerKey, SocketError, SocketHandle, UdpKey, UdpTransmit};

use crate::frame::{Frame, GROUPS, PORTS, port};

const SHARDS: usize = 2;
/// What is done at most.
const MAX_STEPS: usize = 96;
/// Sockets and connections at most.
const MAX_SOCKETS: usize = 24;

/// A host of two shards, and all that happens to it.
#[derive(Arbitrary, Debug)]
pub struct Scenario {
    /// What is left to chance.
    pub seed: u8,
    /// Packets, and messages, that the rings hold: one at least.
    pub rings: (u8, u8),
    /// Whether the second shard has no queue, and sends through the first.
    pub one_queue: bool,
    /// What happens, in turn.
    pub steps: Vec<Step>,
}

/// One thing that happens. What is done with a socket is done with one of those there are.
#[derive(Arbitrary, Debug)]
pub enum Step {
    /// A frame arrives by a queue.
    Frame(bool, Frame),
    /// How the card chooses the queue of what the peer sends.
    Nic(u8),
    /// A shard listens on a port, or shares it.
    Listen(bool, u8, bool),
    /// A shard binds a UDP socket, or shares the port.
    Bind(bool, u8, bool),
    /// A socket joins a group.
    Join(u8, u8),
    /// A socket is closed.
    Close(u8),
    /// Connections that were opened from outside are taken.
    Accept(u8),
    /// A connection is written to, and read.
    Write(u8, u16),
    /// A shard opens a connection to the peer, or to its own host.
    Connect(bool, u8, bool),
    /// A shard sends a datagram to the peer, or to its own host.
    Datagram(u8, u8, bool, u16),
    /// The peer opens a connection.
    PeerConnect(u8),
    /// The peer sends datagrams.
    PeerDatagrams(u8, u8, u16),
    /// The peer sends an echo request.
    PeerPing(u16),
    /// Somebody decides who has a port.
    Owner(u8, Option<bool>),
    /// A shard's code fails, and another takes its place.
    Replace(bool),
    /// A shard's core is taken away, or comes back.
    Suspend(bool, bool),
    /// A queue takes nothing more, or again.
    Stall(bool, bool),
    /// Rounds of turns without time.
    Turns(u8),
    /// Milliseconds pass.
    Millis(u8),
    /// Seconds pass.
    Seconds(u8),
}

/// A socket of a shard.
#[derive(Clone, Copy)]
struct Socket {
    shard: usize,
    handle: SocketHandle,
}

struct Play {
    cluster: Cluster,
    queues: usize,
    suspended: [bool; SHARDS],
    /// What the applications have open and the cluster does not close by itself.
    udp: Vec<(usize, UdpKey)>,
    listeners: Vec<(usize, ListenerKey)>,
    connections: Vec<(usize, ConnectionKey)>,
    peer_sockets: usize,
}

/// Plays a scenario.
///
/// # Panics
/// When a shard does something wrong.
pub fn check(scenario: &Scenario) {
    let queues = if scenario.one_queue { 1 } else { SHARDS };
    let rings = MeshConfig {
        packets: 1 + usize::from(scenario.rings.0 % 8),
        messages: 1 + usize::from(scenario.rings.1 % 4),
    };
    let cluster = Cluster::builder(SHARDS as u16)
        .seed(scenario.seed.into())
        .queues(queues)
        .rings(rings)
        .pool(|pool| (pool.small_count, pool.staging_count, pool.max_loans) = (1_024, 16, 2_048))
        .build();
    let mut play = Play {
        cluster,
        queues,
        suspended: [false; SHARDS],
        udp: Vec::new(),
        listeners: Vec::new(),
        connections: Vec::new(),
        peer_sockets: 0,
    };
    for step in scenario.steps.iter().take(MAX_STEPS) {
        play.act(step);
        play.drain();
    }
    play.end();
}

impl Play {
    fn act(&mut self, step: &Step) {
        let cluster = &mut self.cluster;
        match *step {
            Step::Frame(queue, ref frame) => {
                let bytes = frame.bytes(&cluster.envelope(), None);
                cluster.inject(usize::from(queue) % self.queues, &bytes);
            }
            Step::Nic(choice) => cluster.set_nic(match choice % 4 {
                0 => Nic::Steering,
                1 => Nic::Queue(usize::from(choice / 4) % self.queues),
                2 => Nic::Random,
                _ => Nic::InTurn,
            }),
            Step::Owner(number, owner) => {
                let owner = owner.map(|shard| Owner::Shard(sunstar_stack::steering::ShardId(shard.into())));
                // A port that a socket has is not given away.
                let _ = cluster.shard_mut(0).set_port_owner(PortSpace::Udp, port(number), owner);
            }
            Step::Replace(shard) => {
                cluster.replace(shard.into());
                let lives = |of: usize| of != usize::from(shard);
                self.udp.retain(|(of, _)| lives(*of));
                self.listeners.retain(|(of, _)| lives(*of));
                self.connections.retain(|(of, _)| lives(*of));
            }
            Step::Suspend(shard, true) => {
                self.suspended[usize::from(shard)] = true;
                cluster.suspend(shard.into());
            }
            Step::Suspend(shard, false) => {
                self.suspended[usize::from(shard)] = false;
                cluster.wake(shard.into());
            }
            Step::Stall(queue, stalled) => cluster.stall(usize::from(queue) % self.queues, stalled),
            Step::Turns(count) => (0..count).for_each(|_| cluster.step()),
            Step::Millis(count) => cluster.drive_for(ms(count.into())),
            // Whoever has something to tell one whose core is away looks every millisecond whether it is back.
            Step::Seconds(count) if self.suspended.contains(&true) => cluster.drive_for(ms(count.into())),
            Step::Seconds(count) => cluster.drive_for(secs(count.into())),
            Step::PeerConnect(_) | Step::PeerDatagrams(..) | Step::PeerPing(_) => self.peer(step),
            _ => self.call(step),
        }
    }

    fn peer(&mut self, step: &Step) {
        if self.peer_sockets == MAX_SOCKETS {
            return;
        }
        self.peer_sockets += 1;
        match *step {
            Step::PeerConnect(number) => drop(self.cluster.peer.connect(self.cluster.at(port(number)))),
            Step::PeerDatagrams(number, count, len) => {
                let socket = self.cluster.peer.udp_bind(0);
                for _ in 0..count % 16 {
                    // It may be full.
                    let _ = self.cluster.peer.try_udp_send(
                        socket,
                        self.cluster.at(port(number)),
                        &vec![7; usize::from(len) % 4_000],
                    );
                }
            }
            Step::PeerPing(len) => {
                let SocketAddr::V4(to) = self.cluster.at(0) else { return };
                self.cluster.peer.ping(*to.ip(), usize::from(len) % 4_000);
            }
            _ => {}
        }
    }

    fn call(&mut self, step: &Step) {
        let full = self.udp.len() + self.listeners.len() + self.connections.len() >= MAX_SOCKETS;
        let cluster = &mut self.cluster;
        let own = |cluster: &Cluster, number: u8| cluster.at(port(number));
        match *step {
            Step::Listen(shard, number, shared) if !full => {
                let key = cluster.try_listen(shard.into(), port(number), shared);
                self.listeners.extend(key.map(|key| (usize::from(shard), key)));
            }
            Step::Bind(shard, number, shared) if !full => {
                let local = SocketAddr::new([0, 0, 0, 0].into(), port(number));
                let member = cluster.shard_mut(shard.into());
                let key = if shared { member.udp_bind_shared(local) } else { member.udp_bind(local) };
                self.udp.extend(key.map(|key| (usize::from(shard), key)));
            }
            Step::Connect(shard, number, away) if !full => {
                let to = if away { cluster.peer.at(port(number)) } else { own(cluster, number) };
                let key = cluster.connect(shard.into(), to, None);
                self.connections.extend(key.map(|key| (usize::from(shard), key)));
            }
            Step::Join(number, group) => {
                let Some((shard, key)) = pick(&self.udp, number) else { return };
                // Not every group can be joined.
                let _ =
                    cluster.shard_mut(shard).udp_join(key, GROUPS[usize::from(group) % GROUPS.len()].into());
            }
            Step::Datagram(number, to, away, len) => {
                let Some((shard, key)) = pick(&self.udp, number) else { return };
                let to = if away { cluster.peer.at(port(to)) } else { own(cluster, to) };
                let transmit = UdpTransmit { destination: Some(to), ..UdpTransmit::default() };
                // It may be full.
                let _ = cluster.shard_mut(shard).udp_send(key, &transmit, &vec![7; usize::from(len) % 4_000]);
            }
            Step::Accept(number) => {
                let Some((shard, listener)) = pick(&self.listeners, number) else { return };
                while let Some(key) = cluster.accept(shard, listener) {
                    self.connections.push((shard, key));
                }
            }
            Step::Write(number, len) => {
                let Some((shard, key)) = pick(&self.connections, number) else { return };
                // It may be closed, or full.
                let _ = cluster.write(shard, key, &vec![7; len.into()]);
            }
            Step::Close(number) => self.close(number.into()),
            _ => {}
        }
    }

    /// Closes the socket of that number, of all there are.
    fn close(&mut self, number: usize) {
        let count = self.udp.len() + self.listeners.len() + self.connections.len();
        let Some(mut number) = number.checked_rem(count) else { return };
        if number < self.udp.len() {
            let (shard, key) = self.udp.swap_remove(number);
            return self.cluster.shard_mut(shard).udp_close(key);
        }
        number -= self.udp.len();
        if number < self.listeners.len() {
            let (shard, key) = self.listeners.swap_remove(number);
            return self.cluster.close_listener(shard, key);
        }
        let (shard, key) = self.connections.swap_remove(number - self.listeners.len());
        self.cluster.shard_mut(shard).tcp_close(key);
    }

    /// Reads whatever arrived: who does not read holds buffers.
    fn drain(&mut self) {
        for (shard, key) in &self.udp {
            drop(self.cluster.udp_received(*shard, *key));
        }
        for (shard, key) in &self.connections {
            while self.cluster.read(*shard, *key).is_ok_and(|bytes| !bytes.is_empty()) {}
        }
    }

    /// Lets everything come to rest, and looks at what is left.
    fn end(mut self) {
        for shard in 0..SHARDS {
            self.cluster.wake(shard);
        }
        for queue in 0..self.queues {
            self.cluster.stall(queue, false);
        }
        self.cluster.drive_for(secs(2));
        self.drain();
        for number in PORTS {
            for space in [PortSpace::Tcp, PortSpace::Udp] {
                let owner = |shard| self.cluster.shard(shard).steering().owners().owner(space, number);
                assert_eq!(owner(0), owner(1), "whose is {space:?} port {number}?");
            }
        }
        let udp = self.udp.iter().map(|(shard, key)| (*shard, SocketHandle::Udp(*key)));
        let listeners = self.listeners.iter().map(|(shard, key)| (*shard, SocketHandle::Listener(*key)));
        let sockets: Vec<_> = udp.chain(listeners).map(|(shard, handle)| Socket { shard, handle }).collect();
        for Socket { shard, handle } in &sockets {
            let bound = self.cluster.shard(*shard).bound(*handle);
            assert_ne!(bound, Err(SocketError::WouldBlock), "nobody decides who has the port of {handle:?}");
        }
        self.assert_one_owner(&sockets);
        for (shard, key) in self.udp {
            self.cluster.shard_mut(shard).udp_close(key);
        }
        self.cluster.finish();
    }

    /// A port that a shard has for itself is no other shard's.
    fn assert_one_owner(&self, sockets: &[Socket]) {
        for Socket { shard, handle } in sockets {
            let member = self.cluster.shard(*shard);
            let (space, local) = match *handle {
                SocketHandle::Udp(key) => (PortSpace::Udp, member.udp_local_addr(key)),
                SocketHandle::Listener(key) => (PortSpace::Tcp, member.tcp_listener_addr(key)),
                SocketHandle::Stream(_) | SocketHandle::Echo(_) => continue,
            };
            if member.bound(*handle).is_err() {
                continue;
            }
            let local = local.expect("a socket that is bound has an address");
            match member.steering().owners().owner(space, local.port()) {
                Some(Owner::Shard(owner)) => {
                    assert_eq!(
                        usize::from(owner.0),
                        *shard,
                        "{local} is bound here, and packets go elsewhere"
                    );
                }
                Some(Owner::EveryShard | Owner::Hook(_)) => {}
                None => panic!("{local} is bound, and nobody's"),
            }
        }
    }
}

/// One of those there are.
fn pick<T: Copy>(all: &[T], number: u8) -> Option<T> {
    usize::from(number).checked_rem(all.len()).map(|at| all[at])
}
