//! Interfaces and their addresses.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use sunstar_packet::Medium;
use sunstar_stack::{InterfaceAddress, InterfaceId};

use super::seen::ranges;
use super::table::{Table, or_dash};
use super::{Part, Seen, Shown, View};

/// The interfaces, with their addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interfaces {
    /// One entry each; more where shards differ.
    pub interfaces: Vec<Seen<Interface>>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Interface {
    /// Its number.
    pub id: u8,
    /// `loopback` or `device`.
    pub name: String,
    /// Whether it carries Ethernet frames, and not bare packets.
    pub ethernet: bool,
    /// The station it is; nothing where the medium has none.
    pub mac: Option<String>,
    /// The largest IP packet, in bytes.
    pub mtu: usize,
    /// Whether it has a carrier.
    pub up: bool,
    /// What its device does for the stack: `checksum`, `tso4`, `tso6`, `uso`.
    pub offloads: Vec<String>,
    /// Its addresses; the first is the preferred source.
    pub addresses: Vec<InterfaceAddress>,
}

/// What an interface is called.
pub(super) fn name(id: InterfaceId) -> String {
    match id {
        InterfaceId::LOOPBACK => "loopback".to_owned(),
        InterfaceId::DEVICE => "device".to_owned(),
        InterfaceId(other) => format!("interface {other}"),
    }
}

impl From<&sunstar_stack::Interface> for Interface {
    fn from(it: &sunstar_stack::Interface) -> Self {
        let ethernet = it.medium == Medium::Ethernet;
        let offloads = [
            (it.transmit_checksum, "checksum"),
            (it.segmentation.tcp_v4, "tso4"),
            (it.segmentation.tcp_v6, "tso6"),
            (it.segmentation.udp, "uso"),
        ];
        Self {
            id: it.id.0,
            name: name(it.id),
            ethernet,
            mac: ethernet.then(|| it.mac.to_string()),
            mtu: it.mtu,
            up: it.up,
            offloads: offloads.iter().filter(|(has, _)| *has).map(|(_, name)| (*name).to_owned()).collect(),
            addresses: it.addresses().to_vec(),
        }
    }
}

impl Part for Interfaces {
    fn read(view: &View<'_>) -> Self {
        Self { interfaces: Seen::by(view.shard.id().0, view.shard.interfaces().map(Interface::from)) }
    }

    fn join(parts: Vec<Self>) -> Self {
        Self { interfaces: Seen::join(parts.into_iter().map(|part| part.interfaces)) }
    }
}

fn texts(addresses: &[InterfaceAddress]) -> String {
    addresses.iter().map(InterfaceAddress::to_string).collect::<Vec<_>>().join(" ")
}

impl Display for Interfaces {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["interface", "state", "MAC", ">MTU", "offloads", "shards", "addresses"]);
        for Seen { what, shards } in &self.interfaces {
            table.row([
                what.name.clone(),
                if what.up { "up" } else { "down" }.to_owned(),
                or_dash(what.mac.as_ref()),
                what.mtu.to_string(),
                or_dash((!what.offloads.is_empty()).then(|| what.offloads.join(","))),
                ranges(shards),
                or_dash((!what.addresses.is_empty()).then(|| texts(&what.addresses))),
            ]);
        }
        write!(f, "{table}")
    }
}

impl Shown for Interfaces {
    fn summary(&self) -> String {
        let one = |Seen { what, .. }: &Seen<Interface>| {
            let state = if what.up { "up" } else { "down" };
            format!("{} {state} {}", what.name, texts(&what.addresses)).trim_end().to_owned()
        };
        self.interfaces.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}
