//! The crate's contract: nothing panics; a value survives the way out and in; what parses re-emits to what
//! parses to the same; a slice too small is refused and left alone.

use std::fmt::Debug;

use proptest::prelude::*;
use sunstar_wire::arp::ArpPacket;
use sunstar_wire::checksum::checksum;
use sunstar_wire::ethernet::EthernetHeader;
use sunstar_wire::icmpv4::Icmpv4Message;
use sunstar_wire::igmp::{GroupRecord, IgmpMessage, emit_sources};
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::tcp::{TcpHeader, TcpOptions};
use sunstar_wire::udp::UdpHeader;
use sunstar_wire::{NoRoom, ParseError};

use crate::strategies;

/// What an emitter writes, after seeing that it refuses every slice that is shorter, and writes behind its
/// own bytes in none that is longer.
pub(crate) fn emitted(emit: impl Fn(&mut [u8]) -> Result<usize, NoRoom>) -> Vec<u8> {
    let mut out = [0xee; 100];
    let len = emit(&mut out).expect("a hundred bytes are enough for any header");
    assert!(out[len..].iter().all(|byte| *byte == 0xee), "wrote behind its own {len} bytes");
    for short in 0..len {
        let mut out = vec![0xee; short];
        assert_eq!(emit(&mut out), Err(NoRoom { needed: len }), "{short} bytes");
        assert!(out.iter().all(|byte| *byte == 0xee), "wrote into {short} bytes and then refused them");
    }
    out[..len].to_vec()
}

/// Sees that bytes parse to `expected`, with anything behind them too, and that no front part of them does.
fn assert_parses_whole<T: Debug + PartialEq>(
    bytes: &[u8],
    expected: T,
    parse: impl Fn(&[u8]) -> Result<T, ParseError>,
) {
    let followed = [bytes, &[0xff; 9]].concat();
    assert_eq!(parse(&followed).as_ref(), Ok(&expected));
    assert_eq!(parse(bytes), Ok(expected));
    for cut in 0..bytes.len() {
        assert_eq!(parse(&bytes[..cut]), Err(ParseError::Truncated), "cut to {cut} bytes");
    }
}

