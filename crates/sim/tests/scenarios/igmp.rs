//! IGMP on the wire: what a host tells the routers of its link of the groups it receives, when, and in which version
//! (RFC 3376, RFC 2236, RFC 1112).

use std::net::Ipv4Addr;

use sunstar_packet::Notes;
use sunstar_sim::craft::{Envelope, igmp};
use sunstar_sim::decode::{Body, Igmp, Transport};
use sunstar_sim::{Heard, Script, ms, secs};
use sunstar_stack::{SocketError, UdpKey};
use sunstar_wire::{MacAddress, Protocol};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const OTHER: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 4);
const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const EVERY_GROUP: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

const QUERY: u8 = 0x11;
const REPORT_V2: u8 = 0x16;

/// Types of records.
const IS_INCLUDE: u8 = 1;
const IS_EXCLUDE: u8 = 2;
const TO_INCLUDE: u8 = 3;
const TO_EXCLUDE: u8 = 4;

/// Behind the group of a version 3 query: no flags, robustness 2, every 125 seconds, no sources.
const V3: [u8; 4] = [2, 125, 0, 0];

/// Puts packets for this address into the right frames, with one hop left.
fn to(script: &Script, destination: Ipv4Addr) -> Envelope {
    let destination_mac = MacAddress::multicast(destination).0;
    Envelope { ttl: 1, destination, destination_mac, ..script.envelope }
}

/// A query to all systems.
fn query(script: &mut Script, tenths: u8, group: Ipv4Addr, behind: &[u8]) {
    let frame = to(script, ALL_SYSTEMS).igmp(&igmp(QUERY, tenths, group, behind));
    script.inject_frame(&frame);
}

/// Another host reports a group.
fn report_of_another(script: &mut Script, group: Ipv4Addr) {
    let frame = to(script, group).igmp(&igmp(REPORT_V2, 0, group, &[]));
    script.inject_frame(&frame);
}

fn message(heard: &Heard) -> Igmp {
    match &heard.frame.body {
        Body::Ip(_, Transport::Igmp(message)) => message.clone(),
        _ => panic!("an IGMP message was expected, not {}", heard.frame),
    }
}

fn heard(script: &mut Script) -> Vec<Igmp> {
    script.heard().iter().map(message).collect()
}

fn records(kind: u8, groups: &[Ipv4Addr]) -> Igmp {
    Igmp::ReportV3(groups.iter().map(|group| (kind, *group, Vec::new())).collect())
}

fn join(script: &mut Script, port: u16, group: Ipv4Addr) -> UdpKey {
    let socket = script.host.udp_bind(port);
    script.host.shard_mut().udp_join(socket, group.into()).unwrap();
    script.settle();
    socket
}

/// A member whose joining was told as often as it is.
fn member(script: &mut Script, port: u16, group: Ipv4Addr) -> UdpKey {
    let socket = join(script, port, group);
    script.drive_for(secs(30));
    script.heard();
    socket
}

fn leave(script: &mut Script, socket: UdpKey, group: Ipv4Addr) {
    script.host.shard_mut().udp_leave(socket, group.into());
    script.settle();
}

/// A script whose host has heard a querier of version 2, and has answered.
fn version_2() -> Script {
    let mut script = Script::new();
    query(&mut script, 1, EVERY_GROUP, &[]);
    script.drive_for(secs(1));
    script
}

#[test]
fn who_joins_a_group_is_reported_at_once_and_again_within_a_second() {
    let mut script = Script::new();
    let socket = join(&mut script, 9, GROUP);
    assert_eq!(heard(&mut script), [records(TO_EXCLUDE, &[GROUP])]);
    let start = script.now();
    let again = script.next_within(secs(1)).expect("another, should the first be lost");
    assert_eq!(message(&again), records(TO_EXCLUDE, &[GROUP]));
    assert!(again.at > start);
    script.expect_silence(secs(600));
    leave(&mut script, socket, GROUP);
    assert_eq!(heard(&mut script), [records(TO_INCLUDE, &[GROUP])]);
    let again = script.next_within(secs(1)).expect("another, should the first be lost");
    assert_eq!(message(&again), records(TO_INCLUDE, &[GROUP]));
    script.expect_silence(secs(600));
    assert_eq!(script.host.counters().control.igmp_reports_sent, 4);
}

