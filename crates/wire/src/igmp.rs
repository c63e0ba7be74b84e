//! IGMP, by which a host tells the routers of its link which groups it receives: version 1 (RFC 1112 appendix I),
//! version 2 (RFC 2236) and version 3 (RFC 3376 section 4).
//!
//! The IP packet that carries a message has a TTL of 1 and, from version 2 on, a
//! [router alert](crate::ipv4::Ipv4Option::ROUTER_ALERT_BYTES).

use core::iter::FusedIterator;
use core::net::Ipv4Addr;

use crate::error::{prefix, room};
use crate::{NoRoom, ParseError};

/// A number of tenths of seconds (Max Resp Code) or of seconds (QQIC) in one byte: below 128 as it is, from there on
/// with a mantissa of 4 bits and an exponent of 3 (RFC 3376 sections 4.1.1 and 4.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeCode(pub u8);

impl TimeCode {
    /// The largest number that has a code.
    pub const MAX_VALUE: u16 = 0x1f << 10;

    /// What the code stands for.
    pub const fn value(self) -> u16 {
        let code = self.0 as u16;
        if code < 128 { code } else { (code & 0x0f | 0x10) << ((code >> 4 & 0x07) + 3) }
    }

    /// The code of the largest number that is no larger than `value`.
    pub const fn of(value: u16) -> Self {
        if value < 128 {
            return Self(value as u8);
        }
        if value >= Self::MAX_VALUE {
            return Self(0xff);
        }
        let highest = value.ilog2();
        Self(0x80 | ((highest - 7) as u8) << 4 | (value >> (highest - 4)) as u8 & 0x0f)
    }
}

/// The fixed part of a version 3 query; its sources follow, see [`IgmpMessage::sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueryV3 {
    /// Within how many tenths of a second hosts answer.
    pub max_response: TimeCode,
    /// The group asked about; 0.0.0.0 for all.
    pub group: Ipv4Addr,
    /// Routers that hear the query do not start their timers (the S flag).
    pub suppress: bool,
    /// The querier's robustness variable (QRV), 3 bits; 0 when it is more than 7.
    pub robustness: u8,
    /// How many seconds pass between the querier's general queries (QQIC).
    pub interval: TimeCode,
    /// How many sources follow.
    pub sources: u16,
}

/// The header of an IGMP message. All but those of version 3 consist of nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IgmpMessage {
    /// Who receives the group, or any? Of version 1 or 2 (0x11, 8 bytes).
    Query {
        /// Within how many tenths of a second hosts answer; 0 in version 1, which knows 10 seconds only.
        max_response: u8,
        /// The group asked about; 0.0.0.0 for all, and always so in version 1.
        group: Ipv4Addr,
    },
    /// The same of version 3 (0x11, 12 bytes and more).
    QueryV3(QueryV3),
    /// I receive the group (0x12, RFC 1112).
    ReportV1 {
        /// The group.
        group: Ipv4Addr,
    },
    /// I receive the group (0x16, RFC 2236).
    ReportV2 {
        /// The group.
        group: Ipv4Addr,
    },
    /// I no longer receive the group (0x17, RFC 2236).
    Leave {
        /// The group.
        group: Ipv4Addr,
    },
    /// What I receive (0x22, RFC 3376); the records follow, see [`IgmpMessage::records`].
    ReportV3 {
        /// How many records follow.
        records: u16,
    },
    /// Any other message, as it stands.
    Other {
        /// The type.
        kind: u8,
        /// Byte 1.
        code: u8,
        /// Bytes 4 to 7.
        rest: [u8; 4],
    },
}

impl IgmpMessage {
    /// Bytes of every header but a version 3 query's.
    pub const LEN: usize = 8;
    /// Bytes of a version 3 query's header.
    pub const QUERY_V3_LEN: usize = 12;
    /// Where the checksum stands, in bytes from the start of the message.
    pub const CHECKSUM_OFFSET: usize = 2;

    const QUERY: u8 = 0x11;
    const REPORT_V1: u8 = 0x12;
    const REPORT_V2: u8 = 0x16;
    const LEAVE: u8 = 0x17;
    const REPORT_V3: u8 = 0x22;

