//! Who waits for a socket: the wakers that the stack itself knows nothing of.
//!
//! A direction of a socket has one place for whoever polls it (as `AsyncRead` and `AsyncWrite` have it), and a list
//! for futures that wait on their own; each of those takes itself off when it is dropped, so the
//! list is never longer than there are such futures.

use std::task::Waker;

use slotmap::SecondaryMap;
use sunstar_stack::{ConnectionKey, EchoKey, ListenerKey, Ready, SocketHandle, UdpKey};

/// The two directions of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Receiving, or accepting.
    Read,
    /// Sending, or being connected.
    Write,
}

impl Direction {
    /// The edge that ends a wait in this direction, besides the end of the connection.
    pub(crate) fn edge(self) -> Ready {
        match self {
            Direction::Read => Ready::READABLE,
            Direction::Write => Ready::WRITABLE,
        }
    }
}

/// Names a waiting future among those of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitId(u64);

/// Those who wait for one direction.
#[derive(Debug, Default)]
struct Side {
    /// Whether a call in this direction would block, as far as is known.
    blocked: bool,
    poller: Option<Waker>,
    futures: Vec<(WaitId, Waker)>,
}

/// Those who wait for one socket.
#[derive(Debug)]
pub(crate) struct Waiters {
    read: Side,
    write: Side,
}

impl Waiters {
    /// Nobody waits for a new socket. It may be written to, and nothing has come yet.
    fn new() -> Self {
        Self { read: Side { blocked: true, ..Side::default() }, write: Side::default() }
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// Moves the wakers of everybody that these edges concern to `woken`.
    fn take(&mut self, ready: Ready, woken: &mut Vec<Waker>) {
        for direction in [Direction::Read, Direction::Write] {
            if !(ready.contains(direction.edge()) || ready.contains(Ready::CLOSED)) {
                continue;
            }
            let side = self.side(direction);
            side.blocked = false;
            woken.extend(side.poller.take());
            woken.extend(side.futures.drain(..).map(|(_, waker)| waker));
        }
    }

    /// The wakers of everybody.
    fn into_wakers(mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        self.take(Ready::CLOSED, &mut woken);
        woken
    }
}

/// Those who wait, for every socket that has an owner.
#[derive(Debug, Default)]
pub(crate) struct WaiterTable {
    streams: SecondaryMap<ConnectionKey, Waiters>,
    listeners: SecondaryMap<ListenerKey, Waiters>,
    udp: SecondaryMap<UdpKey, Waiters>,
    echo: SecondaryMap<EchoKey, Waiters>,
    next_id: u64,
}

impl WaiterTable {
    /// A socket has an owner now.
    pub(crate) fn open(&mut self, handle: SocketHandle) {
        match handle {
            SocketHandle::Stream(key) => drop(self.streams.insert(key, Waiters::new())),
            SocketHandle::Listener(key) => drop(self.listeners.insert(key, Waiters::new())),
            SocketHandle::Udp(key) => drop(self.udp.insert(key, Waiters::new())),
            SocketHandle::Echo(key) => drop(self.echo.insert(key, Waiters::new())),
        }
    }

    /// A socket has no owner any more. Whoever still waited is to be woken.
    pub(crate) fn close(&mut self, handle: SocketHandle) -> Vec<Waker> {
        let waiters = match handle {
            SocketHandle::Stream(key) => self.streams.remove(key),
            SocketHandle::Listener(key) => self.listeners.remove(key),
            SocketHandle::Udp(key) => self.udp.remove(key),
            SocketHandle::Echo(key) => self.echo.remove(key),
        };
        waiters.map(Waiters::into_wakers).unwrap_or_default()
    }

    /// No socket has an owner any more. Whoever still waited is to be woken.
    pub(crate) fn close_all(&mut self) -> Vec<Waker> {
        let Self { streams, listeners, udp, echo, .. } = self;
        let streams = streams.drain().map(|(_, waiters)| waiters);
        let listeners = listeners.drain().map(|(_, waiters)| waiters);
        let udp = udp.drain().map(|(_, waiters)| waiters);
        let echo = echo.drain().map(|(_, waiters)| waiters);
        streams.chain(listeners).chain(udp).chain(echo).flat_map(Waiters::into_wakers).collect()
    }

    fn get_mut(&mut self, handle: SocketHandle) -> Option<&mut Waiters> {
        match handle {
            SocketHandle::Stream(key) => self.streams.get_mut(key),
            SocketHandle::Listener(key) => self.listeners.get_mut(key),
            SocketHandle::Udp(key) => self.udp.get_mut(key),
            SocketHandle::Echo(key) => self.echo.get_mut(key),
        }
    }

    /// A call in this direction said that it would block.
    pub(crate) fn on_would_block(&mut self, handle: SocketHandle, direction: Direction) {
        if let Some(waiters) = self.get_mut(handle) {
            waiters.side(direction).blocked = true;
        }
    }

    /// Whether a call in this direction would block: the last one did, or there was none, and no edge has come since.
    pub(crate) fn is_blocked(&mut self, handle: SocketHandle, direction: Direction) -> bool {
        self.get_mut(handle).is_some_and(|waiters| waiters.side(direction).blocked)
    }