#[test]
fn when_a_report_is_repeated_is_left_to_chance() {
    let mut delays: Vec<_> = (0..20)
        .map(|seed| {
            let mut script = Script::builder().seed(seed).build();
            join(&mut script, 9, GROUP);
            script.heard();
            let start = script.now();
            let delay = script.next_within(secs(1)).expect("another report").at - start;
            script.leave();
            delay
        })
        .collect();
    delays.sort_unstable();
    assert!(delays[0] < ms(300) && delays[19] > ms(700), "{delays:?}");
    delays.dedup();
    assert_eq!(delays.len(), 20);
}

#[test]
fn only_the_first_member_of_a_group_and_the_last_are_told_of() {
    let mut script = Script::new();
    let first = member(&mut script, 9, GROUP);
    let second = join(&mut script, 10, GROUP);
    leave(&mut script, first, GROUP);
    script.expect_silence(secs(60));
    script.host.udp_close(second);
    script.settle();
    assert_eq!(heard(&mut script), [records(TO_INCLUDE, &[GROUP])]);
}

#[test]
fn all_systems_is_a_group_that_is_never_reported() {
    let mut script = Script::new();
    let socket = join(&mut script, 9, ALL_SYSTEMS);
    query(&mut script, 10, EVERY_GROUP, &V3);
    query(&mut script, 10, ALL_SYSTEMS, &V3);
    leave(&mut script, socket, ALL_SYSTEMS);
    script.expect_silence(secs(60));
}

#[test]
fn a_group_left_and_joined_again_is_told_as_it_is_now() {
    let mut script = Script::new();
    let socket = member(&mut script, 9, GROUP);
    leave(&mut script, socket, GROUP);
    script.host.shard_mut().udp_join(socket, GROUP.into()).unwrap();
    script.drive_for(secs(5));
    let expected = [TO_INCLUDE, TO_EXCLUDE, TO_EXCLUDE].map(|kind| records(kind, &[GROUP]));
    assert_eq!(heard(&mut script), expected);
}

#[test]
fn what_was_joined_and_left_before_the_device_had_room_is_not_worth_a_word() {
    let mut script = Script::new();
    script.host.stall();
    let socket = join(&mut script, 9, GROUP);
    script.drive_for(secs(2));
    join(&mut script, 10, OTHER);
    leave(&mut script, socket, GROUP);
    script.drive_for(secs(2));
    script.host.resume();
    script.settle();
    assert_eq!(heard(&mut script), [records(TO_EXCLUDE, &[OTHER])]);
}

#[test]
fn a_host_without_an_address_reports_from_nobody() {
    let mut script = Script::new();
    let address = script.host.address();
    script.host.remove_address(address);
    join(&mut script, 9, GROUP);
    let heard = script.heard();
    let Body::Ip(ip, _) = &heard[0].frame.body else { panic!("{}", heard[0].frame) };
    assert_eq!(ip.source, Ipv4Addr::UNSPECIFIED);
}

#[test]
fn a_general_query_is_answered_with_all_groups_within_the_time_it_gives() {
    for seed in 0..20 {
        let mut script = Script::builder().seed(seed).build();
        member(&mut script, 9, GROUP);
        member(&mut script, 10, OTHER);
        let start = script.now();
        query(&mut script, 20, EVERY_GROUP, &V3);
        let answer = script.next_within(secs(2)).expect("an answer");
        assert!(answer.at > start);
        assert_eq!(message(&answer), records(IS_EXCLUDE, &[GROUP, OTHER]));
        script.expect_silence(secs(60));
        assert_eq!(script.host.counters().control.igmp_queries_received, 1);
    }
}

