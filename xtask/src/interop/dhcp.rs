//! DHCP against real servers: dnsmasq, ISC's and Kea. Each gives short leases on a tap's kernel end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::namespace::Namespace;
use super::stage::{KERNEL, Stage, TAP, show};
use crate::failure::{Failure, ensure};
use crate::process::{self, Service};

/// How long anything here may take: leases of twenty seconds are lost and found in it.
const DEADLINE: Duration = Duration::from_secs(60);

/// Another address of the kernel's, for a server that has moved.
const MOVED: &str = "10.77.0.3";

/// A station that another client has.
const OTHER: &str = "02:00:00:00:00:99";

/// The first address a server gives away.
const FIRST: &str = "10.77.0.50";

/// A DHCP server program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Dnsmasq,
    Isc,
    Kea,
}

const PROGRAMS: [Program; 3] = [Program::Dnsmasq, Program::Isc, Program::Kea];

impl Program {
    /// Starts it on the tap's kernel end: leases of `network` (three bytes), from .50 on, short ones where the server can,
    /// renewed after three seconds and rebound after ten.
    fn start(self, stage: &Stage, namespace: &Namespace, network: &str) -> Result<Service, Failure> {
        self.start_with(stage, namespace, network, false)
    }

    /// The same, and another client has the first address.
    fn start_with(
        self,
        stage: &Stage,
        namespace: &Namespace,
        network: &str,
        taken: bool,
    ) -> Result<Service, Failure> {
        let path = |name: &str| stage.file(name).to_string_lossy().into_owned();
        let write = |name: &str, text: String| {
            fs::write(stage.file(name), text).map_err(Failure::io(format!("write {name}")))
        };
        let (first, last) = (format!("{network}.50"), format!("{network}.60"));
        let mut command = match self {
            Self::Dnsmasq => {
                let mut command = logged(namespace, "dnsmasq");
                command.args([
                    "--no-daemon",
                    "--conf-file=/dev/null",
                    "--port=53",
                    "--no-resolv",
                    "--no-hosts",
                ]);
                command.args(["--bind-dynamic", "--interface", TAP, "--no-ping", "--dhcp-sequential-ip"]);
                command.args(["--dhcp-authoritative", "--user=root", "--pid-file"]);
                command.arg(format!("--dhcp-leasefile={}", path("dnsmasq.leases")));
                command.arg(format!("--dhcp-range={first},{last},255.255.255.0,120"));
                command.args(["--dhcp-option-force=option:T1,3", "--dhcp-option-force=option:T2,10"]);
                command.args(["--domain=one.test", "--expand-hosts"]);
                command.args(["--host-record=server.one.test,10.77.0.1"]);
                // So many that they fit no datagram.
                (1..=150).for_each(|at| {
                    command.arg(format!("--host-record=many.one.test,10.99.0.{at}"));
                });
                command
            }
            Self::Isc => {
                write(
                    "dhcpd.conf",
                    format!(
                        "authoritative; ddns-update-style none; ping-check false;\n\
                         default-lease-time 20; max-lease-time 20; min-lease-time 5;\n\
                         subnet {network}.0 netmask 255.255.255.0 {{\n  range {first} {last};\n  \
                         option routers {network}.1; option domain-name-servers {network}.1;\n  \
                         option domain-name \"one.test\";\n  option dhcp-renewal-time 3; \
                         option dhcp-rebinding-time 10;\n}}\n"
                    ),
                )?;
                let lease = format!(
                    "lease {FIRST} {{\n  starts 4 2026/01/01 00:00:00;\n  ends never;\n  binding state active;\n  \
                     hardware ethernet {OTHER};\n}}\n"
                );
                write("dhcpd.leases", if taken { lease } else { String::new() })?;
                let mut command = logged(namespace, "dhcpd");
                command.args(["-4", "-f", "-d", "-cf", &path("dhcpd.conf"), "-lf", &path("dhcpd.leases")]);
                command.args(["-pf", &path("dhcpd.pid"), TAP]);
                command
            }
            Self::Kea => {
                let reserved = serde_json::json!({ "hw-address": OTHER, "ip-address": FIRST });
                let reservations = if taken { vec![reserved] } else { Vec::new() };
                let settings = serde_json::json!({ "Dhcp4": {
                    // The tap has no carrier before the client is there.
                    "interfaces-config": {
                        "interfaces": [TAP], "dhcp-socket-type": "raw",
                        "service-sockets-max-retries": 150, "service-sockets-retry-wait-time": 100,
                    },
                    "lease-database": { "type": "memfile", "persist": true, "name": path("kea.leases") },
                    "authoritative": true, "valid-lifetime": 20, "renew-timer": 3, "rebind-timer": 10,
                    "subnet4": [{
                        "subnet": format!("{network}.0/24"),
                        "pools": [{ "pool": format!("{first} - {last}") }],
                        "reservations": reservations,
                        "option-data": [
                            { "name": "routers", "data": format!("{network}.1") },
                            { "name": "domain-name-servers", "data": format!("{network}.1") },
                            { "name": "domain-name", "data": "one.test" },
                        ],
                    }],
                }});
                write("kea.json", settings.to_string())?;
                let mut command = logged(namespace, "kea-dhcp4");
                command.args(["-c", &path("kea.json")]);
                for variable in ["KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR"] {
                    command.env(variable, path(""));
                }
                command
            }
        };
        let server = stage.start(&mut command)?;
        let ready = match self {
            Self::Dnsmasq => "DHCP, sockets bound exclusively to interface",
            Self::Isc => "Sending on   Socket/fallback",
            Self::Kea => "DHCP4_STARTED",
        };
        server.wait_for_line(DEADLINE, |line| line.contains(ready).then_some(()))?;
        Ok(server)
    }
}

