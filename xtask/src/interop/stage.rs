//! Where one interop case plays: a scratch directory, a journal of what its services print, and the
//! servers it starts.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::namespace::Namespace;
use crate::cleanup::ScratchDirectory;
use crate::failure::{Failure, ensure};
use crate::peer;
use crate::process::{self, Finished, Service, Transcripts};

/// The server's address on the tap.
pub(crate) const SERVER: &str = "10.77.0.2";
/// The kernel's address on the tap, in the same subnet.
pub(crate) const KERNEL: &str = "10.77.0.1";
/// The tap's name inside the namespace.
pub(crate) const TAP: &str = "sun0";
/// How long a server may take until it listens, and until it has ended.
const SERVER_DEADLINE: Duration = Duration::from_secs(20);

/// What a case is given.
pub(crate) struct Stage {
    sunstar: PathBuf,
    scratch: ScratchDirectory,
    journal: RefCell<Vec<Transcripts>>,
}

impl Stage {
    /// A stage for the `sunstar` command at this path.
    pub(crate) fn new(sunstar: PathBuf) -> Result<Self, Failure> {
        let scratch = ScratchDirectory::new().map_err(Failure::io("make a scratch directory"))?;
        Ok(Self { sunstar, scratch, journal: RefCell::default() })
    }

    /// The command under test.
    pub(crate) fn sunstar(&self) -> &Path {
        &self.sunstar
    }

    /// The path of a file in the scratch directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Makes a directory in the scratch directory.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.file(name);
        std::fs::create_dir(&path).map_err(Failure::io(format!("make {}", path.display())))?;
        Ok(path)
    }

    /// The command under test with these arguments, on the tap of a namespace, the kernel's end its gateway.
    pub(crate) fn on_tap(&self, namespace: &Namespace, arguments: &[&str]) -> Command {
        let (device, address) = (format!("tap:{TAP}"), format!("{SERVER}/24"));
        let mut command = namespace.command(&self.sunstar.to_string_lossy());
        command.args(arguments).args(["--device", &device, "--address", &address, "--gateway", KERNEL]);
        command
    }

    /// Starts a program that runs beside the case; the journal keeps what it prints.
    pub(crate) fn start(&self, command: &mut Command) -> Result<Service, Failure> {
        let service = Service::start(command)?;
        self.journal.borrow_mut().push(service.transcripts());
        Ok(service)
    }

    /// Starts a server and waits until it says that it listens.
    pub(crate) fn start_server(&self, command: &mut Command) -> Result<Service, Failure> {
        let server = self.start(command)?;
        server.wait_for_line(SERVER_DEADLINE, |line| {
            let value: Value = serde_json::from_str(line).ok()?;
            value.get("listening").map(drop)
        })?;
        Ok(server)
    }

    /// Plays a case; a failure also tells what the services printed.
    pub(crate) fn play(&self, case: fn(&Self) -> Result<(), Failure>) -> Result<(), Failure> {
        case(self).map_err(|failure| {
            let journal = self.journal.borrow();
            let printed: String =
                journal.iter().map(|transcripts| format!("--- {}", transcripts.text())).collect();
            Failure::Expectation(format!("{failure}\n{printed}"))
        })
    }
}

/// A section of what `sunstar show` shows of the instance with this control socket.
pub(crate) fn show(sunstar: &Path, control: &Path, section: &str) -> Result<Value, Failure> {
    let mut show = Command::new(sunstar);
    show.args(["show", section, "--json", "--limit", "4096", "--control"]).arg(control);
    let shown = process::capture_success(&mut show, SERVER_DEADLINE)?.stdout;
    let portrait: Value = serde_json::from_str(&shown).unwrap_or_default();
    let silent = &portrait["snapshot"]["silent"];
    ensure!(silent == &json!([]), "shards {silent} did not answer in time");
    let section = portrait["snapshot"].get(section);
    section.cloned().ok_or_else(|| Failure::Expectation(format!("that is no such section: {shown}")))
}

/// A server on a tap, and the kernel at the tap's other end, in one namespace.
pub(crate) struct TapServer {
    // Dropped in this order: the server goes before its namespace.
    server: Service,
    /// Where the tap is, and where the clients run.
    pub(crate) namespace: Namespace,
    sunstar: PathBuf,
    control: PathBuf,
}

/// How many addresses there are on the link, as the length of their common prefix, unless a case wants more.
const PREFIX: u8 = 24;

