//! Which bytes of a file are asked for (RFC 9110 section 14).

/// What a `Range` header asks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it: there is no range, or none that is understood (RFC 9110 section 14.2 has it ignored then).
    Whole,
    /// From the first of these offsets to the last, both inclusive.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
    },
    /// Nothing that is there (RFC 9110 section 15.5.17).
    Unsatisfiable,
}

impl Selection {
    /// Reads a `Range` header's value for a file of `len` bytes. Several ranges at once are answered with all of
    /// the file, as RFC 9110 section 14.2 allows.
    pub(super) fn parse(value: &str, len: u64) -> Self {
        let Some((unit, set)) = value.split_once('=') else { return Self::Whole };
        let Some((first, last)) = set.trim().split_once('-') else { return Self::Whole };
        if !unit.eq_ignore_ascii_case("bytes") {
            return Self::Whole;
        }
        match (Bound::parse(first), Bound::parse(last)) {
            (Bound::At(first), Bound::At(last)) if first > last => Self::Whole,
            (Bound::At(first), Bound::At(_) | Bound::Open) if first >= len => Self::Unsatisfiable,
            (Bound::At(first), Bound::At(last)) => Self::Part { first, last: last.min(len - 1) },
            (Bound::At(first), Bound::Open) => Self::Part { first, last: len - 1 },
            (Bound::Open, Bound::At(suffix)) if suffix == 0 || len == 0 => Self::Unsatisfiable,
            (Bound::Open, Bound::At(suffix)) => {
                Self::Part { first: len.saturating_sub(suffix), last: len - 1 }
            }
            _ => Self::Whole,
        }
    }
}

enum Bound {
    Open,
    At(u64),
    Wrong,
}

impl Bound {
    fn parse(text: &str) -> Self {
        if text.is_empty() {
            Self::Open
        } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
            // More digits than any file has bytes.
            Self::At(text.parse().unwrap_or(u64::MAX))
        } else {
            Self::Wrong
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Selection::{self, Part, Unsatisfiable, Whole};

    #[test]
    fn a_range_is_cut_to_the_file() {
        for (value, expected) in [
            ("bytes=0-0", Part { first: 0, last: 0 }),
            ("bytes=2-5", Part { first: 2, last: 5 }),
            ("bytes=2-", Part { first: 2, last: 9 }),
            ("bytes=2-99999999999999999999999", Part { first: 2, last: 9 }),
            ("bytes=-3", Part { first: 7, last: 9 }),
            ("bytes=-99", Part { first: 0, last: 9 }),
            ("BYTES=9-9", Part { first: 9, last: 9 }),
        ] {
            assert_eq!(Selection::parse(value, 10), expected, "{value}");
        }
    }

    #[test]
    fn what_lies_behind_the_end_cannot_be_had() {
        for value in ["bytes=10-", "bytes=10-11", "bytes=99999999999999999999999-", "bytes=-0"] {
            assert_eq!(Selection::parse(value, 10), Unsatisfiable, "{value}");
        }
    }

    #[test]
    fn an_empty_file_has_no_range() {
        for value in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(Selection::parse(value, 0), Unsatisfiable, "{value}");
        }
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            "lines=1-2",
            "bytes=0-1,3-4",
            "bytes=+1-2",
        ] {
            assert_eq!(Selection::parse(value, 10), Whole, "{value}");
        }
    }
}
