//! HTTP from curl: pages, counters, and large bodies whose digests must match.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::stage::{SERVER, Stage, TapServer};
use crate::failure::{Failure, ensure};
use crate::process::{self, Finished};

const DEADLINE: Duration = Duration::from_secs(60);
const MIB: u64 = 1024 * 1024;

/// Runs curl beside a server's tap. An HTTP status of 400 or more is a failure.
pub(crate) struct Curl<'a> {
    /// The server.
    pub(crate) server: &'a TapServer,
    /// How long a request may take.
    pub(crate) deadline: Duration,
}

impl Curl<'_> {
    /// Runs curl with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Finished, Failure> {
        self.server.client(
            "curl",
            &[&["--silent", "--show-error", "--fail"], arguments].concat(),
            self.deadline,
        )
    }

    /// Fetches a path, and returns the body as text.
    pub(crate) fn get(&self, path: &str) -> Result<String, Failure> {
        Ok(self.run(&[&url(path)])?.stdout)
    }

    /// Fetches a path into a file.
    pub(crate) fn download(&self, path: &str, file: &Path) -> Result<(), Failure> {
        self.run(&["--output", &file.to_string_lossy(), &url(path)])?;
        Ok(())
    }

    /// Posts a file to a path, streaming it, and returns the answer's body.
    pub(crate) fn post_file(&self, path: &str, file: &Path) -> Result<String, Failure> {
        let file = file.to_string_lossy();
        Ok(self.run(&["--request", "POST", "--upload-file", &file, &url(path)])?.stdout)
    }
}

/// The URL of a path on the server.
pub(crate) fn url(path: &str) -> String {
    format!("http://{SERVER}{path}")
}

/// Writes a file of this many random bytes.
pub(crate) fn random_file(path: &Path, bytes: u64) -> Result<(), Failure> {
    let write = || {
        let mut random = File::open("/dev/urandom")?.take(bytes);
        io::copy(&mut random, &mut File::create(path)?)
    };
    write().map_err(Failure::io(format!("write {}", path.display())))?;
    Ok(())
}

/// The file's SHA-256 in hexadecimal, by a program that is not ours.
pub(crate) fn sha256(path: &Path) -> Result<String, Failure> {
    let summed = process::capture_success(Command::new("sha256sum").arg(path), DEADLINE)?;
    Ok(summed.stdout.split_whitespace().next().unwrap_or_default().to_owned())
}

fn curl(server: &TapServer) -> Curl<'_> {
    Curl { server, deadline: DEADLINE }
}

pub(super) fn curl_fetches_the_page(stage: &Stage) -> Result<(), Failure> {
    let server = TapServer::start(stage, &[])?;
    let page = curl(&server).get("/")?;
    ensure!(page.contains("<html") && page.contains("</html>"), "that is no whole page:\n{page}");
    Ok(())
}

pub(super) fn the_counters_are_an_object_with_an_array_of_shards(stage: &Stage) -> Result<(), Failure> {
    let server = TapServer::start(stage, &[])?;
    let text = curl(&server).get("/stats.json")?;
    let counters: Value = serde_json::from_str(&text).unwrap_or_default();
    let shards = counters.get("shards").and_then(Value::as_array);
    let is_right = shards.is_some_and(|shards| !shards.is_empty() && shards.iter().all(Value::is_object));
    ensure!(is_right, "that is no object with a `shards` array of objects:\n{text}");
    Ok(())
}

pub(super) fn a_posted_body_is_answered_with_its_sha256(stage: &Stage) -> Result<(), Failure> {
    let server = TapServer::start(stage, &[])?;
    for bytes in [0, 1, 1460, 5 * MIB + 7] {
        upload(stage, &server, bytes)?;
    }
    Ok(())
}

fn upload(stage: &Stage, server: &TapServer, bytes: u64) -> Result<(), Failure> {
    let file = stage.file("sent");
    random_file(&file, bytes)?;
    let (expected, answered) = (sha256(&file)?, curl(server).post_file("/sha256", &file)?);
    let answered = answered.trim();
    ensure!(answered == expected, "{bytes} bytes with SHA-256 {expected}: the server made it {answered:?}");
    Ok(())
}