impl TapServer {
    /// Starts `sunstar serve` on a tap with these further arguments, and gives the kernel its address.
    pub(crate) fn start(stage: &Stage, arguments: &[&str]) -> Result<Self, Failure> {
        let namespace = Namespace::new("tap")?;
        let command = namespace.command(&stage.sunstar().to_string_lossy());
        Self::start_in(stage, namespace, command, PREFIX, arguments)
    }

    /// The same on a link with 65,536 addresses.
    pub(crate) fn start_on_a_wide_link(stage: &Stage, arguments: &[&str]) -> Result<Self, Failure> {
        let namespace = Namespace::new("tap")?;
        let command = namespace.command(&stage.sunstar().to_string_lossy());
        Self::start_in(stage, namespace, command, 16, arguments)
    }

    /// The same, with the server pinned by these arguments to `taskset`.
    pub(crate) fn start_pinned(stage: &Stage, cores: &[&str], arguments: &[&str]) -> Result<Self, Failure> {
        let namespace = Namespace::new("tap")?;
        let mut command = namespace.command("taskset");
        command.args(cores).arg(stage.sunstar());
        Self::start_in(stage, namespace, command, PREFIX, arguments)
    }

    fn start_in(
        stage: &Stage,
        namespace: Namespace,
        mut sunstar: Command,
        prefix: u8,
        arguments: &[&str],
    ) -> Result<Self, Failure> {
        // A case may have several servers.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let control = stage.file(&format!("control-{}", STARTED.fetch_add(1, Ordering::Relaxed)));
        let (device, address) = (format!("tap:{TAP}"), format!("{SERVER}/{prefix}"));
        sunstar.args(["serve", "--json", "--device", &device, "--address", &address, "--gateway", KERNEL]);
        sunstar.arg("--control").arg(&control);
        let server = stage.start_server(sunstar.args(arguments))?;
        namespace.bring_up(TAP, &format!("{KERNEL}/{prefix}"))?;
        Ok(Self { server, namespace, sunstar: stage.sunstar().to_owned(), control })
    }

    /// A section of `sunstar show`.
    pub(crate) fn show(&self, section: &str) -> Result<Value, Failure> {
        show(&self.sunstar, &self.control, section)
    }

    /// One of its counters, all shards together.
    pub(crate) fn counter(&self, name: &str) -> Result<u64, Failure> {
        let counters = self.show("counters")?;
        let all = counters["counters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let counter = all.iter().find(|counter| counter["name"] == name);
        let total = counter.and_then(|counter| counter["total"].as_u64());
        total.ok_or_else(|| Failure::Expectation(format!("there is no counter {name}")))
    }

    /// The server as a target of crafted frames, for `cargo xtask peer`.
    pub(crate) fn target(&self) -> Result<String, Failure> {
        let interfaces = self.show("interfaces")?;
        let all = interfaces["interfaces"].as_array().map(Vec::as_slice).unwrap_or_default();
        let station = all.iter().find_map(|interface| interface["mac"].as_str());
        let target = station.map(|station| format!("{TAP},{station},{SERVER}"));
        target.ok_or_else(|| Failure::Expectation(format!("no interface has a station: {interfaces}")))
    }

    /// Runs a peer (`cargo xtask peer`) beside the kernel's end of the tap, and returns what it printed.
    pub(crate) fn peer(&self, arguments: &[&str], deadline: Duration) -> Result<Value, Failure> {
        let run = self.client(&peer::program()?, &[&["peer"], arguments].concat(), deadline)?;
        Ok(serde_json::from_str(&run.stdout).unwrap_or_default())
    }

    /// Starts such a peer, to run beside what follows.
    pub(crate) fn start_peer(&self, stage: &Stage, arguments: &[&str]) -> Result<Service, Failure> {
        stage.start(self.namespace.command(&peer::program()?).arg("peer").args(arguments))
    }

    /// The server's process id.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// Runs a client beside the kernel's end of the tap.
    pub(crate) fn client(
        &self,
        program: &str,
        arguments: &[&str],
        deadline: Duration,
    ) -> Result<Finished, Failure> {
        Ok(process::capture_success(self.namespace.command(program).args(arguments), deadline)?)
    }

    /// Asks the server to end. It must do so by itself, and with success.
    pub(crate) fn stop(self) -> Result<Finished, Failure> {
        let finished = self.server.terminate(SERVER_DEADLINE)?;
        let status = finished.status;
        ensure!(
            status.success(),
            "the server was asked to end, and ended with {status}\n{}",
            finished.output()
        );
        Ok(finished)
    }
}
