//! The programs the steps call, and how each is installed when it is missing.
//!
//! A tool that cannot be had fails the run: a step that silently did nothing would look like a pass.
//!
//! What is installed has a pinned version, so that a new lint in a tool does not fail an old commit and a
//! new tool does not ask for a newer Rust. What is there already is used whatever its version. `typos`
//! takes minutes to build and seconds to fetch as the Python wheel of the same program.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::failure::{Failure, ensure};
use crate::process;
use crate::workspace;

const APT_DEADLINE: Duration = Duration::from_secs(15 * 60);
const CRATE_DEADLINE: Duration = Duration::from_secs(30 * 60);
const PYTHON_DEADLINE: Duration = Duration::from_secs(120);

/// Where a missing tool comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// A package of Debian.
    Debian(&'static str),
    /// A crate, built with `cargo install --locked`.
    Crate {
        /// The crate and its version, as `cargo install` wants them.
        name: &'static str,
    },
    /// A Python wheel, in an environment of its own below the target directory.
    Wheel {
        /// The package and its version, as `pip install` wants them.
        requirement: &'static str,
    },
}

/// A program a step calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tool {
    program: &'static str,
    source: Source,
}

impl Tool {
    const fn debian(program: &'static str, package: &'static str) -> Self {
        Self { program, source: Source::Debian(package) }
    }

    const fn built(program: &'static str, name: &'static str) -> Self {
        Self { program, source: Source::Crate { name } }
    }

    /// Where the program is, if it is anywhere.
    fn find(self) -> Option<PathBuf> {
        find(self.program)
    }

    /// A command that runs it, wherever it is.
    pub(crate) fn command(self) -> Command {
        Command::new(self.find().unwrap_or_else(|| self.program.into()))
    }
}

pub(crate) const NEXTEST: Tool = Tool::built("cargo-nextest", "cargo-nextest@0.9.143");
pub(crate) const DENY: Tool = Tool::built("cargo-deny", "cargo-deny@0.20.2");
pub(crate) const MACHETE: Tool = Tool::built("cargo-machete", "cargo-machete@0.9.2");
pub(crate) const FUZZ: Tool = Tool::built("cargo-fuzz", "cargo-fuzz@0.13.2");
/// What libFuzzer is built with.
pub(crate) const CXX: Tool = Tool::debian("c++", "g++");
pub(crate) const TYPOS: Tool =
    Tool { program: "typos", source: Source::Wheel { requirement: "typos==1.52.0" } };

const IP: Tool = Tool::debian("ip", "iproute2");
const PING: Tool = Tool::debian("ping", "iputils-ping");
const CURL: Tool = Tool::debian("curl", "curl");
const WRK: Tool = Tool::debian("wrk", "wrk");
const TSHARK: Tool = Tool::debian("tshark", "tshark");
const CAPINFOS: Tool = Tool::debian("capinfos", "wireshark-common");
const ETHTOOL: Tool = Tool::debian("ethtool", "ethtool");
const NFT: Tool = Tool::debian("nft", "nftables");
const SETPRIV: Tool = Tool::debian("setpriv", "util-linux");
const CHROMIUM: Tool = Tool::debian("chromium", "chromium");
const TASKSET: Tool = Tool::debian("taskset", "util-linux");
const SS: Tool = Tool::debian("ss", "iproute2");
pub(crate) const VALGRIND: Tool = Tool::debian("valgrind", "valgrind");
const NGINX: Tool = Tool::debian("nginx", "nginx-light");

const DNSMASQ: Tool = Tool::debian("dnsmasq", "dnsmasq-base");
const DHCPD: Tool = Tool::debian("dhcpd", "isc-dhcp-server");
const KEA: Tool = Tool::debian("kea-dhcp4", "kea-dhcp4-server");

/// What the interop cases call.
pub(crate) const INTEROP: &[Tool] =
    &[IP, PING, CURL, WRK, TSHARK, CAPINFOS, ETHTOOL, NFT, SETPRIV, CHROMIUM, DNSMASQ, DHCPD, KEA];