    /// Wakes `waker` at the next edge, in place of whoever polled this direction before. That one's waker comes
    /// back, to be dropped where no table is borrowed: it may be a task's last.
    pub(crate) fn poll(
        &mut self,
        handle: SocketHandle,
        direction: Direction,
        waker: &Waker,
    ) -> Option<Waker> {
        let poller = &mut self.get_mut(handle)?.side(direction).poller;
        match poller {
            Some(before) if before.will_wake(waker) => None,
            _ => poller.replace(waker.clone()),
        }
    }

    /// Wakes `waker` at the next edge, besides all others. A future that waits already says who it is.
    pub(crate) fn wait(
        &mut self,
        handle: SocketHandle,
        direction: Direction,
        id: &mut Option<WaitId>,
        waker: &Waker,
    ) -> Option<Waker> {
        let next_id = self.next_id;
        let side = self.get_mut(handle)?.side(direction);
        let waiting = side.futures.iter_mut().find(|(other, _)| Some(*other) == *id);
        match waiting {
            Some((_, before)) if before.will_wake(waker) => None,
            Some((_, before)) => Some(std::mem::replace(before, waker.clone())),
            None => {
                let new = WaitId(next_id);
                side.futures.push((new, waker.clone()));
                *id = Some(new);
                self.next_id += 1;
                None
            }
        }
    }

    /// A future no longer waits. Its waker comes back.
    pub(crate) fn forget(&mut self, handle: SocketHandle, direction: Direction, id: WaitId) -> Option<Waker> {
        let futures = &mut self.get_mut(handle)?.side(direction).futures;
        let at = futures.iter().position(|(other, _)| *other == id)?;
        Some(futures.swap_remove(at).1)
    }

    /// Moves the wakers of everybody that a socket's edges concern to `woken`.
    pub(crate) fn take(&mut self, handle: SocketHandle, ready: Ready, woken: &mut Vec<Waker>) {
        if let Some(waiters) = self.get_mut(handle) {
            waiters.take(ready, woken);
        }
    }

    /// Every listener that has an owner.
    pub(crate) fn listeners(&self) -> Vec<ListenerKey> {
        self.listeners.keys().collect()
    }

    /// Every connection that has an owner.
    pub(crate) fn streams(&self) -> Vec<ConnectionKey> {
        self.streams.keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use slotmap::SlotMap;

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

    fn table() -> (WaiterTable, SocketHandle) {
        let mut table = WaiterTable::default();
        let handle = SocketHandle::Udp(SlotMap::<UdpKey, ()>::with_key().insert(()));
        table.open(handle);
        (table, handle)
    }

    fn wake(table: &mut WaiterTable, handle: SocketHandle, ready: Ready) {
        let mut woken = Vec::new();
        table.take(handle, ready, &mut woken);
        woken.into_iter().for_each(Waker::wake);
    }

    #[test]
    fn an_edge_wakes_the_poller_and_every_future_of_its_direction_once() {
        let (mut table, handle) = table();
        let ((poller, a), (first, b), (second, c), (writer, d)) =
            (counter(), counter(), counter(), counter());
        table.poll(handle, Direction::Read, &a);
        table.wait(handle, Direction::Read, &mut None, &b);
        table.wait(handle, Direction::Read, &mut None, &c);
        table.poll(handle, Direction::Write, &d);
        wake(&mut table, handle, Ready::READABLE);
        wake(&mut table, handle, Ready::READABLE);
        let counts = [&poller, &first, &second, &writer].map(|it| it.0.load(Ordering::Relaxed));
        assert_eq!(counts, [1, 1, 1, 0]);
        wake(&mut table, handle, Ready::CLOSED);
        assert_eq!(writer.0.load(Ordering::Relaxed), 1, "the end concerns both directions");
    }

    #[test]
    fn a_future_that_is_polled_again_waits_once_and_one_that_is_dropped_not_at_all() {
        let (mut table, handle) = table();
        let ((old, a), (new, b)) = (counter(), counter());
        let mut id = None;
        assert!(table.wait(handle, Direction::Read, &mut id, &a).is_none());
        assert!(table.wait(handle, Direction::Read, &mut id, &a).is_none());
        assert!(table.wait(handle, Direction::Read, &mut id, &b).is_some(), "the old waker comes back");
        wake(&mut table, handle, Ready::READABLE);
        assert_eq!((old.0.load(Ordering::Relaxed), new.0.load(Ordering::Relaxed)), (0, 1));
        table.wait(handle, Direction::Read, &mut id, &b);
        assert!(table.forget(handle, Direction::Read, id.unwrap()).is_some());
        wake(&mut table, handle, Ready::READABLE);
        assert_eq!(new.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_direction_is_blocked_from_the_refusal_to_the_next_edge() {
        let (mut table, handle) = table();
        assert!(!table.is_blocked(handle, Direction::Write));
        table.on_would_block(handle, Direction::Write);
        wake(&mut table, handle, Ready::READABLE);
        assert!(table.is_blocked(handle, Direction::Write));
        wake(&mut table, handle, Ready::WRITABLE);
        assert!(!table.is_blocked(handle, Direction::Write));
    }

    #[test]
    fn whoever_waits_for_a_socket_that_closes_is_woken() {
        let (mut table, handle) = table();
        let (waiting, waker) = counter();
        table.wait(handle, Direction::Write, &mut None, &waker);
        table.close(handle).into_iter().for_each(Waker::wake);
        assert_eq!(waiting.0.load(Ordering::Relaxed), 1);
        assert!(table.poll(handle, Direction::Read, &waker).is_none(), "a closed socket keeps no waker");
    }
}
