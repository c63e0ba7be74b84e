//! What must not be left behind: half-open connections, lists, wake-ups.

use std::net::Ipv4Addr;

use sunstar_sim::{Script, ms, secs, tcp};

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
