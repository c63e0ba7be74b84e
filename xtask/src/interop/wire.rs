//! What only another host can see: that frames whose checksum and segmentation were left to the device
//! are right once they are finished; and TCP with nothing on top.

use std::process::Command;
use std::time::Duration;

use super::http::{random_file, sha256, url};
use super::namespace::Namespace;
use super::stage::{SERVER, Stage, TapServer};
use crate::failure::{Failure, ensure};
use crate::peer::{self, Transfer};
use crate::process;

const DEADLINE: Duration = Duration::from_secs(60);
const MIB: u64 = 1024 * 1024;

/// The server behind its gateway, which finishes every frame in software and hands it to a third host
/// that verifies it in software: the metadata of our offloads decides whether that works.
pub(super) fn a_host_behind_a_router_finds_every_checksum_right(stage: &Stage) -> Result<(), Failure> {
    let served = stage.directory("served")?;
    random_file(&served.join("large"), 8 * MIB)?;
    let server = TapServer::start(stage, &["--dir", &served.to_string_lossy()])?;
    let router = &server.namespace;
    let client = Namespace::new("client")?;
    router.join("inner0", &client, "outer0")?;
    router.bring_up("inner0", "10.78.0.1/24")?;
    client.bring_up("outer0", "10.78.0.2/24")?;
    client.ip(&["route", "add", "default", "via", "10.78.0.1"])?;
    router.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
    // Without these a virtual link passes unfinished frames through, and nobody ever looks.
    let unaided = ["tx", "off", "tso", "off", "gso", "off"];
    router.run("ethtool", &[&["-K", "inner0"], unaided.as_slice()].concat())?;
    client.run("ethtool", &[&["-K", "outer0"], unaided.as_slice()].concat())?;

    let run = |program: &str, arguments: &[&str]| -> Result<String, Failure> {
        Ok(process::capture_success(client.command(program).args(arguments), DEADLINE)?.stdout)
    };
    run("ping", &["-c3", "-i0.2", "-W5", SERVER])?;
    let received = stage.file("received");
    let curl = ["--silent", "--show-error", "--fail"];
    run("curl", &[&curl[..], &["--output", &received.to_string_lossy(), &url("/large")]].concat())?;
    let (expected, found) = (sha256(&served.join("large"))?, sha256(&received)?);
    ensure!(found == expected, "the file has SHA-256 {expected}, what arrived {found}");
    let sent = received.to_string_lossy();
    let answered =
        run("curl", &[&curl[..], &["--request", "POST", "--upload-file", &sent, &url("/sha256")]].concat())?;
    ensure!(answered.trim() == expected, "the body has SHA-256 {expected}, the server made it {answered:?}");

    let counters = run("cat", &["/proc/net/snmp"])?;
    for (table, counter) in
        [("Ip", "InHdrErrors"), ("Tcp", "InCsumErrors"), ("Tcp", "InErrs"), ("Icmp", "InCsumErrors")]
    {
        let value = kernel_counter(&counters, table, counter);
        ensure!(value == Some(0), "the third host counts {table} {counter} = {value:?} in\n{counters}");
    }
    Ok(())
}

/// A counter of `/proc/net/snmp`, which gives each table as a line of names and a line of values.
fn kernel_counter(text: &str, table: &str, counter: &str) -> Option<u64> {
    let mut rows = text.lines().filter_map(|line| line.strip_prefix(table)?.strip_prefix(':'));
    let (names, values) = (rows.next()?, rows.next()?);
    let position = names.split_whitespace().position(|name| name == counter)?;
    values.split_whitespace().nth(position)?.parse().ok()
}

/// RFC 864 and RFC 863 over TCP.
pub(super) fn chargen_and_discard_move_bytes(stage: &Stage) -> Result<(), Failure> {
    let server = TapServer::start(stage, &["--chargen", "19", "--discard", "9"])?;
    for (direction, port) in [("drain", 19), ("fill", 9)] {
        let transfer =
            transfer(server.namespace.command(&peer::program()?), direction, SERVER, port, 64 * MIB)?;
        ensure!(transfer.bytes == 64 * MIB, "{direction} moved only {} bytes", transfer.bytes);
    }
    Ok(())
}

/// Runs a peer, given as a command without arguments, that moves so many bytes.
pub(crate) fn transfer(
    mut program: Command,
    direction: &str,
    host: &str,
    port: u16,
    bytes: u64,
) -> Result<Transfer, Failure> {
    let address = format!("{host}:{port}");
    program.args(["peer", direction, &address, &bytes.to_string()]);
    Transfer::parse(&process::capture_success(&mut program, DEADLINE)?.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "\
Tcp: RtoAlgorithm InErrs InCsumErrors
Tcp: 1 2 3
Udp: InErrors InCsumErrors
Udp: 4 5
UdpLite: InErrors InCsumErrors
UdpLite: 6 7
";

    #[test]
    fn a_kernel_counter_is_found_by_its_table_and_name() {
        assert_eq!(kernel_counter(SNMP, "Tcp", "InCsumErrors"), Some(3));
        assert_eq!(kernel_counter(SNMP, "Udp", "InCsumErrors"), Some(5));
        assert_eq!(kernel_counter(SNMP, "Udp", "InErrs"), None);
    }
}
