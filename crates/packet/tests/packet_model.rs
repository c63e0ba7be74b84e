//! A packet behaves as the plain bytes it stands for, whatever its pieces are, wherever it was lent, and whoever
//! shares them.
#![cfg(not(loom))]

use proptest::prelude::*;
use sunstar_packet::{
    ChecksumNote, Fragment, MAX_FRAGMENTS, Memory, Notes, Packet, Pool, PoolConfig, SizeClass, Staging,
};

#[derive(Clone, Debug)]
enum Operation {
    PushBuffer(Vec<u8>),
    PushBytes(Vec<u8>),
    /// A slice of a staging slot that goes on filling.
    PushStaged(Vec<u8>),
    /// A packet of two pieces at the end, whatever there is already.
    Chain(Vec<u8>, Vec<u8>),
    /// So many bytes taken away in front, in so many pieces at most.
    Split(usize, usize),
    TrimFront(usize),
    Truncate(usize),
    Prepend(Vec<u8>),
    Share,
    DropShares,
    /// Lent to the other shard, or to itself.
    Lend {
        elsewhere: bool,
    },
    Copy,
    Collect,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 1_800..1_900),
        1 => prop::collection::vec(any::<u8>(), 4_000..4_100),
    ]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..60usize, 2 => 0..4_200usize, 1 => Just(1 << 32), 1 => Just(usize::MAX)]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        bytes().prop_map(Operation::PushBuffer),
        bytes().prop_map(Operation::PushBytes),
        bytes().prop_map(Operation::PushStaged),
        (bytes(), bytes()).prop_map(|(one, other)| Operation::Chain(one, other)),
        (0..4_000usize, 0..4usize).prop_map(|(len, pieces)| Operation::Split(len, pieces)),
        length().prop_map(Operation::TrimFront),
        length().prop_map(Operation::Truncate),
        prop::collection::vec(any::<u8>(), 0..80).prop_map(Operation::Prepend),
        Just(Operation::Share),
        Just(Operation::DropShares),
        any::<bool>().prop_map(|elsewhere| Operation::Lend { elsewhere }),
        Just(Operation::Copy),
        Just(Operation::Collect),
    ]
}

const NOTES: Notes = Notes {
    checksum: ChecksumNote::Verified,
    segmentation: None,
    hash: Some(0x5EED),
    departure: None,
    fragment_size: Some(1_480),
};

/// A packet beside the bytes it should have.
struct Model {
    pools: [Pool; 2],
    /// Which shard has the packet now.
    at: usize,
    staging: [Staging; 2],
    packet: Packet,
    bytes: Vec<u8>,
    shares: Vec<(Packet, Vec<u8>)>,
}

impl Model {
    fn new(memory: &Memory, first: &[u8]) -> Self {
        let config =
            PoolConfig { small_count: 128, staging_count: 64, max_loans: 256, ..PoolConfig::default() };
        let pools = [(); 2].map(|()| Pool::new(memory, &config).expect("a small mapping succeeds"));
        let staging = [0, 1].map(|at| Staging::new(&pools[at], SizeClass::Staging).expect("a slot is free"));
        let mut packet = Packet::new(pools[0].copy_of(first).expect("a slot is free"));
        packet.notes = NOTES;
        Self { pools, at: 0, staging, packet, bytes: first.to_vec(), shares: Vec::new() }
    }

