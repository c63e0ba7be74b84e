//! Fragments put together (RFC 791 section 3.2, RFC 815; RFC 1122 section 3.3.2), as strictly as RFC 5722 has it for IPv6
//! and RFC 8900 advises.
//!
//! Fragments of one datagram meet on the shard their addresses steer them to. Nothing is copied: the datagram is a chain of
//! the buffers its fragments arrived in. Whoever sends fragments that are never completed holds memory for a while, so
//! that everything is capped: bytes in all, datagrams of one source, fragments of one datagram, time.

mod datagram;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use sunstar_packet::{Packet, Pool, SizeClass, SlotId};
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::{Ecn, IpAddress, Protocol};

use self::datagram::{Datagram, Piece, Placed};
use super::interface::InterfaceId;
use crate::config::ReassemblyConfig;
use crate::counters::{Drops, ReassemblyCounters};
use crate::hash::{Keyed, KeyedMap};
use crate::random::Random;
use crate::time::Instant;

/// What the fragments of one datagram have in common (RFC 791 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    interface: InterfaceId,
    source: IpAddress,
    destination: IpAddress,
    protocol: Protocol,
    identification: u16,
}

/// A fragment for us: its header, and the packet that starts with it.
pub(crate) struct FragmentInput {
    pub(crate) interface: InterfaceId,
    pub(crate) header: Ipv4Header,
    /// It was sent to more than one host.
    pub(crate) group: bool,
    pub(crate) packet: Packet,
}

/// All of a datagram: the first fragment, its IP header in front, and what is in the others.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) interface: InterfaceId,
    pub(crate) group: bool,
    /// What the marks of all fragments come to (RFC 3168 section 5.3).
    pub(crate) ecn: Ecn,
    pub(crate) packet: Packet,
}

/// A datagram that was not completed in time, and of which the first fragment was there (RFC 792).
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) interface: InterfaceId,
    pub(crate) packet: Packet,
}

/// What the incomplete datagrams of a shard hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReassemblyInfo {
    /// How many there are.
    pub datagrams: usize,
    /// Bytes of buffers that they hold.
    pub held: usize,
}

/// A datagram some of whose fragments are missing.
#[derive(Debug)]
struct Incomplete {
    key: Key,
    group: bool,
    due: Instant,
    datagram: Datagram,
}

/// The datagrams of a shard that are not complete.
#[derive(Debug)]
pub(crate) struct Reassembly {
    /// By age: the number of a datagram's first fragment. All may wait equally long, so the oldest is due first.
    incomplete: BTreeMap<u64, Incomplete>,
    numbers: KeyedMap<Key, u64>,
    of_source: KeyedMap<IpAddress, BTreeSet<u64>>,
    begun: u64,
    /// Bytes of buffers held.
    held: usize,
}

