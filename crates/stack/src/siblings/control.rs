//! What shards tell each other: pieces of state, each as it is at the moment of telling.

use sunstar_wire::{IpAddress, MacAddress};

use crate::ip::configuration::Change;
use crate::ip::path_mtu::{Destination, PathMtu};
use crate::neighbor::{Binding, Neighbor};
use crate::steering::{PortChange, PortSpace};

/// A port, or an echo identifier.
pub(crate) type Port = (PortSpace, u16);

/// A multicast group and a UDP port.
pub(crate) type GroupPort = (IpAddress, u16);

/// One control message.
///
/// Each tells a piece of state whole, so that one message stands for all that were not sent before it, and one that
/// comes again changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control(pub(crate) Message);

/// What a control message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Which incarnation of its shard the sender is. If it is not the one that is known, it has begun anew: all that was
    /// told to it, or by it, is to be told again.
    Incarnation(u32),
    /// To a neighbour's owner: the sender wants to send to it.
    NeighborWanted(Neighbor),
    /// To a neighbour's owner: it has asked for us, from this station.
    NeighborHeard(Neighbor, MacAddress),
    /// From a neighbour's owner: what is known of it.
    NeighborIs(Neighbor, Binding),
    /// To the registrar: what the sender wants of a port, as of its own version.
    Claim { port: Port, claim: Claim, version: u64 },
    /// From the registrar: whether the claim of that version stands. If so, every shard knows of it.
    Verdict { port: Port, granted: bool, version: u64 },
    /// From the registrar: a port has another owner.
    PortChanged(PortChange),
    /// From the registrar: all changes up to this version were told to this incarnation of the receiver.
    PortsTold { version: u64, incarnation: u32 },
    /// To the registrar: all changes up to this version are known here.
    PortsKnown(u64),
    /// From shard 0: an address, a route, or an MTU has changed.
    Configured(Change),
    /// To shard 0: another station says that it has one of this host's addresses (RFC 5227).
    Conflict(Neighbor, MacAddress),
    /// Whether the sender has a member of a group at a port.
    Group { at: GroupPort, member: bool },
    /// What the sender knows of a path's MTU, if anything.
    PathMtu { destination: Destination, known: Option<PathMtu> },
}

/// What a shard wants of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// All its flows.
    Alone,
    /// Those that hash to the shard; others may have theirs.
    Shared,
    /// Nothing any more.
    Nothing,
}

impl From<Message> for Control {
    fn from(message: Message) -> Self {
        Self(message)
    }
}
