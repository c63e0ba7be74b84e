//! A link that loses and delays frames between the server and a host of the kernel's, far away; and the same between two
//! hosts of the kernel's, to compare with.

use std::time::Duration;

use serde_json::Value;

use super::namespace::Namespace;
use super::stage::{SERVER, Stage, TapServer};
use crate::failure::{Failure, ensure};
use crate::peer::{self, Conditions, Transfer};
use crate::process::{self, Service};

const DEADLINE: Duration = Duration::from_secs(20);
const MIB: u64 = 1024 * 1024;

/// RFC 864's port, and that of HTTP.
const CHARACTERS: u16 = 19;
const HTTP: u16 = 80;

/// The two ends of the link.
const NEAR: &str = "10.78.0.1";
const FAR: &str = "10.78.0.2";

/// Who is at the near end. The far end is always the kernel's, and it is always the one that opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NearEnd {
    /// Our server, behind the kernel as a router.
    Sunstar,
    /// The kernel itself.
    Kernel,
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the far end.
    Away,
    /// From the far end.
    Back,
}

/// Both ends and what is between them.
pub(crate) struct ImpairedPath {
    // Dropped in this order: what runs in a namespace goes before it.
    link: Service,
    _servers: [Service; 2],
    far: Namespace,
    middle: Namespace,
    /// Our server, whose namespace is the near end.
    pub(crate) near: TapServer,
}

impl ImpairedPath {
    /// Starts servers at the near end, the kernel's and ours, and a link to the far one.
    pub(crate) fn start(stage: &Stage, conditions: Conditions) -> Result<Self, Failure> {
        let near = TapServer::start(stage, &["--chargen", &CHARACTERS.to_string()])?;
        let (middle, far) = (Namespace::new("middle")?, Namespace::new("far")?);
        near.namespace.join("near0", &middle, "middle0")?;
        far.join("far0", &middle, "middle1")?;
        near.namespace.bring_up("near0", &format!("{NEAR}/24"))?;
        far.bring_up("far0", &format!("{FAR}/24"))?;
        for (namespace, interface) in [(&near.namespace, "near0"), (&far, "far0")] {
            // Frames cross the link one by one, as on a real wire: complete, and no longer than the MTU.
            namespace.run("ethtool", &["-K", interface, "tx", "off", "tso", "off", "gso", "off"])?;
        }
        for interface in ["middle0", "middle1"] {
            middle.ip(&["link", "set", interface, "up"])?;
        }
        near.namespace.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
        far.ip(&["route", "add", "10.77.0.0/24", "via", NEAR])?;

        let program = peer::program()?;
        let serve = |role: &str, port: u16| {
            let mut command = near.namespace.command(&program);
            let server = stage.start(command.args(["peer", role, &format!("{NEAR}:{port}")]))?;
            server.wait_for_line(DEADLINE, |line| line.contains("listening").then_some(()))?;
            Ok::<_, Failure>(server)
        };
        let servers = [serve("characters", CHARACTERS)?, serve("digests", HTTP)?];
        let link = link(stage, &middle, conditions)?;
        Ok(Self { link, _servers: servers, far, middle, near })
    }

    /// Replaces the link by another.
    pub(crate) fn set(&mut self, stage: &Stage, conditions: Conditions) -> Result<(), Failure> {
        self.link = link(stage, &self.middle, conditions)?;
        Ok(())
    }

    /// Has both ends of the kernel's send by a congestion control.
    pub(crate) fn send_by(&self, algorithm: &str) -> Result<(), Failure> {
        let near = &self.near.namespace;
        near.send_by(algorithm, &["10.78.0.0/24", "dev", "near0", "scope", "link", "src", NEAR])?;
        self.far.send_by(algorithm, &["10.78.0.0/24", "dev", "far0", "scope", "link", "src", FAR])?;
        self.far.send_by(algorithm, &["10.77.0.0/24", "via", NEAR])
    }

    /// Moves so many bytes, which are compared at the far end, or by their SHA-256.
    pub(crate) fn transfer(
        &self,
        near: NearEnd,
        direction: Direction,
        bytes: u64,
        deadline: Duration,
    ) -> Result<Transfer, Failure> {
        let host = match near {
            NearEnd::Sunstar => SERVER,
            NearEnd::Kernel => NEAR,
        };
        let (role, port) = match direction {
            Direction::Away => ("compare", CHARACTERS),
            Direction::Back => ("post", HTTP),
        };
        let mut client = self.far.command(&peer::program()?);
        client.args(["peer", role, &format!("{host}:{port}"), &bytes.to_string()]);
        let transfer = Transfer::parse(&process::capture_success(&mut client, deadline)?.stdout)?;
        ensure!(transfer.bytes == bytes, "{} of {bytes} bytes were moved", transfer.bytes);
        Ok(transfer)
    }

    /// What the link has done so far: one of its counters.
    pub(crate) fn counter(&self, name: &str) -> Result<u64, Failure> {
        let last = |text: &str| {
            let report: Value = serde_json::from_str(text.lines().last()?).ok()?;
            report[name].as_u64()
        };
        Ok(self.link.wait_for_output(DEADLINE, last)?)
    }
}

fn link(stage: &Stage, middle: &Namespace, conditions: Conditions) -> Result<Service, Failure> {
    let mut command = middle.command(&peer::program()?);
    let link = stage.start(command.args(["peer", "link", "middle0", "middle1", &conditions.to_string()]))?;
    link.wait_for_line(DEADLINE, |line| line.contains("joined").then_some(()))?;
    Ok(link)
}

pub(super) fn what_a_link_loses_and_reorders_arrives_whole_both_ways(stage: &Stage) -> Result<(), Failure> {
    let conditions = Conditions { loss: 0.01, reordering: 0.02, delay: 2, seed: 1 };
    let path = ImpairedPath::start(stage, conditions)?;
    for direction in [Direction::Away, Direction::Back] {
        let transfer = path.transfer(NearEnd::Sunstar, direction, 4 * MIB, DEADLINE)?;
        println!("{direction:?}: 4 MiB in {:.2} s", transfer.seconds);
    }
    let counters = ["frames", "lost", "reordered"].map(|name| path.counter(name));
    let [frames, lost, reordered] = counters;
    let (frames, lost, reordered) = (frames?, lost?, reordered?);
    println!("{lost} of {frames} frames were lost, {reordered} were overtaken");
    ensure!(lost > frames / 200 && reordered > frames / 100, "the link was better than it was to be");
    path.near.stop().map(drop)
}
