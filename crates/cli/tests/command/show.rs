//! `sunstar show` and `sunstar set`, beside a server that runs.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Client, get};
use crate::program::{Server, run};

/// How long something may take that does not happen at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with a control socket of its own, and the commands that are told of it.
struct Shown {
    server: Server,
    socket: String,
    _directory: TempDir,
}

impl Shown {
    fn start(arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("control.sock").to_str().unwrap().to_owned();
        let server = Server::start(&[&["--control", &socket], arguments].concat());
        Self { server, socket, _directory: directory }
    }

    /// Runs a command that must succeed, and returns what it prints.
    fn run(&self, words: &str) -> String {
        let (status, text, error) = self.try_run(words);
        assert_eq!((status, error.as_str()), (0, ""), "{words}");
        text
    }

    fn try_run(&self, words: &str) -> (i32, String, String) {
        let mut arguments: Vec<_> = words.split(' ').collect();
        arguments.extend(["--control", &self.socket]);
        let output = run(&arguments);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// A section as JSON.
    fn section(&self, name: &str) -> Value {
        let portrait: Value = serde_json::from_str(&self.run(&format!("show {name} --json"))).unwrap();
        portrait["snapshot"][name].clone()
    }

    /// Why a command fails.
    fn refused(&self, words: &str) -> String {
        let (status, text, error) = self.try_run(words);
        assert_eq!((status, text.as_str()), (1, ""), "{words}: {error}");
        error
    }
}

#[test]
fn without_a_section_it_prints_a_line_about_each() {
    let shown = Shown::start(&["--shards", "2"]);
    assert_eq!(get(shown.server.http(), "/").status, 200);
    let text = shown.run("show");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("sunstar, process "), "{text}");
    let names: Vec<_> = lines[1..].iter().filter_map(|line| line.split(' ').next()).collect();
    let all = sunstar::snapshot::Section::ALL.iter().map(|section| section.name()).collect::<Vec<_>>();
    assert_eq!(names, all, "{text}");
    assert!(text.contains("device up 10.0.0.2/24") && text.contains("2 listeners"), "{text}");
    let json: Value = serde_json::from_str(&shown.run("show --json")).unwrap();
    assert!(all.iter().all(|name| json["snapshot"][name].is_object()), "{json}");
}

#[test]
fn a_section_is_a_table_and_the_same_as_json() {
    let shown = Shown::start(&["--shards", "2"]);
    let mut client = Client::connect(shown.server.http());
    assert_eq!(client.get("/bytes/100000").body.len(), 100_000);

    let text = shown.run("show sockets");
    assert!(text.starts_with("kind  state"), "{text}");
    let at =
        |what: &str| text.lines().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{text}"));
    let connection = text.lines().nth(at("ESTABLISHED") + 1).unwrap();
    for part in
        ["cwnd:", "ssthresh:", "rtt:", "rto:", "mss:", "wscale:", "retrans:0", "sent:97.8KiB", "received:"]
    {
        assert!(connection.contains(part), "{part}: {connection}");
    }
    let sockets = shown.section("sockets");
    let connection = &sockets["connections"][0];
    assert_eq!((&connection["state"], &connection["local"]), (&"ESTABLISHED".into(), &"10.0.0.2:80".into()));
    assert!(
        connection["bytes_sent"].as_u64() > Some(100_000) && connection["srtt_us"].is_u64(),
        "{connection}"
    );
    assert_eq!(sockets["listeners"].as_array().unwrap().len(), 2, "one a shard");

    let neighbors = shown.section("neighbors");
    assert_eq!(neighbors["neighbors"][0]["address"], "10.0.0.1");
    assert!(shown.run("show neighbors").contains("reachable"));
    assert!(shown.run("show interfaces").contains("10.0.0.2/24"));
    assert!(shown.run("show routes").contains("10.0.0.0/24"));
    let ports = shown.section("ports");
    assert_eq!(
        (&ports["ports"][0]["port"], &ports["ports"][0]["owner"]),
        (&"tcp/80".into(), &"every".into())
    );
    assert!(shown.run("show path-mtus").starts_with("destination  MTU"));
    assert_eq!(shown.section("path-mtus")["path_mtus"], serde_json::json!([]));
    let none = |shard| serde_json::json!({ "shard": shard, "datagrams": 0, "held": 0 });
    assert_eq!(shown.section("reassembly")["shards"], serde_json::json!([none(0), none(1)]));
    assert!(shown.run("show steering").starts_with("steered by software"));
    assert!(shown.run("show shards").starts_with("shard  queue"));

    let counters = shown.section("counters");
    let named = |name: &str| {
        let list = counters["counters"].as_array().unwrap();
        list.iter().find(|counter| counter["name"] == name).unwrap_or_else(|| panic!("{name}")).clone()
    };
    assert_eq!(named("tcp.passive_opens")["total"], 1);
    assert_eq!(named("drops.martian")["by_shard"], serde_json::json!([0, 0]));
    let text = shown.run("show counters");
    assert!(
        text.starts_with("counter") && text.contains("shard 1") && text.contains("device.bad_notes"),
        "{text}"
    );
}

/// Whether the server answers at its published port, which leads to its first address.
fn answers(shown: &Shown) -> bool {
    let Ok(stream) = TcpStream::connect(shown.server.http()) else { return false };
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut stream = stream;
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").is_ok()
        && std::io::Read::read(&mut stream, &mut [0; 1]).is_ok_and(|len| len > 0)
}

