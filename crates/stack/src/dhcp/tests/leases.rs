//! What is made of a server's options.

use dhcproto::v4::UnknownOption;

use super::*;

/// The lease that this server's acknowledgement gives, if any.
fn lease(config: DhcpConfig, server: &Server) -> Option<Lease> {
    lease_of(config, |message| server.answer(message_kind(message), message).to_vec().expect("bytes"))
}

fn message_kind(question: &Message) -> MessageType {
    match question.opts().msg_type() {
        Some(MessageType::Discover) => MessageType::Offer,
        _ => MessageType::Ack,
    }
}

/// The lease that these answers give, if any.
fn lease_of(config: DhcpConfig, answer: impl Fn(&Message) -> Vec<u8>) -> Option<Lease> {
    let mut host = Host::new(DhcpConfig { probe: false, ..config });
    let discover = host.next();
    host.hear_bytes(&answer(&discover.message));
    let request = host.pull()?;
    host.hear_bytes(&answer(&request.message));
    host.client.lease().cloned()
}

fn default_lease(server: &Server) -> Lease {
    lease(plain(), server).expect("a lease")
}

/// An acknowledgement or offer whose options field, `file` and `sname` are these.
fn raw(question: &Message, options: &[u8], file: &[u8], sname: &[u8]) -> Vec<u8> {
    let plain = Server { options: vec![], ..Server::new() };
    let mut bytes = plain.answer(message_kind(question), question).to_vec().expect("bytes");
    assert_eq!(bytes.pop(), Some(255));
    bytes.extend(options);
    bytes[108..108 + file.len()].copy_from_slice(file);
    bytes[44..44 + sname.len()].copy_from_slice(sname);
    bytes
}

fn times(t1: Option<u32>, t2: Option<u32>, lease: u32) -> (u64, u64) {
    let mut server = Server::new().lasting(lease);
    server.options.extend(t1.map(DhcpOption::Renewal));
    server.options.extend(t2.map(DhcpOption::Rebinding));
    let lease = default_lease(&server);
    let term = lease.term.expect("an end");
    ((term.renews - lease.obtained).as_secs(), (term.rebinds - lease.obtained).as_secs())
}

#[test]
fn times_that_are_in_order_are_the_servers() {
    assert_eq!(times(Some(100), Some(200), 1_000), (100, 200));
    assert_eq!(times(Some(100), None, 1_000), (100, 875));
    assert_eq!(times(None, Some(900), 1_000), (500, 900));
    assert_eq!(times(Some(200), Some(200), 1_000), (200, 200));
}

#[test]
fn t1_after_t2_or_t2_after_the_lease_fall_back_to_a_half_and_seven_eighths() {
    assert_eq!(times(None, None, 1_000), (500, 875));
    assert_eq!(times(Some(900), Some(800), 1_000), (500, 875));
    assert_eq!(times(Some(500), Some(2_000), 1_000), (500, 875));
    assert_eq!(times(Some(400), Some(1_000), 1_000), (500, 875));
    assert_eq!(times(Some(3_000), Some(2_000), 1_000), (500, 875));
    assert_eq!(times(Some(900), None, 1_000), (500, 875));
    assert_eq!(times(None, Some(400), 1_000), (500, 875));
    assert_eq!(times(Some(0), Some(0), 1_000), (500, 875));
    assert_eq!(times(Some(u32::MAX), Some(u32::MAX), 1_000), (500, 875));
}

#[test]
fn an_address_no_host_can_have_is_refused() {
    let with = |address: [u8; 4], mask: [u8; 4]| {
        let server = Server { address: address.into(), ..Server::new() }.without(OptionCode::SubnetMask);
        lease(plain(), &server.with(DhcpOption::SubnetMask(mask.into()))).map(|lease| lease.prefix)
    };
    let class_c = [255, 255, 255, 0];
    for address in [[0, 0, 0, 0], [0, 0, 0, 5], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4]] {
        assert_eq!(with(address, class_c), None, "{address:?}");
    }
    for (address, mask) in [
        ([192, 0, 2, 0], class_c),
        ([192, 0, 2, 255], class_c),
        ([10, 0, 0, 3], [255, 255, 255, 252]),
        ([10, 0, 0, 0], [255, 0, 0, 0]),
    ] {
        assert_eq!(with(address, mask), None, "{address:?}");
    }
    assert_eq!(with([10, 0, 0, 255], [255, 255, 0, 0]), Some(16));
    // RFC 3021: a network of two addresses has no other use for them; nor has one of one.
    assert_eq!(with([10, 0, 0, 3], [255, 255, 255, 254]), Some(31));
    assert_eq!(with([10, 0, 0, 255], [255, 255, 255, 255]), Some(32));
}

