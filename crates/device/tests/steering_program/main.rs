//! The steering program in the kernel beside the stack's own classifier: for every frame the same queue.
//!
//! Here the kernel runs the program without sending anything; in `on_a_tap` the frames cross a tap. Both need root.
#![cfg(all(target_os = "linux", not(loom)))]

mod frames;
mod namespace;
mod on_a_tap;

use std::collections::BTreeMap;

use frames::{Frames, KINDS, POPULAR};
use sunstar_device::tap::{self, SteeringError, TapSteering};
use sunstar_packet::Medium;
use sunstar_stack::random::Random;
use sunstar_stack::steering::{
    FlowKey, HookId, IndirectionTable, Owner, PortSpace, RssKey, ShardId, Steering, TableSize, Toeplitz,
};

/// The stack's steering, and the program that is to equal it.
struct Both {
    stack: Steering,
    kernel: TapSteering,
}

impl Both {
    /// A program with the key and the table of a steering in which no port has an owner.
    fn of(stack: Steering) -> Self {
        let mut kernel = load(&stack.toeplitz().key().0);
        kernel.set_table(&queues(stack.table())).unwrap();
        Self { stack, kernel }
    }

    /// A key, table and owners by chance.
    fn random(random: &mut Random) -> Self {
        let mut both = Self::of(Steering::new(Toeplitz::new(RssKey::random(random)), table(random)));
        both.change_owners(random);
        both
    }

    /// Another table, with the same key and owners.
    fn change_table(&mut self, random: &mut Random) {
        let owners = self.stack.owners().clone();
        self.stack = Steering::new(self.stack.toeplitz().clone(), table(random));
        *self.stack.owners_mut() = owners;
        self.kernel.set_table(&queues(self.stack.table())).unwrap();
    }

    /// Gives the popular ports to somebody, or nobody.
    fn change_owners(&mut self, random: &mut Random) {
        for space in [PortSpace::Tcp, PortSpace::Udp, PortSpace::Icmp] {
            for port in 0..POPULAR {
                let shard = ShardId(random.below(u64::from(self.stack.shards())) as u16);
                let owner = match random.below(6) {
                    0 => None,
                    1 => Some(Owner::EveryShard),
                    2 => Some(Owner::Hook(HookId(7))),
                    _ => Some(Owner::Shard(shard)),
                };
                self.give(space, port, owner);
            }
        }
    }

    /// Gives a port to somebody, or nobody.
    fn give(&mut self, space: PortSpace, port: u16, owner: Option<Owner>) {
        self.stack.owners_mut().set(space, port, owner);
        let space = match space {
            PortSpace::Tcp => tap::PortSpace::Tcp,
            PortSpace::Udp => tap::PortSpace::Udp,
            PortSpace::Icmp => tap::PortSpace::Icmp,
        };
        let queue = owner.and_then(|owner| match owner {
            Owner::EveryShard => None,
            Owner::Shard(shard) => Some(shard.0),
            // A frame that a hook takes stays where it arrives, which is where the unknown ones do.
            Owner::Hook(_) => Some(0),
        });
        self.kernel.set_owner(space, port, queue);
    }

    /// Has both steer a frame. Whether the kernel tried it: not if it ends inside its IP header.
    fn compare(&self, frame: &[u8], what: &str) -> bool {
        let shard = self.stack.shard_of_frame(frame, Medium::Ethernet);
        let expected = shard.map_or(0, |shard| u32::from(shard.0));
        let key = FlowKey::collect(frame, Medium::Ethernet);
        match self.kernel.run(frame) {
            Ok(queue) => assert_eq!(queue, expected, "{what}, {key:?}, {} bytes: {frame:02x?}", frame.len()),
            Err(SteeringError::ShortFrame { .. }) => {
                assert_eq!(key, FlowKey::Unknown, "{what}, {} bytes", frame.len());
                return false;
            }
            Err(error) => panic!("{what}, {} bytes: {error}", frame.len()),
        }
        true
    }
}

