//! What a parser must refuse, and what it must not stumble over.

use std::net::Ipv4Addr;

use sunstar_wire::arp::{ArpOperation, ArpPacket};
use sunstar_wire::ethernet::{EthernetHeader, VlanTag};
use sunstar_wire::icmpv4::{Icmpv4Message, UnreachableCode};
use sunstar_wire::igmp::{GroupRecord, IgmpMessage, QueryV3, RecordKind, TimeCode};
use sunstar_wire::ipv4::{Ipv4Header, Ipv4Option};
use sunstar_wire::tcp::{SeqNumber, TcpFlags, TcpHeader};
use sunstar_wire::udp::UdpHeader;
use sunstar_wire::{Ecn, EtherType, MacAddress, NoRoom, ParseError, Protocol};

use crate::contract::emitted;

fn ipv4() -> Ipv4Header {
    Ipv4Header {
        dscp: 0,
        ecn: Ecn::NotEct,
        identification: 0x1c46,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: Protocol::TCP,
        source: Ipv4Addr::new(172, 16, 10, 99),
        destination: Ipv4Addr::new(172, 16, 10, 12),
        header_len: 20,
        total_len: 60,
    }
}

#[test]
fn an_ipv4_header_has_the_bytes_seen_on_a_real_wire() {
    let expected = [
        0x45, 0x00, 0x00, 0x3c, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0xb1, 0xe6, 0xac, 0x10, 0x0a, 0x63, 0xac,
        0x10, 0x0a, 0x0c,
    ];
    assert_eq!(emitted(|out| ipv4().emit(out)), expected);
    assert_eq!(Ipv4Header::parse(&expected), Ok(ipv4()));
    assert_eq!(ipv4().payload_len(), 40);
}

