//! A listener: connections being opened to it, and those that wait to be accepted.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::ConnectionKey;
use crate::socket::Ready;

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) local: SocketAddr,
    /// Connections that wait to be accepted at most.
    pub(crate) backlog: usize,
    /// Connections in SYN-RECEIVED.
    pub(crate) half_open: BTreeSet<ConnectionKey>,
    /// Complete connections, oldest first.
    pub(crate) queue: VecDeque<ConnectionKey>,
    pub(crate) ready: Ready,
}

impl Listener {
    pub(crate) fn new(local: SocketAddr, backlog: usize) -> Self {
        Self {
            local,
            backlog: backlog.max(1),
            half_open: BTreeSet::new(),
            queue: VecDeque::new(),
            ready: Ready::NONE,
        }
    }

    /// Whether a SYN can be taken.
    pub(crate) fn takes_syn(&self, syn_backlog: usize) -> bool {
        self.half_open.len() < syn_backlog && self.queue.len() < self.backlog
    }
}