#[test]
fn a_long_time_to_answer_is_read_with_its_exponent() {
    let mut delays: Vec<_> = (0..20)
        .map(|seed| {
            let mut script = Script::builder().seed(seed).build();
            member(&mut script, 9, GROUP);
            let start = script.now();
            // (0xf + 16) << (3 + 3) = 1,984 tenths.
            query(&mut script, 0xbf, EVERY_GROUP, &V3);
            let delay = script.next_within(ms(198_400)).expect("an answer").at - start;
            script.leave();
            delay
        })
        .collect();
    delays.sort_unstable();
    assert!(delays[19] > secs(100), "{delays:?}");
}

#[test]
fn who_receives_nothing_answers_nothing() {
    let mut script = Script::new();
    query(&mut script, 10, EVERY_GROUP, &V3);
    query(&mut script, 10, GROUP, &V3);
    script.expect_silence(secs(60));
    assert_eq!(script.host.counters().drops.igmp_ignored, 1, "about a group nobody here receives");
}

#[test]
fn a_query_about_a_group_is_answered_with_that_group() {
    let mut script = Script::new();
    member(&mut script, 9, GROUP);
    member(&mut script, 10, OTHER);
    let frame = to(&script, OTHER).igmp(&igmp(QUERY, 10, OTHER, &V3));
    script.inject_frame(&frame);
    let answer = script.next_within(secs(1)).expect("an answer");
    assert_eq!(message(&answer), records(IS_EXCLUDE, &[OTHER]));
    script.expect_silence(secs(60));
}

#[test]
fn a_group_that_was_left_before_its_answer_was_due_is_not_in_it() {
    for tenths in [1, 100] {
        for group in [EVERY_GROUP, GROUP] {
            let mut script = Script::new();
            let socket = member(&mut script, 9, GROUP);
            query(&mut script, tenths, group, &V3);
            leave(&mut script, socket, GROUP);
            script.drive_for(secs(60));
            assert_eq!(heard(&mut script), [records(TO_INCLUDE, &[GROUP]), records(TO_INCLUDE, &[GROUP])]);
        }
    }
}

/// A query about a group and these sources.
fn query_sources(script: &mut Script, sources: &[Ipv4Addr]) {
    let addresses: Vec<u8> = sources.iter().flat_map(|source| source.octets()).collect();
    let behind = [&[2, 125, 0, sources.len() as u8][..], &addresses].concat();
    query(script, 100, GROUP, &behind);
}

#[test]
fn a_query_about_sources_is_answered_with_those_and_two_of_them_in_one_answer() {
    let sources: Vec<_> = (1..=40).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
    let mut script = Script::new();
    member(&mut script, 9, GROUP);
    query_sources(&mut script, &sources[..2]);
    query_sources(&mut script, &sources[1..3]);
    script.drive_for(secs(60));
    let expected = Igmp::ReportV3(vec![(IS_INCLUDE, GROUP, sources[..3].to_vec())]);
    assert_eq!(heard(&mut script), [expected]);
    // RFC 3376 section 5.2, rule 4: about all sources, in the place of some.
    query_sources(&mut script, &sources[..2]);
    query(&mut script, 100, GROUP, &V3);
    script.drive_for(secs(60));
    assert_eq!(heard(&mut script), [records(IS_EXCLUDE, &[GROUP])]);
    // More than are remembered: all that is received.
    query_sources(&mut script, &sources);
    script.drive_for(secs(60));
    assert_eq!(heard(&mut script), [records(IS_EXCLUDE, &[GROUP])]);
    query_sources(&mut script, &sources[..32]);
    script.drive_for(secs(60));
    let expected = Igmp::ReportV3(vec![(IS_INCLUDE, GROUP, sources[..32].to_vec())]);
    assert_eq!(heard(&mut script), [expected]);
}

