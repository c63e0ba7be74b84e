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
//! A shard and the tasks that use it run on one thread. Nothing of theirs is `Send`, and nothing is locked: a socket
//! call is a function call. Tasks are spawned with [`Net::spawn`]. Work that blocks or computes for long belongs on
//! another thread (`tokio::task::spawn_blocking`), or packets wait for it: a task that holds its shard for longer than
//! [`Builder::stall_after`] is reported by name, with `tracing` and in [`ShardStats`].
//!
//! # Many shards
//!
//! With [`Builder::shards`] a stack has several, each on a core of its own, and they share nothing. A packet that arrives
//! at the wrong one is handed over, once; on a tap with several queues a program in the kernel sees that it is the right
//! one. [`Builder::run_on_each`] runs the application on every shard, and [`Net::tcp_bind_shared`] gives each its part
//! of a port's connections; what is bound without that word has all of its port. [`Net::on_shard`] sends work from one to
//! another.
//!
//! # From another thread
//!
//! What else a program runs, a server on a multi-threaded runtime for one, reaches the stack through a [`Remote`]. Its
//! streams and listeners are `Send` and `Sync`: a task of the shard carries the bytes over, and stops where the
//! other side does. [`Remote::on_shard`] runs any other work where the sockets are.
//!
//! ```no_run
//! async fn serve(remote: sunstar::Remote) -> std::io::Result<()> {
//!     let listener = remote.tcp_bind("0.0.0.0:7").await?;
//!     loop {
//!         let (stream, _) = listener.accept().await?;
//!         let (mut reader, mut writer) = stream.into_split();
//!         tokio::spawn(async move { tokio::io::copy(&mut reader, &mut writer).await });
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let threads = tokio::runtime::Runtime::new()?;
//! sunstar::Builder::new().run(|net| {
//!     let server = threads.spawn(serve(net.remote()));
//!     async { server.await }
//! })???;
//! # Ok(())
//! # }
//! ```
//!
//! Threads started inside [`Builder::run`] inherit its core; start such a runtime before.
//!
//! # In tests
//!
//! `sunstar_sim::live` runs stacks and the applications on them in virtual time, on links that lose and delay; what it
//! needs for that is [`simulation`].
//!
//! # What `Ok` means
//!
//! A write that returns `Ok(n)` says that the stack has taken `n` bytes. `flush` has nothing to do, `shutdown`
//! queues the end of the stream, and dropping a stream leaves it to the stack to deliver what was written. When
//! there is no room, writers wait: nothing is built, and nothing grows, until the device can take more.

// The runtime below does not build for loom. The mesh does, as a part of its models (tests/loom_mesh).
#![cfg(not(loom))]

mod address;
mod builder;
mod clock;
pub mod configure;
pub mod control;
mod cores;
mod dhcp;
mod echo;
mod engine;
mod error;
mod filters;
mod gateway;
mod launch;
mod mailbox;
pub mod mesh;
mod names;
mod net;
mod quota;
mod remote;
pub mod snapshot;
mod stall;
mod stats;
mod tcp;
mod udp;

pub use address::ToSocketAddress;
pub use builder::{Builder, Device, Embedded, Publish, Tap};
pub use cores::allowed_cores;
pub use dhcp::DhcpStatus;
pub use echo::EchoSocket;
pub use error::RunError;
pub use filters::FilterMaker;
pub use launch::simulation;
pub use mailbox::JobError;
pub use net::Net;
pub use remote::{Remote, RemoteListener, RemoteReadHalf, RemoteStream, RemoteWriteHalf};
pub use stall::Stall;
pub use stats::{
    DeviceStats, PoolStats, QueueStats, RingStats, ShardStats, ShareStats, Stats, SteeredBy, SteeringStats,
};
pub use sunstar_device::wire;
pub use sunstar_packet::{Buffer, Fragment, Packet};
pub use sunstar_stack::time;
pub use sunstar_stack::{
    ClasslessRoute, ConnectOptions, Counters, DhcpConfig, DhcpState, EchoAnswer, EchoInfo, EchoReply,
    EchoRequest, FilterId, InterfaceAddress, InterfaceAddressError, InterfaceId, Keepalive, Lease, LeaseTerm,
    ListenOptions, ListenerInfo, LostReason, NeighborState, PacketFilter, PathMtuSource, PortOwnerError,
    ShardConfig, SocketCounts, SocketError, State, TcpInfo, TcpTimers, UdpInfo, UdpReceived, UdpTransmit,
    Verdict,
};
pub use sunstar_wire::Ecn;
pub use sunstar_wire::icmpv4::UnreachableCode;
pub use sunstar_wire::ipv4::Ipv4Header;
pub use tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, TcpListener, TcpStream, WriteHalf};
pub use udp::UdpSocket;

/// The first program of the README compiles, too.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
