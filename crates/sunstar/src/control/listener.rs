//! The socket's file: made for its owner alone, in the place of a dead one, and removed at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// Why a control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another program answers there.
    #[error("{path} is the control socket of a program that runs; choose another path, or end that program")]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Something else has that name.
    #[error("{path} is there already and is no socket; it was left as it is: choose another path")]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The system cannot bind a path of that length.
    #[error("{path} is too long for a socket, which may have 107 bytes; choose a shorter path")]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// What else the system says: mostly that the directory is missing, or not for this user.
    #[error(
        "a control socket cannot be opened at {path}: {source}; its directory has to exist, and be this user's to write to"
    )]
    System {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// An open control socket. Its file goes when this does.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file: one that another program has put there since is left alone.
    identity: (u64, u64),
}

impl ControlSocket {
    /// Opens one; whoever may write to the file may ask, and that is its owner alone.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub(crate) fn open(path: &Path) -> Result<Self, ControlError> {
        let system = |source: io::Error| ControlError::System { path: path.to_owned(), source };
        let address =
            SocketAddrUnix::new(path).map_err(|_| ControlError::TooLong { path: path.to_owned() })?;
        make_way(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|errno| system(errno.into()))?;
        // The kernel gives the file the mode of the socket (unix(7)), so that it never has another.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|errno| system(errno.into()))?;
        rustix::net::bind(&socket, &address).map_err(|errno| system(errno.into()))?;
        let file = fs::symlink_metadata(path).map_err(system)?;
        let opened =
            Self { listener: socket.into(), path: path.to_owned(), identity: (file.dev(), file.ino()) };
        rustix::net::listen(&opened.listener, BACKLOG).map_err(|errno| system(errno.into()))?;
        Ok(opened)
    }

    /// The listener, for the task that answers.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let is_ours =
            fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if is_ours {
            // It may be gone by now, and then that is that.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket of a program that is no more, and nothing else.
fn make_way(path: &Path) -> Result<(), ControlError> {
    match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(ControlError::NoSocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|source| ControlError::System { path: path.to_owned(), source })
        }
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            Err(ControlError::System { path: path.to_owned(), source })
        }
        Ok(_) | Err(_) => Err(ControlError::InUse { path: path.to_owned() }),
    }
}
