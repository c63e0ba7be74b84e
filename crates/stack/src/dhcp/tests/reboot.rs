//! A client that remembers an address (INIT-REBOOT, RFC 2131 section 3.2).

use super::*;

#[test]
fn a_remembered_address_is_asked_for_at_once_and_of_any_server() {
    let mut host = Host::remembering(DhcpConfig::default(), ADDRESS);
    assert_eq!(host.state(), DhcpState::Rebooting);
    let request = host.next();
    assert_eq!((request.kind(), request.after), (MessageType::Request, Duration::ZERO));
    assert_eq!((request.source, request.destination), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
    assert_eq!((request.requested(), request.server()), (Some(ADDRESS), None), "RFC 2131 table 5");
    assert_eq!(request.message.ciaddr(), Ipv4Addr::UNSPECIFIED);

    host.hear(&Server { id: OTHER_SERVER, ..Server::new() }.ack(&request.message));
    assert_eq!(host.client.poll_event(), Some(DhcpEvent::Probe(ADDRESS)));
    host.client.on_probed(host.now, ADDRESS, true);
    assert_eq!((host.state(), host.lease().server), (DhcpState::Bound, OTHER_SERVER));
}

#[test]
fn a_remembered_address_that_is_refused_is_forgotten() {
    let mut host = Host::remembering(plain(), ADDRESS);
    let request = host.next();
    host.hear(&Server::new().nak(&request.message));
    let discover = host.next();
    assert_eq!((discover.kind(), discover.requested()), (MessageType::Discover, None));
    assert!(host.events().is_empty(), "it was not in use");
}

#[test]
fn a_remembered_address_that_nobody_knows_of_is_asked_for_twice_and_then_any_other_too() {
    let mut host = Host::remembering(plain(), ADDRESS);
    let sent = host.pass(secs(17));
    assert_eq!(Host::seconds(&sent), [0, 4, 12, 16]);
    let kinds: Vec<_> = sent.iter().map(Sent::kind).collect();
    let [request, discover] = [MessageType::Request, MessageType::Discover];
    assert_eq!(kinds, [request, request, discover, discover]);
    assert!(sent.iter().all(|sent| sent.requested() == Some(ADDRESS)));
    assert_eq!(sent[0].message.xid(), sent[1].message.xid());
    assert_ne!(sent[1].message.xid(), sent[2].message.xid());

    let moved = Server { address: Ipv4Addr::new(192, 0, 2, 99), ..Server::new() };
    host.hear(&moved.offer(&sent[3].message));
    let request = host.next();
    host.hear(&moved.ack(&request.message));
    host.client.on_probed(host.now, moved.address, true);
    assert_eq!(host.lease().address, moved.address);
}

#[test]
fn an_acknowledgement_of_another_address_is_ignored() {
    let mut host = Host::remembering(plain(), ADDRESS);
    let request = host.next();
    host.hear(&Server { address: Ipv4Addr::new(192, 0, 2, 99), ..Server::new() }.ack(&request.message));
    assert_eq!((host.state(), host.ignored()), (DhcpState::Rebooting, vec![("ignored_address", 1)]));
}

#[test]
fn a_remembered_address_that_no_host_can_have_is_not_asked_for() {
    for address in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255]] {
        assert_eq!(Host::remembering(plain(), address.into()).state(), DhcpState::Init);
    }
}
