//! Options: what is offered, what is agreed on, and what a bad one does (RFC 9293 section 3.2, RFC 7323, RFC 2018).

use sunstar_sim::{Pair, Script, ms, secs, tcp};
use sunstar_stack::OptionLayout;

#[test]
fn options_switched_off_are_neither_offered_nor_accepted() {
    let mut script = Script::builder()
        .tcp(|tcp| (tcp.timestamps, tcp.sack, tcp.window_scaling) = (false, false, false))
        .build();
    script.host.listen(80);
    script.inject(tcp().syn().seq(0).mss(1_460).sack_ok().ts(1, 0).wscale(7));
    assert_eq!(script.expect(tcp().syn().seq(0).ack(1)).options.order, [2]);
}

#[test]
fn the_layout_of_bsd_can_be_chosen() {
    let mut script = Script::builder().tcp(|tcp| tcp.options = OptionLayout::Bsd).build();
    script.host.listen(80);
    script.inject(tcp().syn().seq(0).mss(1_460).sack_ok().ts(1, 0).wscale(7));
    assert_eq!(script.expect(tcp().syn().seq(0).ack(1)).options.order, [2, 1, 3, 4, 8]);
}

#[test]
fn without_timestamps_linuxs_layout_pads_as_linux_does() {
    let mut script = Script::new();
    script.host.listen(80);
    script.inject(tcp().syn().seq(0).mss(1_460).sack_ok().wscale(7));
    assert_eq!(script.expect(tcp().syn().seq(0).ack(1)).options.order, [2, 1, 1, 4, 1, 3]);
}

#[test]
fn once_agreed_on_every_segment_has_timestamps_that_grow() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).ts(1_000, 0));
    let mut last = None;
    for at in 0..5 {
        script.drive_for(ms(100));
        script.host.send(connection, b"x");
        let segment = script.expect(tcp().ack(1).len(1));
        let (value, echo) = segment.options.timestamps.expect("timestamps");
        assert!(last.is_none_or(|last| value.wrapping_sub(last) == 100), "milliseconds");
        assert_eq!(echo, 1_001 + at);
        last = Some(value);
        script.inject(tcp().seq(1).ack(2 + at).ts(1_002 + at, value));
    }
}

#[test]
fn timestamps_of_two_connections_have_different_offsets() {
    let mut script = Script::new();
    script.host.listen(80);
    let mut values = Vec::new();
    for port in [1_000, 2_000, 3_000] {
        script.inject(tcp().syn().seq(0).ts(1, 0).from_port(port));
        values.push(script.expect(tcp().syn().seq(0).ack(1)).options.timestamps.unwrap().0);
    }
    assert!(values[0].abs_diff(values[1]) > 1_000 && values[1].abs_diff(values[2]) > 1_000, "{values:?}");
}

#[test]
fn a_segment_older_than_what_was_seen_is_dropped_and_answered() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).ts(1_000, 0));
    script.inject(tcp().seq(1).ack(1).ts(2_000, 0).data(b"new"));
    script.expect(tcp().seq(1).ack(4));
    script.inject(tcp().seq(4).ack(1).ts(1_500, 0).data(b"from an old connection"));
    let answer = script.expect(tcp().seq(1).ack(4));
    assert_eq!(answer.options.timestamps.unwrap().1, 2_000);
    assert_eq!(script.host.received(connection), b"new");
    assert_eq!(script.host.counters().drops.tcp_paws, 1);
}

#[test]
fn the_clock_of_a_peer_may_wrap() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).ts(u32::MAX - 5, 0));
    script.inject(tcp().seq(1).ack(1).ts(u32::MAX, 0).data(b"before"));
    script.inject(tcp().seq(7).ack(1).ts(3, 0).data(b" and after"));
    assert_eq!(script.host.received(connection), b"before and after");
}

#[test]
fn a_connection_idle_for_weeks_accepts_any_clock() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).ts(5_000, 0));
    script.drive_for(secs(25 * 24 * 3_600));
    script.inject(tcp().seq(1).ack(1).ts(4_000, 0).data(b"hello again"));
    assert_eq!(script.host.received(connection), b"hello again", "RFC 7323 section 5.5");
}

