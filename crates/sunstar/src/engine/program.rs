//! The program in the kernel that steers a tap's packets, kept in step with the owners of ports.

use sunstar_device::tap::{self, TapSteering};
use sunstar_stack::steering::{Owner, PortChange, PortOwners, PortSpace};

/// The program, and what of the table of owners it knows. The first shard keeps it, which is the one that changes the
/// table.
#[derive(Debug)]
pub(crate) struct Program {
    steering: TapSteering,
    queues: u16,
    version: u64,
}

impl Program {
    /// A program for so many queues that knows of no owners.
    pub(crate) fn new(steering: TapSteering, queues: u16) -> Self {
        Self { steering, queues, version: 0 }
    }

    /// Tells the program what has changed.
    pub(super) fn follow(&mut self, owners: &PortOwners) {
        if owners.version() == self.version {
            return;
        }
        for PortChange { space, port, owner, version } in owners.changes_since(self.version) {
            let space = match space {
                PortSpace::Tcp => tap::PortSpace::Tcp,
                PortSpace::Udp => tap::PortSpace::Udp,
                PortSpace::Icmp => tap::PortSpace::Icmp,
            };
            let queue = match owner {
                Some(Owner::Shard(shard)) => Some(shard.0 % self.queues),
                // Where it arrives is all the same.
                Some(Owner::Hook(_)) => Some(0),
                Some(Owner::EveryShard) | None => None,
            };
            self.steering.set_owner(space, port, queue);
            self.version = version;
        }
    }
}
