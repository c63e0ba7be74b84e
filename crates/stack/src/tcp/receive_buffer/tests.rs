use bytes::Bytes;
use proptest::prelude::*;
use sunstar_packet::{HEADROOM, Memory, PoolConfig};

use super::*;

/// The peer's stream, by position.
fn byte(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn stream(start: u64, len: usize) -> Vec<u8> {
    (start..start + len as u64).map(byte).collect()
}

fn pool() -> Pool {
    let config = PoolConfig { small_count: 128, staging_count: 8, max_loans: 64, ..PoolConfig::default() };
    Pool::new(&Memory::new(), &config).unwrap()
}

/// Where the bytes of a payload lie.
#[derive(Clone, Copy, Debug)]
enum Home {
    SmallSlots,
    StagingSlots,
    Application,
}

fn payload(pool: &Pool, start: u64, len: usize, pieces: usize, home: Home) -> Option<Packet> {
    let mut packet = Packet::default();
    let bytes = stream(start, len);
    for piece in bytes.chunks(len.div_ceil(pieces).max(1)) {
        let fragment: Fragment = match home {
            Home::Application => Bytes::copy_from_slice(piece).into(),
            Home::SmallSlots => pool.copy_of(piece)?.into(),
            Home::StagingSlots => {
                let mut buffer = pool.allocate(SizeClass::Staging, HEADROOM)?;
                buffer.append(piece.len())?.copy_from_slice(piece);
                buffer.into()
            }
        };
        packet.push(fragment).ok()?;
    }
    Some(packet)
}

#[derive(Clone, Debug)]
enum Step {
    /// A payload that starts so far from the next byte in order.
    Arrive {
        from_next: i64,
        len: usize,
        pieces: usize,
        home: Home,
    },
    Read(usize),
    Peek(usize),
    Take,
    Prune(usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let home = prop_oneof![
        4 => Just(Home::SmallSlots),
        1 => Just(Home::StagingSlots),
        1 => Just(Home::Application),
    ];
    let len = prop_oneof![2 => 1_usize..20, 2 => 1_usize..1_500, 1 => Just(1_460_usize)];
    let from_next = prop_oneof![3 => Just(0_i64), 3 => -1_500_i64..6_000];
    let arrive = (from_next, len, 1_usize..=3, home)
        .prop_map(|(from_next, len, pieces, home)| Step::Arrive { from_next, len, pieces, home });
    prop_oneof![
        16 => arrive,
        3 => (1_usize..3_000).prop_map(Step::Read),
        1 => (0_usize..3_000).prop_map(Step::Peek),
        2 => Just(Step::Take),
        1 => (0_usize..200_000).prop_map(Step::Prune),
        1 => Just(Step::Clear),
    ]
}

/// A receive buffer beside what is known of it.
struct Model {
    pool: Pool,
    buffer: ReceiveBuffer,
    /// The position of the next byte that the reader has not had.
    read: u64,
    /// The latest arrival out of order, if nothing but arrivals came since.
    latest: Option<u64>,
}

impl Model {
    fn arrive(&mut self, from_next: i64, len: usize, pieces: usize, home: Home) {
        let start = self.buffer.next.saturating_add_signed(from_next);
        let Some(mut packet) = payload(&self.pool, start, len, pieces, home) else { return };
        if start > self.buffer.next {
            let ahead = (start - self.buffer.next) as u32;
            if self.buffer.push_early(&self.pool, ahead, packet) {
                self.latest = Some(start);
            }
            return;
        }
        // What is known already is taken off before the buffer sees it.
        packet.trim_front((self.buffer.next - start) as usize);
        let (before, fresh) = (self.buffer.next, packet.len());
        let taken = self.buffer.push(&self.pool, packet);
        assert_eq!(self.buffer.next, before + taken as u64);
        assert!(taken >= fresh);
        self.latest = self.latest.filter(|latest| *latest > self.buffer.next);
    }

    fn expect(&mut self, bytes: &[u8]) {
        assert_eq!(bytes, stream(self.read, bytes.len()));
        self.read += bytes.len() as u64;
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Arrive { from_next, len, pieces, home } => self.arrive(from_next, len, pieces, home),
            Step::Read(limit) => {
                let mut bytes = Vec::new();
                let wanted = limit.min(self.buffer.readable());
                let read = self.buffer.read(limit, |piece| bytes.extend_from_slice(piece));
                assert_eq!((read, bytes.len()), (wanted, wanted));
                self.expect(&bytes);
            }
            Step::Peek(len) => {
                let mut bytes = vec![0; len];
                let peeked = self.buffer.peek(&mut bytes);
                assert_eq!(peeked, len.min(self.buffer.readable()));
                assert_eq!(bytes[..peeked], stream(self.read, peeked));
            }
            Step::Take => match self.buffer.take_fragment() {
                Some(fragment) => self.expect(&fragment),
                None => assert_eq!(self.buffer.readable(), 0),
            },
            Step::Prune(limit) => {
                self.buffer.prune(limit);
                assert!(self.buffer.held() < limit.max(1) || !self.buffer.has_gaps());
                self.latest = None;
            }
            Step::Clear => {
                self.buffer.clear();
                self.read = self.buffer.next;
                self.latest = None;
            }
        }
        self.check();
    }

    fn check(&self) {
        let buffer = &self.buffer;
        assert_eq!(buffer.readable() as u64, buffer.next - self.read);
        let held: usize = buffer.queue.iter().chain(buffer.early.values()).map(Fragment::true_size).sum();
        assert_eq!(buffer.held(), held, "memory is charged at its true size, once");
        let mut end = buffer.next;
        for (start, fragment) in &buffer.early {
            assert!(*start >= end && !fragment.is_empty(), "pieces out of order are disjoint and ahead");
            assert_eq!(fragment[..], stream(*start, fragment.len()));
            end = start + fragment.len() as u64;
        }
        let blocks = buffer.gaps_for_sack(0);
        for (at, (start, end)) in blocks.iter().enumerate() {
            assert!(0 < *start && start < end, "a block home ahead of what is acknowledged");
            assert!(blocks[..at].iter().all(|(left, right)| end < left || right < start), "disjoint");
            self.holds(buffer.next + u64::from(*start), buffer.next + u64::from(*end));
        }
        if let Some(latest) = self.latest {
            let (start, end) = blocks[0];
            let ahead = (latest - buffer.next) as u32;
            assert!(
                (start..end).contains(&ahead),
                "RFC 2018 section 4: the latest arrival is reported first"
            );
        }
    }

    /// What is reported is there.
    fn holds(&self, start: u64, end: u64) {
        let mut at = start;
        while at < end {
            let (from, fragment) =
                self.buffer.early.range(..=at).next_back().expect("a piece that was reported");
            let behind = from + fragment.len() as u64;
            assert!(at < behind, "{at} was reported and is not there");
            at = behind;
        }
    }
}

proptest! {
    #[test]
    fn whatever_arrives_is_read_as_it_was_sent(steps in prop::collection::vec(step(), 1..120)) {
        let pool = pool();
        let mut model = Model { pool: pool.clone(), buffer: ReceiveBuffer::default(), read: 0, latest: None };
        for step in &steps {
            model.take(step);
        }
        // Whatever was missing comes in the end.
        let end = model.buffer.early.last_key_value().map_or(0, |(at, last)| at + last.len() as u64);
        while model.buffer.next < end {
            let len = (end - model.buffer.next).min(1_460) as usize;
            model.arrive(0, len, 1, Home::Application);
            model.check();
        }
        model.take(&Step::Read(usize::MAX));
        assert!(!model.buffer.has_gaps());
        assert_eq!((model.buffer.held(), pool.buffers_out()), (0, 0));
    }

    #[test]
    fn small_payloads_hold_little_more_than_twice_their_memory(lens in prop::collection::vec(1_usize..400, 1..2_000)) {
        let pool = pool();
        let mut buffer = ReceiveBuffer::default();
        let mut at = 0;
        for len in lens {
            let Some(packet) = payload(&pool, at, len, 1, Home::SmallSlots) else { break };
            at += buffer.push(&pool, packet) as u64;
            let allowed = COMPACT_FROM + 2 * buffer.readable() + 2 * pool.capacity(SizeClass::Small);
            prop_assert!(buffer.held() <= allowed, "{} for {} bytes", buffer.held(), buffer.readable());
        }
    }
}

#[test]
fn one_byte_at_a_time_out_of_order_ends_at_the_cap() {
    let pool = pool();
    let mut buffer = ReceiveBuffer::default();
    let kept = (0..5_000_u32).filter(|byte| {
        let packet = payload(&pool, u64::from(2 * byte + 1), 1, 1, Home::Application).unwrap();
        buffer.push_early(&pool, 2 * byte + 1, packet)
    });
    assert_eq!(kept.count(), RangeSet::MAX_RANGES);
    assert!(buffer.early.len() <= MAX_EARLY);
}

#[test]
fn when_memory_is_short_the_nearest_data_out_of_order_is_kept() {
    let pool = pool();
    let mut buffer = ReceiveBuffer::default();
    for piece in 1..=20 {
        let packet = payload(&pool, piece * 1_000, 1_000, 1, Home::SmallSlots).unwrap();
        assert!(buffer.push_early(&pool, piece as u32 * 1_000, packet));
    }
    let slot = pool.capacity(SizeClass::Small);
    buffer.prune(10 * slot + 1);
    assert_eq!(buffer.held(), 10 * slot);
    assert_eq!(buffer.gaps_for_sack(0)[..], [(1_000, 11_000)]);
    let packet = payload(&pool, 0, 1_000, 1, Home::SmallSlots).unwrap();
    assert_eq!(buffer.push(&pool, packet), 11_000);
}