proptest! {
    #[test]
    fn an_ethernet_header_survives_the_way_out_and_in(header in strategies::ethernet()) {
        let bytes = emitted(|out| header.emit(out));
        prop_assert_eq!(bytes.len(), header.header_len());
        assert_parses_whole(&bytes, (header, header.header_len()), EthernetHeader::parse);
    }

    #[test]
    fn an_arp_packet_survives_the_way_out_and_in(packet in strategies::arp()) {
        assert_parses_whole(&emitted(|out| packet.emit(out)), packet, ArpPacket::parse);
    }

    #[test]
    fn an_ipv4_header_survives_the_way_out_and_in(header in strategies::ipv4()) {
        assert_parses_whole(&emitted(|out| header.emit(out)), header, Ipv4Header::parse);
    }

    #[test]
    fn an_ipv4_header_with_options_survives_the_way_out_and_in(
        header in strategies::ipv4(),
        options in prop::collection::vec(any::<u8>(), 0..=40),
    ) {
        let header_len = 20 + options.len().next_multiple_of(4) as u8;
        let header = Ipv4Header { header_len, total_len: header.total_len.max(header_len.into()), ..header };
        let bytes = emitted(|out| header.emit_with_options(&options, out));
        let (written, padding) = bytes[20..].split_at(options.len());
        prop_assert_eq!(written, &options[..]);
        prop_assert!(padding.iter().all(|byte| *byte == 0));
        assert_parses_whole(&bytes, header, Ipv4Header::parse);
    }

    #[test]
    fn an_icmp_message_survives_the_way_out_and_in(message in strategies::icmpv4()) {
        assert_parses_whole(&emitted(|out| message.emit(out)), message, Icmpv4Message::parse);
    }

    #[test]
    fn an_igmp_message_survives_the_way_out_and_in(message in strategies::igmp()) {
        let bytes = emitted(|out| message.emit(out));
        prop_assert_eq!(IgmpMessage::parse(&bytes), Ok(message));
        for cut in 0..IgmpMessage::LEN {
            prop_assert_eq!(IgmpMessage::parse(&bytes[..cut]), Err(ParseError::Truncated));
        }
    }

    #[test]
    fn a_group_record_survives_the_way_out_and_in(record in strategies::group_record()) {
        assert_parses_whole(&emitted(|out| record.emit(out)), record, GroupRecord::parse);
    }

    #[test]
    fn the_sources_of_an_igmp_query_survive_the_way_out_and_in(
        message in strategies::igmp(),
        sources in prop::collection::vec(strategies::address(), 0..20),
    ) {
        let IgmpMessage::QueryV3(mut query) = message else { return Ok(()) };
        query.sources = sources.len() as u16;
        let addresses = emitted(|out| emit_sources(&sources, out));
        let bytes = [&emitted(|out| IgmpMessage::QueryV3(query).emit(out))[..], &addresses].concat();
        let followed = [&bytes[..], &[0xff; 9]].concat();
        prop_assert!(IgmpMessage::sources(&followed).eq(sources.iter().copied()));
        prop_assert_eq!(IgmpMessage::sources(&bytes).len(), sources.len());
    }

    #[test]
    fn the_records_of_an_igmp_report_survive_the_way_out_and_in(
        records in prop::collection::vec(
            (strategies::group_record(), prop::collection::vec(strategies::address(), 0..5), 0_u8..3),
            0..5,
        ),
    ) {
        let mut bytes = emitted(|out| IgmpMessage::ReportV3 { records: records.len() as u16 }.emit(out));
        let mut expected = Vec::new();
        for (record, sources, auxiliary) in records {
            let record = GroupRecord { sources: sources.len() as u16, auxiliary, ..record };
            bytes.extend(emitted(|out| record.emit(out)));
            bytes.extend(emitted(|out| emit_sources(&sources, out)));
            bytes.extend(vec![0xaa; usize::from(auxiliary) * 4]);
            expected.push((record, sources));
        }
        let read = |bytes: &[u8]| -> Result<Vec<_>, ParseError> {
            IgmpMessage::records(bytes).map(|it| it.map(|(record, sources)| (record, sources.collect()))).collect()
        };
        for cut in IgmpMessage::LEN..bytes.len() {
            prop_assert_eq!(read(&bytes[..cut]), Err(ParseError::Truncated), "cut to {} bytes", cut);
        }
        prop_assert_eq!(&read(&[&bytes[..], &[0xff; 9]].concat()), &Ok(expected));
    }

    #[test]
    fn a_udp_header_survives_the_way_out_and_in(header in strategies::udp()) {
        assert_parses_whole(&emitted(|out| header.emit(out)), header, UdpHeader::parse);
    }

    #[test]
    fn a_tcp_header_survives_the_way_out_and_in(header in strategies::tcp()) {
        let mut bytes = emitted(|out| header.emit(out));
        bytes.resize(header.header_len.into(), 0);
        assert_parses_whole(&bytes, header, TcpHeader::parse);
    }
}

/// Bytes as a stranger might send them: any at all, or with the first few being what a header starts with.
fn strange_bytes(beginnings: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(any::<u8>(), 0..80), prop::option::of(prop::sample::select(beginnings))).prop_map(
        |(mut bytes, beginning)| {
            for (to, from) in bytes.iter_mut().zip(beginning.unwrap_or_default()) {
                *to = *from;
            }
            bytes
        },
    )
}

