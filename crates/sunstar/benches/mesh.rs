//! What it costs to hand a packet to a sibling, and what the ways that were not chosen would cost.
//!
//! `cargo bench -p sunstar --bench mesh`. The figures behind `docs/decisions/0006-shards-are-joined-by-rings-in-pairs.md`.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustix::event::{PollFd, PollFlags, poll};
use sunstar::InterfaceId;
use sunstar::mesh::{MeshConfig, MeshEnd, join};
use sunstar_packet::{HEADROOM, Loan, Memory, Packet, Pool, PoolConfig, SizeClass};
use sunstar_stack::steering::ShardId;
use sunstar_stack::{Arrival, Mesh};

/// Packets in a burst: what a shard receives in one turn.
const BURST: usize = 32;
/// Packets on their way at most, whatever the way.
const DEPTH: usize = 1_024;

fn pool() -> Pool {
    let config =
        PoolConfig { small_count: 4_096, staging_count: 4, max_loans: 4_096, ..PoolConfig::default() };
    Pool::new(&Memory::new(), &config).expect("a small mapping succeeds")
}

fn loan(pool: &Pool) -> Option<Loan> {
    Packet::new(pool.allocate(SizeClass::Small, HEADROOM)?).lend(pool).ok()
}

/// A way from one shard to another.
trait Way: Send {
    /// Takes a burst along, as much of it as there is room for.
    fn send(&mut self, burst: &mut Vec<Loan>);
    /// Whatever has arrived, a burst at most.
    fn receive(&mut self, into: &mut Vec<Loan>);
}

/// What was chosen: an end of the mesh, and its sibling's number.
struct Chosen(MeshEnd, ShardId);

impl Way for Chosen {
    fn send(&mut self, burst: &mut Vec<Loan>) {
        while let Some(loan) = burst.pop() {
            if let Err(loan) = self.0.forward(self.1, Arrival::frame(InterfaceId::DEVICE), loan) {
                burst.push(loan);
                break;
            }
        }
        self.0.flush();
    }

    fn receive(&mut self, into: &mut Vec<Loan>) {
        while into.len() < BURST
            && let Some((_, loan)) = self.0.receive()
        {
            into.push(loan);
        }
    }
}

/// The same, and the sibling's event descriptor is written for each burst, asleep or not.
struct AlwaysWaking(Chosen, Arc<sunstar_device::Alarm>);

impl Way for AlwaysWaking {
    fn send(&mut self, burst: &mut Vec<Loan>) {
        self.0.send(burst);
        self.1.wake();
    }

    fn receive(&mut self, into: &mut Vec<Loan>) {
        self.0.receive(into);
    }
}

/// A bounded channel of the standard library; every sibling could write into one.
struct Channel(SyncSender<Loan>, Receiver<Loan>);

impl Way for Channel {
    fn send(&mut self, burst: &mut Vec<Loan>) {
        while let Some(loan) = burst.pop() {
            if let Err(error) = self.0.try_send(loan) {
                let (std::sync::mpsc::TrySendError::Full(loan)
                | std::sync::mpsc::TrySendError::Disconnected(loan)) = error;
                burst.push(loan);
                break;
            }
        }
    }

    fn receive(&mut self, into: &mut Vec<Loan>) {
        into.extend(self.1.try_iter().take(BURST));
    }
}

/// A queue behind a lock, taken once a burst.
struct Locked([Arc<Mutex<VecDeque<Loan>>>; 2]);

impl Way for Locked {
    fn send(&mut self, burst: &mut Vec<Loan>) {
        let mut queue = self.0[0].lock().expect("nobody panics");
        let room = DEPTH - queue.len();
        queue.extend(burst.drain(burst.len().saturating_sub(room)..));
    }

    fn receive(&mut self, into: &mut Vec<Loan>) {
        let mut queue = self.0[1].lock().expect("nobody panics");
        let count = queue.len().min(BURST);
        into.extend(queue.drain(..count));
    }
}

fn chosen() -> [Chosen; 2] {
    let mut ends = join(2, &MeshConfig { packets: DEPTH, messages: 16 }).expect("descriptors are free");
    let one = ends.pop().expect("there are two");
    let zero = ends.pop().expect("there are two");
    [Chosen(zero, ShardId(1)), Chosen(one, ShardId(0))]
}

fn always_waking() -> [AlwaysWaking; 2] {
    let [zero, one] = chosen();
    let alarms = [Arc::clone(one.0.alarm()), Arc::clone(zero.0.alarm())];
    let [of_one, of_zero] = alarms;
    [AlwaysWaking(zero, of_one), AlwaysWaking(one, of_zero)]
}

fn channels() -> [Channel; 2] {
    let ((to_one, at_one), (to_zero, at_zero)) = (sync_channel(DEPTH), sync_channel(DEPTH));
    [Channel(to_one, at_zero), Channel(to_zero, at_one)]
}

fn locked() -> [Locked; 2] {
    let queue = || Arc::new(Mutex::new(VecDeque::with_capacity(DEPTH)));
    let [there, back] = [queue(), queue()];
    [Locked([Arc::clone(&there), Arc::clone(&back)]), Locked([back, there])]
}

