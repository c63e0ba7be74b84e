//! Disjoint ranges of positions in a byte stream, found and merged in logarithmic time.

use std::collections::BTreeMap;

/// Disjoint, non-adjacent ranges `start..end`, with a cap on how many.
#[derive(Clone, Debug, Default)]
pub(crate) struct RangeSet {
    ranges: BTreeMap<u64, u64>,
    bytes: u64,
}

impl RangeSet {
    /// Ranges at most (CVE-2019-11478).
    pub(crate) const MAX_RANGES: usize = 256;

    /// Adds a range, merged with those it touches. False, and nothing added, if it would be one too many, or is
    /// empty.
    pub(crate) fn insert(&mut self, start: u64, end: u64) -> bool {
        if start >= end {
            return false;
        }
        let mut merged = (start, end);
        let before = self.ranges.range(..=start).next_back().map(|(&from, &to)| (from, to));
        if let Some((from, to)) = before.filter(|(_, to)| *to >= start) {
            if to >= end {
                return true;
            }
            merged.0 = from;
        } else if self.ranges.len() >= Self::MAX_RANGES && self.ranges.range(start..=end).next().is_none() {
            return false;
        }
        while let Some((&from, &to)) = self.ranges.range(merged.0..=merged.1).next() {
            merged.1 = merged.1.max(to);
            self.bytes -= to - from;
            self.ranges.remove(&from);
        }
        self.bytes += merged.1 - merged.0;
        self.ranges.insert(merged.0, merged.1);
        true
    }

    /// Forgets everything below a position.
    pub(crate) fn trim_below(&mut self, position: u64) {
        while let Some((&from, &to)) = self.ranges.first_key_value() {
            if from >= position {
                return;
            }
            self.ranges.remove(&from);
            self.bytes -= to - from;
            if to > position {
                self.ranges.insert(position, to);
                self.bytes += to - position;
            }
        }
    }

    /// Forgets everything from a position on.
    pub(crate) fn trim_above(&mut self, position: u64) {
        while let Some((&from, &to)) = self.ranges.last_key_value() {
            if to <= position {
                return;
            }
            self.ranges.remove(&from);
            self.bytes -= to - from;
            if from < position {
                self.ranges.insert(from, position);
                self.bytes += position - from;
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.ranges.clear();
        self.bytes = 0;
    }

    /// How many ranges there are.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Bytes in all ranges.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The ranges in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> {
        self.ranges.iter().map(|(&from, &to)| (from, to))
    }

    /// The lowest range.
    pub(crate) fn first(&self) -> Option<(u64, u64)> {
        self.ranges.first_key_value().map(|(&from, &to)| (from, to))
    }

    /// The range a position lies in.
    pub(crate) fn containing(&self, position: u64) -> Option<(u64, u64)> {
        let (&from, &to) = self.ranges.range(..=position).next_back()?;
        (position < to).then_some((from, to))
    }

    /// The first gap at or above `from`: up to the next range, or to `limit`.
    pub(crate) fn gap(&self, from: u64, limit: u64) -> Option<(u64, u64)> {
        let start = self.containing(from).map_or(from, |(_, to)| to);
        let end = self.ranges.range(start..).next().map_or(limit, |(&next, _)| next.min(limit));
        (start < end).then_some((start, end))
    }

    /// Bytes of the ranges that lie in `from..to`.
    pub(crate) fn bytes_within(&self, from: u64, to: u64) -> u64 {
        if self.ranges.is_empty() || from >= to {
            return 0;
        }
        let first = self.containing(from).map_or(0, |(_, end)| end.min(to) - from);
        let rest = self.ranges.range(from + 1..to).map(|(&start, &end)| end.min(to) - start);
        first + rest.sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_what_a_bitmap_says(inserts in prop::collection::vec((0_u64..200, 1_u64..30), 1..60), cut in 0_u64..250, top in 0_u64..256) {
            let mut set = RangeSet::default();
            let mut bits = [false; 256];
            for (start, len) in inserts {
                prop_assert!(set.insert(start, start + len));
                bits[start as usize..(start + len) as usize].fill(true);
            }
            set.trim_below(cut);
            bits[..cut as usize].fill(false);
            set.trim_above(top);
            bits[top as usize..].fill(false);
            prop_assert_eq!(set.bytes(), bits.iter().filter(|bit| **bit).count() as u64);
            for (at, bit) in bits.iter().enumerate() {
                prop_assert_eq!(set.containing(at as u64).is_some(), *bit);
                let within = bits[at..].iter().take(17).filter(|bit| **bit).count() as u64;
                prop_assert_eq!(set.bytes_within(at as u64, at as u64 + 17), within);
                let gap = bits[at..].iter().position(|bit| !*bit).map(|skip| (at + skip) as u64);
                prop_assert_eq!(set.gap(at as u64, 256).map(|(start, _)| start), gap);
            }
            for pair in set.iter().collect::<Vec<_>>().windows(2) {
                prop_assert!(pair[0].1 < pair[1].0);
            }
        }
    }

    #[test]
    fn there_are_no_more_ranges_than_the_cap() {
        let mut set = RangeSet::default();
        let added = (0..1_000).filter(|range| set.insert(range * 10, range * 10 + 1)).count();
        assert_eq!(added, RangeSet::MAX_RANGES);
        assert!(set.insert(1, 10), "one that merges is no further range");
    }
}