#[test]
fn an_answer_that_is_due_sooner_serves_a_later_query_too() {
    let mut script = Script::new();
    member(&mut script, 9, GROUP);
    query(&mut script, 1, EVERY_GROUP, &V3);
    for _ in 0..5 {
        // Almost always later than that.
        query(&mut script, 0xff, EVERY_GROUP, &V3);
        query(&mut script, 0xff, GROUP, &V3);
    }
    script.drive_for(secs(4_000));
    assert_eq!(heard(&mut script), [records(IS_EXCLUDE, &[GROUP])]);
}

#[test]
fn more_groups_than_fit_a_packet_are_reported_in_several() {
    let mut script = Script::new();
    let socket = script.host.udp_bind(9);
    let groups: Vec<_> = (0..250).map(|last| Ipv4Addr::new(239, 1, 3, last)).collect();
    for group in &groups {
        script.host.shard_mut().udp_join(socket, (*group).into()).unwrap();
    }
    script.settle();
    // 1,500 bytes without 24 of IP header and 8 of IGMP's, 8 a record.
    let expected = [records(TO_EXCLUDE, &groups[..183]), records(TO_EXCLUDE, &groups[183..])];
    assert_eq!(heard(&mut script), expected);
    script.drive_for(secs(2));
    script.heard();
    query(&mut script, 10, EVERY_GROUP, &V3);
    script.drive_for(secs(1));
    let expected = [records(IS_EXCLUDE, &groups[..183]), records(IS_EXCLUDE, &groups[183..])];
    assert_eq!(heard(&mut script), expected);
}

#[test]
fn a_shard_joins_as_many_groups_as_its_configuration_allows() {
    let mut script = Script::builder().host(|host| host.shard.igmp.max_groups = 2).build();
    let socket = script.host.udp_bind(9);
    let mut join = |last| {
        let group = Ipv4Addr::new(239, 1, 3, last);
        script.host.shard_mut().udp_join(socket, group.into())
    };
    assert_eq!((join(1), join(2)), (Ok(()), Ok(())));
    assert_eq!(join(3), Err(SocketError::TooManyGroups { limit: 2 }));
    assert_eq!(join(2), Ok(()), "which it is in");
    script.host.shard_mut().udp_leave(socket, Ipv4Addr::new(239, 1, 3, 1).into());
    assert_eq!(script.host.shard_mut().udp_join(socket, Ipv4Addr::new(239, 1, 3, 3).into()), Ok(()));
}

#[test]
fn where_a_querier_speaks_version_2_so_does_the_host() {
    let mut script = version_2();
    let socket = join(&mut script, 9, GROUP);
    assert_eq!(heard(&mut script), [Igmp::ReportV2(GROUP)]);
    let again = script.next_within(secs(10)).expect("another, should the first be lost");
    assert_eq!(message(&again), Igmp::ReportV2(GROUP));
    script.expect_silence(secs(20));
    let start = script.now();
    query(&mut script, 50, EVERY_GROUP, &[]);
    let answer = script.next_within(secs(5)).expect("an answer");
    assert!(answer.at > start);
    assert_eq!(message(&answer), Igmp::ReportV2(GROUP));
    script.expect_silence(secs(20));
    // RFC 3376 section 7.2.1: whatever the version of a query is, that of the answer is the host's.
    query(&mut script, 10, GROUP, &V3);
    let answer = script.next_within(secs(1)).expect("an answer");
    assert_eq!(message(&answer), Igmp::ReportV2(GROUP));
    leave(&mut script, socket, GROUP);
    assert_eq!(heard(&mut script), [Igmp::Leave(GROUP)]);
    script.expect_silence(secs(60));
    let control = &script.host.counters().control;
    assert_eq!((control.igmp_reports_sent, control.igmp_leaves_sent), (4, 1));
}

#[test]
fn in_version_2_each_group_has_its_own_time_to_be_answered() {
    let mut script = version_2();
    member(&mut script, 9, GROUP);
    member(&mut script, 10, OTHER);
    query(&mut script, 100, EVERY_GROUP, &[]);
    let first = script.next_within(secs(10)).expect("an answer");
    let second = script.next_within(secs(10)).expect("another");
    assert!(first.at < second.at);
    let mut groups = [message(&first), message(&second)];
    groups.sort_unstable_by_key(|message| format!("{message:?}"));
    assert_eq!(groups, [Igmp::ReportV2(GROUP), Igmp::ReportV2(OTHER)]);
}

