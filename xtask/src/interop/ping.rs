//! ICMP echo, both ways (RFC 792, RFC 1122 section 3.2.2.6).

use std::time::Duration;

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
    let namespace = Namespace::new("tap")?;
    // The command makes no pause for us to configure the kernel's end, so the tap is there beforehand.
    namespace.ip(&["tuntap", "add", "dev", TAP, "mode", "tap", "multi_queue", "vnet_hdr"])?;
    namespace.bring_up(TAP, &format!("{KERNEL}/24"))?;
    let sunstar = stage.sunstar().to_string_lossy();
    let device = format!("tap:{TAP}");
    let address = format!("{SERVER}/24");
    let line = ["ping", KERNEL, "-c", "3", "-i", "0.2", "--device", &device, "--address", &address];
    let pinged = process::capture_success(namespace.command(&sunstar).args(line), DEADLINE)?;
    ensure!(pinged.stdout.contains(KERNEL), "it never names {KERNEL}:\n{}", pinged.output());
    Ok(())
}
