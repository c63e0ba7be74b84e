//! ICMP echo, both ways (RFC 792, RFC 1122 section 3.2.2.6).

use std::time::Duration;

use super::capture::inspect;
use super::namespace::Namespace;
use super::stage::{KERNEL, SERVER, Stage, TAP, TapServer};
use crate::failure::{Failure, ensure};
use crate::process;

const DEADLINE: Duration = Duration::from_secs(20);

fn ping(stage: &Stage, arguments: &[&str]) -> Result<(), Failure> {
    let server = TapServer::start(stage, &[])?;
    let pinged =
        server.client("ping", &[&["-c3", "-i0.2", "-W5"], arguments, &[SERVER]].concat(), DEADLINE)?;
    let output = &pinged.stdout;
    ensure!(output.contains("3 packets transmitted, 3 received, 0% packet loss"), "lost some:\n{output}");
    ensure!(!output.contains("DUP!"), "answered twice:\n{output}");
    Ok(())
}

pub(super) fn the_kernel_pings_the_server_and_loses_nothing(stage: &Stage) -> Result<(), Failure> {
    ping(stage, &[])
}

/// 1472 bytes, the ICMP and the IPv4 header make 1500.
pub(super) fn a_ping_that_fills_the_mtu_is_answered(stage: &Stage) -> Result<(), Failure> {
    ping(stage, &["-s", "1472", "-M", "do"])
}

pub(super) fn our_ping_reaches_the_kernel(stage: &Stage) -> Result<(), Failure> {
    let namespace = Namespace::with_tap(TAP, &format!("{KERNEL}/24"))?;
    let line = ["ping", KERNEL, "-c", "3", "-i", "0.2"];
    let pinged = process::capture_success(&mut stage.on_tap(&namespace, &line), DEADLINE)?;
    ensure!(pinged.stdout.contains(KERNEL), "it never names {KERNEL}:\n{}", pinged.output());
    Ok(())
}

/// 41 fragments each.
pub(super) fn large_pings_cross_in_fragments_both_ways(stage: &Stage) -> Result<(), Failure> {
    ping(stage, &["-s", "60000"])?;
    let namespace = Namespace::with_tap(TAP, &format!("{KERNEL}/24"))?;
    let capture = stage.file("ping.pcapng");
    let shown = capture.to_string_lossy();
    let line = ["ping", KERNEL, "-c", "3", "-i", "0.2", "-s", "60000", "--pcap", &shown];
    let pinged = process::capture_success(&mut stage.on_tap(&namespace, &line), DEADLINE)?;
    let output = &pinged.stdout;
    ensure!(output.contains("3 received, 0% packet loss"), "lost some:\n{output}");
    ensure!(output.matches("60008 bytes from").count() == 3, "not all came back:\n{output}");
    let frames = inspect(&capture, SERVER)?;
    ensure!(frames >= 6 * 41, "only {frames} frames: those are no fragments");
    Ok(())
}
