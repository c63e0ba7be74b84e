//! DHCPNAK, and addresses that are in use.

use super::*;

/// A host in each of the states in which a refusal means something, and what it was refused.
fn asking() -> Vec<(DhcpState, Host, Message)> {
    let mut requesting = Host::new(plain());
    let discover = requesting.next();
    requesting.hear(&Server::new().offer(&discover.message));
    let rebooting = Host::remembering(plain(), ADDRESS);
    let renewing = Host::bound(plain(), &Server::new());
    let mut rebinding = Host::bound(plain(), &Server::new());
    rebinding.now += secs(3_150);
    rebinding.client.on_timer(rebinding.now);
    [requesting, rebooting, renewing, rebinding]
        .map(|mut host| {
            let request = host.next().message;
            (host.state(), host, request)
        })
        .into()
}

#[test]
fn a_refusal_takes_the_address_at_once_in_every_state_that_asks_for_one() {
    let states: Vec<_> = asking().iter().map(|(state, ..)| *state).collect();
    use DhcpState::*;
    assert_eq!(states, [Requesting, Rebooting, Renewing, Rebinding]);
    for (state, mut host, request) in asking() {
        let lease = host.client.lease().cloned();
        host.hear(&Server::new().nak(&request));
        assert_eq!((host.state(), host.client.lease()), (Init, None), "{state:?}");
        assert_eq!((host.counters.naks_received, host.ignored()), (1, vec![]), "{state:?}");
        let lost = lease.map(|lease| DhcpEvent::Lost { lease, why: LostReason::Nak });
        assert_eq!(host.events(), Vec::from_iter(lost), "{state:?}");
        let discover = host.next();
        assert_eq!((discover.kind(), discover.requested()), (MessageType::Discover, None), "{state:?}");
        assert_ne!(discover.message.xid(), request.xid());
    }
}

#[test]
fn only_who_was_asked_can_refuse() {
    for (state, mut host, request) in asking() {
        let other = Server { id: OTHER_SERVER, ..Server::new() };
        host.hear(&other.nak(&request));
        let heeded = matches!(state, DhcpState::Rebooting | DhcpState::Rebinding);
        assert_eq!(host.counters.naks_received == 1, heeded, "{state:?}");
        assert_eq!(host.counters.ignored_server == 0, heeded, "{state:?}");
        assert_eq!(host.state() == state, !heeded);
    }
}

#[test]
fn a_refusal_of_nothing_is_ignored() {
    let mut selecting = Host::new(plain());
    let discover = selecting.next();
    selecting.hear(&Server::new().nak(&discover.message));
    assert_eq!((selecting.state(), selecting.ignored()), (DhcpState::Selecting, vec![("ignored_state", 1)]));

    let mut granted = Host::new(plain());
    let discover = granted.next();
    granted.hear(&Server::new().offer(&discover.message));
    let request = granted.next();
    granted.hear(&Server::new().ack(&request.message));
    for state in [DhcpState::Probing, DhcpState::Bound] {
        assert_eq!(granted.state(), state);
        granted.hear(&Server::new().nak(&request.message));
        assert_eq!(granted.state(), state);
        granted.client.on_probed(granted.now, ADDRESS, true);
    }
    assert_eq!(granted.ignored(), [("ignored_transaction", 2)], "the exchange is over");
}

#[test]
fn a_server_that_refuses_what_it_offers_is_asked_less_and_less() {
    let mut host = Host::new(plain());
    let mut asked = Vec::new();
    for _ in 0..9 {
        let discover = host.next();
        asked.push(discover.after.as_secs());
        host.hear(&Server::new().offer(&discover.message));
        let request = host.next();
        host.hear(&Server::new().nak(&request.message));
    }
    assert_eq!(asked, [0, 0, 4, 12, 28, 60, 124, 188, 252]);
    // A lease ends the suspicion.
    host.granted(&Server::new());
    host.client.on_probed(host.now, ADDRESS, true);
    let renewal = host.next();
    host.hear(&Server::new().nak(&renewal.message));
    assert_eq!(host.next().after, renewal.after);
}

