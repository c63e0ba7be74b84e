//! A packet: a few fragments in a row, and notes; and the packet in transit to another shard.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::buffer::Buffer;
use crate::loaned::{LoanedBuffer, Trip};
use crate::notes::Notes;
use crate::pool::Pool;
use crate::slot_id::SlotId;

/// Fragments a packet that is built has at most: a header and three pieces of payload. Devices take no more. Only a
/// datagram put together from what arrived in pieces ([`Packet::chain`]) has more.
pub const MAX_FRAGMENTS: usize = 4;

/// The pieces of a packet, where it is; those of a chain are elsewhere.
type Fragments = SmallVec<[Fragment; MAX_FRAGMENTS]>;

/// One contiguous piece of a packet.
#[derive(Debug)]
pub enum Fragment {
    /// A buffer of this shard.
    Buffer(Buffer),
    /// A buffer of another shard.
    Loaned(LoanedBuffer),
    /// Memory of an application.
    Bytes(Bytes),
}

impl Fragment {
    /// Forgets the first `len` bytes (all of them, if there are fewer).
    pub fn trim_front(&mut self, len: usize) {
        match self {
            Fragment::Buffer(buffer) => buffer.trim_front(len),
            Fragment::Loaned(loaned) => loaned.trim_front(len),
            Fragment::Bytes(bytes) => bytes.advance_by(len),
        }
    }

    /// Keeps at most the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        match self {
            Fragment::Buffer(buffer) => buffer.truncate(len),
            Fragment::Loaned(loaned) => loaned.truncate(len),
            Fragment::Bytes(bytes) => bytes.truncate(len),
        }
    }

    /// Bytes of buffer memory that this piece holds out of use: a whole slot, or an application's bytes.
    pub fn true_size(&self) -> usize {
        match self {
            Fragment::Buffer(buffer) => buffer.true_size(),
            Fragment::Loaned(loaned) => loaned.true_size(),
            Fragment::Bytes(bytes) => bytes.len(),
        }
    }

    /// The name of the slot it lies in; none for an application's memory.
    pub fn slot_id(&self) -> Option<SlotId> {
        match self {
            Fragment::Buffer(buffer) => Some(buffer.slot_id()),
            Fragment::Loaned(loaned) => Some(loaned.slot_id()),
            Fragment::Bytes(_) => None,
        }
    }

    /// Whether two pieces lie in the same slot, so that together they hold no more out of use than one.
    pub fn shares_slot(&self, other: &Fragment) -> bool {
        match (self, other) {
            (Fragment::Buffer(one), Fragment::Buffer(other)) => one.same_slot(other),
            (Fragment::Loaned(one), Fragment::Loaned(other)) => one.same_slot(other),
            _ => false,
        }
    }

    /// Makes a loan of a buffer, in place: a packet is too large to be moved piece by piece. The caller has
    /// checked that one may go.
    fn lend(&mut self) {
        if let Fragment::Buffer(buffer) = self {
            // SAFETY: the buffer is read once, and overwritten without being dropped. Nothing between can
            // panic: the loans are counted, and below their limit.
            unsafe {
                let loaned = std::ptr::read(buffer).lend();
                std::ptr::write(self, Fragment::Loaned(loaned));
            }
        }
    }

    /// Makes a buffer of a loan that comes from `pool`, in place.
    fn adopt(&mut self, pool: &Pool) {
        if let Fragment::Loaned(loaned) = self
            && loaned.home() == pool.home
        {
            // SAFETY: the loan is read once, and overwritten without being dropped. Nothing between can panic: the
            // loan is counted. It comes from this pool, a handle of which is on its home's thread only.
            unsafe {
                let buffer = std::ptr::read(loaned).reclaim();
                std::ptr::write(self, Fragment::Buffer(buffer));
            }
        }
    }
}

trait Advance {
    fn advance_by(&mut self, len: usize);
}

impl Advance for Bytes {
    fn advance_by(&mut self, len: usize) {
        bytes::Buf::advance(self, len.min(self.len()));
    }
}

impl std::ops::Deref for Fragment {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Fragment::Buffer(buffer) => buffer,
            Fragment::Loaned(loaned) => loaned,
            Fragment::Bytes(bytes) => bytes,
        }
    }
}

impl From<Buffer> for Fragment {
    fn from(buffer: Buffer) -> Self {
        Fragment::Buffer(buffer)
    }
}

impl From<Bytes> for Fragment {
    fn from(bytes: Bytes) -> Self {
        Fragment::Bytes(bytes)
    }
}

/// A packet has [`MAX_FRAGMENTS`] pieces already.
#[derive(Debug, thiserror::Error)]
#[error("a packet has at most {MAX_FRAGMENTS} fragments; copy small ones together first")]
pub struct TooManyFragments;

