//! What strangers send: nothing changes but for one limited answer (RFC 5961, RFC 9293 MUST-57, MUST-63; the classes of
//! known vulnerabilities).

use std::net::{Ipv4Addr, SocketAddr};

use sunstar_sim::{Pair, Script, Side, ack, data, fin, ms, noise, secs, syn, syn_ack, tcp, us};
use sunstar_stack::{ConnectionKey, SocketError, State};
use sunstar_wire::Protocol;
use sunstar_wire::tcp::TcpFlags;

/// An open connection with something said both ways.
fn open(script: &mut Script) -> ConnectionKey {
    let connection = script.open();
    script.inject(tcp().seq(1).ack(1).data(b"hello"));
    script.expect(tcp().seq(1).ack(6));
    script.host.send(connection, b"world");
    script.expect(tcp().seq(1).ack(6).data(b"world"));
    script.inject(tcp().seq(6).ack(6));
    connection
}

/// The connection is as it was: it still takes and gives.
fn assert_unharmed(script: &mut Script, connection: ConnectionKey) {
    script.drive_for(secs(1));
    script.heard();
    assert_eq!(script.host.state(connection), State::Established);
    let before = script.host.received(connection).len();
    assert_eq!(before, 5, "not a byte was added");
    script.inject(tcp().seq(6).ack(6).data(b" still here"));
    assert_eq!(&script.host.received(connection)[5..], b" still here");
    script.heard();
}

#[test]
fn a_reset_in_the_window_but_not_at_its_edge_is_challenged() {
    let mut script = Script::new();
    let connection = open(&mut script);
    script.inject(tcp().rst().seq(7));
    script.expect(tcp().seq(6).ack(6));
    assert_eq!(script.host.state(connection), State::Established);
    assert_eq!(script.host.counters().tcp.challenge_acks, 1);
    assert_eq!(script.host.counters().drops.tcp_blind_attack, 1);
    assert_unharmed(&mut script, connection);
}

#[test]
fn a_reset_outside_the_window_is_ignored_in_silence() {
    let mut script = Script::new();
    let connection = open(&mut script);
    for seq in [0, 5, 6 + 65_535, 0x8000_0000, u32::MAX] {
        script.inject(tcp().rst().seq(seq));
    }
    script.expect_silence(ms(100));
    assert_unharmed(&mut script, connection);
}

#[test]
fn a_reset_at_the_edge_of_the_window_ends_the_connection() {
    let mut script = Script::new();
    let connection = open(&mut script);
    script.inject(tcp().rst().seq(6));
    script.expect_silence(ms(100));
    assert_eq!(script.host.error(connection), Some(SocketError::ConnectionReset));
}

#[test]
fn of_all_resets_that_sweep_the_window_only_the_exact_one_ends_the_connection() {
    let mut script = Script::new();
    let connection = open(&mut script);
    for seq in (7..60_000).step_by(7).chain((0x1000_0000..=0xffff_0000).step_by(0x0100_0000)) {
        script.inject(tcp().rst().seq(seq));
        assert_eq!(script.host.state(connection), State::Established, "{seq}");
    }
    assert!(script.heard().len() <= 1, "answers are limited");
    assert_unharmed(&mut script, connection);
}

