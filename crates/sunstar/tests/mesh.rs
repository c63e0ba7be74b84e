//! The mesh on real threads: packets and control messages between four shards that fall asleep at random. None is lost,
//! none arrives twice, none overtakes another, every buffer comes home, and no sleeper is forgotten.

mod messages;

use std::collections::VecDeque;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sunstar::mesh::{MeshConfig, MeshEnd, join};
use sunstar_packet::{Loan, Memory, Packet, Pool, PoolConfig};
use sunstar_stack::random::Random;
use sunstar_stack::steering::ShardId;
use sunstar_stack::{Arrival, Control, InterfaceId, Mesh};

const SHARDS: usize = 4;

/// How many packets and messages cross in all; the acceptance asks for more.
fn messages() -> u64 {
    let asked = std::env::var("SUNSTAR_MESH_MESSAGES").ok().and_then(|count| count.parse().ok());
    asked.unwrap_or(300_000)
}

/// Of each kind, to each sibling, before all wait for all.
const ROUND: u64 = 48;

/// A sleeper that nobody wakes for so long was forgotten.
const FORGOTTEN: Duration = Duration::from_secs(20);

fn pool(memory: &Memory) -> Pool {
    let config =
        PoolConfig { small_count: 2_048, staging_count: 1, max_loans: 2_048, ..PoolConfig::default() };
    Pool::new(memory, &config).unwrap()
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    packets: u64,
    control: u64,
    given_back: u64,
    slept: u64,
}

/// One shard's thread.
struct Side {
    me: usize,
    mesh: MeshEnd,
    pool: Pool,
    random: Random,
    control: Arc<Vec<Control>>,
    /// Of each kind, to each sibling.
    each: u64,
    /// How many of them in this round and those before.
    due: u64,
    sent: [[u64; 2]; SHARDS],
    received: [[u64; 2]; SHARDS],
    kept: VecDeque<Loan>,
    elsewhere: mpsc::SyncSender<Loan>,
    counted: Counted,
}

impl Side {
    fn has_sent(&self) -> bool {
        let done = |(shard, sent): (usize, &[u64; 2])| shard == self.me || *sent == [self.due; 2];
        self.sent.iter().enumerate().all(done)
    }

    /// A sibling may be a round ahead.
    fn has_received(&self) -> bool {
        let done = |(shard, received): (usize, &[u64; 2])| {
            shard == self.me || received.iter().all(|received| *received >= self.due)
        };
        self.received.iter().enumerate().all(done)
    }

    fn send(&mut self) {
        let to = self.random.below(SHARDS as u64) as usize;
        if to == self.me {
            return;
        }
        for _ in 0..=self.random.below(32) {
            let [packets, control] = &mut self.sent[to];
            if *packets < self.due && self.random.below(2) == 0 {
                let mut bytes = [0; 24];
                for (word, value) in bytes.chunks_mut(8).zip([self.me as u64, to as u64, *packets]) {
                    word.copy_from_slice(&value.to_ne_bytes());
                }
                let Some(buffer) = self.pool.copy_of(&bytes) else { return };
                let Ok(loan) = Packet::new(buffer).lend(&self.pool) else { return };
                match self.mesh.forward(ShardId(to as u16), Arrival::frame(InterfaceId::DEVICE), loan) {
                    Ok(()) => *packets += 1,
                    Err(_) => self.counted.given_back += 1,
                }
            } else if *control < self.due {
                let message = self.control[(*control % self.control.len() as u64) as usize];
                match self.mesh.tell(ShardId(to as u16), message) {
                    true => *control += 1,
                    false => self.counted.given_back += 1,
                }
            }
        }
    }

    fn receive(&mut self) -> bool {
        let before = self.counted.packets + self.counted.control;
        for _ in 0..64 {
            let Some((_, loan)) = self.mesh.receive() else { break };
            let bytes: Vec<u8> = loan.pieces().flatten().copied().collect();
            let word = |at: usize| u64::from_ne_bytes(bytes[8 * at..8 * at + 8].try_into().unwrap());
            let (from, to, number) = (word(0) as usize, word(1) as usize, word(2));
            assert_eq!((to, number), (self.me, self.received[from][0]), "from {from}");
            self.received[from][0] += 1;
            self.counted.packets += 1;
            self.put_away(loan);
        }
        for _ in 0..64 {
            let Some((from, message)) = self.mesh.hear() else { break };
            let number = &mut self.received[usize::from(from.0)][1];
            let expected = self.control[(*number % self.control.len() as u64) as usize];
            assert_eq!(message, expected, "the {number}th from {from:?}");
            *number += 1;
            self.counted.control += 1;
        }
        self.counted.packets + self.counted.control != before
    }

