//! IP: interfaces, routes, delivery, the packet filter, ICMP, IGMP.

mod filter;
pub(crate) mod icmp;
pub(crate) mod igmp;
mod input;
mod interface;
pub(crate) mod output;
mod route;

pub(crate) use filter::FilterChain;
pub use filter::{FilterId, PacketFilter, Verdict};
pub(crate) use input::IpInput;
pub use interface::{Interface, InterfaceAddress, InterfaceAddressError, InterfaceId, Interfaces};
pub use route::{Path, Route, Routes};
