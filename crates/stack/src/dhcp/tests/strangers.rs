//! Messages that are not for this client, or not from whom it asked.

use dhcproto::v4::HType;

use super::*;

/// Changes a message.
type Spoil = fn(&mut Message);

/// What makes a message none for us, and how it is counted then.
const SPOILED: [(Spoil, &str); 9] = [
    (|it| _ = it.set_xid(it.xid() ^ 1), "ignored_transaction"),
    (|it| _ = it.set_chaddr(&[2, 0, 0, 0, 0xaa, 2]), "ignored_hardware"),
    (|it| _ = it.set_chaddr(&[2, 0, 0, 0, 0xaa]), "ignored_hardware"),
    (|it| _ = it.set_htype(HType::from(6)), "ignored_hardware"),
    (|it| _ = it.set_opcode(Opcode::BootRequest), "ignored_malformed"),
    (|it| drop(it.opts_mut().remove(OptionCode::MessageType)), "ignored_malformed"),
    (|it| drop(it.opts_mut().remove(OptionCode::ServerIdentifier)), "ignored_server"),
    (|it| set(it, DhcpOption::ServerIdentifier([224, 0, 0, 9].into())), "ignored_server"),
    (|it| set(it, DhcpOption::ClientIdentifier(vec![1, 2, 3])), "ignored_client"),
];

fn set(message: &mut Message, option: DhcpOption) {
    message.opts_mut().insert(option);
}

#[test]
fn what_is_not_for_us_changes_nothing_in_any_state_and_is_counted_by_name() {
    for (spoil, reason) in SPOILED {
        let mut host = Host::new(plain());
        let server = Server::new();
        let hear = |host: &mut Host, message: Message| {
            let (state, lease, counted) = (host.state(), host.client.lease().cloned(), host.counters.total());
            let mut spoiled = message.clone();
            spoil(&mut spoiled);
            host.hear(&spoiled);
            assert_eq!((host.state(), host.client.lease().cloned()), (state, lease), "{reason}");
            assert_eq!(host.counters.total(), counted + 1);
            host.hear(&message);
            assert_ne!(host.state(), state, "the message itself is heeded");
        };
        let discover = host.next();
        hear(&mut host, server.offer(&discover.message));
        let request = host.next();
        hear(&mut host, server.ack(&request.message));
        host.client.on_probed(host.now, ADDRESS, true);
        let renewal = host.next();
        hear(&mut host, server.ack(&renewal.message));
        let rebinding = host.pass(secs(3_151)).pop().expect("a request");
        assert_eq!(host.state(), DhcpState::Rebinding);
        hear(&mut host, server.nak(&rebinding.message));
        assert_eq!(host.ignored(), [(reason, 4)]);
    }
}

#[test]
fn kinds_that_are_not_waited_for_are_ignored() {
    let server = Server::new();
    let mut host = Host::new(plain());
    let discover = host.next();
    host.hear(&server.ack(&discover.message));
    assert_eq!((host.state(), host.counters.ignored_state), (DhcpState::Selecting, 1));
    host.hear(&server.offer(&discover.message));
    let request = host.next();
    host.hear(&server.offer(&request.message));
    assert_eq!((host.state(), host.counters.ignored_state), (DhcpState::Requesting, 2));
    for kind in [MessageType::Inform, MessageType::ForceRenew, MessageType::Unknown(99)] {
        host.hear(&server.answer(kind, &request.message));
    }
    assert_eq!(host.counters.ignored_malformed, 3);
    host.hear(&server.ack(&request.message));
    host.hear(&server.ack(&request.message));
    assert_eq!((host.state(), host.ignored().len()), (DhcpState::Probing, 3), "and a copy is nothing new");
}

#[test]
fn an_answer_to_what_was_not_sent_yet_is_ignored() {
    let server = Server::new();
    let mut host = Host::new(plain());
    let discover = host.next();
    host.hear(&server.offer(&discover.message));
    assert!(host.client.wants_transmit());
    host.hear(&server.ack(&discover.message));
    assert_eq!((host.state(), host.ignored()), (DhcpState::Requesting, vec![("ignored_state", 1)]));
}

#[test]
fn only_the_server_whose_offer_was_taken_can_grant_it() {
    let mut host = Host::new(plain());
    let discover = host.next();
    host.hear(&Server::new().offer(&discover.message));
    let request = host.next();
    host.hear(&Server { id: OTHER_SERVER, ..Server::new() }.ack(&request.message));
    assert_eq!((host.state(), host.ignored()), (DhcpState::Requesting, vec![("ignored_server", 1)]));
    host.hear(&Server { address: Ipv4Addr::new(192, 0, 2, 99), ..Server::new() }.ack(&request.message));
    assert_eq!((host.state(), host.counters.ignored_address), (DhcpState::Requesting, 1));
}

#[test]
fn an_identifier_that_is_echoed_is_ours() {
    let config = DhcpConfig { client_identifier: Some(b"\0a host".to_vec()), probe: false, ..plain() };
    let server = Server::new().with(DhcpOption::ClientIdentifier(b"\0a host".to_vec()));
    let mut host = Host::new(config);
    host.granted(&server);
    assert_eq!((host.state(), host.ignored()), (DhcpState::Bound, vec![]));
}

#[test]
fn a_hardware_address_of_any_length_is_read_without_harm() {
    let mut host = Host::new(plain());
    let discover = host.next();
    let mut offer = Server::new().offer(&discover.message).to_vec().expect("bytes");
    for length in (0..=255).filter(|length| *length != 6) {
        offer[2] = length;
        host.hear_bytes(&offer);
    }
    assert_eq!(host.ignored(), [("ignored_hardware", 255)]);
}
