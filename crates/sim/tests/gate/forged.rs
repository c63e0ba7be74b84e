//! Segments and messages in the healthy flow's own name, sent by who does not see it (RFC 5961, RFC 5927), or who does.

use sunstar_sim::craft::Envelope;
use sunstar_sim::gate::{Attacker, Flow, Gate};
use sunstar_sim::{ack, data, fin, rst, secs, syn, tcp};
use sunstar_wire::Protocol;
use sunstar_wire::tcp::TcpFlags;

/// How long a connection that nobody answers is kept at most (R2).
const R2: std::time::Duration = secs(1_200);

/// Without timestamps, which a forger would have to guess besides.
fn without_timestamps(name: &'static str) -> Gate {
    Gate::new(name).config(|config| config.tcp.timestamps = false)
}

/// A number of the window, but not its first.
fn within(attacker: &mut Attacker) -> u32 {
    let Flow { rcv_nxt, window, .. } = attacker.flow;
    rcv_nxt.wrapping_add(1 + attacker.random.below(u64::from(window.max(2)) - 1) as u32)
}

/// A number a mebibyte at least from all that is between the ends.
fn far_from(attacker: &mut Attacker, number: u32) -> u32 {
    let far = attacker.random.below((1 << 32) - (2 << 20)) as u32;
    number.wrapping_add(1 << 20).wrapping_add(far)
}

#[test]
fn a_sweep_of_resets_over_the_window_ends_nothing_and_slows_nothing() {
    let gate = Gate::new("blind RST").answers(0.001).counts("drops.tcp_blind_attack");
    let verdict = gate.withstands(|attacker| {
        let seq = within(attacker);
        attacker.forge(rst().seq(seq));
    });
    assert!((1..=7).contains(&verdict.attacked.moved("tcp.challenge_acks")), "two a second");
}

#[test]
fn a_sweep_of_syns_ends_nothing_and_slows_nothing() {
    let gate = Gate::new("blind SYN").answers(0.001).counts("drops.tcp_blind_attack");
    let verdict = gate.withstands(|attacker| {
        let seq = attacker.random.next_u32();
        attacker.forge(if attacker.moment % 2 == 0 {
            syn().seq(seq).mss(48)
        } else {
            syn().seq(seq).ack(seq)
        });
    });
    assert!((1..=7).contains(&verdict.attacked.moved("tcp.challenge_acks")), "two a second");
}

#[test]
fn data_with_an_acknowledgement_that_cannot_be_never_reaches_the_reader() {
    let gate = without_timestamps("blind data").answers(0.001).counts("drops.tcp_bad_acknowledgement");
    gate.withstands(|attacker| {
        let (seq, ack) = (within(attacker), far_from(attacker, attacker.flow.snd_nxt));
        attacker.forge(data(b"forged").seq(seq).ack(ack));
    });
}

#[test]
fn data_far_from_the_window_costs_an_acknowledgement_each_and_no_goodput() {
    let gate =
        without_timestamps("data outside the window").buffers(512 << 10).counts("drops.tcp_unacceptable");
    gate.withstands(|attacker| {
        let (seq, snd_nxt) = (far_from(attacker, attacker.flow.rcv_nxt), attacker.flow.snd_nxt);
        let segment = if attacker.moment % 2 == 0 { data(b"forged") } else { fin() };
        attacker.forge(segment.seq(seq).ack(snd_nxt));
    });
}

#[test]
fn two_ends_that_disagree_about_their_numbers_say_so_twice_a_second() {
    // Each sees the other's answer as one more segment that cannot be: who answers each keeps the storm going.
    let gate =
        Gate::new("ACK storm").answers(0.001).forgets_within(R2).counts("drops.tcp_bad_acknowledgement");
    gate.withstands(|attacker| {
        if attacker.join(4_000, tcp().mss(1_460)) {
            attacker.say(4_000, ack(0x4000_0000).seq(1));
            attacker.say(4_000, ack(1).seq(0x4000_0000));
        }
    });
}

#[test]
fn a_connection_is_not_slowed_by_what_the_attacker_does_on_its_own() {
    // CVE-2016-5696: whoever uses up the challenges of one connection learns nothing of another's.
    let gate = Gate::new("challenge-ACK side channel")
        .answers(0.001)
        .forgets_within(R2)
        .counts("drops.tcp_blind_attack");
    let mut challenged = 0;
    let verdict = gate.withstands(|attacker| {
        if attacker.join(4_000, tcp().mss(1_460)) {
            challenged += attacker.segments(4_000).iter().filter(|it| !it.has(TcpFlags::SYN)).count();
            attacker.say(4_000, rst().seq(100));
        }
        if attacker.moment % 5_000 == 4_999 {
            let seq = within(attacker);
            attacker.forge(rst().seq(seq));
        }
    });
    let all = verdict.attacked.moved("tcp.challenge_acks") as usize;
    assert!((5..=7).contains(&challenged), "two a second: {challenged}");
    assert_eq!(all, challenged + 6, "every one of the healthy flow's was sent: {all}");
}

