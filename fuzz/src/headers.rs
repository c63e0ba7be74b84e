//! Every parser of `sunstar-wire` over the same bytes. What parses is written again and parses to the same; bytes that are
//! not a parser's own change nothing; etherparse reads the same fields.

use std::fmt::Debug;

use etherparse::{ArpPacketSlice, Icmpv4Slice, IgmpSlice, SingleVlanHeader};
use sunstar_wire::arp::ArpPacket;
use sunstar_wire::checksum::{Accumulator, checksum};
use sunstar_wire::ethernet::EthernetHeader;
use sunstar_wire::icmpv4::Icmpv4Message;
use sunstar_wire::igmp::{GroupRecord, IgmpMessage};
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::tcp::{TcpFlags, TcpHeader};
use sunstar_wire::udp::UdpHeader;
use sunstar_wire::{EtherType, NoRoom, ParseError};

/// Bytes put around what a parser is given.
const MARGIN: usize = 64;

/// Has every parser read the bytes.
///
/// # Panics
/// When one of them is wrong.
pub fn check(bytes: &[u8]) {
    ethernet(bytes);
    arp(bytes);
    ipv4(bytes);
    ipv4(&with_header_checksum(bytes));
    icmpv4(bytes);
    igmp(bytes);
    udp(bytes);
    tcp(bytes);
    sums(bytes);
}

fn ethernet(bytes: &[u8]) {
    let parsed = anywhere(bytes, EthernetHeader::parse);
    let theirs = etherparse::Ethernet2Header::from_slice(bytes).ok();
    let Ok((header, len)) = parsed else {
        let tag_cut_off = |(header, rest): (etherparse::Ethernet2Header, &[u8])| {
            header.ether_type.0 == EtherType::VLAN.0 && rest.len() < 4
        };
        let refused = parsed == Err(ParseError::Unsupported);
        assert!(refused || theirs.is_none_or(tag_cut_off), "refused, and it is there");
        return;
    };
    assert_eq!(emitted(|out| header.emit(out)), bytes[..len]);
    stands_alone(bytes, len, EthernetHeader::parse);
    let (theirs, rest) = theirs.expect("etherparse reads it");
    assert_eq!((header.destination.0, header.source.0), (theirs.destination, theirs.source));
    let ether_type = match header.vlan {
        None => theirs.ether_type,
        Some(vlan) => {
            let (tag, _) = SingleVlanHeader::from_slice(rest).expect("etherparse reads the tag");
            let ours = (vlan.id, vlan.priority, vlan.drop_eligible);
            assert_eq!(ours, (tag.vlan_id.value(), tag.pcp.value(), tag.drop_eligible_indicator));
            tag.ether_type
        }
    };
    assert_eq!(header.ether_type.0, ether_type.0);
}

fn arp(bytes: &[u8]) {
    let parsed = anywhere(bytes, ArpPacket::parse);
    let theirs = ArpPacketSlice::from_slice(bytes).ok();
    let Ok(packet) = parsed else {
        let ours = |it: &ArpPacketSlice<'_>| (it.hw_addr_type().0, it.proto_addr_type().0) == (1, 0x0800);
        let of_right_sizes = |it: &ArpPacketSlice<'_>| (it.hw_addr_size(), it.proto_addr_size()) == (6, 4);
        assert!(!theirs.is_some_and(|it| ours(&it) && of_right_sizes(&it)), "refused, and it is ours");
        return;
    };
    assert_eq!(emitted(|out| packet.emit(out)), bytes[..ArpPacket::LEN]);
    stands_alone(bytes, ArpPacket::LEN, ArpPacket::parse);
    let theirs = theirs.expect("etherparse reads it");
    assert_eq!(u16::from(packet.operation), theirs.operation().0);
    assert_eq!(
        (&packet.sender_mac.0[..], &packet.target_mac.0[..]),
        (theirs.sender_hw_addr(), theirs.target_hw_addr())
    );
    assert_eq!(packet.sender_address.octets(), theirs.sender_protocol_addr());
    assert_eq!(packet.target_address.octets(), theirs.target_protocol_addr());
}