/// A namespace with the tap there already, its kernel end at this address.
fn network(address: &str) -> Result<Namespace, Failure> {
    let namespace = Namespace::new("dhcp")?;
    namespace.ip(&["tuntap", "add", "dev", TAP, "mode", "tap", "multi_queue", "vnet_hdr"])?;
    namespace.bring_up(TAP, &format!("{address}/24"))?;
    Ok(namespace)
}

/// A client on four shards, with a queue each.
fn client(stage: &Stage, namespace: &Namespace, arguments: &[&str]) -> Command {
    let mut command = namespace.command(&stage.sunstar().to_string_lossy());
    command.args(["dhcp", TAP, "--shards", "4", "--json", "--hold"]).args(arguments);
    command.arg("--pcap").arg(capture(stage));
    command
}

fn capture(stage: &Stage) -> PathBuf {
    stage.file("dhcp.pcapng")
}

/// What a filter of tshark's finds in a capture.
fn seen(capture: &Path, filter: &str) -> Result<usize, Failure> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(capture).args(["-Y", filter]);
    Ok(process::capture_success(&mut tshark, DEADLINE)?.stdout.lines().count())
}

/// Has tshark read what the first queue of a client sent and received.
fn inspect(stage: &Stage) -> Result<(), Failure> {
    let capture = capture(stage);
    ensure!(seen(&capture, "dhcp")? > 1, "there is no DHCP in the capture");
    let wrong = seen(&capture, "_ws.malformed || dhcp && _ws.expert.severity == error")?;
    ensure!(wrong == 0, "tshark finds {wrong} frames wrong");
    Ok(())
}

/// A command whose two outputs are one: servers say on either of them that they are ready.
fn logged(namespace: &Namespace, program: &str) -> Command {
    let mut command = namespace.command("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>&1", program]);
    command
}

/// What a client says of itself.
struct Said {
    state: String,
    address: String,
    server: String,
    /// When the lease was asked for, in microseconds.
    obtained: u64,
}

/// Waits until a client says something.
fn until(client: &Service, is_it: impl Fn(&Said) -> bool) -> Result<Said, Failure> {
    let said = client.wait_for_line(DEADLINE, |line| {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let said = Said {
            state: text(&value["state"]),
            address: text(&value["lease"]["address"]),
            server: text(&value["lease"]["server"]),
            obtained: value["lease"]["obtained"].as_u64().unwrap_or_default(),
        };
        is_it(&said).then_some(said)
    })?;
    Ok(said)
}

/// Waits for a lease of this server.
fn until_bound(client: &Service, server: &str) -> Result<Said, Failure> {
    until(client, |said| said.state == "bound" && said.server == server)
}

/// A client that has a lease, and whose server is gone since.
fn left_alone(stage: &Stage, program: Program) -> Result<(Namespace, Service), Failure> {
    let namespace = network(KERNEL)?;
    let server = program.start(stage, &namespace, "10.77.0")?;
    let client = stage.start(&mut client(stage, &namespace, &["--no-probe"]))?;
    until_bound(&client, KERNEL)?;
    server.terminate(DEADLINE)?;
    Ok((namespace, client))
}

