//! Packets made byte by byte, so that no parser of ours vouches for another.

use core::net::IpAddr;

use proptest::prelude::*;

use super::*;

const PEER: [u8; 4] = [192, 0, 2, 1];
const US: [u8; 4] = [198, 51, 100, 2];
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const MORE_FRAGMENTS: u16 = 0x2000;

/// An IPv4 packet with `options` (whole words) and a checksum that is wrong.
fn ipv4_with(
    fragment: u16,
    protocol: u8,
    [source, destination]: [[u8; 4]; 2],
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x45 + (options.len() / 4) as u8, 0];
    packet.extend(((20 + options.len() + payload.len()) as u16).to_be_bytes());
    packet.extend([0x12, 0x34]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0xba, 0xad]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend(options);
    packet.extend(payload);
    packet
}

fn ipv4(protocol: u8, between: [[u8; 4]; 2], payload: &[u8]) -> Vec<u8> {
    ipv4_with(0, protocol, between, &[], payload)
}

fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x6f, 0xff, 0xff, 0xff];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend([0xfe; 16]);
    packet.extend([0xab; 16]);
    packet.extend(payload);
    packet
}

fn icmp(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0xba, 0xad, 0x11, 0x22, 0x33, 0x44];
    message.extend(rest);
    message
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02; 12];
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

fn tagged(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut tag = vec![0x20, 0x05];
    tag.extend(ether_type.to_be_bytes());
    tag.extend(payload);
    ethernet(0x8100, &tag)
}

/// A header's front with ports 0x1234 and 80.
const PORTS: [u8; 8] = [0x12, 0x34, 0, 80, 0, 0, 0, 0];

fn ports_key(protocol: u8, [source, destination]: [[u8; 4]; 2]) -> FlowKey {
    FlowKey::Ports {
        protocol: Protocol(protocol),
        source: source.into(),
        destination: destination.into(),
        source_port: 0x1234,
        destination_port: 80,
    }
}

fn addresses_key([source, destination]: [[u8; 4]; 2]) -> FlowKey {
    FlowKey::Addresses { source: source.into(), destination: destination.into() }
}

fn collect_ip(packet: &[u8]) -> FlowKey {
    FlowKey::collect(packet, Medium::Ip)
}

fn collect_ethernet(frame: &[u8]) -> FlowKey {
    FlowKey::collect(frame, Medium::Ethernet)
}

#[test]
fn a_tcp_segment_and_a_udp_datagram_are_steered_by_addresses_and_ports() {
    for protocol in [TCP, UDP] {
        let packet = ipv4(protocol, [PEER, US], &PORTS);
        let key = ports_key(protocol, [PEER, US]);
        assert_eq!(collect_ip(&packet), key);
        assert_eq!(collect_ethernet(&ethernet(0x0800, &packet)), key);
    }
}

#[test]
fn a_vlan_tag_and_ip_options_do_not_hide_the_ports() {
    let packet = ipv4_with(0, UDP, [PEER, US], &[1; 40], &PORTS);
    assert_eq!(collect_ethernet(&tagged(0x0800, &packet)), ports_key(UDP, [PEER, US]));
}

#[test]
fn a_second_vlan_tag_stays_where_it_arrived() {
    let packet = ipv4(UDP, [PEER, US], &PORTS);
    let inner = &tagged(0x0800, &packet)[12..];
    assert_eq!(collect_ethernet(&ethernet(0x8100, &[&[0, 1], inner].concat())), FlowKey::Unknown);
}

#[test]
fn a_fragment_without_ports_is_steered_by_addresses_and_so_is_the_first_one_that_has_them() {
    for fragment in [MORE_FRAGMENTS, MORE_FRAGMENTS | 185, 370] {
        let packet = ipv4_with(fragment, UDP, [PEER, US], &[], &PORTS);
        assert_eq!(collect_ip(&packet), addresses_key([PEER, US]));
    }
}

#[test]
fn the_do_not_fragment_bit_makes_no_fragment() {
    let packet = ipv4_with(0x4000, TCP, [PEER, US], &[], &PORTS);
    assert_eq!(collect_ip(&packet), ports_key(TCP, [PEER, US]));
}

#[test]
fn a_protocol_without_ports_is_steered_by_addresses() {
    for protocol in [2, 4, 47, 132] {
        assert_eq!(collect_ip(&ipv4(protocol, [PEER, US], &PORTS)), addresses_key([PEER, US]));
    }
}

#[test]
fn ipv6_gives_ports_only_directly_behind_its_base_header() {
    let (source, destination) = (IpAddr::from([0xfe; 16]), IpAddr::from([0xab; 16]));
    let with_ports = FlowKey::Ports {
        protocol: Protocol::TCP,
        source,
        destination,
        source_port: 0x1234,
        destination_port: 80,
    };
    let packet = ipv6(TCP, &PORTS);
    assert_eq!(collect_ip(&packet), with_ports);
    assert_eq!(collect_ethernet(&ethernet(0x86dd, &packet)), with_ports);
    // Hop-by-hop options, a fragment header (even of a whole packet), ICMPv6.
    for next_header in [0, 44, 58] {
        let payload = [&[TCP, 0, 0, 0, 0, 0, 0, 0], PORTS.as_slice()].concat();
        assert_eq!(collect_ip(&ipv6(next_header, &payload)), FlowKey::Addresses { source, destination });
    }
}

