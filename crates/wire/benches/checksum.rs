//! What the internet checksum costs, by length and kernel. The kernels are compiled in from
//! their source, since the crate itself shows only the choice between them.
//!
//! `cargo bench -p sunstar-wire --bench checksum`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[path = "../src/checksum/kernel/mod.rs"]
mod kernel;

/// Headers, around the choice of the wide kernel, an MTU-sized payload at an odd address, and a TSO segment.
const LENGTHS: [usize; 9] = [8, 20, 60, 100, 128, 256, 512, 1460, 65_536];

fn checksum(criterion: &mut Criterion) {
    let bytes: Vec<u8> = (0..65_537_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut group = criterion.benchmark_group("checksum");
    for length in LENGTHS {
        let input = &bytes[1..=length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_with_input(BenchmarkId::new("chosen", length), input, |bencher, input| {
            bencher.iter(|| kernel::sum(black_box(input)));
        });
        group.bench_with_input(BenchmarkId::new("portable", length), input, |bencher, input| {
            bencher.iter(|| kernel::fold(kernel::portable(black_box(input))));
        });
        #[cfg(target_arch = "x86_64")]
        if kernel::avx2::sum(input).is_some() {
            group.bench_with_input(BenchmarkId::new("avx2", length), input, |bencher, input| {
                bencher.iter(|| kernel::avx2::sum(black_box(input)).map(kernel::fold));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, checksum);
criterion_main!(benches);
