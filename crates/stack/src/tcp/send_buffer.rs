//! What an application has written and the peer has not acknowledged: chunks that segments refer to without
//! copying.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;
use sunstar_packet::{Fragment, Packet, Pool, SizeClass, SlotId, Staging};

/// Bytes from `base` on, in stream positions (0 is the first byte ever written).
#[derive(Debug, Default)]
pub(crate) struct SendBuffer {
    chunks: VecDeque<Chunk>,
    base: u64,
    end: u64,
    held: usize,
}

#[derive(Debug)]
struct Chunk {
    start: u64,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Copied(Staging),
    Given(Bytes),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Data::Copied(staging) => staging.len(),
            Data::Given(bytes) => bytes.len(),
        }
    }

    fn true_size(&self) -> usize {
        match self {
            Data::Copied(staging) => staging.true_size(),
            Data::Given(bytes) => bytes.len(),
        }
    }

    fn slice(&self, from: usize, len: usize) -> Fragment {
        match self {
            Data::Copied(staging) => staging.slice(from, len).into(),
            Data::Given(bytes) => bytes.slice(from..bytes.len().min(from + len)).into(),
        }
    }
}

/// Writes of this many bytes or more go into a staging slot of 64 KiB; smaller ones into small slots.
const LARGE_WRITE: usize = 4_096;

/// Staging slots that stay free for reception.
const RESERVED: usize = 8;

impl SendBuffer {
    /// Bytes in it.
    pub(crate) fn len(&self) -> usize {
        (self.end - self.base) as usize
    }

    /// The position behind the last byte written.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The slots it holds.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotId> {
        self.chunks.iter().filter_map(|chunk| match &chunk.data {
            Data::Copied(staging) => Some(staging.slot_id()),
            Data::Given(_) => None,
        })
    }

    /// Bytes of buffer memory it holds out of use.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Copies bytes in, as long as the buffer holds no more than `limit` and the pool has slots; how many.
    pub(crate) fn write(&mut self, pool: &Pool, mut bytes: &[u8], limit: usize) -> usize {
        let mut written = 0;
        bytes = &bytes[..bytes.len().min(limit.saturating_sub(self.len()))];
        while !bytes.is_empty() {
            let tail = self.chunks.back_mut().and_then(|chunk| match &mut chunk.data {
                Data::Copied(staging) if staging.room() > 0 => Some(staging),
                _ => None,
            });
            let Some(tail) = tail else {
                let Some(staging) = fresh(pool, bytes.len(), self.filled()) else { break };
                self.held += staging.true_size();
                self.chunks.push_back(Chunk { start: self.end, data: Data::Copied(staging) });
                continue;
            };
            let len = tail.append(bytes);
            bytes = &bytes[len..];
            written += len;
            self.end += len as u64;
        }
        written
    }

    /// Bytes queued, if the last of them were copied: many small writes make bulk, too.
    fn filled(&self) -> usize {
        let copied = self.chunks.back().is_some_and(|chunk| matches!(chunk.data, Data::Copied(_)));
        if copied { self.len() } else { 0 }
    }

    /// Takes bytes off the front of an application's own buffer, without copying, as many as `limit` leaves room
    /// for; how many.
    pub(crate) fn give(&mut self, bytes: &mut Bytes, limit: usize) -> usize {
        let len = bytes.len().min(limit.saturating_sub(self.len()));
        if len > 0 {
            self.held += len;
            self.chunks.push_back(Chunk { start: self.end, data: Data::Given(bytes.split_to(len)) });
            self.end += len as u64;
        }
        len
    }

    /// Forgets everything below a position: it was acknowledged.
    pub(crate) fn acknowledge(&mut self, position: u64) {
        self.base = position.clamp(self.base, self.end);
        while let Some(first) = self.chunks.front() {
            if first.start + first.data.len() as u64 > self.base {
                return;
            }
            // The last chunk may still be written to, unless all of it is used up.
            self.held -= first.data.true_size();
            self.chunks.pop_front();
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self { base: self.end, end: self.end, ..Self::default() };
    }

    /// Appends to a packet what lies at `position`, `len` bytes at most, and no more than the packet has places
    /// for; how many bytes.
    pub(crate) fn read(&self, position: u64, len: usize, packet: &mut Packet) -> usize {
        let mut at = self.chunks.partition_point(|chunk| chunk.start <= position).saturating_sub(1);
        let mut taken = 0;
        while taken < len
            && let Some(chunk) = self.chunks.get(at)
        {
            let from = (position + taken as u64 - chunk.start) as usize;
            let piece = chunk.data.slice(from, len - taken);
            let piece_len = piece.len();
            if piece_len == 0 || packet.push(piece).is_err() {
                break;
            }
            taken += piece_len;
            at += 1;
        }
        taken
    }
}

/// A slot that suits a write: a large one for bulk, unless receivers would go short.
fn fresh(pool: &Pool, len: usize, queued: usize) -> Option<Staging> {
    let large = len >= LARGE_WRITE || queued >= LARGE_WRITE;
    if large && pool.free(SizeClass::Staging) > RESERVED {
        return Staging::new(pool, SizeClass::Staging);
    }
    // An eighth of the small slots stays free, for headers and reception.
    let scarce = pool.free(SizeClass::Small) <= pool.total(SizeClass::Small) / 8;
    if scarce { None } else { Staging::new(pool, SizeClass::Small) }
}
