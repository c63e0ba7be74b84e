//! What has arrived and was not read: in order, as it came, without copying; and out of order, as
//! ranges found in logarithmic time.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use arrayvec::ArrayVec;
use sunstar_packet::{Fragment, Packet, Pool, SizeClass, SlotId, Staging};

use super::range_set::RangeSet;

/// Bytes from the peer; positions count from the first byte of the stream.
#[derive(Debug, Default)]
pub(crate) struct ReceiveBuffer {
    /// In order, not read yet.
    queue: VecDeque<Fragment>,
    /// Bytes in `queue`.
    readable: usize,
    /// Bytes of slots that `queue` and `early` hold out of use, as far as that is known.
    held: usize,
    /// Where small payloads are put together; the last of `queue` is its part from `tail_start` on.
    tail: Option<(Staging, usize)>,
    /// The position of the next byte in order.
    next: u64,
    /// Payloads beyond `next`, by position; disjoint.
    early: BTreeMap<u64, Fragment>,
    /// What `early` covers.
    covered: RangeSet,
    /// Positions of the latest arrivals out of order, newest first: what SACK reports first.
    recent: ArrayVec<u64, 4>,
}

/// Payloads out of order at most, however small.
const MAX_EARLY: usize = 1_024;

/// Below this much memory nothing is put together.
const COMPACT_FROM: usize = 16 << 10;

impl ReceiveBuffer {
    /// Bytes that can be read now.
    pub(crate) fn readable(&self) -> usize {
        self.readable
    }

