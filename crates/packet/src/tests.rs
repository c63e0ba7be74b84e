//! Unit tests of pools, buffers and packets; the way home across threads is in `tests/`.

use super::*;

fn pool(memory: &Memory) -> Pool {
    let config = PoolConfig { small_count: 8, staging_count: 2, max_loans: 4, ..PoolConfig::default() };
    Pool::new(memory, &config).expect("a small mapping succeeds")
}

#[test]
fn a_header_is_prepended_without_moving_the_payload() {
    let pool = pool(&Memory::new());
    let mut packet = Packet::new(pool.copy_of(b"payload").unwrap());
    let before = packet.head().as_ptr();
    packet.prepend(4).unwrap().copy_from_slice(b"head");
    assert_eq!(packet.head(), b"headpayload");
    assert_eq!(packet.head()[4..].as_ptr(), before);
}

#[test]
fn a_shared_slot_is_never_written() {
    let pool = pool(&Memory::new());
    let mut buffer = pool.copy_of(b"shared").unwrap();
    let clone = buffer.clone();
    assert!(buffer.get_mut().is_none() && buffer.prepend(1).is_none() && buffer.append(1).is_none());
    drop(clone);
    assert!(buffer.get_mut().is_some() && buffer.prepend(1).is_some() && buffer.append(1).is_some());
}

#[test]
fn staging_grows_behind_the_slices_already_taken() {
    let pool = pool(&Memory::new());
    let mut staging = Staging::new(&pool, SizeClass::Small).unwrap();
    staging.append(b"first");
    let first = staging.slice(0, 5);
    staging.append(b"second");
    assert_eq!(&first[..], b"first");
    assert_eq!(&staging.slice(5, 100)[..], b"second");
    assert_eq!(staging.append(&[0; 4096]), 2048 - 11);
}

#[test]
fn a_packet_is_trimmed_and_cut_across_its_fragments() {
    let pool = pool(&Memory::new());
    let mut packet = Packet::new(pool.copy_of(b"abc").unwrap());
    packet.push(bytes::Bytes::from_static(b"defg")).unwrap();
    packet.push(pool.copy_of(b"hij").unwrap()).unwrap();
    packet.trim_front(4);
    packet.truncate(5);
    assert_eq!(packet.to_vec(), b"efghi");
    packet.truncate(3);
    assert_eq!((packet.to_vec(), packet.fragments().len()), (b"efg".to_vec(), 1));
    packet.trim_front(10);
    assert!(packet.is_empty());
}

#[test]
fn pieces_of_one_slot_are_known_as_such_at_home_and_lent() {
    let pool = pool(&Memory::new());
    let (one, other) = (pool.copy_of(b"one slot").unwrap(), pool.copy_of(b"another").unwrap());
    let mut packet = Packet::new(one.slice(0, 3));
    for piece in [one.slice(3, 5), other.clone()] {
        packet.push(piece).unwrap();
    }
    let shared = |packet: &Packet| {
        let pieces = packet.fragments();
        (pieces[0].shares_slot(&pieces[1]), pieces[1].shares_slot(&pieces[2]))
    };
    assert_eq!(shared(&packet), (true, false));
    let elsewhere =
        Pool::new(&Memory::new(), &PoolConfig { small_count: 1, ..PoolConfig::default() }).unwrap();
    assert_eq!(shared(&packet.lend(&pool).unwrap().adopt(&elsewhere)), (true, false));
}

#[test]
fn an_empty_pool_refuses_and_counts() {
    let pool = pool(&Memory::new());
    let held: Vec<_> = (0..8).map(|_| pool.allocate(SizeClass::Small, 0).unwrap()).collect();
    assert!(pool.allocate(SizeClass::Small, 0).is_none());
    assert_eq!(pool.counters().refused, 1);
    drop(held);
    assert_eq!(pool.buffers_out(), 0);
}

#[test]
fn a_dropped_loan_is_home_after_the_next_collect() {
    let pool = pool(&Memory::new());
    let loan = Packet::new(pool.copy_of(b"away").unwrap()).lend(&pool).unwrap();
    std::thread::spawn(move || assert_eq!(loan.pieces().next(), Some(&b"away"[..]))).join().unwrap();
    assert_eq!((pool.buffers_out(), pool.counters().lent), (1, 1));
    assert_eq!(pool.collect(), 1);
    assert_eq!((pool.buffers_out(), pool.counters().lent), (0, 0));
}

#[test]
fn a_loan_that_is_adopted_at_home_takes_no_trip() {
    let pool = pool(&Memory::new());
    let loan = Packet::new(pool.copy_of(b"round").unwrap()).lend(&pool).unwrap();
    let mut packet = loan.adopt(&pool);
    assert!(packet.prepend(2).is_some(), "an ordinary buffer again");
    drop(packet);
    assert_eq!((pool.buffers_out(), pool.collect()), (0, 0));
}

