//! TCP sockets (RFC 9293 section 3.9.1: OPEN, SEND, RECEIVE, CLOSE, STATUS, ABORT).

use std::io::IoSlice;
use std::net::SocketAddr;

use bytes::{Buf, Bytes};
use sunstar_packet::Fragment;
use sunstar_wire::IpAddress;

use super::{Ready, SocketError, SocketHandle};
use crate::shard::Shard;
use crate::steering::PortSpace;
use crate::tcp::{Connection, ConnectionKey, Keepalive, ListenerKey, State, Tuple};
use crate::time::Duration;

/// Given bytes that are rather copied: three pieces of this size fill a segment of an ordinary MTU.
const COPIED_BELOW: usize = 512;

/// How to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Complete connections that wait to be accepted at most.
    pub backlog: usize,
    /// Whether the port is shared by every shard that listens on it: each accepts the connections that hash to it. If
    /// not, all of the port's connections come to this shard.
    ///
    /// While a shared port has no listener on some shard, connections that hash there are refused. A port that is not
    /// shared had better lie outside of the ephemeral range: connections other shards have opened from it would be
    /// lost.
    pub shared: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 1_024, shared: false }
    }
}

/// How to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The source address and port; chosen if `None`, or each where it is unspecified or zero.
    pub local: Option<SocketAddr>,
}

/// Which directions to shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Nothing more will be read: what still arrives is acknowledged and thrown away.
    Read,
    /// Nothing more will be written: a FIN follows what was.
    Write,
    /// Both.
    Both,
}

impl Shard {
    /// Listens on an address and port; the unspecified address means all of the stack's, port 0 any free one.
    /// Among several shards the port is certain once [`Shard::bound`] says so.
    ///
    /// # Errors
    /// `AddressInUse`, `AddressNotAvailable`, `NoPortLeft`.
    pub fn tcp_listen(
        &mut self,
        mut local: SocketAddr,
        options: &ListenOptions,
    ) -> Result<ListenerKey, SocketError> {
        let address = (!local.ip().is_unspecified()).then_some(local.ip());
        if let Some(address) = address.filter(|address| !self.core.interfaces.is_local(*address)) {
            return Err(SocketError::AddressNotAvailable { address });
        }
        if local.port() == 0 {
            let range = self.core.config.ephemeral_ports;
            let count = u64::from(range.last.saturating_sub(range.first)) + 1;
            let start = self.core.random.below(count);
            let free = (0..count)
                .map(|step| range.first + ((start + step) % count) as u16)
                .filter(|port| self.core.may_choose((PortSpace::Tcp, *port)))
                .find(|port| !self.tcp.is_listening(address, *port));
            let none = SocketError::NoPortLeft { destination: local, first: range.first, last: range.last };
            local.set_port(free.ok_or(none)?);
        }
        let in_use = SocketError::AddressInUse { address: local };
        let key = self.tcp.listen(local, address, options.backlog).ok_or(in_use)?;
        let port = (PortSpace::Tcp, local.port());
        self.core.claim(port, options.shared, SocketHandle::Listener(key), local).inspect_err(|_| {
            self.tcp.listeners.remove(key);
            self.tcp.stop_listening(local);
        })?;
        Ok(key)
    }

    /// The next complete connection, and who opened it.
    ///
    /// # Errors
    /// `WouldBlock` while there is none, `Closed`.
    pub fn tcp_accept(&mut self, listener: ListenerKey) -> Result<(ConnectionKey, SocketAddr), SocketError> {
        let queue = &mut self.tcp.listeners.get_mut(listener).ok_or(SocketError::Closed)?.queue;
        while let Some(key) = queue.pop_front() {
            let Some(connection) = self.tcp.connections.get_mut(key) else { continue };
            connection.listener = None;
            connection.owned = true;
            if connection.receive.readable() > 0 || connection.fin_received || connection.error.is_some() {
                self.core.ready.set(&mut connection.ready, Ready::READABLE, SocketHandle::Stream(key));
            }
            return Ok((key, connection.remote()));
        }
        Err(SocketError::WouldBlock)
    }

    /// Where a listener listens.
    pub fn tcp_listener_addr(&self, listener: ListenerKey) -> Result<SocketAddr, SocketError> {
        Ok(self.tcp.listeners.get(listener).ok_or(SocketError::Closed)?.local)
    }

    /// Stops listening. Connections that were not accepted are reset.
    pub fn tcp_close_listener(&mut self, listener: ListenerKey) {
        self.tcp.close_listener(&mut self.core, listener);
    }

