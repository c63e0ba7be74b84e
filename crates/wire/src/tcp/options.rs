//! TCP's options (RFC 9293 section 3.2; RFC 7323 window scale and timestamps; RFC 2018 SACK; RFC 5482 user
//! timeout).

use core::ops::Deref;
use core::time::Duration;

use super::SeqNumber;
use crate::tlv::{END, NOP, Walk};
use crate::{NoRoom, ParseError};

const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const USER_TIMEOUT: u8 = 28;

/// The first word of the layout nearly every segment has: two NOPs, and timestamps of ten bytes.
const ALIGNED_TIMESTAMPS: [u8; 4] = [NOP, NOP, TIMESTAMPS, 10];

/// The timestamps option (RFC 7323 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: the receiver's clock, echoed. Counts with an ACK only.
    pub echo: u32,
}

/// The user timeout option (RFC 5482): how long the sender will wait for an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserTimeout(u16);

impl UserTimeout {
    const MINUTES: u16 = 0x8000;
    const VALUE_MASK: u16 = 0x7fff;

    /// The option for a timeout: in seconds up to 32,767 of them, in minutes beyond, rounded up, and
    /// 32,767 minutes at most.
    pub const fn from_duration(timeout: Duration) -> Self {
        let seconds = timeout.as_secs().saturating_add((timeout.subsec_nanos() > 0) as u64);
        if seconds <= Self::VALUE_MASK as u64 {
            return Self(seconds as u16);
        }
        let minutes = seconds.div_ceil(60);
        if minutes <= Self::VALUE_MASK as u64 {
            Self(Self::MINUTES | minutes as u16)
        } else {
            Self(Self::MINUTES | Self::VALUE_MASK)
        }
    }

    /// The timeout; zero, which means nothing, is the receiver's to refuse.
    pub const fn duration(self) -> Duration {
        let value = (self.0 & Self::VALUE_MASK) as u64;
        Duration::from_secs(if self.0 & Self::MINUTES == 0 { value } else { value * 60 })
    }
}

/// Up to four ranges of sequence numbers, each from its first byte to the one behind its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SackBlocks {
    /// Those beyond `len` are zero, so that equal sets compare equal.
    blocks: [(SeqNumber, SeqNumber); Self::MAX],
    len: u8,
}

impl SackBlocks {
    /// As many as fit into a header (RFC 2018 section 3).
    pub const MAX: usize = 4;
    /// No block.
    pub const EMPTY: Self = Self { blocks: [(SeqNumber(0), SeqNumber(0)); Self::MAX], len: 0 };

    /// Adds a block behind the others; answers whether there was room for it.
    pub fn push(&mut self, left: SeqNumber, right: SeqNumber) -> bool {
        let Some(block) = self.blocks.get_mut(usize::from(self.len)) else { return false };
        *block = (left, right);
        self.len += 1;
        true
    }

    /// The blocks, in the order of the wire: the one the latest segment fell into first.
    pub fn as_slice(&self) -> &[(SeqNumber, SeqNumber)] {
        self.blocks.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Deref for SackBlocks {
    type Target = [(SeqNumber, SeqNumber)];

    fn deref(&self) -> &Self::Target {
        self.as_slice()
    }
}

/// Takes the first four, and leaves the rest.
impl FromIterator<(SeqNumber, SeqNumber)> for SackBlocks {
    fn from_iter<I: IntoIterator<Item = (SeqNumber, SeqNumber)>>(blocks: I) -> Self {
        let mut taken = Self::EMPTY;
        for (left, right) in blocks.into_iter().take(Self::MAX) {
            taken.push(left, right);
        }
        taken
    }
}

/// The order and padding in which options are written: what a peer, or a firewall on the way, may know a
/// stack by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OptionOrder {
    /// As Linux: `mss, sackOK, timestamp, nop, wscale`, all in words of four bytes.
    #[default]
    Linux,
    /// As FreeBSD: `mss, nop, wscale, sackOK, timestamp`, ended with zeros when that is not a multiple of four.
    Bsd,
}

/// The options of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpOptions {
    /// The largest segment the sender takes, in bytes of payload (on a SYN).
    pub mss: Option<u16>,
    /// The shift of the sender's window, at most 14 (on a SYN).
    pub window_scale: Option<u8>,
    /// The sender understands SACK (on a SYN).
    pub sack_permitted: bool,
    /// What the sender holds beyond the acknowledgement.
    pub sack: SackBlocks,
    /// The sender's clock and the receiver's.
    pub timestamps: Option<Timestamps>,
    /// How long the sender waits for an acknowledgement.
    pub user_timeout: Option<UserTimeout>,
}