#[test]
fn a_syn_on_an_open_connection_is_challenged_wherever_it_is() {
    for seq in [0, 6, 100, 70_000, 0x8000_0000] {
        let mut script = Script::new();
        let connection = open(&mut script);
        script.inject(tcp().syn().seq(seq));
        script.expect(tcp().seq(6).ack(6));
        assert_eq!(script.host.state(connection), State::Established);
        script.drive_for(secs(1));
        script.inject(tcp().syn().seq(seq).ack(6));
        script.expect(tcp().seq(6).ack(6));
        assert_unharmed(&mut script, connection);
    }
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_answered_and_its_data_not_taken() {
    let mut script = Script::new();
    let connection = open(&mut script);
    script.inject(tcp().seq(6).ack(7).data(b"forged"));
    script.expect(tcp().seq(6).ack(6));
    script.inject(tcp().seq(6).ack(0x4000_0000).data(b"forged"));
    assert_eq!(script.host.counters().drops.tcp_bad_acknowledgement, 2);
    assert_unharmed(&mut script, connection);
}

#[test]
fn an_acknowledgement_older_than_any_window_is_not_believed() {
    let mut script = Script::new();
    let connection = open(&mut script);
    for ack in [0x8000_0006, 0xf000_0000, 6_u32.wrapping_sub(65_536)] {
        script.inject(tcp().seq(6).ack(ack).data(b"forged"));
    }
    assert_eq!(script.host.counters().drops.tcp_bad_acknowledgement, 3);
    assert_unharmed(&mut script, connection);
}

#[test]
fn data_without_an_acknowledgement_is_not_taken() {
    let mut script = Script::new();
    let connection = open(&mut script);
    script.inject(tcp().seq(6).data(b"forged"));
    script.inject(tcp().fin().seq(6).data(b"forged"));
    assert_unharmed(&mut script, connection);
}

#[test]
fn data_outside_the_window_changes_nothing_and_is_answered_by_one_acknowledgement() {
    let mut script = Script::new();
    let connection = open(&mut script);
    for seq in [6 + 65_535, 0x4000_0000, 0xc000_0000] {
        script.inject(tcp().seq(seq).ack(6).data(b"forged"));
        script.inject(tcp().fin().seq(seq).ack(6));
    }
    let answers = script.segments();
    assert!(answers.len() <= 6 && answers.iter().all(|it| it.ack == 6 && it.payload.is_empty()));
    assert_unharmed(&mut script, connection);
}

#[test]
fn challenges_are_limited_for_each_connection_on_its_own() {
    let mut script = Script::new();
    let listener = script.host.listen(80);
    for port in [1_000, 2_000] {
        script.ports.0 = port;
        script.inject(tcp().syn().seq(0));
        script.expect(tcp().syn().seq(0).ack(1));
        script.inject(tcp().seq(1).ack(1));
        script.host.accept(listener);
    }
    let mut answers = [0, 0];
    for _ in 0..1_000 {
        script.inject(tcp().rst().seq(50).from_port(1_000));
        answers[0] += script.heard().len();
        script.drive_for(ms(1));
    }
    script.inject(tcp().rst().seq(50).from_port(2_000));
    answers[1] += script.heard().len();
    assert!(answers[0] <= 3, "{answers:?}");
    assert_eq!(answers[1], 1, "one connection's limit tells nothing of another's (CVE-2016-5696)");
}

#[test]
fn two_desynchronised_ends_do_not_storm_each_other() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(1)).build();
    let (client, server) = pair.open();
    pair.drive_for(secs(1));
    // A forged segment to each, with data the other never sent.
    for (to, from) in [(Side::A, Side::B), (Side::B, Side::A)] {
        let info = match to {
            Side::A => pair.a.info(client).unwrap(),
            Side::B => pair.b.info(server).unwrap(),
        };
        let (SocketAddr::V4(local), SocketAddr::V4(remote)) = (info.local, info.remote) else { panic!() };
        let frame = tcp().seq(0x7000_0000).ack(0x7000_0000).data(b"forged").frame(
            &pair.envelope(from),
            (remote.port(), local.port()),
            0,
            0,
        );
        pair.inject(to, &frame);
    }
    let before = pair.trace.frames();
    pair.drive_for(secs(10));
    let frames = pair.trace.frames() - before;
    assert!(frames <= 40, "{frames} in ten seconds");
}

#[test]
fn a_segment_from_ourselves_is_dropped() {
    let mut script = Script::new();
    script.host.listen(80);
    let ours = script.host.address();
    let land = script.envelope.from_address(ours);
    let frame = tcp().syn().seq(0).frame(&land, (80, 80), 0, 0);
    script.inject_frame(&frame);
    script.expect_silence(secs(1));
    assert_eq!(script.host.counters().drops.martian, 1);
    assert_eq!(script.host.shard().tcp_connections().count(), 0);
}

