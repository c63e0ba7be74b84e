//! What becomes of the frames of one direction, decided by a seeded generator.

use std::collections::VecDeque;

use bytes::Bytes;
use sunstar_packet::{ChecksumNote, Medium, Notes, Packet};

use super::{FaultCounters, FaultRates};
use crate::checksum;

/// The most frames that overtake one that is held back.
const MOST_OVERTAKING: u64 = 3;

/// A frame kept as a copy: it belongs to no pool, and so to no thread.
#[derive(Debug)]
pub(super) struct StoredFrame {
    bytes: Bytes,
    notes: Notes,
}

impl StoredFrame {
    fn copy_of(packet: &Packet) -> Self {
        Self { bytes: Bytes::from(packet.to_vec()), notes: packet.notes }
    }

    pub(super) fn into_packet(self) -> Packet {
        let mut packet = Packet::new(self.bytes);
        packet.notes = self.notes;
        packet
    }
}

/// What becomes of a frame now.
#[expect(clippy::large_enum_variant, reason = "the packet goes on by value, as everywhere")]
pub(super) enum Fate {
    /// It goes on, perhaps changed.
    Passes(Packet),
    /// It is kept for later.
    Stored,
    /// It is gone.
    Lost,
}

/// The faults of one direction.
#[derive(Debug)]
pub(super) struct Impairment {
    rates: FaultRates,
    random: SplitMix,
    medium: Medium,
    /// Frames held back, and how many frames each still lets pass.
    delayed: VecDeque<(u64, StoredFrame)>,
    /// Frames that go before any other.
    ready: VecDeque<StoredFrame>,
    counters: FaultCounters,
}

impl Impairment {
    pub(super) fn new(rates: FaultRates, seed: u64, medium: Medium) -> Self {
        Self {
            rates,
            random: SplitMix(seed),
            medium,
            delayed: VecDeque::new(),
            ready: VecDeque::new(),
            counters: FaultCounters::default(),
        }
    }

    pub(super) fn counters(&self) -> FaultCounters {
        self.counters
    }

    /// Whether frames are kept here.
    pub(super) fn holds_any(&self) -> bool {
        !self.delayed.is_empty() || !self.ready.is_empty()
    }

    /// The next kept frame whose time has come.
    pub(super) fn take_ready(&mut self) -> Option<StoredFrame> {
        self.ready.pop_front()
    }

    /// There is nothing left that could overtake: what is held back goes. Whether there was any.
    pub(super) fn pause(&mut self) -> bool {
        self.ready.extend(self.delayed.drain(..).map(|(_, frame)| frame));
        !self.ready.is_empty()
    }

    /// Decides about a frame.
    pub(super) fn pass(&mut self, packet: Packet) -> Fate {
        if self.random.strikes(self.rates.loss) {
            self.counters.lost += 1;
            return Fate::Lost;
        }
        let mut packet = packet;
        if self.random.strikes(self.rates.corruption) {
            let Some(damaged) = self.damage(&packet) else {
                self.counters.lost += 1;
                return Fate::Lost;
            };
            self.counters.corrupted += 1;
            packet = damaged;
        }
        if self.random.strikes(self.rates.reordering) {
            self.counters.reordered += 1;
            let overtaking = 1 + self.random.below(MOST_OVERTAKING);
            self.delayed.push_back((overtaking, StoredFrame::copy_of(&packet)));
            return Fate::Stored;
        }
        if self.random.strikes(self.rates.duplication) {
            self.counters.duplicated += 1;
            let mut second = StoredFrame::copy_of(&packet);
            second.notes.departure = None;
            self.ready.push_back(second);
        }
        self.release_overtaken();
        Fate::Passes(packet)
    }

    /// One more frame has passed those held back.
    fn release_overtaken(&mut self) {
        for _ in 0..self.delayed.len() {
            match self.delayed.pop_front() {
                Some((0 | 1, frame)) => self.ready.push_back(frame),
                Some((left, frame)) => self.delayed.push_back((left - 1, frame)),
                None => {}
            }
        }
    }

    /// A copy of a packet with one bit flipped; `None` if no checksum would reveal it.
    fn damage(&mut self, packet: &Packet) -> Option<Packet> {
        let mut bytes = packet.to_vec();
        let network = network_header(&bytes, self.medium)?;
        checksum::complete(&mut bytes, packet.notes.checksum);
        let bits = (bytes.len() - network) as u64 * 8;
        let bit = self.random.below(bits);
        bytes[network + (bit / 8) as usize] ^= 1 << (bit % 8);
        let mut damaged = Packet::new(Bytes::from(bytes));
        damaged.notes = Notes { checksum: ChecksumNote::None, hash: None, ..packet.notes };
        Some(damaged)
    }
}

/// Where the IP header starts; `None` if the frame has none.
fn network_header(frame: &[u8], medium: Medium) -> Option<usize> {
    let start = match (medium, frame.get(12..14)) {
        (Medium::Ip, _) => 0,
        (Medium::Ethernet, Some([0x08, 0x00] | [0x86, 0xdd])) => 14,
        (Medium::Ethernet, Some([0x81, 0x00]))
            if matches!(frame.get(16..18), Some([0x08, 0x00] | [0x86, 0xdd])) =>
        {
            18
        }
        (Medium::Ethernet, _) => return None,
    };
    (frame.len() > start).then_some(start)
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, fast, and good enough for chance in tests.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not zero.
    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// Whether something of this probability happens now. Always draws, so that one rate does not shift
    /// the chance of the others.
    fn strikes(&mut self, probability: f64) -> bool {
        let uniform = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        uniform < probability
    }
}
