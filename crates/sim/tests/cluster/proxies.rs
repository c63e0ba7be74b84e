//! Fewer queues than shards: credits, a device that stops, and shares by weight.

use sunstar_sim::{Cluster, Nic, noise, secs};
use sunstar_stack::UdpTransmit;

#[test]
fn no_more_than_the_credits_are_ever_in_the_owners_hands_and_a_stall_stops_the_writers() {
    let mut cluster = Cluster::builder(4).queues(1).nic(Nic::Steering).build();
    let sink = cluster.peer.listen(9);
    let to = cluster.peer.at(9);
    let streams: Vec<_> = (0..4).map(|shard| (shard, cluster.connect(shard, to, None).unwrap())).collect();
    cluster.drive_for(secs(1));
    while cluster.peer.try_accept(sink).is_some() {}
    let bytes = noise(400 << 10, 1);
    cluster.stall(0, true);
    let mut written = [0; 4];
    for (shard, connection) in &streams {
        while let Ok(taken) = cluster.write(*shard, *connection, &bytes[written[*shard]..]) {
            written[*shard] += taken;
            if written[*shard] == bytes.len() {
                break;
            }
        }
    }
    cluster.drive_for(secs(1));
    let built = cluster.counters(0).tcp.segments_built;
    cluster.drive_for(secs(30));
    assert_eq!(cluster.counters(0).tcp.segments_built, built, "the owner builds nothing while nothing goes");
    for (shard, written) in written.iter().enumerate().skip(1) {
        let (out, held) = (cluster.credits_out(shard), cluster.buffers_out(shard));
        assert!(out <= 128, "shard {shard} has {out} frames in the owner's hands");
        // What was written, twice over: a segment and what it says are different buffers.
        assert!(held <= 2 * (written / 1_448 + 128), "shard {shard} holds {held} buffers");
    }
    cluster.stall(0, false);
    cluster.drive_for(secs(60));
    let sent: Vec<_> =
        streams.iter().map(|(shard, it)| cluster.shard(*shard).tcp_info(*it).unwrap().send_queue).collect();
    assert_eq!(sent, [0; 4], "all of it is acknowledged");
}

#[test]
fn a_saturated_queue_is_shared_by_weight() {
    let weights = [1, 2, 4, 1];
    let mut cluster = Cluster::builder(4).queues(1).weights(&weights).bandwidth(100_000_000).ring(32).build();
    let to = cluster.peer.at(9);
    let sockets: Vec<_> = (0..4).map(|shard| cluster.udp_bind(shard, 0, false)).collect();
    let end = cluster.now() + secs(2);
    while cluster.now() < end {
        for (shard, socket) in sockets.iter().enumerate() {
            let payload = vec![0; 300 * (shard + 1)];
            let transmit = UdpTransmit { destination: Some(to), ..Default::default() };
            while cluster.shard_mut(shard).udp_send(*socket, &transmit, &payload).is_ok() {}
        }
        cluster.drive_for(sunstar_sim::ms(5));
    }
    let shares = cluster.shares(0);
    let total: u64 = shares.iter().map(|share| share.bytes.get()).sum();
    for (share, weight) in shares.iter().zip(weights) {
        let (is, due) = (share.bytes.get() as f64 / total as f64, f64::from(weight) / 8.0);
        println!("shard {}: weight {weight}, {:.1} % of the bytes", share.shard.0, is * 100.0);
        assert!((is / due - 1.0).abs() < 0.2, "weight {weight}: {is:.3} of the bytes, {due:.3} due");
    }
}

#[test]
fn a_shard_without_a_queue_hears_that_its_datagrams_have_left() {
    let mut cluster = Cluster::builder(2).queues(1).build();
    // Somebody is there, and says nothing that would wake the shard.
    cluster.peer.udp_bind(9);
    let to = cluster.peer.at(9);
    let socket = cluster.udp_bind(1, 0, false);
    cluster.udp_send(1, socket, to, b"who are you?");
    cluster.drive_for(secs(1));
    let transmit = UdpTransmit { destination: Some(to), ..UdpTransmit::default() };
    let send = |cluster: &mut Cluster| cluster.shard_mut(1).udp_send(socket, &transmit, &[0; 1_000]).is_ok();
    let fill =
        |cluster: &mut Cluster| std::iter::repeat_with(|| send(cluster)).take_while(|sent| *sent).count();
    let all = fill(&mut cluster);
    cluster.drive_for(secs(1));
    assert_eq!((fill(&mut cluster), cluster.credits_out(1)), (all, 0));
}
