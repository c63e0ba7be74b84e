use proptest::prelude::*;
use sunstar_packet::{Memory, PoolConfig};

use super::*;

/// The application's stream, by position.
fn byte(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn stream(start: u64, len: usize) -> Vec<u8> {
    (start..start + len as u64).map(byte).collect()
}

fn pool() -> Pool {
    let config = PoolConfig { small_count: 64, staging_count: 12, max_loans: 64, ..PoolConfig::default() };
    Pool::new(&Memory::new(), &config).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Give(usize),
    /// So many thousandths of what is there are acknowledged.
    Acknowledge(u64),
    /// A segment from so many thousandths on, of so many bytes at most; kept for a while, as a device does.
    Read(u64, usize),
    /// The device lets go of what it kept.
    Departed,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..3_000).prop_map(Step::Write),
        1 => (0_usize..50_000).prop_map(Step::Write),
        2 => (0_usize..3_000).prop_map(Step::Give),
        3 => (0_u64..=1_000).prop_map(Step::Acknowledge),
        6 => (0_u64..1_000, 1_usize..20_000).prop_map(|(from, len)| Step::Read(from, len)),
        1 => Just(Step::Departed),
        1 => Just(Step::Clear),
    ]
}

const LIMIT: usize = 100_000;

proptest! {
    #[test]
    fn what_is_sent_is_what_was_written(steps in prop::collection::vec(step(), 1..150)) {
        let pool = pool();
        let mut buffer = SendBuffer::default();
        let (mut base, mut end) = (0_u64, 0_u64);
        let mut departing = Vec::new();
        for step in steps {
            match step {
                Step::Write(len) => {
                    let written = buffer.write(&pool, &stream(end, len), LIMIT);
                    prop_assert!(written <= len);
                    end += written as u64;
                }
                Step::Give(len) => {
                    let mut bytes = Bytes::from(stream(end, len));
                    let given = buffer.give(&mut bytes, LIMIT);
                    prop_assert_eq!(given + bytes.len(), len);
                    end += given as u64;
                }
                Step::Acknowledge(thousandths) => {
                    base += (end - base) * thousandths / 1_000;
                    buffer.acknowledge(base);
                    // What was acknowledged before changes nothing.
                    buffer.acknowledge(base.saturating_sub(100));
                }
                Step::Read(thousandths, len) => {
                    let from = base + (end - base) * thousandths / 1_000;
                    let mut packet = Packet::default();
                    let taken = buffer.read(from, len, &mut packet);
                    prop_assert_eq!(taken, packet.len());
                    prop_assert!(taken <= len && from + taken as u64 <= end);
                    prop_assert!(taken > 0 || from == end, "there is something, and it goes");
                    prop_assert_eq!(packet.to_vec(), stream(from, taken));
                    departing.push((from, packet));
                }
                Step::Departed => departing.clear(),
                Step::Clear => {
                    buffer.clear();
                    base = end;
                }
            }
            prop_assert_eq!((buffer.len() as u64, buffer.end()), (end - base, end));
            prop_assert!(buffer.len() <= LIMIT);
            let held: usize = buffer.chunks.iter().map(|chunk| chunk.data.true_size()).sum();
            prop_assert_eq!(buffer.held(), held);
            // What a device still has is never written over.
            for (from, packet) in &departing {
                prop_assert_eq!(packet.to_vec(), stream(*from, packet.len()));
            }
        }
        buffer.acknowledge(end);
        departing.clear();
        prop_assert_eq!((buffer.held(), pool.buffers_out()), (0, 0));
    }
}

#[test]
fn writers_leave_slots_for_reception() {
    let pool = pool();
    let mut buffer = SendBuffer::default();
    while buffer.write(&pool, &[0; 1_000], usize::MAX) > 0 {}
    assert_eq!(pool.free(SizeClass::Staging), RESERVED);
    assert_eq!(pool.free(SizeClass::Small), pool.total(SizeClass::Small) / 8);
}

#[test]
fn a_few_bytes_behind_given_ones_take_a_small_slot() {
    let pool = pool();
    let mut buffer = SendBuffer::default();
    for _ in 0..20 {
        assert_eq!(buffer.write(&pool, b"a header", LIMIT), 8);
        buffer.give(&mut Bytes::from(vec![0; 4_000]), LIMIT);
    }
    assert_eq!(pool.out(SizeClass::Staging), 0);
}
