//! The walks over TCP's and IPv4's options, beside one that goes by the letter of the RFCs, byte for byte: it takes a byte
//! at least with each step, so that whoever agrees with it on every option has taken no more steps than there are bytes.

use etherparse::{TcpOptionElement, TcpOptionsIterator};
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::tcp::{OptionOrder, SackBlocks, SeqNumber, TcpOptions, Timestamps};
use sunstar_wire::{Ecn, Protocol};

/// Has both walks go over the bytes.
///
/// # Panics
/// When one of them is wrong.
pub fn check(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(TcpOptions::MAX_LEN)];
    tcp(bytes);
    ipv4(bytes);
}

/// Options as they stand, and where the walk stopped because one is malformed.
#[derive(Default)]
struct Walked<'a> {
    options: Vec<(u8, &'a [u8])>,
    malformed: Option<usize>,
}

/// RFC 9293 section 3.1 and RFC 791 section 3.1: a kind, and but for the kinds 0 and 1 a length that counts both.
fn walk(bytes: &[u8]) -> Walked<'_> {
    let mut walked = Walked::default();
    let mut at = 0;
    let mut steps = 0;
    while at < bytes.len() {
        steps += 1;
        match bytes[at] {
            0 => break,
            1 => at += 1,
            kind => {
                let len = bytes.get(at + 1).map(|len| usize::from(*len));
                match len.filter(|len| *len >= 2 && at + len <= bytes.len()) {
                    Some(len) => walked.options.push((kind, &bytes[at + 2..at + len])),
                    None => {
                        // The length is to blame, where there is one.
                        walked.malformed = Some(at + usize::from(len.is_some()));
                        break;
                    }
                }
                at += len.unwrap_or(0);
            }
        }
    }
    assert!(steps <= bytes.len());
    walked
}

/// What TCP's options say (RFC 9293, 7323, 2018, 5482); `None` if one of them is malformed.
fn read(bytes: &[u8]) -> Option<TcpOptions> {
    let walked = walk(bytes);
    let mut read = TcpOptions::default();
    for (kind, data) in &walked.options {
        let word = |at: usize| u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
        match (kind, data.len()) {
            (2, 2) => read.mss = Some(u16::from_be_bytes([data[0], data[1]])),
            (3, 1) => read.window_scale = Some(data[0].min(14)),
            (4, 0) => read.sack_permitted = true,
            (5, 8 | 16 | 24 | 32) => {
                let edges = |block: usize| (SeqNumber(word(8 * block)), SeqNumber(word(8 * block + 4)));
                read.sack = (0..data.len() / 8).map(edges).collect();
            }
            (8, 8) => read.timestamps = Some(Timestamps { value: word(0), echo: word(4) }),
            (28, 2) => {
                // How a timeout is written is the type's own affair.
                let alone = [28, 4, data[0], data[1]];
                read.user_timeout = TcpOptions::parse(&alone).ok()?.user_timeout;
            }
            (2 | 3 | 4 | 5 | 8 | 28, _) => return None,
            _ => {}
        }
    }
    walked.malformed.is_none().then_some(read)
}

fn tcp(bytes: &[u8]) {
    let parsed = TcpOptions::parse(bytes).ok();
    assert_eq!(parsed, read(bytes), "of {bytes:02x?}");
    let theirs: Result<Vec<_>, _> = TcpOptionsIterator::from_slice(bytes).collect();
    // etherparse stops at kinds that it does not know.
    if let Ok(theirs) = theirs {
        assert_eq!(parsed, Some(collected(theirs)), "etherparse reads {bytes:02x?} otherwise");
    }
    let Some(options) = parsed else { return };
    for order in [OptionOrder::Linux, OptionOrder::Bsd] {
        let mut out = [0xee; 2 * TcpOptions::MAX_LEN];
        let len = options.emit(order, &mut out).expect("room for any options");
        assert_eq!(len, options.emitted_len(order));
        assert!(len <= TcpOptions::MAX_LEN && len.is_multiple_of(4));
        assert!(out[len..].iter().all(|byte| *byte == 0xee), "it wrote behind its own {len} bytes");
        let again = TcpOptions::parse(&out[..len]).expect("what was written is right");
        // Blocks that have no room are left out, the last ones first.
        assert!(options.sack.starts_with(&again.sack));
        assert_eq!(again, TcpOptions { sack: again.sack, ..options });
    }
}

fn ipv4(options: &[u8]) {
    let header = Ipv4Header {
        dscp: 0,
        ecn: Ecn::NotEct,
        identification: 0,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: Protocol::UDP,
        source: [10, 0, 0, 2].into(),
        destination: [10, 0, 0, 1].into(),
        header_len: 20,
        total_len: 60,
    };
    let mut bytes = [0; Ipv4Header::MAX_LEN];
    let len = header.emit_with_options(options, &mut bytes).expect("room for any options");
    let bytes = &bytes[..len];
    let walked = walk(&bytes[Ipv4Header::LEN..]);
    let found: Vec<_> = Ipv4Header::options(bytes).collect();
    let right = found.iter().map_while(|option| option.ok()).map(|option| (option.kind, option.data));
    assert!(right.eq(walked.options.iter().copied()), "of {options:02x?}");
    assert_eq!(found.len(), walked.options.len() + usize::from(walked.malformed.is_some()));
    let malformed = walked.malformed.map(|at| (Ipv4Header::LEN + at) as u8);
    assert_eq!(Ipv4Header::malformed_option(bytes), malformed, "of {options:02x?}");
    let routed = walked.options.iter().any(|(kind, _)| matches!(kind, 131 | 137));
    assert_eq!(Ipv4Header::has_source_route(bytes), routed);
}

fn collected(theirs: impl IntoIterator<Item = TcpOptionElement>) -> TcpOptions {
    let mut options = TcpOptions::default();
    for option in theirs {
        match option {
            TcpOptionElement::Noop => {}
            TcpOptionElement::MaximumSegmentSize(mss) => options.mss = Some(mss),
            TcpOptionElement::WindowScale(shift) => options.window_scale = Some(shift.min(14)),
            TcpOptionElement::SelectiveAcknowledgementPermitted => options.sack_permitted = true,
            TcpOptionElement::SelectiveAcknowledgement(first, more) => {
                let blocks = [Some(first)].into_iter().chain(more).flatten();
                options.sack =
                    blocks.map(|(left, right)| (SeqNumber(left), SeqNumber(right))).collect::<SackBlocks>();
            }
            TcpOptionElement::Timestamp(value, echo) => options.timestamps = Some(Timestamps { value, echo }),
        }
    }
    options
}
