//! Neighbours on the wire: asked for, answered, given up, and not believed without having been asked
//! (RFC 826, RFC 5227).

use sunstar_sim::{Pair, ms};

#[test]
fn the_first_packet_waits_for_the_neighbor_and_then_goes() {
    let mut pair = Pair::builder().latency(ms(10)).build();
    let socket = pair.a.ping(pair.b.address(), 56);
    pair.drive_for(ms(39));
    assert!(pair.a.pongs(socket).is_empty(), "two round trips: one for the station, one for the echo");
    pair.drive_for(ms(2));
    assert_eq!(pair.a.pongs(socket).len(), 1);
    assert_eq!(pair.a.counters().control.arp_requests_sent, 1);
    assert_eq!(pair.a.counters().control.neighbors_resolved, 1);
}
