//! What every protocol of a shard uses: the time of this turn, buffers, interfaces, neighbours, timers, counters.

use std::collections::{BTreeSet, VecDeque};

use sunstar_packet::{Buffer, Departure, Medium, Packet, Pool, SizeClass};
use sunstar_wire::{EtherType, IpAddress, MacAddress};

use crate::config::ShardConfig;
use crate::counters::Counters;
use crate::ip::path_mtu::PathMtus;
use crate::ip::{Configuration, Identifications, InterfaceId, Interfaces, Path, Reassembly, Routes, Train};
use crate::link::Want;
use crate::neighbor::{self, Neighbors, OwnAddresses, Resolution};
use crate::random::Random;
use crate::siblings::Siblings;
use crate::socket::{ReadyQueue, SocketError, SocketHandle};
use crate::steering::{FlowKey, ShardId, Steering};
use crate::time::Instant;
use crate::timer::{TimerId, TimerWheel};

/// Whom a timer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Neighbor(crate::neighbor::NeighborKey),
    Connection(crate::tcp::ConnectionKey),
    TimeWait,
    OwnAddress(crate::neighbor::Neighbor),
    Dhcp,
    Reassembly,
    Igmp(crate::ip::igmp::Alarm),
}

/// A packet whose next station is known.
#[derive(Debug)]
pub(crate) struct Addressed {
    pub(crate) packet: Packet,
    pub(crate) destination: MacAddress,
    pub(crate) ether_type: EtherType,
}

pub(crate) struct Core {
    pub(crate) config: ShardConfig,
    pub(crate) now: Instant,
    pub(crate) pool: Pool,
    pub(crate) random: Random,
    pub(crate) interfaces: Interfaces,
    pub(crate) configuration: Configuration,
    pub(crate) routes: Routes,
    pub(crate) path_mtus: PathMtus,
    pub(crate) neighbors: Neighbors,
    pub(crate) own_addresses: OwnAddresses,
    pub(crate) reassembly: Reassembly,
    pub(crate) reassembly_timer: Option<TimerId>,
    pub(crate) identifications: Identifications,
    /// What leaves an interface in fragments at the moment.
    pub(crate) trains: [Option<Train>; InterfaceId::COUNT],
    pub(crate) timers: TimerWheel<Timer>,
    pub(crate) ready: ReadyQueue,
    pub(crate) want: Want,
    pub(crate) steering: Steering,
    pub(crate) siblings: Siblings,
    pub(crate) counters: Counters,
    /// Sockets whose sender found the pool empty: told when it has buffers again.
    pub(crate) starved: BTreeSet<SocketHandle>,
    /// Packets that were dropped before they reached a device, and were to be accounted for.
    pub(crate) departed: Vec<Departure>,
}

impl Core {
    /// How to reach a destination.
    pub(crate) fn path(&self, destination: IpAddress, source: Option<IpAddress>) -> Option<Path> {
        let path = self.routes.find(&self.interfaces, destination, source)?;
        Some(self.with_path_mtu(path, destination))
    }

    /// The shard that packets with this key belong to; nothing if they stay where they arrive.
    pub(crate) fn steered_to(&self, key: &FlowKey) -> Option<ShardId> {
        self.steering.shard_of(key)
    }

    /// Refuses what would need a device that is gone for good.
    pub(crate) fn check_device(&self, path: &Path) -> Result<(), SocketError> {
        if self.interfaces.get(path.interface).failed { Err(SocketError::NetworkDown) } else { Ok(()) }
    }

    /// A copy of what an application wrote. `None` when only the eighth of the pool is left that is kept for headers
    /// and reception: writers alone must never use it up, or nothing of theirs could be built.
    pub(crate) fn copy_written(&self, bytes: &[u8]) -> Option<Buffer> {
        if self.is_scarce() { None } else { self.pool.copy_of(bytes) }
    }

    /// Whether only the eighth of the small buffers is left that writers may not use.
    pub(crate) fn is_scarce(&self) -> bool {
        self.pool.free(SizeClass::Small) <= self.pool.total(SizeClass::Small) / 8
    }

    /// The station a neighbour is at, if known; if not, it is being asked for.
    pub(crate) fn resolve(&mut self, interface: InterfaceId, next_hop: IpAddress) -> Resolution {
        let interface = self.interfaces.get(interface);
        if interface.medium == Medium::Ip {
            return Resolution::Known(MacAddress::ZERO);
        }
        if let IpAddress::V4(address) = next_hop {
            if address.is_multicast() {
                return Resolution::Known(MacAddress::multicast(address));
            }
            if self.interfaces.is_broadcast(address) {
                return Resolution::Known(MacAddress::BROADCAST);
            }
        }
        let key = (interface.id, next_hop);
        let (neighbors, mut context) = self.neighbors();
        let resolution = neighbors.resolve(key, &mut context);
        self.want_neighbors(key.0);
        resolution
    }

    /// The neighbour cache, and what it uses of its shard.
    pub(crate) fn neighbors(&mut self) -> (&mut Neighbors, neighbor::Context<'_>) {
        let context = neighbor::Context {
            now: self.now,
            config: &self.config.neighbor,
            timers: &mut self.timers,
            counters: &mut self.counters,
            steering: &self.steering,
            siblings: &mut self.siblings,
        };
        (&mut self.neighbors, context)
    }

    /// Accounts for packets that waited for a neighbour in vain.
    pub(crate) fn drop_unsent(&mut self, unsent: VecDeque<Packet>) {
        self.counters.drops.host_unreachable += unsent.len() as u64;
        self.departed.extend(unsent.iter().filter_map(|packet| packet.notes.departure));
    }

    /// Addresses an IP packet to its next hop. While that is being asked for, the packet waits with the
    /// neighbour and `None` comes back; so it does when the packet had to be dropped.
    pub(crate) fn address(
        &mut self,
        interface: InterfaceId,
        next_hop: IpAddress,
        packet: Packet,
    ) -> Option<Addressed> {
        match self.resolve(interface, next_hop) {
            Resolution::Known(destination) => {
                let ether_type = if next_hop.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
                Some(Addressed { packet, destination, ether_type })
            }
            Resolution::Pending => {
                let dropped =
                    self.neighbors.park((interface, next_hop), packet, self.config.neighbor.max_waiting);
                if let Some(dropped) = dropped {
                    self.counters.drops.neighbor_queue_full += 1;
                    self.departed.extend(dropped.notes.departure);
                }
                None
            }
            Resolution::Failed => {
                self.counters.drops.host_unreachable += 1;
                self.departed.extend(packet.notes.departure);
                None
            }
        }
    }
}
