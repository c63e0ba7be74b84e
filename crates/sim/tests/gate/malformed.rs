//! What cannot be: lengths that lie, options without end, fragments that contradict each other.

use sunstar_packet::{ChecksumNote, Notes, Segmentation, SegmentationKind};
use sunstar_sim::decode::{Body, Transport};
use sunstar_sim::gate::{Attacker, Gate};
use sunstar_sim::{Script, ack, data, secs, syn, tcp};
use sunstar_stack::{Applied, DhcpConfig, DhcpFilter};
use sunstar_wire::Protocol;

/// A frame of each protocol that A would answer, or take.
fn sound(attacker: &mut Attacker) -> Vec<u8> {
    let envelope = attacker.envelope;
    match attacker.random.below(5) {
        0 => envelope.icmp(8, 0, [0, 1, 0, 1], &[0; 64]),
        1 => envelope.udp(9, 9, &[0; 64]),
        2 => syn().seq(0).mss(1_460).sack_ok().ts(1, 0).frame(&envelope, (9, 81), 0, 0),
        3 => data(&[0; 64]).seq(1).ack(1).frame(&envelope, (9, 81), 0, 0),
        _ => envelope.arp(true, envelope.source, envelope.destination),
    }
}

#[test]
fn lengths_that_lie_are_dropped() {
    // Ripple20, INFRA:HALT.
    let gate = Gate::new("length lies").counts("drops.malformed").counts("drops.truncated");
    gate.withstands(|attacker| {
        let mut frame = sound(attacker);
        let lie = attacker.random.next_u32();
        match attacker.random.below(4) {
            0 => frame[14] = 0x40 | (lie & 15) as u8,
            1 => frame[16..18].copy_from_slice(&lie.to_be_bytes()[..2]),
            2 => frame[38 + (lie & 15) as usize % 4] = (lie >> 8) as u8,
            _ => frame.truncate(attacker.random.below(frame.len() as u64) as usize),
        }
        // The header's sum is made right again: the lie is to be found, not the damage.
        if frame.len() >= 34 && frame[12..14] == [8, 0] {
            frame[24..26].fill(0);
            let len = (usize::from(frame[14] & 15) * 4).clamp(20, frame.len() - 14);
            let sum = sunstar_wire::checksum::checksum(&frame[14..14 + len]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        attacker.send(frame);
    });
}

/// What lies behind every packet, and may never be seen.
const POISON: [u8; 16] = *b"\xde\xadPOISON\xbe\xefPOISON";

/// Whether a piece of the poison is among these bytes.
fn is_poisoned(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|window| POISON.windows(4).any(|poison| poison == window))
}

#[test]
fn no_byte_behind_a_packet_is_ever_seen_whatever_its_lengths_say() {
    let mut script = Script::new();
    let socket = script.host.udp_bind(53);
    let connection = script.open();
    let envelope = script.envelope;
    let frames = [
        envelope.icmp(8, 0, [0, 1, 0, 1], &[0; 16]),
        envelope.udp(9, 53, &[0; 16]),
        envelope.udp(9, 9, &[0; 16]),
        script.frame(&data(&[0; 16]).seq(1).ack(1)),
        syn().seq(0).mss(1_460).sack_ok().ts(1, 0).frame(&envelope, (9, 81), 0, 0),
        envelope.arp(true, envelope.source, envelope.destination),
    ];
    let behind = POISON.repeat(8);
    let mut answers = 0;
    for frame in &frames {
        for header_words in 0..=15 {
            for total_len in (0..=80).chain([0x7fff, 0xffff]) {
                for cut in (0..=frame.len()).rev() {
                    // The header's length and the packet's, each with the header's sum made right for it.
                    let mut lie = frame.clone();
                    if lie[12..14] == [8, 0] {
                        lie[14] = 0x40 | header_words;
                        lie[16..18].copy_from_slice(&u16::to_be_bytes(total_len));
                        lie[24..26].fill(0);
                        let len = (usize::from(header_words) * 4).clamp(20, lie.len() - 14);
                        let sum = sunstar_wire::checksum::checksum(&lie[14..14 + len]);
                        lie[24..26].copy_from_slice(&sum.to_be_bytes());
                    } else if header_words > 0 || total_len > 0 {
                        break;
                    }
                    lie.truncate(cut);
                    script.inject_before(&lie, &behind);
                    for heard in script.heard() {
                        answers += 1;
                        assert!(!is_poisoned(&heard.bytes), "{}", heard.frame);
                    }
                }
                script.drive_for(sunstar_sim::us(100));
            }
        }
    }
    for (_, datagram) in script.host.udp_recv_all(socket) {
        assert!(!is_poisoned(&datagram));
    }
    assert!(!is_poisoned(&script.host.take_received(connection)));
    assert!(answers > 100, "some of them are sound: {answers}");
}

/// Forty bytes of options: one of every kind and length in its turn, with others of no length behind.
fn options(moment: u64) -> [u8; 40] {
    let mut options = [0; 40];
    (options[0], options[1]) = ((moment / 256) as u8, moment as u8);
    options[2..].fill([0, 1, 7, 0xff][moment as usize % 4]);
    options
}

#[test]
fn ip_options_without_end_cost_no_more_than_their_bytes() {
    // AMNESIA:33. Their answers are limited with all other errors.
    let gate =
        Gate::new("IP option loops").answers(0.2).counts("drops.malformed").counts("drops.icmp_limited");
    gate.withstands(|attacker| {
        let options = options(attacker.moment * 3);
        let echo = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
        attacker.send(attacker.envelope.ip_with_options(Protocol::ICMP, &options, &echo));
    });
}

#[test]
fn tcp_options_without_end_cost_no_more_than_their_bytes() {
    // RFC 9293 MUST-7.
    let gate = Gate::new("TCP option loops").counts("drops.malformed").forgets_within(secs(1_200));
    gate.withstands(|attacker| {
        let options = options(attacker.moment * 3);
        if attacker.join(4_000, tcp().mss(1_460)) {
            attacker.say(4_000, ack(1).seq(1).option(&options));
            let frame = syn().seq(0).option(&options).frame(&attacker.envelope, (9, 81), 0, 0);
            attacker.send(frame);
        }
    });
}

#[test]
fn a_dhcp_client_hears_nothing_in_what_is_for_others_or_cannot_be_read() {
    let gate = Gate::new("DHCP").config(|config| config.neighbor.announcements = 0).answers(0.001);
    let gate = gate.counts("dhcp.ignored_transaction").counts("dhcp.ignored_malformed").prepared(|host| {
        host.shard_mut().install_filter(Box::new(DhcpFilter));
        host.shard_mut()
            .dhcp_start(&DhcpConfig::default(), None, Applied::default())
            .expect("the only shard configures all");
    });
    let mut asked = [0; 4];
    let verdict = gate.withstands(|attacker| {
        for frame in &attacker.heard {
            if let Body::Ip(_, Transport::Udp { payload, .. }) = &frame.body {
                asked.copy_from_slice(&payload[4..8]);
            }
        }
        // The client's own transaction with options of every kind and length, and others' with sound ones.
        let ours = attacker.moment % 2 == 0;
        let xid = if ours { asked } else { attacker.random.next_u32().to_be_bytes() };
        let mut message =
            [&[2, 1, 6, 0][..], &xid, &[0; 8], &[10, 0, 0, 77, 10, 0, 0, 66, 0, 0, 0, 0]].concat();
        message.extend([&[0x02, 0, 0, 0, 0, 1][..], &[0; 202], &[99, 130, 83, 99]].concat());
        if ours {
            message.extend(options(attacker.moment / 2 * 5));
        } else {
            message.extend([53, 1, 2, 54, 4, 10, 0, 0, 66, 51, 4, 0, 0, 0, 100, 255]);
        }
        let envelope = attacker.envelope.to_address([10, 0, 0, 77].into());
        attacker.send(envelope.udp(67, 68, &message));
    });
    assert_eq!(verdict.attacked.moved("dhcp.offers_received"), 0);
}

#[test]
fn source_routes_of_any_length_are_dropped_and_never_reflected() {
    // URGENT/11, RFC 7126.
    let gate = Gate::new("source routes").answers(0.0).counts("drops.source_route");
    gate.withstands(|attacker| {
        let mut options = [1; 40];
        let at = attacker.random.below(30) as usize;
        options[at] = if attacker.moment % 2 == 0 { 131 } else { 137 };
        options[at + 1] = attacker.random.range(2..=40 - at as u64) as u8;
        options[at + 2] = attacker.moment as u8;
        let frame = match attacker.moment % 3 {
            0 => attacker.envelope.ip_with_options(Protocol::ICMP, &options, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]),
            1 => attacker.envelope.ip_with_options(Protocol::UDP, &options, &[0, 9, 0, 9, 0, 8, 0, 0]),
            _ => {
                let syn = syn().seq(0).frame(&attacker.envelope, (9, 80), 0, 0);
                attacker.envelope.ip_with_options(Protocol::TCP, &options, &syn[34..])
            }
        };
        attacker.send(frame);
    });
}