    /// Starts to open a connection. It is writable once it is open; [`Shard::tcp_connected`] tells.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `NetworkDown`, `AddressNotAvailable`, `AddressInUse`, `NoPortLeft`,
    /// `TooManyConnections`, `InvalidInput`.
    pub fn tcp_connect(
        &mut self,
        remote: SocketAddr,
        options: &ConnectOptions,
    ) -> Result<ConnectionKey, SocketError> {
        // RFC 9293 MUST-46.
        let to_many = match remote.ip() {
            IpAddress::V4(address) => address.is_multicast() || self.core.interfaces.is_broadcast(address),
            IpAddress::V6(address) => address.is_multicast(),
        };
        if remote.port() == 0 || remote.ip().is_unspecified() || to_many {
            return Err(SocketError::InvalidInput {
                what: "connect to a unicast address and a port above 0",
            });
        }
        let limit = self.core.config.tcp.max_connections;
        if self.tcp.connections.len() >= limit {
            return Err(SocketError::TooManyConnections { limit });
        }
        let source = options.local.map(|local| local.ip()).filter(|address| !address.is_unspecified());
        if let Some(address) = source.filter(|address| !self.core.interfaces.is_local(*address)) {
            return Err(SocketError::AddressNotAvailable { address });
        }
        let path = self
            .core
            .path(remote.ip(), source)
            .ok_or(SocketError::NetworkUnreachable { destination: remote.ip() })?;
        self.core.check_device(&path)?;
        let tuple = |port| Tuple::new(SocketAddr::new(path.source, port), remote);
        let port = match options.local.map(|local| local.port()).filter(|port| *port != 0) {
            Some(port) if self.tcp.is_taken(&tuple(port)) => {
                return Err(SocketError::AddressInUse { address: SocketAddr::new(path.source, port) });
            }
            Some(port) => match self.core.steered_to(&tuple(port).arriving()) {
                Some(shard) if shard != self.id() => {
                    let address = SocketAddr::new(path.source, port);
                    return Err(SocketError::PortElsewhere { address, shard: shard.0 });
                }
                _ => port,
            },
            None => {
                let range = self.core.config.ephemeral_ports;
                self.tcp.pick_port(&self.core, path.source, remote).ok_or(SocketError::NoPortLeft {
                    destination: remote,
                    first: range.first,
                    last: range.last,
                })?
            }
        };
        Ok(self.tcp.open(&mut self.core, tuple(port), path))
    }

