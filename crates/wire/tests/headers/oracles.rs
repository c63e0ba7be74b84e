//! The same packets through etherparse and smoltcp, which were written by others: they must read what we
//! write as we meant it, write the same bytes, and come to the same checksums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use smoltcp::wire as smol;
use sunstar_wire::checksum::{Accumulator, checksum, pseudo_header};
use sunstar_wire::icmpv4::Icmpv4Message;
use sunstar_wire::igmp::{GroupRecord, IgmpMessage, TimeCode, emit_sources};
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::tcp::{OptionOrder, SackBlocks, SeqNumber, TcpFlags, TcpHeader, TcpOptions, Timestamps};
use sunstar_wire::udp::UdpHeader;
use sunstar_wire::{MacAddress, Protocol};

use crate::contract::emitted;
use crate::strategies;

proptest! {
    #[test]
    fn ethernet_reads_the_same_elsewhere(header in strategies::ethernet()) {
        let bytes = emitted(|out| header.emit(out));
        let (theirs, rest) = etherparse::Ethernet2Header::from_slice(&bytes).unwrap();
        prop_assert_eq!(MacAddress(theirs.destination), header.destination);
        prop_assert_eq!(MacAddress(theirs.source), header.source);
        match header.vlan {
            None => prop_assert_eq!(theirs.ether_type.0, header.ether_type.0),
            Some(vlan) => {
                let (tag, _) = etherparse::SingleVlanHeader::from_slice(rest).unwrap();
                prop_assert_eq!(theirs.ether_type, etherparse::EtherType::VLAN_TAGGED_FRAME);
                prop_assert_eq!(tag.ether_type.0, header.ether_type.0);
                prop_assert_eq!(tag.vlan_id.value(), vlan.id);
                prop_assert_eq!(tag.pcp.value(), vlan.priority);
                prop_assert_eq!(tag.drop_eligible_indicator, vlan.drop_eligible);
            }
        }
        let frame = smol::EthernetFrame::new_checked(&bytes[..]).unwrap();
        prop_assert_eq!(MacAddress(frame.dst_addr().0), header.destination);
        prop_assert_eq!(MacAddress(frame.src_addr().0), header.source);
        prop_assert_eq!(header.destination.is_multicast(), frame.dst_addr().is_multicast());
        prop_assert_eq!(header.destination.is_unicast(), frame.dst_addr().is_unicast());
    }

    #[test]
    fn arp_reads_the_same_elsewhere(packet in strategies::arp()) {
        let bytes = emitted(|out| packet.emit(out));
        let theirs = etherparse::ArpPacketSlice::from_slice(&bytes).unwrap().to_packet();
        let theirs = theirs.try_eth_ipv4().unwrap();
        prop_assert_eq!(theirs.operation.0, u16::from(packet.operation));
        prop_assert_eq!(MacAddress(theirs.sender_mac), packet.sender_mac);
        prop_assert_eq!(theirs.sender_ipv4_addr(), packet.sender_address);
        prop_assert_eq!(MacAddress(theirs.target_mac), packet.target_mac);
        prop_assert_eq!(theirs.target_ipv4_addr(), packet.target_address);
        prop_assert_eq!(&theirs.to_bytes()[..], &bytes[..]);

        let theirs = smol::ArpPacket::new_checked(&bytes[..]).unwrap();
        let smol::ArpRepr::EthernetIpv4 { source_hardware_addr, target_protocol_addr, .. } =
            smol::ArpRepr::parse(&theirs).unwrap()
        else {
            return Err(TestCaseError::fail("smoltcp knows no other kind"));
        };
        prop_assert_eq!(MacAddress(source_hardware_addr.0), packet.sender_mac);
        prop_assert_eq!(target_protocol_addr, packet.target_address);
    }

    #[test]
    fn ipv4_reads_the_same_elsewhere(
        header in strategies::ipv4(),
        words in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
    ) {
        let options = words.concat();
        let header_len = 20 + options.len() as u8;
        // As long as the packet smoltcp is given: it wants the payload, too.
        let header = Ipv4Header { header_len, total_len: 80, ..header };
        let mut bytes = emitted(|out| header.emit_with_options(&options, out));

        let (theirs, _) = etherparse::Ipv4Header::from_slice(&bytes).unwrap();
        prop_assert_eq!(theirs.dscp.value(), header.dscp);
        prop_assert_eq!(theirs.ecn.value(), header.ecn.bits());
        prop_assert_eq!(theirs.identification, header.identification);
        prop_assert_eq!(theirs.dont_fragment, header.dont_fragment);
        prop_assert_eq!(theirs.more_fragments, header.more_fragments);
        prop_assert_eq!(theirs.fragment_offset.byte_offset(), header.fragment_offset);
        prop_assert_eq!(theirs.is_fragmenting_payload(), header.is_fragment());
        prop_assert_eq!(theirs.time_to_live, header.ttl);
        prop_assert_eq!(theirs.protocol.0, header.protocol.0);
        prop_assert_eq!(Ipv4Addr::from(theirs.source), header.source);
        prop_assert_eq!(Ipv4Addr::from(theirs.destination), header.destination);
        prop_assert_eq!(theirs.payload_len().unwrap(), header.payload_len());
        prop_assert_eq!(&theirs.options[..], &options[..]);
        prop_assert_eq!(theirs.header_checksum, theirs.calc_header_checksum());
        prop_assert_eq!(&theirs.to_bytes()[..], &bytes[..]);

        bytes.resize(80, 0);
        let theirs = smol::Ipv4Packet::new_checked(&bytes[..]).unwrap();
        prop_assert!(theirs.verify_checksum());
        prop_assert_eq!(theirs.header_len(), header.header_len);
        prop_assert_eq!(theirs.total_len(), header.total_len);
        prop_assert_eq!((theirs.dscp(), theirs.ecn()), (header.dscp, header.ecn.bits()));
        prop_assert_eq!((theirs.dont_frag(), theirs.more_frags()), (header.dont_fragment, header.more_fragments));
        prop_assert_eq!(theirs.frag_offset(), header.fragment_offset);
        prop_assert_eq!((theirs.src_addr(), theirs.dst_addr()), (header.source, header.destination));
    }

    #[test]
    fn icmp_errors_and_echoes_read_the_same_elsewhere(
        message in strategies::icmpv4(),
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = emitted(|out| message.emit(out));
        bytes.extend(&payload);
        let field = checksum(&bytes).to_be_bytes();
        bytes[Icmpv4Message::CHECKSUM_OFFSET..][..2].copy_from_slice(&field);

        prop_assert!(smol::Icmpv4Packet::new_checked(&bytes[..]).unwrap().verify_checksum());
        let theirs = etherparse::Icmpv4Slice::from_slice(&bytes).unwrap();
        prop_assert_eq!(theirs.checksum(), u16::from_be_bytes(field));
        use etherparse::Icmpv4Type as Theirs;
        match (message, theirs.icmp_type()) {
            (Icmpv4Message::EchoRequest { identifier, sequence }, Theirs::EchoRequest(echo))
            | (Icmpv4Message::EchoReply { identifier, sequence }, Theirs::EchoReply(echo)) => {
                prop_assert_eq!((identifier, sequence), (echo.id, echo.seq));
            }
            (Icmpv4Message::DestinationUnreachable { code, next_hop_mtu }, Theirs::DestinationUnreachable(theirs)) => {
                prop_assert_eq!(u8::from(code), theirs.code_u8());
                if let etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu } = theirs {
                    prop_assert_eq!(next_hop_mtu, mtu);
                }
            }
            (Icmpv4Message::Redirect { code, gateway }, Theirs::Redirect(theirs)) => {
                prop_assert_eq!((code, gateway), (theirs.code.code_u8(), theirs.gateway_internet_address.into()));
            }
            (Icmpv4Message::TimeExceeded { code }, Theirs::TimeExceeded(theirs)) => {
                prop_assert_eq!(code, theirs.code_u8());
            }
            (Icmpv4Message::ParameterProblem { code, pointer }, Theirs::ParameterProblem(theirs)) => {
                use etherparse::icmpv4::ParameterProblemHeader as Problem;
                let expected = match theirs {
                    Problem::PointerIndicatesError(at) => (0, at),
                    Problem::MissingRequiredOption => (1, pointer),
                    Problem::BadLength => (2, pointer),
                };
                prop_assert_eq!((code, pointer), expected);
            }
            // What it does not name (source quench, codes without a name) it hands over as it stands.
            (_, Theirs::Unknown { type_u8, code_u8, .. }) => {
                prop_assert_eq!([type_u8, code_u8], [bytes[0], bytes[1]]);
            }
            (Icmpv4Message::Other { kind, .. }, _) => prop_assert!(matches!(kind, 13 | 14)),
            (ours, theirs) => return Err(TestCaseError::fail(format!("{ours:?} is not {theirs:?}"))),
        }
    }

    #[test]
    fn igmp_messages_read_the_same_elsewhere(
        message in strategies::igmp(),
        sources in prop::collection::vec(strategies::address(), 0..20),
    ) {
        let mut message = message;
        let behind = match &mut message {
            IgmpMessage::QueryV3(query) => {
                query.sources = sources.len() as u16;
                emitted(|out| emit_sources(&sources, out))
            }
            _ => Vec::new(),
        };
        let mut bytes = [emitted(|out| message.emit(out)), behind].concat();
        let field = checksum(&bytes).to_be_bytes();
        bytes[IgmpMessage::CHECKSUM_OFFSET..][..2].copy_from_slice(&field);

        use etherparse::IgmpSlice as Theirs;
        let theirs = Theirs::from_slice(&bytes).unwrap();
        prop_assert!(theirs.is_checksum_valid());
        match (message, theirs) {
            (IgmpMessage::Query { max_response, group }, Theirs::MembershipQuery(theirs)) => {
                prop_assert_eq!((max_response, group.octets()), (theirs.max_response_time(), theirs.group_address().octets));
            }
            (IgmpMessage::QueryV3(query), Theirs::MembershipQueryWithSources(theirs)) => {
                prop_assert_eq!(query.max_response.value(), theirs.max_response_code().as_10th_secs());
                prop_assert_eq!(query.group.octets(), theirs.group_address().octets);
                prop_assert_eq!(query.suppress, theirs.s_flag());
                prop_assert_eq!(query.robustness, theirs.qrv().value());
                prop_assert_eq!(query.interval, TimeCode(theirs.qqic()));
                prop_assert_eq!(query.sources, theirs.num_of_sources());
                prop_assert!(theirs.source_addresses().map(Ipv4Addr::from).eq(sources));
            }
            (IgmpMessage::ReportV1 { group }, Theirs::MembershipReportV1(theirs)) => {
                prop_assert_eq!(group.octets(), theirs.group_address().octets);
            }
            (IgmpMessage::ReportV2 { group }, Theirs::MembershipReportV2(theirs)) => {
                prop_assert_eq!(group.octets(), theirs.group_address().octets);
            }
            (IgmpMessage::Leave { group }, Theirs::LeaveGroup(theirs)) => {
                prop_assert_eq!(group.octets(), theirs.group_address().octets);
            }
            (IgmpMessage::ReportV3 { records }, Theirs::MembershipReportV3(theirs)) => {
                prop_assert_eq!(records, theirs.num_of_records());
            }
            (IgmpMessage::Other { kind, .. }, Theirs::Unknown(theirs)) => prop_assert_eq!(kind, theirs.type_u8()),
            (ours, theirs) => return Err(TestCaseError::fail(format!("{ours:?} is not {theirs:?}"))),
        }

        let theirs = smol::IgmpPacket::new_checked(&bytes[..]).unwrap();
        prop_assert!(theirs.verify_checksum());
        match (message, smol::IgmpRepr::parse(&theirs)) {
            (IgmpMessage::Query { max_response, group }, Ok(smol::IgmpRepr::MembershipQuery { group_addr, version, .. })) => {
                prop_assert_eq!(group, group_addr);
                prop_assert_eq!(max_response == 0, version == smol::IgmpVersion::Version1);
            }
            (IgmpMessage::ReportV1 { group }, Ok(smol::IgmpRepr::MembershipReport { group_addr, version })) => {
                prop_assert_eq!((group, smol::IgmpVersion::Version1), (group_addr, version));
            }
            (IgmpMessage::ReportV2 { group }, Ok(smol::IgmpRepr::MembershipReport { group_addr, version })) => {
                prop_assert_eq!((group, smol::IgmpVersion::Version2), (group_addr, version));
            }
            (IgmpMessage::Leave { group }, Ok(smol::IgmpRepr::LeaveGroup { group_addr })) => {
                prop_assert_eq!(group, group_addr);
            }
            // It knows no version 3, and refuses what is no group.
            _ => {}
        }
    }

    #[test]
    fn the_records_of_igmp_reports_read_the_same_elsewhere(
        records in prop::collection::vec(
            (strategies::group_record(), prop::collection::vec(strategies::address(), 0..5), 0_u8..3),
            0..5,
        ),
    ) {
        let mut bytes = emitted(|out| IgmpMessage::ReportV3 { records: records.len() as u16 }.emit(out));
        for (record, sources, auxiliary) in &records {
            let record = GroupRecord { sources: sources.len() as u16, auxiliary: *auxiliary, ..*record };
            bytes.extend(emitted(|out| record.emit(out)));
            bytes.extend(emitted(|out| emit_sources(sources, out)));
            bytes.extend(vec![0xaa; usize::from(*auxiliary) * 4]);
        }
        let etherparse::IgmpSlice::MembershipReportV3(theirs) = etherparse::IgmpSlice::from_slice(&bytes).unwrap()
        else {
            return Err(TestCaseError::fail("it is a version 3 report"));
        };
        let theirs: Vec<_> = theirs.group_records().map(Result::unwrap).collect();
        prop_assert_eq!(theirs.len(), records.len());
        for ((record, sources, auxiliary), theirs) in records.into_iter().zip(theirs) {
            prop_assert_eq!(u8::from(record.kind), theirs.record_type().0);
            prop_assert_eq!(record.group.octets(), theirs.multicast_address());
            prop_assert_eq!(auxiliary, theirs.aux_data_len());
            prop_assert!(theirs.source_addresses().map(Ipv4Addr::from).eq(sources));
        }
    }

    #[test]
    fn udp_reads_the_same_and_its_checksum_is_right_elsewhere(
        (source, destination) in (strategies::address(), strategies::address()),
        (source_port, destination_port) in any::<(u16, u16)>(),
        payload in prop::collection::vec(any::<u8>(), 0..1_500),
    ) {
        let length = (UdpHeader::LEN + payload.len()) as u16;
        let mut header = UdpHeader { source_port, destination_port, length, checksum: 0 };
        let mut bytes = emitted(|out| header.emit(out));
        bytes.extend(&payload);
        let mut sum = Accumulator::new();
        sum.add_pseudo_v4(source, destination, Protocol::UDP, length);
        sum.add(&bytes);
        header.checksum = if sum.finish() == 0 { 0xffff } else { sum.finish() };
        header.emit(&mut bytes).unwrap();

        let (theirs, _) = etherparse::UdpHeader::from_slice(&bytes).unwrap();
        prop_assert_eq!((theirs.source_port, theirs.destination_port), (source_port, destination_port));
        prop_assert_eq!(theirs.length, length);
        let computed = theirs.calc_checksum_ipv4_raw(source.octets(), destination.octets(), &payload).unwrap();
        prop_assert_eq!(header.checksum, computed);
        prop_assert_eq!(&theirs.to_bytes()[..], &bytes[..UdpHeader::LEN]);
        let theirs = smol::UdpPacket::new_checked(&bytes[..]).unwrap();
        prop_assert!(theirs.verify_checksum(&source.into(), &destination.into()));
    }

    #[test]
    fn tcp_reads_the_same_and_its_checksum_is_right_elsewhere(
        (source, destination) in (strategies::address(), strategies::address()),
        header in strategies::tcp(),
        options in options(),
        linux in any::<bool>(),
        payload in prop::collection::vec(any::<u8>(), 0..1_500),
    ) {
        let order = if linux { OptionOrder::Linux } else { OptionOrder::Bsd };
        let option_bytes = emitted(|out| options.emit(order, out));
        let header_len = (TcpHeader::LEN + option_bytes.len()) as u8;
        let mut header = TcpHeader { header_len, checksum: 0, ..header };
        let mut bytes = [&emitted(|out| header.emit(out)), &option_bytes[..], &payload].concat();
        let mut sum = Accumulator::new();
        sum.add_pseudo_v4(source, destination, Protocol::TCP, bytes.len() as u32);
        sum.add(&bytes);
        header.checksum = sum.finish();
        header.emit(&mut bytes).unwrap();

        let (theirs, rest) = etherparse::TcpHeader::from_slice(&bytes).unwrap();
        prop_assert_eq!(rest, &payload[..]);
        prop_assert_eq!((theirs.source_port, theirs.destination_port), (header.source_port, header.destination_port));
        prop_assert_eq!(theirs.sequence_number, header.sequence.0);
        prop_assert_eq!(theirs.acknowledgment_number, header.acknowledgement.0);
        prop_assert_eq!((theirs.window_size, theirs.urgent_pointer), (header.window, header.urgent));
        prop_assert_eq!(flags_of(&theirs), header.flags);
        let computed = theirs.calc_checksum_ipv4_raw(source.octets(), destination.octets(), &payload).unwrap();
        prop_assert_eq!(header.checksum, computed);
        prop_assert_eq!(&theirs.to_bytes()[..], &bytes[..usize::from(header_len)]);
        prop_assert_eq!(options_of(&theirs), TcpOptions::parse(&option_bytes).unwrap());

        let theirs = smol::TcpPacket::new_checked(&bytes[..]).unwrap();
        prop_assert!(theirs.verify_checksum(&source.into(), &destination.into()));
        prop_assert_eq!(theirs.selective_ack_permitted().unwrap(), options.sack_permitted);

        let mut sum = Accumulator::new();
        sum.add_pseudo_v4(source, destination, Protocol::TCP, bytes.len() as u32);
        sum.add(&bytes);
        prop_assert_eq!(sum.finish(), 0);
    }

    #[test]
    fn a_flipped_bit_in_a_segment_is_found_by_its_checksum(
        mut bytes in prop::collection::vec(any::<u8>(), 20..1_500),
        bit in any::<prop::sample::Index>(),
    ) {
        bytes[16..18].fill(0);
        let field = checksum(&bytes).to_be_bytes();
        bytes[16..18].copy_from_slice(&field);
        prop_assert_eq!(checksum(&bytes), 0);
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(checksum(&bytes), 0);
    }

    #[test]
    fn checksums_of_any_bytes_are_the_same_elsewhere(bytes in prop::collection::vec(any::<u8>(), 0..9_001)) {
        prop_assert_eq!(!checksum(&bytes), smol::checksum::data(&bytes));
        let theirs = etherparse::checksum::Sum16BitWords::new().add_slice(&bytes).ones_complement();
        prop_assert_eq!(checksum(&bytes), u16::from_be(theirs));
    }

    #[test]
    fn pseudo_headers_of_both_families_are_the_same_elsewhere(
        v4 in any::<(u32, u32)>(),
        v6 in any::<(u128, u128)>(),
        tcp in any::<bool>(),
        // smoltcp drops the upper half of a length.
        len in any::<u16>(),
    ) {
        let (protocol, theirs) =
            if tcp { (Protocol::TCP, smol::IpProtocol::Tcp) } else { (Protocol::UDP, smol::IpProtocol::Udp) };
        let v4: (IpAddr, IpAddr) = (Ipv4Addr::from(v4.0).into(), Ipv4Addr::from(v4.1).into());
        let v6: (IpAddr, IpAddr) = (Ipv6Addr::from(v6.0).into(), Ipv6Addr::from(v6.1).into());
        for (source, destination) in [v4, v6] {
            let expected =
                smol::checksum::pseudo_header(&source.into(), &destination.into(), theirs, len.into());
            prop_assert_eq!(pseudo_header(source, destination, protocol, len.into()), expected);
        }
    }

    #[test]
    fn options_of_any_bytes_are_read_alike(bytes in prop::collection::vec(0_u8..12, 0..=10)) {
        let bytes: Vec<u8> = bytes.iter().flat_map(|byte| [*byte, byte.wrapping_mul(7) % 12]).collect();
        let theirs: Result<Vec<_>, _> = etherparse::TcpOptionsIterator::from_slice(&bytes).collect();
        // etherparse stops at kinds it does not know, which we skip.
        if let Ok(theirs) = theirs {
            prop_assert_eq!(TcpOptions::parse(&bytes), Ok(collected(theirs)));
        }
    }
}

