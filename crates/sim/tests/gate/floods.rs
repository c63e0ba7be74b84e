//! More of something than anybody needs: SYNs, echoes, datagrams to closed ports, questions for stations.

use sunstar_sim::gate::Gate;
use sunstar_sim::{ack, rst, secs, syn};

#[test]
fn a_flood_of_syns_from_everywhere_holds_a_fixed_number_of_half_open_connections() {
    // RFC 4987. That others can still connect takes cookies, which are not there yet.
    let gate = Gate::new("SYN flood").rate(200_000).lasts(secs(1)).forgets_within(secs(200));
    let verdict = gate.buffers(1 << 20).answers(0.05).counts("drops.syn_queue_full").withstands(|attacker| {
        let envelope = attacker.as_anybody();
        let (port, seq) = (attacker.random.range(1_024..=65_535) as u16, attacker.random.next_u32());
        attacker.send(syn().seq(seq).mss(1_460).frame(&envelope, (port, 80), 0, 0));
    });
    assert_eq!(verdict.attacked.most.half_open, 1_024, "the configured backlog");
}

#[test]
fn a_flood_of_syns_from_stations_that_are_not_there_takes_no_more() {
    let gate = Gate::new("SYN flood from the link").rate(50_000).lasts(secs(1)).forgets_within(secs(200));
    let gate = gate.buffers(1 << 20).answers(0.05).counts("drops.syn_queue_full");
    gate.withstands(|attacker| {
        attacker.answers_arp = false;
        let last = attacker.random.range(3..=253) as u8;
        let envelope = attacker.envelope.from_address([10, 0, 0, last].into());
        let port = attacker.random.range(1_024..=65_535) as u16;
        attacker.send(syn().seq(0).frame(&envelope, (port, 80), 0, 0));
    });
}

#[test]
fn a_closed_port_answers_no_longer_than_it_was_asked() {
    let gate = Gate::new("closed TCP ports").counts("drops.tcp_no_connection").counts("tcp.resets_sent");
    let verdict = gate.withstands(|attacker| {
        let envelope = attacker.as_anybody();
        let port = attacker.random.range(1_024..=65_535) as u16;
        let segment = if attacker.moment % 2 == 0 { syn().seq(7) } else { ack(7).seq(7) };
        attacker.send(segment.frame(&envelope, (9, port), 0, 0));
    });
    let (answers, frames) = (verdict.attacked.answers, verdict.attacked.frames);
    assert!(answers.1 <= frames.1 + 4_096, "nothing is amplified: {verdict}");
}

#[test]
fn refusals_without_end_leave_the_device_to_the_healthy_flow() {
    // Nearly what the device carries, if all of them were answered before anything else.
    let gate = Gate::new("flood of closed TCP ports").rate(200_000).lasts(secs(1));
    gate.counts("tcp.resets_sent").withstands(|attacker| {
        let envelope = attacker.as_anybody();
        attacker.send(ack(7).seq(7).frame(&envelope, (9, 9), 0, 0));
    });
}

#[test]
fn a_reset_is_never_answered() {
    let gate = Gate::new("RSTs to closed ports").answers(0.0).counts("drops.tcp_no_connection");
    gate.withstands(|attacker| {
        let envelope = attacker.as_anybody();
        let segment = if attacker.moment % 2 == 0 { rst().seq(7) } else { rst().seq(7).ack(7) };
        attacker.send(segment.frame(&envelope, (9, 9), 0, 0));
    });
}

#[test]
fn datagrams_to_closed_ports_are_answered_a_thousand_times_a_second_and_with_no_more_than_they_were() {
    let gate = Gate::new("closed UDP ports").answers(0.15);
    let gate = gate.counts("drops.icmp_limited").counts("drops.udp_no_socket");
    let verdict = gate.withstands(|attacker| {
        let envelope = attacker.as_anybody();
        let len = attacker.random.below(1_400) as usize;
        attacker.send(envelope.udp(53, 9, &vec![0; len]));
    });
    assert!(verdict.attacked.answers.1 <= verdict.attacked.frames.1, "nothing is amplified: {verdict}");
}

#[test]
fn echoes_are_answered_once_each_and_with_as_much_as_they_brought() {
    let gate = Gate::new("echo flood").counts("control.echo_answered");
    let verdict = gate.withstands(|attacker| {
        let envelope = attacker.as_anybody();
        attacker.send(envelope.icmp(8, 0, [0, 1, 0, 1], &[0; 56]));
    });
    assert!(
        verdict.attacked.answers.1 <= verdict.attacked.frames.1 + 4_096,
        "nothing is amplified: {verdict}"
    );
}

#[test]
fn long_echoes_leave_the_device_to_the_healthy_flow() {
    // More than the device carries, if all of them were answered.
    let gate = Gate::new("flood of long echoes").buffers(1 << 20).counts("control.echo_answered");
    gate.withstands(|attacker| {
        let envelope = attacker.as_anybody();
        attacker.send(envelope.icmp(8, 0, [0, 1, 0, 1], &[0; 1_400]));
    });
}

#[test]
fn answers_that_nobody_asked_for_move_no_binding_and_fill_no_cache() {
    let gate = Gate::new("ARP, unsolicited").answers(0.0).counts("drops.unsolicited_arp");
    gate.withstands(|attacker| {
        // The healthy flow's own peer among them: were it believed, the flow would end.
        let last = if attacker.moment % 2 == 0 { 2 } else { attacker.random.range(3..=253) as u8 };
        let sender = [10, 0, 0, last].into();
        attacker.send(attacker.envelope.arp(false, sender, attacker.envelope.destination));
    });
}

#[test]
fn questions_in_anybodys_name_move_no_binding() {
    let gate = Gate::new("ARP, questions in others' names").counts("control.arp_replies_sent");
    gate.withstands(|attacker| {
        let last = if attacker.moment % 2 == 0 { 2 } else { attacker.random.range(3..=253) as u8 };
        let envelope = attacker.envelope.to_everyone();
        attacker.send(envelope.arp(true, [10, 0, 0, last].into(), envelope.destination));
    });
}

#[test]
fn claims_to_our_own_address_are_answered_once_in_ten_seconds() {
    // RFC 5227 section 2.4.
    let gate = Gate::new("ARP, our own address").answers(0.001).counts("control.address_conflicts");
    gate.withstands(|attacker| {
        let ours = attacker.envelope.destination;
        attacker.envelope.source_mac[4] = attacker.moment as u8;
        attacker.send(attacker.envelope.arp(attacker.moment % 2 == 0, ours, ours));
    });
}

#[test]
fn packets_from_neighbours_that_are_not_there_fill_the_cache_and_evict_nobody() {
    let gate = Gate::new("scan of the link").config(|config| config.neighbor.max_entries = 64);
    let gate = gate.buffers(1 << 20).forgets_within(secs(10)).counts("drops.host_unreachable");
    let verdict = gate.withstands(|attacker| {
        attacker.answers_arp = false;
        let last = attacker.random.range(3..=253) as u8;
        let envelope = attacker.envelope.from_address([10, 0, 0, last].into());
        attacker.send(envelope.icmp(8, 0, [0, 1, 0, 1], &[0; 56]));
    });
    assert_eq!(verdict.attacked.most.neighbors, 64, "the configured cap");
}
