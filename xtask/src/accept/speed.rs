//! A reading of speed: our stack over a tap beside the kernel's over a virtual Ethernet pair, in one run.
//!
//! The server has one core and its client the other. Rounds alternate between the two contestants and
//! medians are compared, because neighbours on the machine disturb both. HTTP answers have the same
//! body size: nginx answers from memory, as our page does, and serves the same file. Nothing in a plain
//! nginx reads an upload and throws it away at the speed of TCP, so bulk transfers are also measured
//! without HTTP, between one client and the plainest kernel peers (`crate::peer`) or our RFC 863 and 864
//! servers. Both sides' kernels use CUBIC, since BBR paces bulk at a fraction of what the link does.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::failure::{Failure, ensure};
use crate::interop::{Curl, KERNEL, Namespace, SERVER, Stage, TAP, TapServer, Wrk, random_file, transfer};
use crate::peer;
use crate::process::{self, Service};

const ROUNDS: usize = 3;
const WRK_SECONDS: u64 = 4;
const DEADLINE: Duration = Duration::from_secs(120);
const BULK_BYTES: u64 = 1 << 30;
/// The files' paths on both web servers.
const BULK_FILE: &str = "/bulk";
const SMALL_FILE: &str = "/small";
const SMALL_BYTES: u64 = 512;

/// RFC 864's port, for the kernel's source too.
const SOURCE_PORT: u16 = 19;
/// RFC 863's port, for the kernel's sink too.
const SINK_PORT: u16 = 9;

/// What pins a server, and what pins its client.
const SERVER_CORE: [&str; 2] = ["--cpu-list", "0"];
const CLIENT_CORE: [&str; 2] = ["--cpu-list", "1"];

const KERNEL_SERVER: &str = "10.79.0.2";
const KERNEL_CLIENT: &str = "10.79.0.1";

/// One thing to measure; larger is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Measure {
    KeepAlive,
    OneConnection,
    ConnectionARequest,
    SmallFile,
    FileDownload,
    Download,
    Upload,
}

impl Measure {
    const ALL: [Self; 7] = [
        Self::KeepAlive,
        Self::OneConnection,
        Self::ConnectionARequest,
        Self::SmallFile,
        Self::FileDownload,
        Self::Download,
        Self::Upload,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "64 connections kept alive, requests/s",
            Self::OneConnection => "1 connection, requests/s",
            Self::ConnectionARequest => "a connection a request, 64 at once, requests/s",
            Self::SmallFile => "a file of 512 bytes, 64 connections, requests/s",
            Self::FileDownload => "a file by HTTP to curl, Gbit/s",
            Self::Download => "chargen beside a kernel source, Gbit/s",
            Self::Upload => "discard beside a kernel sink, Gbit/s",
        }
    }

    /// The least part of the kernel's figure that ours may be.
    fn floor(self) -> f64 {
        match self {
            Self::KeepAlive | Self::OneConnection | Self::ConnectionARequest | Self::SmallFile => 0.5,
            Self::FileDownload | Self::Download | Self::Upload => 0.25,
        }
    }
}

/// Servers that are up, and the namespaces to measure them from.
struct Contestant<'a> {
    /// Where the clients of the page and of the bulk servers run.
    client: &'a Namespace,
    /// Where the clients of the file server run.
    file_client: &'a Namespace,
    address: &'static str,
}

impl Contestant<'_> {
    fn measure(&self, measure: Measure) -> Result<f64, Failure> {
        match measure {
            Measure::KeepAlive => self.wrk(self.client, "/", &["-c64"]),
            Measure::OneConnection => self.wrk(self.client, "/", &["-c1"]),
            Measure::ConnectionARequest => self.wrk(self.client, "/", &["-c64", "-H", "Connection: close"]),
            Measure::SmallFile => self.wrk(self.file_client, SMALL_FILE, &["-c64"]),
            Measure::FileDownload => self.download_file(),
            Measure::Download => self.transfer("drain", SOURCE_PORT),
            Measure::Upload => self.transfer("fill", SINK_PORT),
        }
    }

    fn wrk(&self, client: &Namespace, path: &str, arguments: &[&str]) -> Result<f64, Failure> {
        let mut wrk = on_client_core(client);
        wrk.args(["wrk", "-t1", &format!("-d{WRK_SECONDS}s")]).args(arguments);
        wrk.arg(format!("http://{}{path}", self.address));
        Ok(Wrk::parse(&process::capture_success(&mut wrk, DEADLINE)?.stdout)?.requests_per_second)
    }

    fn download_file(&self) -> Result<f64, Failure> {
        let mut curl = on_client_core(self.file_client);
        curl.args(["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null"]);
        curl.args([
            "--write-out",
            "%{size_download} %{speed_download}",
            &format!("http://{}{BULK_FILE}", self.address),
        ]);
        let output = process::capture_success(&mut curl, DEADLINE)?.stdout;
        let figures: Vec<f64> = output.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
        match figures[..] {
            [size, speed] if size == BULK_BYTES as f64 => Ok(speed * 8.0 / 1e9),
            _ => Err(Failure::Expectation(format!("curl did not get the {BULK_BYTES} bytes: {output:?}"))),
        }
    }

    fn transfer(&self, direction: &str, port: u16) -> Result<f64, Failure> {
        let mut peer = on_client_core(self.client);
        peer.arg(peer::program()?);
        Ok(transfer(peer, direction, self.address, port, BULK_BYTES)?.gigabits_per_second())
    }
}

