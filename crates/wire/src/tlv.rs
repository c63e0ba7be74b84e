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
