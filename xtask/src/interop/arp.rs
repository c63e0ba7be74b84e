//! ARP among strangers (RFC 826, RFC 5227): what is believed, and what a scan of all addresses leaves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::capture::end_and_inspect;
use super::http::Curl;
use super::stage::{KERNEL, SERVER, Stage, TAP, TapServer};
use crate::failure::{Failure, ensure};

const DEADLINE: Duration = Duration::from_secs(20);

const QUEUES: u32 = 4;

/// Neighbours that a shard remembers at most.
const MOST: usize = 512;

/// A host on the link that comes while it is scanned.
const NEWCOMER: &str = "10.77.200.2";

/// How long the scan is watched; it takes a little longer.
const SCAN: Duration = Duration::from_secs(3);

/// An address on the link that nobody has.
const NOBODY: &str = "10.77.0.99";

pub(super) fn an_answer_nobody_asked_for_changes_no_neighbour(stage: &Stage) -> Result<(), Failure> {
    let (server, capture) = start(stage)?;
    let curl = Curl { server: &server, deadline: DEADLINE };
    curl.get("/")?;
    let before = stations(&server)?;
    ensure!(before.contains_key(KERNEL), "the kernel is no neighbour: {before:?}");
    let target = server.target()?;
    for claimed in [KERNEL, NOBODY] {
        server.peer(&["arp-reply", &target, claimed], DEADLINE)?;
    }
    // The shard that asks for an address judges them, whenever it comes to that.
    let deadline = Instant::now() + DEADLINE;
    while server.counter("drops.unsolicited_arp")? < 2 {
        ensure!(Instant::now() < deadline, "two answers nobody asked for are not counted as such");
    }
    curl.get("/")?;
    let after = stations(&server)?;
    println!("neighbours before and after: {before:?}");
    ensure!(after == before, "an answer nobody asked for changed the neighbours {before:?} to {after:?}");
    end_and_inspect(server, &capture, QUEUES)
}

pub(super) fn a_station_that_claims_our_address_is_reported_and_answered(
    stage: &Stage,
) -> Result<(), Failure> {
    let (server, capture) = start(stage)?;
    let target = server.target()?;
    let deadline = Instant::now() + DEADLINE;
    for claims in 1..=3 {
        server.peer(&["arp-reply", &target, SERVER], DEADLINE)?;
        while server.counter("control.address_conflicts")? < claims {
            ensure!(Instant::now() < deadline, "claim {claims} is not counted");
        }
    }
    let reported = server.show("conflicts")?;
    let conflict = &reported["conflicts"][0];
    ensure!(conflict["address"] == SERVER && conflict["times"] == 3, "not reported: {reported}");
    // RFC 5227 section 2.4: once in ten seconds, however many claims there are.
    let defences = server.counter("control.address_defences")?;
    ensure!(defences == 1, "{defences} answers to three claims");
    Curl { server: &server, deadline: DEADLINE }.get("/")?;
    end_and_inspect(server, &capture, QUEUES)
}

pub(super) fn a_scan_of_all_addresses_leaves_the_gateway_where_it_was(stage: &Stage) -> Result<(), Failure> {
    let (server, capture) = start(stage)?;
    let curl = Curl { server: &server, deadline: DEADLINE };
    curl.get("/")?;
    let deadline = Instant::now() + DEADLINE;
    while !is_gateway_reachable(&server.show("neighbors")?) {
        ensure!(Instant::now() < deadline, "the gateway never answers");
    }
    let gateway = stations(&server)?.remove(KERNEL);

    let scan = server.start_peer(stage, &["scan", &server.target()?, "20000"])?;
    // Half of the scan makes the server ask for hosts that are not there; this one is.
    server.namespace.ip(&["address", "add", &format!("{NEWCOMER}/32"), "dev", TAP])?;
    let mut newcomer = server.namespace.command("ping");
    let newcomer = stage.start(newcomer.args(["-I", NEWCOMER, "-c10", "-i0.2", "-W1", SERVER]))?;
    let (mut most, mut answered, until) = (0, 0, Instant::now() + SCAN);
    while Instant::now() < until {
        most = most.max(remembered(&server)?);
        curl.get("/")?;
        answered += 1;
    }
    let scanned = scan.finish_successfully(DEADLINE)?.stdout;
    most = most.max(remembered(&server)?);
    let newcomer = newcomer.finish(DEADLINE)?.stdout;
    println!(
        "{}; a shard remembered {most} neighbours at most; {answered} requests answered meanwhile, and to a newcomer \
         {} of 10 pings; {} replies, {} claims without room",
        scanned.trim(),
        newcomer.matches(" bytes from ").count(),
        server.counter("control.arp_replies_sent")?,
        server.counter("drops.neighbor_cache_full")?
    );
    ensure!(scanned.contains("65536"), "not every address was claimed: {scanned}");
    ensure!(
        most <= MOST && most > MOST / 2,
        "a shard remembered {most} neighbours, and should {MOST} at most"
    );
    // A question that finds no place, or its answer, may be lost; once it is found, it stays.
    ensure!(
        newcomer.contains(" bytes from "),
        "a host that came during the scan was never answered:\n{newcomer}"
    );
    let station = stations(&server)?.remove(KERNEL);
    ensure!(station == gateway, "the gateway was at {gateway:?} and is at {station:?}");
    end_and_inspect(server, &capture, QUEUES)
}

fn start(stage: &Stage) -> Result<(TapServer, PathBuf), Failure> {
    let capture = stage.file("arp.pcapng");
    let arguments = ["--shards", "4", "--queues", "4", "--pcap", &capture.to_string_lossy()];
    Ok((TapServer::start_on_a_wide_link(stage, &arguments)?, capture))
}

fn list(neighbors: &Value) -> &[Value] {
    neighbors["neighbors"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Which station has which address; all that shards say of one.
fn stations(server: &TapServer) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let neighbors = server.show("neighbors")?;
    let mut stations: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for neighbor in list(&neighbors) {
        let said = stations.entry(neighbor["address"].as_str().unwrap_or_default().to_owned()).or_default();
        said.push(neighbor["mac"].to_string());
        said.sort();
        said.dedup();
    }
    Ok(stations)
}

/// Whether the shard that asks for the gateway has had its answer, not long ago.
fn is_gateway_reachable(neighbors: &Value) -> bool {
    let by_owner = |it: &&Value| it["shards"].as_array().is_some_and(|shards| shards.contains(&it["owner"]));
    let mut of_gateway = list(neighbors).iter().filter(|it| it["address"] == KERNEL).filter(by_owner);
    of_gateway.any(|it| it["state"] == "reachable")
}

/// How many neighbours a shard has, the one that has the most. The gateway, which is in use, has to be among them.
fn remembered(server: &TapServer) -> Result<usize, Failure> {
    let neighbors = server.show("neighbors")?;
    ensure!(is_gateway_reachable(&neighbors), "the gateway is not reachable any more");
    ensure!(neighbors["truncated"] == false, "a shard has more neighbours than may be listed");
    let mut of_shards: BTreeMap<u64, usize> = BTreeMap::new();
    for neighbor in list(&neighbors) {
        let shards = neighbor["shards"].as_array().map(Vec::as_slice).unwrap_or_default();
        for shard in shards.iter().filter_map(Value::as_u64) {
            *of_shards.entry(shard).or_default() += 1;
        }
    }
    Ok(of_shards.values().copied().max().unwrap_or_default())
}