/// An ICMP message that quotes a segment of the healthy flow with this number.
fn quoting(attacker: &Attacker, (kind, code): (u8, u8), rest: [u8; 4], seq: u32) -> Vec<u8> {
    let Flow { ports, rcv_nxt, .. } = attacker.flow;
    let to_us = attacker.as_peer();
    let from_us = Envelope { source: to_us.destination, destination: to_us.source, ..to_us };
    let segment = tcp().seq(seq).ack(rcv_nxt).len(1_460).frame(&from_us, (ports.1, ports.0), 0, 0);
    attacker.envelope.icmp(kind, code, rest, &segment[14..14 + 28])
}

#[test]
fn messages_about_what_was_never_sent_are_ignored() {
    // RFC 5927: the quoted number has to be of something that is on its way.
    let gate = Gate::new("ICMP, blind").answers(0.0);
    let verdict = gate.withstands(|attacker| {
        let seq = far_from(attacker, attacker.flow.snd_nxt);
        let (what, rest) = match attacker.moment % 4 {
            0 => ((3, 2), [0; 4]),
            1 => ((3, 3), [0; 4]),
            2 => ((3, 4), [0, 0, 0, 68]),
            _ => ((11, 0), [0; 4]),
        };
        attacker.send(quoting(attacker, what, rest, seq));
    });
    assert_eq!(verdict.attacked.moved("control.too_big_believed"), 0);
    assert!(verdict.attacked.moved("drops.too_big_ignored") > 7_000);
}

#[test]
fn hard_errors_about_what_is_on_its_way_are_soft_and_source_quench_is_nothing() {
    // RFC 5927 section 5.2, RFC 6633.
    let gate = Gate::new("ICMP, hard errors and source quench").answers(0.0).counts("drops.icmp_ignored");
    gate.withstands(|attacker| {
        let seq = attacker.flow.snd_nxt.wrapping_sub(1_460);
        let what = [(3, 0), (3, 1), (3, 2), (3, 3), (4, 0), (12, 0), (5, 1)][attacker.moment as usize % 7];
        attacker.send(quoting(attacker, what, [0; 4], seq));
    });
}

#[test]
fn messages_that_packets_are_too_big_cost_a_connection_whose_segments_arrive_nothing() {
    // RFC 5927 section 7, by an attacker who sees the flow.
    let gate = Gate::new("ICMP, too big").answers(0.0).counts("drops.too_big_ignored");
    let verdict = gate.withstands(|attacker| {
        // Before any of them has arrived, such a message is what it says.
        if attacker.moment > 500 {
            let seq = attacker.flow.snd_nxt.wrapping_sub(1_460);
            attacker.send(quoting(attacker, (3, 4), [0, 0, 2, 0x28], seq));
        }
    });
    assert_eq!(verdict.attacked.moved("control.too_big_believed"), 0);
}

#[test]
fn what_comes_from_ourselves_or_from_nobody_goes_no_further() {
    // LAND, RFC 9293 MUST-57 and MUST-63, RFC 1122 section 3.2.1.3.
    let gate = Gate::new("LAND and martians").answers(0.0).counts("drops.martian");
    gate.withstands(|attacker| {
        let ours = attacker.envelope.destination;
        let source = match attacker.moment % 6 {
            0 => ours,
            1 => [127, 0, 0, 1].into(),
            2 => [224, 0, 0, 1].into(),
            3 => [0, 0, 0, 0].into(),
            4 => [10, 0, 0, 255].into(),
            _ => [255, 255, 255, 255].into(),
        };
        let envelope = attacker.envelope.from_address(source);
        let port = attacker.random.next_u32() as u16 | 1;
        let frame = match attacker.moment % 4 {
            0 => syn().seq(0).frame(&envelope, (80, 80), 0, 0),
            1 => tcp().flags(TcpFlags::ACK).frame(&envelope, (port, 80), 0, 0),
            2 => envelope.udp(port, 9, b"echo"),
            _ => envelope.ip(Protocol(253), b"?"),
        };
        attacker.send(frame);
    });
}
