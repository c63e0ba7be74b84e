//! Listeners (RFC 9293 section 3.10.1, passive OPEN): which addresses are listened on, connections being opened to each,
//! and those that wait to be accepted.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use sunstar_wire::IpAddress;

use super::input::Effects;
use super::{ConnectionKey, ListenerKey, State, Tcp};
use crate::core::Core;
use crate::socket::{Ready, SocketError};
use crate::steering::PortSpace;

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

impl Tcp {
    /// Who listens on an address: on it alone before all of them.
    pub(super) fn listener_for(&self, local: SocketAddr) -> Option<ListenerKey> {
        [Some(local.ip()), None]
            .iter()
            .find_map(|address| self.listening.get(&(*address, local.port())).copied())
    }

    pub(crate) fn listen(
        &mut self,
        local: SocketAddr,
        address: Option<IpAddress>,
        backlog: usize,
    ) -> Option<ListenerKey> {
        let at = (address, local.port());
        if self.listening.contains_key(&at) {
            return None;
        }
        let key = self.listeners.insert(Listener::new(local, backlog));
        self.listening.insert(at, key);
        Some(key)
    }

    /// Nobody listens at an address any more.
    pub(crate) fn stop_listening(&mut self, local: SocketAddr) {
        let address = (!local.ip().is_unspecified()).then_some(local.ip());
        self.listening.remove(&(address, local.port()));
    }

    /// The listeners, for a listing.
    pub(crate) fn listening(&self) -> impl Iterator<Item = &Listener> {
        self.listening.values().filter_map(|key| self.listeners.get(*key))
    }

    pub(crate) fn is_listening(&self, address: Option<IpAddress>, port: u16) -> bool {
        self.listening.contains_key(&(address, port))
    }

    /// Closes a listener; whatever was not accepted is reset.
    pub(crate) fn close_listener(&mut self, core: &mut Core, key: ListenerKey) {
        let Some(listener) = self.listeners.remove(key) else { return };
        self.stop_listening(listener.local);
        core.release_port((PortSpace::Tcp, listener.local.port()));
        for key in listener.half_open.into_iter().chain(listener.queue) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.listener = None;
            let mut effects = Effects::default();
            if connection.state != State::Closed {
                effects.reset = Some(connection.snd_nxt);
                connection.fail(SocketError::ConnectionAborted, &mut effects);
            }
            self.apply(core, key, effects);
        }
    }

    pub(crate) fn listener_ready(&mut self, key: ListenerKey) -> Option<&mut Ready> {
        self.listeners.get_mut(key).map(|listener| &mut listener.ready)
    }
}
