//! One direction of a stream on its way from one thread to another: a bounded queue of pieces, and how it ends.
//!
//! The lock is held while a piece is queued or taken, never while bytes are copied. Nobody is woken, and no waker
//! is dropped, under it: a task's last waker drops the task, and that may own an end of this very pipe.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// Bytes that may be on their way in one direction.
pub(super) const CAPACITY: usize = 256 << 10;
/// Bytes of one piece at most.
pub(super) const PIECE: usize = 64 << 10;
/// A piece takes at least so much of the capacity: small ones cost more memory than their bytes.
const LEAST_CHARGE: usize = 512;

/// Why a stream ended other than in order.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: io::ErrorKind,
    message: Arc<str>,
}

impl Failure {
    /// The application has ended this direction itself.
    fn ended() -> Self {
        Self { kind: io::ErrorKind::BrokenPipe, message: "the stream was shut down for writing".into() }
    }

    /// The shard is gone, or going.
    fn aborted() -> Self {
        let message = "the connection was aborted: the network was shut down".into();
        Self { kind: io::ErrorKind::ConnectionAborted, message }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The stack's word for a connection that was taken from its owner: it is being shut down.
            io::ErrorKind::NotConnected => Self::aborted(),
            kind => Self { kind, message: error.to_string().into() },
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        io::Error::new(failure.kind, &*failure.message)
    }
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Bytes>,
    /// What the pieces take of the capacity.
    charged: usize,
    /// What follows the last piece.
    end: Option<Result<(), Failure>>,
    /// Why the reader takes no more.
    refusal: Option<Failure>,
    /// Whether there were pieces that the reader left, or that came too late for it.
    unread: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What an end may be woken or dropped with once the lock is let go.
type Wakers = [Option<Waker>; 2];

#[derive(Debug, Default)]
struct Pipe(Mutex<State>);

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes afterwards whom that concerns.
    fn change(&self, change: impl FnOnce(&mut State) -> Wakers) {
        let woken = change(&mut self.lock());
        woken.into_iter().flatten().for_each(Waker::wake);
    }
}

/// The end that pieces are put in at. Dropping it unended tells the reader that the network is gone.
#[derive(Debug)]
pub(super) struct PipeWriter(Arc<Pipe>);

/// The end that pieces come out at. Dropping it tells the writer the same, unless it has been told something else.
#[derive(Debug)]
pub(super) struct PipeReader(Arc<Pipe>);

/// Both ends of a new pipe.
pub(super) fn pipe() -> (PipeWriter, PipeReader) {
    let pipe = Arc::new(Pipe::default());
    (PipeWriter(Arc::clone(&pipe)), PipeReader(pipe))
}

