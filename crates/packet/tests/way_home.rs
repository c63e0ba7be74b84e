//! The way home under load: shards on real threads lend, adopt, pass on, hold and drop at random; one of them is
//! killed again and again, one stalls, and a thread that is no shard takes part.
#![cfg(not(loom))]

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use sunstar_packet::{Fragment, Loan, LoanedBuffer, Memory, Packet, Pool, PoolConfig, SizeClass};

const SHARDS: usize = 4;
const STRESS: Duration = Duration::from_secs(2);
const MESH_RING: usize = 64;
const DEADLINE: Duration = Duration::from_secs(60);

/// A small generator (xorshift64*): a run's choices follow from its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

fn pool(memory: &Memory) -> Pool {
    let config = PoolConfig { small_count: 256, staging_count: 8, max_loans: 128, ..PoolConfig::default() };
    Pool::new(memory, &config).expect("a small mapping succeeds")
}

/// All pieces of a packet are filled with one byte: a slot that is used again too early shows.
fn assert_one_byte<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) {
    let mut bytes = pieces.into_iter().flatten();
    let first = bytes.next().expect("no packet is empty");
    assert!(bytes.all(|byte| byte == first), "a slot was written while it was read");
}

fn pieces(packet: &Packet) -> impl Iterator<Item = &[u8]> {
    packet.fragments().iter().map(|fragment| &fragment[..])
}

struct Shard {
    pool: Pool,
    chance: Chance,
    held: Vec<Packet>,
    mesh: Vec<SyncSender<Loan>>,
    inbox: Receiver<Loan>,
    adopted: usize,
}

impl Shard {
    fn turn(&mut self) {
        self.pool.collect();
        match self.chance.below(6) {
            0..=2 => self.build_and_send(),
            3 | 4 => self.receive(),
            _ => self.let_go(),
        }
    }

    /// A packet of one to three pieces, sent to one to three others.
    fn build_and_send(&mut self) {
        let byte = self.chance.below(256) as u8;
        let large = self.chance.below(16) == 0;
        let len = 1 + self.chance.below(if large { 60_000 } else { 1_500 });
        let Some(first) = self.pool.copy_of(&vec![byte; len]) else { return };
        let mut packet = Packet::new(first);
        if self.chance.below(3) == 0 {
            packet.push(bytes::Bytes::from(vec![byte; 100])).expect("there is room for four");
        }
        if let Some(last) = self.pool.copy_of(&[byte; 10]).filter(|_| self.chance.below(3) == 0) {
            packet.push(last.slice(2, 5)).expect("there is room for four");
        }
        for _ in 0..self.chance.below(3) {
            let share = packet.share().expect("all pieces are this shard's");
            self.send(share);
        }
        self.send(packet);
    }

    /// A full ring drops the packet, and so do loans that are used up.
    fn send(&mut self, packet: Packet) {
        let to = self.chance.below(self.mesh.len());
        if let Ok(loan) = packet.lend(&self.pool) {
            drop(self.mesh[to].try_send(loan));
        }
    }

    fn receive(&mut self) {
        while let Ok(loan) = self.inbox.try_recv() {
            assert_one_byte(loan.pieces());
            let packet = loan.adopt(&self.pool);
            self.adopted += 1;
            match self.chance.below(4) {
                0 => drop(packet),
                1 => self.send(packet),
                _ if self.held.len() < 100 => self.held.push(packet),
                _ => drop(packet),
            }
        }
    }

    /// Drops some of what is held, one at a time or as a batch.
    fn let_go(&mut self) {
        let keep = self.chance.below(self.held.len() + 1);
        let gone = self.held.split_off(keep);
        gone.iter().for_each(|packet| assert_one_byte(pieces(packet)));
        if self.chance.below(2) == 0 {
            let loaned = |fragment| match fragment {
                Fragment::Loaned(loaned) => Some(loaned),
                Fragment::Buffer(_) | Fragment::Bytes(_) => None,
            };
            LoanedBuffer::send_home(gone.into_iter().flat_map(Packet::into_fragments).filter_map(loaned));
        }
    }

    /// Sends no more, drops what still arrives, and waits for its own buffers. How many packets it adopted.
    fn shut_down(mut self) -> usize {
        self.mesh.clear();
        self.held.clear();
        self.inbox.iter().for_each(drop);
        let deadline = Instant::now() + DEADLINE;
        while self.pool.buffers_out() > 0 {
            self.pool.collect();
            assert!(Instant::now() < deadline, "buffers did not come home: {:?}", self.pool);
            thread::yield_now();
        }
        let counters = self.pool.counters();
        assert_eq!((counters.lent, self.pool.free(SizeClass::Small)), (0, 256));
        self.adopted
    }
}

/// A thread that is no shard: an application's, or a logger's. It has no pool, it reads and drops.
fn outsider(inbox: Receiver<Loan>) {
    let mut held = Vec::new();
    for loan in inbox {
        assert_one_byte(loan.pieces());
        held.push(loan);
        if held.len() == 40 {
            Loan::send_home(held.drain(..30));
            held.clear();
        }
    }
}

