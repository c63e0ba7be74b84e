//! Every pattern of fragments against a model (RFC 791 section 3.2, RFC 5722), and what bounds the memory they hold.

use core::net::Ipv4Addr;
use core::time::Duration;

use sunstar_packet::{Memory, PoolConfig};

use super::*;

const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A shard's part of putting together, without the shard.
struct Bench {
    reassembly: Reassembly,
    config: ReassemblyConfig,
    now: Instant,
    pool: Pool,
    drops: Drops,
    counters: ReassemblyCounters,
    _memory: Memory,
}

/// A fragment in words of eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    start: usize,
    len: usize,
    last: bool,
}

impl Bench {
    fn new(config: ReassemblyConfig) -> Self {
        let memory = Memory::new();
        let pool = Pool::new(&memory, &PoolConfig { small_count: 8_192, ..PoolConfig::default() }).unwrap();
        Self {
            reassembly: Reassembly::new(&mut Random::from_seed(1)),
            config,
            now: Instant::from_micros(0),
            pool,
            drops: Drops::default(),
            counters: ReassemblyCounters::default(),
            _memory: memory,
        }
    }

    fn give(&mut self, header: Ipv4Header, payload: &[u8]) -> Option<Whole> {
        let header_len = usize::from(header.header_len);
        let mut bytes = vec![0; header_len + payload.len()];
        header.emit(&mut bytes).unwrap();
        bytes[header_len..].copy_from_slice(payload);
        let packet = Packet::new(self.pool.copy_of(&bytes).unwrap());
        let input = FragmentInput { interface: InterfaceId::DEVICE, header, group: false, packet };
        let mut context = Context {
            now: self.now,
            config: &self.config,
            pool: &self.pool,
            shards: 1,
            drops: &mut self.drops,
            counters: &mut self.counters,
        };
        self.reassembly.input(input, &mut context)
    }

    fn part(&mut self, identification: u16, part: Part) -> Option<Whole> {
        let payload: Vec<u8> = (part.start * 8..(part.start + part.len) * 8).map(|at| at as u8).collect();
        self.give(header(identification, part.start * 8, payload.len(), part.last), &payload)
    }

    fn assert_empty(&mut self) {
        let held = (self.reassembly.held(), self.reassembly.len(), self.pool.buffers_out());
        assert_eq!(held, (0, 0, 0));
        assert!(self.reassembly.numbers.is_empty() && self.reassembly.of_source.is_empty());
    }
}

fn header(identification: u16, offset: usize, len: usize, last: bool) -> Ipv4Header {
    Ipv4Header {
        dscp: 0,
        ecn: Ecn::NotEct,
        identification,
        dont_fragment: false,
        more_fragments: !last,
        fragment_offset: offset as u16,
        ttl: 64,
        protocol: Protocol::UDP,
        source: SOURCE,
        destination: Ipv4Addr::new(192, 0, 2, 2),
        header_len: 20,
        total_len: (20 + len) as u16,
    }
}

fn payload(whole: &Whole) -> Vec<u8> {
    whole.packet.to_vec()[20..].to_vec()
}

/// What must come of fragments, worked out word by word.
#[derive(Default)]
struct Oracle {
    words: [Option<usize>; 16],
    parts: Vec<Part>,
    spoilt: bool,
}

impl Oracle {
    /// The whole's length in words, when it is complete.
    fn give(&mut self, part: Part) -> Option<usize> {
        if self.spoilt || self.parts.contains(&part) {
            return None;
        }
        let range = part.start..part.start + part.len;
        let end = |part: &Part| part.start + part.len;
        let last = self.parts.iter().find(|part| part.last).map(end);
        let overlaps = range.clone().any(|word| self.words[word].is_some());
        let beyond = last.is_some_and(|last| part.last || range.end > last);
        let before = part.last && self.parts.iter().any(|other| end(other) > range.end);
        if overlaps || beyond || before {
            self.spoilt = true;
            return None;
        }
        range.for_each(|word| self.words[word] = Some(self.parts.len()));
        self.parts.push(part);
        let len = self.parts.iter().find(|part| part.last).map(end)?;
        self.words[..len].iter().all(Option::is_some).then_some(len)
    }
}

fn all_parts() -> Vec<Part> {
    let lens = |start| (1..=3).map(move |len| (start, len));
    let parts = (0..4).flat_map(lens);
    parts.flat_map(|(start, len)| [true, false].map(|last| Part { start, len, last })).collect()
}