impl TcpOptions {
    /// Bytes of options that a header can hold.
    pub const MAX_LEN: usize = 40;
    /// The largest window scale (RFC 7323 section 2.3).
    pub const MAX_WINDOW_SCALE: u8 = 14;

    /// Reads a header's option bytes: what is between the first 20 bytes and `header_len`.
    ///
    /// A kind that is not known is skipped; of one that is there twice the last counts. A window scale above
    /// 14 is read as 14 (RFC 7323 section 2.3).
    ///
    /// # Errors
    ///
    /// [`ParseError::BadOption`] when a length is below 2, beyond the bytes given, or not what its kind has.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if let [NOP, NOP, TIMESTAMPS, 10, v0, v1, v2, v3, e0, e1, e2, e3] = *bytes {
            let value = u32::from_be_bytes([v0, v1, v2, v3]);
            let echo = u32::from_be_bytes([e0, e1, e2, e3]);
            return Ok(Self { timestamps: Some(Timestamps { value, echo }), ..Self::default() });
        }
        Self::walk(bytes)
    }

    fn walk(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut options = Self::default();
        for option in Walk::new(bytes) {
            let option = option?;
            match (option.kind, option.data) {
                (MSS, &[a, b]) => options.mss = Some(u16::from_be_bytes([a, b])),
                (WINDOW_SCALE, &[shift]) => {
                    options.window_scale = Some(shift.min(Self::MAX_WINDOW_SCALE));
                }
                (SACK_PERMITTED, &[]) => options.sack_permitted = true,
                (SACK, data) => options.sack = parse_sack(data)?,
                (TIMESTAMPS, &[v0, v1, v2, v3, e0, e1, e2, e3]) => {
                    let value = u32::from_be_bytes([v0, v1, v2, v3]);
                    let echo = u32::from_be_bytes([e0, e1, e2, e3]);
                    options.timestamps = Some(Timestamps { value, echo });
                }
                (USER_TIMEOUT, &[a, b]) => {
                    options.user_timeout = Some(UserTimeout(u16::from_be_bytes([a, b])));
                }
                (MSS | WINDOW_SCALE | SACK_PERMITTED | TIMESTAMPS | USER_TIMEOUT, _) => {
                    return Err(ParseError::BadOption);
                }
                // RFC 9293 MUST-6: what is not known is ignored.
                _ => {}
            }
        }
        Ok(options)
    }

    /// How many bytes [`TcpOptions::emit`] writes: a multiple of four, at most 40.
    #[inline]
    pub fn emitted_len(&self, order: OptionOrder) -> usize {
        match self.only_timestamps() {
            Some(_) => 12,
            None => self.lay_out(order).len,
        }
    }

    /// Writes the options to the front of `out`, padded to a multiple of four bytes, and answers how many
    /// bytes that took. SACK blocks come last, and those that do not fit into 40 bytes are left out.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when `out` is shorter than [`TcpOptions::emitted_len`].
    #[inline]
    pub fn emit(&self, order: OptionOrder, out: &mut [u8]) -> Result<usize, NoRoom> {
        if let Some(Timestamps { value, echo }) = self.only_timestamps() {
            let out = crate::error::room::<12>(out)?;
            let [k0, k1, k2, k3] = ALIGNED_TIMESTAMPS;
            let [v0, v1, v2, v3] = value.to_be_bytes();
            let [e0, e1, e2, e3] = echo.to_be_bytes();
            *out = [k0, k1, k2, k3, v0, v1, v2, v3, e0, e1, e2, e3];
            return Ok(12);
        }
        let layout = self.lay_out(order);
        let no_room = NoRoom { needed: layout.len };
        out.get_mut(..layout.len).ok_or(no_room)?.copy_from_slice(layout.as_slice());
        Ok(layout.len)
    }

    /// The timestamps, when there is nothing else.
    #[inline]
    fn only_timestamps(&self) -> Option<Timestamps> {
        let others = self.mss.is_some()
            || self.window_scale.is_some()
            || self.sack_permitted
            || self.sack.len != 0
            || self.user_timeout.is_some();
        if others { None } else { self.timestamps }
    }

    fn lay_out(&self, order: OptionOrder) -> Layout {
        let mut layout = Layout::default();
        match order {
            OptionOrder::Linux => self.lay_out_like_linux(&mut layout),
            OptionOrder::Bsd => self.lay_out_like_bsd(&mut layout),
        }
        // In both orders what comes now starts where the padding of its own option says, and ends at a word.
        if let Some(UserTimeout(bits)) = self.user_timeout {
            layout.pad_to(0);
            layout.put(USER_TIMEOUT, &bits.to_be_bytes());
        }
        layout.put_sack(&self.sack);
        layout.finish();
        layout
    }

    /// Linux's `tcp_options_write`: SACK-permitted takes the place of the NOPs before the timestamps.
    fn lay_out_like_linux(&self, layout: &mut Layout) {
        if let Some(mss) = self.mss {
            layout.put(MSS, &mss.to_be_bytes());
        }
        if self.sack_permitted {
            if self.timestamps.is_none() {
                layout.pad_to(2);
            }
            layout.put(SACK_PERMITTED, &[]);
        }
        if let Some(timestamps) = self.timestamps {
            layout.put_timestamps(timestamps);
        }
        if let Some(shift) = self.window_scale {
            layout.pad_to(1);
            layout.put(WINDOW_SCALE, &[shift.min(Self::MAX_WINDOW_SCALE)]);
        }
    }

    /// FreeBSD's `tcp_addoptions`: each option is put where its fields come out aligned.
    fn lay_out_like_bsd(&self, layout: &mut Layout) {
        if let Some(mss) = self.mss {
            layout.put(MSS, &mss.to_be_bytes());
        }
        if let Some(shift) = self.window_scale {
            layout.pad_to(1);
            layout.put(WINDOW_SCALE, &[shift.min(Self::MAX_WINDOW_SCALE)]);
        }
        if self.sack_permitted {
            layout.put(SACK_PERMITTED, &[]);
        }
        if let Some(timestamps) = self.timestamps {
            layout.put_timestamps(timestamps);
        }
    }
}

