//! The control socket: who may ask, what is answered, and what becomes of its file.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sunstar::control::ControlError;
use sunstar::{Builder, Net, RunError};
use tempfile::TempDir;

/// A test that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The request for stats.
const STATS: &str = "{\"version\":1,\"ask\":\"stats\"}\n";

/// Runs a stack of three shards with a control socket there, and a client of it on a thread that is no shard.
fn with_socket<T: Send + 'static>(
    path: &Path,
    client: impl FnOnce(&Path) -> T + Send + 'static,
) -> Result<T, RunError> {
    let socket = path.to_owned();
    Builder::new().shards(3).control(path).run(|net: Net| async move {
        let asked = tokio::task::spawn_blocking(move || client(&socket));
        let answer = tokio::time::timeout(PATIENCE, asked).await.expect("the test hangs").unwrap();
        drop(net);
        answer
    })
}

fn connect(path: &Path) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn ask(client: &mut BufReader<UnixStream>, question: &str) -> Value {
    client.get_mut().write_all(question.as_bytes()).unwrap();
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn whoever_asks_for_stats_is_told_who_answers_and_what_every_shard_counted() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("control.sock");
    let (first, second, unknown) = with_socket(&path, |path| {
        let mut client = connect(path);
        let first = ask(&mut client, STATS);
        let unknown = ask(&mut client, "what is this?\n");
        (first["ok"].clone(), ask(&mut client, &STATS.replace('\n', "\r\n"))["ok"].clone(), unknown)
    })
    .unwrap();
    assert_eq!(first["pid"], std::process::id());
    assert!(first["program"].as_str().unwrap().starts_with("control"), "{}", first["program"]);
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    let shards: Vec<_> = first["stats"]["shards"].as_array().unwrap().iter().collect();
    assert_eq!(shards.iter().map(|it| it["shard"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(second["uptime"].as_f64() > first["uptime"].as_f64());
    assert!(unknown["error"].as_str().unwrap().contains(STATS.trim()), "{unknown}");
    assert_eq!(unknown["version"], 1);
    assert!(!path.exists(), "the file goes with the stack");
}

#[test]
fn whoever_asks_to_be_shown_sections_gets_those_and_a_change_is_made_or_refused_with_advice() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("control.sock");
    let (shown, set, again) = with_socket(&path, |path| {
        let mut client = connect(path);
        let set = "{\"version\":1,\"ask\":\"set\",\"change\":{\"add_address\":\"10.0.0.9/24\"}}\n";
        let (set, again) = (ask(&mut client, set), ask(&mut client, set));
        let show = "{\"version\":1,\"ask\":\"show\",\"sections\":[\"interfaces\",\"counters\"]}\n";
        (ask(&mut client, show), set, again)
    })
    .unwrap();
    assert_eq!(set["ok"]["changed"]["add_address"], "10.0.0.9/24");
    assert!(again["error"].as_str().unwrap().contains("already"), "{again}");
    let snapshot = shown["ok"]["snapshot"].as_object().unwrap();
    let names: Vec<_> = snapshot.keys().map(String::as_str).collect();
    assert_eq!(names, ["answered", "counters", "interfaces", "silent"]);
    let device = &snapshot["interfaces"]["interfaces"][1];
    assert_eq!((&device["addresses"][1], &device["shards"]), (&"10.0.0.9/24".into(), &[0, 1, 2].into()));
}

#[test]
fn nobody_but_its_owner_may_ask() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("control.sock");
    let mode = with_socket(&path, |path| fs::metadata(path).unwrap().permissions().mode()).unwrap();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_question_without_end_is_answered_with_the_limit_and_the_end() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("control.sock");
    let said = with_socket(&path, |path| {
        let mut client = connect(path);
        client.get_mut().write_all(&[b'?'; 1_024]).unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        said
    });
    assert!(said.unwrap().contains("1024 bytes"));
}

#[test]
fn clients_that_ask_nothing_leave_places_for_others_and_one_too_many_is_let_go() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("control.sock");
    with_socket(&path, |path| {
        let mut idle: Vec<_> = (0..15).map(|_| connect(path)).collect();
        let mut last = connect(path);
        assert!(ask(&mut last, STATS)["ok"]["stats"].is_object());
        let mut beyond = connect(path);
        assert_eq!(beyond.read(&mut [0; 1]).unwrap(), 0, "the seventeenth is let go");
        // A place that is left is another's, as soon as the server has seen that it is.
        idle.pop();
        let asks_at_last = || {
            let mut client = connect(path);
            client.get_mut().write_all(STATS.as_bytes()).is_ok()
                && client.read_line(&mut String::new()).is_ok_and(|len| len > 0)
        };
        while !asks_at_last() {}
    })
    .unwrap();
}

#[test]
fn the_socket_of_a_program_that_is_no_more_makes_way() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("control.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let answer = with_socket(&path, |path| ask(&mut connect(path), STATS)).unwrap();
    assert!(answer["ok"]["stats"].is_object());
}

fn refused(path: &Path) -> ControlError {
    let builder = Builder::new().control(path);
    match builder.run(|_| async {}).unwrap_err() {
        RunError::Control(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn the_socket_of_a_program_that_runs_is_left_alone_and_so_is_what_is_no_socket() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("control.sock");
    let listener = UnixListener::bind(&path).unwrap();
    assert!(matches!(refused(&path), ControlError::InUse { .. }));
    assert!(path.exists());
    drop(listener);
    let file = directory.path().join("file");
    fs::write(&file, "important").unwrap();
    assert!(matches!(refused(&file), ControlError::NoSocket { .. }));
    assert_eq!(fs::read_to_string(&file).unwrap(), "important");
}

#[test]
fn a_path_that_cannot_be_is_refused_with_advice() {
    let directory = TempDir::new().unwrap();
    let long = directory.path().join("x".repeat(108));
    assert!(refused(&long).to_string().contains("107 bytes"));
    let nowhere = directory.path().join("missing/control.sock");
    let error = refused(&nowhere).to_string();
    assert!(error.contains("missing/control.sock") && error.contains("directory"), "{error}");
}
