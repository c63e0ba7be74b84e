//! What applications say: bytes that look like noise, any of which can be made again from the seed and its position.

/// One direction of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    seed: u64,
}

impl Content {
    /// What the client says, or the server.
    pub fn new(seed: u32, upwards: bool) -> Self {
        Self { seed: u64::from(seed) << 1 | u64::from(upwards) }
    }

    /// Eight bytes from a position that is a multiple of eight.
    fn word(self, position: u64) -> [u8; 8] {
        // The finaliser of SplitMix64.
        let mut word = (self.seed << 40).wrapping_add(position / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31).to_le_bytes()
    }

    /// The bytes from a position on.
    pub fn fill(self, mut position: u64, mut into: &mut [u8]) {
        while !into.is_empty() {
            let skipped = (position % 8) as usize;
            let word = self.word(position - skipped as u64);
            let len = into.len().min(8 - skipped);
            into[..len].copy_from_slice(&word[skipped..skipped + len]);
            into = &mut into[len..];
            position += len as u64;
        }
    }

    /// The first byte that is not as it was sent, of those that were received from a position on.
    pub fn first_difference(self, position: u64, received: &[u8]) -> Option<u64> {
        let mut expected = vec![0; received.len()];
        self.fill(position, &mut expected);
        if expected == received {
            return None;
        }
        let at = expected.iter().zip(received).position(|(expected, received)| expected != received)?;
        Some(position + at as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_as_in_the_whole_and_another_byte_is_seen() {
        let content = Content::new(7, true);
        let mut whole = vec![0; 100];
        content.fill(0, &mut whole);
        let mut part = vec![0; 50];
        content.fill(13, &mut part);
        assert_eq!(part, whole[13..63]);
        assert_eq!(content.first_difference(13, &part), None);
        part[20] ^= 1;
        assert_eq!(content.first_difference(13, &part), Some(33));
        let mut other = vec![0; 100];
        Content::new(7, false).fill(0, &mut other);
        assert_ne!(whole, other);
    }
}