/// Gives bytes the header checksum of IPv4, so that more than one in 65,536 gets past it.
fn with_ipv4_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let header_len = bytes.first().map_or(0, |first| usize::from(first & 0xf) * 4);
    if (20..=bytes.len()).contains(&header_len) {
        bytes[10..12].fill(0);
        let field = checksum(&bytes[..header_len]).to_be_bytes();
        bytes[10..12].copy_from_slice(&field);
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_that_parse_as_ethernet_re_emit_to_the_same(
        bytes in strange_bytes(&[&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0]]),
    ) {
        if let Ok((header, len)) = EthernetHeader::parse(&bytes) {
            let again = emitted(|out| header.emit(out));
            prop_assert_eq!(&again, &bytes[..len]);
        }
    }

    #[test]
    fn any_bytes_that_parse_as_arp_re_emit_to_the_same(bytes in strange_bytes(&[&[0, 1, 8, 0, 6, 4]])) {
        if let Ok(packet) = ArpPacket::parse(&bytes) {
            prop_assert_eq!(&emitted(|out| packet.emit(out)), &bytes[..ArpPacket::LEN]);
        }
    }

    #[test]
    fn any_bytes_that_parse_as_ipv4_re_emit_to_what_parses_to_the_same(
        bytes in strange_bytes(&[&[0x45], &[0x46], &[0x4a], &[0x4f]]),
        mend in any::<bool>(),
    ) {
        let bytes = if mend { with_ipv4_checksum(bytes) } else { bytes };
        let _ = (Ipv4Header::options(&bytes).count(), Ipv4Header::has_source_route(&bytes));
        let malformed = Ipv4Header::options(&bytes).any(|option| option.is_err());
        prop_assert_eq!(Ipv4Header::malformed_option(&bytes).is_some(), malformed);
        if let Ok(header) = Ipv4Header::parse(&bytes) {
            let options = &bytes[20..header.header_len.into()];
            let again = emitted(|out| header.emit_with_options(options, out));
            prop_assert_eq!(Ipv4Header::parse(&again), Ok(header));
            prop_assert_eq!(again.len(), usize::from(header.header_len));
        }
    }

    #[test]
    fn any_bytes_that_parse_as_icmp_re_emit_to_what_parses_to_the_same(
        bytes in strange_bytes(&[&[0], &[3], &[4], &[5], &[8], &[11], &[12]]),
    ) {
        if let Ok(message) = Icmpv4Message::parse(&bytes) {
            let again = emitted(|out| message.emit(out));
            prop_assert_eq!(Icmpv4Message::parse(&again), Ok(message));
        }
    }

    #[test]
    fn any_bytes_that_parse_as_igmp_re_emit_to_what_parses_to_the_same(
        bytes in strange_bytes(&[&[0x11], &[0x12], &[0x16], &[0x17], &[0x22, 0, 0, 0, 0, 0, 0]]),
        len in 0_usize..14,
    ) {
        for bytes in [&bytes[..], bytes.get(..len).unwrap_or_default()] {
            prop_assert!(IgmpMessage::sources(bytes).len() <= bytes.len() / 4);
            prop_assert!(IgmpMessage::records(bytes).count() <= bytes.len() / GroupRecord::LEN);
            if let Ok(message) = IgmpMessage::parse(bytes) {
                prop_assert_eq!(IgmpMessage::parse(&emitted(|out| message.emit(out))), Ok(message));
            }
        }
    }

    #[test]
    fn any_bytes_that_parse_as_udp_re_emit_to_the_same(bytes in strange_bytes(&[&[0, 53, 0, 53, 0, 8]])) {
        if let Ok(header) = UdpHeader::parse(&bytes) {
            prop_assert_eq!(&emitted(|out| header.emit(out)), &bytes[..UdpHeader::LEN]);
        }
    }

    #[test]
    fn any_bytes_that_parse_as_tcp_re_emit_to_what_parses_to_the_same(
        bytes in strange_bytes(&[&[0, 80, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50], &[0, 80, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0xa0]]),
    ) {
        if let Ok(header) = TcpHeader::parse(&bytes) {
            let options = &bytes[TcpHeader::LEN..header.header_len.into()];
            let _ = TcpOptions::parse(options);
            let again = [&emitted(|out| header.emit(out)), options].concat();
            prop_assert_eq!(TcpHeader::parse(&again), Ok(header));
        }
    }

    #[test]
    fn values_no_header_can_hold_are_emitted_without_panic_and_parse(
        ip in strategies::ipv4(),
        segment in strategies::tcp(),
        (dscp, fragment_offset, header_len, flags) in any::<(u8, u16, u8, u16)>(),
    ) {
        let ip = Ipv4Header { dscp, fragment_offset, header_len, ..ip };
        let expected = Ipv4Header {
            dscp: dscp & 0x3f,
            fragment_offset: fragment_offset & !7,
            header_len: 20,
            ..ip
        };
        prop_assert_eq!(Ipv4Header::parse(&emitted(|out| ip.emit(out))), Ok(expected));

        let segment = TcpHeader { flags: sunstar_wire::tcp::TcpFlags(flags), header_len, ..segment };
        let mut bytes = emitted(|out| segment.emit(out));
        bytes.resize(60, 0);
        if let Ok(read) = TcpHeader::parse(&bytes) {
            prop_assert_eq!(read.flags.0, flags & 0x1ff);
        }
    }
}
