//! Fragments that are never completed, beside somebody who downloads; and paths that take less than they seem to.

use std::time::{Duration, Instant};

use crate::failure::{Failure, ensure};
use crate::interop::{Routers, SERVER, Stage, TapServer, held, most_that_may_be_held, through_a_narrow_path};
use crate::peer::Transfer;

const DEADLINE: Duration = Duration::from_secs(120);

/// RFC 864's port.
const CHARGEN: &str = "19";

/// Fragments a second, and for how long.
const RATE: &str = "10000";
const SECONDS: u64 = 30;

/// How long the download is measured without them, once before and once behind.
const QUIET: u64 = 10;

/// The least part of its goodput that it keeps.
const LEAST: f64 = 0.8;

/// After the last fragment: as long as a datagram waits for its others, and some.
const FREED: Duration = Duration::from_secs(40);

pub(super) fn a_flood_of_fragments(stage: &Stage) -> Result<(), Failure> {
    let server = TapServer::start(stage, &["--shards", "2", "--queues", "2", "--chargen", CHARGEN])?;
    let source = format!("{SERVER}:{CHARGEN}");
    let download = |seconds: u64| server.start_peer(stage, &["drain-for", &source, &seconds.to_string()]);
    let quiet = |when| -> Result<f64, Failure> {
        let download = download(QUIET)?.finish_successfully(DEADLINE)?;
        let goodput = Transfer::parse(&download.stdout)?.gigabits_per_second();
        println!("{when} the flood: {goodput:.2} Gbit/s");
        Ok(goodput)
    };

    let before = quiet("before")?;
    let flood = server.start_peer(stage, &["flood", &server.target()?, RATE, &SECONDS.to_string()])?;
    let flooded = download(SECONDS)?;
    let (mut most, until) = (0, Instant::now() + Duration::from_secs(SECONDS));
    while Instant::now() < until {
        std::thread::sleep(Duration::from_secs(1));
        let held = held(&server)?;
        most_that_may_be_held(&held)?;
        most = most.max(held.into_iter().max().unwrap_or_default());
    }
    let goodput = Transfer::parse(&flooded.finish_successfully(DEADLINE)?.stdout)?.gigabits_per_second();
    let sent = flood.finish_successfully(DEADLINE)?.stdout;
    let ended = Instant::now();
    println!("during the flood: {goodput:.2} Gbit/s; {}; a shard held {most} bytes at most", sent.trim());
    let after = quiet("after")?;

    loop {
        let held: u64 = held(&server)?.iter().sum();
        if held == 0 {
            break;
        }
        ensure!(ended.elapsed() < FREED, "{held} bytes are still held {} s later", FREED.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("nothing was held any more {:.1} s later", ended.elapsed().as_secs_f32());
    let received = server.counter("reassembly.fragments_received")?;
    let (full, late) =
        (server.counter("drops.reassembly_full")?, server.counter("drops.reassembly_timeout")?);
    println!("{received} fragments received; {full} datagrams made room for others, {late} waited in vain");
    let ratio = goodput / ((before + after) / 2.0);
    let enough = ratio >= LEAST;
    println!("the download kept {ratio:.2} of its goodput, {LEAST} at least");
    ensure!(most > 0 && received > 0, "the flood did not arrive");
    ensure!(enough, "the download kept only {ratio:.2} of its goodput");
    server.stop().map(drop)
}

pub(super) fn a_narrow_path(stage: &Stage) -> Result<(), Failure> {
    through_a_narrow_path(stage, 100, Routers::Speak)?;
    through_a_narrow_path(stage, 100, Routers::AreSilent)
}