    /// Reads the header of a message. Versions of queries differ in the length (RFC 3376 section 7.1), so `message`
    /// has to end where the IP packet does, unless it ends in further pieces of the packet behind its first 12
    /// bytes. That the sources or records are all there, and the checksum, which covers all of the message, is
    /// right, is for the caller to see.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] below 8 bytes, [`ParseError::BadLength`] when a query has more than 8 bytes and
    /// less than 12.
    pub fn parse(message: &[u8]) -> Result<Self, ParseError> {
        let [kind, code, _, _, r0, r1, r2, r3] = *prefix::<{ Self::LEN }>(message)?;
        let group = Ipv4Addr::new(r0, r1, r2, r3);
        Ok(match kind {
            Self::QUERY if message.len() == Self::LEN => Self::Query { max_response: code, group },
            Self::QUERY => {
                let behind = message.get(Self::LEN..).unwrap_or_default();
                let [flags, interval, s0, s1] = *behind.first_chunk().ok_or(ParseError::BadLength)?;
                Self::QueryV3(QueryV3 {
                    max_response: TimeCode(code),
                    group,
                    suppress: flags & 0x08 != 0,
                    robustness: flags & 0x07,
                    interval: TimeCode(interval),
                    sources: u16::from_be_bytes([s0, s1]),
                })
            }
            Self::REPORT_V1 => Self::ReportV1 { group },
            Self::REPORT_V2 => Self::ReportV2 { group },
            Self::LEAVE => Self::Leave { group },
            Self::REPORT_V3 => Self::ReportV3 { records: u16::from_be_bytes([r2, r3]) },
            _ => Self::Other { kind, code, rest: [r0, r1, r2, r3] },
        })
    }

    /// Writes the header's 8 bytes, or 12 of a version 3 query, with a checksum of zero, to the front of `out`. The
    /// checksum goes to [`IgmpMessage::CHECKSUM_OFFSET`] when the rest of the message is there, too. Of a robustness
    /// the low 3 bits count.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when `out` is shorter.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let (kind, code, [r0, r1, r2, r3]) = match *self {
            Self::Query { max_response, group } => (Self::QUERY, max_response, group.octets()),
            Self::QueryV3(query) => return query.emit(out),
            Self::ReportV1 { group } => (Self::REPORT_V1, 0, group.octets()),
            Self::ReportV2 { group } => (Self::REPORT_V2, 0, group.octets()),
            Self::Leave { group } => (Self::LEAVE, 0, group.octets()),
            Self::ReportV3 { records } => (Self::REPORT_V3, 0, u32::from(records).to_be_bytes()),
            Self::Other { kind, code, rest } => (kind, code, rest),
        };
        *room::<{ Self::LEN }>(out)? = [kind, code, 0, 0, r0, r1, r2, r3];
        Ok(Self::LEN)
    }

    /// The sources of a version 3 query, as far as they are in `message`; none of any other message.
    pub fn sources(message: &[u8]) -> Sources<'_> {
        match Self::parse(message) {
            Ok(Self::QueryV3(query)) => {
                let behind = message.get(Self::QUERY_V3_LEN..).unwrap_or_default();
                Sources::up_to(behind, query.sources)
            }
            _ => Sources::default(),
        }
    }

    /// The records of a version 3 report, up to the first that is not in `message` as a whole; none of any other
    /// message.
    pub fn records(message: &[u8]) -> GroupRecords<'_> {
        match Self::parse(message) {
            Ok(Self::ReportV3 { records }) => {
                GroupRecords { rest: message.get(Self::LEN..).unwrap_or_default(), left: records }
            }
            _ => GroupRecords { rest: &[], left: 0 },
        }
    }
}

impl QueryV3 {
    fn emit(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let [g0, g1, g2, g3] = self.group.octets();
        let [s0, s1] = self.sources.to_be_bytes();
        let flags = u8::from(self.suppress) << 3 | self.robustness & 0x07;
        #[rustfmt::skip]
        let bytes = [
            IgmpMessage::QUERY, self.max_response.0, 0, 0, g0, g1, g2, g3, flags, self.interval.0, s0, s1,
        ];
        *room::<{ IgmpMessage::QUERY_V3_LEN }>(out)? = bytes;
        Ok(IgmpMessage::QUERY_V3_LEN)
    }
}

/// What a record of a version 3 report says of its group (RFC 3376 section 4.2.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// I receive what the listed sources send (1, an answer to a query).
    ModeIsInclude,
    /// I receive what all but the listed sources send (2, an answer to a query).
    ModeIsExclude,
    /// The same as 1, and before it was the other (3).
    ChangeToInclude,
    /// The same as 2, and before it was the other (4).
    ChangeToExclude,
    /// I receive what these send, too (5).
    AllowNewSources,
    /// I no longer receive what these send (6).
    BlockOldSources,
    /// A kind without a name, by its number. Receivers ignore the record (section 4.2.12).
    Other(u8),
}

impl From<u8> for RecordKind {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::ModeIsInclude,
            2 => Self::ModeIsExclude,
            3 => Self::ChangeToInclude,
            4 => Self::ChangeToExclude,
            5 => Self::AllowNewSources,
            6 => Self::BlockOldSources,
            other => Self::Other(other),
        }
    }
}

impl From<RecordKind> for u8 {
    fn from(kind: RecordKind) -> Self {
        match kind {
            RecordKind::ModeIsInclude => 1,
            RecordKind::ModeIsExclude => 2,
            RecordKind::ChangeToInclude => 3,
            RecordKind::ChangeToExclude => 4,
            RecordKind::AllowNewSources => 5,
            RecordKind::BlockOldSources => 6,
            RecordKind::Other(number) => number,
        }
    }
}

