//! The bodies of answers: bytes that are there, a pattern of any length, a file as it is read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::read::FilePart;

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
            Self::File(part) => part.remaining(),
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
