//! A device without room: nobody builds anything, nothing grows, and writers wait.

use sunstar_sim::{Pair, Script, ms, secs};
use sunstar_stack::SocketError;

#[test]
fn a_stalled_device_makes_the_writer_of_datagrams_wait() {
    let mut pair = Pair::builder().without_ethernet().latency(ms(1)).build();
    let server = pair.b.udp_bind(9);
    let client = pair.a.udp_bind(0);
    pair.a.stall();
    let mut accepted = 0;
    let refused = loop {
        match pair.a.try_udp_send(client, pair.b.at(9), &[0; 1_000]) {
            Ok(()) => accepted += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, SocketError::WouldBlock);
    pair.drive_for(secs(1));
    let held = pair.a.buffers_out();
    pair.drive_for(secs(30));
    assert_eq!(pair.a.buffers_out(), held, "nothing grows");
    assert_eq!(pair.a.counters().udp.sent, 0, "nothing is built");
    assert_eq!(pair.trace.frames(), 0);
    pair.a.resume();
    pair.drive_for(secs(1));
    assert_eq!(pair.b.udp_recv_all(server).len(), accepted);
    assert_eq!(pair.a.try_udp_send(client, pair.b.at(9), b"there is credit again"), Ok(()));
}

#[test]
fn answers_wait_in_a_capped_queue_while_the_device_is_stalled() {
    let mut script = Script::new();
    script.host.ping(script.envelope.source, 8);
    script.settle();
    script.heard();
    script.host.stall();
    let request = script.envelope.icmp(8, 0, [0, 1, 0, 1], &[0; 1_000]);
    for _ in 0..1_000 {
        script.inject_frame(&request);
    }
    assert_eq!(script.host.counters().control.echo_answered, 256);
    assert_eq!(script.host.counters().drops.reply_queue_full, 744);
    assert_eq!(script.host.buffers_out(), 256);
    script.expect_silence(secs(30));
    script.host.resume();
    script.drive_for(ms(1));
    assert_eq!(script.heard().len(), 256);
}

#[test]
fn questions_for_neighbors_are_capped_while_the_device_is_stalled() {
    let mut script = Script::new();
    script.host.stall();
    let socket = script.host.udp_bind(0);
    for last in 3..=250_u8 {
        let to = format!("10.0.0.{last}:9").parse().unwrap();
        let _ = script.host.try_udp_send(socket, to, b"who is there?");
    }
    script.drive_for(secs(60));
    assert!(script.host.shard().neighbors().count() <= 512);
    assert_eq!(script.host.counters().control.arp_requests_sent, 0);
    script.host.resume();
    script.drive_for(secs(10));
    assert_eq!(script.host.buffers_out(), 0);
}

#[test]
fn a_host_without_buffers_drops_counts_and_recovers() {
    let mut pair = Pair::builder()
        .without_ethernet()
        .each(|host| (host.pool.small_count, host.pool.max_loans) = (64, 64))
        .build();
    let server = pair.b.udp_bind(9);
    let client = pair.a.udp_bind(0);
    for _ in 0..10 {
        while pair.a.try_udp_send(client, pair.b.at(9), &[1; 1_000]).is_ok() {}
        pair.drive_for(ms(10));
    }
    assert!(!pair.b.udp_recv_all(server).is_empty());
    pair.drive_for(ms(10));
    pair.a.udp_send(client, pair.b.at(9), b"again");
    pair.drive_for(ms(10));
    assert_eq!(pair.b.udp_recv_all(server).len(), 1);
}
