//! Fragments in (RFC 791 section 3.2, RFC 815) and out: from the kernel, and as no kernel sends them.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::capture::end_and_inspect;
use super::http::{Curl, random_file, sha256};
use super::stage::{SERVER, Stage, TAP, TapServer};
use crate::failure::{Failure, ensure};

const DEADLINE: Duration = Duration::from_secs(60);
const MIB: u64 = 1024 * 1024;

/// RFC 862's port.
const ECHO: &str = "7";

/// The first of the hosts that fragments come from, how many they are, and the bytes each sends at a time.
const FIRST: [u8; 4] = [10, 77, 0, 101];
const HOSTS: u8 = 50;
const BYTES: &str = "8000";

const QUEUES: u32 = 4;
/// As many shards.
const SHARDS: [&str; 6] = ["--shards", "4", "--queues", "4", "--udp-echo", ECHO];

pub(super) fn large_pings_and_datagrams_come_back_whole(stage: &Stage) -> Result<(), Failure> {
    let capture = stage.file("large.pcapng");
    let server = start(stage, &capture, &[])?;
    let pinged = server.client("ping", &["-s", "60000", "-c5", "-i0.2", "-W5", SERVER], DEADLINE)?.stdout;
    ensure!(
        pinged.contains("5 packets transmitted, 5 received, 0% packet loss") && !pinged.contains("DUP!"),
        "not every echo request was answered once:\n{pinged}"
    );
    let service = format!("{SERVER}:{ECHO}");
    // The second is the longest that there is.
    for (bytes, count) in [("60000", "20"), ("65507", "5")] {
        server.peer(&["echo", &service, bytes, count], DEADLINE)?;
    }
    let (whole, cut) = (server.counter("reassembly.reassembled")?, server.counter("reassembly.fragmented")?);
    println!("{whole} datagrams put together, {cut} cut");
    ensure!(whole == 30 && cut == 30, "5 pings and 25 datagrams are 30 each way, not {whole} and {cut}");
    end_and_inspect(server, &capture, QUEUES)
}

/// By software, fragments are forwarded to the shard where those of one pair of hosts meet; with the kernel's program they
/// arrive there. The datagram as a whole may belong to another shard still.
pub(super) fn fragments_in_any_order_from_fifty_hosts_are_put_together(stage: &Stage) -> Result<(), Failure> {
    for (by, further) in [("software", &["--software-steering"][..]), ("program", &[])] {
        let capture = stage.file(&format!("{by}.pcapng"));
        let server = start(stage, &capture, further)?;
        let [a, b, c, first] = FIRST;
        for host in 0..HOSTS {
            let address = format!("{a}.{b}.{c}.{}/32", first + host);
            server.namespace.ip(&["address", "add", &address, "dev", TAP])?;
        }
        let (first, hosts, target) = (format!("{a}.{b}.{c}.{first}"), HOSTS.to_string(), server.target()?);
        let answered = server.peer(&["fragments", &target, ECHO, &first, &hosts, BYTES], DEADLINE)?;
        println!("steered by {by}: answered {}", answered["answered"]);

        let counter = |name| server.counter(name);
        let (first_forward, second) = (counter("mesh.forwarded")?, counter("reassembly.forwarded")?);
        let (whole, bad) = (counter("reassembly.reassembled")?, counter("drops.bad_fragment")?);
        let duplicates = counter("drops.duplicate_fragment")?;
        println!(
            "{first_forward} packets forwarded; {whole} datagrams put together, {second} of them forwarded then; \
             {duplicates} fragments were there already"
        );
        let all = 5 * 2 * u64::from(HOSTS);
        ensure!(whole == all && bad == 0, "{whole} of {all} were put together, {bad} fragments were bad");
        ensure!(duplicates > 0, "no fragment was there already, though each was sent twice");
        ensure!(second > 0, "no whole was forwarded to the shard that has the socket");
        match by {
            "software" => ensure!(first_forward > 0, "no fragment was forwarded to where its datagram meets"),
            _ => ensure!(
                first_forward == 0 && server.show("steering")?["by"] == by,
                "{first_forward} packets were forwarded, and the {by} should have placed them: {}",
                server.show("steering")?
            ),
        }
        end_and_inspect(server, &capture, QUEUES)?;
    }
    Ok(())
}

pub(super) fn fragments_that_are_never_completed_hold_little_and_hinder_nobody(
    stage: &Stage,
) -> Result<(), Failure> {
    let directory = stage.directory("served")?;
    random_file(&directory.join("large"), 10 * MIB)?;
    let capture = stage.file("flood.pcapng");
    let server = start(stage, &capture, &["--dir", &directory.to_string_lossy()])?;
    let flood = server.start_peer(stage, &["flood", &server.target()?, "10000", "2"])?;
    let received = stage.file("received");
    Curl { server: &server, deadline: DEADLINE }.download("/large", &received)?;
    let (expected, found) = (sha256(&directory.join("large"))?, sha256(&received)?);
    ensure!(found == expected, "the file has SHA-256 {expected}, what arrived {found}");
    flood.finish_successfully(DEADLINE)?;
    let held = held(&server)?;
    println!(
        "each shard holds {held:?} bytes of fragments; {} made room",
        server.counter("drops.reassembly_full")?
    );
    most_that_may_be_held(&held)?;
    ensure!(held.iter().all(|held| *held > 0), "a shard holds nothing: the flood did not reach it");
    end_and_inspect(server, &capture, QUEUES)
}

fn start(stage: &Stage, capture: &Path, further: &[&str]) -> Result<TapServer, Failure> {
    let capture = capture.to_string_lossy();
    TapServer::start(stage, &[&SHARDS[..], &["--pcap", &capture], further].concat())
}

/// Bytes that each shard holds in datagrams that are not complete.
pub(crate) fn held(server: &TapServer) -> Result<Vec<u64>, Failure> {
    let reassembly = server.show("reassembly")?;
    let shards = reassembly["shards"].as_array().map(Vec::as_slice).unwrap_or_default();
    let held: Vec<_> = shards.iter().filter_map(|shard| shard["held"].as_u64()).collect();
    ensure!(
        !held.is_empty() && shards.iter().all(Value::is_object),
        "no shard says what it holds: {reassembly}"
    );
    Ok(held)
}

/// No shard holds more than the stack's default lets it.
pub(crate) fn most_that_may_be_held(held: &[u64]) -> Result<(), Failure> {
    ensure!(held.iter().all(|held| *held <= 4 * MIB), "a shard holds more than 4 MiB of fragments: {held:?}");
    Ok(())
}