fn ipv4(bytes: &[u8]) {
    let parsed = anywhere(bytes, Ipv4Header::parse);
    let theirs = etherparse::Ipv4Header::from_slice(bytes).ok();
    let Ok(header) = parsed else {
        if let Some((theirs, _)) = theirs {
            // Which looks neither at the sum nor at the length of the whole.
            let damaged = folded(&bytes[..theirs.header_len()]) != 0xffff;
            let too_short = usize::from(theirs.total_len) < theirs.header_len();
            assert!(damaged || too_short, "{parsed:?}, and nothing is wrong: {theirs:?}");
        }
        return;
    };
    let len = usize::from(header.header_len);
    let again = emitted(|out| header.emit_with_options(&bytes[Ipv4Header::LEN..len], out));
    assert_eq!(Ipv4Header::parse(&again), Ok(header));
    stands_alone(bytes, len, Ipv4Header::parse);
    let (theirs, _) = theirs.expect("etherparse reads it");
    assert_eq!((header.source.octets(), header.destination.octets()), (theirs.source, theirs.destination));
    assert_eq!((header.ttl, header.protocol.0), (theirs.time_to_live, theirs.protocol.0));
    assert_eq!((len, header.total_len), (theirs.header_len(), theirs.total_len));
    assert_eq!((header.dscp, header.ecn.bits()), (theirs.dscp.value(), theirs.ecn.value()));
    assert_eq!((header.dont_fragment, header.more_fragments), (theirs.dont_fragment, theirs.more_fragments));
    assert_eq!(header.fragment_offset, theirs.fragment_offset.byte_offset());
    assert_eq!(header.identification, theirs.identification);
    assert_eq!(header.is_fragment(), theirs.is_fragmenting_payload());
}

fn icmpv4(bytes: &[u8]) {
    let Ok(message) = anywhere(bytes, Icmpv4Message::parse) else {
        assert!(bytes.len() < Icmpv4Message::LEN);
        return;
    };
    let again = emitted(|out| message.emit(out));
    assert_eq!(Icmpv4Message::parse(&again), Ok(message));
    assert_eq!(again[0], bytes[0], "the type is never another");
    stands_alone(bytes, Icmpv4Message::LEN, Icmpv4Message::parse);
    // etherparse wants to see timestamp messages whole.
    let Ok(theirs) = Icmpv4Slice::from_slice(bytes) else { return };
    use etherparse::Icmpv4Type as Theirs;
    match (message, theirs.icmp_type()) {
        (Icmpv4Message::EchoRequest { identifier, sequence }, Theirs::EchoRequest(theirs))
        | (Icmpv4Message::EchoReply { identifier, sequence }, Theirs::EchoReply(theirs)) => {
            assert_eq!((identifier, sequence), (theirs.id, theirs.seq));
        }
        (Icmpv4Message::DestinationUnreachable { code, .. }, Theirs::DestinationUnreachable(theirs)) => {
            assert_eq!(u8::from(code), theirs.code_u8());
        }
        (Icmpv4Message::Redirect { gateway, .. }, Theirs::Redirect(theirs)) => {
            assert_eq!(gateway.octets(), theirs.gateway_internet_address);
        }
        (ours, Theirs::EchoRequest(_) | Theirs::EchoReply(_) | Theirs::DestinationUnreachable(_)) => {
            // An echo of a code other than zero is none to etherparse, which is the stricter one; not the reverse.
            panic!("{ours:?}, and etherparse reads {:?}", theirs.icmp_type());
        }
        _ => {}
    }
}

