//! Files below one directory: found without ever leaving it, and told apart by what the client has already.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::content_type;
use super::range::Selection;
use super::read::{MAX_AT_ONCE, Patience, is_worth_waiting, read_at};

/// The file that stands for its directory.
const INDEX: &str = "index.html";

/// Why the files of a directory cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve files from {}: {source}; name a directory that you may read", path.display())]
pub(crate) struct DirectoryError {
    path: PathBuf,
    source: io::Error,
}

/// The directory whose files are served.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    root: Arc<OwnedFd>,
}

/// What a client asks of a file beyond its name, as far as it can be judged before the file is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    range: Option<String>,
    if_range: Option<String>,
    if_modified_since: Option<SystemTime>,
}

/// A file that was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Its length, in bytes.
    pub(super) len: u64,
    /// When it was last changed, in whole seconds.
    pub(super) modified: SystemTime,
    /// The media type its name promises.
    pub(super) content_type: &'static str,
    /// What of it is to be sent.
    pub(super) content: Content,
}

/// What of a file is to be sent.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing: the client has it.
    NotModified,
    /// Nothing: the client asks for what is not there.
    Unsatisfiable,
    /// These bytes of it.
    Bytes {
        /// Offset of the first.
        first: u64,
        /// How many.
        len: u64,
        /// Whether that is not all the file.
        is_part: bool,
        /// They themselves, if they are few, or else where they can be read.
        source: Source,
    },
}

/// Where a file's bytes are.
#[derive(Debug)]
pub(super) enum Source {
    /// In memory.
    Read(Bytes),
    /// In the open file.
    Open(File),
}

/// Why there is no file to send.
#[derive(Debug)]
pub(super) enum NotServed {
    /// None of that name, or none that may be seen.
    NotFound,
    /// It is a directory, and the path has no slash at its end.
    Directory,
    /// The system failed.
    Failed(io::Error),
}

impl From<Errno> for NotServed {
    fn from(errno: Errno) -> Self {
        match errno {
            // XDEV is what leaving the directory looks like; to the outside there is no such file.
            Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP | Errno::ACCESS | Errno::PERM => {
                Self::NotFound
            }
            Errno::NAMETOOLONG | Errno::INVAL | Errno::NXIO => Self::NotFound,
            other => Self::Failed(other.into()),
        }
    }
}

impl From<io::Error> for NotServed {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Files {
    /// Opens the directory.
    ///
    /// # Errors
    /// It is no directory, or may not be read; or the system cannot confine paths to it (openat2, Linux 5.6).
    pub(crate) fn open(path: &Path) -> Result<Self, DirectoryError> {
        let open = || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
            confined(&root, Path::new("."), Patience::Waits)?;
            Ok(Self { root: Arc::new(root) })
        };
        open().map_err(|errno: Errno| DirectoryError { path: path.to_owned(), source: errno.into() })
    }

    /// Finds the file that a request's path names, and decides what of it to send. Waits for the disk.
    pub(super) fn find(&self, request_path: &str, wish: &Wish) -> Result<Found, NotServed> {
        self.look(request_path, wish, Patience::Waits)
    }

    /// The same from the kernel's caches only; `None` if it would have to wait for the disk.
    pub(super) fn find_cached(&self, request_path: &str, wish: &Wish) -> Option<Result<Found, NotServed>> {
        match self.look(request_path, wish, Patience::Cached) {
            Err(NotServed::Failed(error)) if is_worth_waiting(&error) => None,
            found => Some(found),
        }
    }

    fn look(&self, request_path: &str, wish: &Wish, patience: Patience) -> Result<Found, NotServed> {
        let mut path = relative(request_path).ok_or(NotServed::NotFound)?;
        let mut file = File::from(confined(&self.root, &path, patience)?);
        let mut metadata = file.metadata()?;
        if metadata.is_dir() {
            if !request_path.ends_with('/') {
                return Err(NotServed::Directory);
            }
            path.push(INDEX);
            file = File::from(confined(&self.root, &path, patience)?);
            metadata = file.metadata()?;
        } else if request_path.ends_with('/') {
            return Err(NotServed::NotFound);
        }
        if !metadata.is_file() {
            return Err(NotServed::NotFound);
        }
        let (len, modified) = (metadata.len(), whole_seconds(metadata.modified()?));
        let content = wish.content(file, len, modified, patience)?;
        Ok(Found { len, modified, content_type: content_type::of(&path), content })
    }
}

impl Wish {
    /// Reads the headers of a request.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // RFC 9110 section 13.1.3: If-None-Match goes before If-Modified-Since; these files have no tags.
        let since = match headers.contains_key(header::IF_NONE_MATCH) {
            true => None,
            false => text(header::IF_MODIFIED_SINCE).and_then(|date| httpdate::parse_http_date(&date).ok()),
        };
        Self { range: text(header::RANGE), if_range: text(header::IF_RANGE), if_modified_since: since }
    }

    /// Asks for all of the file, whatever range was given.
    pub(super) fn ignore_range(&mut self) {
        self.range = None;
    }

    fn content(&self, file: File, len: u64, modified: SystemTime, patience: Patience) -> io::Result<Content> {
        if self.if_modified_since.is_some_and(|since| modified <= since) {
            return Ok(Content::NotModified);
        }
        // RFC 9110 section 13.1.5: the range counts only if the date is exactly that of the file.
        let unchanged = self
            .if_range
            .as_deref()
            .is_none_or(|validator| httpdate::parse_http_date(validator).is_ok_and(|date| date == modified));
        let selection = match &self.range {
            Some(range) if unchanged => Selection::parse(range, len),
            _ => Selection::Whole,
        };
        let (first, part, is_part) = match selection {
            Selection::Whole => (0, len, false),
            Selection::Part { first, last } => (first, last - first + 1, true),
            Selection::Unsatisfiable => return Ok(Content::Unsatisfiable),
        };
        let source = if part <= MAX_AT_ONCE {
            Source::Read(read_at(&file, first, part, patience)?)
        } else {
            Source::Open(file)
        };
        Ok(Content::Bytes { first, len: part, is_part, source })
    }
}

/// Opens a path below a directory. The kernel sees to it that neither `..` nor a symbolic link leads out, and that
/// nobody can change that between a check and its use. A FIFO or a device is opened without waiting for it.
fn confined(root: &OwnedFd, path: &Path, patience: Patience) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if patience == Patience::Cached {
        resolve |= ResolveFlags::CACHED;
    }
    loop {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            // A rename elsewhere raced with `..`; the kernel asks for another try.
            Err(Errno::AGAIN) if patience == Patience::Waits => {}
            Err(Errno::INTR) => {}
            opened => return opened,
        }
    }
}

/// The relative path that a request's path stands for; `None` if it is no name of a file.
fn relative(request_path: &str) -> Option<PathBuf> {
    let decoded = percent_decode_str(request_path).decode_utf8().ok()?;
    if decoded.contains('\0') {
        return None;
    }
    let mut path = PathBuf::from(".");
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => return None,
            name => path.push(name),
        }
    }
    Some(path)
}

/// HTTP dates have no fractions of a second.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests;