#[test]
fn one_flipped_bit_in_an_ipv4_header_is_always_found() {
    let bytes = emitted(|out| ipv4().emit_with_options(&[7, 7, 4, 0, 0, 0, 0], out));
    for bit in 0..bytes.len() * 8 {
        let mut bytes = [&bytes[..], &[0; 40]].concat();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Ipv4Header::parse(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn an_ipv4_header_of_a_wrong_version_or_length_is_refused() {
    let mut bytes = [0; 60];
    emitted(|out| ipv4().emit(out)).iter().zip(&mut bytes).for_each(|(from, to)| *to = *from);
    for version in (0..16).filter(|version| *version != 4) {
        bytes[0] = version << 4 | 5;
        assert_eq!(Ipv4Header::parse(&bytes), Err(ParseError::BadVersion));
    }
    for words in 0..5 {
        bytes[0] = 0x40 | words;
        assert_eq!(Ipv4Header::parse(&bytes), Err(ParseError::BadLength));
    }
    for total_len in 0_u16..20 {
        let bytes = emitted(|out| Ipv4Header { total_len, ..ipv4() }.emit(out));
        assert_eq!(Ipv4Header::parse(&bytes), Err(ParseError::BadLength));
    }
    let bytes = emitted(|out| Ipv4Header { total_len: 23, ..ipv4() }.emit_with_options(&[0; 4], out));
    assert_eq!(Ipv4Header::parse(&bytes), Err(ParseError::BadLength));
}

#[test]
fn a_fragment_is_known_by_its_offset_or_by_more_to_come() {
    assert!(!ipv4().is_fragment());
    assert!(Ipv4Header { more_fragments: true, ..ipv4() }.is_fragment());
    assert!(Ipv4Header { fragment_offset: 8, ..ipv4() }.is_fragment());
    let last = Ipv4Header { fragment_offset: 65_528, dont_fragment: false, ..ipv4() };
    assert_eq!(emitted(|out| last.emit(out))[6..8], [0x1f, 0xff]);
}

#[test]
fn ipv4_options_come_out_in_order_without_padding() {
    let bytes = emitted(|out| ipv4().emit_with_options(&[1, 148, 4, 0, 0, 1, 7, 3, 4, 0, 9, 9], out));
    let options: Vec<_> = Ipv4Header::options(&bytes).collect();
    let expected = [
        Ipv4Option { kind: Ipv4Option::ROUTER_ALERT, data: &[0, 0] },
        Ipv4Option { kind: Ipv4Option::RECORD_ROUTE, data: &[4] },
    ];
    assert_eq!(options, expected.map(Ok));
    assert!(!Ipv4Header::has_source_route(&bytes));
}

#[test]
fn ipv4_options_of_any_kind_and_length_take_no_more_steps_than_bytes() {
    for kind in 0..=255 {
        for length in 0..=255 {
            let mut options = [1; 40];
            (options[0], options[1]) = (kind, length);
            let bytes = emitted(|out| ipv4().emit_with_options(&options, out));
            assert!(Ipv4Header::options(&bytes).count() <= options.len());
            // Of the kinds of one byte the second is no length.
            if kind > 1 {
                let failed = Ipv4Header::options(&bytes).any(|option| option.is_err());
                assert_eq!(!failed, (2..=40).contains(&length), "kind {kind}, length {length}");
            }
        }
    }
}

#[test]
fn a_source_route_is_seen_wherever_it_stands() {
    for kind in [Ipv4Option::LOOSE_SOURCE_ROUTE, Ipv4Option::STRICT_SOURCE_ROUTE] {
        for length in 2..=40 - 5 {
            for before in [&[][..], &[1, 1, 1], &[148, 4, 0, 0, 1]] {
                let route = [&[kind, length][..], &vec![4; usize::from(length) - 2]].concat();
                let bytes = emitted(|out| ipv4().emit_with_options(&[before, &route].concat(), out));
                assert!(Ipv4Header::has_source_route(&bytes), "length {length} behind {before:?}");
            }
        }
    }
    let behind_the_end = emitted(|out| ipv4().emit_with_options(&[0, 131, 3, 4], out));
    assert!(!Ipv4Header::has_source_route(&behind_the_end));
}

#[test]
fn options_of_a_header_that_is_not_there_are_none() {
    let bytes = emitted(|out| ipv4().emit_with_options(&[131, 3, 4], out));
    for cut in 0..bytes.len() {
        assert_eq!(Ipv4Header::options(&bytes[..cut]).count(), 0);
    }
    assert_eq!(Ipv4Header::options(&[0x40; 20]).count(), 0);
}

#[test]
fn more_options_than_a_header_can_hold_are_refused_however_large_the_slice() {
    let mut out = [0; 200];
    assert_eq!(ipv4().emit_with_options(&[1; 41], &mut out), Err(NoRoom { needed: 64 }));
    assert_eq!(out, [0; 200]);
}

#[test]
fn an_ieee_802_3_length_is_no_ether_type() {
    for length in [0, 46, 1500, 0x05ff] {
        let mut header = EthernetHeader {
            destination: MacAddress::BROADCAST,
            source: MacAddress([2, 0, 0, 0, 0, 1]),
            vlan: None,
            ether_type: EtherType(length),
        };
        let plain = emitted(|out| header.emit(out));
        assert_eq!(EthernetHeader::parse(&plain), Err(ParseError::Unsupported));
        header.vlan = Some(VlanTag { id: 5, priority: 7, drop_eligible: true });
        let tagged = emitted(|out| header.emit(out));
        assert_eq!(tagged[12..16], [0x81, 0x00, 0xf0, 0x05]);
        assert_eq!(EthernetHeader::parse(&tagged), Err(ParseError::Unsupported));
    }
}

#[test]
fn a_second_tag_is_left_to_the_caller_as_its_ether_type() {
    let mut bytes = [0; 22];
    bytes[12..14].copy_from_slice(&[0x81, 0]);
    bytes[16..18].copy_from_slice(&[0x81, 0]);
    let (header, len) = EthernetHeader::parse(&bytes).expect("one tag is readable");
    assert_eq!((header.ether_type, len), (EtherType::VLAN, 18));
}

#[test]
fn arp_about_anything_but_ipv4_on_ethernet_is_refused() {
    let packet = ArpPacket {
        operation: ArpOperation::Request,
        sender_mac: MacAddress([2, 0, 0, 0, 0, 1]),
        sender_address: Ipv4Addr::new(192, 0, 2, 1),
        target_mac: MacAddress::ZERO,
        target_address: Ipv4Addr::new(192, 0, 2, 2),
    };
    let bytes = emitted(|out| packet.emit(out));
    let wrong = [
        (1, ParseError::Unsupported),
        (2, ParseError::Unsupported),
        (4, ParseError::BadLength),
        (5, ParseError::BadLength),
    ];
    for (at, error) in wrong {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        assert_eq!(ArpPacket::parse(&bytes), Err(error), "byte {at}");
    }
}

#[test]
fn a_udp_length_below_its_header_is_refused() {
    for length in 0..8 {
        let header = UdpHeader { source_port: 1, destination_port: 2, length, checksum: 0 };
        assert_eq!(UdpHeader::parse(&emitted(|out| header.emit(out))), Err(ParseError::BadLength));
    }
}

#[test]
fn a_tcp_data_offset_below_its_header_is_refused_and_reserved_bits_are_not() {
    let header = TcpHeader {
        source_port: 1,
        destination_port: 2,
        sequence: SeqNumber(u32::MAX),
        acknowledgement: SeqNumber(0),
        flags: TcpFlags::SYN,
        window: 3,
        checksum: 4,
        urgent: 5,
        header_len: 20,
    };
    let mut bytes = emitted(|out| header.emit(out));
    bytes[12] |= 0x0e;
    assert_eq!(TcpHeader::parse(&bytes), Ok(header));
    for words in 0..5 {
        bytes[12] = words << 4;
        assert_eq!(TcpHeader::parse(&bytes), Err(ParseError::BadLength));
    }
}

#[test]
fn an_unreachable_code_is_its_own_number() {
    for code in 0..=255 {
        assert_eq!(u8::from(UnreachableCode::from(code)), code);
        let bytes = [3, code, 0, 0, 0xff, 0xff, 0x05, 0xdc];
        let expected = Icmpv4Message::DestinationUnreachable { code: code.into(), next_hop_mtu: 1500 };
        assert_eq!(Icmpv4Message::parse(&bytes), Ok(expected));
    }
    assert_eq!(UnreachableCode::from(3), UnreachableCode::Port);
    assert_eq!(UnreachableCode::from(4), UnreachableCode::FragmentationNeeded);
}

#[test]
fn only_messages_about_other_packets_are_icmp_errors() {
    for kind in 0..=255 {
        let message = Icmpv4Message::parse(&[kind, 0, 0, 0, 0, 0, 0, 0]).expect("eight bytes are a message");
        assert_eq!(message.is_error(), matches!(kind, 3 | 4 | 5 | 11 | 12), "type {kind}");
    }
}

#[test]
fn icmp_errors_have_the_bytes_of_their_rfcs() {
    let expected = [
        (Icmpv4Message::TimeExceeded { code: Icmpv4Message::TTL_EXCEEDED }, [11, 0, 0, 0, 0, 0, 0, 0]),
        (Icmpv4Message::TimeExceeded { code: Icmpv4Message::REASSEMBLY_TIMEOUT }, [11, 1, 0, 0, 0, 0, 0, 0]),
        (Icmpv4Message::ParameterProblem { code: 0, pointer: 20 }, [12, 0, 0, 0, 20, 0, 0, 0]),
        (
            Icmpv4Message::DestinationUnreachable {
                code: UnreachableCode::FragmentationNeeded,
                next_hop_mtu: 1_400,
            },
            [3, 4, 0, 0, 0, 0, 0x05, 0x78],
        ),
    ];
    for (message, bytes) in expected {
        assert_eq!(emitted(|out| message.emit(out)), bytes);
        assert_eq!(Icmpv4Message::parse(&bytes), Ok(message));
    }
}

#[test]
fn an_arp_probe_is_in_nobodys_name_and_an_announcement_for_the_senders_own_address() {
    let (mac, address) = (MacAddress([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1));
    let (probe, announcement) = (ArpPacket::probe(mac, address), ArpPacket::announcement(mac, address));
    assert_eq!((probe.is_probe(), probe.is_announcement()), (true, false));
    assert_eq!((announcement.is_probe(), announcement.is_announcement()), (false, true));
    let bytes = emitted(|out| probe.emit(out));
    assert_eq!(bytes[8..], [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
    let bytes = emitted(|out| announcement.emit(out));
    assert_eq!(bytes[8..], [2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
    let question = ArpPacket { target_address: Ipv4Addr::new(10, 0, 0, 2), ..announcement };
    let reply = ArpPacket { operation: ArpOperation::Reply, ..probe };
    let gratuitous = ArpPacket { operation: ArpOperation::Reply, ..announcement };
    for other in [question, reply, gratuitous] {
        assert!(!other.is_probe() && !other.is_announcement(), "{other:?}");
    }
}

#[test]
fn a_router_alert_is_an_option_of_four_bytes() {
    let bytes = emitted(|out| ipv4().emit_with_options(&Ipv4Option::ROUTER_ALERT_BYTES, out));
    assert_eq!(bytes.len(), 24);
    assert_eq!(bytes[20..], [0x94, 0x04, 0x00, 0x00]);
    let options: Vec<_> = Ipv4Header::options(&bytes).collect();
    assert_eq!(options, [Ok(Ipv4Option { kind: Ipv4Option::ROUTER_ALERT, data: &[0, 0] })]);
}

#[test]
fn the_version_of_an_igmp_query_is_known_by_its_length() {
    let bytes = [0x11, 0x80, 0, 0, 239, 1, 2, 3, 0xfa, 0x7d, 0, 1, 10, 0, 0, 1];
    let group = Ipv4Addr::new(239, 1, 2, 3);
    assert_eq!(IgmpMessage::parse(&bytes[..8]), Ok(IgmpMessage::Query { max_response: 0x80, group }));
    for len in 9..12 {
        assert_eq!(IgmpMessage::parse(&bytes[..len]), Err(ParseError::BadLength), "{len} bytes");
    }
    let query = QueryV3 {
        max_response: TimeCode(0x80),
        group,
        suppress: true,
        robustness: 2,
        interval: TimeCode(125),
        sources: 1,
    };
    for len in 12..=16 {
        assert_eq!(IgmpMessage::parse(&bytes[..len]), Ok(IgmpMessage::QueryV3(query)), "{len} bytes");
    }
    // More sources than are there are those that are.
    assert_eq!(IgmpMessage::sources(&bytes[..12]).len(), 0);
    assert_eq!(IgmpMessage::sources(&bytes[..15]).len(), 0);
    assert!(IgmpMessage::sources(&bytes).eq([Ipv4Addr::new(10, 0, 0, 1)]));
    assert_eq!(IgmpMessage::records(&bytes).count(), 0, "a query has none");
}

#[test]
fn a_record_that_ends_behind_its_igmp_report_ends_the_walk() {
    let record = |kind, auxiliary, sources: u8| [kind, auxiliary, 0, sources, 239, 0, 0, kind];
    let head = [0x22, 0, 0, 0, 0, 0, 0, 9];
    let bytes = [&head[..], &record(4, 0, 0), &record(1, 1, 1), &[10, 0, 0, 1, 9, 9, 9, 9], &record(7, 0, 2)]
        .concat();
    let walked: Vec<_> = IgmpMessage::records(&bytes).map(|it| it.map(|(record, _)| record.kind)).collect();
    let expected =
        [Ok(RecordKind::ChangeToExclude), Ok(RecordKind::ModeIsInclude), Err(ParseError::Truncated)];
    assert_eq!(walked, expected);
    let none = IgmpMessage::records(&head).collect::<Result<Vec<_>, _>>().map(|records| records.len());
    assert_eq!(none, Err(ParseError::Truncated));
    assert_eq!(IgmpMessage::sources(&bytes).len(), 0, "a report has none of its own");
    for number in 0..=255 {
        assert_eq!(u8::from(RecordKind::from(number)), number);
        let bytes = [number, 0, 0, 0, 239, 0, 0, 1];
        assert_eq!(GroupRecord::parse(&bytes).map(|record| record.kind.into()), Ok(number));
    }
}
