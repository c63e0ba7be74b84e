//! `sunstar serve`: a client of the kernel's TCP on one side, our stack on the other.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::process::Signal;
use sha2::{Digest, Sha256};

use crate::client::{Client, get, pattern};
use crate::program::{Program, Server};

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}\n", Sha256::digest(bytes))
}

#[test]
fn the_page_and_the_counters_come_over_our_own_tcp() {
    let server = Server::start(&[]);
    let page = get(server.http(), "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("</html>"));

    let counters = get(server.http(), "/stats.json").json();
    let shards = counters["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 1);
    assert_eq!(shards[0]["tcp"]["passive_opens"], 2);
    assert!(shards[0]["ip"]["received"].as_u64().unwrap() > 5);
    assert!(shards[0]["drops"].as_object().unwrap().values().all(|count| count == 0));
}

#[test]
fn it_says_where_to_look() {
    let mut program = Program::start(&["serve", "--publish", "127.0.0.1:0:80"]);
    assert_eq!(program.line(), "sunstar is 10.0.0.2/24 on embedded\n");
    let line = program.line();
    let server = line.strip_prefix("look at http://").unwrap().trim_end().trim_end_matches('/');
    assert_eq!(get(server.parse().unwrap(), "/stats.json").status, 200);
    program.signal(Signal::INT);
    let (last, status) = program.rest();
    assert!(last.contains("packets in") && last.contains("1 connections accepted"), "{last}");
    assert!(status.success());
}

#[test]
fn both_signals_end_it_with_success_and_its_counters() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = Server::start(&[]);
        assert_eq!(get(server.http(), "/").status, 200);
        let last = server.stop(signal);
        assert_eq!(last["stats"]["shards"][0]["tcp"]["passive_opens"], 1, "{last}");
    }
}

#[test]
fn an_idle_connection_does_not_keep_it_from_ending() {
    let server = Server::start(&[]);
    let mut idle = Client::connect(server.http());
    assert_eq!(idle.get("/stats.json").status, 200);
    server.stop(Signal::TERM);
    assert!(idle.is_at_end());
}

#[test]
fn a_request_under_way_is_answered_before_it_ends() {
    let server = Server::start(&[]);
    let body = pattern(100_000);
    let mut client = Client::connect(server.http());
    let headers = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len());
    client.send("POST", "/sha256", &headers, b"");
    assert_eq!(client.receive_head().status, 100);
    server.program.signal(Signal::TERM);
    client.write(&body);
    assert_eq!(client.receive().text(), sha256(&body));
    let (_, status) = server.program.rest();
    assert!(status.success());
}

#[test]
fn large_bodies_arrive_unchanged_both_ways() {
    let server = Server::start(&[]);
    let mut client = Client::connect(server.http());
    let down = client.get("/bytes/30000001");
    assert!(down.body == pattern(30_000_001));
    client.send("POST", "/sha256", "", &down.body);
    assert_eq!(client.receive().text(), sha256(&down.body));
    let tcp = &client.get("/stats.json").json()["shards"][0]["tcp"];
    assert!(tcp["bytes_sent"].as_u64().unwrap() >= 30_000_001);
    assert!(tcp["bytes_received"].as_u64().unwrap() >= 30_000_001);
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    let server = Server::start(&[]);
    let mut client = Client::connect(server.http());
    for len in 0..100 {
        client.send("GET", &format!("/bytes/{}", len * 100), "", b"");
    }
    for len in 0..100 {
        assert!(client.receive().body == pattern(len * 100), "{len}");
    }
}

#[test]
fn many_clients_at_once_are_all_served() {
    let server = Server::start(&[]);
    let http = server.http();
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert!(get(http, "/bytes/500000").body == pattern(500_000)));
        }
    });
    let tcp = &get(http, "/stats.json").json()["shards"][0]["tcp"];
    assert_eq!(tcp["passive_opens"], 51);
}

