//! The header that a tap puts ahead of every frame (virtio 1.2, section 5.1.6.1): what the kernel knows about
//! the frame's checksum and segments, and what it shall do about ours.

use sunstar_packet::{ChecksumNote, Notes, Packet, Segmentation, SegmentationKind};

/// Bytes of the header without the count of merged buffers.
pub(super) const LEN: usize = 10;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCP_V4: u8 = 1;
const GSO_TCP_V6: u8 = 4;
const GSO_UDP: u8 = 5;
/// A flag beside the type: the first segment alone carries CWR (RFC 3168).
const GSO_ECN: u8 = 0x80;

const ETHERNET_HEADER: usize = 14;
const UDP_HEADER: usize = 8;
const TCP_CHECKSUM_OFFSET: u16 = 16;
const UDP_CHECKSUM_OFFSET: u16 = 6;
const TCP_FLAGS_OFFSET: usize = 13;
const TCP_CWR: u8 = 0x80;

/// What the kernel's header says about `frame`; `None` if a field lies outside the frame or contradicts
/// another, so that whoever uses the notes need not check them again.
pub(super) fn parse(header: [u8; LEN], frame: &[u8]) -> Option<Notes> {
    let field = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let [flags, gso_type, ..] = header;
    let (hdr_len, gso_size, csum_start, csum_offset) = (field(2), field(4), field(6), field(8));
    let checksum = if flags & NEEDS_CSUM != 0 {
        let start = usize::from(csum_start);
        if start < ETHERNET_HEADER || start + usize::from(csum_offset) + 2 > frame.len() {
            return None;
        }
        ChecksumNote::Partial { start: csum_start, offset: csum_offset }
    } else if flags & DATA_VALID != 0 {
        ChecksumNote::Verified
    } else {
        ChecksumNote::None
    };
    let segmentation = match gso_type & !GSO_ECN {
        GSO_NONE => None,
        // Virtio 1.2, section 5.1.6.4.1: a device that coalesced sets the flag for the checksum, too.
        _ if flags & NEEDS_CSUM == 0 || usize::from(hdr_len) > frame.len() => return None,
        gso_type => Some(segmentation(gso_type, gso_size, csum_start, csum_offset, frame)?),
    };
    Some(Notes { checksum, segmentation, ..Notes::default() })
}

/// The kernel's header length is a hint that may reach into the payload, so it is read from the frame.
fn segmentation(
    gso_type: u8,
    size: u16,
    csum_start: u16,
    csum_offset: u16,
    frame: &[u8],
) -> Option<Segmentation> {
    let (kind, expected_offset) = match gso_type {
        GSO_TCP_V4 => (SegmentationKind::TcpV4, TCP_CHECKSUM_OFFSET),
        GSO_TCP_V6 => (SegmentationKind::TcpV6, TCP_CHECKSUM_OFFSET),
        GSO_UDP => (SegmentationKind::Udp, UDP_CHECKSUM_OFFSET),
        _ => return None,
    };
    let start = usize::from(csum_start);
    let transport_header = match kind {
        SegmentationKind::Udp => UDP_HEADER,
        SegmentationKind::TcpV4 | SegmentationKind::TcpV6 => usize::from(*frame.get(start + 12)? >> 4) * 4,
    };
    let header_len = start + transport_header;
    let payload = frame.len().checked_sub(header_len)?;
    let plausible = csum_offset == expected_offset
        && (transport_header >= 20 || kind == SegmentationKind::Udp)
        && size > 0
        && usize::from(size) <= payload;
    plausible.then_some(Segmentation { kind, size, header_len: u16::try_from(header_len).ok()? })
}

