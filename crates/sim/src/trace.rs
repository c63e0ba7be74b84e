//! What crossed the wire: a hash over all of it, by which two runs are compared, and the last frames, for
//! whoever has to find out what went wrong.

mod capture;

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hasher;

use bytes::Bytes;
use siphasher::sip::SipHasher13;
use sunstar_packet::Medium;
use sunstar_stack::time::Instant;

use crate::Side;
use crate::decode::decode;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Crossed,
    /// It was lost by chance, or by order of the scenario.
    Lost,
    /// It arrives twice.
    Duplicated,
    /// It arrives later than frames sent after it.
    Reordered,
    /// It arrives with a bit flipped.
    Corrupted,
    /// It was longer than the black hole lets through.
    TooLong,
    /// The bottleneck's queue was full.
    QueueFull,
    /// The link was down, or cut.
    NoLink,
    /// A scenario made it and put it before the host.
    Injected,
}

struct Event {
    at: Instant,
    from: u16,
    fate: Fate,
    bytes: Bytes,
}

/// Frames in the order they were sent.
pub struct Trace {
    medium: Medium,
    /// What frames come from, by number.
    names: Vec<String>,
    hasher: SipHasher13,
    frames: u64,
    recent: VecDeque<Event>,
    /// Whether all frames are remembered.
    keeps_all: bool,
}

impl Trace {
    /// Frames remembered for the display.
    const REMEMBERED: usize = 100;

    pub(crate) fn new(medium: Medium, names: Vec<String>) -> Self {
        let (hasher, recent) = (SipHasher13::new(), VecDeque::new());
        Self { medium, names, hasher, frames: 0, recent, keeps_all: false }
    }

    /// Of two sides.
    pub(crate) fn of_sides(medium: Medium) -> Self {
        Self::new(medium, [Side::A, Side::B].map(|side| format!("{side:?}")).into())
    }

    pub(crate) fn add_name(&mut self, name: &str) {
        self.names.push(name.to_owned());
    }

    /// Notes a frame and what became of it; `from` is the number of a name.
    pub(crate) fn record(&mut self, at: Instant, from: u16, fate: Fate, bytes: Bytes) {
        self.frames += 1;
        self.hasher.write_u64(at.as_micros());
        self.hasher.write_u16(from);
        self.hasher.write_u8(fate as u8);
        self.hasher.write_u64(bytes.len() as u64);
        self.hasher.write(&bytes);
        if self.recent.len() >= Self::REMEMBERED && !self.keeps_all {
            self.recent.pop_front();
        }
        self.recent.push_back(Event { at, from, fate, bytes });
    }

    /// A hash over every frame so far, with its time, sender and fate. Runs of the same seed have the same.
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// Remembers every frame from now on.
    pub fn keep_all(&mut self) {
        self.keeps_all = true;
    }

    /// The frames of a side that are remembered, in the order they were sent.
    pub fn kept(&self, side: Side) -> Vec<Vec<u8>> {
        self.recent
            .iter()
            .filter(|event| event.from == side as u16)
            .map(|event| event.bytes.to_vec())
            .collect()
    }

    /// The frames that are remembered, a line each.
    pub fn lines(&self) -> Vec<String> {
        self.recent.iter().map(|event| self.line(event)).collect()
    }

    fn line(&self, event: &Event) -> String {
        let Event { at, from, fate, bytes } = event;
        let name = self.names.get(usize::from(*from)).map_or("?", String::as_str);
        match decode(bytes, self.medium) {
            Ok(decoded) => format!("{at} {name} {fate:?}: {decoded}"),
            Err(error) => format!("{at} {name} {fate:?}: {} bytes, {error}", bytes.len()),
        }
    }

    /// Frames so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }
}

impl fmt::Display for Trace {
    /// The last frames, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} frames crossed; the last of them:", self.frames)?;
        self.recent.iter().try_for_each(|event| writeln!(f, "{}", self.line(event)))?;
        Ok(())
    }
}

/// Bytes in hexadecimal, sixteen to a line.
pub(crate) fn dump(bytes: &[u8]) -> String {
    let lines = bytes.chunks(16).enumerate().map(|(line, chunk)| {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:04x}  {}", line * 16, hex.join(" "))
    });
    lines.collect::<Vec<_>>().join("\n")
}