pub(super) fn a_large_upload_arrives_unchanged(stage: &Stage) -> Result<(), Failure> {
    let server = TapServer::start(stage, &[])?;
    upload(stage, &server, 64 * MIB)
}

pub(super) fn a_large_download_arrives_unchanged(stage: &Stage) -> Result<(), Failure> {
    let directory = stage.directory("served")?;
    random_file(&directory.join("large"), 64 * MIB)?;
    let server = TapServer::start(stage, &["--dir", &directory.to_string_lossy()])?;
    let received = stage.file("received");
    curl(&server).download("/large", &received)?;
    let (expected, found) = (sha256(&directory.join("large"))?, sha256(&received)?);
    ensure!(found == expected, "the file has SHA-256 {expected}, what arrived {found}");
    Ok(())
}

pub(super) fn many_downloads_at_once_arrive_unchanged(stage: &Stage) -> Result<(), Failure> {
    let directory = stage.directory("served")?;
    random_file(&directory.join("part"), MIB)?;
    let server = TapServer::start(stage, &["--dir", &directory.to_string_lossy()])?;
    download_in_parallel(stage, &curl(&server), &directory.join("part"), 100)
}

/// Has one curl fetch the served file over this many connections at once, and compares every digest.
pub(crate) fn download_in_parallel(
    stage: &Stage,
    curl: &Curl<'_>,
    served: &Path,
    count: usize,
) -> Result<(), Failure> {
    let name = served.file_name().unwrap_or_default().to_string_lossy();
    let into = stage.directory("parallel")?;
    let output = into.join("#1");
    let (output, range) = (output.to_string_lossy(), url(&format!("/{name}?copy=[1-{count}]")));
    let parallel = ["--parallel", "--parallel-immediate", "--parallel-max", &count.to_string()];
    curl.run(&[&parallel[..], &["--output", &output, &range]].concat())?;
    let expected = sha256(served)?;
    for copy in 1..=count {
        let found = sha256(&into.join(copy.to_string()))?;
        ensure!(found == expected, "the file has SHA-256 {expected}, copy {copy} of {count} has {found}");
    }
    Ok(())
}

pub(super) fn a_port_nobody_listens_on_refuses_at_once(stage: &Stage) -> Result<(), Failure> {
    let server = TapServer::start(stage, &[])?;
    let refused = curl(&server).run(&["--max-time", "5", &format!("http://{SERVER}:81/")]);
    // curl's status 7 is a refusal, 28 would be silence.
    let message = refused.err().map(|failure| failure.to_string()).unwrap_or_default();
    ensure!(message.contains("exit status: 7"), "curl was not refused: {message}");
    Ok(())
}

pub(super) fn a_server_asked_to_end_does_so_with_every_buffer_home(stage: &Stage) -> Result<(), Failure> {
    let server = TapServer::start(stage, &[])?;
    curl(&server).get("/")?;
    let finished = server.stop()?;
    let last =
        finished.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).next_back();
    let counters = last.unwrap_or_default()["stats"].take();
    let out = ["/pool/small_out", "/pool/staging_out"].map(|pointer| shards_total(&counters, pointer));
    ensure!(out == [Some(0), Some(0)], "small and large buffers out at the end: {out:?}\n{counters}");
    Ok(())
}

/// The sum of one figure over all shards of the counters; `None` if a shard, or every shard, lacks it.
pub(crate) fn shards_total(counters: &Value, pointer: &str) -> Option<u64> {
    let shards = counters["shards"].as_array().filter(|shards| !shards.is_empty())?;
    shards.iter().map(|shard| shard.pointer(pointer)?.as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_total_is_over_all_shards_or_none() {
        let counters = json!({ "shards": [{ "pool": { "out": 1 } }, { "pool": { "out": 2 } }] });
        assert_eq!(shards_total(&counters, "/pool/out"), Some(3));
        assert_eq!(shards_total(&counters, "/pool/in"), None);
        assert_eq!(shards_total(&json!({ "shards": [] }), "/pool/out"), None);
    }
}