    fn apply(&mut self, operation: Operation) {
        let pool = &self.pools[self.at];
        match operation {
            Operation::PushBuffer(bytes) => {
                let buffer = pool.copy_of(&bytes).expect("a slot is free");
                self.push(buffer.into(), &bytes);
            }
            Operation::PushBytes(bytes) => self.push(bytes::Bytes::from(bytes.clone()).into(), &bytes),
            Operation::PushStaged(bytes) => {
                let staging = &mut self.staging[self.at];
                let from = staging.len();
                let added = staging.append(&bytes);
                let slice = staging.slice(from, added);
                self.push(slice.into(), &bytes[..added]);
            }
            Operation::Chain(one, other) => {
                let mut behind = Packet::new(pool.copy_of(&one).expect("a slot is free"));
                behind.push(bytes::Bytes::from(other.clone())).expect("two pieces");
                self.packet.chain(behind);
                self.bytes.extend([one, other].concat());
            }
            Operation::Split(len, pieces) => {
                // What does not fit a slot stays whole when it would have to be copied.
                let Some(front) = self.packet.split_front(len, pieces, pool) else { return };
                let bytes: Vec<u8> = self.bytes.drain(..len.min(self.bytes.len())).collect();
                assert!(front.fragments().len() <= pieces.max(1), "{front:?}");
                assert_eq!(front.notes, Notes::default());
                self.shares.push((front, bytes));
            }
            Operation::TrimFront(len) => {
                self.packet.trim_front(len);
                self.bytes.drain(..len.min(self.bytes.len()));
            }
            Operation::Truncate(len) => {
                self.packet.truncate(len);
                self.bytes.truncate(len);
            }
            Operation::Prepend(header) => self.prepend(&header),
            Operation::Share => {
                let unique = self.packet.fragments().iter().any(|piece| matches!(piece, Fragment::Loaned(_)));
                let share = self.packet.share();
                assert_eq!(share.is_none(), unique, "a loan from another shard is unique");
                self.shares.extend(share.map(|share| (share, self.bytes.clone())));
            }
            Operation::DropShares => self.shares.clear(),
            Operation::Lend { elsewhere } => {
                let loan = std::mem::take(&mut self.packet).lend(pool).expect("the ring has room");
                assert_eq!(loan.pieces().collect::<Vec<_>>().concat(), self.bytes);
                self.at = (self.at + usize::from(elsewhere)) % 2;
                self.packet = loan.adopt(&self.pools[self.at]);
            }
            Operation::Copy => {
                // A long chain fits no slot.
                if let Some(copy) = self.packet.copied_into(pool) {
                    assert_eq!(copy.fragments().len(), 1);
                    self.packet = copy;
                }
            }
            Operation::Collect => {
                self.pools.iter().for_each(|pool| {
                    pool.collect();
                });
            }
        }
    }

    fn push(&mut self, fragment: Fragment, bytes: &[u8]) {
        let full = self.packet.fragments().len() >= MAX_FRAGMENTS;
        let pushed = self.packet.push(fragment);
        assert_eq!(pushed.is_err(), full && !bytes.is_empty());
        if pushed.is_ok() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn prepend(&mut self, header: &[u8]) {
        let headroom = match self.packet.fragments().first() {
            Some(Fragment::Buffer(buffer)) if buffer.is_unique() => Some(buffer.headroom()),
            _ => None,
        };
        let grown = self.packet.prepend(header.len());
        assert_eq!(grown.is_some(), headroom.is_some_and(|headroom| headroom >= header.len()));
        if let Some(front) = grown {
            front.copy_from_slice(header);
            self.bytes.splice(..0, header.iter().copied());
        }
    }

    fn check(&self) {
        assert_eq!((self.packet.to_vec(), self.packet.len()), (self.bytes.clone(), self.bytes.len()));
        assert_eq!((self.packet.is_empty(), self.packet.notes), (self.bytes.is_empty(), NOTES));
        assert!(self.bytes.starts_with(self.packet.head()));
        assert!(self.packet.true_size() >= self.bytes.len());
        let offset = self.bytes.len() / 3;
        let mut middle = vec![0; self.bytes.len() / 2];
        let copied = self.packet.copy_to(offset, &mut middle);
        assert_eq!(middle[..copied], self.bytes[offset..offset + copied]);
        assert_eq!(copied, middle.len().min(self.bytes.len() - offset));
        for (share, bytes) in &self.shares {
            assert_eq!(&share.to_vec(), bytes, "a share does not change");
        }
    }
}

proptest! {
    #[test]
    fn a_packet_is_the_bytes_it_stands_for(first in bytes(), operations in prop::collection::vec(operation(), 1..40)) {
        let memory = Memory::new();
        let mut model = Model::new(&memory, &first);
        model.check();
        for operation in operations {
            model.apply(operation);
            model.check();
        }
        let pools = model.pools.clone();
        drop(model);
        for pool in &pools {
            pool.collect();
            prop_assert_eq!(pool.buffers_out(), 0);
            prop_assert_eq!(pool.counters().lent, 0);
        }
        drop(pools);
        prop_assert_eq!(memory.homes(), 0);
    }
}