fn igmp(bytes: &[u8]) {
    let parsed = anywhere(bytes, IgmpMessage::parse);
    assert!(IgmpMessage::sources(bytes).len() <= bytes.len() / 4, "more sources than there are bytes for");
    let records = IgmpMessage::records(bytes).count();
    assert!(records <= bytes.len() / GroupRecord::LEN + 1, "more steps than there are bytes for");
    for (record, sources) in IgmpMessage::records(bytes).flatten() {
        let again = emitted(|out| record.emit(out));
        assert_eq!(GroupRecord::parse(&again), Ok(record));
        assert_eq!(
            sources.len(),
            usize::from(record.sources),
            "a record that came out whole has all of its sources"
        );
    }
    let theirs = IgmpSlice::from_slice(bytes).ok();
    let Ok(message) = parsed else {
        assert!(theirs.is_none(), "refused, and etherparse reads it");
        return;
    };
    assert_eq!(IgmpMessage::parse(&emitted(|out| message.emit(out))), Ok(message));
    let Some(theirs) = theirs else {
        // Which wants to see all of a query's sources.
        let short = matches!(message, IgmpMessage::QueryV3(query) if IgmpMessage::sources(bytes).len() < query.sources.into());
        assert!(short, "{message:?}, and etherparse reads nothing");
        return;
    };
    use IgmpSlice as Theirs;
    match (message, theirs) {
        (IgmpMessage::Query { max_response, .. }, Theirs::MembershipQuery(theirs)) => {
            assert_eq!(max_response, theirs.max_response_time());
        }
        (IgmpMessage::QueryV3(query), Theirs::MembershipQueryWithSources(theirs)) => {
            assert_eq!(query.group.octets(), theirs.group_address().octets);
            assert_eq!(query.sources, theirs.num_of_sources());
        }
        (IgmpMessage::ReportV1 { group }, Theirs::MembershipReportV1(theirs)) => {
            assert_eq!(group.octets(), theirs.group_address().octets);
        }
        (IgmpMessage::ReportV2 { group }, Theirs::MembershipReportV2(theirs)) => {
            assert_eq!(group.octets(), theirs.group_address().octets);
        }
        (IgmpMessage::Leave { group }, Theirs::LeaveGroup(theirs)) => {
            assert_eq!(group.octets(), theirs.group_address().octets);
        }
        (IgmpMessage::ReportV3 { .. }, Theirs::MembershipReportV3(theirs)) => {
            let ours = IgmpMessage::records(bytes).map_while(Result::ok).map(|(it, _)| it.group.octets());
            let theirs = theirs.group_records().map_while(Result::ok).map(|it| it.multicast_address());
            assert!(ours.eq(theirs), "other records");
        }
        (IgmpMessage::Other { kind, .. }, theirs) => assert_eq!(kind, theirs.type_u8()),
        (ours, theirs) => panic!("{ours:?}, and etherparse reads {theirs:?}"),
    }
}

fn udp(bytes: &[u8]) {
    let Ok(header) = anywhere(bytes, UdpHeader::parse) else { return };
    assert_eq!(emitted(|out| header.emit(out)), bytes[..UdpHeader::LEN]);
    stands_alone(bytes, UdpHeader::LEN, UdpHeader::parse);
    let (theirs, _) = etherparse::UdpHeader::from_slice(bytes).expect("etherparse reads it");
    assert_eq!((header.source_port, header.destination_port), (theirs.source_port, theirs.destination_port));
    assert_eq!((header.length, header.checksum), (theirs.length, theirs.checksum));
}