#[test]
fn no_more_is_lent_than_the_way_home_has_room_for() {
    let pool = pool(&Memory::new());
    let packet = || Packet::new(pool.copy_of(b"x").unwrap());
    let loans: Vec<_> = (0..4).map(|_| packet().lend(&pool).unwrap()).collect();
    assert!(packet().lend(&pool).is_err());
    Loan::send_home(loans);
    assert_eq!(pool.collect(), 4);
    assert!(packet().lend(&pool).is_ok());
}

#[test]
fn one_buffer_lent_to_four_shards_is_freed_once() {
    let pool = pool(&Memory::new());
    let packet = Packet::new(pool.copy_of(b"multicast").unwrap());
    let loans: Vec<_> = (0..4).map(|_| packet.share().unwrap().lend(&pool).unwrap()).collect();
    drop(packet);
    for (gone, loan) in loans.into_iter().enumerate() {
        assert_eq!(pool.buffers_out(), 1, "{gone} are back");
        drop(loan);
        assert_eq!(pool.collect(), 1);
    }
    assert_eq!(pool.buffers_out(), 0);
}

#[test]
fn the_loans_of_a_killed_shard_still_come_home() {
    let memory = Memory::new();
    let killed = pool(&memory);
    let loan = Packet::new(killed.copy_of(b"orphan").unwrap()).lend(&killed).unwrap();
    drop(killed);
    assert_eq!(memory.reclaim(), Reclaimed { returned: 0, freed: 0, still_out: 1 });
    assert_eq!(loan.pieces().next(), Some(&b"orphan"[..]), "its memory is still there");
    std::thread::spawn(move || drop(loan)).join().unwrap();
    assert_eq!(memory.reclaim(), Reclaimed { returned: 1, freed: 1, still_out: 0 });
    assert_eq!(memory.homes(), 0);
}

#[test]
fn a_buffer_that_outlives_its_pool_keeps_the_memory_until_it_is_dropped() {
    let memory = Memory::new();
    let closed = pool(&memory);
    let buffer = closed.copy_of(b"held by an application").unwrap();
    drop(closed);
    assert_eq!((&buffer[..], memory.homes()), (&b"held by an application"[..], 1));
    drop(buffer);
    assert_eq!(memory.homes(), 0);
}

#[test]
fn a_ring_gets_only_buffers_nobody_else_holds_and_what_it_says_is_checked() {
    let pool = pool(&Memory::new());
    let buffer = pool.allocate(SizeClass::Small, 0).unwrap();
    let clone = buffer.clone();
    let buffer = pool.give_to_ring(buffer).expect_err("it is shared");
    drop(clone);
    let (slot, offset) = pool.give_to_ring(buffer).unwrap();
    assert_eq!(offset, slot as usize * 2048);
    let held = pool.allocate(SizeClass::Small, 0).unwrap();
    // SAFETY: no device writes here; the calls that lie are refused.
    unsafe {
        assert!(pool.take_from_ring(999, 0, 10).is_none(), "no such slot");
        assert!(pool.take_from_ring(slot + 1, 0, 10).is_none(), "out, but not in a ring");
        assert!(pool.take_from_ring(slot + 2, 0, 10).is_none(), "not out");
        assert!(pool.take_from_ring(slot, 2000, 100).is_none(), "beyond the slot");
        assert!(pool.take_from_ring(slot, usize::MAX, 2).is_none(), "overflow");
        let taken = pool.take_from_ring(slot, 10, 100).unwrap();
        assert_eq!(taken.len(), 100);
        assert!(pool.take_from_ring(slot, 10, 100).is_none(), "said twice");
    }
    drop(held);
    assert_eq!(pool.buffers_out(), 0);
}

#[test]
fn a_closed_device_gives_back_what_its_rings_had() {
    let memory = Memory::new();
    let pool = pool(&memory);
    for _ in 0..3 {
        pool.give_to_ring(pool.allocate(SizeClass::Small, 0).unwrap()).unwrap();
    }
    let kept = pool.allocate(SizeClass::Small, 0).unwrap();
    // SAFETY: there is no device that could use the slots.
    assert_eq!(unsafe { pool.clear_rings() }, 3);
    assert_eq!(pool.buffers_out(), 1);
    drop((pool, kept));
    assert_eq!(memory.homes(), 0);
}