#[test]
fn a_lease_of_no_time_or_none_told_is_refused() {
    assert_eq!(lease(plain(), &Server::new().lasting(0)), None);
    assert_eq!(
        lease_of(plain(), |question| {
            let mut answer = Server::new().answer(message_kind(question), question);
            answer.opts_mut().remove(OptionCode::AddressLeaseTime);
            answer.to_vec().expect("bytes")
        }),
        None
    );
    assert!(lease(plain(), &Server::new().lasting(1)).is_some());
}

#[test]
fn without_a_mask_or_with_one_that_is_none_the_class_decides() {
    let server = |address: [u8; 4]| Server { address: address.into(), ..Server::new() };
    let none = |address| default_lease(&server(address).without(OptionCode::SubnetMask)).prefix;
    assert_eq!([none([10, 1, 2, 3]), none([172, 16, 0, 3]), none([192, 168, 1, 3])], [8, 16, 24]);
    for mask in [[255, 0, 255, 0], [0, 0, 0, 0], [0, 0, 0, 255]] {
        let server = server([10, 1, 2, 3]).without(OptionCode::SubnetMask);
        assert_eq!(default_lease(&server.with(DhcpOption::SubnetMask(mask.into()))).prefix, 8, "{mask:?}");
    }
}

#[test]
fn an_mtu_below_576_is_ignored_and_any_other_told_as_it_is() {
    let mtu = |mtu| default_lease(&Server::new().with(DhcpOption::InterfaceMtu(mtu))).mtu;
    assert_eq!(default_lease(&Server::new()).mtu, None);
    assert_eq!([mtu(0), mtu(68), mtu(575)], [None; 3]);
    assert_eq!([mtu(576), mtu(1_500), mtu(u16::MAX)], [Some(576), Some(1_500), Some(u16::MAX)]);
}

#[test]
fn routers_and_name_servers_that_can_be_none_are_left_out() {
    let some: Vec<Ipv4Addr> =
        [[0; 4], [255; 4], [224, 0, 0, 1], [127, 0, 0, 1], [192, 0, 2, 10], [192, 0, 2, 7]]
            .map(Into::into)
            .into();
    let server = Server { options: vec![], ..Server::new() }
        .with(DhcpOption::Router(some.clone()))
        .with(DhcpOption::DomainNameServer(some));
    let lease = default_lease(&server);
    assert_eq!(
        (lease.routers, lease.dns_servers),
        (vec![[192, 0, 2, 7].into()], vec![[192, 0, 2, 7].into()])
    );
}

#[test]
fn lists_are_taken_up_to_a_limit() {
    let many: Vec<_> = (1..=200).map(|host| Ipv4Addr::new(192, 0, 3, host)).collect();
    let server = Server { options: vec![], ..Server::new() }
        .with(DhcpOption::Router(many.clone()))
        .with(DhcpOption::DomainNameServer(many.clone()));
    let lease = default_lease(&server);
    assert_eq!((&lease.routers[..], &lease.dns_servers[..]), (&many[..16], &many[..16]));
}

#[test]
fn a_domain_loses_its_zeros_and_its_dot_and_a_strange_one_is_no_domain() {
    let domain = |name: &str| default_lease(&Server::new().with(DhcpOption::DomainName(name.into()))).domain;
    assert_eq!(domain("example.org").as_deref(), Some("example.org"));
    assert_eq!(domain("example.org.\0\0").as_deref(), Some("example.org"));
    let long = vec!["a".repeat(63); 4].join(".");
    for strange in
        ["", ".", "a..b", "a b", "x\nnameserver 192.0.2.66", "$(reboot).org", "bücher.example", &long]
    {
        assert_eq!(domain(strange), None, "{strange:?}");
    }
}