#[test]
fn an_address_that_is_in_use_is_declined_and_ten_seconds_pass() {
    let mut host = Host::new(DhcpConfig { decline_wait: secs(1), ..plain() });
    host.granted(&Server::new());
    host.client.on_probed(host.now, ADDRESS, false);
    assert_eq!(host.state(), DhcpState::Declined);
    assert!(host.events().is_empty(), "it was never in use");

    let decline = host.next();
    assert_eq!(decline.kind(), MessageType::Decline);
    assert_eq!((decline.source, decline.destination), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
    assert_eq!((decline.requested(), decline.server()), (Some(ADDRESS), Some(SERVER)));
    assert_eq!(decline.message.ciaddr(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(decline.option(OptionCode::ParameterRequestList), None);
    assert_eq!(host.counters.declines_sent, 1);

    let discover = host.next();
    assert_eq!(discover.after - decline.after, secs(10), "a configured second is not heeded");
    assert_eq!((discover.kind(), discover.requested()), (MessageType::Discover, None));
}

#[test]
fn the_ten_seconds_begin_when_the_decline_has_left() {
    let mut host = Host::new(plain());
    host.granted(&Server::new());
    host.client.on_probed(host.now, ADDRESS, false);
    host.now += secs(60);
    host.client.on_timer(host.now);
    let sent = host.pass(secs(10));
    let kinds: Vec<_> = sent.iter().map(|sent| (sent.kind(), sent.after.as_secs())).collect();
    assert_eq!(kinds, [(MessageType::Decline, 60), (MessageType::Discover, 70)]);
}

#[test]
fn a_conflict_while_the_address_is_in_use_takes_it_at_once() {
    for seconds in [0, 1_800, 3_150] {
        let mut host = Host::bound(plain(), &Server::new());
        let lease = host.lease().clone();
        host.now += secs(seconds);
        host.client.on_conflict(host.now, ADDRESS);
        assert_eq!((host.state(), host.client.lease()), (DhcpState::Declined, None));
        assert_eq!(host.events(), [DhcpEvent::Lost { lease, why: LostReason::Conflict }]);
        assert_eq!(host.next().kind(), MessageType::Decline);
    }
}

#[test]
fn news_of_another_address_than_the_one_concerned_changes_nothing() {
    let other = Ipv4Addr::new(192, 0, 2, 11);
    let mut host = Host::new(plain());
    host.client.on_probed(host.now, ADDRESS, false);
    host.granted(&Server::new());
    host.client.on_probed(host.now, other, false);
    host.client.on_conflict(host.now, ADDRESS);
    assert_eq!(host.state(), DhcpState::Probing, "a conflict is what the probe finds");
    host.client.on_probed(host.now, ADDRESS, true);
    host.client.on_probed(host.now, ADDRESS, false);
    host.client.on_conflict(host.now, other);
    assert_eq!(host.state(), DhcpState::Bound);
}

#[test]
fn a_probe_that_never_ends_lasts_no_longer_than_the_lease() {
    let mut host = Host::new(plain());
    host.granted(&Server::new());
    let sent = host.pass(secs(3_600));
    assert_eq!((sent.len(), sent[0].kind(), sent[0].after), (1, MessageType::Discover, secs(3_600)));
    host.client.on_probed(host.now, ADDRESS, true);
    assert_eq!(host.client.lease(), None, "too late");
}

#[test]
fn a_probe_that_ends_after_t1_has_the_lease_renewed_at_once() {
    let mut host = Host::new(plain());
    host.granted(&Server::new());
    host.now += secs(2_000);
    host.client.on_probed(host.now, ADDRESS, true);
    assert_eq!(host.state(), DhcpState::Renewing);
    assert!(matches!(host.events().as_slice(), [DhcpEvent::Bound(_)]));
    assert_eq!(host.next().after, secs(2_000));
}
