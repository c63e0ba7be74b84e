//! Fragments in any order, with gaps, overlaps and lies, through real frames into a host, beside a map that has for each
//! byte of a datagram whether it is there (RFC 791 section 3.2, RFC 5722).
//!
//! With room enough the host gives its socket exactly what the map says, and gives up exactly what is not whole in time.
//! With hardly any, what it holds stays within its settings, and what it gives is made of bytes that were there.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use sunstar_sim::{Script, secs};
use sunstar_stack::ReassemblyConfig;
use sunstar_stack::time::{Duration, Instant};
use sunstar_wire::Protocol;
use sunstar_wire::udp::UdpHeader;

/// How many fragments there are at most.
const MAX_PARTS: usize = 256;
/// The lengths that the datagrams have by their UDP headers.
const LENGTHS: [u16; 4] = [16, 24, 64, 1_400];
const PORT: u16 = 53;

/// What happens.
#[derive(Arbitrary, Debug)]
pub struct Scenario {
    /// Whether there is hardly any room.
    pub tight: bool,
    /// The fragments that arrive, in turn.
    pub parts: Vec<Part>,
}

/// A fragment. Most have a place among the first few, so that they meet.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Part {
    /// Of which datagram.
    pub datagram: u8,
    /// Where it begins: in units of eight bytes, or far behind.
    pub start: u8,
    /// How many bytes it has: a few times eight, a number that is none, or many.
    pub len: u8,
    /// Whether nothing comes behind it, whether its bytes are others than those of the datagram, its congestion mark, and
    /// how much time passes before it comes.
    pub marks: u8,
}

impl Part {
    fn number(&self) -> usize {
        usize::from(self.datagram) % LENGTHS.len()
    }

    fn start(&self) -> usize {
        match usize::from(self.start) {
            near @ ..208 => near % 16 * 8,
            far => (far - 207) * 1_360,
        }
    }

    fn len(&self) -> usize {
        match usize::from(self.len) {
            words @ ..160 => words % 5 * 8,
            bytes @ ..208 => bytes % 40,
            many => (many - 207) * 24,
        }
    }

    fn last(&self) -> bool {
        self.marks & 1 != 0
    }

    fn lies(&self) -> bool {
        self.marks & 0b1110 == 0b1110
    }

    fn ecn(&self) -> u8 {
        self.marks >> 4 & 3
    }

    fn after(&self) -> Duration {
        secs(if self.marks >> 6 == 3 { 11 } else { 0 })
    }

    fn payload(&self) -> Vec<u8> {
        let (start, len) = (self.start(), self.len());
        (start..start + len).map(|at| byte_of(self.number(), at, self.lies())).collect()
    }
}

/// A byte of a datagram: its UDP header, and then what tells one place from another.
fn byte_of(number: usize, at: usize, lies: bool) -> u8 {
    let [s0, s1] = (1_000 + number as u16).to_be_bytes();
    let [d0, d1] = PORT.to_be_bytes();
    let [l0, l1] = LENGTHS[number].to_be_bytes();
    // Without a checksum (RFC 768), so that it is not the sum that finds the lies.
    let header = [s0, s1, d0, d1, l0, l1, 0, 0];
    let place = (at as u32).wrapping_mul(0x9e37_79b1).to_be_bytes()[0] ^ number as u8;
    header.get(at).copied().unwrap_or(if lies { !place } else { place })
}

/// What there is of a datagram.
struct Model {
    since: Instant,
    /// The bytes that are there, by their place.
    bytes: BTreeMap<usize, u8>,
    parts: Vec<(usize, usize, bool)>,
    marks: Vec<u8>,
    spoilt: bool,
}

/// What the map says is to come of a fragment.
enum Outcome {
    Nothing,
    Whole(Vec<u8>),
}

/// The datagrams as they have to be, and what has to be counted.
#[derive(Default)]
struct Models {
    of: BTreeMap<usize, Model>,
    expired: u64,
    /// Fragments that contradict others, or belong to a datagram that was given up.
    bad: u64,
    duplicates: u64,
}

impl Models {
    fn expire(&mut self, now: Instant, timeout: Duration) {
        let expired = |model: &Model| now >= model.since + timeout;
        self.expired += self.of.values().filter(|model| expired(model) && !model.spoilt).count() as u64;
        self.of.retain(|_, model| !expired(model));
    }

