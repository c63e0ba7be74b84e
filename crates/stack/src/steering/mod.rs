//! Steering: which shard a packet belongs to.
//!
//! There is one answer for every asker: the software that finds a packet on the wrong shard, the program or
//! key and table given to a device, the second look at a reassembled datagram, the flow an ICMP error
//! quotes, and the choice of a source port whose answers come home. A packet's [`FlowKey`] is asked for its
//! port's owner ([`PortOwners`]) first; else the [`Toeplitz`] hash of the key picks an entry of the
//! [`IndirectionTable`]. Source and order of the parts: the Microsoft RSS specification, so that a network
//! card can do the same.

mod classify;
mod flow_key;
mod indirection;
mod port_owners;
mod source_port;
mod toeplitz;

pub use flow_key::FlowKey;
pub use indirection::{IndirectionTable, ShardId, TableSize, WeightsError};
pub use port_owners::{HookId, Owner, PortChange, PortOwners, PortSpace};
pub use source_port::{DEFAULT_RANGE, NoPortLeft, SourcePorts};
pub use toeplitz::{MAX_TUPLE_LEN, RssKey, Toeplitz};

use sunstar_packet::Medium;
use sunstar_wire::IpAddress;

/// What decided where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The owner of its port.
    Owner(ShardId),
    /// Its hash, by this entry of the indirection table.
    Entry(usize),
    /// Nothing: it stays where it arrived.
    Stays,
}

/// Everything that decides where packets go. Every shard has its own copy, equal to the others'.
#[derive(Clone, Debug)]
pub struct Steering {
    toeplitz: Toeplitz,
    table: IndirectionTable,
    owners: PortOwners,
}

impl Steering {
    /// Steering by hash and table, with no port owned by anybody.
    pub fn new(toeplitz: Toeplitz, table: IndirectionTable) -> Self {
        Self { toeplitz, table, owners: PortOwners::new() }
    }

    /// The shard that packets with this key belong to; nothing for those that stay where they arrive
    /// (unknown ones, and those for a hook). A lone shard has everything.
    #[inline]
    pub fn shard_of(&self, key: &FlowKey) -> Option<ShardId> {
        if self.table.shards() == 1 {
            return Some(ShardId(0));
        }
        match self.decide(key) {
            Decision::Owner(shard) => Some(shard),
            Decision::Entry(entry) => Some(self.table.entries()[entry]),
            Decision::Stays => None,
        }
    }

    /// What decides about packets with this key, where there are several shards.
    #[inline]
    pub(crate) fn decide(&self, key: &FlowKey) -> Decision {
        let owner = key.owned_port().and_then(|(space, port)| self.owners.owner(space, port));
        match owner {
            Some(Owner::Shard(shard)) => Decision::Owner(shard),
            Some(Owner::Hook(_)) => Decision::Stays,
            Some(Owner::EveryShard) | None => match key.hash(&self.toeplitz) {
                Some(hash) => Decision::Entry(self.table.index(hash)),
                None => Decision::Stays,
            },
        }
    }

    /// The shard that asks and answers for a neighbour; its siblings learn from it.
    pub fn shard_of_neighbor(&self, address: IpAddress) -> ShardId {
        self.shard_of(&FlowKey::Neighbor(address)).unwrap_or_default()
    }

    /// The same for a received frame, of which the first 256 bytes, or all, have to be given. With a lone
    /// shard the frame is not looked at.
    #[inline]
    pub fn shard_of_frame(&self, frame: &[u8], medium: Medium) -> Option<ShardId> {
        if self.table.shards() == 1 {
            return Some(ShardId(0));
        }
        self.shard_of(&FlowKey::collect(frame, medium))
    }

    /// How many shards there are.
    #[inline]
    pub fn shards(&self) -> u16 {
        self.table.shards()
    }

    /// The hash, whose key a device may want.
    pub fn toeplitz(&self) -> &Toeplitz {
        &self.toeplitz
    }

    /// The table, of which a device may keep a copy.
    pub fn table(&self) -> &IndirectionTable {
        &self.table
    }

    /// The owners of ports.
    pub fn owners(&self) -> &PortOwners {
        &self.owners
    }

    /// The owners of ports, to change them or take changes over.
    pub fn owners_mut(&mut self) -> &mut PortOwners {
        &mut self.owners
    }
}

#[cfg(test)]
mod tests {
    use sunstar_wire::Protocol;

    use super::*;
    use crate::random::Random;

    fn steering(weights: &[u32]) -> Steering {
        let table = IndirectionTable::new(TableSize::Entries128, weights).unwrap();
        Steering::new(Toeplitz::new(RssKey::MICROSOFT), table)
    }

