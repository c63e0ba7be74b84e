//! A socket with an owner, and the two ways to wait for it: polled, and as a future of its own.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::{fmt, io};

use sunstar_stack::{ConnectionKey, EchoKey, ListenerKey, Shard, SocketError, SocketHandle, UdpKey};

use super::waiters::WaitId;
use super::{Direction, Engine};

/// What names a socket of one kind.
pub(crate) trait SocketKey: Copy + fmt::Debug {
    /// The same among sockets of all kinds.
    fn handle(self) -> SocketHandle;
}

impl SocketKey for ConnectionKey {
    fn handle(self) -> SocketHandle {
        SocketHandle::Stream(self)
    }
}

impl SocketKey for ListenerKey {
    fn handle(self) -> SocketHandle {
        SocketHandle::Listener(self)
    }
}

impl SocketKey for UdpKey {
    fn handle(self) -> SocketHandle {
        SocketHandle::Udp(self)
    }
}

impl SocketKey for EchoKey {
    fn handle(self) -> SocketHandle {
        SocketHandle::Echo(self)
    }
}

/// A socket with an owner. Dropping it closes the socket.
pub(crate) struct Socket<K: SocketKey> {
    engine: Rc<Engine>,
    /// The shard it is a socket of, among those that had its number.
    incarnation: u32,
    key: K,
}

impl<K: SocketKey> Socket<K> {
    /// Takes a socket over.
    pub(crate) fn new(engine: Rc<Engine>, key: K) -> Self {
        engine.open(key.handle());
        Self { incarnation: engine.incarnation(), engine, key }
    }

    /// Waits until the socket has its port: every shard has to know first.
    pub(crate) async fn bound(&self) -> io::Result<()> {
        self.wait(Direction::Write, |shard, key| shard.bound(key.handle())).await
    }

    /// Calls the shard, if it still is the one that the socket belongs to.
    fn enter<T>(&self, call: impl FnOnce(&mut Shard, K) -> Result<T, SocketError>) -> Result<T, SocketError> {
        if self.incarnation != self.engine.incarnation() {
            return Err(SocketError::ConnectionAborted);
        }
        self.engine.call(|shard| call(shard, self.key))
    }

    /// Its shard's engine.
    pub(crate) fn engine(&self) -> &Rc<Engine> {
        &self.engine
    }

    /// Calls the shard. An error is the application's.
    pub(crate) fn call<T>(
        &self,
        call: impl FnOnce(&mut Shard, K) -> Result<T, SocketError>,
    ) -> io::Result<T> {
        Ok(self.enter(call)?)
    }

    /// Calls the shard in one direction, and remembers a refusal.
    fn attempt<T>(
        &self,
        direction: Direction,
        call: impl FnOnce(&mut Shard, K) -> Result<T, SocketError>,
    ) -> Result<T, SocketError> {
        let result = self.enter(call);
        if matches!(result, Err(SocketError::WouldBlock)) {
            self.engine.waiters.borrow_mut().on_would_block(self.key.handle(), direction);
        }
        result
    }

    /// Calls the shard in one direction, once.
    ///
    /// # Errors
    /// What the call says, `WouldBlock` among it.
    pub(crate) fn try_call<T>(
        &self,
        direction: Direction,
        call: impl FnOnce(&mut Shard, K) -> Result<T, SocketError>,
    ) -> io::Result<T> {
        Ok(self.attempt(direction, call)?)
    }

    /// Calls the shard; if the call would block, the task is woken when it may be tried again. The task that
    /// polled a direction last is the one that is woken.
    pub(crate) fn poll<T>(
        &self,
        context: &mut Context<'_>,
        direction: Direction,
        call: impl FnOnce(&mut Shard, K) -> Result<T, SocketError>,
    ) -> Poll<io::Result<T>> {
        match self.attempt(direction, call) {
            Err(SocketError::WouldBlock) => {
                let before =
                    self.engine.waiters.borrow_mut().poll(self.key.handle(), direction, context.waker());
                drop(before);
                Poll::Pending
            }
            result => Poll::Ready(result.map_err(io::Error::from)),
        }
    }

    /// Waits, as the only poller of a direction, until a call may be tried.
    pub(crate) fn poll_ready(&self, context: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        self.poll(context, direction, |_, _| self.unless_blocked(direction))
    }

    /// Waits until a call in this direction may be tried.
    pub(crate) async fn ready(&self, direction: Direction) -> io::Result<()> {
        self.wait(direction, |_, _| self.unless_blocked(direction)).await
    }

    fn unless_blocked(&self, direction: Direction) -> Result<(), SocketError> {
        match self.engine.waiters.borrow_mut().is_blocked(self.key.handle(), direction) {
            true => Err(SocketError::WouldBlock),
            false => Ok(()),
        }
    }

    /// Calls the shard until it no longer would block.
    pub(crate) fn wait<T, C>(&self, direction: Direction, call: C) -> Attempt<'_, K, C>
    where
        C: FnMut(&mut Shard, K) -> Result<T, SocketError>,
    {
        Attempt { socket: self, direction, id: None, call }
    }
}

impl<K: SocketKey> Drop for Socket<K> {
    fn drop(&mut self) {
        if self.incarnation == self.engine.incarnation() {
            self.engine.close(self.key.handle());
        }
    }
}

impl<K: SocketKey> fmt::Debug for Socket<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(formatter)
    }
}

/// A call that waits until it can be done. Any number may wait for one direction of one socket.
pub(crate) struct Attempt<'a, K: SocketKey, C> {
    socket: &'a Socket<K>,
    direction: Direction,
    id: Option<WaitId>,
    call: C,
}

// Nothing points into the call: it is only ever called.
impl<K: SocketKey, C> Unpin for Attempt<'_, K, C> {}

impl<K, C, T> Future for Attempt<'_, K, C>
where
    K: SocketKey,
    C: FnMut(&mut Shard, K) -> Result<T, SocketError>,
{
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let this = self.get_mut();
        match this.socket.attempt(this.direction, &mut this.call) {
            Err(SocketError::WouldBlock) => {
                let handle = this.socket.key.handle();
                let mut waiters = this.socket.engine.waiters.borrow_mut();
                let before = waiters.wait(handle, this.direction, &mut this.id, context.waker());
                drop(waiters);
                drop(before);
                Poll::Pending
            }
            result => Poll::Ready(result.map_err(io::Error::from)),
        }
    }
}

impl<K: SocketKey, C> Drop for Attempt<'_, K, C> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let handle = self.socket.key.handle();
            let waker = self.socket.engine.waiters.borrow_mut().forget(handle, self.direction, id);
            drop(waker);
        }
    }
}
