//! Where control sockets are unless something else is said: one directory for each user, which nobody else can write to.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::PathBuf;

use rustix::process::getuid;

use super::program;

/// Why there is no default place for control sockets.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be made, or looked at.
    #[error("{path} cannot be used for control sockets: {source}; name a path for the socket")]
    System {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else could put sockets there.
    #[error(
        "{path} is not used for control sockets: it has to be a directory of this user's with mode 700, and is not; remove it, or name a path for the socket"
    )]
    NotPrivate {
        /// The directory.
        path: PathBuf,
    },
}

/// The user's directory for control sockets: `sunstar` below `$XDG_RUNTIME_DIR`, or `/tmp/sunstar-UID` without that. Made
/// if it is missing.
///
/// # Errors
/// It cannot be made, or is not the user's alone.
pub fn default_directory() -> Result<PathBuf, DirectoryError> {
    let path = match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute())
    {
        Some(runtime) => runtime.join("sunstar"),
        None => PathBuf::from(format!("/tmp/sunstar-{}", getuid().as_raw())),
    };
    let system = |source| DirectoryError::System { path: path.clone(), source };
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(system(error)),
        Ok(()) | Err(_) => {}
    }
    // What is there may be anybody's, and a link may lead anywhere.
    let there = fs::symlink_metadata(&path).map_err(system)?;
    let is_private = there.is_dir() && there.uid() == getuid().as_raw() && there.mode() & 0o077 == 0;
    if is_private { Ok(path) } else { Err(DirectoryError::NotPrivate { path }) }
}

/// Where a stack of this process has its control socket unless something else is said: named by program and process.
///
/// # Errors
/// As [`default_directory`].
pub fn default_path() -> Result<PathBuf, DirectoryError> {
    Ok(default_directory()?.join(format!("{}-{}.sock", program(), std::process::id())))
}

/// The sockets in the user's directory, in the order of their names; some may be of programs that are no more.
///
/// # Errors
/// As [`default_directory`].
pub fn sockets() -> Result<Vec<PathBuf>, DirectoryError> {
    let path = default_directory()?;
    let entries = fs::read_dir(&path).map_err(|source| DirectoryError::System { path, source })?;
    let is_socket = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|it| it.is_socket());
    let mut sockets: Vec<_> = entries.flatten().filter(is_socket).map(|entry| entry.path()).collect();
    sockets.sort();
    Ok(sockets)
}
