//! Segments that arrive (RFC 9293 section 3.10.7, RFC 5961, RFC 7323).

use sunstar_sim::{Script, ms, noise, secs, tcp};
use sunstar_stack::{ConnectionKey, State};

/// A connection whose window the peer has filled to the last byte; where it ends.
fn with_a_full_window() -> (Script, ConnectionKey, u32) {
    let mut script = Script::builder().tcp(|tcp| tcp.receive_buffer = 4_096).build();
    let connection = script.open();
    script.host.stop_reading(connection);
    for piece in 0..4 {
        script.inject(tcp().seq(1 + piece * 1_024).ack(1).len(1_024));
    }
    script.drive_for(secs(1));
    script.heard();
    (script, connection, 1 + 4_096)
}

#[test]
fn a_probe_with_a_byte_of_a_closed_window_is_acknowledged() {
    let (mut script, _, end) = with_a_full_window();
    script.inject(tcp().seq(end).ack(1).len(1));
    script.expect(tcp().seq(1).ack(end).win(0));
}

#[test]
fn what_reaches_beyond_the_window_is_cut_and_acknowledged_at_once() {
    let mut script = Script::builder().tcp(|tcp| tcp.receive_buffer = 4_096).build();
    let connection = script.open();
    script.drive_for(secs(1));
    script.host.stop_reading(connection);
    for piece in 0..4 {
        script.inject(tcp().seq(1 + piece * 1_000).ack(1).len(1_000));
    }
    script.drive_for(secs(1));
    script.heard();
    script.inject(tcp().fin().seq(4_001).ack(1).len(1_000));
    script.expect(tcp().seq(1).ack(4_097).win(0));
    assert_eq!(script.host.state(connection), State::Established, "the FIN was beyond the window");
}

#[test]
fn a_fin_behind_a_window_full_of_data_leaves_a_sane_reading() {
    let mut script = Script::builder().tcp(|tcp| tcp.receive_buffer = 4_096).build();
    let connection = script.open();
    script.host.stop_reading(connection);
    for piece in 0..3 {
        script.inject(tcp().seq(1 + piece * 1_024).ack(1).len(1_024));
    }
    script.inject(tcp().fin().seq(1 + 3 * 1_024).ack(1).len(1_024));
    assert_eq!(script.host.state(connection), State::CloseWait);
    assert_eq!(script.host.info(connection).unwrap().rcv_wnd, 0);
}

#[test]
fn data_that_comes_with_the_answer_to_our_syn_is_taken() {
    let mut script = Script::new();
    let connection = script.start_connect();
    script.inject(tcp().syn().seq(0).ack(1).mss(1_460).data(b"welcome"));
    script.expect(tcp().seq(1).ack(8));
    assert_eq!(script.host.received(connection), b"welcome");
}

#[test]
fn a_forged_segment_with_a_wrong_acknowledgement_does_not_move_the_timestamp() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).ts(100, 0));
    script.drive_for(secs(1));
    script.heard();
    script.inject(tcp().seq(1).ack(50_000).ts(1_000_000, 0).data(b"forged"));
    script.drive_for(secs(1));
    script.heard();
    script.inject(tcp().seq(1).ack(1).ts(1_200, 0).data(b"genuine"));
    assert_eq!(script.host.received(connection), b"genuine");
}

#[test]
fn a_listener_is_silent_to_what_says_nothing() {
    let mut script = Script::new();
    script.host.listen(80);
    script.inject(tcp().seq(5).data(b"no flags at all"));
    script.inject(tcp().fin().seq(5));
    script.expect_silence(secs(1));
}

#[test]
fn a_syn_takes_the_place_of_a_remembered_connection_only_if_somebody_listens() {
    let mut script = Script::new();
    let connection = script.connect();
    script.host.shutdown(connection);
    script.expect(tcp().fin().seq(1).ack(1));
    script.inject(tcp().fin().seq(1).ack(2));
    script.expect(tcp().seq(2).ack(2));
    assert_eq!(script.host.shard().tcp_time_wait(), 1);
    script.inject(tcp().syn().seq(100_000));
    script.expect(tcp().seq(2).ack(2));
    assert_eq!(script.host.shard().tcp_time_wait(), 1, "nobody may end TIME-WAIT from outside");
}

#[test]
fn reading_no_more_opens_a_closed_window() {
    let (mut script, connection, end) = with_a_full_window();
    script.host.shard_mut().tcp_shutdown(connection, sunstar_stack::Shutdown::Read).unwrap();
    let update = script.expect(tcp().seq(1).ack(end));
    assert!(update.window > 0, "the peer need not ask");
}

#[test]
fn segments_of_every_kind_in_every_state_break_nothing() {
    for seed in 0..60_u64 {
        let mut script =
            Script::builder().seed(seed).isn(u32::MAX - 500).tcp(|tcp| tcp.receive_buffer = 8_192).build();
        let mut random = sunstar_stack::random::Random::from_seed(seed);
        let mut dice = move |sides: u64| random.below(sides);
        let options = dice(2) == 0;
        let syn = if options { tcp().mss(1_460).sack_ok().wscale(3) } else { tcp().mss(536) };
        let connection = match seed % 4 {
            0 => script.start_connect(),
            1 => script.connect(),
            _ => script.open_with(syn),
        };
        for step in 0..150_u32 {
            if dice(10) == 0 && script.host.state(connection) != State::Closed {
                match dice(4) {
                    0 => script.host.send(connection, &noise(dice(4_000) as usize, step.into())),
                    1 => script.host.stop_reading(connection),
                    2 => script.host.start_reading(connection),
                    _ if dice(4) == 0 => script.host.shutdown(connection),
                    _ => script.drive_for(ms(dice(400))),
                }
            }
            let near = |dice: &mut dyn FnMut(u64) -> u64| match dice(8) {
                0 => dice(1 << 30) as u32,
                1 => (dice(20) as u32).wrapping_sub(10),
                2 => 8_193_u32.wrapping_add(dice(20) as u32).wrapping_sub(10),
                _ => dice(9_000) as u32,
            };
            let mut segment = tcp().seq(near(&mut dice)).win([0, 1, 500, 65_535][dice(4) as usize]);
            if dice(10) > 0 {
                segment = segment.ack(near(&mut dice));
            }
            segment = match dice(30) {
                0 => segment.syn().seq(dice(10) as u32),
                1 => segment.fin(),
                2 if dice(4) == 0 => segment.rst(),
                3 => segment.syn().fin().seq(dice(10) as u32),
                4 => segment.urgent(dice(65_536) as u16),
                _ => segment,
            };
            if dice(3) == 0 {
                let left = near(&mut dice);
                segment = segment.sack(&[(left, left.wrapping_add(dice(3_000) as u32)), (5, 3)]);
            }
            if dice(2) == 0 {
                segment = segment.len(dice(1_460) as usize);
            }
            script.inject(segment);
        }
        script.drive_for(secs(100));
        script.heard();
    }
}
