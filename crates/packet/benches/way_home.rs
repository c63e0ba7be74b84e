//! What buffers cost, and what the ways home that were not chosen would cost.
//!
//! `cargo bench -p sunstar-packet`. The figures behind `docs/decisions/0001-buffers-and-the-way-home.md`.

use std::cell::RefCell;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sunstar_packet::{HEADROOM, Loan, Memory, Packet, Pool, PoolConfig, SizeClass};

use returns::ReturnRing;

#[allow(dead_code, reason = "the ring's own source; the benchmark needs a part of it")]
#[path = "../src/returns.rs"]
mod returns;
#[allow(dead_code, unused_imports, reason = "what the ring's source builds on")]
#[path = "../src/sync.rs"]
mod sync;

/// Packets in a batch: a shard's receive burst.
const BURST: usize = 32;
/// Slots of the ways home that are compared, and the most that are away at a time.
const SLOTS: usize = 256;

fn pool() -> Pool {
    let config =
        PoolConfig { small_count: 4_096, staging_count: 4, max_loans: 4_096, ..PoolConfig::default() };
    Pool::new(&Memory::new(), &config).expect("a small mapping succeeds")
}

fn packet(pool: &Pool) -> Packet {
    Packet::new(pool.allocate(SizeClass::Small, HEADROOM).expect("slots are free"))
}

fn loan(pool: &Pool) -> Loan {
    packet(pool).lend(pool).expect("the ring has room")
}

/// A buffer's life on one shard, beside what the standard library offers for it.
fn at_home(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("at home");
    let pool = pool();
    group.bench_function("allocate and free: pool", |bencher| {
        bencher.iter(|| black_box(pool.allocate(SizeClass::Small, HEADROOM)));
    });
    group.bench_function("allocate and free: Arc", |bencher| {
        bencher.iter(|| black_box(Arc::<[u8]>::new_uninit_slice(2_048)));
    });
    let buffer = pool.copy_of(&[1; 1_514]).expect("a slot is free");
    group.bench_function("clone and drop: pool", |bencher| bencher.iter(|| black_box(buffer.clone())));
    let shared = Arc::<[u8]>::from(vec![1; 1_514]);
    group.bench_function("clone and drop: Arc", |bencher| bencher.iter(|| black_box(shared.clone())));
    let bytes = bytes::Bytes::from(vec![1; 1_514]);
    group.bench_function("clone and drop: Bytes", |bencher| bencher.iter(|| black_box(bytes.clone())));
    group.finish();
}

/// Loans that come home to the thread they were lent from: instructions, without what a second core adds.
fn lent_on_one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lent on one thread");
    let pool = pool();
    group.bench_function("allocate, lend, adopt at home, free", |bencher| {
        bencher.iter(|| black_box(loan(&pool).adopt(&pool)));
    });
    group.bench_function("allocate, lend, drop, collect", |bencher| {
        bencher.iter(|| {
            drop(black_box(loan(&pool)));
            pool.collect()
        });
    });
    group.throughput(Throughput::Elements(BURST as u64));
    let mut loans = Vec::with_capacity(BURST);
    group.bench_function("allocate, lend, drop one by one, collect: 32", |bencher| {
        bencher.iter(|| {
            loans.extend((0..BURST).map(|_| loan(&pool)));
            loans.clear();
            pool.collect()
        });
    });
    group.bench_function("allocate, lend, drop as a batch, collect: 32", |bencher| {
        bencher.iter(|| {
            loans.extend((0..BURST).map(|_| loan(&pool)));
            Loan::send_home(loans.drain(..));
            pool.collect()
        });
    });
    group.finish();
}

/// The borrower's end of a way home: takes slot numbers. And the home's: appends what has come home.
type Ends<Borrower, Home> = (Borrower, Home);

