//! Real programs against the server on a tap, for long and with much: no error, the right bytes, bounded
//! memory, and a capture in which tshark finds nothing wrong.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::{Failure, ensure};
use crate::interop::{
    Curl, SERVER, Stage, TAP, TapServer, download_in_parallel, inspect, random_file, sha256, shards_total,
    url, wrk,
};

const DEADLINE: Duration = Duration::from_secs(300);
const MIB: u64 = 1024 * 1024;

/// What a server may hold at its peak.
const RESIDENT_LIMIT_KIB: u64 = 200 * 1024;

/// An Ethernet frame over an MTU of 1500. Only segmentation offload makes frames longer on average.
const LONGEST_FRAME: u64 = 1514;

pub(super) fn ping_curl_and_wrk(stage: &Stage) -> Result<(), Failure> {
    let capture = stage.file("load.pcapng");
    let server = TapServer::start(stage, &["--pcap", &capture.to_string_lossy()])?;
    for size in ["56", "1472"] {
        let output = server.client("ping", &["-c10", "-i0.2", "-s", size, SERVER], DEADLINE)?.stdout;
        let summary: Vec<&str> = output.lines().rev().take(2).collect();
        println!("ping -s {size}: {}; {}", summary.last().unwrap_or(&""), summary.first().unwrap_or(&""));
        ensure!(output.contains(" 0% packet loss"), "ping lost some:\n{output}");
    }
    let page = curl(&server).get("/")?;
    println!("curl /: {} bytes", page.len());
    for (keep_alive, what) in [(true, "kept alive"), (false, "a connection a request")] {
        let load = wrk(&server, 64, 10, keep_alive)?;
        println!(
            "wrk -t1 -c64 -d10s, {what}: {} requests, {:.0}/s, no error",
            load.requests, load.requests_per_second
        );
    }
    finish(server, &capture)
}

pub(super) fn a_gibibyte_each_way(stage: &Stage) -> Result<(), Failure> {
    let served = stage.directory("served")?;
    let (gibibyte, part) = (served.join("gibibyte"), served.join("part"));
    random_file(&gibibyte, 1024 * MIB)?;
    random_file(&part, 10 * MIB)?;
    let capture = stage.file("bulk.pcapng");
    let arguments = ["--dir", &served.to_string_lossy(), "--pcap", &capture.to_string_lossy()];
    let server = TapServer::start(stage, &arguments)?;
    let curl = curl(&server);
    let expected = sha256(&gibibyte)?;

    let received = stage.file("received");
    let before = Traffic::read(&server)?;
    let started = Instant::now();
    let mut download = server.namespace.command("curl");
    download.args(["--silent", "--show-error", "--fail", &url("/gibibyte"), "--output"]).arg(&received);
    let download = stage.start(&mut download)?;
    show_options(&server)?;
    download.finish_successfully(DEADLINE)?;
    println!("1 GiB down in {:.2} s", started.elapsed().as_secs_f32());
    let found = sha256(&received)?;
    ensure!(found == expected, "the file has SHA-256 {expected}, what arrived {found}");
    Traffic::read(&server)?.from_server.since(before.from_server).show("down")?;

    let before = Traffic::read(&server)?;
    let started = Instant::now();
    let answered = curl.post_file("/sha256", &gibibyte)?;
    println!("1 GiB up in {:.2} s", started.elapsed().as_secs_f32());
    ensure!(answered.trim() == expected, "the body has SHA-256 {expected}, the server made it {answered:?}");
    Traffic::read(&server)?.to_server.since(before.to_server).show("up")?;

    let started = Instant::now();
    download_in_parallel(stage, &curl, &part, 100)?;
    println!("100 x 10 MiB at once in {:.2} s, all digests right", started.elapsed().as_secs_f32());

    let counters = curl.get("/stats.json")?;
    println!("counters: {}", counters.trim());
    let counters: Value = serde_json::from_str(&counters).unwrap_or_default();
    for (pointer, what) in
        [("/device/segmented", "left to the kernel to segment"), ("/device/coalesced", "received whole")]
    {
        let frames = shards_total(&counters, pointer).unwrap_or_default();
        println!("{frames} frames longer than the MTU {what}, by our count");
        ensure!(frames > 0, "no frame was {what}: TSO is not in use that way");
    }
    let peak = peak_resident_kib(server.id())?;
    println!("peak resident memory of the server: {} MiB", peak / 1024);
    ensure!(peak < RESIDENT_LIMIT_KIB, "that is over the limit of {} MiB", RESIDENT_LIMIT_KIB / 1024);
    finish(server, &capture)
}