#[test]
fn a_compressed_search_list_is_read_and_what_points_nowhere_ends_it() {
    // RFC 3397 section 2's own example, `eng.apple.com.` and `marketing.apple.com.`, in two pieces.
    let list = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
    let options = |list: &[u8]| {
        let (one, two) = list.split_at(9);
        [&[119, 9], one, &[119, two.len() as u8], two, &[255]].concat()
    };
    let search = |list: &[u8]| {
        lease_of(plain(), |question| raw(question, &options(list), &[], &[])).expect("a lease").search
    };
    assert_eq!(search(list), ["eng.apple.com", "marketing.apple.com"]);
    assert_eq!(search(b"\x03eng\x05apple\x03com\x00\xc0\x11"), ["eng.apple.com"], "a pointer to itself");
    assert_eq!(search(b"\x03eng\x05apple\x03com\x00\xc0\xff"), ["eng.apple.com"], "a pointer beyond the end");
    assert_eq!(search(b"\x03eng\x05apple\x03com\x00\x09mark"), ["eng.apple.com"], "a label cut off");
    assert_eq!(search(b"\x03e g\x05apple\x03com\x00\x03org\x00"), ["org"], "a strange name is left out");
}

#[test]
fn a_search_list_of_pointers_costs_no_more_than_its_limit() {
    let name = [&[63_u8][..], &[b'a'; 63], &[63], &[b'b'; 63], &[63], &[b'c'; 63], &[0]].concat();
    let list = [name, [0xc0, 0x00].repeat(20_000)].concat();
    let options: Vec<u8> =
        list.chunks(255).flat_map(|piece| [&[119, piece.len() as u8], piece].concat()).chain([255]).collect();
    let lease = lease_of(plain(), |question| raw(question, &options, &[], &[])).expect("a lease");
    assert_eq!(lease.search.len(), 16);
}

#[test]
fn classless_routes_are_taken_in_place_of_routers_if_they_were_asked_for() {
    let route = |network: &str, gateway: [u8; 4]| (network.parse().expect("a network"), gateway.into());
    let server = Server::new().with(DhcpOption::ClasslessStaticRoute(vec![
        route("0.0.0.0/0", [192, 0, 2, 3]),
        route("10.9.8.7/12", [192, 0, 2, 4]),
        route("198.51.100.0/24", [0, 0, 0, 0]),
        route("203.0.113.0/24", [224, 0, 0, 1]),
    ]));
    let unasked = default_lease(&server);
    assert_eq!((unasked.classless_routes, unasked.routers), (vec![], vec![SERVER]));

    let asked = lease(DhcpConfig { classless_routes: true, ..plain() }, &server).expect("a lease");
    assert_eq!(asked.routers, [] as [Ipv4Addr; 0], "RFC 3442: MUST ignore the Router option");
    let expected = |network: [u8; 4], prefix, gateway: Option<[u8; 4]>| ClasslessRoute {
        network: network.into(),
        prefix,
        gateway: gateway.map(Into::into),
    };
    assert_eq!(
        asked.classless_routes,
        [
            expected([0; 4], 0, Some([192, 0, 2, 3])),
            expected([10, 0, 0, 0], 12, Some([192, 0, 2, 4])),
            expected([198, 51, 100, 0], 24, None),
        ]
    );

    let without = lease(DhcpConfig { classless_routes: true, ..plain() }, &Server::new()).expect("a lease");
    assert_eq!(without.routers, [SERVER]);
}

