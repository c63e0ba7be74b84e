//! Models of the way home: every interleaving, and every value that the memory orderings allow to be read.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p sunstar-packet --release --test loom_way_home`. In such a build
//! the crate tells loom of every read and write of a slot's bytes, of a home's cells, and of a home's freeing, so a
//! model fails when two of them race, as well as when a count is wrong.
#![cfg(loom)]

use loom::thread;
use sunstar_packet::{Loan, Memory, Packet, Pool, PoolConfig, Reclaimed, SizeClass};

/// A pool of four small slots. The smallest ring there is has two cells, and its tickets wrap at the third loan.
fn pool(memory: &Memory, loans: usize) -> Pool {
    let config = PoolConfig {
        small_size: 256,
        small_count: 4,
        staging_count: 0,
        max_loans: loans,
        ..PoolConfig::default()
    };
    Pool::new(memory, &config).expect("a small mapping succeeds")
}

fn lend(pool: &Pool, byte: u8) -> Loan {
    Packet::new(pool.copy_of(&[byte]).expect("a slot is free")).lend(pool).expect("the ring has room")
}

/// What a borrower does: it reads, and drops.
fn read(loan: Loan, byte: u8) {
    assert_eq!(loan.pieces().next(), Some(&[byte][..]));
}

/// Every loan came home once, every slot is free once, and can be written without a race with whoever read it.
fn assert_all_home(pool: &Pool, returned: u64) {
    pool.collect();
    let counters = pool.counters();
    assert_eq!((counters.small_out, counters.lent, counters.returned), (0, 0, returned));
    let slots: Vec<_> = (0..4).map(|byte| pool.copy_of(&[byte]).expect("each slot is free once")).collect();
    assert!(slots.iter().enumerate().all(|(byte, slot)| slot[..] == [byte as u8]));
    assert_eq!(pool.free(SizeClass::Small), 0);
}

#[test]
fn two_borrowers_drop_while_the_home_collects_and_lends_again() {
    loom::model(|| {
        let pool = pool(&Memory::new(), 2);
        let (first, second) = (lend(&pool, 1), lend(&pool, 2));
        let slow = thread::spawn(move || read(first, 1));
        let quick = thread::spawn(move || read(second, 2));
        pool.collect();
        let third = Packet::new(pool.copy_of(&[3]).expect("there are four slots")).lend(&pool);
        let third = third.ok().map(|loan| thread::spawn(move || read(loan, 3)));
        pool.collect();
        let lent = 2 + u64::from(third.is_some());
        for borrower in [Some(slow), Some(quick), third].into_iter().flatten() {
            borrower.join().unwrap();
        }
        assert_all_home(&pool, lent);
    });
}

#[test]
fn a_loan_held_while_the_ring_goes_round_lands_on_a_cell_that_is_empty() {
    loom::model(|| {
        let pool = pool(&Memory::new(), 2);
        let held = lend(&pool, 1);
        let slow = thread::spawn(move || read(held, 1));
        for byte in 2..4 {
            let loan = lend(&pool, byte);
            thread::spawn(move || read(loan, byte)).join().unwrap();
            // The slow one may have taken its ticket first, and not stored yet: then this one's is not seen.
            while pool.collect() == 0 {
                thread::yield_now();
            }
        }
        slow.join().unwrap();
        assert_all_home(&pool, 3);
    });
}

#[test]
fn a_batch_and_a_single_loan_go_home_at_once() {
    loom::model(|| {
        let pool = pool(&Memory::new(), 4);
        let batch = [lend(&pool, 1), lend(&pool, 2)];
        let single = lend(&pool, 3);
        let batched = thread::spawn(move || Loan::send_home(batch));
        let alone = thread::spawn(move || read(single, 3));
        pool.collect();
        let again = lend(&pool, 4);
        batched.join().unwrap();
        alone.join().unwrap();
        drop(again);
        assert_all_home(&pool, 4);
    });
}