#[test]
fn in_version_2_an_answer_comes_sooner_for_a_more_urgent_query_only() {
    let mut script = version_2();
    member(&mut script, 9, GROUP);
    query(&mut script, 1, EVERY_GROUP, &[]);
    query(&mut script, 255, EVERY_GROUP, &[]);
    script.expect_silence(Default::default());
    assert!(script.next_within(ms(100)).is_some());
    script.expect_silence(secs(60));
    query(&mut script, 255, EVERY_GROUP, &[]);
    query(&mut script, 1, GROUP, &[]);
    assert!(script.next_within(ms(100)).is_some());
    script.expect_silence(secs(60));
}

#[test]
fn a_host_that_hears_another_report_its_group_says_nothing_and_leaves_without_a_word() {
    let mut script = version_2();
    let socket = member(&mut script, 9, GROUP);
    query(&mut script, 100, EVERY_GROUP, &[]);
    report_of_another(&mut script, GROUP);
    script.expect_silence(secs(60));
    assert_eq!(script.host.counters().control.igmp_suppressed, 1);
    leave(&mut script, socket, GROUP);
    script.expect_silence(secs(60));
}

#[test]
fn a_report_nobody_was_about_to_send_changes_nothing() {
    let mut script = version_2();
    let socket = member(&mut script, 9, GROUP);
    report_of_another(&mut script, GROUP);
    assert_eq!(script.host.counters().drops.igmp_ignored, 1);
    leave(&mut script, socket, GROUP);
    assert_eq!(heard(&mut script), [Igmp::Leave(GROUP)], "this host was the last to report it");
}

#[test]
fn in_version_3_the_reports_of_others_silence_nobody() {
    let mut script = Script::new();
    member(&mut script, 9, GROUP);
    for group in [EVERY_GROUP, GROUP] {
        query(&mut script, 100, group, &V3);
        report_of_another(&mut script, GROUP);
        assert!(script.next_within(secs(10)).is_some());
    }
}

#[test]
fn an_older_querier_is_forgotten_when_it_has_been_silent_for_long_enough() {
    let mut script = version_2();
    member(&mut script, 9, GROUP);
    let mut answer_after = |pause| {
        script.drive_for(pause);
        script.heard();
        query(&mut script, 1, GROUP, &V3);
        message(&script.next_within(secs(1)).expect("an answer"))
    };
    // Twice 125 seconds and the time to answer; 31 have passed.
    assert_eq!(answer_after(secs(210)), Igmp::ReportV2(GROUP));
    assert_eq!(answer_after(secs(20)), records(IS_EXCLUDE, &[GROUP]));
}

#[test]
fn what_is_pending_is_dropped_when_the_version_changes_and_the_query_that_changes_it_is_answered() {
    let mut script = Script::new();
    member(&mut script, 9, GROUP);
    let left = member(&mut script, 10, OTHER);
    query(&mut script, 100, EVERY_GROUP, &V3);
    query(&mut script, 100, GROUP, &V3);
    leave(&mut script, left, OTHER);
    assert_eq!(heard(&mut script), [records(TO_INCLUDE, &[OTHER])], "which is to be told again");
    query(&mut script, 100, EVERY_GROUP, &[]);
    script.drive_for(secs(20));
    assert_eq!(heard(&mut script), [Igmp::ReportV2(GROUP)]);
}