/// What the acceptance calls besides.
pub(crate) const ACCEPTANCE: &[Tool] =
    &[IP, PING, CURL, WRK, TSHARK, CAPINFOS, ETHTOOL, NFT, TASKSET, SS, NGINX, VALGRIND];

/// Where a program is: on the search path, in an administrator's directory that a user's path lacks, or
/// among the wheels.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let elsewhere = ["/usr/sbin", "/sbin"]
        .map(PathBuf::from)
        .into_iter()
        .chain(wheels().map(|wheels| wheels.join("bin")));
    std::env::split_paths(&path)
        .chain(elsewhere)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// The Python environment that holds the wheels.
fn wheels() -> Option<PathBuf> {
    Some(workspace::target_directory().ok()?.join("wheels"))
}

/// Installs what is missing of these; an error names what could not be had.
pub(crate) fn ensure_installed(tools: &BTreeSet<Tool>) -> Result<(), Failure> {
    let missing: Vec<Tool> = tools.iter().copied().filter(|tool| tool.find().is_none()).collect();
    let (mut packages, mut crates, mut requirements) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for tool in &missing {
        match tool.source {
            Source::Debian(package) => packages.insert(package),
            Source::Crate { name } => crates.insert(name),
            Source::Wheel { requirement } => requirements.insert(requirement),
        };
    }
    if !requirements.is_empty() && !python_can_make_environments() {
        packages.extend(["python3", "python3-venv"]);
    }
    if !packages.is_empty() {
        install_packages(&packages.into_iter().collect::<Vec<_>>())?;
    }
    for requirement in requirements {
        install_wheel(requirement)?;
    }
    for name in crates {
        println!("building {name}");
        install_crate(name)?;
    }
    for tool in missing {
        ensure!(tool.find().is_some(), "`{}` is nowhere after installing {:?}", tool.program, tool.source);
    }
    Ok(())
}

/// Builds a crate into cargo's own directory, where one build serves every clone. It is not optimised:
/// that takes half as long, and none of these tools works for more than a second.
fn install_crate(name: &str) -> Result<(), Failure> {
    let mut install = workspace::cargo(&format!("install --locked --debug --quiet {name}"));
    Ok(process::stream(install.env("CARGO_PROFILE_DEV_DEBUG", "0"), CRATE_DEADLINE)?)
}

/// Whether there is a Python that can make an environment; Debian packs that part separately.
fn python_can_make_environments() -> bool {
    let mut python = Command::new("python3");
    process::capture_success(python.args(["-c", "import ensurepip, venv"]), PYTHON_DEADLINE).is_ok()
}

fn install_wheel(requirement: &str) -> Result<(), Failure> {
    println!("installing the wheel {requirement}");
    let wheels = workspace::target_directory()?.join("wheels");
    process::capture_success(Command::new("python3").args(["-m", "venv"]).arg(&wheels), PYTHON_DEADLINE)?;
    let mut pip = Command::new(wheels.join("bin/pip"));
    process::capture_success(pip.args(["install", "--quiet", requirement]), PYTHON_DEADLINE)?;
    Ok(())
}

fn install_packages(packages: &[&str]) -> Result<(), Failure> {
    let names = packages.join(" ");
    ensure!(
        find("apt-get").is_some(),
        "missing, and this system has no apt-get to install them: what Debian packages as {names}"
    );
    ensure!(
        rustix::process::geteuid().is_root(),
        "missing, and only root can install them: run `sudo apt-get install {names}`, or this command as root"
    );
    println!("installing the packages {names}");
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

fn apt_get(arguments: &[&str]) -> Result<(), Failure> {
    let mut command = Command::new("apt-get");
    command.args(["--quiet=2", "-o", "DPkg::Lock::Timeout=120"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    process::capture_success(&mut command, APT_DEADLINE)?;
    Ok(())
}