/// What was chosen.
fn return_ring() -> Ends<impl FnMut(&[u32]) + Send, impl FnMut(&mut Vec<u32>)> {
    let ring = Arc::new(ReturnRing::new(SLOTS));
    let mut head = ReturnRing::FIRST_TICKET;
    let pushed = ring.clone();
    // SAFETY: the closure owns a count of the ring, and no more slots are out than it has cells.
    let push = move |slots: &[u32]| unsafe { ReturnRing::push((&*pushed).into(), slots) };
    (push, move |into: &mut Vec<u32>| into.extend(std::iter::from_fn(|| ring.take(&mut head))))
}

/// A stack of slots linked by number (Treiber's). The home takes all of it at once, so there is no ABA.
fn treiber_stack() -> Ends<impl FnMut(&[u32]) + Send, impl FnMut(&mut Vec<u32>)> {
    const BOTTOM: u32 = u32::MAX;
    let top = Arc::new(AtomicU32::new(BOTTOM));
    let below: Arc<[AtomicU32]> = (0..SLOTS).map(|_| AtomicU32::new(BOTTOM)).collect();
    let (shared_top, shared_below) = (top.clone(), below.clone());
    let push = move |slots: &[u32]| {
        for pair in slots.windows(2) {
            shared_below[pair[0] as usize].store(pair[1], Ordering::Relaxed);
        }
        let mut top = shared_top.load(Ordering::Relaxed);
        loop {
            shared_below[slots[slots.len() - 1] as usize].store(top, Ordering::Relaxed);
            match shared_top.compare_exchange_weak(top, slots[0], Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    };
    let collect = move |into: &mut Vec<u32>| {
        let mut slot = top.swap(BOTTOM, Ordering::Acquire);
        while slot != BOTTOM {
            into.push(slot);
            slot = below[slot as usize].load(Ordering::Relaxed);
        }
    };
    (push, collect)
}

/// A ring for each pair of shards; the home of a machine with `shards` looks at all but its own.
fn ring_per_pair(shards: usize) -> Ends<impl FnMut(&[u32]) + Send, impl FnMut(&mut Vec<u32>)> {
    let pair = || rtrb::RingBuffer::<u32>::new(SLOTS);
    let (mut producer, consumer) = pair();
    let mut consumers = vec![consumer];
    let idle: Vec<_> = (2..shards).map(|_| pair()).collect();
    let (_idle_producers, idle): (Vec<_>, Vec<_>) = idle.into_iter().unzip();
    consumers.extend(idle);
    let push = move |slots: &[u32]| {
        let chunk = producer.write_chunk_uninit(slots.len()).expect("it has room for every slot");
        chunk.fill_from_iter(slots.iter().copied());
    };
    let collect = move |into: &mut Vec<u32>| {
        for consumer in &mut consumers {
            let chunk = consumer.read_chunk(consumer.slots()).expect("so many are there");
            into.extend(chunk);
        }
    };
    (push, collect)
}

fn locked_list() -> Ends<impl FnMut(&[u32]) + Send, impl FnMut(&mut Vec<u32>)> {
    let list = Arc::new(Mutex::new(Vec::with_capacity(SLOTS)));
    let shared = list.clone();
    let push = move |slots: &[u32]| shared.lock().expect("nobody panics").extend_from_slice(slots);
    (push, move |into: &mut Vec<u32>| into.append(&mut list.lock().expect("nobody panics")))
}

/// Waits a little: by spinning, but not for long, since the other end may need this core.
fn wait(idle: &mut u32) {
    *idle += 1;
    if idle.is_multiple_of(64) { std::thread::yield_now() } else { std::hint::spin_loop() }
}

/// Sends `count` items to another thread, which drops up to `batch` of them at a time, and has them back.
/// `make` gives an item while there is one; `taken_back` says how many came home since the last call.
fn there_and_back<T: Send>(
    count: u64,
    batch: usize,
    mut drop_abroad: impl FnMut(&mut Vec<T>) + Send,
    mut make: impl FnMut() -> Option<T>,
    mut taken_back: impl FnMut() -> u64,
) -> Duration {
    let (mut outgoing, mut incoming) = rtrb::RingBuffer::new(SLOTS);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut dropped, mut idle) = (0, 0);
            let mut items = Vec::with_capacity(batch);
            while dropped < count {
                while items.len() < batch
                    && let Ok(item) = incoming.pop()
                {
                    items.push(item);
                }
                if items.is_empty() {
                    wait(&mut idle);
                    continue;
                }
                dropped += items.len() as u64;
                drop_abroad(&mut items);
                items.clear();
            }
        });
        let start = Instant::now();
        let (mut sent, mut back, mut idle) = (0, 0, 0);
        while back < count {
            let before = (sent, back);
            while sent < count
                && !outgoing.is_full()
                && let Some(item) = make()
            {
                outgoing.push(item).unwrap_or_else(|_| unreachable!("it is not full"));
                sent += 1;
            }
            back += taken_back();
            if before == (sent, back) {
                wait(&mut idle);
            }
        }
        start.elapsed()
    })
}