/// A fragment of a datagram of this number.
fn fragment(attacker: &Attacker, id: u16, offset: usize, len: usize, more: bool) -> Vec<u8> {
    attacker.envelope.ip_with(Protocol::UDP, &vec![attacker.moment as u8; len], |header| {
        (header.identification, header.dont_fragment) = (id, false);
        (header.fragment_offset, header.more_fragments) = (offset as u16, more);
    })
}

#[test]
fn fragments_that_never_become_whole_take_a_bounded_part_of_memory_for_half_a_minute() {
    // FragmentSmack, CVE-2018-5391.
    let gate = Gate::new("FragmentSmack").buffers((4 << 20) + (512 << 10)).forgets_within(secs(35));
    let gate = gate.answers(0.05).counts("drops.reassembly_full");
    let verdict = gate.withstands(|attacker| {
        attacker.envelope = attacker.as_anybody();
        let frame = fragment(attacker, attacker.moment as u16, 0, 1_480, true);
        attacker.send(frame);
    });
    assert!(verdict.attacked.most.reassembly > 3 << 20, "the cap was reached: {verdict}");
}

#[test]
fn one_source_of_fragments_that_never_become_whole_takes_no_more_than_its_share() {
    let gate = Gate::new("FragmentSmack from one source").answers(0.05).forgets_within(secs(35));
    let verdict = gate.buffers(512 << 10).counts("drops.reassembly_full").withstands(|attacker| {
        let frame = fragment(attacker, attacker.moment as u16, 0, 1_480, true);
        attacker.send(frame);
    });
    assert!(verdict.attacked.most.reassembly <= 64 * 4_096, "64 datagrams: {verdict}");
}