    /// The slots it holds.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotId> {
        let fragments = self.queue.iter().chain(self.early.values());
        let tail = self.tail.iter().map(|(staging, _)| staging.slot_id());
        fragments.filter_map(Fragment::slot_id).chain(tail)
    }

    /// Bytes of memory held out of use.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Whether something arrived out of order.
    pub(crate) fn has_gaps(&self) -> bool {
        !self.early.is_empty()
    }

    /// What has arrived beyond the next byte: ranges relative to it, the nearest first.
    pub(crate) fn early(&self) -> impl Iterator<Item = (u32, u32)> {
        self.covered.iter().map(|(start, end)| ((start - self.next) as u32, (end - self.next) as u32))
    }

    /// Ranges beyond the next byte, relative to it, the newest first (RFC 2018 section 4), then the nearest.
    ///
    /// A burst is reported in several acknowledgements made at one instant; `behind` says how many will follow this
    /// one. Each has other ranges behind the newest, so that together they tell of more than one has room for.
    pub(crate) fn gaps_for_sack(&self, behind: usize) -> ArrayVec<(u32, u32), 4> {
        let mut blocks = ArrayVec::new();
        let newest = self.recent.iter().take(if behind > 0 { 1 } else { self.recent.len() });
        let newest = newest.filter_map(|position| self.covered.containing(*position));
        let turn = 2 * behind % self.covered.len().max(1);
        let others = self.covered.iter().skip(turn).chain(self.covered.iter().take(turn));
        for (start, end) in newest.chain(others.take(blocks.capacity())) {
            let block = ((start - self.next) as u32, (end - self.next) as u32);
            if !blocks.contains(&block) && !blocks.is_full() {
                blocks.push(block);
            }
        }
        blocks
    }

    /// Takes a payload in order, and what that makes in order; how many bytes in all.
    pub(crate) fn push(&mut self, pool: &Pool, payload: Packet) -> usize {
        let before = self.next;
        for fragment in payload.into_fragments() {
            self.append(pool, fragment);
        }
        if !self.early.is_empty() {
            self.join(pool);
        }
        (self.next - before) as usize
    }

    /// Keeps a payload that starts `ahead` bytes beyond the next one. False if there is no place for it.
    pub(crate) fn push_early(&mut self, pool: &Pool, ahead: u32, payload: Packet) -> bool {
        let mut position = self.next + u64::from(ahead);
        let end = position + payload.len() as u64;
        let first = position;
        let mut kept = true;
        for fragment in payload.into_fragments() {
            let len = fragment.len() as u64;
            kept &= self.keep(pool, position, fragment);
            position += len;
        }
        let known = kept && self.covered.insert(first, end);
        if known {
            self.recent.retain(|seen| !(first..end).contains(seen));
            if self.recent.is_full() {
                self.recent.pop();
            }
            self.recent.insert(0, first);
        }
        known
    }

    /// Hands what is in order to a reader, piece by piece, `limit` bytes at most; how many bytes.
    pub(crate) fn read(&mut self, limit: usize, mut reader: impl FnMut(&[u8])) -> usize {
        let mut copied = 0;
        while copied < limit
            && let Some(first) = self.queue.front_mut()
        {
            let len = first.len().min(limit - copied);
            reader(&first[..len]);
            copied += len;
            self.readable -= len;
            if len < first.len() {
                // Of an application's own memory, only the rest is held.
                let size = first.true_size();
                first.trim_front(len);
                self.held -= size - first.true_size();
                // The tail is put together anew from where the reader is.
                if self.queue.len() == 1 {
                    self.tail = self.tail.take().map(|(staging, start)| (staging, start + len));
                }
                break;
            }
            self.drop_front();
        }
        copied
    }

    /// Copies without taking; how many bytes.
    pub(crate) fn peek(&self, into: &mut [u8]) -> usize {
        let mut copied = 0;
        for fragment in &self.queue {
            let len = fragment.len().min(into.len() - copied);
            if len == 0 {
                break;
            }
            into[copied..copied + len].copy_from_slice(&fragment[..len]);
            copied += len;
        }
        copied
    }

    /// Takes the first piece as it is.
    pub(crate) fn take_fragment(&mut self) -> Option<Fragment> {
        if self.queue.len() == 1 {
            self.tail = None;
        }
        let fragment = self.queue.pop_front()?;
        self.readable -= fragment.len();
        self.release(&fragment);
        Some(fragment)
    }

    /// Forgets everything, and the bytes out of order first of all.
    pub(crate) fn clear(&mut self) {
        *self = Self { next: self.next, ..Self::default() };
    }

    /// Forgets what is out of order, the farthest first, until less than `limit` bytes of memory are held: the peer
    /// will send it again.
    pub(crate) fn prune(&mut self, limit: usize) {
        while self.held >= limit
            && let Some((position, fragment)) = self.early.pop_last()
        {
            self.forget(fragment.true_size());
            self.covered.trim_above(position);
        }
    }

    fn append(&mut self, pool: &Pool, fragment: Fragment) {
        let len = fragment.len();
        if len == 0 {
            return;
        }
        self.readable += len;
        self.next += len as u64;
        // Neighbours in one slot, as a sender on the same machine makes them, hold it once.
        let shares = self.queue.back().is_some_and(|last| last.shares_slot(&fragment));
        let size = if shares { 0 } else { fragment.true_size() };
        let wasteful = size > 2 * len && self.held > COMPACT_FROM && self.held > 2 * self.readable;
        if wasteful && self.compact(pool, &fragment) {
            return;
        }
        self.tail = None;
        self.held += size;
        self.queue.push_back(fragment);
    }

    /// Copies a small payload behind the last one, so that its large buffer is free again.
    fn compact(&mut self, pool: &Pool, fragment: &Fragment) -> bool {
        let fits = self.tail.as_ref().is_some_and(|(staging, _)| staging.room() >= fragment.len());
        if !fits {
            let fits_small = fragment.len() <= pool.capacity(SizeClass::Small) / 2;
            let class = if fits_small { SizeClass::Small } else { SizeClass::Staging };
            let Some(staging) = Staging::new(pool, class).filter(|staging| staging.room() >= fragment.len())
            else {
                return false;
            };
            self.held += staging.true_size();
            self.tail = Some((staging, 0));
        } else {
            self.queue.pop_back();
        }
        let Some((staging, start)) = &mut self.tail else { return false };
        staging.append(fragment);
        self.queue.push_back(staging.slice(*start, usize::MAX >> 1).into());
        true
    }

    /// Moves what is now in order from `early` to the queue.
    fn join(&mut self, pool: &Pool) {
        while let Some(entry) = self.early.first_entry() {
            let start = *entry.key();
            if start > self.next {
                break;
            }
            let mut fragment = entry.remove();
            self.forget(fragment.true_size());
            fragment.trim_front((self.next - start) as usize);
            self.append(pool, fragment);
        }
        self.covered.trim_below(self.next);
    }

    /// Puts a piece where `early` has nothing yet.
    fn keep(&mut self, pool: &Pool, mut position: u64, mut fragment: Fragment) -> bool {
        let end = position + fragment.len() as u64;
        if let Some((&start, before)) = self.early.range(..=position).next_back() {
            let before_end = start + before.len() as u64;
            if before_end >= end {
                return true;
            }
            let overlap = before_end.saturating_sub(position);
            fragment.trim_front(overlap as usize);
            position += overlap;
        }
        // What lies wholly within the new piece makes room for it; what reaches beyond cuts it.
        while let Some((&start, after)) = self.early.range(position..).next() {
            let after_end = start + after.len() as u64;
            if start >= end {
                break;
            }
            if after_end > end {
                fragment.truncate((start - position) as usize);
                break;
            }
            if let Some(swallowed) = self.early.remove(&start) {
                self.forget(swallowed.true_size());
            }
        }
        if fragment.is_empty() {
            return true;
        }
        if self.early.len() >= MAX_EARLY {
            return false;
        }
        // A small payload is copied out of a large buffer.
        if fragment.true_size() > 4 * fragment.len().max(512)
            && let Some(copy) = pool.copy_of(&fragment)
        {
            fragment = copy.into();
        }
        self.held += fragment.true_size();
        self.early.insert(position, fragment);
        true
    }

    fn drop_front(&mut self) {
        if self.queue.len() == 1 {
            self.tail = None;
        }
        if let Some(fragment) = self.queue.pop_front() {
            self.release(&fragment);
        }
    }

    /// The first piece is gone; its slot is held no longer, unless the next one lies in it.
    fn release(&mut self, fragment: &Fragment) {
        if !self.queue.front().is_some_and(|next| next.shares_slot(fragment)) {
            self.forget(fragment.true_size());
        }
    }

    fn forget(&mut self, size: usize) {
        self.held = self.held.saturating_sub(size);
    }
}