#[test]
fn every_buffer_is_home_after_shards_lent_at_random_and_one_was_killed_again_and_again() {
    let memory = Memory::new();
    let (mesh, inboxes): (Vec<_>, Vec<_>) = (0..=SHARDS).map(|_| sync_channel(MESH_RING)).unzip();
    let mut inboxes = inboxes.into_iter();
    let outside = inboxes.next().expect("there is one more than shards");
    let end = Instant::now() + STRESS;
    thread::scope(|scope| {
        scope.spawn(|| outsider(outside));
        scope.spawn(|| {
            while Instant::now() < end {
                memory.reclaim();
                thread::sleep(Duration::from_micros(200));
            }
        });
        let shards: Vec<_> = inboxes
            .enumerate()
            .map(|(index, inbox)| {
                let (mesh, memory) = (mesh.clone(), &memory);
                scope.spawn(move || {
                    let chance = Chance(0x9E37_79B9_7F4A_7C15 ^ index as u64);
                    let pool = pool(memory);
                    let mut shard = Shard { pool, chance, held: Vec::new(), mesh, inbox, adopted: 0 };
                    for turn in 1.. {
                        shard.turn();
                        match index {
                            // What it still holds is the dead pool's: buffers of its own, and loans from others.
                            0 if turn % 2_000 == 0 => shard.pool = self::pool(memory),
                            1 if turn % 5_000 == 0 => thread::sleep(Duration::from_millis(20)),
                            _ => {}
                        }
                        if turn % 100 == 0 && Instant::now() > end {
                            break;
                        }
                    }
                    shard.shut_down()
                })
            })
            .collect();
        drop(mesh);
        for shard in shards {
            assert!(shard.join().expect("no shard fails") > 100, "the shards did exchange packets");
        }
    });
    assert_eq!((memory.reclaim().still_out, memory.homes()), (0, 0));
}

#[test]
fn a_stalled_sibling_holds_no_more_than_its_ring_and_the_others_go_on() {
    let memory = Memory::new();
    let pool = pool(&memory);
    let (to_stalled, stalled) = sync_channel::<Loan>(MESH_RING);
    let (to_quick, quick) = sync_channel::<Loan>(MESH_RING / 2);
    let echo = thread::spawn(move || quick.iter().inspect(|loan| assert_one_byte(loan.pieces())).count());
    let lend = || {
        let packet = Packet::new(pool.copy_of(&[7; 64]).expect("slots are left"));
        packet.lend(&pool).expect("loans are left")
    };
    let (mut dropped, mut sent) = (0, 0);
    let deadline = Instant::now() + DEADLINE;
    while sent < 5_000 {
        assert!(Instant::now() < deadline, "{sent} packets in time");
        pool.collect();
        dropped += usize::from(to_stalled.try_send(lend()).is_err());
        sent += usize::from(to_quick.try_send(lend()).is_ok());
    }
    drop(to_quick);
    assert_eq!(echo.join().expect("the quick one does not fail"), sent);
    pool.collect();
    assert!(dropped > 4_000);
    assert_eq!((pool.counters().lent, pool.buffers_out()), (MESH_RING, MESH_RING));
    drop(to_stalled);
    assert_eq!(
        stalled.iter().inspect(|loan| assert_one_byte(loan.pieces())).count(),
        MESH_RING,
        "it goes on"
    );
    assert_eq!((pool.collect(), pool.buffers_out()), (MESH_RING, 0));
}

#[test]
fn a_sibling_that_keeps_every_loan_stops_lending_but_not_the_shard() {
    let pool = pool(&Memory::new());
    let packet = || Packet::new(pool.copy_of(b"own").expect("slots are left"));
    let kept: Vec<_> = std::iter::from_fn(|| packet().lend(&pool).ok()).collect();
    assert_eq!((kept.len(), pool.counters().lent), (128, 128));
    let back = packet().lend(&pool).expect_err("the loans are used up");
    assert_eq!(back.head(), b"own", "the packet is still there to be sent another way");
    drop(back);
    assert_eq!(pool.free(SizeClass::Small), 128);
    thread::spawn(move || Loan::send_home(kept)).join().expect("the sibling wakes");
    assert_eq!((pool.collect(), pool.buffers_out()), (128, 0));
}

#[test]
fn a_shard_that_panics_leaves_its_loans_readable_and_its_memory_is_freed_once_they_are_back() {
    let memory = Memory::new();
    let (to_sibling, sibling) = sync_channel::<Loan>(MESH_RING);
    let registry = memory.clone();
    let shard = thread::spawn(move || {
        let pool = pool(&registry);
        let _held = pool.copy_of(b"in a receive buffer").expect("a slot is free");
        for _ in 0..10 {
            let packet = Packet::new(pool.copy_of(&[9; 1_000]).expect("slots are free"));
            to_sibling.send(packet.lend(&pool).expect("the ring has room")).expect("the sibling lives");
        }
        std::panic::resume_unwind(Box::new("the shard's own code"));
    });
    assert!(shard.join().is_err());
    let fresh = pool(&memory);
    let adopted: Vec<_> = sibling.iter().map(|loan| loan.adopt(&fresh)).collect();
    adopted.iter().for_each(|packet| assert_one_byte(pieces(packet)));
    assert!(
        adopted.iter().all(|packet| matches!(packet.fragments(), [Fragment::Loaned(_)])),
        "not the fresh one's"
    );
    assert_eq!((memory.reclaim().still_out, memory.homes(), adopted.len()), (10, 2, 10));
    drop(adopted);
    let reclaimed = memory.reclaim();
    assert_eq!((reclaimed.returned, reclaimed.freed, reclaimed.still_out), (10, 1, 0));
    drop(fresh);
    assert_eq!(memory.homes(), 0);
}
