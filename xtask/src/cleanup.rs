//! What must not outlive this process: children, network namespaces, scratch directories.
//!
//! Owners undo their own in `Drop`. A process ended by a signal runs no `Drop`, so every owner also
//! registers here, and the signal handler undoes what is still registered, newest first.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Something to undo.
#[derive(Debug, Clone)]
pub(crate) enum Leftover {
    /// A process group whose leader we started and have not reaped, so that its id cannot be another's.
    Group(Pid),
    /// A network namespace we made.
    Namespace(String),
    /// A directory we made.
    Directory(PathBuf),
}

impl Leftover {
    /// Undoes it. What is already gone is no failure, and there is nobody to tell about another.
    pub(crate) fn undo(&self) {
        match self {
            Self::Group(leader) => {
                let _ = kill_process_group(*leader, Signal::KILL);
            }
            Self::Namespace(name) => remove_namespace(name),
            Self::Directory(path) => {
                let _ = std::fs::remove_dir_all(path);
            }
        }
    }
}

/// Ends what runs in the namespace, then deletes its name.
fn remove_namespace(name: &str) {
    let ip = |arguments: &[&str]| {
        Command::new("ip").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output()
    };
    if let Ok(inside) = ip(&["netns", "pids", name]) {
        let ids = String::from_utf8_lossy(&inside.stdout);
        for id in ids.split_whitespace().filter_map(|id| id.parse().ok().and_then(Pid::from_raw)) {
            let _ = kill_process(id, Signal::KILL);
        }
    }
    let _ = ip(&["netns", "delete", name]);
}

struct Registry {
    next: u64,
    entries: Vec<(u64, Leftover)>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { next: 0, entries: Vec::new() });

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a [`Leftover`] known to the signal handler; dropping it forgets the entry and undoes nothing.
#[derive(Debug)]
pub(crate) struct Registration(u64);

impl Registration {
    /// Registers what a signal must undo.
    pub(crate) fn new(leftover: Leftover) -> Self {
        let mut registry = registry();
        registry.next += 1;
        let id = registry.next;
        registry.entries.push((id, leftover));
        Self(id)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        registry().entries.retain(|(id, _)| *id != self.0);
    }
}

/// Has SIGINT, SIGTERM and SIGHUP undo everything registered and end this process with status 130.
pub(crate) fn on_signal() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        // Held until the exit, so that nothing new is registered meanwhile.
        let registry = registry();
        for (_, leftover) in registry.entries.iter().rev() {
            leftover.undo();
        }
        std::process::exit(130);
    })
}

/// A directory under the system's temporary one that is removed on drop. Everybody may enter and read
/// it, because some tests run the server as another user.
#[derive(Debug)]
pub(crate) struct ScratchDirectory {
    path: PathBuf,
    _registration: Registration,
}

impl ScratchDirectory {
    /// Makes a directory whose name holds this process's id and the number of the registration.
    pub(crate) fn new() -> Result<Self, std::io::Error> {
        use std::os::unix::fs::DirBuilderExt;

        let number = registry().next;
        let path = std::env::temp_dir().join(format!("sunstar-{}-{number}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o755).create(&path)?;
        let _registration = Registration::new(Leftover::Directory(path.clone()));
        Ok(Self { path, _registration })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        Leftover::Directory(self.path.clone()).undo();
    }
}
