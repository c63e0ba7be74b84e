//! The bodies of answers: bytes that are there, a pattern of any length, a file as it is read.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use rustix::buffer::spare_capacity;
use tokio::task::JoinHandle;

/// Bytes of a file that are read at a time.
pub(super) const CHUNK: u64 = 128 << 10;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Body {
    /// Bytes that are there; none once they were taken.
    Whole(Bytes),
    /// So many bytes of the pattern that `/bytes/N` sends.
    Pattern(Pattern),
    /// A part of a file.
    File(FilePart),
}

impl Body {
    /// A body without a byte.
    pub(super) fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    fn remaining(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Pattern(pattern) => pattern.remaining,
            Self::File(part) => part.remaining,
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if this.remaining() == 0 {
            return Poll::Ready(None);
        }
        let bytes = match this {
            Self::Whole(bytes) => Ok(std::mem::take(bytes)),
            Self::Pattern(pattern) => Ok(pattern.next()),
            Self::File(part) => ready!(part.poll_next(context)),
        };
        Poll::Ready(Some(bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}

/// Byte `i` is `i % 251`: a period that no power of two divides, so that a piece lost, doubled or moved shows.
#[derive(Debug)]
pub(super) struct Pattern {
    block: Bytes,
    remaining: u64,
}

impl Pattern {
    /// The period, in bytes.
    const PERIOD: usize = 251;

    /// Whole periods of the pattern, to cut bodies from.
    pub(super) fn block() -> Bytes {
        (0..Self::PERIOD * 512).map(|at| (at % Self::PERIOD) as u8).collect()
    }

    /// The first `len` bytes of the pattern, cut from `block` without copying.
    pub(super) fn new(block: &Bytes, len: u64) -> Self {
        Self { block: block.clone(), remaining: len }
    }

    fn next(&mut self) -> Bytes {
        let len = self.remaining.min(self.block.len() as u64);
        self.remaining -= len;
        self.block.slice(..len as usize)
    }
}

/// A part of a file. Threads that may block read it, one chunk ahead of what is sent, so that
/// neither the shard nor the peer waits for the disk.
#[derive(Debug)]
pub(super) struct FilePart {
    file: Arc<File>,
    position: u64,
    remaining: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FilePart {
    /// `len` bytes from an offset on.
    pub(super) fn new(file: File, position: u64, len: u64) -> Self {
        Self { file: Arc::new(file), position, remaining: len, reading: None }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut reading = self.reading.take().unwrap_or_else(|| self.read(self.position, self.remaining));
        let Poll::Ready(done) = Pin::new(&mut reading).poll(context) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        let chunk = done.map_err(io::Error::other)??;
        self.position += chunk.len() as u64;
        self.remaining -= chunk.len() as u64;
        if self.remaining > 0 {
            self.reading = Some(self.read(self.position, self.remaining));
        }
        Poll::Ready(Ok(chunk))
    }

    fn read(&self, position: u64, remaining: u64) -> JoinHandle<io::Result<Bytes>> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || read_at(&file, position, remaining.min(CHUNK)))
    }
}

/// Reads exactly `len` bytes at an offset.
///
/// # Errors
/// What the system says; `UnexpectedEof` when the file has become shorter.
pub(super) fn read_at(file: &File, mut position: u64, len: u64) -> io::Result<Bytes> {
    let len = usize::try_from(len).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        match rustix::io::pread(file, spare_capacity(&mut bytes), position) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => position += read as u64,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The allocator may have given more room than was asked for, and the file may have grown.
    bytes.truncate(len);
    Ok(bytes.into())
}
