//! Echo, unreachables and what is never answered (RFC 792, RFC 1122 section 3.2.2), and packets whose IP header
//! lies.

use std::net::Ipv4Addr;

use sunstar_sim::decode::{Body, Transport};
use sunstar_sim::{Pair, Script, ms, secs};
use sunstar_stack::EchoRequest;
use sunstar_wire::Protocol;

fn echo(script: &Script, len: usize) -> Vec<u8> {
    script.envelope.icmp(8, 0, [0, 1, 0, 1], &vec![7; len])
}

#[test]
fn an_echo_comes_back_with_its_data() {
    for len in [0, 1, 56, 1_472] {
        let mut pair = Pair::builder().latency(ms(5)).build();
        let socket = pair.a.ping(pair.b.address(), len);
        pair.drive();
        let pongs = pair.a.pongs(socket);
        assert_eq!(pongs.len(), 1);
        let data: Vec<u8> = (0..len).map(|at| at as u8).collect();
        assert_eq!(pongs[0].payload.to_vec(), data);
        assert_eq!(pongs[0].from, pair.b.address());
        assert_eq!(pongs[0].ttl, 64);
        drop(pongs);
        pair.finish();
    }
}

#[test]
fn a_request_longer_than_the_mtu_is_refused() {
    let mut pair = Pair::builder().build();
    let b = pair.b.address();
    let shard = pair.a.shard_mut();
    let socket = shard.echo_open().unwrap();
    let whole = EchoRequest { may_fragment: false, ..EchoRequest::new(1) };
    let refused = shard.echo_send(socket, b.into(), whole, &[0; 1_473]);
    assert!(matches!(refused, Err(sunstar_stack::SocketError::MessageTooLong { len: 1_473, limit: 1_472 })));
    shard.echo_close(socket);
}

#[test]
fn a_host_answers_itself() {
    let mut pair = Pair::builder().build();
    for address in [pair.a.address(), Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 1, 2, 3)] {
        let socket = pair.a.ping(address, 100);
        pair.drive();
        assert_eq!(pair.a.pongs(socket).len(), 1, "{address}");
    }
    assert_eq!(pair.trace.frames(), 0);
}

#[test]
fn an_echo_to_a_group_or_to_everyone_is_not_answered() {
    let mut script = Script::new();
    for (mac, address) in [
        ([0xff; 6], Ipv4Addr::new(10, 0, 0, 255)),
        ([0xff; 6], Ipv4Addr::BROADCAST),
        ([1, 0, 0x5e, 0, 0, 1], Ipv4Addr::new(224, 0, 0, 1)),
        ([0xff; 6], script.host.address()),
    ] {
        let mut envelope = script.envelope.to_address(address);
        envelope.destination_mac = mac;
        script.inject_frame(&envelope.icmp(8, 0, [0, 1, 0, 1], b"smurf"));
        script.expect_silence(secs(1));
    }
    assert_eq!(script.host.counters().drops.icmp_ignored, 4);
}

#[test]
fn a_datagram_to_a_closed_port_is_answered_with_no_more_than_it_was_long() {
    let mut script = Script::new();
    for len in [0, 8, 100, 1_000] {
        let datagram = script.envelope.udp(9_000, 9, &vec![1; len]);
        script.inject_frame(&datagram);
        let quoted = script.expect_icmp(3, 3);
        assert_eq!(quoted, datagram[14..][..quoted.len()]);
        assert!(quoted.len() >= 28, "the header and eight bytes");
        assert!(quoted.len() + 28 <= (len + 28).clamp(56, 576), "{} for {len}", quoted.len());
    }
    assert_eq!(script.host.counters().control.errors_sent, 4);
}

#[test]
fn a_protocol_nobody_knows_is_answered() {
    let mut script = Script::new();
    let packet = script.envelope.ip(Protocol::SCTP, &[0; 40]);
    script.inject_frame(&packet);
    script.expect_icmp(3, 2);
    assert_eq!(script.host.counters().drops.unknown_protocol, 1);
}