/// A frame, packet, segment or datagram: its bytes in a few pieces, and the notes on it.
#[derive(Debug, Default)]
pub struct Packet {
    fragments: Fragments,
    /// What device and protocols tell each other about it.
    pub notes: Notes,
}

impl Packet {
    /// A packet of one piece.
    pub fn new(fragment: impl Into<Fragment>) -> Self {
        let mut fragments = Fragments::new();
        fragments.push(fragment.into());
        Self { fragments, notes: Notes::default() }
    }

    /// Adds a piece at the end; an empty one is dropped.
    pub fn push(&mut self, fragment: impl Into<Fragment>) -> Result<(), TooManyFragments> {
        let fragment = fragment.into();
        if fragment.is_empty() {
            return Ok(());
        }
        if self.fragments.len() >= MAX_FRAGMENTS {
            return Err(TooManyFragments);
        }
        self.fragments.push(fragment);
        Ok(())
    }

    /// Adds the pieces of another packet at the end, however many there are: for a datagram that is put together from
    /// what arrived in pieces. No device takes a packet of more than [`MAX_FRAGMENTS`].
    pub fn chain(&mut self, other: Packet) {
        self.fragments.extend(other.fragments.into_iter().filter(|fragment| !fragment.is_empty()));
    }

    /// Bytes in all pieces together.
    pub fn len(&self) -> usize {
        self.fragments.iter().map(|fragment| fragment.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fragments.iter().all(|fragment| fragment.is_empty())
    }

    /// The first piece: all headers of a received frame lie in it.
    pub fn head(&self) -> &[u8] {
        self.fragments.first().map_or(&[], |fragment| fragment)
    }

    /// The first piece, to be changed. `None` unless it is a buffer of this shard's alone.
    pub fn head_mut(&mut self) -> Option<&mut [u8]> {
        match self.fragments.first_mut()? {
            Fragment::Buffer(buffer) => buffer.get_mut(),
            Fragment::Loaned(_) | Fragment::Bytes(_) => None,
        }
    }

    /// The names of the slots it holds, one for each piece that lies in one.
    pub fn slots(&self) -> impl Iterator<Item = SlotId> {
        self.fragments().iter().filter_map(Fragment::slot_id)
    }

    /// The pieces in order.
    pub fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    /// Takes the packet apart.
    pub fn into_fragments(self) -> impl Iterator<Item = Fragment> {
        self.fragments.into_iter()
    }

    /// Forgets the first `len` bytes (all of them, if there are fewer).
    pub fn trim_front(&mut self, mut len: usize) {
        while self.fragments.len() > 1 && len >= self.fragments[0].len() {
            len -= self.fragments[0].len();
            self.fragments.remove(0);
        }
        if let Some(first) = self.fragments.first_mut() {
            first.trim_front(len);
        }
    }

    /// Keeps at most the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        let mut left = len;
        let mut keep = 0;
        for fragment in &mut self.fragments {
            if keep > 0 && left == 0 {
                break;
            }
            fragment.truncate(left);
            left -= fragment.len();
            keep += 1;
        }
        self.fragments.truncate(keep);
    }

    /// Takes the first `len` bytes away as a packet of their own, without notes. A piece that ends up in both is shared; only
    /// a loan, which is unique, has its part copied. So is all of it when it would come to more than `pieces` pieces.
    /// `None`, and nothing changed, when the pool has no buffer for that.
    pub fn split_front(&mut self, len: usize, pieces: usize, pool: &Pool) -> Option<Packet> {
        let len = len.min(self.len());
        let (mut whole, mut ends_at) = (0, len);
        while self.fragments.get(whole).is_some_and(|fragment| fragment.len() <= ends_at) {
            ends_at -= self.fragments[whole].len();
            whole += 1;
        }
        let mut front = Packet::default();
        let shared = match self.fragments.get(whole) {
            Some(_) if ends_at == 0 => None,
            Some(Fragment::Loaned(loaned)) => Some(Fragment::Buffer(pool.copy_of(&loaned[..ends_at])?)),
            Some(Fragment::Buffer(buffer)) => Some(Fragment::Buffer(buffer.clone())),
            Some(Fragment::Bytes(bytes)) => Some(Fragment::Bytes(bytes.clone())),
            None => None,
        };
        if whole + usize::from(shared.is_some()) > pieces {
            let mut buffer = pool.allocate(pool.class_for(len)?, crate::HEADROOM)?;
            self.copy_to(0, buffer.append(len)?);
            front.fragments.push(buffer.into());
            self.trim_front(len);
            return Some(front);
        }
        front.fragments.extend(self.fragments.drain(..whole));
        if let Some(mut piece) = shared {
            piece.truncate(ends_at);
            front.fragments.push(piece);
            self.fragments[0].trim_front(ends_at);
        }
        Some(front)
    }

