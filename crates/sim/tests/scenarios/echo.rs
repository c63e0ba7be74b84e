//! What is said to an echo request instead of a reply: ICMP errors of routers on the way, and what is not believed of them
//! (RFC 792, RFC 1122 section 3.2.2, RFC 5927).

use std::net::{IpAddr, Ipv4Addr};

use sunstar_sim::craft::Envelope;
use sunstar_sim::{Pair, Script, ms, secs};
use sunstar_stack::{EchoAnswer, EchoKey, EchoReply, EchoRequest, SocketError};
use sunstar_wire::icmpv4::UnreachableCode;

/// Beyond the router, which is the script.
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

/// A host whose gateway is the script.
fn behind_a_router() -> Script {
    Script::builder().host(|host| host.gateway = Some(Ipv4Addr::new(10, 0, 0, 2))).build()
}

/// Sends a request into the distance; the packet that left.
fn ask(script: &mut Script, socket: EchoKey, request: EchoRequest) -> Vec<u8> {
    script.host.shard_mut().echo_send(socket, FAR.into(), request, b"is anybody there?").unwrap();
    script.next_within(ms(1)).unwrap().bytes[14..].to_vec()
}

fn said(script: &mut Script, socket: EchoKey) -> Vec<(EchoAnswer, IpAddr, u16)> {
    let replies = script.host.pongs(socket);
    replies.into_iter().map(|EchoReply { answer, from, sequence, .. }| (answer, from, sequence)).collect()
}

/// From the router.
fn error(script: &Script, kind: u8, code: u8, rest: [u8; 4], quote: &[u8]) -> Vec<u8> {
    script.envelope.icmp(kind, code, rest, &quote[..28])
}

#[test]
fn what_routers_say_of_a_request_is_told_to_its_socket_with_its_number() {
    let mut script = behind_a_router();
    let router = script.envelope.source.into();
    let socket = script.host.echo_open();
    for (at, (kind, code, rest, answer)) in [
        (11, 0, [0; 4], EchoAnswer::TimeExceeded),
        (11, 1, [0; 4], EchoAnswer::ReassemblyTimeExceeded),
        (3, 0, [0; 4], EchoAnswer::Unreachable(UnreachableCode::Network)),
        (3, 1, [0; 4], EchoAnswer::Unreachable(UnreachableCode::Host)),
        (3, 2, [0; 4], EchoAnswer::Unreachable(UnreachableCode::Protocol)),
        (3, 3, [0; 4], EchoAnswer::Unreachable(UnreachableCode::Port)),
        (3, 13, [0; 4], EchoAnswer::Unreachable(UnreachableCode::CommunicationProhibited)),
        (3, 99, [0; 4], EchoAnswer::Unreachable(UnreachableCode::Other(99))),
        (3, 4, [0, 0, 5, 20], EchoAnswer::TooBig { mtu: 1_300 }),
        (3, 4, [0; 4], EchoAnswer::TooBig { mtu: 0 }),
        (12, 0, [8, 0, 0, 0], EchoAnswer::ParameterProblem { pointer: 8 }),
    ]
    .into_iter()
    .enumerate()
    {
        let sequence = 65_530_u16.wrapping_add(at as u16);
        let sent = ask(&mut script, socket, EchoRequest { ttl: 7, ..EchoRequest::new(sequence) });
        assert_eq!(sent[8], 7);
        let error = error(&script, kind, code, rest, &sent);
        script.inject_frame(&error);
        assert_eq!(said(&mut script, socket), [(answer, router, sequence)]);
    }
}

#[test]
fn an_answer_has_the_time_it_came_and_the_hops_it_had_left() {
    let mut script = behind_a_router();
    let socket = script.host.echo_open();
    let sent = ask(&mut script, socket, EchoRequest::new(1));
    script.drive_for(ms(70));
    script.envelope.ttl = 250;
    let error = error(&script, 11, 0, [0; 4], &sent);
    script.inject_frame(&error);
    let now = script.now();
    let replies = script.host.pongs(socket);
    assert_eq!((replies[0].ttl, replies[0].at, replies[0].payload.len()), (250, now, 0));
}

#[test]
fn an_error_is_believed_once_and_only_about_a_request_that_was_sent() {
    let mut script = behind_a_router();
    let socket = script.host.echo_open();
    let sent = ask(&mut script, socket, EchoRequest::new(5));
    // Another identifier, another number, another destination, an answer instead of a question, too short a quote.
    for (at, bit) in [(24, 1), (25, 1), (26, 1), (27, 1), (19, 1), (20, 8)] {
        let mut forged = sent[..28].to_vec();
        forged[at] ^= bit;
        forged[10..12].fill(0);
        let sum = sunstar_wire::checksum::checksum(&forged[..20]);
        forged[10..12].copy_from_slice(&sum.to_be_bytes());
        let error = error(&script, 11, 0, [0; 4], &forged);
        script.inject_frame(&error);
    }
    let short = script.envelope.icmp(11, 0, [0; 4], &sent[..27]);
    script.inject_frame(&short);
    assert_eq!(said(&mut script, socket), []);
    assert_eq!(script.host.counters().drops.icmp_ignored, 7);
    let genuine = error(&script, 11, 0, [0; 4], &sent);
    script.inject_frame(&genuine);
    script.inject_frame(&genuine);
    assert_eq!(said(&mut script, socket).len(), 1);
    assert_eq!(script.host.counters().drops.icmp_ignored, 8);
}