fn numbers<Borrower, Home>(
    count: u64,
    batch: usize,
    (mut push, mut collect): Ends<Borrower, Home>,
) -> Duration
where
    Borrower: FnMut(&[u32]) + Send,
    Home: FnMut(&mut Vec<u32>),
{
    let free = RefCell::new((0..SLOTS as u32).collect::<Vec<_>>());
    let back = || {
        let mut free = free.borrow_mut();
        let before = free.len();
        collect(&mut free);
        (free.len() - before) as u64
    };
    there_and_back(count, batch, |slots: &mut Vec<u32>| push(slots), || free.borrow_mut().pop(), back)
}

/// One packet's trip to another thread and back, every way by the same forward ring.
fn lent_across_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("across threads");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3));
    for batch in [1, BURST] {
        group.bench_function(format!("return ring, batches of {batch}"), |bencher| {
            bencher.iter_custom(|count| numbers(count, batch, return_ring()));
        });
        group.bench_function(format!("Treiber stack, batches of {batch}"), |bencher| {
            bencher.iter_custom(|count| numbers(count, batch, treiber_stack()));
        });
        group.bench_function(format!("ring per pair of 2 shards, batches of {batch}"), |bencher| {
            bencher.iter_custom(|count| numbers(count, batch, ring_per_pair(2)));
        });
        group.bench_function(format!("ring per pair of 16 shards, batches of {batch}"), |bencher| {
            bencher.iter_custom(|count| numbers(count, batch, ring_per_pair(16)));
        });
        group.bench_function(format!("locked list, batches of {batch}"), |bencher| {
            bencher.iter_custom(|count| numbers(count, batch, locked_list()));
        });
    }
    let pool = pool();
    let lend = || (pool.counters().lent < SLOTS).then(|| loan(&pool));
    let back = || pool.collect() as u64;
    group.bench_function("loans of a pool, one by one", |bencher| {
        bencher.iter_custom(|count| there_and_back(count, 1, Vec::clear, lend, back));
    });
    group.bench_function("loans of a pool, batches of 32", |bencher| {
        let home = |loans: &mut Vec<Loan>| Loan::send_home(loans.drain(..));
        bencher.iter_custom(|count| there_and_back(count, BURST, home, lend, back));
    });
    group.bench_function("Arc per buffer, freed abroad", |bencher| {
        let away = AtomicU64::new(0);
        bencher.iter_custom(|count| {
            away.store(0, Ordering::Relaxed);
            let drop_abroad = |buffers: &mut Vec<Arc<[MaybeUninit<u8>]>>| {
                let len = buffers.len() as u64;
                buffers.clear();
                away.fetch_add(len, Ordering::Release);
            };
            let make = || Some(Arc::<[u8]>::new_uninit_slice(2_048));
            there_and_back(count, 1, drop_abroad, make, || away.swap(0, Ordering::Acquire))
        });
    });
    group.finish();
}

criterion_group!(benches, at_home, lent_on_one_thread, lent_across_threads);
criterion_main!(benches);