#[test]
fn a_segment_without_the_timestamps_agreed_on_is_dropped_but_a_reset_is_not() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_460).ts(1_000, 0));
    script.inject(tcp().seq(1).ack(1).data(b"no stamp"));
    assert!(script.host.received(connection).is_empty(), "RFC 7323 section 3.2");
    script.drive_for(secs(1));
    script.heard();
    script.inject(tcp().rst().seq(1));
    assert_eq!(script.host.state(connection), sunstar_stack::State::Closed);
}

#[test]
fn the_echo_is_of_the_segment_that_moved_the_window() {
    let mut script = Script::new();
    script.open_with(tcp().mss(1_460).sack_ok().ts(1_000, 0));
    script.inject(tcp().seq(101).ack(1).ts(1_010, 0).data(&[0; 100]));
    let early = script.expect(tcp().seq(1).ack(1));
    assert_eq!(early.options.timestamps.unwrap().1, 1_001, "not of one beyond a hole");
    script.inject(tcp().seq(1).ack(1).ts(1_020, 0).data(&[0; 100]));
    let filled = script.expect(tcp().seq(1).ack(201));
    assert_eq!(filled.options.timestamps.unwrap().1, 1_020);
}

#[test]
fn every_kind_and_length_of_an_option_is_survived_by_an_open_connection() {
    let mut script = Script::new();
    let connection = script.open();
    for kind in 0..=255_u8 {
        for len in (0..=255_u8).step_by(5).chain([1, 2, 3, 4, 6, 8, 10, 18, 26, 34]) {
            let mut option = [0; 40];
            (option[0], option[1]) = (kind, len);
            script.inject(tcp().seq(1).ack(1).option(&option));
        }
    }
    script.heard();
    script.inject(tcp().seq(1).ack(1).data(b"still here"));
    assert_eq!(script.host.received(connection), b"still here");
}

#[test]
fn every_kind_and_length_of_an_option_on_a_syn_is_survived() {
    let mut script = Script::new();
    let listener = script.host.listen(80);
    let mut port = 1_000;
    for kind in 0..=255_u8 {
        for len in [0, 1, 2, 3, 4, 10, 39, 40, 41, 255] {
            let mut option = [0; 40];
            (option[0], option[1]) = (kind, len);
            port += 1;
            script.inject(tcp().syn().seq(0).option(&option).from_port(port));
            script.inject(tcp().rst().seq(1).from_port(port));
        }
    }
    script.heard();
    script.inject(tcp().syn().seq(0).mss(1_460));
    script.expect(tcp().syn().seq(0).ack(1));
    script.inject(tcp().seq(1).ack(1));
    script.host.accept(listener);
}

#[test]
fn options_a_peer_repeats_or_sends_late_change_nothing() {
    let mut script = Script::new();
    let connection = script.open_with(tcp().mss(1_000).wscale(2));
    let before = script.host.info(connection).unwrap();
    script.inject(tcp().seq(1).ack(1).mss(100).wscale(9).sack_ok());
    let after = script.host.info(connection).unwrap();
    assert_eq!((after.mss, after.snd_scale, after.sack), (before.mss, before.snd_scale, before.sack));
}

#[test]
fn what_one_end_switches_off_the_other_does_without() {
    for off in 0..8 {
        let mut pair = Pair::builder()
            .latency(ms(1))
            .host(sunstar_sim::Side::B, |b| {
                let tcp = &mut b.shard.tcp;
                tcp.timestamps = off & 1 == 0;
                tcp.sack = off & 2 == 0;
                tcp.window_scaling = off & 4 == 0;
            })
            .build();
        let (client, server) = pair.open();
        let info = pair.a.info(client).unwrap();
        assert_eq!((info.timestamps, info.sack), (off & 1 == 0, off & 2 == 0));
        assert_eq!(info.rcv_scale > 0, off & 4 == 0);
        pair.a.send(client, &[1; 100_000]);
        assert!(pair.drive_until(|pair| pair.b.received(server).len() == 100_000, secs(5)));
    }
}
