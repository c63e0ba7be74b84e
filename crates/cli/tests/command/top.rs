//! `sunstar top`, beside a server that runs.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::get;
use crate::program::{Server, sunstar};

/// A place for sockets of its own, and the command as it is run there.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = sunstar(arguments);
        command.env("XDG_RUNTIME_DIR", self.0.path());
        command
    }

    /// What the command printed, and what it complained of.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn serve(&self, arguments: &[&str]) -> Server {
        Server::start_by(self.command(&Server::arguments(arguments)))
    }
}

#[test]
fn it_finds_the_only_server_that_runs_and_prints_what_its_shards_counted() {
    let place = Place::new();
    let server = place.serve(&["--shards", "2"]);
    assert_eq!(get(server.http(), "/").status, 200);
    let (status, text, error) = place.run(&["top", "--once"]);
    assert_eq!((status, error.as_str()), (0, ""));
    assert!(text.starts_with("sunstar, process ") && text.contains("2 shards, steered by"), "{text}");
    let (_, json, _) = place.run(&["top", "--once", "--json"]);
    let reading: Value = serde_json::from_str(&json).unwrap();
    let accepted = |shard: &Value| shard["tcp"]["passive_opens"].as_u64().unwrap();
    let shards = reading["stats"]["shards"].as_array().unwrap();
    assert_eq!((shards.len(), shards.iter().map(accepted).sum::<u64>()), (2, 1));
}

#[test]
fn the_socket_is_for_its_own_user_and_goes_with_the_server() {
    let place = Place::new();
    let server = place.serve(&[]);
    let socket = server.ready["control"].as_str().unwrap().to_owned();
    assert!(Path::new(&socket).starts_with(place.0.path().join("sunstar")));
    for (path, mode) in [(Path::new(&socket), 0o600), (Path::new(&socket).parent().unwrap(), 0o700)] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
    server.stop(Signal::TERM);
    assert!(!Path::new(&socket).exists());
    let (status, _, error) = place.run(&["top", "--once"]);
    assert!(status == 1 && error.contains("sunstar serve"), "{error}");
}

#[test]
fn among_several_it_asks_for_one_and_a_socket_that_was_named_is_taken() {
    let place = Place::new();
    let named = place.0.path().join("named.sock");
    let (first, second) = (place.serve(&[]), place.serve(&[]));
    let third = place.serve(&["--control", named.to_str().unwrap(), "--shards", "3"]);
    let (status, _, error) = place.run(&["top", "--once"]);
    assert_eq!(status, 1);
    for server in [&first, &second] {
        assert!(error.contains(server.ready["control"].as_str().unwrap()), "{error}");
    }
    let (status, text, _) = place.run(&["top", "--once", third.ready["control"].as_str().unwrap()]);
    assert!(status == 0 && text.contains("3 shards"), "{text}");
}

#[test]
fn a_server_without_a_socket_is_not_found_and_one_that_cannot_have_the_default_place_serves_all_the_same() {
    let place = Place::new();
    let hidden = place.serve(&["--no-control"]);
    assert_eq!(hidden.ready["control"], Value::Null);
    assert_eq!(place.run(&["top", "--once"]).0, 1);
    let open = place.0.path().join("sunstar");
    let _ = std::fs::remove_dir(&open);
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = place.command(&Server::arguments(&[]));
    let server = Server::start_by({
        command.stderr(Stdio::piped());
        command
    });
    assert_eq!((get(server.http(), "/").status, &server.ready["control"]), (200, &Value::Null));
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let (status, _, error) = Place::new().run(&["top"]);
    assert!(status == 1 && error.contains("--once"), "{error}");
}

#[test]
fn on_a_terminal_it_draws_until_a_key_ends_it_and_leaves_the_terminal_as_it_was() {
    let place = Place::new();
    let server = place.serve(&["--shards", "2"]);
    // script(1) gives it a terminal, and its input as keys.
    let line = format!("stty rows 30 cols 100; {} top; stty -a", env!("CARGO_BIN_EXE_sunstar"));
    let mut terminal = Command::new("timeout");
    terminal.args(["--foreground", "60", "script"]);
    terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    terminal.env("XDG_RUNTIME_DIR", place.0.path()).env("TERM", "xterm-256color").env_remove("NO_COLOR");
    let mut child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut drawn = String::new();
    let mut bytes = [0; 4_096];
    // Blanks are not drawn on a blank screen: one word has to do.
    while !drawn.contains("indirection") {
        let len = screen.read(&mut bytes).unwrap();
        assert!(len > 0, "it ended early: {drawn}");
        drawn.push_str(&String::from_utf8_lossy(&bytes[..len]));
    }
    keys.write_all(b"q").unwrap();
    // What was read so far may end in the middle of a character.
    let mut rest = Vec::new();
    screen.read_to_end(&mut rest).unwrap();
    drawn.push_str(&String::from_utf8_lossy(&rest));
    assert!(child.wait().unwrap().success(), "{drawn}");
    let (_, after) = drawn.split_once("\u{1b}[?1049l").expect("it leaves the other screen");
    assert!(after.contains(" echo ") && after.contains(" icanon "), "the terminal is as it was: {after}");
    server.stop(Signal::INT);
}
