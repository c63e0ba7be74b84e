//! Sequence numbers, which wrap (RFC 9293 section 3.4).

use core::fmt;
use core::ops::{Add, AddAssign, Sub, SubAssign};

/// A place in a TCP byte stream, modulo 2^32.
///
/// There is no `PartialOrd`: "before" is only meant between two numbers less than 2^31 apart, is not
/// transitive, and so is no order. All arithmetic wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNumber(pub u32);

impl SeqNumber {
    /// Whether `self` comes before `other`: one to 2^31 steps forward lead there. Two numbers just 2^31 apart, as
    /// no window ever has them, are each before the other.
    #[inline]
    pub const fn before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether `self` comes after `other`.
    #[inline]
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// Whether `self` is `other` or comes before it.
    #[inline]
    pub const fn at_or_before(self, other: Self) -> bool {
        self.0 == other.0 || self.before(other)
    }

    /// Whether `self` is `other` or comes after it.
    #[inline]
    pub const fn at_or_after(self, other: Self) -> bool {
        other.at_or_before(self)
    }

    /// The later of the two.
    #[inline]
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    /// The earlier of the two.
    #[inline]
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if other.before(self) { other } else { self }
    }
}

impl Add<u32> for SeqNumber {
    type Output = Self;

    #[inline]
    fn add(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

impl AddAssign<u32> for SeqNumber {
    #[inline]
    fn add_assign(&mut self, bytes: u32) {
        *self = *self + bytes;
    }
}

impl Sub<u32> for SeqNumber {
    type Output = Self;

    #[inline]
    fn sub(self, bytes: u32) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }
}

impl SubAssign<u32> for SeqNumber {
    #[inline]
    fn sub_assign(&mut self, bytes: u32) {
        *self = *self - bytes;
    }
}

/// How many bytes it takes to get from `start` forward to `self`. A huge distance means that `self` comes
/// before `start`.
impl Sub for SeqNumber {
    type Output = u32;

    #[inline]
    fn sub(self, start: Self) -> u32 {
        self.0.wrapping_sub(start.0)
    }
}

impl fmt::Display for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: SeqNumber = SeqNumber(u32::MAX);

    #[test]
    fn numbers_go_on_behind_the_wrap() {
        let mut number = LAST + 1;
        assert_eq!(number, SeqNumber(0));
        number += u32::MAX;
        assert_eq!(number, LAST);
        number -= u32::MAX;
        assert_eq!(number - 1, LAST);
        assert_eq!(SeqNumber(5) - LAST, 6);
        assert_eq!(LAST - SeqNumber(5), u32::MAX - 5);
    }

    #[test]
    fn before_and_after_look_across_the_wrap() {
        for (earlier, later) in [(LAST, SeqNumber(0)), (SeqNumber(1), SeqNumber(2)), (LAST - 9, SeqNumber(9))]
        {
            assert!(earlier.before(later) && !later.before(earlier));
            assert!(later.after(earlier) && !earlier.after(later));
            assert!(earlier.at_or_before(later) && !later.at_or_before(earlier));
            assert!(later.at_or_after(earlier) && !earlier.at_or_after(later));
            assert_eq!((earlier.max(later), later.max(earlier)), (later, later));
            assert_eq!((earlier.min(later), later.min(earlier)), (earlier, earlier));
        }
    }

    #[test]
    fn a_number_is_at_itself_and_neither_before_nor_after() {
        for number in [SeqNumber(0), LAST, SeqNumber(1 << 31)] {
            assert!(!number.before(number) && !number.after(number));
            assert!(number.at_or_before(number) && number.at_or_after(number));
        }
    }

    #[test]
    fn the_window_of_before_ends_at_half_the_space() {
        for start in [SeqNumber(0), LAST, SeqNumber(0x7fff_ffff), SeqNumber(0x1234_5678)] {
            let farthest = start + 0x7fff_ffff;
            assert!(start.before(farthest) && !farthest.before(start));
            assert!(!start.before(farthest + 2) && (farthest + 2).before(start));
        }
    }
}