/// Asks a client to end, which gives its lease back; what it counted.
fn stop(client: Service) -> Result<Value, Failure> {
    let finished = client.terminate(DEADLINE)?;
    ensure!(finished.status.success(), "it ended with {}\n{}", finished.status, finished.output());
    let last = finished.stdout.lines().last().unwrap_or_default();
    let counted = serde_json::from_str::<Value>(last).unwrap_or_default()["messages"].take();
    ensure!(counted["releases_sent"] == 1, "no release:\n{}", finished.output());
    Ok(counted)
}

pub(super) fn leases_are_obtained_renewed_and_given_back(stage: &Stage) -> Result<(), Failure> {
    for program in PROGRAMS {
        let namespace = network(KERNEL)?;
        let server = program.start(stage, &namespace, "10.77.0")?;
        let client = stage.start(&mut client(stage, &namespace, &["--no-probe"]))?;
        let lease = until_bound(&client, KERNEL)?;
        ensure!(lease.address == FIRST, "{program:?}: {} is not the first it has", lease.address);
        until(&client, |said| said.address == FIRST && said.obtained > lease.obtained)?;
        stop(client)?;
        inspect(stage)?;
        server.terminate(DEADLINE)?;
    }
    Ok(())
}

pub(super) fn replies_by_whichever_queue_reach_the_shard_that_asked(stage: &Stage) -> Result<(), Failure> {
    for program in PROGRAMS {
        let namespace = network(KERNEL)?;
        let server = program.start(stage, &namespace, "10.77.0")?;
        for (queue, all_by_it) in ["1,0,0,0", "0,1,0,0", "0,0,1,0", "0,0,0,1"].into_iter().enumerate() {
            let control = stage.file(&format!("control-{program:?}-{queue}"));
            let mut command = namespace.command(&stage.sunstar().to_string_lossy());
            command.args(["serve", "--json", "--device", &format!("tap:{TAP}"), "--dhcp", "--control"]);
            command.arg(&control).args(["--shards", "4", "--queues", "4", "--weights", all_by_it]);
            // It listens once it has a lease.
            let served = stage.start_server(&mut command)?;
            let counters = show(stage.sunstar(), &control, "counters")?;
            let all = counters["counters"].as_array().map(Vec::as_slice).unwrap_or_default();
            let handed_over = all.iter().find(|counter| counter["name"] == "mesh.handed_over");
            let by_shard = handed_over.and_then(|counter| counter["by_shard"].as_array());
            let by_shard = by_shard.ok_or_else(|| Failure::Expectation(format!("no counter: {counters}")))?;
            for (shard, count) in by_shard.iter().enumerate() {
                // An offer and an acknowledgement, unless they came to the first shard, whose client it is.
                let count = count.as_u64().unwrap_or_default();
                let is_it = if shard == queue && queue != 0 { count >= 2 } else { count == 0 };
                ensure!(is_it, "{program:?}, queue {queue}: the shards handed over {by_shard:?}");
            }
            let finished = served.terminate(DEADLINE)?;
            ensure!(finished.status.success(), "it ended with {}\n{}", finished.status, finished.output());
        }
        server.terminate(DEADLINE)?;
    }
    Ok(())
}

pub(super) fn a_server_that_has_moved_is_found_at_t2(stage: &Stage) -> Result<(), Failure> {
    for program in PROGRAMS {
        let (namespace, client) = left_alone(stage, program)?;
        // Nobody answers at T1.
        namespace.ip(&["address", "del", &format!("{KERNEL}/24"), "dev", TAP])?;
        namespace.ip(&["address", "add", &format!("{MOVED}/24"), "dev", TAP])?;
        let server = program.start(stage, &namespace, "10.77.0")?;
        let lease = until_bound(&client, MOVED)?;
        ensure!(lease.address == FIRST, "{program:?}: {} in place of the one it had", lease.address);
        let counted = stop(client)?;
        // It may have had to ask twice at the beginning, but was offered something once.
        ensure!(counted["offers_received"] == 1, "{program:?}: it was begun anew, not rebound: {counted}");
        inspect(stage)?;
        server.terminate(DEADLINE)?;
    }
    Ok(())
}

