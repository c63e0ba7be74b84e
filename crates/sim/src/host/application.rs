//! The application of a host: it keeps what it opened, and acts on what became ready.

use std::collections::BTreeMap;

use sunstar_stack::{ConnectionKey, EchoKey, ListenerKey, SocketHandle, UdpKey};

use super::Host;
use super::tcp::Stream;

/// What a host's application has open.
#[derive(Default)]
pub(crate) struct Application {
    pub(super) udp: Vec<UdpKey>,
    pub(super) echo: Vec<EchoKey>,
    pub(super) listeners: Vec<ListenerKey>,
    pub(super) streams: BTreeMap<ConnectionKey, Stream>,
}

impl Host {
    /// Acts on what became ready: streams are read and written; whoever waits for the rest looks for itself.
    pub(super) fn attend(&mut self) {
        while let Some((handle, ready)) = self.shard.poll_ready() {
            if let SocketHandle::Stream(connection) = handle {
                self.on_stream_ready(connection, ready);
            }
        }
    }

    /// Closes everything that is open.
    pub(crate) fn close_all(&mut self) {
        let Application { udp, echo, listeners, streams } = std::mem::take(&mut self.application);
        let shard = self.shard_mut();
        udp.into_iter().for_each(|socket| shard.udp_close(socket));
        echo.into_iter().for_each(|socket| shard.echo_close(socket));
        listeners.into_iter().for_each(|listener| shard.tcp_close_listener(listener));
        streams.into_keys().for_each(|connection| shard.tcp_close(connection));
    }
}
