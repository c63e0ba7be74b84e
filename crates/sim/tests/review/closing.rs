//! What must not be left behind: half-open connections, lists, wake-ups.

use std::net::Ipv4Addr;

use sunstar_sim::{Pair, Script, ms, secs, tcp};
use sunstar_stack::{SocketError, State};

#[test]
fn a_half_open_connection_whose_station_never_answers_is_given_up() {
    let mut script = Script::new();
    script.answers_arp = false;
    script.host.listen(80);
    for port in 1..=100 {
        script.inject(tcp().syn().seq(0).from_port(port));
    }
    assert_eq!(script.host.shard().tcp_connections().count(), 100);
    script.drive_for(secs(100));
    assert_eq!(script.host.shard().tcp_connections().count(), 0, "nobody is to fill the queue for ever");
}

#[test]
fn a_stranger_that_hides_behind_many_addresses_fills_no_queue_for_ever() {
    let mut script = Script::new();
    script.answers_arp = false;
    script.host.listen(80);
    let envelope = script.envelope;
    for host in 3..250 {
        script.envelope = envelope.from_address(Ipv4Addr::new(10, 0, 0, host));
        script.inject(tcp().syn().seq(0));
        script.drive_for(ms(10));
    }
    script.drive_for(secs(100));
    assert_eq!(script.host.shard().tcp_connections().count(), 0);
}

#[test]
fn no_more_connections_finish_without_an_owner_than_the_cap_allows() {
    let mut pair = Pair::builder().latency(ms(5)).config(|config| config.tcp.max_orphans = 2).build();
    pair.b.listen(80);
    let to = pair.b.at(80);
    let clients: Vec<_> = (0..4).map(|_| pair.a.connect(to)).collect();
    pair.drive_for(ms(500));
    for client in clients {
        pair.a.shard_mut().tcp_close(client);
    }
    assert_eq!(pair.a.counters().tcp.orphans_refused, 2);
    pair.drive_for(ms(500));
    assert_eq!(pair.a.counters().tcp.resets_sent, 2, "the peer of each refused one hears of it");
}

#[test]
fn a_router_that_says_unreachable_ends_no_attempt_but_names_the_reason() {
    for (kind, code, named) in [(3, 1, SocketError::HostUnreachable), (12, 0, SocketError::ParameterProblem)]
    {
        attempt_with(kind, code, named);
    }
}

fn attempt_with(kind: u8, code: u8, named: SocketError) {
    let mut script = Script::new();
    let connection = script.start_connect();
    let isn = script.host_isn().unwrap();
    let ports = (script.ports.1, script.ports.0);
    let mut envelope = script.envelope;
    (envelope.source, envelope.destination) = (script.envelope.destination, script.envelope.source);
    let quoted = tcp().syn().seq(isn).frame(&envelope, ports, 0, 0);
    let error = script.envelope.icmp(kind, code, [0; 4], &quoted[14..14 + 28]);
    script.inject_frame(&error);
    assert_eq!(script.host.state(connection), State::SynSent);
    script.drive_for(secs(400));
    assert_eq!(script.host.error(connection), Some(named));
}