#[test]
fn where_a_querier_speaks_version_1_there_are_no_leaves() {
    let mut script = Script::new();
    let socket = member(&mut script, 9, GROUP);
    // It knows neither a time to answer nor router alerts.
    let frame = to(&script, ALL_SYSTEMS).ip(Protocol::IGMP, &igmp(QUERY, 0, EVERY_GROUP, &[]));
    script.inject_frame(&frame);
    let answer = script.next_within(secs(10)).expect("an answer");
    assert_eq!(message(&answer), Igmp::ReportV1(GROUP));
    // A querier of version 2 beside it changes nothing.
    query(&mut script, 10, EVERY_GROUP, &[]);
    let answer = script.next_within(secs(1)).expect("an answer");
    assert_eq!(message(&answer), Igmp::ReportV1(GROUP));
    leave(&mut script, socket, GROUP);
    script.expect_silence(secs(60));
}

#[test]
fn a_query_that_may_come_from_beyond_the_link_is_not_answered() {
    let mut script = Script::new();
    member(&mut script, 9, GROUP);
    let all = to(&script, ALL_SYSTEMS);
    let general = igmp(QUERY, 10, EVERY_GROUP, &V3);
    let mut damaged = general.clone();
    damaged[1] ^= 1;
    let short = [&V3[..3], &[1]].concat();
    let wrong = [
        Envelope { ttl: 2, ..all }.igmp(&general),
        Envelope { ttl: 255, ..all }.igmp(&general),
        all.ip(Protocol::IGMP, &general),
        all.ip(Protocol::IGMP, &igmp(QUERY, 10, EVERY_GROUP, &[])),
        to(&script, GROUP).igmp(&general),
        all.igmp(&igmp(QUERY, 10, Ipv4Addr::new(10, 0, 0, 1), &V3)),
        all.igmp(&igmp(QUERY, 10, GROUP, &short)),
    ];
    for frame in &wrong {
        script.inject_frame(frame);
    }
    assert_eq!(script.host.counters().drops.bad_igmp, wrong.len() as u64);
    script.inject_frame(&all.igmp(&damaged));
    assert_eq!(script.host.counters().drops.bad_checksum, 1);
    script.inject_frame(&all.igmp(&igmp(QUERY, 10, EVERY_GROUP, &V3[..2])));
    assert_eq!(script.host.counters().drops.malformed, 1);
    script.inject_frame(&all.igmp(&general[..7]));
    assert_eq!(script.host.counters().drops.bad_checksum + script.host.counters().drops.truncated, 2);
    script.inject_frame(&all.igmp(&igmp(0x99, 0, GROUP, &[])));
    assert_eq!(script.host.counters().drops.igmp_ignored, 1);
    script.expect_silence(secs(60));
    assert_eq!(script.host.counters().control.igmp_queries_received, 0);
}

#[test]
fn a_switch_that_asks_without_an_address_of_its_own_is_answered() {
    let mut script = Script::new();
    member(&mut script, 9, GROUP);
    let switch = to(&script, ALL_SYSTEMS).from_address(Ipv4Addr::UNSPECIFIED);
    script.inject_frame(&switch.igmp(&igmp(QUERY, 10, EVERY_GROUP, &V3)));
    let answer = script.next_within(secs(1)).expect("an answer");
    assert_eq!(message(&answer), records(IS_EXCLUDE, &[GROUP]));
    // Nothing else comes from nobody.
    let everything_else = switch.udp(5, 9, b"hello");
    script.inject_with(&everything_else, Notes::default());
    assert_eq!(script.host.counters().drops.martian, 1);
}

#[test]
fn a_querier_says_how_often_a_change_is_told() {
    let mut script = Script::new();
    query(&mut script, 10, EVERY_GROUP, &[4, 125, 0, 0]);
    join(&mut script, 9, GROUP);
    script.drive_for(secs(10));
    assert_eq!(heard(&mut script), vec![records(TO_EXCLUDE, &[GROUP]); 4]);
}

#[test]
fn a_device_that_has_failed_is_not_asked_to_tell_anything() {
    let mut script = Script::new();
    let socket = member(&mut script, 9, GROUP);
    query(&mut script, 10, EVERY_GROUP, &V3);
    script.host.fail_device();
    script.drive_for(secs(2));
    leave(&mut script, socket, GROUP);
    script.drive_for(secs(2));
    assert!(script.heard().is_empty());
}
