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
