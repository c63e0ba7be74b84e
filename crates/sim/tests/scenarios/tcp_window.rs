//! Windows, both ways: nothing is sent that is not taken, nothing is promised that is taken back, and a closed window
//! opens again whatever is lost (RFC 9293 sections 3.8.6, RFC 7323 section 2).

use sunstar_sim::{Pair, Script, Side, ms, noise, secs, tcp};
use sunstar_stack::SocketError;

#[test]
fn a_reader_that_stops_stops_its_writer_and_memory_stays_flat() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let (client, server) = pair.open();
    let data = noise(8 << 20, 1);
    pair.b.stop_reading(server);
    pair.a.send(client, &data);
    pair.drive_for(secs(3));
    let written = data.len() - pair.a.unwritten(client);
    let memory = (pair.a.buffers_out(), pair.b.buffers_out());
    let held = pair.b.info(server).unwrap();
    assert!(held.receive_queue < (512 << 10) + 1_460 && held.memory <= 1 << 20, "{held:?}");
    for _ in 0..10 {
        pair.drive_for(secs(3));
        assert_eq!(data.len() - pair.a.unwritten(client), written, "the writer waits");
        assert!(pair.a.buffers_out() <= memory.0 && pair.b.buffers_out() <= memory.1);
    }
    pair.b.start_reading(server);
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == data.len(), secs(30)));
    assert!(pair.b.received(server) == data);
}

#[test]
fn a_reader_that_stops_does_not_stop_others() {
    let mut pair = Pair::builder().latency(ms(5)).build();
    let (stuck_client, stuck_server) = pair.open();
    let (client, server) = pair.open();
    pair.b.stop_reading(stuck_server);
    pair.a.send(stuck_client, &noise(4 << 20, 1));
    pair.a.send(client, &noise(4 << 20, 2));
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 4 << 20, secs(10)));
}

#[test]
fn a_reader_a_byte_at_a_time_gets_everything_and_the_wire_sees_no_tiny_segments() {
    let mut pair = Pair::builder()
        .without_ethernet()
        .latency(ms(1))
        .host(Side::B, |b| b.shard.tcp.receive_buffer = 8_192)
        .build();
    let (client, server) = pair.open();
    pair.b.stop_reading(server);
    let data = noise(40_000, 1);
    pair.a.send(client, &data);
    let mut idle = 0;
    while pair.b.received(server).len() < data.len() && idle < 10_000 {
        pair.drive_for(ms(1));
        idle = if pair.b.read_some(server, 16) == 0 { idle + 1 } else { 0 };
    }
    assert!(pair.b.received(server) == data);
    let segments = pair.a.counters().tcp.segments_built;
    assert!(segments < 100, "silly-window avoidance at both ends: {segments} segments for 40 kB");
}

#[test]
fn no_more_is_sent_than_the_window_takes() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000).win(3_000));
    script.host.send(connection, &[0; 10_000]);
    for at in 0..3 {
        script.expect(tcp().seq(1 + at * 1_000).ack(1).len(1_000));
    }
    script.expect_silence(ms(100));
    script.inject(tcp().seq(1).ack(1_001).win(3_000));
    script.expect(tcp().seq(3_001).ack(1).len(1_000));
    script.expect_silence(ms(50));
}

#[test]
fn the_peers_window_is_scaled_by_what_it_offered() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000).win(1_000).wscale(3));
    script.inject(tcp().seq(1).ack(1).win(500));
    script.host.send(connection, &[0; 10_000]);
    script.settle();
    let sent: usize = script.segments().iter().map(|segment| segment.payload.len()).sum();
    assert_eq!(sent, 4_000);
}

#[test]
fn a_window_scale_above_fourteen_is_taken_for_fourteen() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000).wscale(200));
    assert_eq!(script.host.info(connection).unwrap().snd_scale, 14);
}

#[test]
fn without_an_offer_neither_window_is_scaled() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000));
    let info = script.host.info(connection).unwrap();
    assert_eq!((info.snd_scale, info.rcv_wnd), (0, 65_535));
}

