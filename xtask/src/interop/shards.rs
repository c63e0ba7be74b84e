//! Several shards behind one address: every request is answered whichever shard it belongs to, and who does what is
//! counted.

use std::time::Duration;

use serde_json::Value;

use super::http::Curl;
use super::load;
use super::stage::{SERVER, Stage, TapServer};
use crate::failure::{Failure, ensure};

const DEADLINE: Duration = Duration::from_secs(60);

/// Connections over which each shard's part is judged.
const CONNECTIONS: u32 = 200;

/// What a server's shards counted under load.
pub(crate) struct Loaded {
    stats: Value,
    /// Connections that each shard has accepted out of [`CONNECTIONS`].
    accepted: Vec<u64>,
}

impl Loaded {
    /// Puts a server with these arguments under load: `ping`, `curl`, and `wrk` for so many seconds, with connections kept
    /// alive and with one a request. Any error is a failure.
    pub(crate) fn run(stage: &Stage, arguments: &[&str], seconds: u64) -> Result<Self, Failure> {
        let server = TapServer::start(stage, arguments)?;
        let curl = Curl { server: &server, deadline: DEADLINE };
        let ping = server.client("ping", &["-c5", "-i0.2", SERVER], DEADLINE)?.stdout;
        ensure!(ping.contains(" 0% packet loss"), "ping lost some:\n{ping}");
        curl.get("/")?;
        let before = accepted(&read(&curl)?);
        load::wrk(&server, CONNECTIONS, 1, true)?;
        let after = accepted(&read(&curl)?);
        for keep_alive in [true, false] {
            let wrk = load::wrk(&server, 64, seconds, keep_alive)?;
            let what = if keep_alive { "kept alive" } else { "a connection a request" };
            println!(
                "wrk -t1 -c64 -d{seconds}s, {what}: {} requests, {:.0}/s, no error",
                wrk.requests, wrk.requests_per_second
            );
        }
        let stats = read(&curl)?;
        server.stop()?;
        let accepted = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        let loaded = Self { stats, accepted };
        loaded.show();
        Ok(loaded)
    }

    fn show(&self) {
        println!("steered by {}", self.stats["steering"]["by"]);
        let total: u64 = self.accepted.iter().sum();
        for (shard, accepted) in shards(&self.stats).iter().zip(&self.accepted) {
            let figure = |pointer| shard.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
            println!(
                "shard {}: {accepted} of {total} connections; {} packets forwarded, {} received from siblings, \
                 {} in a ring at most",
                shard["shard"],
                figure("/mesh/forwarded"),
                figure("/mesh/received"),
                figure("/rings/deepest"),
            );
            let shares = shard.pointer("/queue/shares").and_then(Value::as_array);
            for share in shares.filter(|shares| shares.len() > 1).into_iter().flatten() {
                println!(
                    "  through its queue: shard {}, weight {}: {} frames, {} bytes",
                    share["shard"], share["weight"], share["frames"], share["bytes"]
                );
            }
        }
    }

    /// Packets that arrived at one shard and belong to another.
    pub(crate) fn forwarded(&self) -> u64 {
        let forwarded = |shard: &Value| shard.pointer("/mesh/forwarded").and_then(Value::as_u64);
        shards(&self.stats).iter().filter_map(forwarded).sum()
    }

    /// Every shard has served a part of the connections that is at least so large.
    pub(crate) fn ensure_each_has(&self, part: f64) -> Result<(), Failure> {
        let total: u64 = self.accepted.iter().sum();
        let least = self.accepted.iter().copied().min().unwrap_or_default();
        ensure!(
            total >= u64::from(CONNECTIONS) && least as f64 >= total as f64 * part,
            "of {total} connections the shards served {:?}: each should have {:.0} % at least",
            self.accepted,
            part * 100.0
        );
        Ok(())
    }

    /// Packets are steered by what was meant to.
    pub(crate) fn ensure_steered_by(&self, by: &str) -> Result<(), Failure> {
        let is = &self.stats["steering"];
        ensure!(is["by"] == by, "packets are steered by {}, not by {by}: {}", is["by"], is["reason"]);
        Ok(())
    }
}

fn read(curl: &Curl<'_>) -> Result<Value, Failure> {
    let stats = curl.get("/stats.json")?;
    serde_json::from_str(&stats).map_err(|error| Failure::Expectation(format!("{error} in {stats}")))
}

fn shards(stats: &Value) -> &[Value] {
    stats["shards"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn accepted(stats: &Value) -> Vec<u64> {
    let opened =
        |shard: &Value| shard.pointer("/tcp/passive_opens").and_then(Value::as_u64).unwrap_or_default();
    shards(stats).iter().map(opened).collect()
}

/// Two shards on two queues, with the program in the kernel.
pub(crate) fn by_the_program(stage: &Stage, seconds: u64) -> Result<(), Failure> {
    let loaded = Loaded::run(stage, &["--shards", "2", "--queues", "2"], seconds)?;
    loaded.ensure_steered_by("program")?;
    loaded.ensure_each_has(0.3)?;
    let forwarded = loaded.forwarded();
    ensure!(forwarded == 0, "{forwarded} packets were forwarded: the program placed them wrongly");
    Ok(())
}

/// Two shards on two queues, without it.
pub(crate) fn by_software(stage: &Stage, seconds: u64) -> Result<(), Failure> {
    let loaded = Loaded::run(stage, &["--shards", "2", "--queues", "2", "--software-steering"], seconds)?;
    loaded.ensure_steered_by("software")?;
    loaded.ensure_each_has(0.3)?;
    ensure!(
        loaded.forwarded() > 0,
        "no packet was forwarded: the kernel's own choice cannot be right every time"
    );
    Ok(())
}

/// Four shards on fewer queues.
pub(crate) fn through_proxies(stage: &Stage, queues: &str, seconds: u64) -> Result<(), Failure> {
    let loaded = Loaded::run(stage, &["--shards", "4", "--queues", queues], seconds)?;
    loaded.ensure_each_has(0.1)?;
    ensure!(loaded.forwarded() > 0, "no packet was forwarded to a shard without a queue");
    Ok(())
}

pub(super) fn two_shards_are_steered_to_by_the_kernel_and_forward_nothing(
    stage: &Stage,
) -> Result<(), Failure> {
    by_the_program(stage, 2)
}

pub(super) fn two_shards_without_the_program_forward_and_answer_every_request(
    stage: &Stage,
) -> Result<(), Failure> {
    by_software(stage, 2)
}

pub(super) fn four_shards_serve_through_one_queue(stage: &Stage) -> Result<(), Failure> {
    through_proxies(stage, "1", 2)
}

pub(super) fn four_shards_serve_through_two_queues(stage: &Stage) -> Result<(), Failure> {
    through_proxies(stage, "2", 2)
}
