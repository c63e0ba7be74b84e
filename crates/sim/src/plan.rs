//! A whole run as data: who is there, how they are joined, what their applications do, and what goes wrong. A seed and a
//! scenario make one; it can be written down, made smaller, and run again.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sunstar_packet::PoolConfig;
use sunstar_stack::time::Instant;
use sunstar_stack::{DelayedAck, FirstNumbers};

use crate::app::Errand;
use crate::host::HostConfig;
use crate::link::Impairments;
use crate::machine::{MachineConfig, Nic};
use crate::{Side, ms};

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Of all that is left to chance.
    pub seed: u64,
    /// The hosts.
    pub machines: Vec<MachinePlan>,
    /// What joins their links.
    pub network: Network,
    /// What their applications do.
    pub errands: Vec<ErrandPlan>,
    /// What goes wrong, and when.
    pub faults: Vec<FaultPlan>,
    /// How long all of it may take.
    pub patience: Duration,
}

/// What joins the links of machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Network {
    /// A switch: one network.
    Switch,
    /// A router: each machine is in a network of its own.
    Router {
        /// The longest packet of each network, in the order of the machines; what is missing takes what its machine does.
        mtus: Vec<usize>,
        /// Whether it says what it drops for its length.
        speaks: bool,
    },
}

/// One host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachinePlan {
    /// Each shard's weight; there are as many shards.
    pub weights: Vec<u32>,
    /// Queues of its device.
    pub queues: usize,
    /// How its card chooses the queue of what comes in.
    pub nic: Nic,
    /// The longest packet it sends.
    pub mtu: usize,
    /// Whether its device completes checksums and cuts large packets.
    pub offloads: bool,
    /// Frames on each transmit ring.
    pub ring: usize,
    /// Bits a second of each queue.
    pub rate: Option<u64>,
    /// Small buffers of each shard.
    pub buffers: usize,
    /// Packets in each ring between shards.
    pub mesh: usize,
    /// Questions for a neighbour before it is given up.
    pub neighbor_attempts: u8,
    /// What the link does to what it sends, and to what it gets.
    pub link: [Impairments; 2],
    /// Its TCP.
    pub tcp: TcpPlan,
}

/// What of a host's TCP is set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TcpPlan {
    /// Bytes that may be written and not acknowledged.
    pub send_buffer: usize,
    /// Bytes that may be received and not read.
    pub receive_buffer: usize,
    /// Whether windows are scaled.
    pub window_scaling: bool,
    /// Whether there are timestamps.
    pub timestamps: bool,
    /// Whether there is SACK.
    pub sack: bool,
    /// Whether every second segment only is acknowledged from the start.
    pub delays_acks: bool,
    /// Retransmissions of data, and of a SYN, before a connection is given up.
    pub retries: (u8, u8),
    /// Where numbers start: sequence numbers and timestamps.
    pub first_numbers: Option<(u32, u32)>,
}

/// What an application does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrandPlan {
    /// When it starts.
    pub at: Duration,
    /// The machine, and which of its shards.
    pub from: (usize, usize),
    /// The machine whose servers it goes to. Numbers behind the last machine mean hosts that are not ours
    /// ([`World::attach`](crate::World::attach)), in the order they are put on the network.
    pub to: usize,
    /// What it does.
    pub what: Work,
    /// Whether it may fail: something is to go wrong that it does not survive.
    pub may_fail: bool,
}

/// What an application does there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Work {
    /// A conversation over a connection.
    Converse(Errand),
    /// Datagrams to an echo server.
    Datagrams {
        /// What they are made of.
        seed: u32,
        /// How many.
        count: u32,
        /// Bytes of each.
        len: u16,
        /// Microseconds from one to the next.
        every_us: u64,
    },
}

