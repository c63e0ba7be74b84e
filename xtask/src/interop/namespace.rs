//! Network namespaces of our own: made with unique names, and removed with everything in them.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::cleanup::{self, Leftover, Registration};
use crate::failure::Failure;
use crate::process::{self, Finished};

/// How long a command that only configures may take.
const CONFIGURE_DEADLINE: Duration = Duration::from_secs(20);

/// A network namespace with its loopback up. Dropping it ends what runs in it and removes it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    _registration: Registration,
}

impl Namespace {
    /// Makes one. The role is part of its name, for whoever looks.
    pub(crate) fn new(role: &str) -> Result<Self, Failure> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = cleanup::own_name(&format!("{number}-{role}"));
        let _registration = Registration::new(Leftover::Namespace(name.clone()));
        let namespace = Self { name, _registration };
        configure(Command::new("ip").args(["netns", "add", &namespace.name]))?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Makes one with a tap that is there before whoever opens it, the kernel's end configured: for commands that make no pause
    /// for that.
    pub(crate) fn with_tap(tap: &str, address: &str) -> Result<Self, Failure> {
        let namespace = Self::new("tap")?;
        namespace.ip(&["tuntap", "add", "dev", tap, "mode", "tap", "multi_queue", "vnet_hdr"])?;
        namespace.bring_up(tap, address)?;
        Ok(namespace)
    }

    /// A command that will run inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs `ip` with these arguments on the inside.
    pub(crate) fn ip(&self, arguments: &[&str]) -> Result<Finished, Failure> {
        configure(Command::new("ip").args(["-netns", &self.name]).args(arguments))
    }

    /// Runs a program inside that only configures or shows.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Result<Finished, Failure> {
        configure(self.command(program).args(arguments))
    }

    /// Gives an interface an address (with prefix length) and takes it up.
    pub(crate) fn bring_up(&self, interface: &str, address: &str) -> Result<(), Failure> {
        self.ip(&["address", "add", address, "dev", interface])?;
        self.ip(&["link", "set", interface, "up"])?;
        Ok(())
    }

    /// Has the kernel send by a congestion control where this route leads.
    pub(crate) fn send_by(&self, algorithm: &str, route: &[&str]) -> Result<(), Failure> {
        self.ip(&[&["route", "replace"], route, &["congctl", algorithm]].concat())?;
        Ok(())
    }

    /// Joins this namespace and another by a pair of virtual Ethernet interfaces.
    pub(crate) fn join(&self, here: &str, other: &Self, there: &str) -> Result<(), Failure> {
        let peer = ["type", "veth", "peer", "name", there, "netns", &other.name];
        self.ip(&[&["link", "add", "name", here], peer.as_slice()].concat())?;
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        Leftover::Namespace(self.name.clone()).undo();
    }
}

fn configure(command: &mut Command) -> Result<Finished, Failure> {
    Ok(process::capture_success(command, CONFIGURE_DEADLINE)?)
}