#[test]
fn options_overflow_into_file_and_sname() {
    let mask = [1, 4, 255, 255, 128, 0];
    let router = [3, 4, 192, 0, 2, 3, 255, 3, 4, 1, 2, 3, 4];
    for (overload, prefix, routers) in [
        (1, 17, vec![]),
        (2, 24, vec![Ipv4Addr::new(192, 0, 2, 3)]),
        (3, 17, vec![Ipv4Addr::new(192, 0, 2, 3)]),
    ] {
        let file = [&mask[..], &[0, 0, 255]].concat();
        let lease = lease_of(plain(), |question| raw(question, &[52, 1, overload, 255], &file, &router));
        let lease = lease.expect("a lease");
        assert_eq!((lease.prefix, lease.routers), (prefix, routers), "{overload}");
    }
    // Not overloaded, they are names, and may hold anything.
    let lease = lease_of(plain(), |question| raw(question, &[255], &mask, &router)).expect("a lease");
    assert_eq!((lease.prefix, lease.routers), (24, vec![]));
}

#[test]
fn an_overload_of_an_unknown_kind_or_of_fields_that_do_not_end_is_malformed() {
    let malformed = |overload: &[u8], file: &[u8]| {
        let options = [overload, &[255]].concat();
        lease_of(plain(), |question| raw(question, &options, file, &[])).is_none()
    };
    assert!(!malformed(&[52, 1, 1], &[255]));
    assert!(malformed(&[52, 1, 0], &[255]) && malformed(&[52, 1, 4], &[255]) && malformed(&[52, 0], &[255]));
    assert!(malformed(&[52, 1, 1], &[0; 128]), "no END");
    assert!(malformed(&[52, 1, 1], &[3, 127]), "an option beyond the field");
}

#[test]
fn a_long_option_is_put_together_from_pieces_wherever_they_are() {
    // RFC 3396 section 5: the options field, then file, then sname.
    // Between them are others, which are not theirs to take.
    let options = [6, 4, 192, 0, 2, 1, 52, 1, 3, 3, 4, 192, 0, 2, 7, 6, 2, 192, 0, 255];
    let file = [6, 2, 2, 2, 26, 2, 5, 0, 6, 3, 192, 0, 2, 255];
    let sname = [6, 1, 3, 255];
    let lease = lease_of(plain(), |question| raw(question, &options, &file, &sname)).expect("a lease");
    assert_eq!(lease.dns_servers, [1, 2, 3].map(|host| Ipv4Addr::new(192, 0, 2, host)));
    assert_eq!((lease.routers, lease.mtu), (vec![Ipv4Addr::new(192, 0, 2, 7)], Some(1_280)));
}

#[test]
fn padding_unknown_options_and_what_follows_the_end_are_passed_over() {
    let options = [0, 0, 224, 2, 9, 9, 0, 3, 4, 192, 0, 2, 3, 254, 0, 0, 255, 3, 4, 9, 9, 9, 9, 6, 77];
    let lease = lease_of(plain(), |question| raw(question, &options, &[], &[])).expect("a lease");
    assert_eq!((lease.routers, lease.dns_servers), (vec![Ipv4Addr::new(192, 0, 2, 3)], vec![]));
}

#[test]
fn an_option_whose_value_cannot_be_read_is_left_out() {
    for options in
        [&[3, 3, 1, 2, 3, 255][..], &[26, 1, 5, 255], &[15, 2, 0xff, 0xfe, 255], &[121, 2, 24, 1, 255]]
    {
        let lease = lease_of(DhcpConfig { classless_routes: true, ..plain() }, |question| {
            raw(question, options, &[], &[])
        });
        let lease = lease.expect("a lease");
        assert_eq!(
            (lease.routers, lease.mtu, lease.domain, lease.classless_routes),
            (vec![], None, None, vec![])
        );
    }
}

#[test]
fn options_for_others_do_no_harm_at_any_length() {
    for code in (1..=254).filter(|code| ![51, 52, 53, 54, 61].contains(code)) {
        for length in 0..=9_u8 {
            let options = [&[code, length][..], &vec![1; usize::from(length)], &[255]].concat();
            let server = |question: &Message| raw(question, &options, &[], &[]);
            // A mask or an option of another length than its own is left out, and the rest is taken.
            assert!(lease_of(plain(), server).is_some(), "option {code} of {length}");
        }
    }
    let unknown = DhcpOption::Unknown(UnknownOption::new(OptionCode::from(250), vec![7; 200]));
    assert!(lease(plain(), &Server::new().with(unknown)).is_some());
}
