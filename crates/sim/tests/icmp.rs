//! Echo and unreachables between two hosts (RFC 792, RFC 1122 section 3.2.2).

use sunstar_sim::{Pair, ms};

#[test]
fn an_echo_comes_back_with_its_data() {
    let mut pair = Pair::builder().latency(ms(5)).build();
    let socket = pair.a.ping(pair.b.address(), 1_472);
    pair.drive();
    let pongs = pair.a.pongs(socket);
    assert_eq!(pongs.len(), 1);
    let data: Vec<u8> = (0..1_472).map(|at| at as u8).collect();
    assert_eq!(pongs[0].payload.to_vec(), data);
    assert_eq!(pongs[0].from, pair.b.address());
    drop(pongs);
    pair.finish();
}