    /// Whether a connection is open.
    ///
    /// # Errors
    /// `WouldBlock` while it is being opened; why it could not be; `Closed`.
    pub fn tcp_connected(&mut self, connection: ConnectionKey) -> Result<(), SocketError> {
        let connection = self.connection(connection)?;
        match connection.state {
            State::SynSent | State::SynReceived => Err(SocketError::WouldBlock),
            State::Closed => connection.error.map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    /// Takes bytes to be sent, by copying them; how many were accepted.
    ///
    /// # Errors
    /// `WouldBlock` while the send buffer is full, `BrokenPipe` after shutdown, why the connection ended, `Closed`.
    pub fn tcp_send(&mut self, connection: ConnectionKey, bytes: &[u8]) -> Result<usize, SocketError> {
        self.tcp_send_vectored(connection, &[IoSlice::new(bytes)])
    }

    /// As [`Shard::tcp_send`], from several pieces.
    pub fn tcp_send_vectored(
        &mut self,
        key: ConnectionKey,
        pieces: &[IoSlice<'_>],
    ) -> Result<usize, SocketError> {
        let limit = self.core.config.tcp.send_buffer;
        let pool = self.core.pool.clone();
        let connection = writable(self.tcp.connections.get_mut(key))?;
        let mut sent = 0;
        let mut wanted = 0;
        for piece in pieces {
            let taken = connection.send.write(&pool, piece, limit);
            wanted += piece.len();
            sent += taken;
            if taken < piece.len() {
                break;
            }
        }
        let starved = sent < wanted && connection.send.len() < limit;
        if starved {
            self.core.starved.insert(SocketHandle::Stream(key));
        }
        if sent == 0 && wanted > 0 {
            return Err(SocketError::WouldBlock);
        }
        self.tcp.update(&mut self.core, key);
        Ok(sent)
    }

    /// Takes bytes to be sent off the front of `bytes`, without copying unless they are few (a segment has room for
    /// few pieces); how many were accepted.
    ///
    /// # Errors
    /// As [`Shard::tcp_send`].
    pub fn tcp_send_bytes(&mut self, key: ConnectionKey, bytes: &mut Bytes) -> Result<usize, SocketError> {
        if bytes.len() < COPIED_BELOW {
            let sent = self.tcp_send(key, bytes)?;
            bytes.advance(sent);
            return Ok(sent);
        }
        let limit = self.core.config.tcp.send_buffer;
        let connection = writable(self.tcp.connections.get_mut(key))?;
        let wanted = !bytes.is_empty();
        let sent = connection.send.give(bytes, limit);
        if sent == 0 && wanted {
            return Err(SocketError::WouldBlock);
        }
        self.tcp.update(&mut self.core, key);
        Ok(sent)
    }

    /// Copies received bytes out; how many. Zero is the end of the stream (or an empty `into`).
    ///
    /// # Errors
    /// `WouldBlock` while there is nothing, why the connection ended, `Closed`.
    pub fn tcp_recv(&mut self, key: ConnectionKey, into: &mut [u8]) -> Result<usize, SocketError> {
        let mut filled = 0;
        self.tcp_recv_with(key, into.len(), |piece| {
            into[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        })
    }

    /// Hands received bytes to a reader, piece by piece and `limit` at most; how many. For readers whose memory
    /// is not initialised. Zero is the end of the stream (or a `limit` of zero).
    ///
    /// # Errors
    /// As [`Shard::tcp_recv`].
    pub fn tcp_recv_with(
        &mut self,
        key: ConnectionKey,
        limit: usize,
        reader: impl FnMut(&[u8]),
    ) -> Result<usize, SocketError> {
        let connection = self.tcp.connections.get_mut(key).ok_or(SocketError::Closed)?;
        if !readable(connection)? || limit == 0 {
            return Ok(0);
        }
        let len = connection.receive.read(limit, reader);
        self.after_read(key);
        Ok(len)
    }

    /// Copies received bytes without taking them; how many.
    ///
    /// # Errors
    /// As [`Shard::tcp_recv`].
    pub fn tcp_peek(&self, key: ConnectionKey, into: &mut [u8]) -> Result<usize, SocketError> {
        let connection = self.connection(key)?;
        if !readable(connection)? {
            return Ok(0);
        }
        Ok(connection.receive.peek(into))
    }

    /// Takes the next received bytes in the buffer they are in; `None` at the end of the stream.
    ///
    /// # Errors
    /// As [`Shard::tcp_recv`].
    pub fn tcp_recv_fragment(&mut self, key: ConnectionKey) -> Result<Option<Fragment>, SocketError> {
        let connection = self.tcp.connections.get_mut(key).ok_or(SocketError::Closed)?;
        if !readable(connection)? {
            return Ok(None);
        }
        let fragment = connection.receive.take_fragment();
        self.after_read(key);
        Ok(fragment)
    }

    /// The window may have opened.
    fn after_read(&mut self, key: ConnectionKey) {
        let Some(connection) = self.tcp.connections.get_mut(key) else { return };
        if connection.wants_window_update(&self.core.config.tcp) {
            connection.pending.ack = true;
            self.tcp.update(&mut self.core, key);
        }
    }

    /// Shuts a direction down. Writing: a FIN follows what was written.
    ///
    /// # Errors
    /// `NotConnected` unless the connection is open, `Closed`.
    pub fn tcp_shutdown(&mut self, key: ConnectionKey, how: Shutdown) -> Result<(), SocketError> {
        let connection = self.tcp.connections.get_mut(key).ok_or(SocketError::Closed)?;
        if !connection.state.is_synchronized() {
            return Err(SocketError::NotConnected);
        }
        if how != Shutdown::Write {
            connection.read_shutdown = true;
            connection.receive.clear();
            self.core.ready.set(&mut connection.ready, Ready::READABLE, SocketHandle::Stream(key));
            connection.pending.ack |= connection.wants_window_update(&self.core.config.tcp);
        }
        if how != Shutdown::Read {
            connection.fin_queued = true;
        }
        self.tcp.update(&mut self.core, key);
        Ok(())
    }

    /// Gives a connection up: what was written still goes out, for a while; with unread data, or a linger time of
    /// zero, the peer gets a RST (RFC 9293 section 3.6.1, RFC 1122 section 4.2.2.13). The handle is gone.
    pub fn tcp_close(&mut self, key: ConnectionKey) {
        let Some(connection) = self.tcp.connections.get_mut(key) else { return };
        let unread = connection.receive.readable() > 0 && !connection.read_shutdown;
        let opening = matches!(connection.state, State::SynSent | State::SynReceived);
        if unread || opening || connection.linger == Some(Duration::ZERO) {
            return self.tcp_abort(key);
        }
        connection.receive.clear();
        if connection.state == State::Closed {
            return self.tcp.forget(&mut self.core, key);
        }
        if !self.tcp.adopt_orphan(&mut self.core, key) {
            return self.tcp_abort(key);
        }
        let Some(connection) = self.tcp.connections.get_mut(key) else { return };
        connection.fin_queued = true;
        if connection.state == State::FinWait2 || connection.linger.is_some() {
            let patience = connection.linger.unwrap_or(self.core.config.tcp.orphan_timeout);
            connection.deadlines.orphan = Some(self.core.now + patience);
        }
        self.tcp.update(&mut self.core, key);
    }

    /// Ends a connection at once: the peer gets a RST. The handle is gone.
    pub fn tcp_abort(&mut self, key: ConnectionKey) {
        let Some(connection) = self.tcp.connections.get_mut(key) else { return };
        connection.owned = false;
        let tell = connection.state.is_synchronized() || connection.state == State::SynReceived;
        let (tuple, sequence, over) =
            (connection.tuple, connection.snd_nxt, connection.state == State::Closed);
        if tell {
            self.tcp.reset(&mut self.core, &tuple, sequence, None);
        }
        if !over {
            self.core.counters.tcp.aborted += 1;
        }
        self.tcp.forget(&mut self.core, key);
    }

    /// Whether small segments go out at once (Nagle's rule off, RFC 9293 MUST-17).
    pub fn tcp_set_nodelay(&mut self, key: ConnectionKey, nodelay: bool) -> Result<(), SocketError> {
        self.connection_mut(key)?.nodelay = nodelay;
        self.tcp.update(&mut self.core, key);
        Ok(())
    }

    /// Whether small segments go out at once.
    pub fn tcp_nodelay(&self, key: ConnectionKey) -> Result<bool, SocketError> {
        Ok(self.connection(key)?.nodelay)
    }

    /// How long a closed connection may take to hand over what was written; zero: it is reset at once.
    pub fn tcp_set_linger(
        &mut self,
        key: ConnectionKey,
        linger: Option<Duration>,
    ) -> Result<(), SocketError> {
        self.connection_mut(key)?.linger = linger;
        Ok(())
    }

    /// The linger time.
    pub fn tcp_linger(&self, key: ConnectionKey) -> Result<Option<Duration>, SocketError> {
        Ok(self.connection(key)?.linger)
    }

    /// Whether and when a silent peer is asked whether it is still there. Off by default (RFC 9293 MUST-25).
    pub fn tcp_set_keepalive(
        &mut self,
        key: ConnectionKey,
        keepalive: Option<Keepalive>,
    ) -> Result<(), SocketError> {
        let connection = self.connection_mut(key)?;
        connection.keepalive = keepalive.map(Keepalive::sensible);
        connection.deadlines.keepalive = None;
        self.tcp.update(&mut self.core, key);
        Ok(())
    }

    /// How long something may stay unacknowledged before the connection is given up (RFC 5482; R2 by default).
    pub fn tcp_set_user_timeout(
        &mut self,
        key: ConnectionKey,
        timeout: Option<Duration>,
    ) -> Result<(), SocketError> {
        let connection = self.connection_mut(key)?;
        connection.user_timeout = timeout;
        connection.deadlines.retransmit =
            connection.deadlines.retransmit.map(|deadline| connection.by_user_timeout(deadline));
        self.tcp.update(&mut self.core, key);
        Ok(())
    }

    /// Our end of a connection.
    pub fn tcp_local_addr(&self, key: ConnectionKey) -> Result<SocketAddr, SocketError> {
        Ok(self.connection(key)?.local())
    }

    /// The other end of a connection.
    pub fn tcp_peer_addr(&self, key: ConnectionKey) -> Result<SocketAddr, SocketError> {
        Ok(self.connection(key)?.remote())
    }

    pub(super) fn connection(&self, key: ConnectionKey) -> Result<&Connection, SocketError> {
        self.tcp.connections.get(key).ok_or(SocketError::Closed)
    }

    fn connection_mut(&mut self, key: ConnectionKey) -> Result<&mut Connection, SocketError> {
        self.tcp.connections.get_mut(key).ok_or(SocketError::Closed)
    }
}

/// The connection, if its application may write.
fn writable(connection: Option<&mut Connection>) -> Result<&mut Connection, SocketError> {
    let connection = connection.ok_or(SocketError::Closed)?;
    if connection.state == State::Closed {
        return Err(connection.end_error());
    }
    if connection.fin_queued || !connection.state.may_send() {
        return Err(SocketError::BrokenPipe);
    }
    if connection.state == State::SynSent {
        return Err(SocketError::WouldBlock);
    }
    Ok(connection)
}

/// Whether there is something to read; false at the end of the stream.
fn readable(connection: &Connection) -> Result<bool, SocketError> {
    if connection.receive.readable() > 0 {
        return Ok(true);
    }
    if connection.fin_received || connection.read_shutdown {
        return Ok(false);
    }
    match (connection.state, connection.error) {
        (_, Some(error)) => Err(error),
        (State::Closed, None) => Ok(false),
        _ => Err(SocketError::WouldBlock),
    }
}
