//! What of a stream has reached a host, seen from outside.

use std::collections::BTreeMap;

use sunstar_wire::tcp::SeqNumber;

/// Ranges of sequence numbers, counted from the SYN.
#[derive(Clone, Debug)]
pub(super) struct Received {
    first: SeqNumber,
    /// Disjoint, and not touching each other: where each ends, by where it starts.
    ranges: BTreeMap<u32, u32>,
}

impl Received {
    pub(super) fn new(first: SeqNumber) -> Self {
        Self { first, ranges: BTreeMap::new() }
    }

    /// A segment has brought this.
    pub(super) fn insert(&mut self, start: SeqNumber, end: SeqNumber) {
        if !end.after(self.first) {
            return;
        }
        // What begins ahead of the SYN may still reach behind it.
        let (mut start, mut end) = (start.max(self.first) - self.first, end - self.first);
        while let Some((from, to)) = self.ranges.range(..=end).next_back().map(|(from, to)| (*from, *to)) {
            if to < start {
                break;
            }
            self.ranges.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.ranges.insert(start, end);
    }

    /// Everything up to there has come, from the SYN on.
    pub(super) fn contiguous(&self) -> SeqNumber {
        let end = self.ranges.first_key_value().filter(|(start, _)| **start == 0).map_or(0, |(_, end)| *end);
        self.first + end
    }

    /// Whether all of a range has come.
    pub(super) fn contains(&self, start: SeqNumber, end: SeqNumber) -> bool {
        let (start, end) = (start - self.first, end - self.first);
        self.ranges.range(..=start).next_back().is_some_and(|(_, to)| end <= *to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_one_when_nothing_is_between_them() {
        let at = |offset: u32| SeqNumber(0xffff_fff0) + offset;
        let mut received = Received::new(at(0));
        received.insert(at(0), at(1));
        received.insert(at(11), at(21));
        assert_eq!(received.contiguous(), at(1));
        assert!(received.contains(at(11), at(21)) && !received.contains(at(5), at(12)));
        received.insert(at(1), at(12));
        assert_eq!(received.contiguous(), at(21));
        received.insert(SeqNumber(0xffff_ff00), at(0));
        received.insert(SeqNumber(0xffff_ff00), at(22));
        assert_eq!(received.contiguous(), at(22));
        received.insert(at(31), at(41));
        received.insert(at(0), at(50));
        assert_eq!(received.contiguous(), at(50));
        assert_eq!(received.ranges.len(), 1);
    }
}