#[test]
fn memory_that_a_device_may_still_write_is_never_unmapped() {
    let memory = Memory::new();
    let dies = pool(&memory);
    dies.give_to_ring(dies.allocate(SizeClass::Small, 0).unwrap()).unwrap();
    drop(dies);
    assert_eq!((memory.reclaim(), memory.homes()), (Reclaimed::default(), 1));
}

#[test]
fn lengths_beyond_four_gibibytes_are_not_cut_to_32_bits() {
    let pool = pool(&Memory::new());
    let huge = (1 << 32) + 1;
    let mut kept = Packet::new(pool.copy_of(b"abc").unwrap());
    kept.truncate(huge);
    assert_eq!(kept.head(), b"abc");
    kept.trim_front(huge);
    assert!(kept.is_empty());
    assert!(kept.prepend(huge).is_none());
    assert_eq!(pool.allocate(SizeClass::Small, huge).unwrap().headroom(), 2048);
    let mut loan = pool.copy_of(b"abc").unwrap().lend();
    loan.truncate(huge);
    assert_eq!(&loan[..], b"abc");
    loan.trim_front(huge);
    assert!(loan.is_empty());
}

#[test]
fn a_pool_too_large_to_count_is_refused_as_one_too_large_to_map() {
    let overflow = PoolConfig { small_size: 1 << 30, small_count: 1 << 31, ..PoolConfig::default() };
    let slot = PoolConfig { small_size: 1 << 32, small_count: 1, ..PoolConfig::default() };
    let slots = PoolConfig { small_count: u32::MAX as usize, ..PoolConfig::default() };
    let bytes = PoolConfig { staging_count: usize::MAX, ..PoolConfig::default() };
    for config in [overflow, slot, slots, bytes] {
        let error = Pool::new(&Memory::new(), &config).expect_err("no machine has that").to_string();
        assert!(error.contains("lower the pool's slot counts"), "{error}");
    }
}

#[test]
fn the_slots_of_both_classes_lie_side_by_side_and_within_the_memory() {
    let pool = pool(&Memory::new());
    let (base, len) = pool.memory_range();
    let mut buffers: Vec<_> = (0..8).map(|_| pool.allocate(SizeClass::Small, 0).unwrap()).collect();
    buffers.extend((0..2).map(|_| pool.allocate(SizeClass::Staging, 0).unwrap()));
    let mut at = base.as_ptr() as usize;
    for buffer in &mut buffers {
        let room = buffer.tailroom();
        assert_eq!(buffer.append(room).unwrap().as_ptr() as usize, at);
        at += room;
    }
    assert!(at <= base.as_ptr() as usize + len);
}

#[test]
fn a_frame_a_peer_can_write_is_copied_out_whole_wherever_it_begins_and_ends() {
    let pool = pool(&Memory::new());
    let mut frame: Vec<u8> = (0..100).collect();
    let base = std::ptr::NonNull::new(frame.as_mut_ptr()).unwrap();
    for (start, len) in (0..9).flat_map(|start| (0..40).map(move |len| (start, len))) {
        // SAFETY: within `frame`, which outlives its view.
        let shared = unsafe { SharedFrame::new(base.add(start), len) };
        assert_eq!(&pool.copy_of_shared(&shared).unwrap()[..], &frame[start..start + len]);
        let mut part = [0xFF; 20];
        shared.copy_to(&mut part);
        let copied = len.min(20);
        assert_eq!(
            (&part[..copied], &part[copied..]),
            (&frame[start..start + copied], &[0xFF; 20][copied..])
        );
    }
}

#[test]
fn a_memory_file_can_be_given_to_a_peer() {
    let config =
        PoolConfig { region: RegionKind::MemoryFile, small_count: 4, staging_count: 1, ..Default::default() };
    let pool = Pool::new(&Memory::new(), &config).unwrap();
    let file = pool.memory_file().expect("it has a file");
    let shrunk = rustix::fs::ftruncate(file, 4096);
    assert_eq!(shrunk, Err(rustix::io::Errno::PERM), "a peer that could shrink it would kill this process");
    assert_eq!(&pool.copy_of(b"in the file").unwrap()[..], b"in the file");
}

#[test]
fn what_counts_without_atomics_cannot_leave_its_thread() {
    // A type that is `Send` has two candidates for `probe`, and the line does not compile.
    trait Probe<T> {
        fn probe() {}
    }
    impl<T: ?Sized> Probe<()> for T {}
    impl<T: ?Sized + Send> Probe<u8> for T {}
    <Pool as Probe<_>>::probe();
    <Buffer as Probe<_>>::probe();
    <Staging as Probe<_>>::probe();
    <Packet as Probe<_>>::probe();
    fn sends<T: Send + Sync>() {}
    sends::<Loan>();
    sends::<Memory>();
}