impl PipeWriter {
    /// Waits until there is room; how many bytes of it.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<Result<usize, Failure>> {
        let mut state = self.0.lock();
        if let Some(refusal) = &state.refusal {
            return Poll::Ready(Err(refusal.clone()));
        }
        if state.end.is_some() {
            return Poll::Ready(Err(Failure::ended()));
        }
        if state.charged < CAPACITY {
            return Poll::Ready(Ok(CAPACITY - state.charged));
        }
        let before = state.writer.replace(context.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// Puts a piece in, that fits into the room there was.
    pub(super) fn push(&self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.0.change(|state| {
            if state.refusal.is_some() {
                state.unread = true;
                return [None, None];
            }
            state.charged += charge(&piece);
            state.pieces.push_back(piece);
            [state.reader.take(), None]
        });
    }

    /// Says what follows the last piece; the first word stands.
    ///
    /// # Errors
    /// Why the reader takes no more, if it does not.
    pub(super) fn end(&self, end: Result<(), Failure>) -> Result<(), Failure> {
        let mut refusal = None;
        self.0.change(|state| {
            state.end.get_or_insert(end);
            refusal = state.refusal.clone();
            [state.reader.take(), None]
        });
        refusal.map_or(Ok(()), Err)
    }

    /// Whether the reader has left something unread.
    pub(super) fn was_left_unread(&self) -> bool {
        self.0.lock().unread
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        // The reader may be gone; then nobody asks.
        let _ = self.end(Err(Failure::aborted()));
    }
}

impl PipeReader {
    /// Waits for the next piece; `None` is the end of the stream.
    pub(super) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        let mut state = self.0.lock();
        if let Some(piece) = state.pieces.pop_front() {
            state.charged -= charge(&piece);
            // A writer that waits is woken for half of the capacity, not for every piece of it.
            let writer = if state.charged <= CAPACITY / 2 { state.writer.take() } else { None };
            drop(state);
            writer.into_iter().for_each(Waker::wake);
            return Poll::Ready(Ok(Some(piece)));
        }
        if let Some(refusal) = &state.refusal {
            return Poll::Ready(Err(refusal.clone()));
        }
        if let Some(end) = &state.end {
            return Poll::Ready(end.clone().map(|()| None));
        }
        let before = state.reader.replace(context.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// Takes no more, and says why; the first word stands. Pieces that are there are thrown away.
    pub(super) fn refuse(&self, refusal: Failure) {
        let mut left = VecDeque::new();
        self.0.change(|state| {
            state.refusal.get_or_insert(refusal);
            left = std::mem::take(&mut state.pieces);
            state.unread |= !left.is_empty();
            state.charged = 0;
            [state.writer.take(), state.reader.take()]
        });
    }

    /// A part of the last piece was not read.
    pub(super) fn leave_unread(&self) {
        self.0.lock().unread = true;
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        self.refuse(Failure::aborted());
    }
}

fn charge(piece: &Bytes) -> usize {
    piece.len().max(LEAST_CHARGE)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counter() -> (Arc<Counter>, Waker) {
        let counter = Arc::new(Counter::default());
        (Arc::clone(&counter), counter.into())
    }

    fn next(reader: &PipeReader) -> Poll<Result<Option<Bytes>, io::ErrorKind>> {
        let polled = reader.poll_next(&mut Context::from_waker(Waker::noop()));
        polled.map_err(|failure| failure.kind)
    }

    fn room(writer: &PipeWriter, waker: &Waker) -> Poll<Result<usize, io::ErrorKind>> {
        writer.poll_room(&mut Context::from_waker(waker)).map_err(|failure| failure.kind)
    }

    #[test]
    fn pieces_come_out_in_order_and_then_the_end_again_and_again() {
        let (writer, reader) = pipe();
        assert!(next(&reader).is_pending());
        writer.push(Bytes::from_static(b"one"));
        writer.push(Bytes::new());
        writer.push(Bytes::from_static(b"two"));
        writer.end(Ok(())).unwrap();
        assert_eq!(next(&reader), Poll::Ready(Ok(Some(Bytes::from_static(b"one")))));
        assert_eq!(next(&reader), Poll::Ready(Ok(Some(Bytes::from_static(b"two")))));
        assert_eq!(next(&reader), Poll::Ready(Ok(None)));
        drop(writer);
        assert_eq!(next(&reader), Poll::Ready(Ok(None)), "the first word stands");
    }

    #[test]
    fn a_full_pipe_wakes_its_writer_when_half_of_it_is_free() {
        let (writer, reader) = pipe();
        let (woken, waker) = counter();
        while let Poll::Ready(Ok(room)) = room(&writer, &waker) {
            writer.push(Bytes::from(vec![0; room.min(CAPACITY / 4)]));
        }
        for expected in [0, 1, 1, 1] {
            assert!(matches!(next(&reader), Poll::Ready(Ok(Some(_)))));
            assert_eq!(woken.0.load(Ordering::Relaxed), expected);
        }
        assert_eq!(room(&writer, &waker), Poll::Ready(Ok(CAPACITY)));
    }

    #[test]
    fn a_writer_of_single_bytes_fills_the_pipe_with_few_of_them() {
        let (writer, _reader) = pipe();
        let mut pieces = 0;
        while room(&writer, Waker::noop()).is_ready() {
            writer.push(Bytes::from_static(b"x"));
            pieces += 1;
        }
        assert_eq!(pieces, CAPACITY / LEAST_CHARGE);
    }

    #[test]
    fn a_reader_that_is_gone_leaves_what_it_did_not_read_and_what_comes_after() {
        let (writer, reader) = pipe();
        let (woken, waker) = counter();
        writer.push(Bytes::from(vec![0; CAPACITY]));
        assert!(room(&writer, &waker).is_pending());
        drop(reader);
        assert!(writer.was_left_unread());
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(room(&writer, &waker), Poll::Ready(Err(io::ErrorKind::ConnectionAborted)));
        let (writer, reader) = pipe();
        drop(reader);
        assert!(!writer.was_left_unread());
        writer.push(Bytes::from_static(b"too late"));
        assert!(writer.was_left_unread());
    }

    #[test]
    fn a_writer_that_is_gone_without_an_end_is_an_error_and_no_end() {
        let (writer, reader) = pipe();
        writer.push(Bytes::from_static(b"half"));
        drop(writer);
        assert_eq!(next(&reader), Poll::Ready(Ok(Some(Bytes::from_static(b"half")))));
        assert_eq!(next(&reader), Poll::Ready(Err(io::ErrorKind::ConnectionAborted)));
    }
}
