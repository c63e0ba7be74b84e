//! What must not outlive this process: children, network namespaces, scratch directories.
//!
//! Owners undo their own in `Drop`. A process ended by a signal runs no `Drop`, so every owner also
//! registers here, and the signal handler undoes what is still registered, newest first.

use std::path::{Path, PathBuf};
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

/// What the names of our namespaces and directories begin with; this process's id follows.
const NAME_PREFIX: &str = "sunstar-";

/// A name that tells whose it is, for when this process is killed before it can remove what bears it.
pub(crate) fn own_name(rest: &str) -> String {
    format!("{NAME_PREFIX}{}-{rest}", std::process::id())
}

/// Removes what earlier runs left whose process was killed before it could.
pub(crate) fn remove_abandoned() {
    for name in abandoned(Path::new("/run/netns")) {
        Leftover::Namespace(name).undo();
    }
    let temporary = std::env::temp_dir();
    for name in abandoned(&temporary) {
        Leftover::Directory(temporary.join(name)).undo();
    }
}

/// The entries whose name holds the id of a process that is no more.
fn abandoned(directory: &Path) -> Vec<String> {
    let is_abandoned = |name: &str| {
        let maker =
            name.strip_prefix(NAME_PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        maker.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists())
    };
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_abandoned(name)).collect()
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
        let path = std::env::temp_dir().join(own_name(&number.to_string()));
        std::fs::DirBuilder::new().mode(0o755).create(&path)?;
        let _registration = Registration::new(Leftover::Directory(path.clone()));
        Ok(Self { path, _registration })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        Leftover::Directory(self.path.clone()).undo();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_vanished_process_left_is_abandoned() {
        let directory = ScratchDirectory::new().unwrap();
        // No process id is as large as this (the kernel's limit is 2^22).
        for name in ["sunstar-99999999-0-tap", &own_name("0-tap"), "sunstar-notes", "other-99999999-0"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        assert_eq!(abandoned(directory.path()), ["sunstar-99999999-0-tap"]);
    }

    #[test]
    fn a_scratch_directory_is_gone_with_all_it_holds() {
        let directory = ScratchDirectory::new().unwrap();
        let path = directory.path().to_owned();
        std::fs::write(path.join("file"), "content").unwrap();
        drop(directory);
        assert!(!path.exists());
    }
}