#[test]
fn at_the_cap_a_connection_waits_for_another_to_end() {
    let server = Server::start(&["--max-connections", "1"]);
    let mut first = Client::connect(server.http());
    assert_eq!(first.get("/stats.json").status, 200);
    let mut second = Client::connect(server.http());
    second.send("GET", "/bytes/3", "", b"");
    for _ in 0..100 {
        assert_eq!(first.get("/bytes/5").body.len(), 5);
    }
    assert!(second.has_nothing_yet());
    first.send("GET", "/bytes/5", "Connection: close\r\n", b"");
    assert_eq!(first.receive().body.len(), 5);
    drop(first);
    assert_eq!(second.receive().body.len(), 3);
}

#[test]
fn files_are_served_whole_and_in_part() {
    let directory = tempfile::tempdir().unwrap();
    let content = pattern(20_000_003);
    std::fs::write(directory.path().join("file.bin"), &content).unwrap();
    std::fs::write(directory.path().join("secret"), "").unwrap();
    std::fs::create_dir(directory.path().join("public")).unwrap();
    std::fs::rename(directory.path().join("file.bin"), directory.path().join("public/file.bin")).unwrap();
    let server = Server::start(&["--dir", directory.path().join("public").to_str().unwrap()]);
    let mut client = Client::connect(server.http());
    assert!(client.get("/file.bin").body == content);
    client.send("GET", "/file.bin", "Range: bytes=19000000-\r\n", b"");
    let part = client.receive();
    assert_eq!(part.status, 206);
    assert!(part.body == content[19_000_000..]);
    assert_eq!(client.get("/../secret").status, 404);
    assert_eq!(client.get("/%2e%2e/secret").status, 404);
}

#[test]
fn options_can_come_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sunstar.toml");
    std::fs::write(
        &file,
        "port = 8000\njson = true\naddress = [\"192.0.2.7/24\"]\npublish = [\"127.0.0.1:0:8000\"]\n\
         [stack.tcp]\nwindow_scaling = false\n",
    )
    .unwrap();
    let mut program = Program::start(&["serve", "--config", file.to_str().unwrap()]);
    let ready = program.json();
    assert_eq!(ready["addresses"][0], "192.0.2.7/24");
    let http = ready["listening"].as_str().unwrap()["http://".len()..].trim_end_matches('/');
    assert_eq!(get(http.parse().unwrap(), "/").status, 200);
}

#[test]
fn every_frame_can_be_written_to_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("frames.pcapng");
    let server = Server::start(&["--pcap", capture.to_str().unwrap()]);
    assert_eq!(get(server.http(), "/bytes/100000").body.len(), 100_000);
    server.stop(Signal::TERM);
    let written = std::fs::read(capture).unwrap();
    // The block type that a pcapng file begins with.
    assert_eq!(written[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    assert!(written.len() > 100_000);
}

const MEASURING: [&str; 8] =
    ["--discard", "9", "--chargen", "19", "--publish", "127.0.0.1:0:9", "--publish", "127.0.0.1:0:19"];

#[test]
fn the_discard_service_takes_everything_and_closes_in_order() {
    let server = Server::start(&MEASURING);
    let mut stream = TcpStream::connect(server.service("discard")).unwrap();
    stream.write_all(&pattern(10_000_000)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    let tcp = &get(server.http(), "/stats.json").json()["shards"][0]["tcp"];
    assert!(tcp["bytes_received"].as_u64().unwrap() >= 10_000_000);
}

#[test]
fn the_character_generator_sends_its_pattern_until_the_peer_is_gone() {
    let server = Server::start(&MEASURING);
    let mut stream = TcpStream::connect(server.service("chargen")).unwrap();
    stream.write_all(b"thrown away").unwrap();
    let mut received = vec![0; 74 * 95 * 400];
    stream.read_exact(&mut received).unwrap();
    for (at, line) in received.chunks(74).enumerate() {
        let expected = (0..72).map(|column| b' ' + ((at + column) % 95) as u8).chain(*b"\r\n");
        assert!(line.iter().copied().eq(expected), "line {at}");
    }
    drop(stream);
    server.stop(Signal::TERM);
}
