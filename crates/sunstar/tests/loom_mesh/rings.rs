//! A ring of one writer and one reader with rtrb's interface, its orderings, and its habit of looking at the other end
//! only when what it last saw there is used up. What lies in a place is no concern of loom's: that rtrb guards its places
//! is rtrb's to show.

use std::cell::Cell;
use std::sync::Mutex;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};

pub(crate) struct RingBuffer<T> {
    places: Box<[Mutex<Option<T>>]>,
    /// Written so far.
    tail: AtomicUsize,
    /// Read so far.
    head: AtomicUsize,
}

impl<T> RingBuffer<T> {
    #[expect(clippy::new_ret_no_self, reason = "it is rtrb's interface")]
    pub(crate) fn new(capacity: usize) -> (Producer<T>, Consumer<T>) {
        let places = (0..capacity).map(|_| Mutex::new(None)).collect();
        let ring = Arc::new(Self { places, tail: AtomicUsize::new(0), head: AtomicUsize::new(0) });
        let producer = Producer { ring: Arc::clone(&ring), tail: 0, seen_head: 0 };
        (producer, Consumer { ring, head: 0, seen_tail: Cell::new(0) })
    }

    fn place(&self, at: usize) -> &Mutex<Option<T>> {
        &self.places[at % self.places.len()]
    }
}

#[derive(Debug)]
pub(crate) enum PushError<T> {
    Full(T),
}

#[derive(Debug)]
pub(crate) struct PopError;

pub(crate) struct Producer<T> {
    ring: Arc<RingBuffer<T>>,
    tail: usize,
    seen_head: usize,
}

impl<T> Producer<T> {
    pub(crate) fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        let capacity = self.ring.places.len();
        if self.tail - self.seen_head == capacity {
            self.seen_head = self.ring.head.load(Ordering::Acquire);
            if self.tail - self.seen_head == capacity {
                return Err(PushError::Full(value));
            }
        }
        let before = self.ring.place(self.tail).lock().unwrap().replace(value);
        assert!(before.is_none(), "a place is written before it was read");
        self.tail += 1;
        self.ring.tail.store(self.tail, Ordering::Release);
        Ok(())
    }
}

pub(crate) struct Consumer<T> {
    ring: Arc<RingBuffer<T>>,
    head: usize,
    seen_tail: Cell<usize>,
}

impl<T> Consumer<T> {
    pub(crate) fn slots(&self) -> usize {
        self.seen_tail.set(self.ring.tail.load(Ordering::Acquire));
        self.seen_tail.get() - self.head
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seen_tail.get() == self.head && self.slots() == 0
    }

    pub(crate) fn pop(&mut self) -> Result<T, PopError> {
        if self.is_empty() {
            return Err(PopError);
        }
        let value = self.ring.place(self.head).lock().unwrap().take();
        self.head += 1;
        self.ring.head.store(self.head, Ordering::Release);
        value.ok_or(PopError)
    }
}

impl<T> std::fmt::Debug for Producer<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Producer({} written)", self.tail)
    }
}

impl<T> std::fmt::Debug for Consumer<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Consumer({} read)", self.head)
    }
}
