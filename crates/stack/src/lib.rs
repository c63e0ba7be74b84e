//! One shard of a TCP/IP stack, as a state machine.
//!
//! A [`Shard`] is one core's whole stack: its own neighbours, IP, UDP and TCP tables, timers and sockets.
//! It has no thread, clock, descriptor, or randomness of the system: time is an argument, chance a
//! seed, and the device is whatever implements the queue pair its turn is given. The same inputs give the same
//! outputs, byte by byte.
//!
//! # The one turn
//!
//! [`Shard::turn`] is the only way it moves. The device pulls what there is to send, a burst is received,
//! siblings' packets come in from the mesh, due timers fire. [`Next`] says when to call again.
//!
//! # A packet in
//!
//! [`steering`] decides whose it is, from its flow key. `link` takes the Ethernet header off and knows ARP
//! (`neighbor`). `ip` checks the header, asks the packet filters, and hands it to `tcp`, `udp` or ICMP. Headers
//! become host-order values; the bytes are never written. Nothing is sent from here: a connection that has
//! something to say goes on a list, and answers without a connection become short descriptors in a capped
//! queue.
//!
//! # A packet out
//!
//! The device has room, so it asks. `link` picks the protocol whose turn it is (deficit round robin over
//! bytes), the protocol picks the socket whose turn it is, and that socket builds one packet, with the state of
//! this instant. No room, no question, no packet: buffers fill, and the writer waits.
//!
//! # Siblings
//!
//! A host may have many shards, which share nothing. A packet that arrived on the wrong one is handed over the
//! [`Mesh`], once. What all must know (who owns a port, where a neighbour is, who is a member of a group) is told by
//! whoever knows it, apart from packets, and told again until it was taken (`siblings`).
//!
//! # An address
//!
//! [`DhcpClient`] gets one, keeps it, and gives it back. It is a state machine of its own: who embeds it moves its
//! messages, and does what its events say.
//!
//! # The one door
//!
//! Applications call the `tcp_*`, `udp_*` and `echo_*` methods of [`Shard`] with handles. They answer at once;
//! [`Shard::poll_ready`] tells which handles became ready. There is no waker here.

mod config;
mod core;
mod counters;
mod dhcp;
mod hash;
mod ip;
mod link;
mod mesh;
mod neighbor;
pub mod random;
mod shard;
mod siblings;
mod socket;
pub mod steering;
mod tcp;
pub mod time;
pub mod timer;
mod udp;

pub use config::{
    DelayedAck, DhcpConfig, EphemeralPorts, FirstNumbers, IcmpConfig, IgmpConfig, NeighborConfig,
    OptionLayout, PathMtuConfig, ReassemblyConfig, ShardConfig, TcpConfig, UdpConfig,
};
pub use counters::{
    ControlCounters, Counters, DhcpCounters, Drops, IpCounters, MeshCounters, ReassemblyCounters,
    TcpCounters, UdpCounters,
};
pub use dhcp::{
    Applied, ClasslessRoute, DhcpClient, DhcpEvent, DhcpFilter, DhcpState, DhcpTransmit, Lease, LeaseTerm,
    LostReason,
};
pub use ip::icmp::{EchoAnswer, EchoKey, EchoReply, EchoRequest};
pub use ip::{
    Configuration, FilterId, Interface, InterfaceAddress, InterfaceAddressError, InterfaceId, Interfaces,
    PacketFilter, Path, PathMtuInfo, PathMtuSource, ReassemblyInfo, Route, Routes, Verdict,
};
pub use mesh::{Alone, Arrival, Mesh, Stage};
pub use neighbor::{ConflictInfo, NeighborInfo, NeighborState};
pub use shard::{ConfigureError, Fill, Next, Shard, ShardSetup, SlotOwner};
pub use siblings::{Control, PortOwnerError};
pub use socket::{
    ConnectOptions, ControlBlock, EchoInfo, ListenOptions, ListenerInfo, Ready, Shutdown, SocketCounts,
    SocketError, SocketHandle, TcpInfo, TcpTimers, UdpInfo,
};
pub use tcp::{ConnectionKey, Keepalive, ListenerKey, State};
pub use udp::{UdpKey, UdpReceived, UdpTransmit};
