//! `sunstar ping`, of the gateway that the embedded device has.

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Program, run};

#[test]
fn the_gateway_answers() {
    let output = run(&["ping", "10.0.0.1", "-c", "3", "-i", "0.01", "-s", "1472"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(lines[0], "PING 10.0.0.1 (10.0.0.1) 1472(1500) bytes of data.");
    for (sequence, line) in (1..=3).zip(&lines[1..]) {
        let expected = format!("1480 bytes from 10.0.0.1: icmp_seq={sequence} ttl=64 time=");
        assert!(line.starts_with(&expected) && line.ends_with(" ms"), "{line}");
    }
    assert_eq!(lines[5], "--- 10.0.0.1 ping statistics ---");
    assert!(lines[6].starts_with("3 packets transmitted, 3 received, 0% packet loss, time "), "{text}");
    assert!(lines[7].starts_with("rtt min/avg/max/mdev = "), "{text}");
}

#[test]
fn replies_and_statistics_can_be_json() {
    let output = run(&["ping", "10.0.0.1", "-c", "2", "-i", "0.01", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines[2]["reply"]["icmp_seq"], 2);
    let statistics = &lines[3]["statistics"];
    assert_eq!((&statistics["received"], &statistics["loss_percent"]), (&2.into(), &0.0.into()));
    assert!(statistics["rtt_ms"]["avg"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_host_that_is_not_there_makes_it_fail_in_time() {
    let output = run(&["ping", "10.0.0.9", "-c", "2", "-i", "0.01", "-W", "0.1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("2 packets transmitted, 0 received, 100% packet loss"), "{text}");
}

#[test]
fn interrupted_it_still_says_what_came_of_it() {
    let mut program = Program::start(&["ping", "10.0.0.1", "-i", "0.01"]);
    for beginning in ["PING", "64 bytes", "64 bytes"] {
        let line = program.line();
        assert!(line.starts_with(beginning), "{line}");
    }
    program.signal(Signal::INT);
    let (rest, status) = program.rest();
    assert!(rest.contains("ping statistics"), "{rest}");
    assert!(status.success());
}

#[test]
fn a_host_beyond_every_route_is_an_error_of_its_own() {
    let output = run(&["ping", "192.0.2.1", "-c", "1", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(error["error"].as_str().unwrap().contains("no route to 192.0.2.1"), "{error}");
}

#[test]
fn a_large_request_goes_in_fragments_and_comes_back_whole() {
    let output = run(&["ping", "10.0.0.1", "-c", "2", "-i", "0.01", "-s", "65507"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("65515 bytes from 10.0.0.1: icmp_seq=2") && !text.contains("DAMAGED"), "{text}");
}

#[test]
fn what_must_not_be_cut_and_does_not_fit_is_an_error_that_says_what_would() {
    let output = run(&["ping", "10.0.0.1", "-c", "2", "-i", "0.01", "-s", "1473", "-M"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("local error: icmp_seq=2 Packet too big, MTU is 1500"), "{text}");
    assert!(text.contains("2 packets transmitted, 0 received, +2 errors, 100% packet loss"), "{text}");

    let output = run(&["ping", "10.0.0.1", "-c", "1", "-s", "1473", "--dont-fragment", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let error = serde_json::json!({ "what": "too_big", "mtu": 1_500, "from": null, "icmp_seq": 1 });
    assert_eq!((&lines[1]["error"], &lines[2]["statistics"]["errors"]), (&error, &1.into()), "{text}");
}

#[test]
fn everyone_is_asked_only_where_that_is_meant() {
    let output = run(&["ping", "10.0.0.255", "-c", "1"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("every host of a network") && error.contains("--broadcast"), "{error}");
    let output = run(&["ping", "10.0.0.255", "-c", "1", "-W", "0.1", "-b"]);
    assert_eq!(output.status.code(), Some(1), "nobody answers, as hosts do");
}

#[test]
fn a_name_without_a_name_server_is_refused_with_advice() {
    let output = run(&["ping", "example.org", "-c", "1"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("`example.org`") && error.contains("--name-server"), "{error}");
}

#[test]
fn a_name_server_that_cannot_be_reached_is_named() {
    let output = run(&["ping", "example.org", "-c", "1", "--name-server", "192.0.2.1", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    let said = error["error"].as_str().unwrap();
    assert!(said.contains("example.org") && said.contains("192.0.2.1:53"), "{said}");
}
