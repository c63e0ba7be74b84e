//! IP: interfaces, routes, delivery, the packet filter, fragments, ICMP, IGMP, path MTUs.

pub(crate) mod configuration;
mod filter;
mod fragment;
pub(crate) mod icmp;
mod identification;
pub(crate) mod igmp;
mod input;
mod interface;
pub(crate) mod output;
pub(crate) mod path_mtu;
mod reassembly;
mod route;

pub use configuration::Configuration;
pub(crate) use filter::FilterChain;
pub use filter::{FilterId, PacketFilter, Verdict};
pub(crate) use fragment::Train;
pub(crate) use identification::Identifications;
pub(crate) use input::{Disposition, IpInput};
pub use interface::{Interface, InterfaceAddress, InterfaceAddressError, InterfaceId, Interfaces};
pub use path_mtu::{PathMtuInfo, PathMtuSource};
pub use reassembly::ReassemblyInfo;
pub(crate) use reassembly::{Reassembly, Whole};
pub use route::{Path, Route, Routes};
