//! TCP's control bits (RFC 9293 section 3.1, RFC 3168 for ECE and CWR, RFC 9768 for AE).

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

/// A set of control bits, as they stand in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u16);

impl TcpFlags {
    /// No bit.
    pub const NONE: Self = Self(0);
    /// The sender has no more data.
    pub const FIN: Self = Self(0x001);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x002);
    /// Reset the connection.
    pub const RST: Self = Self(0x004);
    /// Give the data to the application without waiting for more.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x020);
    /// Congestion was seen (ECN echo).
    pub const ECE: Self = Self(0x040);
    /// The congestion window was reduced.
    pub const CWR: Self = Self(0x080);
    /// Accurate ECN; once the nonce sum.
    pub const AE: Self = Self(0x100);
    /// Every bit that has a meaning; the other bits of the field are reserved.
    pub const ALL: Self = Self(0x1ff);

    /// Whether every bit of `other` is in `self`.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is in `self`.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of `self` or of `other`: `|` for constants.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits of `self` without those of `other`.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for TcpFlags {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

/// The way tcpdump writes them: `S`, `S.`, `P.`, `F.`, `R`; `none` for the empty set.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: [(TcpFlags, char); 9] = [
            (TcpFlags::FIN, 'F'),
            (TcpFlags::SYN, 'S'),
            (TcpFlags::RST, 'R'),
            (TcpFlags::PSH, 'P'),
            (TcpFlags::ACK, '.'),
            (TcpFlags::URG, 'U'),
            (TcpFlags::ECE, 'E'),
            (TcpFlags::CWR, 'W'),
            (TcpFlags::AE, 'e'),
        ];
        if !self.intersects(Self::ALL) {
            return f.write_str("none");
        }
        LETTERS
            .iter()
            .filter(|(flag, _)| self.contains(*flag))
            .try_for_each(|(_, letter)| fmt::Write::write_char(f, *letter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_read_as_tcpdump_writes_them() {
        assert_eq!(TcpFlags::NONE.to_string(), "none");
        assert_eq!(TcpFlags::SYN.to_string(), "S");
        assert_eq!((TcpFlags::ACK | TcpFlags::SYN).to_string(), "S.");
        assert_eq!((TcpFlags::ACK | TcpFlags::PSH | TcpFlags::FIN).to_string(), "FP.");
        assert_eq!((TcpFlags::SYN | TcpFlags::ECE | TcpFlags::CWR).to_string(), "SEW");
    }

    #[test]
    fn containing_asks_for_all_and_intersecting_for_any() {
        let flags = TcpFlags::SYN | TcpFlags::ACK;
        assert!(flags.contains(TcpFlags::SYN) && flags.contains(flags));
        assert!(!TcpFlags::SYN.contains(flags) && TcpFlags::SYN.intersects(flags));
        assert!(!flags.intersects(TcpFlags::FIN | TcpFlags::RST));
        assert_eq!(flags.without(TcpFlags::SYN), TcpFlags::ACK);
    }
}
