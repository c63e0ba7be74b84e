//! Finishing a partial checksum in a copy of a frame, for those who cannot pass the note on with it (RFC 1071).

use sunstar_packet::ChecksumNote;

/// Where a UDP header has its checksum; zero there means that there is none (RFC 768).
const UDP_OFFSET: u16 = 6;

/// Completes the checksum if `note` says it is partial, and if its field lies within the frame.
pub(crate) fn complete(frame: &mut [u8], note: ChecksumNote) {
    let ChecksumNote::Partial { start, offset } = note else { return };
    let Some(summed) = frame.get_mut(usize::from(start)..) else { return };
    let checksum = match !sum(summed) {
        0 if offset == UDP_OFFSET => 0xffff,
        checksum => checksum,
    };
    if let Some(field) = summed.get_mut(usize::from(offset)..usize::from(offset) + 2) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The ones' complement sum of 16-bit words, not inverted.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    #[test]
    fn a_partial_checksum_becomes_the_one_that_an_independent_builder_computes() {
        for len in [0, 1, 2, 999, 1_000] {
            let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let mut whole = Vec::new();
            PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
                .udp(1, 2)
                .write(&mut whole, &payload)
                .unwrap();
            let mut partial = whole.clone();
            // The pseudo-header: both addresses, the protocol, the length.
            let pseudo = sum(&[&whole[26..34], &[0, 17], &(8 + len as u16).to_be_bytes()].concat());
            partial[40..42].copy_from_slice(&pseudo.to_be_bytes());
            complete(&mut partial, ChecksumNote::Partial { start: 34, offset: 6 });
            assert_eq!(partial, whole, "{len} bytes");
        }
    }

    #[test]
    fn a_udp_checksum_that_comes_out_as_zero_is_written_as_all_ones() {
        let mut frame = [0xff, 0xff, 0, 0, 0, 0, 0, 0];
        complete(&mut frame, ChecksumNote::Partial { start: 0, offset: 6 });
        assert_eq!(frame[6..], [0xff, 0xff]);
        complete(&mut frame, ChecksumNote::Partial { start: 0, offset: 4 });
        assert_eq!(frame[4..6], [0, 0]);
    }

    #[test]
    fn a_note_that_points_outside_changes_nothing() {
        for (start, offset) in [(9, 0), (8, 0), (0, 7), (65_535, 65_535)] {
            let mut frame = [1; 8];
            complete(&mut frame, ChecksumNote::Partial { start, offset });
            assert_eq!(frame, [1; 8]);
        }
    }
}