fn tcp(bytes: &[u8]) {
    let parsed = anywhere(bytes, TcpHeader::parse);
    let theirs = etherparse::TcpHeader::from_slice(bytes).ok();
    assert_eq!(parsed.is_ok(), theirs.is_some());
    let (Ok(header), Some((theirs, _))) = (parsed, theirs) else { return };
    let len = usize::from(header.header_len);
    let again = [&emitted(|out| header.emit(out)), &bytes[TcpHeader::LEN..len]].concat();
    assert_eq!(TcpHeader::parse(&again), Ok(header));
    stands_alone(bytes, len, TcpHeader::parse);
    assert_eq!((header.source_port, header.destination_port), (theirs.source_port, theirs.destination_port));
    assert_eq!(
        (header.sequence.0, header.acknowledgement.0),
        (theirs.sequence_number, theirs.acknowledgment_number)
    );
    assert_eq!((header.window, header.urgent), (theirs.window_size, theirs.urgent_pointer));
    assert_eq!((header.checksum, len), (theirs.checksum, theirs.header_len()));
    let has = |flag| header.flags.contains(flag);
    let (fin, syn, rst) = (has(TcpFlags::FIN), has(TcpFlags::SYN), has(TcpFlags::RST));
    assert_eq!((fin, syn, rst), (theirs.fin, theirs.syn, theirs.rst));
    assert_eq!(
        (has(TcpFlags::PSH), has(TcpFlags::ACK), has(TcpFlags::URG)),
        (theirs.psh, theirs.ack, theirs.urg)
    );
    assert_eq!(
        (has(TcpFlags::ECE), has(TcpFlags::CWR), has(TcpFlags::AE)),
        (theirs.ece, theirs.cwr, theirs.ns)
    );
}

/// The sum of all bytes at once, of two parts of them, and word by word.
fn sums(bytes: &[u8]) {
    let expected = !folded(bytes);
    assert_eq!(anywhere(bytes, checksum), expected);
    let cut = bytes.first().map_or(0, |first| usize::from(*first) % bytes.len());
    let mut parts = Accumulator::new();
    parts.add(&bytes[..cut]);
    parts.add(&bytes[cut..]);
    assert_eq!(parts.finish(), expected, "cut at {cut}");
}

/// The sum of bytes as RFC 1071 section 1 has it: of words of 16 bits, with every carry brought back.
fn folded(bytes: &[u8]) -> u16 {
    let word = |word: &[u8]| u64::from(word[0]) << 8 | word.get(1).map_or(0, |low| u64::from(*low));
    let mut sum: u64 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// What a parser makes of bytes, wherever they stand and whatever stands around them.
fn anywhere<T: Debug + PartialEq>(bytes: &[u8], parse: impl Fn(&[u8]) -> T) -> T {
    let alone = parse(bytes);
    for (around, shift) in [(0x00, 0), (0xff, 1)] {
        let mut place = vec![around; bytes.len() + 2 * MARGIN + shift];
        let here = MARGIN + shift..MARGIN + shift + bytes.len();
        place[here.clone()].copy_from_slice(bytes);
        assert_eq!(parse(&place[here]), alone, "among bytes of {around:#04x}");
    }
    alone
}

/// Sees that of what parsed, the first `len` bytes were read, all of them and no others.
fn stands_alone<T: Debug + PartialEq>(
    bytes: &[u8],
    len: usize,
    parse: impl Fn(&[u8]) -> Result<T, ParseError>,
) {
    assert_eq!(parse(&bytes[..len]), parse(bytes));
    for cut in 0..len {
        assert_eq!(parse(&bytes[..cut]), Err(ParseError::Truncated), "cut to {cut} bytes");
    }
}

/// What an emitter writes, which is no more than it says.
fn emitted(emit: impl Fn(&mut [u8]) -> Result<usize, NoRoom>) -> Vec<u8> {
    let mut out = vec![0xee; 100];
    let len = emit(&mut out).expect("a hundred bytes are enough for any header");
    assert!(out[len..].iter().all(|byte| *byte == 0xee), "it wrote behind its own {len} bytes");
    out.truncate(len);
    if let Some(short) = len.checked_sub(1) {
        assert_eq!(emit(&mut vec![0; short]), Err(NoRoom { needed: len }));
    }
    out
}

/// The same bytes as an IPv4 header whose checksum is right, as far as they could be one.
fn with_header_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let len = bytes.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    if (Ipv4Header::LEN..=bytes.len()).contains(&len) {
        bytes[0] = 0x40 | bytes[0] & 0x0f;
        bytes[10..12].fill(0);
        let sum = checksum(&bytes[..len]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}
