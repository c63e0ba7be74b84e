//! What joins a shard to its siblings, as its turn sees it.

use sunstar_packet::Loan;
use sunstar_wire::Ecn;

use crate::ip::InterfaceId;
use crate::siblings::Control;
use crate::steering::ShardId;

/// How far a packet had come that is handed to a sibling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is as the device gave it, the link header in front.
    Frame,
    /// An IP packet behind its link header, which a filter sends to the shard that is to have it.
    Packet {
        /// The frame was for more than one station.
        group: bool,
    },
    /// A datagram that IP has done its part with; one put together from fragments has the first one's IP header in front.
    Datagram {
        /// It is for more than one host.
        group: bool,
        /// The congestion mark that its fragments come to.
        ecn: Ecn,
    },
}

/// Where a packet came from that is handed to a sibling, and how far it had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The interface it arrived on.
    pub interface: InterfaceId,
    /// What was done with it already.
    pub stage: Stage,
}

impl Arrival {
    /// A frame as the device gave it.
    pub const fn frame(interface: InterfaceId) -> Self {
        Self { interface, stage: Stage::Frame }
    }
}

/// The rings between a shard and its siblings. Bounded, and never waited for.
///
/// Packets and control messages have rings of their own: a flood of packets cannot delay control.
pub trait Mesh {
    /// Hands a packet to a sibling. A full ring gives it back, to be dropped and counted.
    #[expect(clippy::result_large_err, reason = "the loan itself comes back, by value as everywhere")]
    fn forward(&mut self, to: ShardId, arrival: Arrival, loan: Loan) -> Result<(), Loan>;

    /// The next packet from a sibling, and how it arrived there.
    fn receive(&mut self) -> Option<(Arrival, Loan)>;

    /// Hands a control message to a sibling. False while there is no room: the shard comes back with what it
    /// would say then. Messages to one sibling arrive in their order.
    fn tell(&mut self, to: ShardId, message: Control) -> bool;

    /// The next control message, and who sent it.
    fn hear(&mut self) -> Option<(ShardId, Control)>;
}

/// The mesh of a shard that has no siblings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Mesh for Alone {
    fn forward(&mut self, _: ShardId, _: Arrival, loan: Loan) -> Result<(), Loan> {
        Err(loan)
    }

    fn receive(&mut self) -> Option<(Arrival, Loan)> {
        None
    }

    fn tell(&mut self, _: ShardId, _: Control) -> bool {
        false
    }

    fn hear(&mut self) -> Option<(ShardId, Control)> {
        None
    }
}
