//! Forged messages that packets were too big (RFC 5927 section 7, CVE-2004-1060): whoever cannot see the connection
//! changes nothing, and whoever can does not do much.

use std::net::{Ipv4Addr, SocketAddr};

use sunstar_sim::{Script, ms, secs, tcp};
use sunstar_stack::{ConnectionKey, SocketError};
use sunstar_wire::checksum::checksum;

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const MSS: u32 = 1_460;

/// An ICMP message that names an MTU and quotes a packet of the host's.
fn too_big(script: &Script, mtu: u16, packet: &[u8]) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    script.envelope.from_address(ROUTER).icmp(3, 4, [0, 0, high, low], &packet[..28])
}

/// The quoted packet changed, its header checksum made right again.
fn changed(packet: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut packet = packet[..28].to_vec();
    change(&mut packet);
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn with_sequence(packet: &[u8], change: impl FnOnce(u32) -> u32) -> Vec<u8> {
    changed(packet, |packet| {
        let sequence = u32::from_be_bytes([packet[24], packet[25], packet[26], packet[27]]);
        packet[24..28].copy_from_slice(&change(sequence).to_be_bytes());
    })
}

/// A connection with ten full segments outstanding, and these.
fn sending(script: &mut Script) -> (ConnectionKey, Vec<Vec<u8>>) {
    let connection = script.open();
    script.host.send(connection, &[0; 30 * MSS as usize]);
    script.settle();
    let packets: Vec<_> = script.heard().into_iter().map(|heard| heard.bytes[14..].to_vec()).collect();
    assert_eq!(packets.len(), 10);
    (connection, packets)
}

fn mss(script: &Script, connection: ConnectionKey) -> u16 {
    script.host.info(connection).expect("an open connection").mss
}

/// Nothing has come of so many messages.
#[track_caller]
fn assert_ignored(script: &mut Script, connection: ConnectionKey, messages: u64) {
    assert_eq!(mss(script, connection), 1_460);
    assert_eq!(script.host.shard().path_mtus().count(), 0);
    let counters = script.host.counters();
    assert_eq!((counters.drops.too_big_ignored, counters.control.too_big_believed), (messages, 0));
    script.expect_silence(ms(1));
}

#[test]
fn a_message_about_what_is_not_outstanding_is_ignored() {
    let mut script = Script::new();
    let (connection, packets) = sending(&mut script);
    let forged: [fn(u32) -> u32; 4] = [
        |first| first.wrapping_sub(1),
        |first| first.wrapping_add(10 * MSS),
        |first| first.wrapping_add(1 << 31),
        |first| first.wrapping_sub(100_000),
    ];
    for change in forged {
        let message = too_big(&script, 600, &with_sequence(&packets[0], change));
        script.inject_frame(&message);
    }
    assert_ignored(&mut script, connection, 4);
    // The first and the last byte outstanding are, and so the same message is believed.
    let message = too_big(&script, 600, &with_sequence(&packets[9], |last| last + MSS - 1));
    script.inject_frame(&message);
    assert_eq!(mss(&script, connection), 560);
}

#[test]
fn a_message_to_an_idle_connection_is_ignored() {
    let mut script = Script::new();
    let (connection, packets) = sending(&mut script);
    for acknowledged in 1..=30 {
        script.inject(tcp().seq(1).ack(1 + acknowledged * MSS));
    }
    script.heard();
    for packet in &packets {
        let message = too_big(&script, 600, packet);
        script.inject_frame(&message);
    }
    assert_ignored(&mut script, connection, 10);
}

#[test]
fn a_message_about_a_packet_that_could_not_have_been_too_big_is_ignored() {
    let mut script = Script::new();
    let (connection, packets) = sending(&mut script);
    let with_length =
        |len: u16| changed(&packets[0], |packet| packet[2..4].copy_from_slice(&len.to_be_bytes()));
    let may_be_cut = changed(&packets[0], |packet| packet[6] = 0);
    let forged = [
        (1_500, packets[0].clone()),
        (1_600, packets[0].clone()),
        (u16::MAX, packets[0].clone()),
        (1_600, with_length(u16::MAX)),
        (1_000, with_length(1_000)),
        (68, with_length(552)),
        (0, with_length(68)),
        (1_400, may_be_cut),
    ];
    for (mtu, packet) in &forged {
        let message = too_big(&script, *mtu, packet);
        script.inject_frame(&message);
    }
    assert_ignored(&mut script, connection, forged.len() as u64);
}

#[test]
fn no_message_makes_segments_smaller_than_the_floor() {
    for mtu in [1, 68, 296, 551] {
        let mut script = Script::new();
        let (connection, packets) = sending(&mut script);
        let message = too_big(&script, mtu, &packets[0]);
        script.inject_frame(&message);
        assert_eq!(mss(&script, connection), 512);
        assert_eq!(script.host.shard().path_mtus().map(|it| it.mtu).collect::<Vec<_>>(), [552]);
        // What is outstanding goes again, cut anew.
        let again = script.segments();
        assert!(again.iter().all(|segment| segment.payload.len() <= 512), "{again:?}");
        assert_eq!((again[0].seq, again[0].payload.len()), (1, 512));
    }
}

#[test]
fn no_message_raises_what_is_known() {
    let mut script = Script::new();
    let (connection, packets) = sending(&mut script);
    for mtu in [1_000, 1_100, 1_499, 1_000] {
        let message = too_big(&script, mtu, &packets[0]);
        script.inject_frame(&message);
        assert_eq!(mss(&script, connection), 960);
    }
    let counters = script.host.counters();
    assert_eq!((counters.drops.too_big_ignored, counters.control.too_big_believed), (3, 1));
}

#[test]
fn no_message_about_a_datagram_raises_what_is_known_or_keeps_it_known_for_longer() {
    let mut script = Script::new();
    script.host.udp_bind(53);
    let mut quoted = script.envelope;
    (quoted.source, quoted.destination) = (script.envelope.destination, script.envelope.source);
    let datagram = quoted.udp(53, 1_024, &[0; 1_472])[14..].to_vec();
    let known = |script: &Script| script.host.shard().path_mtus().collect::<Vec<_>>();
    let message = too_big(&script, 1_000, &datagram);
    script.inject_frame(&message);
    let first = known(&script);
    assert_eq!(first[0].mtu, 1_000);
    script.drive_for(secs(5));
    for mtu in [1_000, 1_001, 1_400, 1_499, 1_500, 9_000] {
        let message = too_big(&script, mtu, &datagram);
        script.inject_frame(&message);
        assert_eq!(known(&script), first);
    }
    let counters = script.host.counters();
    assert_eq!((counters.drops.too_big_ignored, counters.control.too_big_believed), (6, 1));
}

#[test]
fn a_message_is_not_believed_of_a_connection_whose_large_segments_arrive() {
    let mut script = Script::new();
    let (connection, packets) = sending(&mut script);
    script.inject(tcp().seq(1).ack(1 + 2 * MSS));
    script.heard();
    // It is about what is outstanding; but as large a segment has arrived.
    let message = too_big(&script, 600, &packets[5]);
    script.inject_frame(&message);
    assert_ignored(&mut script, connection, 0);
    script.inject(tcp().seq(1).ack(1 + 6 * MSS));
    script.heard();
    assert_ignored(&mut script, connection, 1);
    // Nor does it count later: this timeout has another reason.
    script.drive_for(ms(250));
    let again = script.segments();
    assert_eq!((again[0].seq, again[0].payload.len()), (1 + 6 * MSS, MSS as usize));
    assert_eq!(mss(&script, connection), 1_460);
}

#[test]
fn a_message_that_is_borne_out_by_a_timeout_is_believed() {
    let mut script = Script::new();
    let (connection, packets) = sending(&mut script);
    script.inject(tcp().seq(1).ack(1 + 2 * MSS));
    script.heard();
    let message = too_big(&script, 600, &packets[2]);
    script.inject_frame(&message);
    assert_eq!(mss(&script, connection), 1_460);
    script.drive_for(ms(250));
    assert_eq!((mss(&script, connection), script.host.counters().control.too_big_believed), (560, 1));
    let again = script.segments();
    assert_eq!((again[0].seq, again[0].payload.len()), (1 + 2 * MSS, 560));
}

#[test]
fn what_a_forged_datagram_has_taught_a_connection_whose_large_segments_arrive_does_not_believe() {
    let mut script = Script::new();
    let (connection, _) = sending(&mut script);
    script.inject(tcp().seq(1).ack(1 + 2 * MSS));
    script.heard();
    // Anybody may know the port of a server; whether it has sent such a datagram nobody can tell.
    script.host.udp_bind(53);
    let mut quoted = script.envelope;
    (quoted.source, quoted.destination) = (script.envelope.destination, script.envelope.source);
    let datagram = quoted.udp(53, 1_024, &[0; 1_472])[14..].to_vec();
    let message = too_big(&script, 600, &datagram);
    script.inject_frame(&message);
    assert_eq!(script.host.shard().path_mtus().count(), 1);
    script.inject(tcp().seq(1).ack(1 + 10 * MSS));
    let said = script.segments();
    assert!(!said.is_empty() && said.iter().all(|segment| segment.payload.len() == MSS as usize), "{said:?}");
    assert_eq!(mss(&script, connection), 1_460);
}

#[test]
fn a_message_about_a_flow_that_is_not_ours_is_ignored() {
    let mut script = Script::new();
    let (connection, packets) = sending(&mut script);
    let mut quoted = script.envelope;
    (quoted.source, quoted.destination) = (script.envelope.destination, script.envelope.source);
    let forged = [
        changed(&packets[0], |packet| packet[21] ^= 1),
        changed(&packets[0], |packet| packet[23] ^= 1),
        quoted.udp(9_000, 9, &[0; 1_472])[14..].to_vec(),
        quoted.icmp(8, 0, [0, 7, 0, 1], &[0; 1_472])[14..].to_vec(),
        quoted.icmp(0, 0, [0, 7, 0, 1], &[0; 1_472])[14..].to_vec(),
    ];
    for packet in &forged {
        let message = too_big(&script, 600, packet);
        script.inject_frame(&message);
    }
    assert_ignored(&mut script, connection, forged.len() as u64);
}

#[test]
fn a_flood_of_destinations_fills_the_table_to_its_cap_and_no_further() {
    let mut script = Script::builder().host(|host| host.shard.path_mtu.max_entries = 16).build();
    let socket = script.host.udp_bind(53);
    let mut quoted = script.envelope;
    quoted.source = script.envelope.destination;
    for last in 10..=200 {
        let address = Ipv4Addr::new(10, 0, 0, last);
        let datagram = quoted.to_address(address).udp(53, 1_024, &[0; 1_472])[14..].to_vec();
        let message = too_big(&script, 600, &datagram);
        script.inject_frame(&message);
    }
    assert_eq!(script.host.shard().path_mtus().count(), 16);
    // The latest are known.
    let to = SocketAddr::new(Ipv4Addr::new(10, 0, 0, 200).into(), 9);
    script.host.shard_mut().udp_set_fragmentation(socket, false).unwrap();
    let refused = script.host.try_udp_send(socket, to, &[0; 573]);
    assert_eq!(refused, Err(SocketError::MessageTooLong { len: 573, limit: 572 }));
    script.drive_for(secs(601));
    assert_eq!(script.host.shard().path_mtus().count(), 0);
}