#[test]
fn nothing_begins_with_a_segment_to_or_from_a_group() {
    let mut script = Script::new();
    script.host.listen(80);
    let envelope = script.envelope;
    let mut to_all = envelope.to_everyone();
    let group = Ipv4Addr::new(224, 0, 0, 1);
    for frame in [
        tcp().syn().frame(&to_all, (1, 80), 0, 0),
        tcp().syn().frame(&to_all.to_address(Ipv4Addr::new(10, 0, 0, 255)), (1, 80), 0, 0),
        tcp().syn().frame(&to_all.to_address(Ipv4Addr::BROADCAST), (1, 80), 0, 0),
        tcp().syn().frame(&envelope.from_address(group), (1, 80), 0, 0),
        tcp().syn().frame(&envelope.from_address(Ipv4Addr::UNSPECIFIED), (1, 80), 0, 0),
        tcp().syn().frame(&envelope.from_address(Ipv4Addr::new(10, 0, 0, 255)), (1, 80), 0, 0),
        tcp().syn().frame(&envelope, (0, 80), 0, 0),
        {
            to_all.destination_mac = [1, 0, 0x5e, 0, 0, 1];
            tcp().syn().frame(&to_all.to_address(group), (1, 80), 0, 0)
        },
    ] {
        script.inject_frame(&frame);
    }
    script.expect_silence(secs(1));
    assert_eq!(script.host.shard().tcp_connections().count(), 0);
}

#[test]
fn a_peer_with_a_segment_size_of_nothing_gets_sensible_segments() {
    for mss in [0, 1, 48, 87, 88] {
        let mut script = Script::new();
        let connection = script.open_with(tcp().mss(mss));
        script.host.send(connection, &noise(5_000, 1));
        let first = script.segment_within(ms(0)).unwrap();
        assert!((88..=1_460).contains(&first.payload.len()), "{mss}: {}", first.payload.len());
    }
}

#[test]
fn a_peer_whose_first_number_is_the_last_there_is_is_served() {
    let mut script = Script::builder().isn(u32::MAX).build();
    let connection = script.open();
    script.inject(tcp().seq(1).ack(1).data(b"hello"));
    script.expect(tcp().seq(1).ack(6));
    assert_eq!(script.host.received(connection), b"hello");
    script.inject(tcp().fin().seq(6).ack(1));
    script.expect(tcp().seq(1).ack(7));
}

#[test]
fn a_fin_for_a_connection_being_opened_is_survived() {
    for flags in [TcpFlags::FIN, TcpFlags::FIN | TcpFlags::SYN, TcpFlags::FIN | TcpFlags::RST] {
        let mut script = Script::new();
        let connection = script.start_connect();
        script.inject(tcp().flags(flags).seq(0));
        script.heard();
        assert!(matches!(
            script.host.state(connection),
            State::SynSent | State::SynReceived | State::CloseWait
        ));
        script.drive_for(secs(1));
        script.heard();
    }
}

#[test]
fn reports_of_holes_that_cannot_be_are_survived() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).sack_ok());
    script.host.send(connection, &[0; 20_000]);
    script.settle();
    script.heard();
    for blocks in [
        [(500, 400), (1, 1)],
        [(0, u32::MAX), (u32::MAX, 0)],
        [(1_000_000, 2_000_000), (0x8000_0000, 0x9000_0000)],
        [(0, 1), (0x7fff_ffff, 0xffff_ffff)],
    ] {
        script.inject(tcp().seq(1).ack(1).sack(&blocks));
    }
    script.heard();
    script.inject(tcp().seq(1).ack(14_601));
    assert!(!script.segments().is_empty(), "it goes on");
}

#[test]
fn alternating_holes_are_survived_and_bounded() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(100).sack_ok().wscale(7));
    script.host.send(connection, &noise(400_000, 1));
    script.settle();
    let mut acked = 1;
    for round in 0..2_000_u32 {
        for segment in script.segments() {
            let end = segment.seq + segment.payload.len() as u32;
            if round % 2 == 0 && segment.seq > acked {
                script
                    .inject(tcp().seq(1).ack(acked).sack(&[(segment.seq, segment.seq + 8), (end - 8, end)]));
            }
        }
        acked += 90;
        script.inject(tcp().seq(1).ack(acked.min(script_end(&script, connection))));
    }
    let info = script.host.info(connection).unwrap();
    assert!(info.memory < 4 << 20, "{info:?}");
}