/// The blocks of a SACK option's data: one to four of eight bytes.
fn parse_sack(data: &[u8]) -> Result<SackBlocks, ParseError> {
    let (blocks, rest) = data.as_chunks::<8>();
    if !rest.is_empty() || blocks.is_empty() || blocks.len() > SackBlocks::MAX {
        return Err(ParseError::BadOption);
    }
    let edges = |&[l0, l1, l2, l3, r0, r1, r2, r3]: &[u8; 8]| {
        (SeqNumber(u32::from_be_bytes([l0, l1, l2, l3])), SeqNumber(u32::from_be_bytes([r0, r1, r2, r3])))
    };
    Ok(blocks.iter().map(edges).collect())
}

/// Option bytes in the making.
struct Layout {
    bytes: [u8; TcpOptions::MAX_LEN],
    len: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Self { bytes: [END; TcpOptions::MAX_LEN], len: 0 }
    }
}

impl Layout {
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Appends bytes. All options but SACK take 28 bytes together at the most, and SACK looks for room first,
    /// so there is always room.
    fn append(&mut self, bytes: &[u8]) {
        if let Some(free) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            free.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn put(&mut self, kind: u8, data: &[u8]) {
        self.append(&[kind, data.len() as u8 + 2]);
        self.append(data);
    }

    /// Adds NOPs until the next option starts so many bytes into a word.
    fn pad_to(&mut self, position: usize) {
        while self.len % 4 != position {
            self.append(&[NOP]);
        }
    }

    /// Timestamps, so that both values are aligned.
    fn put_timestamps(&mut self, timestamps: Timestamps) {
        self.pad_to(2);
        self.append(&[TIMESTAMPS, 10]);
        self.append(&timestamps.value.to_be_bytes());
        self.append(&timestamps.echo.to_be_bytes());
    }

    /// As many blocks as there is room for.
    fn put_sack(&mut self, blocks: &SackBlocks) {
        const PADDING_AND_HEADER: usize = 4;
        let aligned = self.len.next_multiple_of(4);
        let fitting = (self.bytes.len() - aligned).saturating_sub(PADDING_AND_HEADER) / 8;
        let count = fitting.min(blocks.len());
        if count == 0 {
            return;
        }
        self.pad_to(2);
        self.append(&[SACK, 2 + 8 * count as u8]);
        for (left, right) in blocks.iter().take(count) {
            self.append(&left.0.to_be_bytes());
            self.append(&right.0.to_be_bytes());
        }
    }

    /// Ends the options at a word: the bytes behind the end of options must be zero (RFC 9293 section 3.1).
    fn finish(&mut self) {
        self.len = self.len.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests;
