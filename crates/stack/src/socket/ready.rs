//! Which sockets became ready: edges, each handle in the queue once at most.

use std::collections::VecDeque;
use std::ops::{BitOr, BitOrAssign};

use crate::ip::icmp::EchoKey;
use crate::tcp::{ConnectionKey, ListenerKey};
use crate::udp::UdpKey;

/// A socket of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SocketHandle {
    /// A TCP listener.
    Listener(ListenerKey),
    /// A TCP connection.
    Stream(ConnectionKey),
    /// A UDP socket.
    Udp(UdpKey),
    /// An echo socket.
    Echo(EchoKey),
}

/// What a socket became ready for, since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready(u8);

impl Ready {
    /// Nothing.
    pub const NONE: Ready = Ready(0);
    /// There is something to receive or to accept, or the end of the stream.
    pub const READABLE: Ready = Ready(1);
    /// There is room to send.
    pub const WRITABLE: Ready = Ready(2);
    /// The connection is over; every call tells why.
    pub const CLOSED: Ready = Ready(4);

    /// Whether all of `other` is in it.
    pub fn contains(self, other: Ready) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Ready {
    type Output = Ready;

    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Ready) {
        self.0 |= other.0;
    }
}

/// Sockets that became ready. As long as there are sockets at most: each stands in it once.
#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    queue: VecDeque<SocketHandle>,
}

impl ReadyQueue {
    /// Notes that a socket became ready. `noted` is the socket's own: what was noted and not yet fetched.
    pub(crate) fn set(&mut self, noted: &mut Ready, ready: Ready, handle: SocketHandle) {
        if noted.is_empty() && !ready.is_empty() {
            self.queue.push_back(handle);
        }
        *noted |= ready;
    }

    pub(crate) fn pop(&mut self) -> Option<SocketHandle> {
        self.queue.pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
