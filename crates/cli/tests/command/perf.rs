//! `sunstar perf`, between two stacks of its own.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Program, run};

/// Runs it, and reads an object a test.
fn perf(arguments: &[&str]) -> Vec<Value> {
    let output = run(&[&["perf", "--json"], arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_request_of_a_counted_run_is_answered_whatever_the_number_of_shards() {
    for shards in ["1", "2", "4"] {
        let opened = perf(&["--shards", shards, "--requests", "101", "--test", "connections"]);
        assert_eq!((opened.len(), &opened[0]["connections"]), (1, &101.into()));
        let measured = perf(&["--shards", shards, "--requests", "1001", "--size", "100"]);
        assert_eq!(measured.len(), 1);
        assert_eq!((&measured[0]["test"], &measured[0]["requests"]), (&"requests".into(), &1_001.into()));
        for end in ["client", "server"] {
            assert_eq!(measured[0][end]["drops"], serde_json::json!({}), "{shards} shards");
        }
    }
}

#[test]
fn all_tests_run_one_after_the_other_on_fewer_queues_than_shards() {
    let measured = perf(&["--shards", "2", "--queues", "1", "--seconds", "1", "--no-offload"]);
    let tests: Vec<_> = measured.iter().map(|it| it["test"].as_str().unwrap()).collect();
    assert_eq!(tests, ["down", "up", "requests", "connections"]);
    for (test, counts) in measured.iter().zip(["bytes", "bytes", "requests", "connections"]) {
        assert!(test[counts].as_u64().unwrap() > 0, "{test}");
        assert_eq!(test["streams"], 8, "{test}");
    }
}

#[test]
fn a_host_that_cannot_start_is_not_waited_for() {
    // So few files that one host of the two may have all it takes, and the other not.
    for files in 8..=48 {
        let script = format!(
            "ulimit -n {files}; exec timeout --signal KILL 60 \"$0\" perf --json --shards 2 --requests 4"
        );
        let ended = Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_sunstar")]).output().unwrap();
        let killed = ended.status.code().is_none_or(|code| code == 137);
        assert!(!killed, "with {files} files: {}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn a_device_without_a_server_at_its_other_end_is_refused_with_advice() {
    let output = run(&["perf", "--device", "tap:nothing-opened", "--address", "10.0.0.2/24"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("perf --server"), "{error}");
}

#[test]
fn a_number_of_requests_for_a_test_without_any_is_refused_with_advice() {
    let output = run(&["perf", "--requests", "10", "--test", "down"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("--seconds"), "{error}");
}

#[test]
fn a_signal_ends_the_test_that_runs_and_leaves_out_the_rest() {
    let program = Program::start(&["perf", "--json", "--shards", "2", "--seconds", "3600"]);
    program.until_it_hears(Signal::INT);
    program.signal(Signal::INT);
    let (text, status) = program.rest();
    assert!(status.success(), "{text}");
    let measured: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(measured.len(), 1, "{text}");
    assert_eq!(measured[0]["test"], "down");
    assert!(measured[0]["seconds"].as_f64().unwrap() < 3_600.0, "{text}");
}