pub(super) fn a_refusal_is_heeded_and_another_lease_obtained(stage: &Stage) -> Result<(), Failure> {
    for program in PROGRAMS {
        let (namespace, client) = left_alone(stage, program)?;
        let (network, gateway, taken) = match program {
            // The same link is another network from now on.
            Program::Dnsmasq => {
                namespace.ip(&["address", "add", "10.78.0.1/24", "dev", TAP])?;
                namespace.ip(&["address", "del", &format!("{KERNEL}/24"), "dev", TAP])?;
                ("10.78.0", "10.78.0.1", false)
            }
            // These are silent to who is from elsewhere, and refuse who has what is another's.
            Program::Isc | Program::Kea => ("10.77.0", KERNEL, true),
        };
        let server = program.start_with(stage, &namespace, network, taken)?;
        let other = |said: &Said| said.state == "bound" && said.server == gateway && said.address != FIRST;
        let lease = until(&client, other)?;
        ensure!(lease.address.starts_with(network), "{program:?}: {}", lease.address);
        let counted = stop(client)?;
        ensure!(counted["naks_received"].as_u64() >= Some(1), "{program:?}: no refusal: {counted}");
        inspect(stage)?;
        server.terminate(DEADLINE)?;
    }
    Ok(())
}

pub(super) fn an_address_that_somebody_has_is_declined(stage: &Stage) -> Result<(), Failure> {
    for program in PROGRAMS {
        let namespace = network(KERNEL)?;
        // The kernel answers for an address of any of its interfaces.
        namespace.ip(&["address", "add", &format!("{FIRST}/32"), "dev", "lo"])?;
        let server = program.start(stage, &namespace, "10.77.0")?;
        let client = stage.start(&mut client(stage, &namespace, &[]))?;
        until(&client, |said| said.state == "declined")?;
        let lease = until_bound(&client, KERNEL)?;
        ensure!(lease.address != FIRST, "{program:?}: {FIRST} is in use");
        stop(client)?;
        inspect(stage)?;
        server.terminate(DEADLINE)?;
    }
    Ok(())
}

pub(super) fn names_are_asked_of_the_lease_s_server_over_udp_and_what_is_long_over_tcp(
    stage: &Stage,
) -> Result<(), Failure> {
    let namespace = network(KERNEL)?;
    let server = Program::Dnsmasq.start(stage, &namespace, "10.77.0")?;
    let capture = stage.file("names.pcapng");
    let ping = |host: &str, count: &str| {
        let mut command = namespace.command(&stage.sunstar().to_string_lossy());
        command.args(["ping", host, "-c", count, "-i", "0.2", "-W", "1"]);
        command.args(["--device", &format!("tap:{TAP}"), "--dhcp"]).arg("--pcap").arg(&capture);
        command
    };
    // A short name: the lease's domain makes it whole.
    let pinged = process::capture_success(&mut ping("server", "2"), DEADLINE)?;
    ensure!(pinged.stdout.contains(&format!("({KERNEL})")), "not found:\n{}", pinged.output());
    ensure!(pinged.stdout.contains("2 received"), "not reached:\n{}", pinged.output());
    ensure!(
        seen(&capture, "dns && udp")? > 0 && seen(&capture, "dns && tcp")? == 0,
        "a short answer comes over UDP"
    );
    // Nobody is there, but the name has an address.
    let pinged = process::capture(&mut ping("many.one.test", "1"), DEADLINE)?;
    ensure!(pinged.stdout.contains("(10.99.0."), "not found:\n{}", pinged.output());
    ensure!(
        seen(&capture, "dns.flags.truncated == 1 && udp")? > 0 && seen(&capture, "dns && tcp")? > 0,
        "a long one over TCP"
    );
    ensure!(seen(&capture, "_ws.malformed")? == 0, "tshark finds something malformed");
    server.terminate(DEADLINE)?;
    Ok(())
}

pub(super) fn four_shards_are_configured_and_serve(stage: &Stage) -> Result<(), Failure> {
    let namespace = network(KERNEL)?;
    let server = Program::Dnsmasq.start(stage, &namespace, "10.77.0")?;
    for steering in [&[][..], &["--software-steering"]] {
        let mut command = namespace.command(&stage.sunstar().to_string_lossy());
        command.args(["serve", "--json", "--no-control", "--device", &format!("tap:{TAP}"), "--dhcp"]);
        command.args(["--shards", "4", "--queues", "4"]).args(steering);
        let served = stage.start_server(&mut command)?;
        let mut client = namespace.command("curl");
        // Connections enough for every shard.
        client.args(["--silent", "--show-error", "--fail", "--output", "/dev/null", "--no-keepalive"]);
        let url = format!("http://{FIRST}/?[1-40]");
        process::capture_success(client.args(["--header", "Connection: close", &url]), DEADLINE)?;
        let finished = served.terminate(DEADLINE)?;
        ensure!(finished.status.success(), "it ended with {}\n{}", finished.status, finished.output());
    }
    server.terminate(DEADLINE)?;
    Ok(())
}