fn curl(server: &TapServer) -> Curl<'_> {
    Curl { server, deadline: DEADLINE }
}

/// Ends the server, so that its capture is whole, and has tshark read that.
fn finish(server: TapServer, capture: &Path) -> Result<(), Failure> {
    server.stop()?;
    let started = Instant::now();
    let frames = inspect(capture, SERVER)?;
    let bytes = fs::metadata(capture).map_err(Failure::io(format!("look at {}", capture.display())))?.len();
    let took = started.elapsed().as_secs_f32();
    println!(
        "tshark: {frames} frames ({} MiB) read in {took:.0} s; none malformed, no bad checksum of ours",
        bytes / MIB
    );
    Ok(())
}

/// Shows which TCP options the kernel says it has agreed on with the server.
fn show_options(server: &TapServer) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_secs(5);
    let wanted = ["wscale:", "sack", "ts"];
    loop {
        let shown = server.namespace.run("ss", &["-tinoH", "dst", SERVER])?.stdout;
        let agreed = |option: &&str| shown.split_whitespace().any(|word| word.starts_with(option));
        if wanted.iter().all(agreed) {
            println!("ss -tino:\n{}", shown.trim_end());
            return Ok(());
        }
        ensure!(Instant::now() < until, "ss never shows all of {wanted:?}:\n{shown}");
    }
}

/// What has passed the kernel's end of the tap in one direction.
#[derive(Debug, Clone, Copy)]
struct Way {
    bytes: u64,
    frames: u64,
}

impl Way {
    fn read(counters: &Value) -> Self {
        let counter = |name: &str| counters[name].as_u64().unwrap_or_default();
        Self { bytes: counter("bytes"), frames: counter("packets") }
    }

    fn since(self, before: Self) -> Self {
        Self { bytes: self.bytes - before.bytes, frames: self.frames - before.frames }
    }

    /// Frames longer on average than the MTU allows have been left to segmentation offload.
    fn show(self, direction: &str) -> Result<(), Failure> {
        let average = self.bytes / self.frames.max(1);
        println!("{direction}: {} frames of {average} bytes on average, by the kernel's count", self.frames);
        ensure!(average > LONGEST_FRAME, "{direction}: no longer than the MTU allows, so TSO is not in use");
        Ok(())
    }
}

/// What has passed the kernel's end of the tap.
#[derive(Debug, Clone, Copy)]
struct Traffic {
    from_server: Way,
    to_server: Way,
}

impl Traffic {
    fn read(server: &TapServer) -> Result<Self, Failure> {
        let shown = server.namespace.ip(&["-json", "-statistics", "link", "show", "dev", TAP])?.stdout;
        let links: Value = serde_json::from_str(&shown).unwrap_or_default();
        let counters = &links[0]["stats64"];
        ensure!(counters.is_object(), "`ip` shows no counters of {TAP}: {shown}");
        Ok(Self { from_server: Way::read(&counters["rx"]), to_server: Way::read(&counters["tx"]) })
    }
}

/// The most memory the process has held so far, in KiB.
fn peak_resident_kib(process: u32) -> Result<u64, Failure> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).map_err(Failure::io(format!("read {path}")))?;
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    peak.ok_or_else(|| Failure::Expectation(format!("{path} has no VmHWM:\n{status}")))
}
