//! Any value that each header can hold.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use sunstar_wire::arp::ArpPacket;
use sunstar_wire::ethernet::{EthernetHeader, VlanTag};
use sunstar_wire::icmpv4::Icmpv4Message;
use sunstar_wire::igmp::{GroupRecord, IgmpMessage, QueryV3, TimeCode};
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::tcp::{SeqNumber, TcpFlags, TcpHeader};
use sunstar_wire::udp::UdpHeader;
use sunstar_wire::{Ecn, EtherType, MacAddress, Protocol};

pub(crate) fn address() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from)
}

fn mac() -> impl Strategy<Value = MacAddress> {
    any::<[u8; 6]>().prop_map(MacAddress)
}

prop_compose! {
    fn vlan()(id in 0_u16..0x1000, priority in 0_u8..8, drop_eligible in any::<bool>()) -> VlanTag {
        VlanTag { id, priority, drop_eligible }
    }
}

prop_compose! {
    pub(crate) fn ethernet()(
        destination in mac(),
        source in mac(),
        vlan in prop::option::of(vlan()),
        ether_type in (0x0600..=u16::MAX).prop_filter("one tag at the most", |value| *value != 0x8100),
    ) -> EthernetHeader {
        EthernetHeader { destination, source, vlan, ether_type: EtherType(ether_type) }
    }
}

prop_compose! {
    pub(crate) fn arp()(
        operation in prop_oneof![Just(1), Just(2), any::<u16>()],
        sender_mac in mac(),
        sender_address in address(),
        target_mac in mac(),
        target_address in address(),
    ) -> ArpPacket {
        ArpPacket { operation: operation.into(), sender_mac, sender_address, target_mac, target_address }
    }
}

prop_compose! {
    /// A header without options, of a packet of any length.
    pub(crate) fn ipv4()(
        (dscp, ecn) in (0_u8..64, any::<u8>()),
        identification in any::<u16>(),
        (dont_fragment, more_fragments, fragment) in (any::<bool>(), any::<bool>(), 0_u16..0x2000),
        (ttl, protocol) in any::<(u8, u8)>(),
        (source, destination) in (address(), address()),
        total_len in 20..=u16::MAX,
    ) -> Ipv4Header {
        Ipv4Header {
            dscp,
            ecn: Ecn::from_bits(ecn),
            identification,
            dont_fragment,
            more_fragments,
            fragment_offset: fragment * 8,
            ttl,
            protocol: Protocol(protocol),
            source,
            destination,
            header_len: 20,
            total_len,
        }
    }
}

pub(crate) fn icmpv4() -> impl Strategy<Value = Icmpv4Message> {
    let named = || any::<(u16, u16)>();
    prop_oneof![
        named().prop_map(|(identifier, sequence)| Icmpv4Message::EchoRequest { identifier, sequence }),
        named().prop_map(|(identifier, sequence)| Icmpv4Message::EchoReply { identifier, sequence }),
        any::<(u8, u16)>().prop_map(|(code, next_hop_mtu)| {
            Icmpv4Message::DestinationUnreachable { code: code.into(), next_hop_mtu }
        }),
        Just(Icmpv4Message::SourceQuench),
        (any::<u8>(), address()).prop_map(|(code, gateway)| Icmpv4Message::Redirect { code, gateway }),
        any::<u8>().prop_map(|code| Icmpv4Message::TimeExceeded { code }),
        any::<(u8, u8)>().prop_map(|(code, pointer)| Icmpv4Message::ParameterProblem { code, pointer }),
        (13_u8..=255, any::<u8>(), any::<[u8; 4]>()).prop_map(|(kind, code, rest)| Icmpv4Message::Other {
            kind,
            code,
            rest
        }),
    ]
}

prop_compose! {
    fn igmp_query_v3()(
        (max_response, interval) in any::<(u8, u8)>(),
        group in address(),
        suppress in any::<bool>(),
        robustness in 0_u8..8,
        sources in any::<u16>(),
    ) -> QueryV3 {
        let (max_response, interval) = (TimeCode(max_response), TimeCode(interval));
        QueryV3 { max_response, group, suppress, robustness, interval, sources }
    }
}

pub(crate) fn igmp() -> impl Strategy<Value = IgmpMessage> {
    prop_oneof![
        (any::<u8>(), address()).prop_map(|(max_response, group)| IgmpMessage::Query { max_response, group }),
        igmp_query_v3().prop_map(IgmpMessage::QueryV3),
        address().prop_map(|group| IgmpMessage::ReportV1 { group }),
        address().prop_map(|group| IgmpMessage::ReportV2 { group }),
        address().prop_map(|group| IgmpMessage::Leave { group }),
        any::<u16>().prop_map(|records| IgmpMessage::ReportV3 { records }),
        (0x23_u8..=255, any::<u8>(), any::<[u8; 4]>()).prop_map(|(kind, code, rest)| IgmpMessage::Other {
            kind,
            code,
            rest
        }),
    ]
}

prop_compose! {
    pub(crate) fn group_record()(
        kind in prop_oneof![0_u8..8, any::<u8>()],
        auxiliary in any::<u8>(),
        sources in any::<u16>(),
        group in address(),
    ) -> GroupRecord {
        GroupRecord { kind: kind.into(), auxiliary, sources, group }
    }
}

prop_compose! {
    pub(crate) fn udp()(
        (source_port, destination_port) in any::<(u16, u16)>(),
        length in 8..=u16::MAX,
        checksum in any::<u16>(),
    ) -> UdpHeader {
        UdpHeader { source_port, destination_port, length, checksum }
    }
}

prop_compose! {
    /// A header with room for any number of option words.
    pub(crate) fn tcp()(
        (source_port, destination_port) in any::<(u16, u16)>(),
        (sequence, acknowledgement) in any::<(u32, u32)>(),
        flags in 0..=TcpFlags::ALL.0,
        (window, checksum, urgent) in any::<(u16, u16, u16)>(),
        words in 5_u8..=15,
    ) -> TcpHeader {
        TcpHeader {
            source_port,
            destination_port,
            sequence: SeqNumber(sequence),
            acknowledgement: SeqNumber(acknowledgement),
            flags: TcpFlags(flags),
            window,
            checksum,
            urgent,
            header_len: words * 4,
        }
    }
}
