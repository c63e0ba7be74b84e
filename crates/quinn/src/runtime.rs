//! What quinn asks of a runtime: timers, and tasks beside the application's.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime};
use send_wrapper::SendWrapper;
use sunstar::Net;

/// The shard's own runtime.
#[derive(Debug)]
pub(crate) struct ShardRuntime {
    net: SendWrapper<Net>,
}

impl ShardRuntime {
    pub(crate) fn new(net: Net) -> Self {
        Self { net: SendWrapper::new(net) }
    }
}

impl Runtime for ShardRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(tokio::time::sleep_until(at.into()))
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.net.spawn_named("a task of quinn", task);
    }

    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let message = "a socket of the machine is none of this stack; bind one with `Net::udp_bind`, and give it to \
                       `sunstar_quinn::abstract_socket`";
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}
