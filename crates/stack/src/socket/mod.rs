//! The one door for applications: calls on handles that answer at once, and a queue of handles that became
//! ready. Async sockets, test scripts and any later door are adapters over it.

mod bound;
mod control_block;
mod echo;
mod error;
mod inspect;
mod ready;
mod tcp;
mod tcp_info;
mod udp;

pub use control_block::ControlBlock;
pub use error::SocketError;
pub use inspect::{EchoInfo, ListenerInfo, SocketCounts, UdpInfo};
pub(crate) use ready::ReadyQueue;
pub use ready::{Ready, SocketHandle};
pub use tcp::{ConnectOptions, ListenOptions, Shutdown};
pub use tcp_info::{TcpInfo, TcpTimers};