/// The fixed part of a version 3 report's record; its sources follow, and behind them auxiliary data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupRecord {
    /// What it says.
    pub kind: RecordKind,
    /// Words of four bytes of auxiliary data, of which version 3 defines none (RFC 3376 section 4.2.6).
    pub auxiliary: u8,
    /// How many sources follow.
    pub sources: u16,
    /// The group it is about.
    pub group: Ipv4Addr,
}

impl GroupRecord {
    /// Bytes of a record without its sources.
    pub const LEN: usize = 8;

    /// Reads the fixed part at the front of `bytes`.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] below 8 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let [kind, auxiliary, s0, s1, g0, g1, g2, g3] = *prefix::<{ Self::LEN }>(bytes)?;
        let (sources, group) = (u16::from_be_bytes([s0, s1]), Ipv4Addr::new(g0, g1, g2, g3));
        Ok(Self { kind: kind.into(), auxiliary, sources, group })
    }

    /// Writes the 8 bytes of the fixed part to the front of `out`.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when `out` is shorter.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let [s0, s1] = self.sources.to_be_bytes();
        let [g0, g1, g2, g3] = self.group.octets();
        *room::<{ Self::LEN }>(out)? = [self.kind.into(), self.auxiliary, s0, s1, g0, g1, g2, g3];
        Ok(Self::LEN)
    }
}

/// Writes the addresses of sources, as they follow a version 3 query or a record, to the front of `out`.
///
/// # Errors
///
/// [`NoRoom`] when `out` is shorter.
pub fn emit_sources(sources: &[Ipv4Addr], out: &mut [u8]) -> Result<usize, NoRoom> {
    let needed = sources.len().saturating_mul(4);
    let out = out.get_mut(..needed).ok_or(NoRoom { needed })?;
    for (place, source) in out.as_chunks_mut().0.iter_mut().zip(sources) {
        *place = source.octets();
    }
    Ok(needed)
}

/// The addresses of sources, in the order of the wire.
#[derive(Debug, Clone, Default)]
pub struct Sources<'a> {
    addresses: core::slice::Iter<'a, [u8; 4]>,
}

impl<'a> Sources<'a> {
    /// The first `count` addresses of those in `bytes`.
    fn up_to(bytes: &'a [u8], count: u16) -> Self {
        let addresses = bytes.as_chunks().0;
        let addresses = addresses.get(..count.into()).unwrap_or(addresses);
        Self { addresses: addresses.iter() }
    }
}

impl Iterator for Sources<'_> {
    type Item = Ipv4Addr;

    fn next(&mut self) -> Option<Ipv4Addr> {
        self.addresses.next().map(|octets| Ipv4Addr::from(*octets))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.addresses.size_hint()
    }
}

impl ExactSizeIterator for Sources<'_> {}

impl FusedIterator for Sources<'_> {}

/// The walk over a version 3 report's records that [`IgmpMessage::records`] gives. A record that ends behind the
/// message comes out as [`ParseError::Truncated`] and ends the walk.
#[derive(Debug, Clone)]
pub struct GroupRecords<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> GroupRecords<'a> {
    fn step(&mut self) -> Result<(GroupRecord, Sources<'a>), ParseError> {
        let record = GroupRecord::parse(self.rest)?;
        let behind = self.rest.get(GroupRecord::LEN..).unwrap_or_default();
        let words = usize::from(record.sources) + usize::from(record.auxiliary);
        self.rest = behind.get(words * 4..).ok_or(ParseError::Truncated)?;
        self.left -= 1;
        Ok((record, Sources::up_to(behind, record.sources)))
    }
}

impl<'a> Iterator for GroupRecords<'a> {
    type Item = Result<(GroupRecord, Sources<'a>), ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        Some(self.step().inspect_err(|_| self.left = 0))
    }
}

impl FusedIterator for GroupRecords<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_code_is_its_number_below_128_and_floats_above() {
        for (code, value) in [(0, 0), (1, 1), (127, 127), (0x80, 128), (0x81, 136), (0x8f, 248), (0x90, 256)]
        {
            assert_eq!(TimeCode(code).value(), value, "code {code:#x}");
        }
        assert_eq!(TimeCode(0xff).value(), TimeCode::MAX_VALUE);
    }

    #[test]
    fn the_code_of_a_number_is_of_the_largest_that_is_no_larger() {
        for value in 0..=u16::MAX {
            let code = TimeCode::of(value);
            assert!(code.value() <= value, "{value}");
            let next = code.0.checked_add(1).map(|next| TimeCode(next).value());
            assert!(next.is_none_or(|next| next > value), "{value}");
        }
    }
}
