//! The program in the kernel that steers a tap's packets, kept in step with the owners of ports.

use sunstar_device::tap::{self, TapSteering};
use sunstar_stack::steering::{Owner, PortChange, PortOwners, PortSpace};

const SPACES: [tap::PortSpace; 3] = [tap::PortSpace::Tcp, tap::PortSpace::Udp, tap::PortSpace::Icmp];

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

    /// Forgets every owner: the table begins anew, and does not tell what was given up with the one before.
    pub(super) fn begin_anew(&mut self) {
        for space in SPACES {
            (0..=u16::MAX).for_each(|port| self.steering.set_owner(space, port, None));
        }
        self.version = 0;
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

#[cfg(test)]
mod tests {
    use sunstar_stack::steering::ShardId;

    use super::*;

    /// The queue that a TCP segment for a port goes to.
    fn queue_of(program: &Program, port: u16) -> u32 {
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 9]);
        frame.extend(port.to_be_bytes());
        frame.extend([0; 16]);
        program.steering.run(&frame).unwrap()
    }

    #[test]
    fn what_only_a_table_that_is_gone_knew_counts_no_longer() {
        let steering = TapSteering::load(&[7; 40]);
        let mut steering = steering.expect("root may load the program: run this test as root");
        // What nobody owns is on the second queue.
        steering.set_table(&[1]).unwrap();
        let mut program = Program::new(steering, 2);
        let (mut owners, mut fresh) = (PortOwners::new(), PortOwners::new());
        let first = Some(Owner::Shard(ShardId(0)));
        owners.set(PortSpace::Tcp, 80, first);
        owners.set(PortSpace::Tcp, 81, first);
        program.follow(&owners);
        assert_eq!([80, 81, 82].map(|port| queue_of(&program, port)), [0, 0, 1]);
        fresh.advance(1 << 32);
        fresh.set(PortSpace::Tcp, 81, first);
        program.begin_anew();
        program.follow(&fresh);
        assert_eq!([80, 81, 82].map(|port| queue_of(&program, port)), [1, 0, 1]);
    }
}