/// `taskset` in a namespace, to be given the program and its arguments.
fn on_client_core(namespace: &Namespace) -> Command {
    let mut command = namespace.command("taskset");
    command.args(CLIENT_CORE);
    command
}

/// Has the kernel's end of a link send with CUBIC to its subnet.
fn use_cubic(namespace: &Namespace, interface: &str, subnet: &str, source: &str) -> Result<(), Failure> {
    namespace.send_by("cubic", &[subnet, "dev", interface, "proto", "kernel", "scope", "link", "src", source])
}

/// nginx and the kernel peers at one end of a virtual Ethernet pair.
struct KernelServers {
    // Dropped before the namespaces they run in.
    _services: [Service; 3],
    _servers: Namespace,
    clients: Namespace,
}

impl KernelServers {
    /// Starts them. nginx answers `/` with a body of `body` bytes, and serves the files of `directory`.
    fn start(stage: &Stage, directory: &str, body: usize) -> Result<Self, Failure> {
        let (servers, clients) = (Namespace::new("servers")?, Namespace::new("clients")?);
        servers.join("inner0", &clients, "outer0")?;
        servers.bring_up("inner0", &format!("{KERNEL_SERVER}/24"))?;
        clients.bring_up("outer0", &format!("{KERNEL_CLIENT}/24"))?;
        use_cubic(&servers, "inner0", "10.79.0.0/24", KERNEL_SERVER)?;
        use_cubic(&clients, "outer0", "10.79.0.0/24", KERNEL_CLIENT)?;

        let start = |line: &[&str]| {
            let mut command = servers.command("taskset");
            stage.start(command.args(SERVER_CORE).args(line))
        };
        let configuration = stage.file("nginx.conf");
        let text = nginx_configuration(&stage.file("nginx").to_string_lossy(), directory, body);
        std::fs::write(&configuration, text)
            .map_err(Failure::io(format!("write {}", configuration.display())))?;
        let nginx = start(&["nginx", "-e", "stderr", "-c", &configuration.to_string_lossy()])?;
        let program = peer::program()?;
        let peer = |role: &str, port: u16| {
            let service = start(&[&program, "peer", role, &format!("{KERNEL_SERVER}:{port}")])?;
            service.wait_for_line(DEADLINE, |line| line.contains("listening").then_some(()))?;
            Ok::<_, Failure>(service)
        };
        let services = [nginx, peer("source", SOURCE_PORT)?, peer("sink", SINK_PORT)?];

        // nginx says nothing when it listens; curl tries again until it does, and shows the size.
        let mut curl = clients.command("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--fail",
            "--retry-connrefused",
            "--retry",
            "10",
            "--retry-delay",
            "1",
        ]);
        let page = process::capture_success(curl.arg(format!("http://{KERNEL_SERVER}/")), DEADLINE)?.stdout;
        ensure!(page.len() == body, "nginx answers with {} bytes in place of {body}", page.len());
        Ok(Self { _services: services, _servers: servers, clients })
    }

    fn contestant(&self) -> Contestant<'_> {
        Contestant { client: &self.clients, file_client: &self.clients, address: KERNEL_SERVER }
    }
}