    /// A flow from the RSS verification suite; its hash is 0x51ccc178.
    const FLOW: FlowKey = FlowKey::Ports {
        protocol: Protocol::TCP,
        source: core::net::IpAddr::V4(core::net::Ipv4Addr::new(66, 9, 149, 187)),
        destination: core::net::IpAddr::V4(core::net::Ipv4Addr::new(161, 142, 100, 80)),
        source_port: 2_794,
        destination_port: 1_766,
    };

    #[test]
    fn a_flow_goes_where_the_low_bits_of_its_hash_point() {
        let steering = steering(&[1, 2, 3, 4]);
        assert_eq!(steering.shard_of(&FLOW), Some(steering.table().entries()[0x51cc_c178 % 128]));
    }

    #[test]
    fn the_owner_of_the_destination_port_comes_before_the_hash() {
        let mut steering = steering(&[1, 1]);
        let hashed = steering.shard_of(&FLOW);
        for shard in [ShardId(0), ShardId(1)] {
            steering.owners_mut().set(PortSpace::Tcp, 1_766, Some(Owner::Shard(shard)));
            assert_eq!(steering.shard_of(&FLOW), Some(shard));
        }
        steering.owners_mut().set(PortSpace::Tcp, 1_766, Some(Owner::EveryShard));
        assert_eq!(steering.shard_of(&FLOW), hashed);
        steering.owners_mut().set(PortSpace::Tcp, 2_794, Some(Owner::Hook(HookId(1))));
        assert_eq!(steering.shard_of(&FLOW), hashed, "the source port's owner has no say");
    }

    /// Clients take their source ports one after the other, and a Toeplitz hash is linear: what varies is a few bits,
    /// and with an unlucky key none of them decides the low bits of the hash.
    #[test]
    fn flows_from_neighbouring_ports_are_spread_for_nearly_every_key() {
        let mut random = Random::from_seed(7);
        let (keys, mut starved) = (2_000, 0);
        for _ in 0..keys {
            let table = IndirectionTable::new(TableSize::Entries128, &[1, 1, 1, 1]).unwrap();
            let steering = Steering::new(Toeplitz::new(RssKey::random(&mut random)), table);
            let first = 32_768 + random.below(28_000) as u16;
            let mut flows = [0; 4];
            for step in 0..64 {
                let FlowKey::Ports { protocol, source, destination, destination_port, .. } = FLOW else {
                    unreachable!("a flow has ports")
                };
                let source_port = first + 2 * step;
                let key = FlowKey::Ports { protocol, source, destination, source_port, destination_port };
                flows[usize::from(steering.shard_of(&key).unwrap().0)] += 1;
            }
            // 16 each would be fair.
            starved += u32::from(flows.iter().any(|flows| *flows < 5));
        }
        println!("{starved} of {keys} keys starve a shard");
        assert!(starved * 100 < keys, "{starved} of {keys} keys starve a shard");
    }

    #[test]
    fn what_a_hook_takes_and_what_is_unknown_stay_where_they_arrive() {
        let mut steering = steering(&[1, 1]);
        steering.owners_mut().set(PortSpace::Tcp, 1_766, Some(Owner::Hook(HookId(3))));
        assert_eq!(steering.shard_of(&FLOW), None);
        assert_eq!(steering.shard_of(&FlowKey::Unknown), None);
    }

    #[test]
    fn an_echo_reply_goes_to_the_shard_that_asked() {
        let mut steering = steering(&[1, 1]);
        let (source, destination) = ([192, 0, 2, 1].into(), [198, 51, 100, 2].into());
        let reply = FlowKey::Echo { source, destination, identifier: 77, reply: true };
        for shard in [ShardId(0), ShardId(1)] {
            steering.owners_mut().set(PortSpace::Icmp, 77, Some(Owner::Shard(shard)));
            assert_eq!(steering.shard_of(&reply), Some(shard));
        }
    }

    #[test]
    fn a_lone_shard_has_everything() {
        let steering = steering(&[1]);
        assert_eq!(steering.shards(), 1);
        for key in [FLOW, FlowKey::Unknown] {
            assert_eq!(steering.shard_of(&key), Some(ShardId(0)));
        }
        assert_eq!(steering.shard_of_frame(&[], Medium::Ethernet), Some(ShardId(0)));
    }

    #[test]
    fn a_frame_is_steered_by_the_key_collected_from_it() {
        let steering = steering(&[1, 1, 1, 1, 1]);
        let mut packet = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 64, 6, 0, 0];
        packet.extend([66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6]);
        assert_eq!(steering.shard_of_frame(&packet, Medium::Ip), steering.shard_of(&FLOW));
        assert_eq!(steering.shard_of_frame(&packet, Medium::Ethernet), None);
    }
}
