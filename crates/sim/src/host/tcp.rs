//! What an application does with TCP sockets: it keeps what it still has to write, writes when there is room, and
//! reads what arrives unless it was told to stop.

use std::collections::VecDeque;
use std::net::SocketAddr;

use sunstar_stack::{
    ConnectOptions, ConnectionKey, ListenOptions, ListenerKey, Ready, Shutdown, SocketError, State, TcpInfo,
};

use super::Host;

/// Bytes read in one call.
const READ: usize = 64 << 10;

/// An application's side of one connection.
#[derive(Debug)]
pub(crate) struct Stream {
    /// What the stack has not taken yet.
    outgoing: VecDeque<u8>,
    /// What was read.
    received: Vec<u8>,
    reading: bool,
    /// Whether a FIN is to follow what is written.
    shutting_down: bool,
    /// Whether the connection is to be closed behind what is written.
    closing: bool,
    end_of_stream: bool,
    error: Option<SocketError>,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            outgoing: VecDeque::new(),
            received: Vec::new(),
            reading: true,
            shutting_down: false,
            closing: false,
            end_of_stream: false,
            error: None,
        }
    }
}

impl Host {
    /// Listens on a port of every address.
    ///
    /// # Panics
    /// When the port is taken.
    pub fn listen(&mut self, port: u16) -> ListenerKey {
        self.listen_with(port, ListenOptions::default())
    }

