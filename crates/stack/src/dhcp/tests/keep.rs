//! Renewing, rebinding, and the end of a lease.

use super::*;

#[test]
fn a_lease_is_renewed_at_half_its_time_from_its_server_alone() {
    let mut host = Host::bound(plain(), &Server::new());
    let request = host.next();
    assert_eq!((request.after, host.state()), (secs(1_800), DhcpState::Renewing));
    assert_eq!((request.source, request.destination), (ADDRESS, SERVER));
    assert_eq!((request.kind(), request.message.ciaddr()), (MessageType::Request, ADDRESS));
    assert_eq!((request.requested(), request.server()), (None, None), "RFC 2131 table 5: MUST NOT");
    assert!(host.events().is_empty());

    host.hear(&Server::new().ack(&request.message));
    let lease = host.lease().clone();
    assert_eq!((host.state(), lease.obtained), (DhcpState::Bound, START + secs(1_800)));
    assert_eq!(host.events(), [DhcpEvent::Renewed(lease)]);
    assert_eq!(host.next().after, secs(3_600));
}

#[test]
fn a_renewal_with_other_settings_has_them_applied() {
    let mut host = Host::bound(plain(), &Server::new());
    let request = host.next();
    let moved = Server::new().without(OptionCode::Router).with(DhcpOption::Router(vec![OTHER_SERVER]));
    host.hear(&moved.ack(&request.message));
    match host.events().as_slice() {
        [DhcpEvent::Bound(lease)] => assert_eq!(lease.routers, [OTHER_SERVER]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn renewals_without_an_answer_halve_what_is_left_and_the_last_are_for_any_server() {
    let mut host = Host::bound(plain(), &Server::new());
    let sent = host.pass(secs(3_599));
    // T1 1800, T2 3150, the end 3600: half of what is left, a minute at least.
    assert_eq!(Host::seconds(&sent), [1_800, 2_475, 2_812, 2_981, 3_065, 3_125, 3_150, 3_375, 3_487, 3_547]);
    assert!(sent[..6].iter().all(|sent| sent.destination == SERVER && sent.source == ADDRESS));
    assert!(sent[6..].iter().all(|sent| sent.destination == Ipv4Addr::BROADCAST && sent.source == ADDRESS));
    assert!(sent[6..].iter().all(|sent| sent.message.ciaddr() == ADDRESS && sent.server().is_none()));
    assert_eq!(sent[9].message.secs(), 3_547 - 1_800, "it counts on from the first request");
    assert_eq!(host.state(), DhcpState::Rebinding);
    assert!(host.events().is_empty());
}

#[test]
fn at_its_end_a_lease_is_lost_at_once_and_its_address_asked_for_again() {
    let mut host = Host::bound(plain(), &Server::new());
    let lease = host.lease().clone();
    let _ = host.pass(secs(3_600) - Duration::from_micros(1));
    assert!(host.client.lease().is_some() && host.events().is_empty());
    host.now += Duration::from_micros(1);
    host.client.on_timer(host.now);
    assert_eq!(host.client.lease(), None);
    assert_eq!(host.events(), [DhcpEvent::Lost { lease, why: LostReason::Expired }]);
    let discover = host.next();
    assert_eq!((discover.kind(), discover.requested()), (MessageType::Discover, Some(ADDRESS)));
    assert_eq!(discover.message.ciaddr(), Ipv4Addr::UNSPECIFIED);
}

#[test]
fn when_the_server_has_moved_another_gives_the_lease_on() {
    let mut host = Host::bound(plain(), &Server::new());
    let other = Server { id: OTHER_SERVER, ..Server::new() };
    let renewal = host.next();
    host.hear(&other.ack(&renewal.message));
    assert_eq!(host.state(), DhcpState::Renewing, "it was not asked");
    assert_eq!(host.ignored(), [("ignored_server", 1)]);

    let rebinding = host.pass(secs(1_350)).pop().expect("a request at T2");
    assert_eq!((rebinding.after, rebinding.destination), (secs(3_150), Ipv4Addr::BROADCAST));
    host.hear(&other.ack(&rebinding.message));
    assert_eq!((host.state(), host.lease().server), (DhcpState::Bound, OTHER_SERVER));
    assert!(matches!(host.events().as_slice(), [DhcpEvent::Renewed(_)]));
    assert_eq!(host.next().destination, OTHER_SERVER);
}

#[test]
fn a_lost_packet_does_not_lose_a_short_lease() {
    for lease in [10, 30, 60, 120, 600] {
        let server = Server::new().lasting(lease);
        let mut host = Host::bound(plain(), &server);
        let sent = host.pass(secs(u64::from(lease)) - Duration::from_millis(1));
        let (to_server, to_all): (Vec<_>, Vec<_>) = sent.iter().partition(|sent| sent.destination == SERVER);
        assert_eq!(to_server[0].after, secs(u64::from(lease)) / 2);
        assert_eq!(to_all[0].after, secs(u64::from(lease)) * 7 / 8);
        assert!(to_server.len() >= 2, "{lease}: {:?}", Host::seconds(&sent));
        assert!(sent.len() <= 10, "{lease}: {:?}", Host::seconds(&sent));
        let gaps = sent.windows(2).map(|pair| pair[1].after - pair[0].after);
        assert!(gaps.clone().all(|gap| gap >= Duration::from_millis(700)), "{:?}", gaps.collect::<Vec<_>>());
    }
}

#[test]
fn a_short_lease_is_kept_for_as_long_as_its_server_answers() {
    let server = Server::new().lasting(10);
    let mut host = Host::bound(plain(), &server);
    for renewal in 1..=50 {
        let request = host.next();
        assert_eq!(request.after, secs(5) * renewal);
        host.hear(&server.ack(&request.message));
        assert!(matches!(host.events().as_slice(), [DhcpEvent::Renewed(_)]));
    }
}

#[test]
fn a_lease_counts_from_the_very_request_that_was_granted() {
    let mut host = Host::bound(plain(), &Server::new());
    let first = host.next();
    let second = host.next();
    assert_ne!(first.message.xid(), second.message.xid());
    host.hear(&Server::new().ack(&first.message));
    assert_eq!((host.state(), host.ignored()), (DhcpState::Renewing, vec![("ignored_transaction", 1)]));
    host.hear(&Server::new().ack(&second.message));
    assert_eq!(host.lease().obtained, START + secs(2_475));
}

#[test]
fn an_endless_lease_is_never_renewed() {
    let server = Server::new().lasting(u32::MAX).with(DhcpOption::Renewal(60));
    let mut host = Host::bound(plain(), &server);
    assert_eq!((host.lease().term, host.client.next_deadline()), (None, None));
    assert!(host.pass(secs(1 << 40)).is_empty());
    assert_eq!(host.state(), DhcpState::Bound);
}

#[test]
fn the_longest_lease_with_an_end_has_one() {
    let host = Host::bound(plain(), &Server::new().lasting(u32::MAX - 1));
    let expires = host.lease().term.expect("an end").expires;
    assert_eq!(expires, START + secs(u64::from(u32::MAX - 1)));
}

#[test]
fn after_a_stall_of_any_length_there_is_one_message_and_the_right_one() {
    for (stall, state, kind) in [
        (1_801, DhcpState::Renewing, MessageType::Request),
        (3_151, DhcpState::Rebinding, MessageType::Request),
        (9_999, DhcpState::Selecting, MessageType::Discover),
    ] {
        let mut host = Host::bound(plain(), &Server::new());
        host.now += secs(stall);
        host.client.on_timer(host.now);
        let sent = host.pass(secs(1));
        assert_eq!((sent.len(), host.state()), (1, state));
        assert_eq!(sent[0].kind(), kind);
    }
}

#[test]
fn an_answer_after_the_end_of_the_lease_does_not_bring_it_back() {
    let mut host = Host::bound(plain(), &Server::new());
    let request = host.pass(secs(3_599)).pop().expect("a request");
    // The timer has not fired yet when the answer comes.
    host.now += secs(2);
    host.hear(&Server::new().ack(&request.message));
    assert_eq!(host.client.lease(), None);
    assert!(matches!(host.events().as_slice(), [DhcpEvent::Lost { why: LostReason::Expired, .. }]));
}

#[test]
fn what_came_and_went_unseen_is_told_as_what_there_is() {
    let mut host = Host::bound(plain(), &Server::new());
    let lease = host.lease().clone();
    host.client.on_conflict(host.now, ADDRESS);
    let _ = host.pass(secs(10));
    let moved = Server { address: Ipv4Addr::new(192, 0, 2, 99), ..Server::new() };
    let discover = host.next();
    host.hear(&moved.offer(&discover.message));
    let request = host.next();
    host.hear(&moved.ack(&request.message));
    host.client.on_probed(host.now, moved.address, true);
    let now = host.lease().clone();
    assert_eq!(host.events(), [DhcpEvent::Lost { lease, why: LostReason::Conflict }, DhcpEvent::Bound(now)]);
}

#[test]
fn a_client_is_the_same_again_from_the_same_seed_and_inputs() {
    let run = |seed| {
        let mut host = Host::seeded(DhcpConfig::default(), seed, None);
        host.granted(&Server::new());
        host.client.on_probed(host.now, ADDRESS, true);
        let sent = host.pass(secs(20_000));
        sent.into_iter().map(|sent| (sent.after, sent.payload)).collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