/// Waits a little: by spinning, but not for long, since the other end may need this core.
fn wait(idle: &mut u32) {
    *idle += 1;
    if idle.is_multiple_of(64) { std::thread::yield_now() } else { std::hint::spin_loop() }
}

/// Sends so many packets to another thread, which drops them; until the last buffer is home.
fn across<W: Way>(count: u64, [mut here, mut there]: [W; 2]) -> Duration {
    let pool = pool();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut arrived, mut idle) = (0, 0);
            let mut burst = Vec::with_capacity(BURST);
            while arrived < count {
                there.receive(&mut burst);
                if burst.is_empty() {
                    wait(&mut idle);
                }
                arrived += burst.len() as u64;
                Loan::send_home(burst.drain(..));
            }
        });
        let start = Instant::now();
        let (mut made, mut idle) = (0, 0);
        let mut burst = Vec::with_capacity(BURST);
        loop {
            while burst.len() < BURST
                && made < count
                && let Some(loan) = loan(&pool)
            {
                burst.push(loan);
                made += 1;
            }
            let before = burst.len();
            here.send(&mut burst);
            let home = pool.collect();
            if made == count && burst.is_empty() && pool.buffers_out() == 0 {
                return start.elapsed();
            }
            if burst.len() == before && home == 0 {
                wait(&mut idle);
            }
        }
    })
}

/// A burst from one end to the other and its buffers home, on one thread: instructions, without what a second core adds.
fn on_one_thread<W: Way>(criterion: &mut Criterion, name: &str, [mut here, mut there]: [W; 2]) {
    let mut group = criterion.benchmark_group("a burst of 32 on one thread");
    let pool = pool();
    let (mut burst, mut arrived) = (Vec::with_capacity(BURST), Vec::with_capacity(BURST));
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            burst.extend((0..BURST).map_while(|_| loan(&pool)));
            here.send(&mut burst);
            there.receive(&mut arrived);
            Loan::send_home(arrived.drain(..));
            pool.collect()
        });
    });
    group.finish();
}

fn each_way(criterion: &mut Criterion) {
    on_one_thread(criterion, "the mesh", chosen());
    on_one_thread(criterion, "the mesh, waking each time", always_waking());
    on_one_thread(criterion, "a bounded channel", channels());
    on_one_thread(criterion, "a locked queue", locked());
    let mut group = criterion.benchmark_group("a packet across threads");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3));
    group.bench_function("the mesh", |bencher| bencher.iter_custom(|count| across(count, chosen())));
    group.bench_function("the mesh, waking each time", |bencher| {
        bencher.iter_custom(|count| across(count, always_waking()));
    });
    group.bench_function("a bounded channel", |bencher| {
        bencher.iter_custom(|count| across(count, channels()));
    });
    group.bench_function("a locked queue", |bencher| bencher.iter_custom(|count| across(count, locked())));
    group.finish();
}

/// What a turn pays for siblings that have nothing for it.
fn idle_siblings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a turn with idle siblings");
    for shards in [2_u16, 4, 16, 64] {
        let mut ends = join(shards, &MeshConfig::for_shards(shards.into())).expect("descriptors are free");
        let end = &mut ends[0];
        group.bench_function(format!("{} of them", shards - 1), |bencher| {
            bencher.iter(|| {
                black_box(end.receive().is_some());
                black_box(end.hear().is_some());
                end.flush();
                black_box(end.depth())
            });
        });
    }
    group.finish();
}

/// A word to a thread that sleeps, and its answer: two wake-ups.
fn waking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("there and back between sleepers");
    group.bench_function("event descriptors, asked for", |bencher| {
        let [mut here, mut there] = chosen();
        let pool = pool();
        bencher.iter_custom(|count| {
            let sleep = |end: &mut Chosen, into: &mut Vec<Loan>| {
                loop {
                    end.receive(into);
                    if !into.is_empty() {
                        return;
                    }
                    if !end.0.arm(false) {
                        let alarm = end.0.descriptor().expect("there is a sibling");
                        poll(&mut [PollFd::from_borrowed_fd(alarm, PollFlags::IN)], None)
                            .expect("it is woken");
                    }
                }
            };
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut burst = Vec::new();
                    for _ in 0..count {
                        sleep(&mut there, &mut burst);
                        there.send(&mut burst);
                    }
                });
                let start = Instant::now();
                let mut burst = Vec::new();
                for _ in 0..count {
                    burst.extend(loan(&pool));
                    here.send(&mut burst);
                    sleep(&mut here, &mut burst);
                    burst.clear();
                    pool.collect();
                }
                start.elapsed()
            })
        });
    });
    group.bench_function("a blocking channel", |bencher| {
        bencher.iter_custom(|count| {
            let ((to_there, there), (to_here, here)) = (sync_channel(1), sync_channel(1));
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    for number in there {
                        to_here.send(number).expect("it is waited for");
                    }
                });
                let start = Instant::now();
                for number in 0..count {
                    to_there.send(number).expect("the other thread lives");
                    black_box(here.recv().expect("it answers"));
                }
                drop(to_there);
                start.elapsed()
            })
        });
    });
    group.finish();
}

criterion_group!(benches, each_way, idle_siblings, waking);
criterion_main!(benches);
