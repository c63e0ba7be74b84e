//! Bytes that are no message: they change nothing, in any state, and never panic.

use proptest::prelude::*;

use super::*;

/// All that can be seen of a client.
fn seen(host: &Host) -> (DhcpState, Option<Lease>, Option<Instant>, bool) {
    let Host { client, .. } = host;
    (client.state(), client.lease().cloned(), client.next_deadline(), client.wants_transmit())
}

/// A host in each state that waits for an answer, and the answer it waits for.
fn waiting() -> Vec<(Host, Vec<u8>)> {
    let server = Server::new()
        .with(DhcpOption::DomainName("example.org".into()))
        .with(DhcpOption::InterfaceMtu(1_400))
        .with(DhcpOption::Renewal(1_000))
        .with(DhcpOption::Rebinding(2_000));
    let answer = |mut host: Host| {
        let question = host.next();
        let answer = match question.kind() {
            MessageType::Discover => server.offer(&question.message),
            _ => server.ack(&question.message),
        };
        (host, answer.to_vec().expect("bytes"))
    };
    let (mut requesting, offer) = answer(Host::new(plain()));
    requesting.hear_bytes(&offer);
    let mut rebinding = Host::bound(plain(), &server);
    rebinding.now += secs(3_000);
    vec![
        answer(Host::new(plain())),
        answer(requesting),
        answer(Host::remembering(plain(), ADDRESS)),
        answer(Host::bound(plain(), &server)),
        answer(rebinding),
    ]
}

#[test]
fn an_answer_cut_off_at_any_length_changes_nothing() {
    for (mut host, answer) in waiting() {
        let before = seen(&host);
        for length in 0..answer.len() {
            host.hear_bytes(&answer[..length]);
            assert_eq!(seen(&host), before, "{length} of {}", answer.len());
        }
        assert_eq!(host.ignored().iter().map(|(_, count)| *count).sum::<u64>(), answer.len() as u64);
        host.hear_bytes(&answer);
        assert_ne!(seen(&host), before);
    }
}

#[test]
fn a_length_of_any_option_that_reaches_too_far_changes_nothing() {
    for (mut host, answer) in waiting() {
        let before = seen(&host);
        let mut at = 240;
        while answer[at] != 255 {
            let mut lying = answer.clone();
            lying[at + 1] = 255;
            host.hear_bytes(&lying);
            assert_eq!(seen(&host), before);
            at += 2 + usize::from(answer[at + 1]);
        }
        assert!(host.counters.ignored_malformed > 5);
    }
}

proptest! {
    #[test]
    fn any_bytes_change_nothing(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        for (mut host, _) in waiting() {
            let before = seen(&host);
            host.hear_bytes(&bytes);
            prop_assert_eq!(seen(&host), before);
        }
    }

    #[test]
    fn any_options_after_a_good_header_do_no_harm(
        options in prop::collection::vec(any::<u8>(), 0..400),
        fields in prop::collection::vec(any::<u8>(), 192..=192),
        overload in 0_u8..5,
    ) {
        for (mut host, mut answer) in waiting() {
            answer[44..236].copy_from_slice(&fields);
            answer.pop();
            answer.extend([52, 1, overload]);
            answer.extend(&options);
            host.hear_bytes(&answer);
            settle(host)?;
        }
    }

    #[test]
    fn a_good_answer_with_some_bytes_changed_does_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for (mut host, mut answer) in waiting() {
            for (index, byte) in &changes {
                let at = index.index(answer.len());
                answer[at] = *byte;
            }
            host.hear_bytes(&answer);
            settle(host)?;
        }
    }
}

/// Whatever was believed, a lease is one a host can have, and the client goes on at a decent pace.
fn settle(mut host: Host) -> Result<(), TestCaseError> {
    host.client.on_probed(host.now, ADDRESS, true);
    if let Some(lease) = host.client.lease() {
        prop_assert!(lease.prefix >= 1 && lease.prefix <= 32);
        prop_assert!(lease.mtu.is_none_or(|mtu| mtu >= 576));
        if let Some(term) = lease.term {
            prop_assert!(lease.obtained < term.renews && term.renews <= term.rebinds);
            prop_assert!(term.rebinds < term.expires);
        }
    }
    let sent = host.pass(secs(100));
    prop_assert!(sent.len() <= 100, "{} messages in 100 seconds", sent.len());
    Ok(())
}
