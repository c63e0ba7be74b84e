//! This host's own addresses on the link (RFC 5227): announced, and defended against another station's claims.

use std::net::Ipv4Addr;

use sunstar_sim::craft::Envelope;
use sunstar_sim::decode::Arp;
use sunstar_sim::{Script, ms, secs};
use sunstar_stack::{InterfaceAddress, InterfaceId};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn squatter(script: &Script) -> Envelope {
    Envelope { source_mac: [2, 0, 0, 0, 0, 9], ..script.envelope }
}

fn is_announcement(arp: &Arp, address: Ipv4Addr) -> bool {
    arp.request && (arp.sender.1, arp.target.1) == (address, address)
}

#[test]
fn an_address_is_announced_twice_when_it_becomes_ours() {
    let mut script = Script::builder().host(|host| host.shard.neighbor.announcements = 2).build();
    script.host.shard_mut();
    script.drive_for(ms(100));
    let first = script.arps();
    assert!(first.len() == 1 && is_announcement(&first[0], OWN), "{first:?}");
    script.drive_for(secs(10));
    assert_eq!(script.arps().len(), 1, "and again two seconds later");
    let other = InterfaceAddress { address: [10, 0, 0, 8].into(), prefix: 24 };
    script.host.shard_mut().add_address(InterfaceId::DEVICE, other);
    script.drive_for(secs(10));
    let announced = script.arps();
    assert!(announced.len() == 2 && announced.iter().all(|arp| is_announcement(arp, [10, 0, 0, 8].into())));
}

#[test]
fn an_address_that_another_station_claims_is_defended_but_not_without_end() {
    let mut script = Script::new();
    let claim = squatter(&script).to_everyone().arp(true, OWN, Ipv4Addr::new(10, 0, 0, 2));
    for _ in 0..50 {
        script.inject_frame(&claim);
        script.drive_for(ms(100));
    }
    let defences = script.arps();
    assert!(defences.len() == 1 && is_announcement(&defences[0], OWN), "{defences:?}");
    script.drive_for(secs(10));
    script.inject_frame(&claim);
    script.settle();
    assert_eq!(script.arps().len(), 1, "ten seconds later it is again");
    let conflict = *script.host.shard().conflicts().next().unwrap();
    assert_eq!((conflict.times, conflict.station.0), (51, [2, 0, 0, 0, 0, 9]));
    let counters = script.host.counters().control;
    assert_eq!((counters.address_conflicts, counters.address_defences), (51, 2));
}

#[test]
fn a_claim_in_an_answer_counts_as_one_in_a_question_and_teaches_nothing() {
    let mut script = Script::new();
    script.inject_frame(&squatter(&script).arp(false, OWN, OWN));
    script.settle();
    assert_eq!(script.host.counters().control.address_conflicts, 1);
    assert_eq!(script.host.shard().neighbors().count(), 0);
}

#[test]
fn our_own_station_is_no_other() {
    let mut script = Script::new();
    let own = Envelope { source_mac: script.envelope.destination_mac, ..script.envelope };
    script.inject_frame(&own.to_everyone().arp(true, OWN, OWN));
    script.expect_silence(secs(1));
    assert_eq!(script.host.counters().control.address_conflicts, 0);
}
