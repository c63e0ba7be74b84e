//! From nothing to an address.

use super::*;

#[test]
fn four_messages_and_a_probe_give_an_address() {
    let mut host = Host::new(plain());
    assert_eq!(host.state(), DhcpState::Init);

    let discover = host.next();
    assert_eq!((discover.kind(), host.state()), (MessageType::Discover, DhcpState::Selecting));
    assert_eq!((discover.source, discover.destination), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
    assert_eq!((discover.requested(), discover.server()), (None, None));

    host.hear(&Server::new().offer(&discover.message));
    let request = host.next();
    assert_eq!((request.kind(), host.state()), (MessageType::Request, DhcpState::Requesting));
    assert_eq!((request.source, request.destination), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
    assert_eq!((request.requested(), request.server()), (Some(ADDRESS), Some(SERVER)));
    assert_eq!(request.message.ciaddr(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(request.message.xid(), discover.message.xid());

    host.hear(&Server::new().ack(&request.message));
    assert_eq!((host.state(), host.client.lease()), (DhcpState::Probing, None));
    assert_eq!(host.client.poll_event(), Some(DhcpEvent::Probe(ADDRESS)));
    assert_eq!(host.client.poll_event(), None);

    host.client.on_probed(host.now, ADDRESS, true);
    let lease = host.lease().clone();
    assert_eq!(
        (host.state(), host.client.poll_event()),
        (DhcpState::Bound, Some(DhcpEvent::Bound(lease.clone())))
    );
    assert_eq!(host.client.poll_event(), None);
    assert_eq!((lease.address, lease.prefix, lease.server), (ADDRESS, 24, SERVER));
    assert_eq!((lease.routers, lease.dns_servers), (vec![SERVER], vec![SERVER, OTHER_SERVER]));
    assert!(!host.client.wants_transmit());
    let DhcpCounters { discovers_sent, requests_sent, offers_received, acks_received, .. } = host.counters;
    assert_eq!(
        [discovers_sent, requests_sent, offers_received, acks_received, host.counters.total()],
        [1, 1, 1, 1, 4]
    );
}

#[test]
fn without_probing_the_address_is_used_at_once() {
    let mut host = Host::new(DhcpConfig { probe: false, ..plain() });
    host.granted(&Server::new());
    assert_eq!(host.state(), DhcpState::Bound);
    assert!(matches!(host.client.poll_event(), Some(DhcpEvent::Bound(_))));
}

#[test]
fn the_first_message_waits_for_a_time_within_the_range() {
    let config = DhcpConfig { min_initial_delay: secs(1), max_initial_delay: secs(10), ..plain() };
    let waits: Vec<_> = (0..100).map(|seed| Host::seeded(config.clone(), seed, None).next().after).collect();
    assert!(waits.iter().all(|wait| (secs(1)..=secs(10)).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait < secs(3)) && waits.iter().any(|wait| *wait > secs(8)));
    let default = Host::seeded(DhcpConfig::default(), 3, None).next().after;
    assert!(default > Duration::ZERO && default <= secs(1));
}

#[test]
fn a_discover_without_an_answer_is_repeated_at_doubling_intervals_up_to_64_seconds() {
    let mut host = Host::new(plain());
    let sent = host.pass(secs(320));
    assert_eq!(Host::seconds(&sent), [0, 4, 12, 28, 60, 124, 188, 252, 316]);
    assert!(sent.iter().all(|sent| sent.kind() == MessageType::Discover));
    let seconds: Vec<_> = sent.iter().map(|sent| u64::from(sent.message.secs())).collect();
    assert_eq!(seconds, Host::seconds(&sent), "`secs` counts from the first");
    assert!(sent.iter().all(|each| each.message.xid() == sent[0].message.xid()));
}

#[test]
fn every_interval_is_up_to_a_second_shorter_or_longer() {
    let config = DhcpConfig { max_initial_delay: Duration::ZERO, ..DhcpConfig::default() };
    let mut off = Vec::new();
    for seed in 0..50 {
        let sent = Host::seeded(config.clone(), seed, None).pass(secs(130));
        let nominal = [4_000, 8_000, 16_000, 32_000, 64_000];
        for (pair, nominal) in sent.windows(2).zip(nominal) {
            off.push((pair[1].after - pair[0].after).as_millis() as i64 - nominal);
        }
    }
    assert!(off.iter().all(|off| off.abs() <= 1_000), "{off:?}");
    assert!(off.iter().any(|off| *off < -700) && off.iter().any(|off| *off > 700));
}

#[test]
fn a_request_without_an_answer_is_made_four_times_in_a_minute_before_all_begins_anew() {
    let mut host = Host::new(plain());
    let offered = host.next();
    let _ = host.pass(secs(3));
    host.hear(&Server::new().offer(&offered.message));
    let sent = host.pass(secs(60));
    assert_eq!(Host::seconds(&sent), [3, 7, 15, 31, 63]);
    let kinds: Vec<_> = sent.iter().map(Sent::kind).collect();
    let [request, discover] = [MessageType::Request, MessageType::Discover];
    assert_eq!(kinds, [request, request, request, request, discover]);
    assert!(sent[..4].iter().all(|sent| sent.message.xid() == offered.message.xid()));
    assert_ne!(sent[4].message.xid(), sent[3].message.xid());
}

#[test]
fn a_request_says_the_same_seconds_as_the_discover_it_follows() {
    let mut host = Host::new(plain());
    let last = host.pass(secs(13)).pop().expect("the third DISCOVER");
    assert_eq!(last.message.secs(), 12);
    host.hear(&Server::new().offer(&last.message));
    let sent = host.pass(secs(20));
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|sent| sent.message.secs() == 12), "RFC 2131 section 3.1");
}

#[test]
fn the_lease_counts_from_the_request_and_not_from_its_answer() {
    let mut host = Host::new(DhcpConfig { probe: false, ..plain() });
    let discover = host.next();
    host.hear(&Server::new().offer(&discover.message));
    let request = host.next();
    let asked = host.now;
    let _ = host.pass(secs(5));
    host.hear(&Server::new().ack(&request.message));
    let term = host.lease().term.expect("an end");
    assert_eq!(host.lease().obtained, asked);
    assert_eq!(
        (term.renews, term.rebinds, term.expires),
        (asked + secs(1_800), asked + secs(3_150), asked + secs(3_600))
    );
}

#[test]
fn the_wait_for_an_answer_begins_when_the_message_has_left() {
    let mut host = Host::new(plain());
    host.client.on_timer(host.now);
    assert!(host.client.wants_transmit());
    assert_eq!(host.client.next_deadline(), None, "a device without room is waited for, not polled");
    host.now += secs(100);
    host.client.on_timer(host.now);
    let sent = host.pass(secs(5));
    assert_eq!(Host::seconds(&sent), [100, 104]);
    assert_eq!(sent[0].message.secs(), 0, "it says what holds when it leaves");
}

#[test]
fn the_first_acceptable_offer_is_taken_and_later_ones_ignored() {
    let mut host = Host::new(plain());
    let discover = host.next();
    let impossible = Server { address: Ipv4Addr::new(192, 0, 2, 255), ..Server::new() };
    host.hear(&impossible.offer(&discover.message));
    assert_eq!(host.state(), DhcpState::Selecting);
    host.hear(&Server::new().offer(&discover.message));
    let late = Server { id: OTHER_SERVER, address: Ipv4Addr::new(192, 0, 2, 77), ..Server::new() };
    host.hear(&late.offer(&discover.message));
    assert_eq!(host.next().server(), Some(SERVER));
    assert_eq!(host.ignored(), [("ignored_state", 1), ("ignored_lease", 1)]);
}

#[test]
fn of_offers_collected_for_a_time_the_address_had_before_wins_and_else_the_first() {
    let config = DhcpConfig { collect_offers: secs(2), ..plain() };
    let first = Server { id: OTHER_SERVER, address: Ipv4Addr::new(192, 0, 2, 77), ..Server::new() };
    for (remembered, expected) in [(None, OTHER_SERVER), (Some(ADDRESS), SERVER)] {
        let mut host = Host::seeded(config.clone(), 1, remembered);
        let discover = loop {
            let sent = host.next();
            if sent.kind() == MessageType::Discover {
                break sent;
            }
        };
        assert_eq!(discover.requested(), remembered, "it is asked for");
        host.hear(&first.offer(&discover.message));
        let offered = host.now;
        assert!(host.pass(secs(1)).is_empty());
        host.hear(&Server::new().offer(&discover.message));
        let third = Server {
            id: Ipv4Addr::new(192, 0, 2, 3),
            address: Ipv4Addr::new(192, 0, 2, 78),
            ..Server::new()
        };
        host.hear(&third.offer(&discover.message));
        let request = host.next();
        assert_eq!((host.now, request.server()), (offered + secs(2), Some(expected)));
        assert_eq!(host.counters.offers_received, 3);
    }
}

#[test]
fn an_offer_that_waits_for_company_is_not_asked_for_again_meanwhile() {
    let mut host = Host::new(DhcpConfig { collect_offers: secs(30), ..plain() });
    let discover = host.next();
    host.hear(&Server::new().offer(&discover.message));
    let sent = host.pass(secs(30));
    assert_eq!((sent.len(), sent[0].kind(), sent[0].after), (1, MessageType::Request, secs(30)));
}

#[test]
fn a_client_released_before_it_uses_an_address_stops_and_says_nothing() {
    for messages in 0..3 {
        let mut host = Host::new(plain());
        match messages {
            0 => {}
            1 => drop(host.next()),
            _ => host.granted(&Server::new()),
        }
        host.client.release(host.now);
        assert_eq!((host.state(), host.client.next_deadline()), (DhcpState::Stopped, None));
        assert!(host.pass(secs(10_000)).is_empty() && host.events().is_empty());
    }
}

#[test]
fn a_given_back_address_is_in_use_until_its_release_is_built() {
    let mut host = Host::bound(plain(), &Server::new());
    let lease = host.lease().clone();
    host.client.release(host.now);
    assert_eq!((host.state(), host.client.poll_event()), (DhcpState::Releasing, None));
    assert_eq!(host.client.lease(), Some(&lease));
    host.client.release(host.now);

    let release = host.next();
    assert_eq!((release.kind(), host.state()), (MessageType::Release, DhcpState::Stopped));
    assert_eq!((release.source, release.destination), (ADDRESS, SERVER));
    assert_eq!(
        (release.message.ciaddr(), release.server(), release.requested()),
        (ADDRESS, Some(SERVER), None)
    );
    assert_eq!(release.option(OptionCode::ParameterRequestList), None);
    assert_eq!(host.events(), [DhcpEvent::Lost { lease, why: LostReason::Released }]);
    assert!(host.pass(secs(10_000)).is_empty() && host.events().is_empty());
    assert_eq!(host.counters.releases_sent, 1);
}

#[test]
fn a_release_that_never_leaves_ends_with_the_lease() {
    let mut host = Host::bound(plain(), &Server::new());
    host.client.release(host.now);
    host.now += secs(3_600);
    host.client.on_timer(host.now);
    assert_eq!((host.state(), host.client.wants_transmit()), (DhcpState::Stopped, false));
    assert!(matches!(host.events().as_slice(), [DhcpEvent::Lost { why: LostReason::Expired, .. }]));
}