#[test]
fn ip_in_ip_goes_no_further() {
    let mut script = Script::new();
    let inner = echo(&script, 8)[14..].to_vec();
    let packet = script.envelope.ip(Protocol::IPIP, &inner);
    script.inject_frame(&packet);
    script.expect_icmp(3, 2);
    script.expect_silence(secs(1));
}

#[test]
fn no_error_answers_an_error() {
    let mut script = Script::new();
    let quoted = script.envelope.udp(1, 2, b"never sent")[14..].to_vec();
    for (kind, code) in [(3, 0), (3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (4, 0), (5, 1)] {
        let error = script.envelope.icmp(kind, code, [0; 4], &quoted);
        script.inject_frame(&error);
    }
    script.expect_silence(secs(1));
}

#[test]
fn an_error_that_quotes_too_little_is_ignored() {
    let mut script = Script::new();
    for len in 0..28 {
        let error = script.envelope.icmp(3, 3, [0; 4], &vec![0x45; len]);
        script.inject_frame(&error);
    }
    script.expect_silence(secs(1));
}

#[test]
fn no_error_answers_a_datagram_to_everyone() {
    let mut script = Script::new();
    let mut envelope = script.envelope.to_address(Ipv4Addr::new(10, 0, 0, 255));
    envelope.destination_mac = [0xff; 6];
    script.inject_frame(&envelope.udp(1, 9, b"hello everyone"));
    let datagram = script.envelope.to_everyone().udp(1, 9, b"hello everyone");
    script.inject_frame(&datagram);
    script.expect_silence(secs(1));
    assert_eq!(script.host.counters().drops.udp_no_socket, 2);
}

#[test]
fn errors_are_limited_and_counted() {
    let mut script = Script::new();
    let datagram = script.envelope.udp(9_000, 9, b"?");
    for _ in 0..3_000 {
        script.inject_frame(&datagram);
        script.drive_for(sunstar_sim::us(333));
    }
    let counters = script.host.counters();
    let (sent, limited) = (counters.control.errors_sent, counters.drops.icmp_limited);
    assert_eq!(sent + limited, 3_000);
    assert!((700..1_400).contains(&sent), "{sent} errors in a second");
}

#[test]
fn a_wrong_checksum_is_dropped() {
    let mut script = Script::new();
    let mut message = echo(&script, 8);
    message[14 + 20 + 2] ^= 1;
    script.inject_frame(&message);
    let mut header = echo(&script, 8);
    header[14 + 8] -= 1;
    script.inject_frame(&header);
    script.expect_silence(secs(1));
    assert_eq!(script.host.counters().drops.bad_checksum, 2);
}

#[test]
fn a_source_route_is_dropped_and_never_reflected() {
    let mut script = Script::new();
    for kind in [131, 137] {
        for routers in 1..=9_u8 {
            let mut route = vec![kind, 3 + 4 * routers, 4];
            route.resize(3 + 4 * usize::from(routers) + 1, 0);
            let message = echo(&script, 8)[34..].to_vec();
            script.inject_frame(&script.envelope.ip_with_options(Protocol::ICMP, &route, &message));
        }
    }
    script.expect_silence(secs(1));
    assert_eq!(script.host.counters().drops.source_route, 18);
}

#[test]
fn other_options_are_passed_over() {
    let mut script = Script::new();
    let message = echo(&script, 8)[34..].to_vec();
    for options in [[7, 7, 4, 0, 0, 0, 0, 0].as_slice(), &[1, 1, 1, 0], &[148, 4, 0, 0]] {
        script.inject_frame(&script.envelope.ip_with_options(Protocol::ICMP, options, &message));
        script.expect_icmp(0, 0);
    }
}

#[test]
fn a_malformed_option_is_answered_with_where_it_is() {
    let mut script = Script::new();
    let message = echo(&script, 8)[34..].to_vec();
    for (options, pointer) in [
        ([7, 0, 4, 0].as_slice(), 21),
        (&[7, 1, 4, 0], 21),
        (&[1, 1, 7, 9], 23),
        (&[148, 4, 0, 0, 68, 5, 0, 0], 25),
        (&[1, 1, 1, 68], 23),
    ] {
        let packet = script.envelope.ip_with_options(Protocol::ICMP, options, &message);
        script.inject_frame(&packet);
        let heard = script.next_within(ms(0)).unwrap();
        let Body::Ip(_, Transport::Icmp { kind, code, rest, payload }) = heard.frame.body else {
            panic!("{}", heard.frame)
        };
        assert_eq!((kind, code, rest), (12, 0, [pointer, 0, 0, 0]));
        assert!(payload.len() >= 28 + options.len() && packet[14..].starts_with(&payload));
    }
    let counters = script.host.counters();
    assert_eq!((counters.drops.malformed, counters.control.errors_sent), (5, 5));
    assert_eq!(counters.control.echo_answered, 0, "nothing of it is delivered");
}

#[test]
fn a_malformed_option_is_answered_only_where_an_error_may_be() {
    let mut script = Script::new();
    let options = [7, 0, 4, 0];
    let message = echo(&script, 8)[34..].to_vec();
    let everyone = script.envelope.to_everyone();
    let group = Ipv4Addr::new(224, 0, 0, 1);
    for envelope in [
        everyone,
        everyone.to_address(Ipv4Addr::BROADCAST),
        everyone.to_address(Ipv4Addr::new(10, 0, 0, 255)),
        everyone.to_address(group),
    ] {
        script.inject_frame(&envelope.ip_with_options(Protocol::ICMP, &options, &message));
    }
    let quoted = script.envelope.udp(1, 2, b"never sent")[14..].to_vec();
    for kind in [3, 4, 5, 11, 12] {
        let error = script.envelope.icmp(kind, 0, [0; 4], &quoted)[34..].to_vec();
        script.inject_frame(&script.envelope.ip_with_options(Protocol::ICMP, &options, &error));
    }
    // What ends before its type is read might be an error.
    script.inject_frame(&script.envelope.ip_with_options(Protocol::ICMP, &options, &[]));
    // A switch that watches IGMP has no address to be answered at.
    let nobody = script.envelope.from_address(Ipv4Addr::UNSPECIFIED);
    script.inject_frame(&nobody.ip_with_options(Protocol::IGMP, &options, &[0x11; 8]));
    let drops = script.host.counters().drops;
    assert_eq!((drops.malformed, drops.no_route), (11, 0), "and no way to nobody is looked for");
    script.expect_silence(secs(1));
    // Of fragments the first is answered, and no other.
    for (offset, answered) in [(0_u16, true), (1, false), (100, false)] {
        let mut frame = script.envelope.ip_with_options(Protocol::UDP, &options, &[0; 16]);
        let field = offset | 0x2000;
        frame[20..22].copy_from_slice(&field.to_be_bytes());
        frame[24..26].fill(0);
        let sum = sunstar_wire::checksum::checksum(&frame[14..38]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        script.inject_frame(&frame);
        if answered {
            script.expect_icmp(12, 0);
        }
    }
    script.expect_silence(secs(1));
    assert_eq!(script.host.counters().control.errors_sent, 1);
    assert_eq!(script.host.shard().reassembly().datagrams, 0);
}

#[test]
fn answers_to_malformed_options_are_limited_with_all_other_errors() {
    let mut script = Script::new();
    let packet = script.envelope.ip_with_options(Protocol::UDP, &[7, 0, 4, 0], &[0; 16]);
    for _ in 0..3_000 {
        script.inject_frame(&packet);
    }
    let counters = script.host.counters();
    let (sent, limited) = (counters.control.errors_sent, counters.drops.icmp_limited);
    assert!(sent < 100 && sent + limited == 3_000, "{sent} errors at once");
    script.leave();
}

#[test]
fn every_option_kind_and_length_is_survived() {
    let mut script = Script::new();
    let message = echo(&script, 8)[34..].to_vec();
    for kind in 0..=255 {
        for len in (0..=255_u8).step_by(3) {
            let mut options = [0_u8; 40];
            (options[0], options[1]) = (kind, len);
            script.inject_frame(&script.envelope.ip_with_options(Protocol::ICMP, &options, &message));
        }
    }
    script.heard();
    let message = echo(&script, 8);
    script.inject_frame(&message);
    script.expect_icmp(0, 0);
}

#[test]
fn a_packet_longer_than_its_frame_is_dropped() {
    let mut script = Script::new();
    let message = echo(&script, 100)[34..].to_vec();
    for total_len in [129, 130, 1_500, 65_535] {
        let frame = script.envelope.ip_with(Protocol::ICMP, &message, |header| header.total_len = total_len);
        script.inject_frame(&frame);
    }
    script.expect_silence(secs(1));
    assert_eq!(script.host.counters().drops.truncated, 4);
}

#[test]
fn padding_behind_a_packet_is_cut_off() {
    let mut script = Script::new();
    let mut frame = echo(&script, 4);
    frame.resize(60, 0xee);
    script.inject_frame(&frame);
    assert_eq!(script.expect_icmp(0, 0), [7; 4]);
}

#[test]
fn header_lengths_that_cannot_be_are_dropped() {
    let mut script = Script::new();
    for words in 0..5 {
        let mut frame = echo(&script, 8);
        frame[14] = 0x40 | words;
        script.inject_frame(&frame);
    }
    for version in [0, 1, 5, 6, 15] {
        let mut frame = echo(&script, 8);
        frame[14] = version << 4 | 5;
        script.inject_frame(&frame);
    }
    for len in 0..14 + 28 {
        let frame = echo(&script, 8);
        script.inject_frame(&frame[..len]);
    }
    script.expect_silence(secs(1));
}

#[test]
fn sources_that_nobody_can_have_are_dropped_in_silence() {
    let mut script = Script::new();
    let ours = script.host.address();
    let martians = [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(10, 0, 0, 255),
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::new(240, 0, 0, 1),
        ours,
    ];
    for source in martians {
        script.inject_frame(&script.envelope.from_address(source).icmp(8, 0, [0; 4], b"from where?"));
        script.inject_frame(&script.envelope.from_address(source).udp(1, 9, b"from where?"));
    }
    script.expect_silence(secs(1));
    assert_eq!(script.host.counters().drops.martian, 14);
}

#[test]
fn packets_for_others_are_dropped_in_silence() {
    let mut script = Script::new();
    let elsewhere = script.envelope.to_address(Ipv4Addr::new(10, 0, 0, 9));
    script.inject_frame(&elsewhere.icmp(8, 0, [0; 4], b"a router would forward it"));
    let mut other_station = script.envelope;
    other_station.destination_mac = [0x02, 0, 0, 0, 0, 9];
    script.inject_frame(&other_station.icmp(8, 0, [0; 4], b"a switch would not flood it"));
    let unjoined = script.envelope.to_address(Ipv4Addr::new(239, 1, 2, 3));
    script.inject_frame(&unjoined.udp(1, 9, b"a group we have not joined"));
    script.expect_silence(secs(1));
    let drops = script.host.counters().drops;
    assert_eq!((drops.not_for_us, drops.other_station), (2, 1));
}

#[test]
fn an_echo_is_answered_whatever_its_time_to_live() {
    let mut script = Script::new();
    script.envelope.ttl = 1;
    let message = echo(&script, 8);
    script.inject_frame(&message);
    let heard = script.next_within(ms(0)).unwrap();
    let Body::Ip(ip, Transport::Icmp { .. }) = heard.frame.body else { panic!("{}", heard.frame) };
    assert_eq!(ip.ttl, 64);
}
