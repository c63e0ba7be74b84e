//! Messages as they are on the wire, by the offsets of RFC 2131 section 2 and nobody's decoder.

use super::*;

/// One message of each kind, in the order they come.
fn every_message(config: DhcpConfig) -> Vec<Sent> {
    let server = Server::new();
    let mut host = Host::new(DhcpConfig { probe: true, ..config });
    let mut sent = vec![host.next()];
    host.hear(&server.offer(&sent[0].message));
    sent.push(host.next());
    host.hear(&server.ack(&sent[1].message));
    host.client.on_probed(host.now, ADDRESS, true);
    sent.push(host.next());
    host.now += secs(1_350);
    sent.push(host.next());
    host.hear(&server.ack(&sent[3].message));
    host.client.on_conflict(host.now, ADDRESS);
    sent.push(host.next());
    let mut released = Host::bound(plain(), &server);
    released.client.release(released.now);
    sent.push(released.next());
    sent
}

/// The bytes of an option: its code, length and value.
fn option_at(payload: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut at = 240;
    while payload[at] != 255 {
        let end = at + 2 + usize::from(payload[at + 1]);
        if payload[at] == wanted {
            return Some(&payload[at..end]);
        }
        at = end;
    }
    None
}

#[test]
fn the_header_is_the_rfcs_byte_by_byte() {
    let sent = every_message(plain());
    let kinds: Vec<_> = sent.iter().map(Sent::kind).collect();
    use MessageType::{Decline, Discover, Release, Request};
    assert_eq!(kinds, [Discover, Request, Request, Request, Decline, Release]);
    for Sent { payload, message, .. } in &sent {
        assert!(payload.len() >= 300, "RFC 1542 section 2.1");
        assert_eq!(payload[..4], [1, 1, 6, 0], "op, htype, hlen, hops");
        assert_eq!(payload[4..8], message.xid().to_be_bytes());
        assert_eq!(payload[10..12], [0, 0], "flags");
        let in_use = matches!(message.ciaddr(), ADDRESS);
        assert_eq!(payload[12..16], if in_use { [192, 0, 2, 10] } else { [0; 4] }, "ciaddr");
        assert_eq!(payload[16..28], [0; 12], "yiaddr, siaddr, giaddr");
        assert_eq!(payload[28..44], [2, 0, 0, 0, 0xaa, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "chaddr");
        assert_eq!(payload[44..236], [0; 192], "sname, file");
        assert_eq!(payload[236..240], [99, 130, 83, 99], "the cookie");
        assert_eq!(payload[240..242], [53, 1], "the type comes first");
        let end = 240 + payload[240..].iter().position(|byte| *byte == 255).expect("an end");
        assert!(payload[end + 1..].iter().all(|byte| *byte == 0), "padding");
    }
    let in_use: Vec<_> = sent.iter().map(|sent| sent.payload[12] != 0).collect();
    assert_eq!(in_use, [false, false, true, true, false, true]);
    let seconds: Vec<_> =
        sent.iter().map(|sent| u16::from_be_bytes([sent.payload[8], sent.payload[9]])).collect();
    assert_eq!(seconds, [0, 0, 0, 1_350, 0, 0]);
}

#[test]
fn the_options_are_those_of_table_5() {
    let sent = every_message(plain());
    let rows =
        sent.iter().map(|sent| [50, 54, 55, 57, 61, 51].map(|code| option_at(&sent.payload, code).is_some()));
    let expected = [
        [false, false, true, true, true, false],  // DISCOVER
        [true, true, true, true, true, false],    // REQUEST of an offer
        [false, false, true, true, true, false],  // ... when renewing
        [false, false, true, true, true, false],  // ... when rebinding
        [true, true, false, false, true, false],  // DECLINE
        [false, true, false, false, true, false], // RELEASE
    ];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    assert_eq!(option_at(&sent[1].payload, 50), Some(&[50, 4, 192, 0, 2, 10][..]));
    assert_eq!(option_at(&sent[1].payload, 54), Some(&[54, 4, 192, 0, 2, 1][..]));
    assert_eq!(option_at(&sent[0].payload, 57), Some(&[57, 2, 0x05, 0xdc][..]));
    assert_eq!(option_at(&sent[0].payload, 61), Some(&[61, 7, 1, 2, 0, 0, 0, 0xaa, 1][..]));
    assert_eq!(option_at(&sent[0].payload, 55), Some(&[55, 8, 1, 3, 6, 15, 119, 26, 58, 59][..]));
}

#[test]
fn a_broadcast_is_asked_for_only_where_an_answer_comes_and_by_whom_it_is_configured() {
    let sent = every_message(DhcpConfig { broadcast: true, ..plain() });
    let flags: Vec<_> = sent[..5].iter().map(|sent| [sent.payload[10], sent.payload[11]]).collect();
    assert_eq!(flags, [[0x80, 0], [0x80, 0], [0x80, 0], [0x80, 0], [0, 0]]);
}

#[test]
fn names_and_sizes_are_told_as_configured() {
    let config = DhcpConfig {
        host_name: Some("star".into()),
        client_identifier: Some(vec![255, 1, 2, 3, 4, 0, 2, 9]),
        max_message: 9_000,
        classless_routes: true,
        ..plain()
    };
    let sent = Host::new(config).next();
    assert_eq!(option_at(&sent.payload, 12), Some(&b"\x0c\x04star"[..]));
    assert_eq!(option_at(&sent.payload, 61), Some(&[61, 8, 255, 1, 2, 3, 4, 0, 2, 9][..]));
    assert_eq!(option_at(&sent.payload, 57), Some(&[57, 2, 0x23, 0x28][..]));
    assert_eq!(option_at(&sent.payload, 55).map(|list| &list[2..5]), Some(&[1, 121, 3][..]));
}

#[test]
fn names_and_sizes_that_cannot_be_are_not_told() {
    for length in [0, 1, 256] {
        let config = DhcpConfig {
            host_name: Some("x".repeat(if length == 1 { 300 } else { length })),
            client_identifier: Some(vec![7; length]),
            max_message: 100,
            ..plain()
        };
        let sent = Host::new(config).next();
        assert_eq!(option_at(&sent.payload, 12), None);
        assert_eq!(option_at(&sent.payload, 61), Some(&[61, 7, 1, 2, 0, 0, 0, 0xaa, 1][..]));
        assert_eq!(option_at(&sent.payload, 57), Some(&[57, 2, 0x02, 0x40][..]));
    }
}

#[test]
fn the_longest_names_leave_a_message_that_any_network_carries() {
    let config = DhcpConfig {
        host_name: Some("x".repeat(255)),
        client_identifier: Some(vec![7; 255]),
        classless_routes: true,
        ..plain()
    };
    let sent = Host::new(config).next();
    assert!(sent.payload.len() <= 1_472, "{}", sent.payload.len());
    assert_eq!(option_at(&sent.payload, 12).map(<[u8]>::len), Some(257));
}