    fn give(&mut self, part: &Part, config: &ReassemblyConfig, now: Instant) -> Outcome {
        let (start, payload) = (part.start(), part.payload());
        let end = start + payload.len();
        let uneven = !part.last() && !payload.len().is_multiple_of(8);
        if payload.is_empty() || uneven || 20 + end > usize::from(u16::MAX) {
            self.of.remove(&part.number());
            return Outcome::Nothing;
        }
        let model = self.of.entry(part.number()).or_insert_with(|| Model {
            since: now,
            bytes: BTreeMap::new(),
            parts: Vec::new(),
            marks: Vec::new(),
            spoilt: false,
        });
        if model.spoilt {
            self.bad += 1;
            return Outcome::Nothing;
        }
        let there = |(at, byte): (usize, &u8)| model.bytes.get(&at) == Some(byte);
        if model.parts.contains(&(start, end, part.last())) && (start..).zip(&payload).all(there) {
            self.duplicates += 1;
            return Outcome::Nothing;
        }
        let len = model.parts.iter().find(|(_, _, last)| *last).map(|(_, end, _)| *end);
        let overlaps = model.bytes.range(start..end).next().is_some();
        let beyond = len.is_some_and(|len| part.last() || end > len);
        let before = part.last() && model.bytes.range(end..).next().is_some();
        if overlaps || beyond || before || model.parts.len() >= config.max_fragments {
            (model.spoilt, model.bytes) = (true, BTreeMap::new());
            self.bad += 1;
            return Outcome::Nothing;
        }
        model.bytes.extend((start..).zip(payload));
        model.parts.push((start, end, part.last()));
        model.marks.push(part.ecn());
        let len = if part.last() { Some(end) } else { len };
        if len != Some(model.bytes.len()) {
            return Outcome::Nothing;
        }
        let whole = self.of.remove(&part.number()).expect("it is there");
        // RFC 3168 section 5.3: a mark on some, and others that were not to be marked.
        let contradicts = whole.marks.contains(&3) && whole.marks.contains(&0);
        self.bad += u64::from(contradicts);
        let claimed = usize::from(LENGTHS[part.number()]);
        if contradicts || claimed > whole.bytes.len() {
            return Outcome::Nothing;
        }
        Outcome::Whole(whole.bytes.into_values().take(claimed).skip(UdpHeader::LEN).collect())
    }
}

/// Plays a scenario.
///
/// # Panics
/// When the host does something wrong.
pub fn check(scenario: &Scenario) {
    let config = match scenario.tight {
        false => ReassemblyConfig::default(),
        true => ReassemblyConfig {
            high: 16 << 10,
            low: 8 << 10,
            max_per_source: 2,
            max_datagrams: 3,
            max_fragments: 4,
            ..ReassemblyConfig::default()
        },
    };
    let timeout = config.timeout;
    let mut script = Script::builder()
        .host(|host| {
            (host.pool.small_count, host.pool.staging_count, host.pool.max_loans) = (2_048, 16, 4_096);
            host.shard.reassembly = config.clone();
        })
        .build();
    let socket = script.host.udp_bind(PORT);
    let mut models = Models::default();
    for part in scenario.parts.iter().take(MAX_PARTS) {
        script.drive_for(part.after());
        models.expire(script.now(), timeout);
        let envelope = script.envelope.from_address([10, 0, 0, 2 + part.number() as u8 % 2].into());
        let frame = envelope.ip_with(Protocol::UDP, &part.payload(), |header| {
            header.identification = part.number() as u16;
            header.dont_fragment = false;
            header.fragment_offset = part.start() as u16;
            header.more_fragments = !part.last();
            header.ecn = sunstar_wire::Ecn::from_bits(part.ecn());
        });
        // A datagram in one piece is none to be put together.
        let whole = part.last() && part.start() == 0;
        script.inject_frame(&frame);
        let received = script.host.udp_recv_all(socket);
        let held = script.host.shard().reassembly();
        if scenario.tight {
            assert!(held.held <= config.high && held.datagrams <= config.max_datagrams, "{held:?}");
            for (from, payload) in received {
                let number = usize::from(from.port()) - 1_000;
                let was_there = |(at, byte): (usize, &u8)| {
                    [false, true].map(|lies| byte_of(number, at, lies)).contains(byte)
                };
                assert!((UdpHeader::LEN..).zip(&payload).all(was_there), "bytes that were never there");
            }
            continue;
        }
        if whole {
            assert!(received.len() <= 1);
            continue;
        }
        let expected = match models.give(part, &config, script.now()) {
            Outcome::Whole(payload) => vec![payload],
            Outcome::Nothing => Vec::new(),
        };
        let received: Vec<_> = received.into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(received, expected, "of {part:?}");
        let drops = script.host.counters().drops;
        let counted = (drops.bad_fragment, drops.duplicate_fragment);
        assert_eq!(counted, (models.bad, models.duplicates), "of {part:?}");
        assert_eq!(held.datagrams, models.of.len());
        assert!(held.held >= models.of.values().map(|model| model.bytes.len()).sum());
    }
    script.drive_for(timeout);
    models.expire(script.now(), timeout);
    if !scenario.tight {
        assert_eq!(script.host.counters().drops.reassembly_timeout, models.expired);
    }
    let held = script.host.shard().reassembly();
    assert_eq!((held.held, held.datagrams), (0, 0), "nothing outlives its time");
    script.finish();
}
