//! The application of a host: it keeps what it opened, and acts on what became ready.

use sunstar_stack::{EchoKey, SocketHandle, UdpKey};

use super::Host;

/// What a host's application has open.
#[derive(Default)]
pub(crate) struct Application {
    pub(super) udp: Vec<UdpKey>,
    pub(super) echo: Vec<EchoKey>,
}

impl Host {
    /// Acts on what became ready; whether anything was done.
    pub(super) fn attend(&mut self) -> bool {
        let mut acted = false;
        while let Some((handle, _ready)) = self.shard.poll_ready() {
            acted |= match handle {
                SocketHandle::Udp(_) | SocketHandle::Echo(_) => false,
                SocketHandle::Listener(_) | SocketHandle::Stream(_) => false,
            };
        }
        acted
    }

    /// Closes everything that is open.
    pub(crate) fn close_all(&mut self) {
        for socket in std::mem::take(&mut self.application.udp) {
            self.shard_mut().udp_close(socket);
        }
        for socket in std::mem::take(&mut self.application.echo) {
            self.shard_mut().echo_close(socket);
        }
    }
}