#[test]
fn an_address_that_is_added_is_answered_and_one_that_is_removed_is_not() {
    let shown = Shown::start(&["--shards", "2"]);
    assert!(answers(&shown));
    assert_eq!(shown.run("set address add 10.0.0.3/24"), "address 10.0.0.3/24 added\n");
    assert_eq!(shown.run("set address remove 10.0.0.2/24"), "address 10.0.0.2/24 removed\n");
    assert!(!answers(&shown));
    let done: Value = serde_json::from_str(&shown.run("set address add 10.0.0.2/24 --json")).unwrap();
    assert_eq!(done["changed"]["add_address"], "10.0.0.2/24");
    // Its neighbour asks again a moment later.
    let deadline = Instant::now() + PATIENCE;
    while !answers(&shown) {
        assert!(Instant::now() < deadline, "an address that was added is not answered");
    }
    let device = &shown.section("interfaces")["interfaces"][1];
    assert_eq!(device["addresses"], serde_json::json!(["10.0.0.3/24", "10.0.0.2/24"]));
    assert_eq!(device["shards"], serde_json::json!([0, 1]));
    shown.server.stop(Signal::TERM);
}

#[test]
fn routes_are_added_replaced_and_removed_on_every_shard() {
    let shown = Shown::start(&["--shards", "2"]);
    shown.run("set route add default via 10.0.0.1");
    shown.run("set route add 10.1.0.0/16 via 10.0.0.9");
    shown.run("set route add 10.1.0.0/16 via 10.0.0.8");
    let routes = shown.run("show routes");
    assert!(routes.contains("10.1.0.0/16  10.0.0.8  device     0-1"), "{routes}");
    assert!(routes.contains("default      10.0.0.1  device     0-1"), "{routes}");
    shown.run("set route remove 10.1.0.0/16");
    assert!(!shown.run("show routes").contains("10.1.0.0/16"));
    let error = shown.refused("set route remove 10.1.0.0/16");
    assert!(error.contains("no route to 10.1.0.0/16; it has default"), "{error}");
}

#[test]
fn a_port_is_given_to_a_shard_or_to_every_one_and_every_shard_is_told() {
    let shown = Shown::start(&["--shards", "3"]);
    let becomes = |change: &str, owner: Value| {
        shown.run(change);
        let deadline = Instant::now() + PATIENCE;
        let is_so = || {
            let ports = shown.section("ports")["ports"].as_array().unwrap().clone();
            let ways: Vec<_> = ports.iter().filter(|port| port["port"] == "udp/53").collect();
            match &ways[..] {
                [] => owner.is_null(),
                [one] => one["owner"] == owner && one["shards"] == serde_json::json!([0, 1, 2]),
                _ => false,
            }
        };
        while !is_so() {
            assert!(Instant::now() < deadline, "{change}");
        }
    };
    becomes("set port udp/53 shard 2", "shard 2".into());
    becomes("set port udp/53 every", "every".into());
    becomes("set port udp/53 none", Value::Null);
    let error = shown.refused("set port tcp/80 shard 1");
    assert!(error.contains("close the listeners first"), "{error}");
    let error = shown.refused("set port udp/53 shard 3");
    assert!(error.contains("there is no shard 3: the stack has 3"), "{error}");
}

#[test]
fn the_echo_of_datagrams_has_its_port_on_one_shard() {
    let shown = Shown::start(&["--shards", "3", "--udp-echo", "7"]);
    assert_eq!(shown.server.ready["udp_echo"], "10.0.0.2:7");
    let ports = shown.section("ports")["ports"].as_array().unwrap().clone();
    let echo = ports.iter().find(|port| port["port"] == "udp/7").unwrap();
    assert_eq!((&echo["owner"], &echo["shards"]), (&"shard 0".into(), &serde_json::json!([0, 1, 2])));
    shown.server.stop(Signal::TERM);
}

#[test]
fn what_cannot_be_says_what_would_be() {
    let shown = Shown::start(&[]);
    let error = shown.refused("set address add 10.0.0.2/24");
    assert!(error.contains("has 10.0.0.2/24 already"), "{error}");
    let error = shown.refused("set route add default via 192.0.2.1");
    assert!(error.contains("it is in 10.0.0.0/24"), "{error}");
    let error = shown.refused("set port udp/53 every");
    assert!(error.contains("start the stack with more shards"), "{error}");
    let (status, _, error) = shown.try_run("show socket");
    assert!(status == 2 && error.contains("interfaces, routes"), "{error}");
    let (status, _, error) = shown.try_run("set port udp/53 somebody");
    assert!(status == 2 && error.contains("`every`"), "{error}");
    let refused = shown.refused("set address add 10.0.0.2/24 --json");
    assert_eq!(serde_json::from_str::<Value>(&refused).unwrap()["exit_code"], 1);
}

#[test]
fn where_nobody_answers_it_says_what_to_do() {
    let output = run(&["show", "--control", "/nowhere/control.sock"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains("/nowhere/control.sock does not answer") && error.contains("control socket"),
        "{error}"
    );
}

#[test]
fn the_help_names_every_section() {
    let help = String::from_utf8(run(&["show", "--help"]).stdout).unwrap();
    for section in ["interfaces", "neighbors", "sockets", "steering", "counters", "docs/show.md"] {
        assert!(help.contains(section), "{help}");
    }
}