impl Work {
    /// The same with half the bytes, or rounds.
    pub(crate) fn halved(self) -> Self {
        match self {
            Work::Converse(errand) if errand.rounds > 1 => {
                Work::Converse(Errand { rounds: errand.rounds / 2, ..errand })
            }
            Work::Converse(errand) => {
                Work::Converse(Errand { up: errand.up / 2, down: errand.down / 2, ..errand })
            }
            Work::Datagrams { seed, count, len, every_us } => {
                Work::Datagrams { seed, count: count.div_ceil(2), len, every_us }
            }
        }
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultPlan {
    /// When.
    pub at: Duration,
    /// How long; what cannot be mended lasts.
    pub lasts: Duration,
    /// With which machine.
    pub machine: usize,
    /// What.
    pub what: Fault,
}

/// What can go wrong with a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fault {
    /// It has no carrier.
    NoCarrier,
    /// Its frames vanish, and those to it, and it does not notice.
    Cut,
    /// The link is another.
    Impaired(Box<[Impairments; 2]>),
    /// A transmit ring takes nothing.
    Stalled {
        /// Which.
        queue: usize,
    },
    /// A shard's core is taken away.
    Suspended {
        /// Which.
        shard: usize,
    },
    /// All its cores are: the machine sleeps.
    Asleep,
    /// A shard's own code fails, and a fresh one takes its place.
    Replaced {
        /// Which.
        shard: usize,
    },
    /// The device is gone for good.
    DeviceFailed,
    /// Somebody forges segments to its connections.
    Forged,
    /// Its network takes packets of so many bytes at most, from now on.
    Mtu {
        /// How many.
        mtu: usize,
    },
}

impl Default for TcpPlan {
    fn default() -> Self {
        let config = sunstar_stack::TcpConfig::default();
        Self {
            send_buffer: config.send_buffer,
            receive_buffer: config.receive_buffer,
            window_scaling: true,
            timestamps: true,
            sack: true,
            delays_acks: false,
            retries: (config.retries, config.syn_retries),
            first_numbers: None,
        }
    }
}

impl MachinePlan {
    /// So many shards with a queue each, on a link of a gigabit and a millisecond that loses nothing.
    pub fn new(shards: usize) -> Self {
        let link = Impairments { latency: ms(1), ..Impairments::default() };
        Self {
            weights: vec![1; shards],
            queues: shards,
            nic: Nic::Steering,
            mtu: 1_500,
            offloads: false,
            ring: 256,
            rate: Some(1_000_000_000),
            buffers: 2_048,
            mesh: 256,
            neighbor_attempts: 3,
            link: [link.clone(), link],
            tcp: TcpPlan::default(),
        }
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        self.weights.len()
    }

    pub(crate) fn config(
        &self,
        number: usize,
        address: Ipv4Addr,
        gateway: Option<Ipv4Addr>,
    ) -> MachineConfig {
        let mut host = HostConfig::new(Side::A);
        host.address = address;
        host.gateway = gateway;
        host.mac = [0x02, 0, 0, 0, 1, number as u8 + 1];
        host.mtu = self.mtu;
        host.offloads = self.offloads;
        host.ring = self.ring;
        host.rate = self.rate;
        host.pool = PoolConfig {
            small_count: self.buffers,
            staging_count: 32,
            max_loans: 2 * self.buffers,
            small_size: PoolConfig::for_mtu(self.mtu).small_size,
            ..PoolConfig::default()
        };
        host.start = Instant::from_millis(1);
        host.shard.neighbor.attempts = self.neighbor_attempts;
        let (plan, tcp) = (&self.tcp, &mut host.shard.tcp);
        tcp.send_buffer = plan.send_buffer;
        tcp.receive_buffer = plan.receive_buffer;
        tcp.window_scaling = plan.window_scaling;
        tcp.timestamps = plan.timestamps;
        tcp.sack = plan.sack;
        tcp.delayed_ack = if plan.delays_acks { DelayedAck::Always } else { DelayedAck::Quick };
        (tcp.retries, tcp.syn_retries) = plan.retries;
        tcp.first_numbers =
            plan.first_numbers.map(|(sequence, timestamp)| FirstNumbers { sequence, timestamp });
        let mut config = MachineConfig::new(host, self.weights.len() as u16);
        config.weights = self.weights.clone();
        config.queues = self.queues;
        config.nic = self.nic;
        config.rings.packets = self.mesh;
        config
    }
}

impl Plan {
    /// The address of a machine; on a switch also that of a host that is not ours, which is numbered behind them.
    pub fn address(&self, machine: usize) -> Ipv4Addr {
        match self.network {
            Network::Switch => Ipv4Addr::new(10, 0, 0, machine as u8 + 1),
            Network::Router { .. } => Ipv4Addr::new(10, 0, machine as u8 + 1, 1),
        }
    }

    /// Whether nothing goes wrong: no fault, and no link that does anything to frames but take its time.
    pub(crate) fn is_calm(&self) -> bool {
        let calm = |link: &Impairments| {
            let Impairments { latency, jitter, held_back, .. } = *link;
            *link == Impairments { latency, jitter, held_back, ..Impairments::default() }
        };
        self.faults.is_empty()
            && self.network == Network::Switch
            && self.machines.iter().all(|machine| machine.link.iter().all(calm))
    }

    /// The router in a machine's network.
    pub(crate) fn gateway(&self, machine: usize) -> Option<Ipv4Addr> {
        match self.network {
            Network::Switch => None,
            Network::Router { .. } => Some(Ipv4Addr::new(10, 0, machine as u8 + 1, 254)),
        }
    }
}