    /// The same with options.
    ///
    /// # Panics
    /// When the port is taken.
    pub fn listen_with(&mut self, port: u16, options: ListenOptions) -> ListenerKey {
        let local = SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), port);
        let listener = self.shard_mut().tcp_listen(local, &options).expect("a free port");
        self.application.listeners.push(listener);
        listener
    }

    /// Stops listening.
    pub fn close_listener(&mut self, listener: ListenerKey) {
        self.application.listeners.retain(|open| *open != listener);
        self.shard_mut().tcp_close_listener(listener);
    }

    /// The next complete connection, which is read from now on.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn accept(&mut self, listener: ListenerKey) -> ConnectionKey {
        self.try_accept(listener).expect("a connection to accept")
    }

    /// The next complete connection, if there is one.
    pub fn try_accept(&mut self, listener: ListenerKey) -> Option<ConnectionKey> {
        let (connection, _) = self.shard.tcp_accept(listener).ok()?;
        self.touched = true;
        self.application.streams.insert(connection, Stream::default());
        self.read(connection);
        Some(connection)
    }

    /// Starts to open a connection.
    ///
    /// # Panics
    /// When the stack refuses.
    #[track_caller]
    pub fn connect(&mut self, to: SocketAddr) -> ConnectionKey {
        self.connect_with(to, ConnectOptions::default())
    }

    /// Starts to open a connection from a port of its own choice.
    ///
    /// # Panics
    /// When the stack refuses.
    #[track_caller]
    pub fn connect_from(&mut self, port: u16, to: SocketAddr) -> ConnectionKey {
        let local = Some(self.at(port));
        self.connect_with(to, ConnectOptions { local })
    }

    #[track_caller]
    fn connect_with(&mut self, to: SocketAddr, options: ConnectOptions) -> ConnectionKey {
        let connection = self.shard_mut().tcp_connect(to, &options).expect("the stack opens a connection");
        self.application.streams.insert(connection, Stream::default());
        connection
    }

    /// Whether a connection is open; `WouldBlock` while it is being opened, or why it could not be.
    ///
    /// # Errors
    /// As the socket door says.
    pub fn connected(&mut self, connection: ConnectionKey) -> Result<(), SocketError> {
        self.shard.tcp_connected(connection)
    }

    /// Writes bytes: what the stack does not take now, it gets as soon as there is room.
    #[track_caller]
    pub fn send(&mut self, connection: ConnectionKey, bytes: &[u8]) {
        self.stream_mut(connection).outgoing.extend(bytes);
        self.write(connection);
    }

    /// Bytes the application has not been able to write yet.
    #[track_caller]
    pub fn unwritten(&self, connection: ConnectionKey) -> usize {
        self.stream(connection).outgoing.len()
    }

    /// What was read so far and not yet taken.
    #[track_caller]
    pub fn received(&self, connection: ConnectionKey) -> &[u8] {
        &self.stream(connection).received
    }

    /// Takes what was read so far.
    #[track_caller]
    pub fn take_received(&mut self, connection: ConnectionKey) -> Vec<u8> {
        std::mem::take(&mut self.stream_mut(connection).received)
    }

    /// Whether the end of the stream was read.
    #[track_caller]
    pub fn has_ended(&self, connection: ConnectionKey) -> bool {
        self.stream(connection).end_of_stream
    }

    /// Why the connection failed, once a call has said so.
    #[track_caller]
    pub fn error(&self, connection: ConnectionKey) -> Option<SocketError> {
        self.stream(connection).error
    }

    /// Reads nothing until it is told to again.
    #[track_caller]
    pub fn stop_reading(&mut self, connection: ConnectionKey) {
        self.stream_mut(connection).reading = false;
    }

    /// Reads again.
    #[track_caller]
    pub fn start_reading(&mut self, connection: ConnectionKey) {
        self.stream_mut(connection).reading = true;
        self.read(connection);
    }

    /// Reads once, so many bytes at most; how many there were.
    #[track_caller]
    pub fn read_some(&mut self, connection: ConnectionKey, len: usize) -> usize {
        let mut bytes = vec![0; len];
        let read = self.shard_mut().tcp_recv(connection, &mut bytes).unwrap_or(0);
        self.stream_mut(connection).received.extend_from_slice(&bytes[..read]);
        read
    }

    /// Sends a FIN behind what is written.
    #[track_caller]
    pub fn shutdown(&mut self, connection: ConnectionKey) {
        self.stream_mut(connection).shutting_down = true;
        self.write(connection);
    }

    /// Gives a connection up behind what is written.
    #[track_caller]
    pub fn close(&mut self, connection: ConnectionKey) {
        self.stream_mut(connection).closing = true;
        self.write(connection);
    }

    /// Ends a connection at once.
    #[track_caller]
    pub fn abort(&mut self, connection: ConnectionKey) {
        self.application.streams.remove(&connection).expect("a connection that is open");
        self.shard_mut().tcp_abort(connection);
    }

    /// A reading of a connection; `None` once it is gone.
    pub fn info(&self, connection: ConnectionKey) -> Option<TcpInfo> {
        self.shard.tcp_info(connection).ok()
    }

    /// The state of a connection; closed once it is gone.
    pub fn state(&self, connection: ConnectionKey) -> State {
        self.info(connection).map_or(State::Closed, |info| info.state)
    }

    #[track_caller]
    fn stream(&self, connection: ConnectionKey) -> &Stream {
        self.application.streams.get(&connection).expect("a connection that is open")
    }

    #[track_caller]
    fn stream_mut(&mut self, connection: ConnectionKey) -> &mut Stream {
        self.touched = true;
        self.application.streams.get_mut(&connection).expect("a connection that is open")
    }

    /// A connection became ready.
    pub(super) fn on_stream_ready(&mut self, connection: ConnectionKey, ready: Ready) {
        if !self.application.streams.contains_key(&connection) {
            return;
        }
        if ready.contains(Ready::READABLE) {
            self.read(connection);
        }
        if ready.contains(Ready::CLOSED) {
            let why = self.shard.tcp_connected(connection).err();
            self.fail(connection, why);
        } else if ready.contains(Ready::WRITABLE) {
            self.write(connection);
        }
    }

    fn fail(&mut self, connection: ConnectionKey, why: Option<SocketError>) {
        let Some(stream) = self.application.streams.get_mut(&connection) else { return };
        stream.error = stream.error.or(why.filter(|why| *why != SocketError::WouldBlock));
        if stream.closing {
            self.application.streams.remove(&connection);
            self.shard_mut().tcp_close(connection);
        }
    }

    /// Reads all there is, if the application reads at all.
    fn read(&mut self, connection: ConnectionKey) {
        let Some(stream) = self.application.streams.get_mut(&connection) else { return };
        if !stream.reading || stream.end_of_stream {
            return;
        }
        let mut bytes = vec![0; READ];
        let failed = loop {
            match self.shard.tcp_recv(connection, &mut bytes) {
                Ok(0) => {
                    stream.end_of_stream = true;
                    break None;
                }
                Ok(len) => stream.received.extend_from_slice(&bytes[..len]),
                Err(error) => break Some(error),
            }
        };
        self.touched = true;
        self.fail(connection, failed);
    }

    /// Writes as much as there is room for.
    fn write(&mut self, connection: ConnectionKey) {
        let Some(stream) = self.application.streams.get_mut(&connection) else { return };
        self.touched = true;
        let failed = loop {
            let (first, _) = stream.outgoing.as_slices();
            if first.is_empty() {
                break None;
            }
            match self.shard.tcp_send(connection, first) {
                Ok(len) => drop(stream.outgoing.drain(..len)),
                Err(SocketError::WouldBlock) => return,
                Err(error) => break Some(error),
            }
        };
        if stream.closing {
            self.application.streams.remove(&connection);
            self.shard.tcp_close(connection);
        } else if stream.shutting_down && failed.is_none() {
            // While it is being opened there is nothing to shut down yet; once it is open it becomes writable.
            match self.shard.tcp_shutdown(connection, Shutdown::Write) {
                Ok(()) => stream.shutting_down = false,
                Err(SocketError::NotConnected) => {}
                Err(error) => self.fail(connection, Some(error)),
            }
        } else {
            self.fail(connection, failed);
        }
    }
}
