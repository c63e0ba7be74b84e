//! UDP between two hosts (RFC 768, RFC 1122 section 4.1).

use sunstar_sim::{Pair, ms};

#[test]
fn datagrams_go_both_ways() {
    let mut pair = Pair::builder().latency(ms(5)).build();
    let server = pair.b.udp_bind(53);
    let client = pair.a.udp_bind(0);
    pair.a.udp_send(client, pair.b.at(53), b"question");
    pair.drive();
    let (from, question) = pair.b.udp_recv_all(server).remove(0);
    assert_eq!(question, b"question");
    pair.b.udp_send(server, from, b"answer");
    pair.drive();
    assert_eq!(pair.a.udp_recv_all(client), [(pair.b.at(53), b"answer".to_vec())]);
}
