//! Reading files on a thread that must not wait: what the page cache holds is read at once, the rest by threads
//! that may block. The kernel reads ahead of both.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

/// Bytes that are read at a time: enough that the calls do not count, and copied in a few microseconds.
pub(super) const MAX_AT_ONCE: u64 = 64 << 10;

/// Whether to wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Only what the kernel has cached: `WouldBlock` for the rest.
    Cached,
    /// As long as it takes.
    Waits,
}

/// Whether what failed from the caches may succeed with the disk.
pub(super) fn is_worth_waiting(error: &io::Error) -> bool {
    // Not every file system can tell whether it would have to wait.
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Unsupported)
}

/// Reads exactly `len` bytes at an offset.
///
/// # Errors
/// What the system says; `UnexpectedEof` when the file has become shorter; `WouldBlock` or `Unsupported` when
/// not all of it can be had without waiting, and that is what was asked for.
pub(super) fn read_at(file: &File, position: u64, len: u64, patience: Patience) -> io::Result<Bytes> {
    let flags = match patience {
        Patience::Cached => ReadWriteFlags::NOWAIT,
        Patience::Waits => ReadWriteFlags::empty(),
    };
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut [IoSliceMut::new(&mut bytes[filled..])];
        match preadv2(file, rest, position + filled as u64, flags) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes.into())
}

/// A part of a file, read as it is sent.
#[derive(Debug)]
pub(super) struct FilePart {
    file: Arc<File>,
    position: u64,
    remaining: u64,
    waiting: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FilePart {
    /// `len` bytes from an offset on.
    pub(super) fn new(file: File, position: u64, len: u64) -> Self {
        Self { file: Arc::new(file), position, remaining: len, waiting: None }
    }

    /// Bytes not yet read.
    pub(super) fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next piece.
    ///
    /// # Errors
    /// As [`read_at`].
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let len = self.remaining.min(MAX_AT_ONCE);
        let mut waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => match read_at(&self.file, self.position, len, Patience::Cached) {
                Err(error) if is_worth_waiting(&error) => {
                    let (file, position) = (self.file.clone(), self.position);
                    tokio::task::spawn_blocking(move || read_at(&file, position, len, Patience::Waits))
                }
                read => return Poll::Ready(read.inspect(|piece| self.advance(piece))),
            },
        };
        let Poll::Ready(read) = Pin::new(&mut waiting).poll(context) else {
            self.waiting = Some(waiting);
            return Poll::Pending;
        };
        let piece = read.map_err(io::Error::other)??;
        self.advance(&piece);
        Poll::Ready(Ok(piece))
    }

    fn advance(&mut self, piece: &Bytes) {
        self.position += piece.len() as u64;
        self.remaining -= piece.len() as u64;
    }
}
