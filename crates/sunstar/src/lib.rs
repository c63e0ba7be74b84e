//! A user-space TCP/IP stack that shares nothing between cores, with async sockets.
//!
//! A [`Builder`] says what the stack stands on and which addresses it has; [`Builder::run`] runs an application's
//! future with a [`Net`], the handle to everything that can be opened. Sockets have tokio's names and
//! shapes, but are made from that handle: there is nothing global.
//!
//! # A first program
//!
//! ```no_run
//! use std::error::Error;
//!
//! use sunstar::{Builder, Device, Embedded, Publish};
//! use tokio::io::AsyncWriteExt;
//!
//! const HELLO: &[u8] = b"HTTP/1.0 200 OK\r\ncontent-length: 6\r\n\r\nhello\n";
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     let publish = vec![Publish { host: "127.0.0.1:8080".parse()?, port: 80 }];
//!     let device = Device::Embedded(Embedded { publish });
//!     Builder::new().device(device).address("10.0.0.2/24".parse()?).run(|net| async move {
//!         let listener = net.tcp_bind("0.0.0.0:80").await?;
//!         loop {
//!             let (mut stream, peer) = listener.accept().await?;
//!             println!("hello, {peer}");
//!             net.spawn(async move { stream.write_all(HELLO).await });
//!         }
//!     })?
//! }
//! ```
//!
//! It needs no privilege: the *embedded* device is a wire to a host in the same process that publishes ports
//! of the stack on the machine. With a [`Tap`] the same program is a host of its own in a network of the kernel.
//!
//! # One thread a shard
//!
//! The stack and the tasks that use it run on one thread, a shard. Nothing here is `Send`, and nothing is
//! locked: a socket call is a function call. Tasks are spawned with [`Net::spawn`]. Work that blocks or computes
//! for long belongs on another thread (`tokio::task::spawn_blocking`), or packets wait for it: a task that holds its
//! shard for longer than [`Builder::stall_after`] is reported by name, with `tracing` and in [`ShardStats`].
//!
//! # What `Ok` means
//!
//! A write that returns `Ok(n)` says that the stack has taken `n` bytes. `flush` has nothing to do, `shutdown`
//! queues the end of the stream, and dropping a stream leaves it to the stack to deliver what was written. When
//! there is no room, writers wait: nothing is built, and nothing grows, until the device can take more.

mod address;
mod builder;
mod clock;
mod cores;
mod echo;
mod engine;
mod error;
mod gateway;
mod launch;
mod mailbox;
pub mod mesh;
mod net;
mod quota;
mod stall;
mod stats;
mod tcp;
mod udp;

pub use address::ToSocketAddress;
pub use builder::{Builder, Device, Embedded, Publish, Tap};
pub use echo::EchoSocket;
pub use error::RunError;
pub use mailbox::JobError;
pub use net::Net;
pub use stall::Stall;
pub use stats::{
    DeviceStats, PoolStats, QueueStats, RingStats, ShardStats, ShareStats, Stats, SteeredBy, SteeringStats,
};
pub use sunstar_device::wire;
pub use sunstar_packet::{Buffer, Fragment, Packet};
pub use sunstar_stack::time;
pub use sunstar_stack::{
    ConnectOptions, Counters, EchoReply, FilterId, InterfaceAddress, InterfaceAddressError, InterfaceId,
    Keepalive, ListenOptions, PacketFilter, ShardConfig, State, TcpInfo, UdpReceived, UdpTransmit, Verdict,
};
pub use sunstar_wire::Ecn;
pub use sunstar_wire::ipv4::Ipv4Header;
pub use tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, TcpListener, TcpStream, WriteHalf};
pub use udp::UdpSocket;

/// The first program of the README compiles, too.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