#[test]
fn after_the_reply_or_a_long_time_no_error_is_believed() {
    let mut script = behind_a_router();
    let socket = script.host.echo_open();
    let sent = ask(&mut script, socket, EchoRequest::new(1));
    let far = Envelope { source: FAR, ..script.envelope };
    script.inject_frame(&far.icmp(0, 0, [sent[24], sent[25], sent[26], sent[27]], b"here I am"));
    let late = error(&script, 11, 0, [0; 4], &sent);
    script.inject_frame(&late);
    assert_eq!(said(&mut script, socket), [(EchoAnswer::Reply, FAR.into(), 1)]);

    let sent = ask(&mut script, socket, EchoRequest::new(2));
    script.drive_for(secs(126));
    let late = error(&script, 11, 0, [0; 4], &sent);
    script.inject_frame(&late);
    assert_eq!(said(&mut script, socket), []);
}

#[test]
fn errors_that_nobody_fetches_are_dropped_and_counted() {
    let mut script = behind_a_router();
    let socket = script.host.echo_open();
    for sequence in 0..100 {
        let sent = ask(&mut script, socket, EchoRequest::new(sequence));
        let error = error(&script, 11, 0, [0; 4], &sent);
        script.inject_frame(&error);
    }
    assert_eq!(said(&mut script, socket).len(), 64);
    assert_eq!(script.host.counters().drops.receive_buffer_full, 36);
}

#[test]
fn a_socket_that_was_closed_hears_of_nothing() {
    let mut script = behind_a_router();
    let socket = script.host.echo_open();
    let sent = ask(&mut script, socket, EchoRequest::new(1));
    script.host.shard_mut().echo_close(socket);
    let error = error(&script, 11, 0, [0; 4], &sent);
    script.inject_frame(&error);
    assert_eq!(script.host.counters().drops.icmp_ignored, 1);
}

#[test]
fn a_request_that_may_be_cut_and_one_that_may_not_say_so_to_routers() {
    let mut script = behind_a_router();
    let socket = script.host.echo_open();
    for may_fragment in [true, false] {
        let request = EchoRequest { may_fragment, ..EchoRequest::new(1) };
        let refused = script.host.shard_mut().echo_send(socket, FAR.into(), request, &[0; 3_000]);
        let limit = SocketError::MessageTooLong { len: 3_000, limit: 1_472 };
        assert_eq!(refused, if may_fragment { Ok(()) } else { Err(limit) });
        script.settle();
        let flags: Vec<_> = script.heard().iter().map(|heard| heard.bytes[20] >> 5).collect();
        assert_eq!(flags, if may_fragment { vec![1, 1, 0] } else { vec![] });
    }
}

#[test]
fn an_error_about_the_first_fragment_of_a_request_is_about_the_request() {
    let mut script = behind_a_router();
    let socket = script.host.echo_open();
    let large = [0; 3_000];
    script.host.shard_mut().echo_send(socket, FAR.into(), EchoRequest::new(9), &large).unwrap();
    script.settle();
    let first = script.heard()[0].bytes[14..].to_vec();
    let error = error(&script, 11, 0, [0; 4], &first);
    script.inject_frame(&error);
    let router = script.envelope.source.into();
    assert_eq!(said(&mut script, socket), [(EchoAnswer::TimeExceeded, router, 9)]);
}

#[test]
fn a_request_to_everyone_is_sent_only_where_that_is_meant() {
    let mut pair = Pair::builder().build();
    let socket = pair.a.echo_open();
    for everyone in [Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 0, 0, 255)] {
        let to = everyone.into();
        let refused = pair.a.shard_mut().echo_send(socket, to, EchoRequest::new(1), b"?");
        assert_eq!(refused, Err(SocketError::BroadcastNotAllowed { destination: to }));
        let meant = EchoRequest { broadcast: true, ..EchoRequest::new(2) };
        assert_eq!(pair.a.shard_mut().echo_send(socket, to, meant, b"?"), Ok(()));
    }
    pair.drive();
    assert_eq!(pair.b.counters().drops.icmp_ignored, 2, "and nobody answers, as hosts do");
}

#[test]
fn a_reply_is_counted_when_a_socket_has_it() {
    let mut pair = Pair::builder().latency(ms(1)).build();
    let socket = pair.a.ping(pair.b.address(), 8);
    pair.drive();
    assert_eq!(pair.a.pongs(socket).len(), 1);
    assert_eq!(pair.a.counters().control.echo_replies_received, 1);
    assert_eq!(pair.b.counters().control.echo_replies_received, 0);
}
