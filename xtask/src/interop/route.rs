//! A host behind a router of the kernel's, seen from a stack on a tap: the way there, and what the router says when a
//! request does not get there (RFC 792, RFC 1812 section 4.3).

use std::time::Duration;

use super::capture::inspect;
use super::namespace::Namespace;
use super::stage::{KERNEL, SERVER, Stage, TAP};
use crate::failure::{Failure, ensure};
use crate::{peer, process};

const DEADLINE: Duration = Duration::from_secs(30);
/// The host behind the router.
const FAR: &str = "10.78.0.2";

/// The router, at the kernel's end of the tap, and the host behind it.
struct Routed {
    router: Namespace,
    _far: Namespace,
}

impl Routed {
    /// Joins them by a link of this MTU.
    fn new(mtu: &str) -> Result<Self, Failure> {
        let router = Namespace::with_tap(TAP, &format!("{KERNEL}/24"))?;
        let far = Namespace::new("far")?;
        router.join("inner0", &far, "outer0")?;
        router.bring_up("inner0", "10.78.0.1/24")?;
        far.bring_up("outer0", &format!("{FAR}/24"))?;
        router.ip(&["link", "set", "inner0", "mtu", mtu])?;
        far.ip(&["link", "set", "outer0", "mtu", mtu])?;
        far.ip(&["route", "add", "default", "via", "10.78.0.1"])?;
        router.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
        Ok(Self { router, _far: far })
    }
}

pub(super) fn our_traceroute_shows_a_router_and_the_host_behind_it(stage: &Stage) -> Result<(), Failure> {
    let routed = Routed::new("1500")?;
    let mut names = routed.router.command(&peer::program()?);
    let _names = stage.start_server(names.args(["peer", "names", &format!("{KERNEL}:53"), FAR]))?;
    let capture = stage.file("traceroute.pcapng");
    let shown = capture.to_string_lossy();
    let line = ["traceroute", "far.test", "--name-server", KERNEL, "--pcap", &shown];
    let found = process::capture_success(&mut stage.on_tap(&routed.router, &line), DEADLINE)?;
    let lines: Vec<&str> = found.stdout.lines().collect();
    let expected = [
        format!("traceroute to far.test ({FAR}), 30 hops max, 60 byte packets"),
        format!(" 1  {KERNEL}  "),
        format!(" 2  {FAR}  "),
    ];
    let right =
        lines.len() == 3 && lines.iter().zip(&expected).all(|(line, it)| line.starts_with(it.as_str()));
    ensure!(right, "that is not the way there:\n{}", found.output());
    let timed = lines[1..].iter().all(|line| line.matches(" ms").count() == 3 && !line.contains('!'));
    ensure!(timed, "not every probe was answered as it should be:\n{}", found.output());
    inspect(&capture, SERVER)?;
    Ok(())
}

pub(super) fn our_ping_prints_what_a_router_says_instead_of_a_reply(stage: &Stage) -> Result<(), Failure> {
    let routed = Routed::new("1300")?;
    let capture = stage.file("ping.pcapng");
    let shown = capture.to_string_lossy();
    for (arguments, said) in [
        (&[FAR, "-s", "1400", "-M"][..], "Packet too big, MTU is 1300"),
        (&[FAR, "-t", "1"], "Time to live exceeded"),
        (&["10.78.0.9"], "Destination Host Unreachable"),
        (&["192.0.2.1"], "Destination Net Unreachable"),
    ] {
        let line = [&["ping", "-c", "1", "--pcap", &shown], arguments].concat();
        let pinged = process::capture(&mut stage.on_tap(&routed.router, &line), DEADLINE)?;
        let expected = format!("From {KERNEL}: icmp_seq=1 {said}");
        ensure!(pinged.stdout.contains(&expected), "it never says `{expected}`:\n{}", pinged.output());
        let counted =
            pinged.stdout.contains("1 packets transmitted, 0 received, +1 errors, 100% packet loss");
        ensure!(counted && pinged.status.code() == Some(1), "it is not counted:\n{}", pinged.output());
        inspect(&capture, SERVER)?;
    }
    Ok(())
}
