//! What the applications of a cluster do: the socket door of each shard, remembered so that it can be closed.

use std::net::{Ipv4Addr, SocketAddr};

use sunstar_stack::{
    ConnectOptions, ConnectionKey, EchoKey, EchoRequest, ListenOptions, ListenerKey, SocketError,
    SocketHandle, UdpKey, UdpTransmit,
};

use super::Cluster;

fn any(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)
}

impl Cluster {
    /// Listens on a shard, for itself or for its share.
    ///
    /// # Errors
    /// As the socket door says.
    pub fn try_listen(&mut self, shard: usize, port: u16, shared: bool) -> Result<ListenerKey, SocketError> {
        let options = ListenOptions { shared, ..ListenOptions::default() };
        let key = self.shard_mut(shard).tcp_listen(any(port), &options)?;
        self.machine.members[shard].open.push(SocketHandle::Listener(key));
        Ok(key)
    }

    /// Listens on a shard, and waits until the port is bound.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn listen(&mut self, shard: usize, port: u16, shared: bool) -> ListenerKey {
        let key = self.try_listen(shard, port, shared).expect("a free port");
        self.until_bound(shard, SocketHandle::Listener(key)).expect("the port is bound");
        key
    }

    /// Waits until it is decided whether a socket has its port.
    ///
    /// # Errors
    /// As the socket door says.
    ///
    /// # Panics
    /// When it is not decided within a second.
    #[track_caller]
    pub fn until_bound(&mut self, shard: usize, handle: SocketHandle) -> Result<(), SocketError> {
        let undecided = |cluster: &Self| cluster.shard(shard).bound(handle) == Err(SocketError::WouldBlock);
        let decided = self.drive_until(|cluster| !undecided(cluster), crate::secs(1));
        assert!(decided, "nobody decides who has the port of {handle:?}");
        self.shard(shard).bound(handle)
    }

    /// Stops listening.
    pub fn close_listener(&mut self, shard: usize, listener: ListenerKey) {
        self.machine.members[shard].open.retain(|open| *open != SocketHandle::Listener(listener));
        self.shard_mut(shard).tcp_close_listener(listener);
    }

    /// The next complete connection of a listener, if there is one.
    pub fn accept(&mut self, shard: usize, listener: ListenerKey) -> Option<ConnectionKey> {
        let (key, _) = self.machine.members[shard].shard.tcp_accept(listener).ok()?;
        self.machine.members[shard].touched = true;
        self.machine.members[shard].open.push(SocketHandle::Stream(key));
        Some(key)
    }

    /// Starts to open a connection from a shard.
    ///
    /// # Errors
    /// As the socket door says.
    pub fn connect(
        &mut self,
        shard: usize,
        to: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Result<ConnectionKey, SocketError> {
        let key = self.shard_mut(shard).tcp_connect(to, &ConnectOptions { local })?;
        self.machine.members[shard].open.push(SocketHandle::Stream(key));
        Ok(key)
    }

    /// Whether a connection stands, or why not.
    ///
    /// # Errors
    /// As the socket door says.
    pub fn connected(&mut self, shard: usize, connection: ConnectionKey) -> Result<(), SocketError> {
        self.machine.members[shard].shard.tcp_connected(connection)
    }

    /// Binds a UDP socket on a shard, and waits until the port is bound.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn udp_bind(&mut self, shard: usize, port: u16, shared: bool) -> UdpKey {
        let member = self.shard_mut(shard);
        let bound = if shared { member.udp_bind_shared(any(port)) } else { member.udp_bind(any(port)) };
        let key = bound.expect("a free port");
        self.machine.members[shard].open.push(SocketHandle::Udp(key));
        self.until_bound(shard, SocketHandle::Udp(key)).expect("the port is bound");
        key
    }

    /// Binds a UDP socket on a shard, and does not wait until every shard knows.
    ///
    /// # Panics
    /// When this shard has no such port.
    #[track_caller]
    pub fn udp_bind_unconfirmed(&mut self, shard: usize, port: u16) -> UdpKey {
        let key = self.shard_mut(shard).udp_bind(any(port)).expect("a free port");
        self.machine.members[shard].open.push(SocketHandle::Udp(key));
        key
    }

    /// Sends a datagram.
    ///
    /// # Panics
    /// When the socket does not take it.
    #[track_caller]
    pub fn udp_send(&mut self, shard: usize, socket: UdpKey, to: SocketAddr, payload: &[u8]) {
        let transmit = UdpTransmit { destination: Some(to), ..UdpTransmit::default() };
        self.shard_mut(shard).udp_send(socket, &transmit, payload).expect("the socket takes the datagram");
    }

    /// The payloads of all datagrams received and not yet fetched.
    pub fn udp_received(&mut self, shard: usize, socket: UdpKey) -> Vec<Vec<u8>> {
        let member = self.shard_mut(shard);
        std::iter::from_fn(|| member.udp_recv(socket).ok()).map(|it| it.payload.to_vec()).collect()
    }

    /// Opens an echo socket on a shard, waits until replies can find it, and sends a request.
    ///
    /// # Panics
    /// When the socket does not take it.
    #[track_caller]
    pub fn ping(&mut self, shard: usize, to: Ipv4Addr) -> EchoKey {
        self.ping_with(shard, to, 8)
    }

    /// The same with so many bytes of data.
    ///
    /// # Panics
    /// When the socket does not take it.
    #[track_caller]
    pub fn ping_with(&mut self, shard: usize, to: Ipv4Addr, len: usize) -> EchoKey {
        let key = self.shard_mut(shard).echo_open().expect("an identifier");
        self.machine.members[shard].open.push(SocketHandle::Echo(key));
        self.until_bound(shard, SocketHandle::Echo(key)).expect("the identifier is the shard's");
        let sent = self.shard_mut(shard).echo_send(key, to.into(), EchoRequest::new(1), &vec![0; len]);
        sent.expect("the socket takes the request");
        key
    }

    /// How many replies an echo socket has received since the last time.
    pub fn pongs(&mut self, shard: usize, socket: EchoKey) -> usize {
        let member = self.shard_mut(shard);
        std::iter::from_fn(|| member.echo_recv(socket).ok()).count()
    }

    /// Writes bytes; how many the stack took.
    ///
    /// # Errors
    /// As the socket door says.
    pub fn write(
        &mut self,
        shard: usize,
        connection: ConnectionKey,
        bytes: &[u8],
    ) -> Result<usize, SocketError> {
        let now = self.now;
        let member = &mut self.machine.members[shard];
        member.shard.set_now(now);
        let sent = member.shard.tcp_send(connection, bytes)?;
        member.touched |= sent > 0;
        Ok(sent)
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// As the socket door says.
    pub fn read(&mut self, shard: usize, connection: ConnectionKey) -> Result<Vec<u8>, SocketError> {
        let mut bytes = vec![0; 1 << 20];
        let len = self.machine.members[shard].shard.tcp_recv(connection, &mut bytes)?;
        self.machine.members[shard].touched |= len > 0;
        bytes.truncate(len);
        Ok(bytes)
    }
}