#[test]
fn every_pattern_of_two_and_three_fragments_does_as_specified() {
    let parts = all_parts();
    let (mut tried, mut whole, mut spoilt) = (0, 0, 0);
    let mut bench = Bench::new(ReassemblyConfig { max_per_source: usize::MAX, ..Default::default() });
    let mut try_pattern = |pattern: &[Part]| {
        tried += 1;
        let identification = tried as u16;
        let mut oracle = Oracle::default();
        for part in pattern {
            let expected = oracle.give(*part);
            let got = bench.part(identification, *part).map(|whole| payload(&whole));
            let bytes = expected.map(|words| (0..words * 8).map(|at| at as u8).collect::<Vec<u8>>());
            assert_eq!(got, bytes, "{pattern:?} at {part:?}");
            if expected.is_some() {
                whole += 1;
                // What comes behind it begins another datagram.
                oracle = Oracle::default();
            }
        }
        spoilt += u32::from(oracle.spoilt);
        // The next one finds a clean bench.
        bench.now += bench.config.timeout;
        while bench.reassembly.expire(bench.now, &mut bench.drops).is_some() {}
        bench.assert_empty();
    };
    for first in &parts {
        for second in &parts {
            try_pattern(&[*first, *second]);
            parts.iter().for_each(|third| try_pattern(&[*first, *second, *third]));
        }
    }
    println!("{tried} patterns: {whole} datagrams, {spoilt} given up");
    assert!(tried == 24 * 24 + 24 * 24 * 24 && whole > 100 && spoilt > 1_000);
}

#[test]
fn a_fragment_that_comes_again_is_ignored_only_if_it_says_the_same() {
    let mut bench = Bench::new(ReassemblyConfig::default());
    let first = header(7, 0, 8, false);
    assert!(bench.give(first, b"12345678").is_none());
    assert!(bench.give(first, b"12345678").is_none());
    assert_eq!((bench.drops.duplicate_fragment, bench.drops.bad_fragment), (1, 0));
    assert!(bench.give(first, b"1234567X").is_none());
    assert_eq!((bench.drops.duplicate_fragment, bench.drops.bad_fragment), (1, 1));
    assert!(bench.give(header(7, 8, 1, true), b"9").is_none(), "what is still to come is ignored, too");
    assert_eq!((bench.drops.bad_fragment, bench.pool.buffers_out()), (2, 0));
}

#[test]
fn fragments_that_cannot_be_are_refused() {
    let mut bench = Bench::new(ReassemblyConfig::default());
    assert!(bench.give(header(1, 0, 9, false), &[0; 9]).is_none(), "not whole words, and not the last");
    assert!(bench.give(header(1, 8, 0, true), &[]).is_none(), "nothing in it");
    assert_eq!((bench.drops.malformed, bench.reassembly.len()), (2, 0));
    // The ping of death: the last byte beyond 65,535.
    assert!(bench.give(header(2, 0, 8, false), &[0; 8]).is_none());
    assert!(bench.give(header(2, 65_512, 8, true), &[0; 8]).is_none());
    assert_eq!((bench.drops.malformed, bench.reassembly.len(), bench.reassembly.held()), (3, 0, 0));
    assert!(bench.give(header(3, 65_504, 11, true), &[0; 11]).is_none(), "the longest there can be");
    assert_eq!((bench.drops.malformed, bench.reassembly.len()), (3, 1));
}

#[test]
fn many_sources_that_spoil_what_they_begin_are_not_remembered_without_end() {
    let mut bench = Bench::new(ReassemblyConfig::default());
    for source in 0..10_000_u32 {
        for len in [16, 8] {
            let mut part = header(1, 0, len, false);
            part.source = Ipv4Addr::from_bits(0x0a00_0000 + source);
            bench.give(part, &vec![0; len]);
        }
    }
    assert_eq!((bench.drops.bad_fragment, bench.reassembly.held()), (10_000, 0));
    assert_eq!((bench.reassembly.len(), bench.reassembly.of_source.len()), (4_096, 4_096));
}

#[test]
fn a_datagram_of_crumbs_does_not_hold_a_buffer_for_each() {
    let mut bench = Bench::new(ReassemblyConfig::default());
    let crumbs = (0..128).map(|at| Part { start: at, len: 1, last: at == 127 });
    let whole = crumbs.filter_map(|crumb| bench.part(1, crumb)).next().expect("all of it is there");
    assert_eq!((whole.packet.len(), whole.packet.fragments().len()), (20 + 1_024, 1));
    assert_eq!(bench.pool.buffers_out(), 1);
}

#[test]
fn fragments_of_different_datagrams_are_not_mixed() {
    let mut bench = Bench::new(ReassemblyConfig::default());
    let changes: [fn(&mut Ipv4Header); 4] = [
        |header| header.identification += 1,
        |header| header.source = Ipv4Addr::new(192, 0, 2, 9),
        |header| header.destination = Ipv4Addr::new(192, 0, 2, 9),
        |header| header.protocol = Protocol::ICMP,
    ];
    bench.give(header(1, 0, 8, false), &[1; 8]);
    for change in changes {
        let mut other = header(1, 8, 8, true);
        change(&mut other);
        assert!(bench.give(other, &[2; 8]).is_none());
    }
    let whole = bench.give(header(1, 8, 8, true), &[1; 8]).expect("all of it is there");
    assert_eq!((payload(&whole), bench.reassembly.len()), (vec![1; 16], 4));
}