#[test]
fn our_window_covers_the_whole_receive_buffer_when_it_may_be_scaled() {
    let mut pair = Pair::builder().latency(ms(50)).build();
    let (client, server) = pair.open();
    pair.b.stop_reading(server);
    pair.a.send(client, &noise(1 << 20, 1));
    pair.drive_for(secs(5));
    let queued = pair.b.info(server).unwrap().receive_queue;
    assert!((500 << 10..=512 << 10).contains(&queued), "{queued}");
}

#[test]
fn a_closed_window_is_asked_after_less_and_less_often() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000).win(2_000));
    script.host.send(connection, &[0; 10_000]);
    script.expect(tcp().seq(1).ack(1).len(1_000));
    script.expect(tcp().seq(1_001).ack(1).len(1_000));
    script.inject(tcp().seq(1).ack(2_001).win(0));
    let mut last = script.now();
    let mut waits = Vec::new();
    for _ in 0..9 {
        let probe = script.segment_within(secs(100)).expect("a probe");
        assert!(probe.payload.len() <= 1, "{probe}");
        waits.push((script.now() - last).as_millis());
        last = script.now();
        script.inject(tcp().seq(1).ack(2_001).win(0));
    }
    assert!(waits.windows(2).all(|two| two[1] == (two[0] * 2).min(60_000)), "{waits:?}");
    assert_eq!(waits[0], 200);
    script.inject(tcp().seq(1).ack(2_001).win(5_000));
    assert_eq!(script.segments().iter().map(|segment| segment.payload.len()).sum::<usize>(), 5_000);
}

#[test]
fn a_window_that_stays_closed_for_an_hour_closes_no_connection() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000).win(1_000));
    script.host.send(connection, &[0; 5_000]);
    script.expect(tcp().seq(1).ack(1).len(1_000));
    script.inject(tcp().seq(1).ack(1_001).win(0));
    let end = script.now() + secs(3_600);
    while script.now() < end {
        if script.segment_within(secs(61)).is_some() {
            script.inject(tcp().seq(1).ack(1_001).win(0));
        }
    }
    assert_eq!(script.host.error(connection), None, "RFC 9293 MUST-37");
    script.inject(tcp().seq(1).ack(1_001).win(10_000));
    assert!(script.segment_within(ms(0)).unwrap().payload.len() == 1_000);
}

#[test]
fn a_closed_window_whose_peer_vanished_is_given_up() {
    let mut script = Script::builder().tcp(|tcp| tcp.retries = 8).build();
    let connection = script.open_with(tcp().mss(1_000).win(1_000));
    script.host.send(connection, &[0; 5_000]);
    script.expect(tcp().seq(1).ack(1).len(1_000));
    script.inject(tcp().seq(1).ack(1_001).win(0));
    script.drive_for(secs(300));
    assert_eq!(script.host.error(connection), Some(SocketError::TimedOut));
}

#[test]
fn a_lost_window_update_is_found_out_by_a_probe() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(10)).build();
    let (client, server) = pair.open();
    pair.b.stop_reading(server);
    pair.a.send(client, &noise(1 << 20, 1));
    pair.drive_for(secs(5));
    pair.drop_next_from(Side::B, 2);
    pair.b.start_reading(server);
    assert!(pair.drive_until(|pair| pair.b.received(server).len() == 1 << 20, secs(60)));
}

#[test]
fn data_beyond_our_window_is_not_taken_and_is_answered() {
    let mut script = Script::builder().tcp(|tcp| tcp.receive_buffer = 4_000).build();
    let connection = script.open();
    script.host.stop_reading(connection);
    for at in 0..4 {
        script.inject(tcp().seq(1 + at * 1_000).ack(1).data(&[1; 1_000]));
    }
    script.drive_for(ms(100));
    let last = script.segments().pop().unwrap();
    assert_eq!((last.ack, last.window), (4_001, 0));
    script.inject(tcp().seq(4_001).ack(1).data(&[2; 1_000]));
    let answer = script.expect(tcp().seq(1).ack(4_001).win(0));
    assert!(answer.payload.is_empty());
    script.host.start_reading(connection);
    assert_eq!(script.host.received(connection), [1; 4_000]);
    script.expect(tcp().seq(1).ack(4_001).win(4_000));
}