    /// Grows the packet by `len` bytes of header at its front, and gives those to be written. `None` when the
    /// first piece is not a buffer of this shard's alone, or lacks the headroom.
    pub fn prepend(&mut self, len: usize) -> Option<&mut [u8]> {
        match self.fragments.first_mut()? {
            Fragment::Buffer(buffer) => buffer.prepend(len),
            Fragment::Loaned(_) | Fragment::Bytes(_) => None,
        }
    }

    /// Copies bytes out, from `offset` on, as many as there are and fit; how many.
    pub fn copy_to(&self, mut offset: usize, into: &mut [u8]) -> usize {
        let mut copied = 0;
        for fragment in &self.fragments {
            if offset >= fragment.len() {
                offset -= fragment.len();
                continue;
            }
            let piece = &fragment[offset..];
            let len = piece.len().min(into.len() - copied);
            into[copied..copied + len].copy_from_slice(&piece[..len]);
            copied += len;
            offset = 0;
        }
        copied
    }

    /// All bytes, copied together.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.copy_to(0, &mut bytes);
        bytes
    }

    /// Bytes of buffer memory that the packet holds out of use.
    pub fn true_size(&self) -> usize {
        self.fragments.iter().map(Fragment::true_size).sum()
    }

    /// The packet with all its bytes in one fresh buffer of `pool`, its notes kept; `None` when the pool
    /// has none.
    pub fn copied_into(&self, pool: &Pool) -> Option<Packet> {
        let len = self.len();
        let mut buffer = pool.allocate(pool.class_for(len)?, crate::HEADROOM)?;
        self.copy_to(0, buffer.append(len)?);
        Some(Packet { notes: self.notes, ..Packet::new(buffer) })
    }

    /// Makes a loan of the packet, so that it can leave the shard. It comes back as the error when
    /// the pool's loans are all out, and when a piece is a buffer of another pool on this thread.
    #[expect(clippy::result_large_err, reason = "the packet itself comes back, by value as everywhere")]
    #[inline]
    pub fn lend(mut self, pool: &Pool) -> Result<Loan, Packet> {
        let mut buffers = 0;
        for fragment in &self.fragments {
            match fragment {
                Fragment::Buffer(buffer) if !pool.owns(buffer) => return Err(self),
                Fragment::Buffer(_) => buffers += 1,
                Fragment::Loaned(_) | Fragment::Bytes(_) => {}
            }
        }
        if !pool.may_lend(buffers) {
            return Err(self);
        }
        self.fragments.iter_mut().for_each(Fragment::lend);
        Ok(Loan { fragments: self.fragments, notes: self.notes })
    }

    /// A second packet with the same bytes, sharing the memory. `None` if a piece is a loan from another shard,
    /// which is unique.
    pub fn share(&self) -> Option<Packet> {
        let mut fragments = Fragments::new();
        for fragment in &self.fragments {
            fragments.push(match fragment {
                Fragment::Buffer(buffer) => Fragment::Buffer(buffer.clone()),
                Fragment::Bytes(bytes) => Fragment::Bytes(bytes.clone()),
                Fragment::Loaned(_) => return None,
            });
        }
        Some(Packet { fragments, notes: self.notes })
    }
}

/// A packet in transit: it has left its shard, can be read and dropped anywhere, and then goes home.
#[derive(Debug)]
pub struct Loan {
    /// Loaned buffers and bytes; never a [`Fragment::Buffer`].
    fragments: Fragments,
    /// The notes travel along.
    pub notes: Notes,
}

// SAFETY: loaned buffers and bytes may change threads; the one kind of fragment that may not is not in a loan.
unsafe impl Send for Loan {}
// SAFETY: as above.
unsafe impl Sync for Loan {}

impl Loan {
    /// The packet on the shard it was lent to. Buffers that came from `pool` are at home again and
    /// are ordinary buffers from here on.
    #[inline]
    pub fn adopt(mut self, pool: &Pool) -> Packet {
        self.fragments.iter_mut().for_each(|fragment| fragment.adopt(pool));
        Packet { fragments: self.fragments, notes: self.notes }
    }

    /// Bytes in all pieces together.
    pub fn len(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pieces().all(<[u8]>::is_empty)
    }

    /// The bytes, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.fragments.iter().map(|fragment| &fragment[..])
    }

    /// The names of the slots it holds, one for each piece that lies in one.
    pub fn slots(&self) -> impl Iterator<Item = SlotId> {
        self.fragments.iter().filter_map(Fragment::slot_id)
    }

    /// Sends many loans home at once: one trip for each run of packets from the same home.
    pub fn send_home(loans: impl IntoIterator<Item = Loan>) {
        let mut trip = Trip::default();
        for mut loan in loans {
            while let Some(fragment) = loan.fragments.pop() {
                if let Fragment::Loaned(loaned) = fragment {
                    trip.add(loaned);
                }
            }
        }
    }
}