prop_compose! {
    /// Options the oracles know, too.
    fn options()(
        (mss, window_scale, sack_permitted) in (any::<Option<u16>>(), prop::option::of(0_u8..=14), any::<bool>()),
        sack in prop::collection::vec(any::<(u32, u32)>(), 0..=4),
        timestamps in any::<Option<(u32, u32)>>(),
    ) -> TcpOptions {
        TcpOptions {
            mss,
            window_scale,
            sack_permitted,
            sack: sack.into_iter().map(|(left, right)| (SeqNumber(left), SeqNumber(right))).collect(),
            timestamps: timestamps.map(|(value, echo)| Timestamps { value, echo }),
            user_timeout: None,
        }
    }
}

fn flags_of(theirs: &etherparse::TcpHeader) -> TcpFlags {
    let flags = [
        (theirs.fin, TcpFlags::FIN),
        (theirs.syn, TcpFlags::SYN),
        (theirs.rst, TcpFlags::RST),
        (theirs.psh, TcpFlags::PSH),
        (theirs.ack, TcpFlags::ACK),
        (theirs.urg, TcpFlags::URG),
        (theirs.ece, TcpFlags::ECE),
        (theirs.cwr, TcpFlags::CWR),
        (theirs.ns, TcpFlags::AE),
    ];
    flags.iter().filter(|(set, _)| *set).fold(TcpFlags::NONE, |all, (_, flag)| all | *flag)
}

fn options_of(theirs: &etherparse::TcpHeader) -> TcpOptions {
    collected(theirs.options_iterator().map(|option| option.unwrap()))
}

fn collected(theirs: impl IntoIterator<Item = etherparse::TcpOptionElement>) -> TcpOptions {
    use etherparse::TcpOptionElement as Theirs;
    let mut options = TcpOptions::default();
    for option in theirs {
        match option {
            Theirs::Noop => {}
            Theirs::MaximumSegmentSize(mss) => options.mss = Some(mss),
            Theirs::WindowScale(shift) => options.window_scale = Some(shift.min(14)),
            Theirs::SelectiveAcknowledgementPermitted => options.sack_permitted = true,
            Theirs::SelectiveAcknowledgement(first, more) => {
                let blocks = [Some(first)].into_iter().chain(more).flatten();
                options.sack =
                    blocks.map(|(left, right)| (SeqNumber(left), SeqNumber(right))).collect::<SackBlocks>();
            }
            Theirs::Timestamp(value, echo) => options.timestamps = Some(Timestamps { value, echo }),
        }
    }
    options
}
