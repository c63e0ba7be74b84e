//! Whoever takes and gives nothing back: pieces out of order, peers that read nothing, connections by the thousand.

use sunstar_packet::PoolConfig;
use sunstar_sim::decode::{Body, Decoded, Segment, Transport};
use sunstar_sim::gate::{Attacker, Gate};
use sunstar_sim::{ack, data, fin, noise, rst, secs, syn, tcp};
use sunstar_wire::tcp::TcpFlags;

/// How long a connection that nobody answers is kept at most (R2).
const R2: std::time::Duration = secs(1_200);

/// The segments among frames.
fn segments(frames: &[Decoded]) -> impl Iterator<Item = &Segment> {
    frames.iter().filter_map(|frame| match &frame.body {
        Body::Ip(_, Transport::Tcp(segment)) => Some(segment),
        _ => None,
    })
}

/// The ports to which A has sent segments for which a condition holds.
fn ports(attacker: &Attacker, condition: impl Fn(&Segment) -> bool) -> Vec<u16> {
    segments(&attacker.heard).filter(|it| condition(it)).map(|it| it.destination.port()).collect()
}

#[test]
fn one_byte_segments_out_of_order_stay_within_the_receive_buffer() {
    // SegmentSmack, CVE-2018-5390: for a minute.
    let gate =
        Gate::new("SegmentSmack").lasts(secs(60)).forgets_within(R2).buffers(1_024 * 2_048 + (256 << 10));
    let verdict = gate.counts("drops.tcp_out_of_order_full").withstands(|attacker| {
        if attacker.join(4_000, tcp().mss(1_460).wscale(7).sack_ok()) {
            let at = 3 + attacker.random.below(60_000) as u32;
            attacker.say(4_000, data(b"x").seq(at).ack(1));
        }
    });
    assert!(verdict.share().is_none_or(|share| share <= 0.2), "more than a fifth of the shard: {verdict}");
}

#[test]
fn segments_out_of_order_on_many_connections_leave_buffers_for_what_is_in_order() {
    // More than the pool has, if every connection kept what it may.
    let gate = Gate::new("out of order on 64 connections").buffers(8_192 * 2_048).forgets_within(R2);
    gate.counts("drops.tcp_out_of_order_full").withstands(|attacker| {
        let port = 4_000 + (attacker.moment % 64) as u16;
        if attacker.join(port, tcp().mss(1_460).wscale(7).sack_ok()) {
            let at = 2 + attacker.random.below(300) as u32 * 1_460;
            attacker.say(port, data(&[0; 1_460]).seq(at).ack(1));
        }
    });
}

#[test]
fn peers_that_read_nothing_are_kept_and_harm_nobody() {
    // Sockstress: a window of nothing, and an answer to every probe. 10,000 of them.
    let gate = Gate::new("Sockstress").rate(5_000).lasts(secs(3)).forgets_within(R2);
    let gate = gate.host(|host| host.pool = PoolConfig::default()).buffers(10_000 * 2_048 + (1 << 20));
    let gate = gate.serves(|host, connection| {
        host.send(connection, &noise(100, 1));
        true
    });
    let verdict = gate.answers(4.0).counts("tcp.passive_opens").withstands(|attacker| {
        for port in ports(attacker, |it| !it.has(TcpFlags::SYN)) {
            attacker.say(port, ack(1).seq(1).win(0));
        }
        if attacker.moment < 10_000 {
            attacker.join(1_024 + attacker.moment as u16, tcp().mss(1_460).win(0));
        }
    });
    assert_eq!(verdict.attacked.most.connections, 10_001, "all of them, and the healthy one");
    assert_eq!(
        verdict.attacked.moved("tcp.aborted"),
        0,
        "within the memory there is, none is given up (MUST-37)"
    );
}