#[test]
fn a_segment_half_in_the_window_is_taken_half() {
    let mut script = Script::builder().tcp(|tcp| tcp.receive_buffer = 4_000).build();
    let connection = script.open();
    script.host.stop_reading(connection);
    for at in 0..3 {
        script.inject(tcp().seq(1 + at * 1_000).ack(1).data(&noise(1_000, 1)));
    }
    script.inject(tcp().seq(3_001).ack(1).data(&noise(1_400, 2)));
    script.drive_for(ms(100));
    assert_eq!(script.segments().pop().unwrap().ack, 4_001);
    script.host.start_reading(connection);
    assert_eq!(script.host.received(connection)[3_000..], noise(1_400, 2)[..1_000]);
}

#[test]
fn an_acknowledgement_and_a_reset_pass_a_closed_window() {
    let mut script = Script::builder().tcp(|tcp| tcp.receive_buffer = 2_000).build();
    let connection = script.open();
    script.host.stop_reading(connection);
    script.host.send(connection, b"outstanding");
    script.inject(tcp().seq(1).ack(1).data(&[1; 1_000]));
    script.inject(tcp().seq(1_001).ack(1).data(&[1; 1_000]));
    script.drive_for(ms(100));
    script.heard();
    assert_eq!(script.host.info(connection).unwrap().flight, 11);
    script.inject(tcp().seq(2_001).ack(12));
    assert_eq!(script.host.info(connection).unwrap().flight, 0, "RFC 9293 MUST-66");
    script.inject(tcp().rst().seq(2_001));
    assert_eq!(script.host.info(connection).unwrap().state, sunstar_stack::State::Closed);
}

#[test]
fn a_probe_of_our_closed_window_is_answered() {
    let mut script = Script::builder().tcp(|tcp| tcp.receive_buffer = 2_000).build();
    let connection = script.open();
    script.host.stop_reading(connection);
    script.inject(tcp().seq(1).ack(1).data(&[1; 1_000]));
    script.inject(tcp().seq(1_001).ack(1).data(&[1; 1_000]));
    script.drive_for(ms(100));
    script.heard();
    // Linux's kind, below the window; and the old kind, a byte beyond it.
    script.inject(tcp().seq(2_000).ack(1));
    script.expect(tcp().seq(1).ack(2_001).win(0));
    script.drive_for(secs(1));
    script.inject(tcp().seq(2_001).ack(1).data(b"?"));
    script.expect(tcp().seq(1).ack(2_001).win(0));
}

#[test]
fn a_peer_that_takes_its_window_back_harms_nothing() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000).win(10_000));
    script.host.send(connection, &[0; 20_000]);
    script.settle();
    assert_eq!(script.segments().len(), 10);
    script.inject(tcp().seq(1).ack(1_001).win(2_000));
    script.expect_silence(ms(100));
    script.inject(tcp().seq(1).ack(1_001).win(0));
    script.inject(tcp().seq(1).ack(10_001).win(0));
    script.inject(tcp().seq(1).ack(10_001).win(10_000));
    let sent: usize = script.segments().iter().map(|segment| segment.payload.len()).sum();
    assert!(sent >= 10_000, "{sent}");
}

#[test]
fn an_older_segment_does_not_change_the_window() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000).win(10_000));
    script.inject(tcp().seq(1).ack(1).data(&[0; 100]).win(8_000));
    assert_eq!(script.host.info(connection).unwrap().snd_wnd, 8_000);
    script.inject(tcp().seq(1).ack(1).win(100));
    assert_eq!(script.host.info(connection).unwrap().snd_wnd, 8_000);
}

