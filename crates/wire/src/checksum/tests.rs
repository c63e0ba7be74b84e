//! The kernels against a sum done byte by byte, the arithmetic against the RFCs' own numbers.

use core::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// The sum as RFC 1071 section 1 defines it, built up one byte at a time.
#[derive(Default)]
struct Reference {
    sum: u32,
    bytes: usize,
}

impl Reference {
    fn add(&mut self, byte: u8) {
        let place = if self.bytes.is_multiple_of(2) { 8 } else { 0 };
        self.sum += u32::from(byte) << place;
        self.sum = (self.sum & 0xffff) + (self.sum >> 16);
        self.bytes += 1;
    }

    fn of(bytes: &[u8]) -> u16 {
        let mut reference = Self::default();
        bytes.iter().for_each(|byte| reference.add(*byte));
        reference.folded()
    }

    fn folded(&self) -> u16 {
        self.sum as u16
    }
}

/// Bytes without a pattern that could hide a mistake in the order of words.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    core::iter::repeat_with(next).take(len).collect()
}

/// Every kernel this CPU can run, on the same bytes.
fn every_kernel(bytes: &[u8]) -> impl Iterator<Item = (&'static str, u16)> {
    let folded = |sum: u64| u16::from_be(kernel::fold(sum));
    let portable = ("portable", folded(kernel::portable(bytes)));
    let chosen = ("chosen", u16::from_be(kernel::sum(bytes)));
    #[cfg(target_arch = "x86_64")]
    let avx2 = kernel::avx2::sum(bytes).map(|sum| ("avx2", folded(sum)));
    #[cfg(not(target_arch = "x86_64"))]
    let avx2 = None;
    [Some(portable), Some(chosen), avx2].into_iter().flatten()
}

fn assert_kernels_agree(bytes: &[u8], offset: usize, longest: usize, step: usize) {
    let mut reference = Reference::default();
    for len in 0..=longest {
        if len % step == 0 {
            for (kernel, sum) in every_kernel(&bytes[offset..offset + len]) {
                assert_eq!(sum, reference.folded(), "{kernel}, {len} bytes at {offset}");
            }
        }
        reference.add(bytes[offset + len]);
    }
}

#[test]
fn kernels_agree_at_every_alignment_for_every_length_up_to_a_few_blocks() {
    let bytes = noise(1024);
    for offset in 0..64 {
        assert_kernels_agree(&bytes, offset, 600, 1);
    }
}

#[test]
fn kernels_agree_up_to_lengths_beyond_the_largest_packet() {
    let bytes = noise(70_100);
    for offset in [0, 1] {
        assert_kernels_agree(&bytes, offset, 70_000, 13);
    }
}

#[test]
fn kernels_agree_where_every_addition_carries_and_where_none_does() {
    assert_kernels_agree(&[0xff; 70_100], 3, 70_000, 97);
    assert_kernels_agree(&[0; 4_200], 1, 4_096, 1);
}

#[test]
fn the_example_of_rfc_1071_comes_out() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(checksum(&bytes), !0xddf2);
    let mut sum = Accumulator::new();
    sum.add(&bytes);
    assert_eq!(sum.folded(), 0xddf2);
}

#[test]
fn the_example_of_rfc_1624_comes_out_as_zero_and_not_as_its_negative() {
    assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn a_carry_out_of_a_carry_is_not_lost() {
    for sum in [0xffff_ffff, 0x1_ffff_fffe, 0xffff_ffff_ffff, u64::MAX, u64::MAX - 1, 0x1_0000_0000, 0xffff] {
        let folded = kernel::fold(sum);
        assert_eq!(u64::from(folded) % 0xffff, sum % 0xffff, "{sum:x}");
        assert_ne!(folded, 0, "{sum:x}");
    }
    // The words 0xffff and 0, of which the second becomes 1.
    assert_eq!(update(0, 0, 1), !1);
}

#[test]
fn a_sum_of_nothing_is_zero_and_of_anything_else_never() {
    assert_eq!(Accumulator::new().folded(), 0);
    assert_eq!(checksum(&[]), 0xffff);
    let mut sum = Accumulator::new();
    sum.add_u16(0x1234);
    sum.add_u16(!0x1234);
    assert_eq!(sum.folded(), 0xffff);
}

#[test]
fn an_odd_byte_at_the_end_counts_as_the_first_of_its_word() {
    assert_eq!(checksum(&[0xab]), !0xab00);
    assert_eq!(checksum(&[0x12, 0x34, 0xab]), !(0x1234 + 0xab00));
}

#[test]
fn the_pseudo_header_of_each_family_has_the_words_of_its_rfc() {
    let (source, destination) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 2));
    let len = 0x1_2345;
    let expected = Reference::of(&[192, 0, 2, 1, 198, 51, 100, 2, 0, 6, 0, 1, 0x23, 0x45]);
    let mut sum = Accumulator::new();
    sum.add_pseudo_v4(source, destination, Protocol::TCP, len);
    assert_eq!(sum.folded(), expected);
    assert_eq!(pseudo_header(source.into(), destination.into(), Protocol::TCP, len), expected);

    let (source, destination) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 2, 3, 4, 5), Ipv6Addr::LOCALHOST);
    let mut bytes = [source.octets(), destination.octets()].concat();
    bytes.extend([0, 1, 0x23, 0x45, 0, 0, 0, 17]);
    assert_eq!(pseudo_header(source.into(), destination.into(), Protocol::UDP, len), Reference::of(&bytes));
}

proptest! {
    #[test]
    fn kernels_agree_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..5_000), skip in 0_usize..64) {
        let bytes = bytes.get(skip..).unwrap_or_default();
        let expected = Reference::of(bytes);
        for (kernel, sum) in every_kernel(bytes) {
            prop_assert_eq!(sum, expected, "{}", kernel);
        }
    }

    #[test]
    fn pieces_of_any_lengths_sum_as_the_whole(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
        word in any::<u16>(),
    ) {
        let mut sum = Accumulator::new();
        for piece in &pieces {
            sum.add(piece);
            sum.add_u16(word);
        }
        let whole: Vec<u8> =
            pieces.iter().flat_map(|piece| piece.iter().copied().chain(word.to_be_bytes())).collect();
        prop_assert_eq!(sum.folded(), Reference::of(&whole));
        prop_assert_eq!(sum.finish(), checksum(&whole));
    }

    #[test]
    fn bytes_that_hold_their_own_checksum_finish_to_zero(
        mut bytes in prop::collection::vec(any::<u8>(), 2..2_000),
        at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(bytes.len() / 2) * 2;
        bytes[at..at + 2].fill(0);
        let field = checksum(&bytes).to_be_bytes();
        bytes[at..at + 2].copy_from_slice(&field);
        prop_assert_eq!(checksum(&bytes), 0);
    }

    #[test]
    fn an_update_is_what_a_new_sum_would_be(
        mut words in prop::collection::vec(word_near_a_carry(), 2..40),
        at in any::<prop::sample::Index>(),
        new in word_near_a_carry(),
    ) {
        // A version field, as it were: with words that are all zero both zeros are right.
        words[0] |= 0x4000;
        let at = 1 + at.index(words.len() - 1);
        let bytes = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let before = checksum(&bytes(&words));
        let old = core::mem::replace(&mut words[at], new);
        prop_assert_eq!(update(before, old, new), checksum(&bytes(&words)));
    }
}

/// Any word, and those at the edges more often than chance has them.
fn word_near_a_carry() -> impl Strategy<Value = u16> {
    prop_oneof![any::<u16>(), prop::sample::select(vec![0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff])]
}