#[test]
fn a_batch_of_two_homes_takes_a_trip_to_each() {
    loom::model(|| {
        let memory = Memory::new();
        let (left, right) = (pool(&memory, 2), pool(&memory, 2));
        let batch = [lend(&left, 1), lend(&right, 2), lend(&left, 3)];
        let borrower = thread::spawn(move || Loan::send_home(batch));
        left.collect();
        right.collect();
        borrower.join().unwrap();
        assert_all_home(&left, 2);
        assert_all_home(&right, 1);
    });
}

#[test]
fn one_buffer_lent_twice_is_freed_by_whichever_loan_comes_home_last() {
    loom::model(|| {
        let pool = pool(&Memory::new(), 2);
        let packet = Packet::new(pool.copy_of(&[1]).expect("a slot is free"));
        let share = packet.share().expect("it is a buffer of this pool");
        let left = share.lend(&pool).expect("the ring has room");
        let right = packet.lend(&pool).expect("the ring has room");
        let left = thread::spawn(move || read(left, 1));
        let right = thread::spawn(move || read(right, 1));
        let back = pool.collect();
        assert_eq!(pool.buffers_out(), usize::from(back < 2));
        left.join().unwrap();
        right.join().unwrap();
        assert_all_home(&pool, 2);
    });
}

#[test]
fn a_loan_that_is_handed_back_can_be_written_at_home() {
    loom::model(|| {
        let pool = pool(&Memory::new(), 2);
        let (first, second) = (lend(&pool, 1), lend(&pool, 2));
        let back = thread::spawn(move || {
            assert_eq!(first.pieces().next(), Some(&[1][..]));
            first
        });
        let dropped = thread::spawn(move || read(second, 2));
        pool.collect();
        let mut packet = back.join().unwrap().adopt(&pool);
        packet.prepend(1).expect("it is the pool's own buffer again").copy_from_slice(&[9]);
        assert_eq!(packet.head(), [9, 1]);
        drop(packet);
        dropped.join().unwrap();
        assert_all_home(&pool, 1);
    });
}

#[test]
fn a_killed_shards_loans_come_home_while_another_thread_reclaims() {
    loom::model(|| {
        let memory = Memory::new();
        let killed = pool(&memory, 2);
        let (first, second) = (lend(&killed, 1), lend(&killed, 2));
        let left = thread::spawn(move || read(first, 1));
        let right = thread::spawn(move || read(second, 2));
        let registry = memory.clone();
        let reclaimer = thread::spawn(move || registry.reclaim());
        drop(killed);
        let early = reclaimer.join().unwrap();
        left.join().unwrap();
        right.join().unwrap();
        let late = memory.reclaim();
        assert!(early.freed + late.freed <= 1 && late.still_out == 0);
        assert_eq!((memory.homes(), memory.reclaim()), (0, Reclaimed::default()));
    });
}

#[test]
fn a_buffer_held_by_an_application_closes_the_home_after_its_pool() {
    loom::model(|| {
        let memory = Memory::new();
        let killed = pool(&memory, 2);
        let held = killed.copy_of(&[7]).expect("a slot is free");
        let loan = lend(&killed, 1);
        let borrower = thread::spawn(move || read(loan, 1));
        drop(killed);
        assert_eq!((memory.reclaim(), memory.homes()), (Reclaimed::default(), 1));
        let registry = memory.clone();
        let reclaimer = thread::spawn(move || registry.reclaim());
        assert_eq!(held[..], [7]);
        drop(held);
        reclaimer.join().unwrap();
        borrower.join().unwrap();
        memory.reclaim();
        assert_eq!(memory.homes(), 0);
    });
}

#[test]
fn two_shards_killed_at_once_leave_nothing_behind() {
    loom::model(|| {
        let memory = Memory::new();
        let shard = || {
            let memory = memory.clone();
            thread::spawn(move || {
                let killed = pool(&memory, 2);
                lend(&killed, 1)
            })
        };
        let (left, right) = (shard(), shard());
        let registry = memory.clone();
        let reclaimer = thread::spawn(move || registry.reclaim());
        read(left.join().unwrap(), 1);
        read(right.join().unwrap(), 1);
        reclaimer.join().unwrap();
        let last = memory.reclaim();
        assert_eq!((last.still_out, memory.homes()), (0, 0));
    });
}