#[test]
fn peers_that_read_nothing_take_no_buffers_from_others_when_they_have_taken_all_they_may() {
    // Twice what the pool has is written to a thousand of them.
    let gate = Gate::new("slow readers beyond the pool").forgets_within(R2).buffers(32 << 20);
    let bytes = noise(64 << 10, 1);
    let gate = gate.answers(2.0).counts("tcp.window_probes").serves(move |host, connection| {
        host.send(connection, &bytes);
        true
    });
    let verdict = gate.withstands(|attacker| {
        let port = 1_024 + (attacker.moment % 1_000) as u16;
        if attacker.join(port, tcp().mss(1_460).win(0)) {
            attacker.say(port, ack(1).seq(1).win(0));
        }
    });
    assert_eq!(verdict.attacked.most.connections, 1_001);
    assert!(verdict.attacked.most.buffers > 24 << 20, "the pool was used up: {verdict}");
}

#[test]
fn reports_of_every_other_piece_are_bounded_whatever_the_segment_size() {
    // SACK panic and its kin, CVE-2019-11477, 11478 and 11479.
    let gate = Gate::new("SACK panic: MSS 0, 1, 48").buffers(4 << 20).forgets_within(R2).answers(8.0);
    let gate = gate.serves(|host, connection| {
        host.send(connection, &noise(1 << 20, 2));
        true
    });
    let mut highest = [0; 3];
    let verdict = gate.rate(3_000).withstands(|attacker| {
        for ((port, mss), highest) in (4_000..).zip([0, 1, 48]).zip(&mut highest) {
            if !attacker.join(port, tcp().mss(mss).sack_ok().wscale(7)) {
                continue;
            }
            let segments = attacker.segments(port);
            let ends = segments.iter().filter(|it| !it.payload.is_empty()).map(|it| it.seq + it.seq_len());
            *highest = ends.max().unwrap_or(0).max(*highest);
            // A little behind the last byte sent, with pieces held here and there.
            let una = highest.saturating_sub(600).max(1);
            let at = una + 2 + attacker.random.below(500) as u32;
            let blocks = [(at, at + 1), (at + 8, at + 12), (at + 40, at + 41)];
            attacker.say(port, ack(una).seq(1).sack(&blocks));
        }
    });
    assert!(highest.iter().all(|it| *it > 20_000), "they got on: {highest:?}");
    assert!(verdict.attacked.moved("tcp.fast_recoveries") > 0);
}

#[test]
fn connections_that_are_closed_at_once_are_remembered_up_to_a_cap() {
    let gate = Gate::new("TIME-WAIT flood").rate(2_000).forgets_within(R2).answers(2.5);
    let gate = gate.config(|config| config.tcp.max_time_wait = 1_000).serves(|_, _| false);
    let verdict = gate.counts("tcp.time_wait_reused").withstands(|attacker| {
        attacker.join(1_024 + attacker.moment as u16, tcp().mss(1_460));
        for port in ports(attacker, |it| it.has(TcpFlags::FIN)) {
            attacker.say(port, fin().seq(1).ack(2));
        }
    });
    assert_eq!(verdict.attacked.most.time_wait, 1_000);
}

#[test]
fn a_remembered_connection_ends_for_nobody_and_answers_twice_a_second() {
    // TIME-WAIT assassination, RFC 1337.
    let gate = Gate::new("TIME-WAIT assassination")
        .forgets_within(secs(70))
        .answers(0.001)
        .counts("drops.tcp_unacceptable")
        .serves(|_, _| false);
    let verdict = gate.withstands(|attacker| {
        attacker.join(4_000, tcp().mss(1_460));
        for port in ports(attacker, |it| it.has(TcpFlags::FIN)) {
            attacker.say(port, fin().seq(1).ack(2));
        }
        if attacker.moment > 1_000 {
            let at = attacker.random.next_u32() | 1 << 31;
            let segment = match attacker.moment % 4 {
                0 => rst().seq(2),
                1 => syn().seq(at),
                2 => ack(2).seq(at),
                _ => data(b"old").seq(at).ack(2),
            };
            attacker.say(4_000, segment);
        }
    });
    assert_eq!(verdict.attacked.most.time_wait, 1);
    assert_eq!(verdict.attacked.moved("tcp.time_wait_reused"), 0);
}
