//! `sunstar traceroute`, of the gateway that the embedded device has.

use serde_json::Value;

use crate::program::run;

#[test]
fn the_gateway_is_one_hop_away() {
    let output = run(&["traceroute", "10.0.0.1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(lines[0], "traceroute to 10.0.0.1 (10.0.0.1), 30 hops max, 60 byte packets");
    assert!(lines[1].starts_with(" 1  10.0.0.1  ") && lines[1].matches(" ms").count() == 3, "{text}");
    assert_eq!(lines.len(), 2, "{text}");
}

#[test]
fn silence_is_a_star_and_not_the_host() {
    let output = run(&["traceroute", "10.0.0.9", "-m", "2", "-w", "0.1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), [" 1  * * *", " 2  * * *"]);
}

#[test]
fn hops_can_be_json() {
    let output = run(&["traceroute", "10.0.0.1", "--queries", "2", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!((&lines[0]["traceroute"], &lines[0]["address"]), (&"10.0.0.1".into(), &"10.0.0.1".into()));
    let probes = lines[1]["probes"].as_array().unwrap();
    assert_eq!((&lines[1]["hop"], probes.len()), (&1.into(), 2));
    assert_eq!((&probes[0]["from"], &probes[0]["what"]), (&"10.0.0.1".into(), &"reply".into()));
    assert!(probes[0]["time_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(lines[2]["reached"], true);
}