impl Reassembly {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            incomplete: BTreeMap::new(),
            numbers: KeyedMap::with_hasher(Keyed::new(random)),
            of_source: KeyedMap::with_hasher(Keyed::new(random)),
            begun: 0,
            held: 0,
        }
    }

    /// Bytes of buffers that incomplete datagrams hold.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The slots that they hold.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotId> {
        self.incomplete.values().flat_map(|incomplete| incomplete.datagram.slots())
    }

    /// How many datagrams are not complete.
    pub(crate) fn len(&self) -> usize {
        self.incomplete.len()
    }

    /// When the oldest datagram is given up.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.incomplete.first_key_value().map(|(_, oldest)| oldest.due)
    }

    /// Takes a fragment. The whole datagram comes back with the last one missing.
    pub(crate) fn input(&mut self, input: FragmentInput, cx: &mut Context<'_>) -> Option<Whole> {
        let FragmentInput { interface, header, group, mut packet } = input;
        cx.counters.fragments_received += 1;
        let key = Key {
            interface,
            source: header.source.into(),
            destination: header.destination.into(),
            protocol: header.protocol,
            identification: header.identification,
        };
        let Some(piece) = Piece::new(&header) else {
            // What there is of the datagram will come to nothing.
            self.numbers.get(&key).copied().and_then(|number| self.take(number));
            cx.drops.malformed += 1;
            return None;
        };
        let Some(compacted) = compact(packet, cx.pool) else {
            cx.drops.no_buffer += 1;
            return None;
        };
        packet = compacted;
        if piece.start > 0 {
            packet.trim_front(header.header_len.into());
        }
        // What a device says of a fragment's checksum is not about the datagram's.
        packet.notes = Default::default();
        let number = self.numbers.get(&key).copied().unwrap_or_else(|| self.begin(key, group, cx));
        let incomplete = self.incomplete.get_mut(&number)?;
        let (before, size) = (incomplete.datagram.held(), packet.true_size());
        match incomplete.datagram.place(piece, packet, cx.config.max_fragments) {
            Placed::Kept => {
                self.held += size;
                self.make_room(number, cx);
                None
            }
            Placed::Duplicate => {
                cx.drops.duplicate_fragment += 1;
                None
            }
            Placed::Ignored => {
                cx.drops.bad_fragment += 1;
                None
            }
            Placed::Spoilt => {
                self.held -= before;
                cx.drops.bad_fragment += 1;
                None
            }
            Placed::Complete => {
                self.held += size;
                let complete = self.take(number)?;
                let (packet, ecn) = complete.datagram.into_whole();
                let Some(ecn) = ecn else {
                    cx.drops.bad_fragment += 1;
                    return None;
                };
                let Some(packet) = compact(packet, cx.pool) else {
                    cx.drops.no_buffer += 1;
                    return None;
                };
                cx.counters.reassembled += 1;
                Some(Whole { interface, group: complete.group, ecn, packet })
            }
        }
    }

    /// Gives up the datagrams that are due. Those whose first fragment was there are answered.
    pub(crate) fn expire(&mut self, now: Instant, drops: &mut Drops) -> Option<Expired> {
        while self.next_due().is_some_and(|due| due <= now) {
            let (number, _) = self.incomplete.first_key_value()?;
            let expired = self.take(*number)?;
            let (interface, group) = (expired.key.interface, expired.group);
            if expired.datagram.is_spoilt() {
                continue;
            }
            drops.reassembly_timeout += 1;
            // RFC 1122 section 3.2.2: no error about what was for others, too.
            if let Some(packet) = expired.datagram.into_first().filter(|_| !group) {
                return Some(Expired { interface, packet });
            }
        }
        None
    }

    /// Notes the first fragment of a datagram, if need be in place of the oldest of the same source: it is the one least
    /// likely to be completed.
    fn begin(&mut self, key: Key, group: bool, cx: &mut Context<'_>) -> u64 {
        let of_source = self.of_source.entry(key.source).or_default();
        if of_source.len() >= cx.config.max_per_source.max(1)
            && let Some(oldest) = of_source.first().copied()
        {
            self.evict(oldest, cx);
        }
        // What was spoilt holds nothing, and is remembered all the same.
        if self.incomplete.len() >= cx.config.max_datagrams.max(1)
            && let Some((oldest, _)) = self.incomplete.first_key_value()
        {
            self.evict(*oldest, cx);
        }
        self.begun += 1;
        let (number, due) = (self.begun, cx.now + cx.config.timeout);
        self.numbers.insert(key, number);
        self.of_source.entry(key.source).or_default().insert(number);
        self.incomplete.insert(number, Incomplete { key, group, due, datagram: Datagram::default() });
        number
    }

    /// Above the high mark, the oldest datagrams go until no more than the low mark is held.
    fn make_room(&mut self, newest: u64, cx: &mut Context<'_>) {
        let (high, low) = cx.marks();
        if self.held <= high {
            return;
        }
        while self.held > low {
            let Some((oldest, _)) =
                self.incomplete.first_key_value().filter(|(number, _)| **number != newest)
            else {
                break;
            };
            self.evict(*oldest, cx);
        }
        // A single one that is larger than all that may be held.
        if self.held > high {
            self.evict(newest, cx);
        }
    }

    fn evict(&mut self, number: u64, cx: &mut Context<'_>) {
        if self.take(number).is_some_and(|evicted| !evicted.datagram.is_spoilt()) {
            cx.drops.reassembly_full += 1;
        }
    }

    fn take(&mut self, number: u64) -> Option<Incomplete> {
        let taken = self.incomplete.remove(&number)?;
        self.held -= taken.datagram.held();
        self.numbers.remove(&taken.key);
        if let Some(of_source) = self.of_source.get_mut(&taken.key.source) {
            of_source.remove(&number);
            if of_source.is_empty() {
                self.of_source.remove(&taken.key.source);
            }
        }
        Some(taken)
    }
}

/// What holds much more memory than it has bytes is copied: a small fragment in a large buffer, and a datagram of many
/// small fragments, each in a buffer of its own. `None` without a buffer for that.
fn compact(packet: Packet, pool: &Pool) -> Option<Packet> {
    match packet.true_size() > 4 * packet.len().max(512) {
        true => packet.copied_into(pool),
        false => Some(packet),
    }
}

/// What putting together uses of its shard.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a ReassemblyConfig,
    pub(crate) pool: &'a Pool,
    /// Of this host.
    pub(crate) shards: u16,
    pub(crate) drops: &'a mut Drops,
    pub(crate) counters: &'a mut ReassemblyCounters,
}

impl Context<'_> {
    /// How many bytes may be held at most, and after that was too much. The buffers are a sibling's as often as not: all
    /// shards together must not hold more than half of one pool.
    fn marks(&self) -> (usize, usize) {
        let pool = self.pool.total(SizeClass::Small) * self.pool.capacity(SizeClass::Small);
        let high = self.config.high.min(pool / 2 / usize::from(self.shards.max(1)));
        (high, self.config.low.min(high / 4 * 3))
    }
}
