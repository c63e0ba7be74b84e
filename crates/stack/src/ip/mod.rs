//! IP: interfaces, routes, delivery, the packet filter, ICMP, path MTUs.

mod filter;
pub(crate) mod icmp;
mod input;
mod interface;
pub(crate) mod output;
pub(crate) mod path_mtu;
mod route;

pub(crate) use filter::FilterChain;
pub use filter::{FilterId, PacketFilter, Verdict};
pub(crate) use input::IpInput;
pub use interface::{Interface, InterfaceAddress, InterfaceAddressError, InterfaceId, Interfaces};
pub use path_mtu::{PathMtuInfo, PathMtuSource};
pub use route::{Path, Route, Routes};
