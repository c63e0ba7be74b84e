//! What cannot be done is refused with the reason, what to do, and the exit code that `--help` names.

use std::net::TcpListener;

use serde_json::Value;

use crate::program::run;

/// Runs the command, which must fail with this code, and returns what it complains of.
fn refused(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    complaint
}

#[test]
fn a_port_of_the_machine_that_is_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = taken.local_addr().unwrap();
    let publish = format!("{host}:80");
    let complaint = refused(&["serve", "--publish", &publish], 1);
    assert!(complaint.contains(&host.to_string()) && complaint.contains("in use"), "{complaint}");

    let complaint = refused(&["serve", "--json", "--publish", &publish], 1);
    let error: Value = serde_json::from_str(&complaint).unwrap();
    assert_eq!(error["exit_code"], 1);
    assert!(error["error"].as_str().unwrap().contains("in use"), "{error}");
}

#[test]
fn an_option_that_is_not_understood_says_what_would_be() {
    let complaint = refused(&["serve", "--device", "eth0"], 2);
    assert!(complaint.contains("`embedded`, or `tap:NAME`"), "{complaint}");
    let complaint = refused(&["serve", "--json", "--address", "10.0.0.2"], 2);
    let error: Value = serde_json::from_str(&complaint).unwrap();
    assert!(error["error"].as_str().unwrap().contains("10.0.0.2/24"), "{error}");
}

#[test]
fn a_tap_without_an_address_is_refused_before_it_is_opened() {
    let complaint = refused(&["serve", "--device", "tap:sun0"], 2);
    assert!(complaint.contains("--address 10.0.0.2/24"), "{complaint}");
}

#[test]
fn an_unknown_key_of_the_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sunstar.toml");
    std::fs::write(&file, "port = 80\nprot = 81\n").unwrap();
    let complaint = refused(&["serve", "--config", file.to_str().unwrap()], 2);
    assert!(complaint.contains("`prot`") && complaint.contains("sunstar.toml"), "{complaint}");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let complaint = refused(&["serve", "--dir", "/nowhere/at/all"], 1);
    assert!(complaint.contains("/nowhere/at/all"), "{complaint}");
}

#[test]
fn the_exit_codes_stand_in_the_help() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("Exit codes:"));
}