/// The header that asks the kernel for what a packet's notes say is still to be done.
pub(super) fn build(packet: &Packet) -> [u8; LEN] {
    let mut header = [0; LEN];
    let mut put = |at: usize, value: u16| header[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    let mut flags = 0;
    let mut transport = None;
    if let ChecksumNote::Partial { start, offset } = packet.notes.checksum {
        flags = NEEDS_CSUM;
        transport = Some(usize::from(start));
        put(6, start);
        put(8, offset);
    }
    let mut gso_type = GSO_NONE;
    if let Some(segmentation) = packet.notes.segmentation {
        put(2, segmentation.header_len);
        put(4, segmentation.size);
        gso_type = match segmentation.kind {
            SegmentationKind::TcpV4 => GSO_TCP_V4,
            SegmentationKind::TcpV6 => GSO_TCP_V6,
            SegmentationKind::Udp => GSO_UDP,
        };
        let tcp_flags = transport.and_then(|at| packet.head().get(at + TCP_FLAGS_OFFSET));
        if segmentation.kind != SegmentationKind::Udp && tcp_flags.is_some_and(|flags| flags & TCP_CWR != 0) {
            gso_type |= GSO_ECN;
        }
    }
    header[0] = flags;
    header[1] = gso_type;
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{packet, pool};
    use proptest::prelude::*;

    /// A frame of 34 bytes of headers, a TCP header of 32 bytes, and `payload` bytes.
    fn tcp_frame(payload: usize) -> Vec<u8> {
        let mut frame = vec![0; 34 + 32 + payload];
        frame[34 + 12] = 8 << 4;
        frame
    }

    fn header(flags: u8, gso_type: u8, fields: [u16; 4]) -> [u8; LEN] {
        let mut header = [flags, gso_type, 0, 0, 0, 0, 0, 0, 0, 0];
        for (at, field) in fields.into_iter().enumerate() {
            header[2 + 2 * at..4 + 2 * at].copy_from_slice(&field.to_ne_bytes());
        }
        header
    }

    #[test]
    fn an_empty_header_says_nothing() {
        assert_eq!(parse([0; LEN], &[0; 60]), Some(Notes::default()));
    }

    #[test]
    fn a_verified_checksum_is_noted() {
        let notes = parse(header(DATA_VALID, 0, [0; 4]), &[0; 60]).unwrap();
        assert_eq!(notes.checksum, ChecksumNote::Verified);
    }

    #[test]
    fn a_coalesced_frame_is_noted_with_the_headers_it_really_has() {
        for (gso_type, kind) in [
            (GSO_TCP_V4, SegmentationKind::TcpV4),
            (GSO_TCP_V6, SegmentationKind::TcpV6),
            (GSO_TCP_V4 | GSO_ECN, SegmentationKind::TcpV4),
        ] {
            let notes = parse(header(NEEDS_CSUM, gso_type, [300, 1_448, 34, 16]), &tcp_frame(5_000)).unwrap();
            assert_eq!(notes.checksum, ChecksumNote::Partial { start: 34, offset: 16 });
            assert_eq!(notes.segmentation, Some(Segmentation { kind, size: 1_448, header_len: 66 }));
        }
        let notes = parse(header(NEEDS_CSUM, GSO_UDP, [42, 1_000, 34, 6]), &[0; 4_000]).unwrap();
        let expected = Segmentation { kind: SegmentationKind::Udp, size: 1_000, header_len: 42 };
        assert_eq!(notes.segmentation, Some(expected));
    }

    #[test]
    fn a_header_that_lies_is_not_believed() {
        let lies = [
            ("a checksum that starts behind the frame", header(NEEDS_CSUM, 0, [0, 0, 5_066, 16])),
            ("a checksum field that reaches behind the frame", header(NEEDS_CSUM, 0, [0, 0, 34, 5_031])),
            ("a checksum within the Ethernet header", header(NEEDS_CSUM, 0, [0, 0, 13, 16])),
            ("an overflow", header(NEEDS_CSUM, 0, [0, 0, 65_535, 65_535])),
            ("segments without a checksum", header(0, GSO_TCP_V4, [66, 1_448, 34, 16])),
            ("segments that are verified only", header(DATA_VALID, GSO_TCP_V4, [66, 1_448, 34, 16])),
            ("segments of no size", header(NEEDS_CSUM, GSO_TCP_V4, [66, 0, 34, 16])),
            ("segments larger than the frame", header(NEEDS_CSUM, GSO_TCP_V4, [66, 5_001, 34, 16])),
            ("headers longer than the frame", header(NEEDS_CSUM, GSO_TCP_V4, [5_067, 1_448, 34, 16])),
            ("TCP with the checksum of UDP", header(NEEDS_CSUM, GSO_TCP_V4, [66, 1_448, 34, 6])),
            ("UDP with the checksum of TCP", header(NEEDS_CSUM, GSO_UDP, [42, 1_448, 34, 16])),
            ("an unknown type", header(NEEDS_CSUM, 2, [66, 1_448, 34, 16])),
            ("UDP fragments, which nobody offered", header(NEEDS_CSUM, 3, [66, 1_448, 34, 16])),
            ("no type but ECN, with a lie behind it", header(NEEDS_CSUM, GSO_ECN, [0, 0, 9_999, 0])),
        ];
        for (lie, header) in lies {
            assert_eq!(parse(header, &tcp_frame(5_000)), None, "{lie}");
        }
        let mut frame = tcp_frame(5_000);
        frame[34 + 12] = 4 << 4;
        assert_eq!(
            parse(header(NEEDS_CSUM, GSO_TCP_V4, [66, 1_448, 34, 16]), &frame),
            None,
            "short TCP header"
        );
        assert_eq!(parse(header(NEEDS_CSUM, 0, [0, 0, 14, 0]), &[0; 15]), None, "a runt");
    }

    #[test]
    fn what_is_asked_of_the_kernel_reads_back_as_it_was_noted() {
        let pool = pool();
        for (kind, offset, header_len) in [
            (SegmentationKind::TcpV4, 16, 66),
            (SegmentationKind::TcpV6, 16, 66),
            (SegmentationKind::Udp, 6, 42),
        ] {
            let frame = tcp_frame(3_000);
            let mut packet = packet(&pool, &frame);
            packet.notes.checksum = ChecksumNote::Partial { start: 34, offset };
            packet.notes.segmentation = Some(Segmentation { kind, size: 700, header_len });
            assert_eq!(parse(build(&packet), &frame), Some(packet.notes));
        }
    }

    #[test]
    fn a_segmented_packet_that_carries_cwr_says_so() {
        let pool = pool();
        let mut frame = tcp_frame(3_000);
        frame[34 + TCP_FLAGS_OFFSET] = TCP_CWR;
        let mut packet = packet(&pool, &frame);
        packet.notes.checksum = ChecksumNote::Partial { start: 34, offset: 16 };
        packet.notes.segmentation =
            Some(Segmentation { kind: SegmentationKind::TcpV4, size: 700, header_len: 66 });
        assert_eq!(build(&packet)[1], GSO_TCP_V4 | GSO_ECN);
    }

    proptest! {
        #[test]
        fn notes_that_are_believed_lie_within_the_frame(
            header in any::<[u8; LEN]>(),
            frame in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let Some(notes) = parse(header, &frame) else { return Ok(()) };
            if let ChecksumNote::Partial { start, offset } = notes.checksum {
                prop_assert!(usize::from(start) + usize::from(offset) + 2 <= frame.len());
            }
            if let Some(segmentation) = notes.segmentation {
                prop_assert!(segmentation.size > 0);
                let end = usize::from(segmentation.header_len) + usize::from(segmentation.size);
                prop_assert!(end <= frame.len());
            }
        }
    }
}