#[test]
fn old_data_that_acknowledges_more_tells_the_window_of_now() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000).win(3_000));
    script.host.send(connection, &[0; 10_000]);
    script.settle();
    assert_eq!(script.segments().len(), 3);
    // The peer reads nothing: its window ends where it did. What it has sent first was lost and comes last.
    script.inject(tcp().seq(1_001).ack(1_001).data(&[1; 1_000]).win(2_000));
    script.heard();
    script.inject(tcp().seq(1).ack(2_001).data(&[1; 1_000]).win(1_000));
    assert_eq!(script.host.info(connection).unwrap().snd_wnd, 1_000);
    script.settle();
    assert!(
        script.segments().iter().all(|segment| segment.payload.is_empty()),
        "3,000 bytes are all it takes"
    );
}

#[test]
fn an_acknowledgement_from_the_end_of_a_window_with_a_hole_counts() {
    let mut script = Script::builder().tcp(|tcp| tcp.receive_buffer = 2_000).build();
    let connection = script.open();
    script.host.send(connection, b"outstanding");
    script.inject(tcp().seq(1_001).ack(1).data(&[1; 1_000]));
    script.heard();
    script.inject(tcp().seq(2_001).ack(12));
    assert_eq!(script.host.info(connection).unwrap().flight, 0);
    script.inject(tcp().seq(2_002).ack(12));
    assert_eq!(script.host.counters().drops.tcp_unacceptable, 1, "but not from beyond it");
}

#[test]
fn tiny_window_openings_bring_no_tiny_segments() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000).win(4_000));
    script.host.send(connection, &[0; 50_000]);
    script.settle();
    assert_eq!(script.segments().len(), 4);
    script.inject(tcp().seq(1).ack(4_001).win(0));
    for window in (50..1_000).step_by(50) {
        script.inject(tcp().seq(1).ack(4_001).win(window));
        script.expect_silence(ms(1));
    }
    script.inject(tcp().seq(1).ack(4_001).win(1_000));
    script.expect(tcp().seq(4_001).ack(1).len(1_000));
}

#[test]
fn a_window_that_opens_a_little_and_stays_so_is_used_after_a_while() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000).win(4_000));
    script.host.send(connection, &[0; 50_000]);
    script.settle();
    script.heard();
    script.inject(tcp().seq(1).ack(4_001).win(300));
    let forced = script.segment_within(secs(5)).unwrap();
    assert_eq!((forced.seq, forced.payload.len()), (4_001, 300), "the override timeout of section 3.8.6.2.1");
}

#[test]
fn reading_opens_the_window_in_steps_worth_telling() {
    let mut script = Script::builder().tcp(|tcp| tcp.receive_buffer = 20_000).build();
    let connection = script.open();
    script.host.stop_reading(connection);
    for at in 0..20 {
        script.inject(tcp().seq(1 + at * 1_000).ack(1).data(&[1; 1_000]));
    }
    script.drive_for(ms(100));
    assert_eq!(script.segments().pop().unwrap().window, 0);
    let mut updates = 0;
    for _ in 0..200 {
        script.host.read_some(connection, 100);
        script.drive_for(ms(1));
        updates += script.segments().len();
    }
    assert!((1..=14).contains(&updates), "{updates} updates for 200 small reads");
}

#[test]
fn an_acknowledgement_with_data_sent_again_gives_no_more_room_than_the_peer_had() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000).win(10_000));
    script.host.send(connection, &noise(30_000, 1));
    script.settle();
    assert_eq!(script.segments().len(), 10, "the peer's window, and the initial one");
    // Two segments of the peer's cross; the first is lost. The second says that 2,000 bytes were received, and not read.
    script.inject(tcp().seq(1_001).ack(2_001).win(8_000).len(1_000));
    // The first is sent again, when 4,000 bytes were received.
    script.inject(tcp().seq(1).ack(4_001).win(6_000).len(1_000));
    script.settle();
    let furthest = script.segments().iter().map(|segment| segment.seq + segment.payload.len() as u32).max();
    assert_eq!(furthest, Some(10_001), "the right edge has not moved");
    script.inject(tcp().seq(2_001).ack(4_001).win(7_000));
    script.settle();
    let furthest = script.segments().iter().map(|segment| segment.seq + segment.payload.len() as u32).max();
    assert_eq!(furthest, Some(11_001));
}
