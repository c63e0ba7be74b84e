//! QUIC (RFC 9000) over sunstar: [quinn] does the protocol, and its datagrams go through a stack of one's own.
//!
//! [`server`] and [`client`] give a plain [`quinn::Endpoint`]; everything from there on is quinn's.
//!
//! ```no_run
//! use sunstar::{Builder, Device, Tap};
//!
//! # fn settings() -> quinn::ServerConfig { unimplemented!() }
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let stack = Builder::new().device(Device::Tap(Tap::new("sun0"))).address("10.7.0.2/24".parse()?);
//!     stack.run(|net| async move {
//!         let endpoint = sunstar_quinn::server(&net, "0.0.0.0:4433", settings()).await?;
//!         while let Some(incoming) = endpoint.accept().await {
//!             net.spawn(async move {
//!                 let connection = incoming.await?;
//!                 let (mut answer, mut question) = connection.accept_bi().await?;
//!                 let bytes = question.read_to_end(64 << 10).await?;
//!                 answer.write_all(&bytes).await?;
//!                 answer.finish()?;
//!                 connection.closed().await;
//!                 Ok::<_, Box<dyn std::error::Error>>(())
//!             });
//!         }
//!         Ok(())
//!     })?
//! }
//! ```
//!
//! # Everything stays on the shard
//!
//! quinn wants a socket and a runtime that are `Send` and `Sync`; a shard's are not. They are wrapped, and the wrapper
//! panics on any other thread. So an endpoint, its connections and their streams belong to the shard that made
//! them, although their types would let them go: keep them in tasks of [`Net::spawn`](sunstar::Net::spawn). quinn's own
//! tasks run there, too.
//!
//! # A server on many shards
//!
//! A port bound with [`Net::udp_bind`](sunstar::Net::udp_bind), and so by [`server`], is one shard's: every shard hands it
//! what arrives for that port. That is what QUIC needs. A connection is known by its identifier and outlives a change
//! of its client's address (RFC 9000 section 9): a client that moves to another network, or whose NAT gives it another
//! port, goes on. A port of all shards ([`Net::udp_bind_shared`](sunstar::Net::udp_bind_shared)) is divided by the hash of
//! the addresses, which do change: the connection's datagrams would then come to a shard that has never heard of it,
//! and the connection would die.
//!
//! To serve on every shard, give each a port of its own, say 4433 plus [`Net::shard`](sunstar::Net::shard), and tell
//! the clients of all of them, in SRV, SVCB or HTTPS records or with `Alt-Svc`. Where every client is known to keep
//! its address (machines of one data centre), a shared socket will do: see [`endpoint`].
//!
//! # What the sockets give
//!
//! Batches of datagrams in one call, both ways, with the segmentation and coalescing of the device; ECN marks
//! both ways; the address that a datagram was sent to, so that a host of several addresses answers from
//! the right one. IP packets are never fragmented, so quinn looks for the path's MTU itself.
//!
//! A datagram that cannot be sent (no route, too long) is lost, as the network would lose it. An endpoint ends, and
//! its connections with it, when the device is gone for good, or when the shard has panicked and was replaced; a
//! refusal by some peer does not end it.

mod runtime;
mod socket;

use std::io;
use std::sync::Arc;

use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, ServerConfig};
use sunstar::{Net, ToSocketAddress, UdpSocket};

use runtime::ShardRuntime;
use socket::ShardSocket;

/// An endpoint that accepts connections on a UDP port, which is this shard's alone. It may open connections, too.
///
/// # Errors
/// As [`Net::udp_bind`].
pub async fn server(net: &Net, local: impl ToSocketAddress, config: ServerConfig) -> io::Result<Endpoint> {
    let socket = net.udp_bind(local).await?;
    endpoint(net, socket, EndpointConfig::default(), Some(config))
}

/// An endpoint that opens connections, from any free UDP port. Give it a [`quinn::ClientConfig`] before it does.
///
/// # Errors
/// As [`Net::udp_bind`].
pub async fn client(net: &Net) -> io::Result<Endpoint> {
    let socket = net.udp_bind("0.0.0.0:0").await?;
    endpoint(net, socket, EndpointConfig::default(), None)
}

/// An endpoint on a UDP socket of the same shard as `net`, with settings; it accepts connections if `server` is given.
///
/// # Errors
/// `NotConnected` once the network is shut down.
pub fn endpoint(
    net: &Net,
    socket: UdpSocket,
    config: EndpointConfig,
    server: Option<ServerConfig>,
) -> io::Result<Endpoint> {
    let runtime = Arc::new(ShardRuntime::new(net.clone()));
    Endpoint::new_with_abstract_socket(config, server, abstract_socket(socket), runtime)
}

/// A UDP socket as quinn takes it: to move an endpoint to another with [`Endpoint::rebind_abstract`].
pub fn abstract_socket(socket: UdpSocket) -> Arc<dyn AsyncUdpSocket> {
    Arc::new(ShardSocket::new(socket))
}