/// The highest number the host may be told it was acknowledged.
fn script_end(script: &Script, connection: ConnectionKey) -> u32 {
    let info = script.host.info(connection).unwrap();
    400_001 - (info.send_queue as u32).saturating_sub(info.flight)
}

#[test]
fn one_byte_pieces_out_of_order_are_bounded_in_memory() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).sack_ok().wscale(7));
    let mut at = 3;
    for _ in 0..10_000 {
        script.inject(tcp().seq(at % 60_000 + 3).ack(1).data(b"x"));
        at += 7_919 * 2;
        script.heard();
    }
    let info = script.host.info(connection).unwrap();
    assert!(info.memory <= 2 * (512 << 10) + 4_096, "{info:?}");
    assert!(script.host.buffers_out() <= 1_024 + 64, "{}", script.host.buffers_out());
    script.inject(tcp().seq(1).ack(1).data(b"ab"));
    assert!(script.host.received(connection).starts_with(b"ab"), "what is in order goes on");
}

#[test]
fn small_pieces_in_order_that_nobody_reads_are_bounded_in_memory() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).wscale(7));
    script.host.stop_reading(connection);
    for at in 0..20_000 {
        script.inject(tcp().seq(1 + at).ack(1).data(b"x"));
        script.heard();
    }
    let info = script.host.info(connection).unwrap();
    assert_eq!(info.receive_queue, 20_000);
    assert!(info.memory < 128 << 10, "20 kB in {} bytes", info.memory);
    script.host.start_reading(connection);
    assert_eq!(script.host.received(connection), [b'x'; 20_000]);
}

#[test]
fn a_flood_of_syns_holds_a_fixed_number_of_half_open_connections() {
    let mut script = Script::builder().tcp(|tcp| tcp.syn_backlog = 128).build();
    script.host.listen(80);
    for number in 0..5_000_u32 {
        let source = Ipv4Addr::from_bits(0x0a00_0000 + 3 + number % 200);
        let spoofed = script.envelope.from_address(source);
        let frame = tcp().syn().seq(number).frame(&spoofed, (1_024 + number as u16, 80), 0, 0);
        script.inject_frame(&frame);
        script.drive_for(us(50));
    }
    assert_eq!(script.host.shard().tcp_connections().count(), 128);
    assert!(script.host.counters().drops.syn_queue_full > 4_000);
    assert!(script.host.buffers_out() < 1_000);
    script.drive_for(secs(200));
    assert_eq!(script.host.shard().tcp_connections().count(), 0);
    assert_eq!(script.host.buffers_out(), 0);
}

#[test]
fn headers_that_lie_about_their_length_are_dropped() {
    let mut script = Script::new();
    let connection = open(&mut script);
    for words in (0..5).chain(6..=15) {
        script.inject(tcp().seq(6).ack(6).header_words(words));
    }
    let segment = script.frame(&tcp().seq(6).ack(6).data(b"cut"))[34..].to_vec();
    for len in 0..20 {
        script.inject_frame(&script.envelope.ip(Protocol::TCP, &segment[..len]));
    }
    assert_unharmed(&mut script, connection);
}

#[test]
fn a_wrong_checksum_is_dropped() {
    let mut script = Script::new();
    let connection = open(&mut script);
    script.inject(tcp().seq(6).ack(6).data(b"damaged").bad_checksum());
    script.inject(tcp().rst().seq(6).bad_checksum());
    script.expect_silence(ms(100));
    assert_eq!(script.host.counters().drops.bad_checksum, 2);
    assert_unharmed(&mut script, connection);
}

