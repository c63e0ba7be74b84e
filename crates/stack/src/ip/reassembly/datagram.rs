//! One datagram and the fragments of it that are there, found by their place in logarithmic time.

use std::collections::BTreeMap;

use sunstar_packet::{Packet, SlotId};
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::tcp::TcpHeader;
use sunstar_wire::{Ecn, Protocol};

/// A place in a datagram's payload, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Nothing comes behind it.
    last: bool,
    ecn: Ecn,
}

impl Piece {
    /// Where a fragment belongs. `None` for one that cannot be: without payload, not the last and yet no multiple of
    /// eight bytes long (RFC 791 section 3.2), of a datagram longer than IP knows, or with a part of TCP's header only
    /// (RFC 1858, RFC 3128: it is cut like that to slip through filters).
    pub(super) fn new(header: &Ipv4Header) -> Option<Self> {
        let (start, len) = (usize::from(header.fragment_offset), usize::from(header.payload_len()));
        let last = !header.more_fragments;
        let fits = usize::from(header.header_len) + start + len <= usize::from(u16::MAX);
        let cuts_header =
            header.protocol == Protocol::TCP && start < TcpHeader::LEN && (start > 0 || len < TcpHeader::LEN);
        let possible = len > 0 && fits && !cuts_header && (last || len.is_multiple_of(8));
        possible.then_some(Self { start, end: start + len, last, ecn: header.ecn })
    }
}

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is kept, and others are missing.
    Kept,
    /// Nothing is missing any more.
    Complete,
    /// The same was there already.
    Duplicate,
    /// It contradicts what is there: the whole datagram is given up, with what is still to come of it (RFC 5722).
    Spoilt,
    /// It belongs to a datagram that was given up.
    Ignored,
}

/// The fragments of one datagram.
#[derive(Debug, Default)]
pub(super) struct Datagram {
    /// By where they start; the first one with its IP header, the others without.
    pieces: BTreeMap<usize, (Piece, Packet)>,
    /// Bytes of payload there are.
    present: usize,
    /// Bytes of payload of the whole, once the last fragment is there.
    len: Option<usize>,
    /// Bytes of buffers held.
    held: usize,
    /// Given up, and only remembered.
    spoilt: bool,
}

impl Datagram {
    /// The slots that it holds.
    pub(super) fn slots(&self) -> impl Iterator<Item = SlotId> {
        self.pieces.values().flat_map(|(_, packet)| packet.slots())
    }

    /// Bytes of buffers that it holds.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn is_spoilt(&self) -> bool {
        self.spoilt
    }

    /// Puts a fragment in its place.
    pub(super) fn place(&mut self, piece: Piece, packet: Packet, max_fragments: usize) -> Placed {
        if self.spoilt {
            return Placed::Ignored;
        }
        if let Some((present, bytes)) = self.pieces.get(&piece.start)
            && (present.end, present.last) == (piece.end, piece.last)
            && same_payload(bytes, &packet, piece)
        {
            return Placed::Duplicate;
        }
        if self.contradicts(&piece) || self.pieces.len() >= max_fragments {
            *self = Self { spoilt: true, ..Self::default() };
            return Placed::Spoilt;
        }
        if piece.last {
            self.len = Some(piece.end);
        }
        self.present += piece.end - piece.start;
        self.held += packet.true_size();
        self.pieces.insert(piece.start, (piece, packet));
        if self.len == Some(self.present) { Placed::Complete } else { Placed::Kept }
    }

    /// Whether a fragment cannot be of the same datagram as those that are there: it overlaps one, or ends elsewhere.
    fn contradicts(&self, piece: &Piece) -> bool {
        let before = self.pieces.range(..=piece.start).next_back();
        let behind = self.pieces.range(piece.start..).next();
        let last_end = self.pieces.last_key_value().map_or(0, |(_, (last, _))| last.end);
        before.is_some_and(|(_, (before, _))| before.end > piece.start)
            || behind.is_some_and(|(start, _)| *start < piece.end)
            || self.len.is_some_and(|len| piece.last || piece.end > len)
            || piece.last && last_end > piece.end
    }

    /// All of it in one packet, and what the congestion marks come to: a mark is kept, and nothing where some fragments
    /// were not to be marked and others are (RFC 3168 section 5.3).
    pub(super) fn into_whole(self) -> (Packet, Option<Ecn>) {
        let marks = || self.pieces.values().map(|(piece, _)| piece.ecn);
        let marked = marks().any(|ecn| ecn == Ecn::Ce);
        let ecn = match marks().next() {
            _ if marked && marks().any(|ecn| ecn == Ecn::NotEct) => None,
            _ if marked => Some(Ecn::Ce),
            first => first,
        };
        let mut whole = Packet::default();
        self.pieces.into_values().for_each(|(_, packet)| whole.chain(packet));
        (whole, ecn)
    }

    /// The first fragment, if it is there.
    pub(super) fn into_first(mut self) -> Option<Packet> {
        self.pieces.remove(&0).map(|(_, packet)| packet)
    }
}

/// Whether two fragments of the same place say the same. The IP header that the first one of a datagram has may differ.
fn same_payload(one: &Packet, other: &Packet, piece: Piece) -> bool {
    let len = piece.end - piece.start;
    let payload = |packet: &Packet| {
        let mut bytes = vec![0; len];
        packet.copy_to(packet.len().saturating_sub(len), &mut bytes);
        bytes
    };
    payload(one) == payload(other)
}