#[test]
fn a_datagram_with_too_many_fragments_is_given_up() {
    let mut bench = Bench::new(ReassemblyConfig { max_fragments: 3, ..Default::default() });
    for at in 0..3 {
        assert!(bench.part(1, Part { start: at, len: 1, last: false }).is_none());
    }
    assert!(bench.part(1, Part { start: 3, len: 1, last: true }).is_none());
    assert_eq!((bench.drops.bad_fragment, bench.pool.buffers_out()), (1, 0));
}

#[test]
fn a_source_that_begins_too_many_loses_its_oldest_and_nobody_else_s() {
    let mut bench = Bench::new(ReassemblyConfig { max_per_source: 4, ..Default::default() });
    let first = Part { start: 0, len: 1, last: false };
    let mut other = header(1, 0, 8, false);
    other.source = Ipv4Addr::new(192, 0, 2, 9);
    bench.give(other, &[0; 8]);
    (1..=5).for_each(|identification| assert!(bench.part(identification, first).is_none()));
    assert_eq!((bench.reassembly.len(), bench.drops.reassembly_full), (5, 1));
    let rest = Part { start: 1, len: 1, last: true };
    let complete: Vec<_> = (2..=5).filter(|id| bench.part(*id, rest).is_some()).collect();
    assert_eq!(complete, [2, 3, 4, 5]);
    assert!(bench.part(1, rest).is_none(), "the oldest is gone");
    other.fragment_offset = 8;
    other.more_fragments = false;
    assert!(bench.give(other, &[0; 8]).is_some());
}

#[test]
fn above_the_high_mark_the_oldest_go_down_to_the_low_one() {
    let config =
        ReassemblyConfig { high: 64 << 10, low: 32 << 10, max_per_source: 1_000, ..Default::default() };
    let mut bench = Bench::new(config);
    for identification in 0..1_000 {
        bench.give(header(identification, 0, 1_480, false), &[0; 1_480]);
        assert!(bench.reassembly.held() <= 64 << 10);
        assert_eq!(bench.reassembly.held(), bench.pool.buffers_out() * 2_048);
    }
    assert!(bench.reassembly.len() >= 16 && bench.drops.reassembly_full > 900);
    assert!(bench.give(header(999, 1_480, 8, true), &[0; 8]).is_some(), "the newest are there");
    // All shards together hold no more than half of a pool.
    bench.config.high = usize::MAX;
    let (high, low) = Context {
        now: bench.now,
        config: &bench.config,
        pool: &bench.pool,
        shards: 4,
        drops: &mut bench.drops,
        counters: &mut bench.counters,
    }
    .marks();
    assert_eq!((high, low), (8_192 * 2_048 / 8, 32 << 10));
}

#[test]
fn what_is_not_completed_in_time_is_freed_and_told_if_its_beginning_was_there() {
    let mut bench = Bench::new(ReassemblyConfig::default());
    bench.part(1, Part { start: 0, len: 1, last: false });
    bench.part(2, Part { start: 1, len: 1, last: false });
    bench.now += Duration::from_secs(10);
    bench.part(3, Part { start: 0, len: 2, last: false });
    assert_eq!(bench.reassembly.next_due(), Some(Instant::from_micros(30_000_000)));
    let just_before = Instant::from_micros(29_999_999);
    assert!(bench.reassembly.expire(just_before, &mut bench.drops).is_none());
    let due = Instant::from_micros(30_000_000);
    let expired = bench.reassembly.expire(due, &mut bench.drops).expect("the first fragment was there");
    assert_eq!(expired.packet.len(), 28);
    assert!(bench.reassembly.expire(due, &mut bench.drops).is_none(), "of the second, it was not");
    assert_eq!((bench.drops.reassembly_timeout, bench.reassembly.len()), (2, 1));
    drop(expired);
    assert!(bench.reassembly.expire(due + Duration::from_secs(10), &mut bench.drops).is_some());
    bench.assert_empty();
}

#[test]
fn congestion_marks_come_to_one() {
    use Ecn::{Ce, Ect0, NotEct};
    let patterns = [
        ([Ect0, Ect0], Some(Ect0)),
        ([Ect0, Ce], Some(Ce)),
        ([Ce, Ect0], Some(Ce)),
        ([NotEct, Ect0], Some(NotEct)),
        ([NotEct, Ce], None),
    ];
    for (marks, expected) in patterns {
        let mut bench = Bench::new(ReassemblyConfig::default());
        let mut parts = [header(1, 0, 8, false), header(1, 8, 8, true)];
        parts.iter_mut().zip(marks).for_each(|(part, ecn)| part.ecn = ecn);
        bench.give(parts[0], &[0; 8]);
        assert_eq!(bench.give(parts[1], &[0; 8]).map(|whole| whole.ecn), expected, "{marks:?}");
    }
}