/// One worker, no log, and an answer from memory: a word of nginx's configuration may not exceed 4 KiB,
/// so the body is put together from a variable.
fn nginx_configuration(prefix: &str, directory: &str, body: usize) -> String {
    const PIECE: usize = 1000;
    let piece = "x".repeat(PIECE);
    let whole = "${piece}".repeat(body / PIECE);
    let rest = "y".repeat(body % PIECE);
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {prefix}.{kind};\n"))
        .concat();
    format!(
        "user root;
worker_processes 1;
daemon off;
pid {prefix}.pid;
events {{ worker_connections 1024; }}
http {{
{temporary}    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache max=16;
    server {{
        listen 80;
        root {directory};
        set $piece \"{piece}\";
        location = / {{ default_type text/html; return 200 \"{whole}{rest}\"; }}
    }}
}}
"
    )
}

pub(super) fn beside_the_kernel(stage: &Stage) -> Result<(), Failure> {
    let served = stage.directory("served")?;
    for (path, bytes) in [(BULK_FILE, BULK_BYTES), (SMALL_FILE, SMALL_BYTES)] {
        random_file(&served.join(path.trim_start_matches('/')), bytes)?;
    }
    let directory = served.to_string_lossy();
    let (source, sink) = (SOURCE_PORT.to_string(), SINK_PORT.to_string());
    // Two servers: one that serves a directory may have no page of its own.
    let page_server =
        TapServer::start_pinned(stage, &SERVER_CORE, &["--chargen", &source, "--discard", &sink])?;
    let file_server = TapServer::start_pinned(stage, &SERVER_CORE, &["--dir", &directory])?;
    for server in [&page_server, &file_server] {
        use_cubic(&server.namespace, TAP, "10.77.0.0/24", KERNEL)?;
    }
    let body = Curl { server: &page_server, deadline: DEADLINE }.get("/")?.len();
    let kernel = KernelServers::start(stage, &directory, body)?;
    let theirs = kernel.contestant();
    let ours =
        Contestant { client: &page_server.namespace, file_client: &file_server.namespace, address: SERVER };

    let mut table = Table::default();
    for round in 1..=ROUNDS {
        for measure in Measure::ALL {
            let (kernel, sunstar) = (theirs.measure(measure)?, ours.measure(measure)?);
            println!("round {round}: {:<46} kernel {kernel:>10.1}  sunstar {sunstar:>10.1}", measure.name());
            table.add(measure, kernel, sunstar);
        }
    }
    println!("\nan answer's body is {body} bytes; medians of {ROUNDS} rounds\n{}", table.text());
    let slow = table.below_the_floor();
    ensure!(slow.is_empty(), "below the least ratio: {}", slow.join("; "));
    Ok(())
}

/// The figures of all rounds.
#[derive(Debug, Default)]
struct Table(BTreeMap<Measure, [Vec<f64>; 2]>);

impl Table {
    fn add(&mut self, measure: Measure, kernel: f64, sunstar: f64) {
        let [kernels, sunstars] = self.0.entry(measure).or_default();
        kernels.push(kernel);
        sunstars.push(sunstar);
    }

    /// Each measure with the medians of the kernel's figures and of ours.
    fn medians(&self) -> impl Iterator<Item = (Measure, f64, f64)> {
        self.0.iter().map(|(measure, [kernel, sunstar])| (*measure, median(kernel), median(sunstar)))
    }

    fn text(&self) -> String {
        let heading =
            format!("{:<46} {:>10} {:>10} {:>6} {:>6}\n", "", "kernel", "sunstar", "ratio", "least");
        let rows = self.medians().map(|(measure, kernel, sunstar)| {
            let (name, ratio, floor) = (measure.name(), sunstar / kernel, measure.floor());
            format!("{name:<46} {kernel:>10.1} {sunstar:>10.1} {ratio:>6.2} {floor:>6.2}\n")
        });
        std::iter::once(heading).chain(rows).collect()
    }

    fn below_the_floor(&self) -> Vec<&'static str> {
        let slow = self.medians().filter(|(measure, kernel, sunstar)| sunstar / kernel < measure.floor());
        slow.map(|(measure, ..)| measure.name()).collect()
    }
}

/// The middle one of the figures, the upper one of two.
pub(super) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbed_round_decides_nothing() {
        let mut table = Table::default();
        for (kernel, sunstar) in [(100.0, 60.0), (100.0, 1.0), (100.0, 70.0)] {
            table.add(Measure::KeepAlive, kernel, sunstar);
        }
        assert!(table.below_the_floor().is_empty());
    }

    #[test]
    fn a_ratio_below_the_floor_is_named() {
        let mut table = Table::default();
        table.add(Measure::OneConnection, 100.0, 49.0);
        table.add(Measure::Upload, 100.0, 26.0);
        assert_eq!(table.below_the_floor(), [Measure::OneConnection.name()]);
    }

    #[test]
    fn nginx_is_told_to_answer_with_exactly_the_body_s_size() {
        let text = nginx_configuration("/p", "/d", 2345);
        assert!(text.contains(&format!("return 200 \"${{piece}}${{piece}}{}\"", "y".repeat(345))));
    }
}
