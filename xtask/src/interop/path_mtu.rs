//! A path with a link that takes less than ours does: found by what a router says (RFC 1191), and where it says nothing by
//! what gets through (RFC 8899).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::capture::end_and_inspect;
use super::http::{random_file, sha256, url};
use super::namespace::Namespace;
use super::stage::{Stage, TapServer};
use crate::failure::{Failure, ensure};
use crate::process::Service;

const DEADLINE: Duration = Duration::from_secs(120);
const MIB: u64 = 1024 * 1024;

const QUEUES: u32 = 4;

/// The MTU of the link behind the router.
const NARROW: u64 = 1_300;

/// The host behind it.
const FAR: &str = "10.79.0.2";

/// How often to look how much has arrived.
const LOOK: Duration = Duration::from_millis(2);

/// Whether routers say that a packet was too big for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routers {
    /// As they should.
    Speak,
    /// Nothing of what they say gets out.
    AreSilent,
}

pub(super) fn a_narrow_path_is_found_by_what_a_router_says(stage: &Stage) -> Result<(), Failure> {
    through_a_narrow_path(stage, 10, Routers::Speak)
}

pub(super) fn a_narrow_path_is_found_where_no_router_says_anything(stage: &Stage) -> Result<(), Failure> {
    through_a_narrow_path(stage, 10, Routers::AreSilent)
}

/// Has a host behind a narrow link download so many mebibytes.
pub(crate) fn through_a_narrow_path(stage: &Stage, mebibytes: u64, routers: Routers) -> Result<(), Failure> {
    let name = format!("{routers:?}");
    let served = stage.directory(&format!("{name}-served"))?.join("large");
    random_file(&served, mebibytes * MIB)?;
    let capture = stage.file(&format!("{name}.pcapng"));
    let directory = served.parent().unwrap_or(&served).to_string_lossy().into_owned();
    let arguments =
        ["--shards", "4", "--queues", "4", "--dir", &directory, "--pcap", &capture.to_string_lossy()];
    let server = TapServer::start(stage, &arguments)?;
    let (router, far) = join(&server)?;
    if routers == Routers::AreSilent {
        silence(&router)?;
    }

    let received = stage.file(&format!("{name}-received"));
    let mut curl = far.command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--no-buffer", &url("/large"), "--output"])
        .arg(&received);
    let started = Instant::now();
    let pause = longest_pause(stage.start(&mut curl)?, &received, mebibytes * MIB)?;
    println!(
        "routers {routers:?}: {mebibytes} MiB in {:.2} s; data flowed again after {:.3} s at most",
        started.elapsed().as_secs_f32(),
        pause.as_secs_f32()
    );
    let known = server.show("path-mtus")?;
    show_path(&known, routers)?;
    let (expected, found) = (sha256(&served)?, sha256(&received)?);
    ensure!(found == expected, "the file has SHA-256 {expected}, what arrived {found}");
    let holes = server.counter("tcp.black_holes")?;
    let believed = server.counter("control.too_big_believed")?;
    println!("{holes} black holes found, {believed} messages of routers believed");
    if routers == Routers::AreSilent {
        let rules = router.run("nft", &["list", "ruleset"])?.stdout;
        ensure!(
            rules.contains("counter packets") && !rules.contains("packets 0 "),
            "nothing was silenced:\n{rules}"
        );
        ensure!(holes > 0 && believed == 0, "there is a black hole, and nobody to say so");
    }
    end_and_inspect(server, &capture, QUEUES)
}

/// Joins the tap's kernel to a router, and that by a narrow link to a host far away. The host does not know of it: its own
/// end takes as much as any, and so does what it says of its segments.
fn join(server: &TapServer) -> Result<(Namespace, Namespace), Failure> {
    let near = &server.namespace;
    let (router, far) = (Namespace::new("router")?, Namespace::new("far")?);
    near.join("inner0", &router, "outer0")?;
    router.join("narrow0", &far, "far0")?;
    near.bring_up("inner0", "10.78.0.1/24")?;
    router.bring_up("outer0", "10.78.0.2/24")?;
    router.bring_up("narrow0", "10.79.0.1/24")?;
    router.ip(&["link", "set", "narrow0", "mtu", &NARROW.to_string()])?;
    far.bring_up("far0", &format!("{FAR}/24"))?;
    for namespace in [near, &router] {
        namespace.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
    }
    near.ip(&["route", "add", "10.79.0.0/24", "via", "10.78.0.2"])?;
    router.ip(&["route", "add", "10.77.0.0/24", "via", "10.78.0.1"])?;
    far.ip(&["route", "add", "default", "via", "10.79.0.1"])?;
    Ok((router, far))
}

/// Lets nothing out of what a router says of packets it cannot deliver.
fn silence(router: &Namespace) -> Result<(), Failure> {
    for line in [
        "add table ip silent",
        "add chain ip silent output { type filter hook output priority 0; }",
        "add rule ip silent output icmp type destination-unreachable counter drop",
    ] {
        router.run("nft", &[line])?;
    }
    Ok(())
}

/// Waits for a download. The longest time in which nothing of it arrived, its beginning included.
fn longest_pause(download: Service, file: &Path, bytes: u64) -> Result<Duration, Failure> {
    let (until, mut since) = (Instant::now() + DEADLINE, Instant::now());
    let (mut arrived, mut longest) = (0, Duration::ZERO);
    while arrived < bytes && Instant::now() < until {
        std::thread::sleep(LOOK);
        let len = fs::metadata(file).map_or(0, |file| file.len());
        if len > arrived {
            arrived = len;
            longest = longest.max(since.elapsed());
            since = Instant::now();
        }
    }
    ensure!(arrived == bytes, "{arrived} of {bytes} bytes have arrived\n{}", download.output());
    download.finish_successfully(DEADLINE)?;
    Ok(longest)
}

/// The path is known, and by whom.
fn show_path(known: &Value, routers: Routers) -> Result<(), Failure> {
    let paths = known["path_mtus"].as_array().map(Vec::as_slice).unwrap_or_default();
    let path = paths.iter().find(|path| path["destination"] == FAR);
    let Some(path) = path else {
        return Err(Failure::Expectation(format!("nothing is known of the path to {FAR}: {known}")));
    };
    let left = path["expires_us"].as_u64().unwrap_or(0).saturating_sub(known["now_us"].as_u64().unwrap_or(0));
    println!(
        "the path to {FAR} takes {}, by {}, for {} s more",
        path["mtu"],
        path["source"],
        left / 1_000_000
    );
    let mtu = path["mtu"].as_u64().unwrap_or_default();
    let right = match routers {
        Routers::Speak => mtu == NARROW && path["source"] == "icmp",
        Routers::AreSilent => (552..=NARROW).contains(&mtu) && path["source"] == "probed",
    };
    ensure!(right && left > 0, "the path takes {NARROW}, and is known so: {path}");
    Ok(())
}