    /// Some loans go home at once, some later, some from a thread that is no shard.
    fn put_away(&mut self, loan: Loan) {
        match self.random.below(4) {
            0 => self.kept.push_back(loan),
            1 => drop(self.elsewhere.try_send(loan)),
            _ => drop(loan),
        }
        if self.kept.len() > 64 {
            Loan::send_home(self.kept.drain(..48));
        }
    }

    /// As a driver does: asks, looks once more, and sleeps.
    fn sleep(&mut self) {
        if self.mesh.arm(false) {
            return;
        }
        self.counted.slept += 1;
        let alarm = self.mesh.descriptor().unwrap();
        let patience = Timespec::try_from(FORGOTTEN).unwrap();
        let woken = poll(&mut [PollFd::from_borrowed_fd(alarm, PollFlags::IN)], Some(&patience)).unwrap();
        assert!(woken > 0, "shard {} sleeps, and nobody wakes it: {:?}", self.me, self.received);
    }

    /// Round by round: sends its part, and sleeps whenever it waits for the others'. What waits for room is sent first:
    /// nobody would wake a shard for that.
    fn run(&mut self) {
        while self.due < self.each {
            self.due = (self.due + ROUND).min(self.each);
            while !(self.has_sent() && self.has_received()) {
                self.pool.collect();
                self.send();
                self.mesh.flush();
                let received = self.receive();
                match (received, self.has_sent()) {
                    (false, true) if !self.has_received() => self.sleep(),
                    (false, false) => std::thread::yield_now(),
                    _ => {}
                }
            }
        }
        self.kept.clear();
    }
}

/// The others wait for one that fails: it ends the process.
struct Bail;

impl Drop for Bail {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

#[test]
fn nothing_is_lost_or_doubled_between_shards_that_sleep_at_random_and_no_sleeper_is_forgotten() {
    let control = Arc::new(messages::control(1_009, pool(&Memory::new())));
    let each = messages() / (SHARDS * (SHARDS - 1) * 2) as u64;
    let ends = join(SHARDS as u16, &MeshConfig { packets: 128, messages: 32 }).unwrap();
    let (elsewhere, thrown) = mpsc::sync_channel::<Loan>(256);
    let memory = Memory::new();
    let over = Barrier::new(SHARDS + 1);
    let (over, memory) = (&over, &memory);
    let counted = std::thread::scope(|scope| {
        scope.spawn(move || {
            thrown.iter().for_each(drop);
            over.wait();
        });
        let start = |(me, mesh)| {
            let (control, elsewhere) = (Arc::clone(&control), elsewhere.clone());
            scope.spawn(move || {
                let mut side = Side {
                    me,
                    mesh,
                    pool: pool(memory),
                    random: Random::from_seed(me as u64),
                    control,
                    each,
                    due: 0,
                    sent: Default::default(),
                    received: Default::default(),
                    kept: VecDeque::new(),
                    elsewhere,
                    counted: Counted::default(),
                };
                let bail = Bail;
                side.run();
                drop(bail);
                let Side { mesh, pool, elsewhere, counted, .. } = side;
                drop(elsewhere);
                // Everybody has dropped what others had lent.
                over.wait();
                drop(mesh);
                pool.collect();
                assert_eq!(pool.buffers_out(), 0, "every buffer is home");
                counted
            })
        };
        let sides: Vec<_> = ends.into_iter().enumerate().map(start).collect();
        drop(elsewhere);
        sides.into_iter().map(|side| side.join().unwrap()).collect::<Vec<_>>()
    });
    for (shard, counted) in counted.iter().enumerate() {
        println!("shard {shard}: {counted:?}");
    }
    let total = |read: fn(&Counted) -> u64| counted.iter().map(read).sum::<u64>();
    let (packets, control) = (total(|it| it.packets), total(|it| it.control));
    println!(
        "{packets} loans and {control} messages; {} found a full ring, {} sleeps",
        total(|it| it.given_back),
        total(|it| it.slept)
    );
    assert_eq!((packets, control), (each * 12, each * 12));
    assert!(total(|it| it.slept) > each / ROUND, "they sleep more often than there are rounds");
}