#[test]
fn every_combination_of_flags_is_survived_in_every_state() {
    for state in 0..6 {
        for bits in 0..=0x1ff_u16 {
            let mut script = Script::new();
            let connection = match state {
                0 => script.start_connect(),
                1 => script.open(),
                2 => {
                    let connection = script.open();
                    script.host.shutdown(connection);
                    connection
                }
                3 => {
                    let connection = script.open();
                    script.inject(tcp().fin().seq(1).ack(1));
                    connection
                }
                4 => {
                    let connection = script.open();
                    script.host.shutdown(connection);
                    script.settle();
                    script.inject(tcp().fin().seq(1).ack(1));
                    connection
                }
                _ => {
                    let connection = script.open();
                    script.host.close(connection);
                    script.settle();
                    script.inject(tcp().fin().seq(1).ack(2));
                    connection
                }
            };
            script.settle();
            for (seq, ack) in [(1, 1), (2, 2), (0, 0), (2, 1), (1, 2), (0x7000_0000, 0x7000_0000)] {
                script.inject(tcp().flags(TcpFlags(bits)).seq(seq).ack_number(ack).data(b"?"));
                script.inject(tcp().flags(TcpFlags(bits)).seq(seq).ack_number(ack));
                assert!(script.heard().len() <= 4, "state {state}, flags {}", TcpFlags(bits));
            }
            let _ = connection;
            if bits % 16 != 0 {
                // Most are not waited for to the end of their time.
                script.leave();
            }
        }
    }
}

#[test]
fn an_urgent_pointer_changes_nothing_in_the_stream_in_any_state() {
    for pointer in [0, 1, 5, 6, u16::MAX] {
        let mut script = Script::new();
        let listener = script.host.listen(80);
        script.inject(syn().seq(0).mss(1_460).urgent(pointer)).expect(syn_ack().seq(0).ack(1));
        script.inject(data(b"in SYN-RECEIVED, ").seq(1).ack(1).urgent(pointer)).expect(ack(18).seq(1));
        let connection = script.host.accept(listener);
        script.inject(data(b"ESTABLISHED, ").seq(18).ack(1).urgent(pointer)).expect(ack(31).seq(1));
        script.host.shutdown(connection);
        script.expect(fin().seq(1).ack(31));
        script.inject(data(b"FIN-WAIT-1 ").seq(31).ack(1).urgent(pointer)).expect(ack(42).seq(2));
        script.inject(data(b"and FIN-WAIT-2").seq(42).ack(2).urgent(pointer)).expect(ack(56).seq(2));
        script.inject(fin().seq(56).ack(2).urgent(pointer)).expect(ack(57).seq(2));
        let stream = b"in SYN-RECEIVED, ESTABLISHED, FIN-WAIT-1 and FIN-WAIT-2";
        assert_eq!(script.host.received(connection), stream);
        assert!(script.host.has_ended(connection) && script.host.shard().tcp_time_wait() == 1);
        // TIME-WAIT.
        script.inject(ack(2).seq(57).urgent(pointer)).expect_silence(ms(100));
    }
}

#[test]
fn an_urgent_pointer_where_no_data_can_come_changes_nothing_either() {
    for pointer in [0, 1, u16::MAX] {
        let mut script = Script::new();
        let connection = script.start_connect();
        script.inject(ack(1).seq(0).urgent(pointer)).expect_silence(ms(10));
        script.inject(syn_ack().seq(0).ack(1).mss(1_460).urgent(pointer)).expect(ack(1).seq(1));
        script.inject(fin().seq(1).ack(1).urgent(pointer)).expect(ack(2).seq(1));
        script.inject(ack(1).seq(2).urgent(pointer)).expect_silence(ms(10));
        assert_eq!(script.host.state(connection), State::CloseWait);
        script.host.shutdown(connection);
        script.expect(fin().seq(1).ack(2));
        script.inject(ack(1).seq(2).urgent(pointer)).expect_silence(ms(10));
        assert_eq!(script.host.state(connection), State::LastAck);
        script.inject(ack(2).seq(2).urgent(pointer)).expect_silence(ms(10));
        assert_eq!(script.host.state(connection), State::Closed);
        assert!(script.host.received(connection).is_empty() && script.host.error(connection).is_none());
    }
    // Both ends close at once: CLOSING.
    let mut script = Script::new();
    let connection = script.open();
    script.host.shutdown(connection);
    script.expect(fin().seq(1).ack(1));
    script.inject(fin().seq(1).ack(1).urgent(1)).expect(ack(2).seq(2));
    assert_eq!(script.host.state(connection), State::Closing);
    script.inject(ack(2).seq(2).urgent(1)).expect_silence(ms(10));
    assert_eq!(script.host.shard().tcp_time_wait(), 1);
}
