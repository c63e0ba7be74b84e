//! The one walk over options, for IPv4 and TCP, which write them alike: one byte for the end (0) and for
//! nothing (1), and else a kind, a length that counts both of these bytes, and the data.
//!
//! RFC 9293 MUST-6 and MUST-7, RFC 1122 section 3.2.1.8: an option that is not known is skipped by its
//! length, and a length that is illegal (zero among them) must not stop or confuse the walk. Each step
//! takes at least one byte or ends the walk.

use crate::ParseError;

/// Ends the options; what is behind it is padding.
pub(crate) const END: u8 = 0;
/// One byte of nothing, for alignment.
pub(crate) const NOP: u8 = 1;

/// One option: its kind and its data, without kind and length. A [`NOP`] is one, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tlv<'a> {
    pub(crate) kind: u8,
    pub(crate) data: &'a [u8],
}

/// A walk over option bytes, up to the end-of-options byte, the last byte, or the first that is malformed.
#[derive(Debug, Clone)]
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Where the byte stands, counted from the front of the bytes, that makes an option malformed: its length, or its kind
    /// where no length is there.
    pub(crate) fn malformed(bytes: &'a [u8]) -> Option<usize> {
        let mut walk = Self::new(bytes);
        loop {
            let before = walk.rest;
            if walk.next()?.is_err() {
                return Some(bytes.len() - before.len() + usize::from(before.len() > 1));
            }
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<Tlv<'a>, ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match *self.rest {
            [] => None,
            [END, ..] => {
                self.rest = &[];
                None
            }
            [NOP, ref rest @ ..] => {
                self.rest = rest;
                Some(Ok(Tlv { kind: NOP, data: &[] }))
            }
            [kind, len, ref behind @ ..] if len >= 2 => match behind.split_at_checked(usize::from(len) - 2) {
                Some((data, rest)) => {
                    self.rest = rest;
                    Some(Ok(Tlv { kind, data }))
                }
                None => {
                    self.rest = &[];
                    Some(Err(ParseError::BadOption))
                }
            },
            _ => {
                self.rest = &[];
                Some(Err(ParseError::BadOption))
            }
        }
    }
}

impl core::iter::FusedIterator for Walk<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many steps the walk takes, and whether it ends with an error.
    fn steps(bytes: &[u8]) -> (usize, bool) {
        let mut steps = 0;
        let mut failed = false;
        for step in Walk::new(bytes) {
            assert!(!failed, "a step behind the malformed option");
            steps += 1;
            failed = step.is_err();
        }
        (steps, failed)
    }

    #[test]
    fn no_kind_and_length_makes_the_walk_longer_than_its_bytes() {
        for filler in [0, NOP, 2, 255] {
            for kind in 0..=255 {
                for length in 0..=255 {
                    for room in [2, 3, 10, 40, 255] {
                        let mut bytes = [filler; 255];
                        (bytes[0], bytes[1]) = (kind, length);
                        let (steps, _) = steps(&bytes[..room]);
                        assert!(steps <= room, "kind {kind}, length {length}, {room} bytes: {steps} steps");
                    }
                }
            }
        }
    }

    #[test]
    fn a_length_below_two_or_beyond_the_bytes_ends_the_walk() {
        assert_eq!(steps(&[NOP, 9, 0, NOP]), (2, true));
        assert_eq!(steps(&[NOP, 9, 1, NOP]), (2, true));
        assert_eq!(steps(&[9, 5, 0, 0]), (1, true));
        assert_eq!(steps(&[NOP, NOP, 9]), (3, true));
        assert_eq!(steps(&[9, 4, 0, 0]), (1, false));
    }

    #[test]
    fn the_byte_that_makes_an_option_malformed_is_its_length_if_it_has_one() {
        assert_eq!(Walk::malformed(&[NOP, 9, 0, NOP]), Some(2));
        assert_eq!(Walk::malformed(&[9, 3, 0, 8, 1]), Some(4));
        assert_eq!(Walk::malformed(&[9, 5, 0, 0]), Some(1));
        assert_eq!(Walk::malformed(&[NOP, NOP, 9]), Some(2));
        for right in [&[][..], &[9, 4, 0, 0], &[NOP, END, 9, 0], &[NOP; 40]] {
            assert_eq!(Walk::malformed(right), None, "{right:?}");
        }
    }

    #[test]
    fn what_is_behind_the_end_is_not_read() {
        assert_eq!(steps(&[NOP, END, 9, 0]), (1, false));
        assert_eq!(steps(&[]), (0, false));
    }
}