#[test]
fn fragments_that_overlap_are_given_up_with_their_datagram() {
    // Teardrop, Rose, RFC 5722.
    let gate = Gate::new("overlapping fragments")
        .answers(0.05)
        .counts("drops.bad_fragment")
        .forgets_within(secs(35));
    gate.buffers(1 << 20).withstands(|attacker| {
        let id = (attacker.moment / 3) as u16;
        if attacker.moment % 3 == 0 {
            attacker.envelope = attacker.as_anybody();
        }
        let frame = match attacker.moment % 3 {
            0 => fragment(attacker, id, 0, 64, true),
            1 => fragment(attacker, id, 24, 16, true),
            _ => fragment(attacker, id, 56, 256, false),
        };
        attacker.send(frame);
    });
}

#[test]
fn fragments_that_end_behind_the_longest_packet_are_dropped() {
    // The ping of death.
    let gate = Gate::new("ping of death").answers(0.05).counts("drops.malformed").forgets_within(secs(35));
    gate.buffers(1 << 20).withstands(|attacker| {
        let id = (attacker.moment / 2) as u16;
        let frame = match attacker.moment % 2 {
            0 => fragment(attacker, id, 65_528 / 8 * 8, 600, false),
            _ => fragment(attacker, id, 64_000, 1_480, true),
        };
        attacker.send(frame);
    });
}

#[test]
fn fragments_of_eight_bytes_are_no_cheaper_than_others() {
    // RFC 1858, RFC 3128: headers cut in two, and datagrams of crumbs.
    let gate = Gate::new("tiny fragments").answers(0.05).forgets_within(secs(35)).buffers(5 << 20);
    gate.counts("drops.malformed").withstands(|attacker| {
        let id = (attacker.moment / 100) as u16;
        let at = (attacker.moment % 100) as usize * 8;
        let mut frame = fragment(attacker, id, at, 8, true);
        if attacker.moment % 2 == 0 {
            frame = attacker.envelope.ip_with(Protocol::TCP, &[0; 8], |header| {
                (header.identification, header.dont_fragment) = (id, false);
                (header.fragment_offset, header.more_fragments) = (at as u16, true);
            });
        }
        attacker.send(frame);
    });
}

#[test]
fn what_a_device_says_of_a_frame_that_cannot_be_harms_nothing() {
    let gate = Gate::new("offload metadata lies").counts("drops.tcp_no_connection");
    gate.withstands(|attacker| {
        let frame = sound(attacker);
        let number = |attacker: &mut Attacker| match attacker.random.below(4) {
            0 => 0,
            1 => 1,
            2 => u16::MAX,
            _ => attacker.random.next_u32() as u16,
        };
        let kind = [SegmentationKind::TcpV4, SegmentationKind::TcpV6, SegmentationKind::Udp];
        let segmentation = Segmentation {
            kind: kind[attacker.random.below(3) as usize],
            size: number(attacker),
            header_len: number(attacker),
        };
        let checksum = ChecksumNote::Partial { start: number(attacker), offset: number(attacker) };
        let hash = Some(attacker.random.next_u32());
        let notes = Notes { checksum, segmentation: Some(segmentation), hash, ..Notes::default() };
        attacker.send_with(frame, notes);
    });
}