fn load(key: &[u8; 40]) -> TapSteering {
    match TapSteering::load(key) {
        Ok(steering) => steering,
        Err(error @ SteeringError::NotPermitted { .. }) => panic!("run this test as root: {error}"),
        Err(error) => panic!("{error}"),
    }
}

/// Two to nine shards of any weight. (A lone shard has no classifier to compare with.)
fn table(random: &mut Random) -> IndirectionTable {
    let mut weights: Vec<u32> = (0..random.range(2..=9)).map(|_| random.below(5) as u32).collect();
    weights[1] += 1;
    let size = [TableSize::Entries128, TableSize::Entries512][random.below(2) as usize];
    IndirectionTable::new(size, &weights).unwrap()
}

fn queues(table: &IndirectionTable) -> Vec<u16> {
    table.entries().iter().map(|shard| shard.0).collect()
}

fn name(key: &FlowKey) -> &'static str {
    match key {
        FlowKey::Ports { source, .. } if source.is_ipv4() => "ports over IPv4",
        FlowKey::Ports { .. } => "ports over IPv6",
        FlowKey::Addresses { source, .. } if source.is_ipv4() => "addresses of IPv4",
        FlowKey::Addresses { .. } => "addresses of IPv6",
        FlowKey::Echo { reply: false, .. } => "echo",
        FlowKey::Echo { .. } => "echo reply",
        FlowKey::Neighbor(_) => "neighbour",
        FlowKey::Unknown => "unknown",
    }
}

#[test]
fn the_kernel_steers_a_hundred_thousand_frames_as_the_stack_does() {
    let mut random = Random::from_seed(20_261_123);
    let mut frames = Frames::new(5);
    let (mut by_kind, mut by_key, mut compared) = (BTreeMap::new(), BTreeMap::new(), 0);
    while compared < 100_000 {
        let mut both = Both::random(&mut random);
        for change in 0..5 {
            match change {
                1 | 3 => both.change_owners(&mut random),
                2 => both.change_table(&mut random),
                _ => {}
            }
            for _ in 0..1_000 {
                let (kind, frame) = frames.next();
                if !both.compare(&frame, KINDS[kind]) {
                    continue;
                }
                compared += 1;
                *by_kind.entry(KINDS[kind]).or_insert(0) += 1;
                *by_key.entry(name(&FlowKey::collect(&frame, Medium::Ethernet))).or_insert(0) += 1;
            }
        }
    }
    println!("{compared} frames compared, by how they began: {by_kind:#?}");
    println!("and by the key that the classifier found in them: {by_key:#?}");
    assert!(by_kind.len() == KINDS.len() && by_kind.values().all(|count| *count > 1_000));
    assert!(by_key.len() == 8 && by_key.values().all(|count| *count > 1_000));
}

#[test]
fn a_frame_cut_anywhere_is_steered_by_what_is_left_of_it() {
    let mut random = Random::from_seed(1);
    let mut frames = Frames::new(2);
    let both = Both::random(&mut random);
    for (kind, what) in KINDS.iter().enumerate() {
        for _ in 0..20 {
            let frame = frames.of_kind(kind);
            for len in 14..=frame.len() {
                both.compare(&frame[..len], what);
            }
        }
    }
}

#[test]
fn every_port_and_identifier_may_have_an_owner_of_its_own() {
    let mut both = Both::random(&mut Random::from_seed(3));
    both.kernel.set_table(&[300]).unwrap();
    let mut udp = vec![2; 12];
    udp.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 53]);
    for port in 0..=u16::MAX {
        both.kernel.set_owner(tap::PortSpace::Udp, port, Some(port % 256));
        let mut frame = udp.clone();
        frame.extend(port.to_be_bytes());
        frame.extend([0, 8, 0, 0]);
        assert_eq!(both.kernel.run(&frame).unwrap(), u32::from(port % 256), "port {port}");
        both.kernel.set_owner(tap::PortSpace::Udp, port, None);
        if port % 64 == 0 {
            assert_eq!(both.kernel.run(&frame).unwrap(), 300, "port {port} given up");
        }
    }
}