#[test]
fn an_arp_reply_is_steered_by_its_senders_address_and_a_request_stays() {
    let arp = |operation| {
        let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
        packet.extend([0x02; 6]);
        packet.extend(PEER);
        packet.extend([0x04; 6]);
        packet.extend(US);
        ethernet(0x0806, &packet)
    };
    assert_eq!(collect_ethernet(&arp(2)), FlowKey::Neighbor(PEER.into()));
    assert_eq!(collect_ethernet(&arp(1)), FlowKey::Unknown);
    assert_eq!(collect_ethernet(&arp(2)[..30]), FlowKey::Unknown);
}

#[test]
fn an_icmp_error_is_steered_like_the_answers_to_the_packet_it_quotes() {
    const ROUTER: [u8; 4] = [203, 0, 113, 9];
    let collect_error = |kind, quote: &[u8]| collect_ip(&ipv4(ICMP, [ROUTER, US], &icmp(kind, quote)));
    let sent = ipv4_with(0, TCP, [US, PEER], &[1; 4], &PORTS);
    let answers = ports_key(TCP, [US, PEER]).reversed();
    for kind in [3, 4, 5, 11, 12] {
        assert_eq!(collect_error(kind, &sent), answers);
    }
    // The quote may be cut off after its ports, after its addresses, or earlier.
    assert_eq!(collect_error(3, &sent[..28]), answers);
    assert_eq!(collect_error(3, &sent[..27]), addresses_key([PEER, US]));
    assert_eq!(collect_error(3, &sent[..19]), addresses_key([ROUTER, US]));

    let first_fragment = ipv4_with(MORE_FRAGMENTS, TCP, [US, PEER], &[], &PORTS);
    assert_eq!(collect_error(11, &first_fragment), answers);
    let later_fragment = ipv4_with(185, TCP, [US, PEER], &[], &PORTS);
    assert_eq!(collect_error(11, &later_fragment), addresses_key([PEER, US]));

    let question = ipv4(ICMP, [US, PEER], &icmp(8, &[]));
    let echo_reply =
        FlowKey::Echo { source: PEER.into(), destination: US.into(), identifier: 0x1122, reply: true };
    assert_eq!(collect_error(3, &question), echo_reply);
    let error_of_ours = ipv4(ICMP, [US, PEER], &icmp(3, &sent));
    assert_eq!(collect_error(3, &error_of_ours), addresses_key([PEER, US]), "quotes are not followed twice");
}

#[test]
fn an_echo_keeps_its_identifier_and_other_icmp_messages_only_their_addresses() {
    for (kind, reply) in [(8, false), (0, true)] {
        let key = FlowKey::Echo { source: PEER.into(), destination: US.into(), identifier: 0x1122, reply };
        assert_eq!(collect_ip(&ipv4(ICMP, [PEER, US], &icmp(kind, &[]))), key);
    }
    for kind in [9, 13, 17, 255] {
        assert_eq!(collect_ip(&ipv4(ICMP, [PEER, US], &icmp(kind, &PORTS))), addresses_key([PEER, US]));
    }
}

#[test]
fn the_padding_of_a_short_frame_is_not_taken_for_ports() {
    let padded = [ipv4(UDP, [PEER, US], &[]), vec![0x77; 26]].concat();
    assert_eq!(collect_ethernet(&ethernet(0x0800, &padded)), addresses_key([PEER, US]));
    let padded = [ipv6(UDP, &[1, 2, 3]), vec![0x77; 26]].concat();
    assert!(matches!(collect_ip(&padded), FlowKey::Addresses { .. }));
}

#[test]
fn a_cut_off_packet_gives_what_is_certain_of_it() {
    let v4 = ipv4_with(0, TCP, [PEER, US], &[1; 8], &PORTS);
    let v6 = ipv6(TCP, &PORTS);
    for (packet, addresses_end, ports_end) in [(v4, 20, 32), (v6, 40, 44)] {
        for len in 0..=packet.len() {
            let key = collect_ip(&packet[..len]);
            match len {
                _ if len < addresses_end => assert_eq!(key, FlowKey::Unknown, "{len} bytes"),
                _ if len < ports_end => {
                    assert!(matches!(key, FlowKey::Addresses { .. }), "{len} bytes: {key:?}");
                }
                _ => assert_eq!(key, collect_ip(&packet)),
            }
        }
    }
}

#[test]
fn what_is_no_ip_packet_stays_where_it_arrived() {
    let mut packet = ipv4(TCP, [PEER, US], &PORTS);
    assert_eq!(collect_ethernet(&ethernet(0x88cc, &packet)), FlowKey::Unknown);
    assert_eq!(collect_ethernet(&ethernet(0x86dd, &packet)), FlowKey::Unknown);
    packet[0] = 0x44;
    assert_eq!(collect_ip(&packet), FlowKey::Unknown, "a header shorter than it can be");
    packet[0] = 0x55;
    assert_eq!(collect_ip(&packet), FlowKey::Unknown, "version 5");
    assert_eq!(collect_ethernet(&ethernet(0x0800, &packet)), FlowKey::Unknown);
}

proptest! {
    #[test]
    fn any_bytes_at_all_give_a_key(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (collect_ethernet(&bytes), collect_ip(&bytes));
        for ether_type in [0x0800, 0x0806, 0x86dd, 0x8100] {
            let _ = collect_ethernet(&ethernet(ether_type, &bytes));
        }
        let _ = collect_ip(&ipv4(ICMP, [PEER, US], &icmp(3, &bytes)));
    }

    #[test]
    fn all_fragments_of_a_datagram_have_one_key(
        fragment in 1_u16..0x3fff, protocol in any::<u8>(), payload in any::<[u8; 16]>(),
    ) {
        prop_assert_eq!(
            collect_ip(&ipv4_with(fragment, protocol, [PEER, US], &[], &payload)),
            addresses_key([PEER, US])
        );
    }
}
