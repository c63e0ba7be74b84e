//! What joins a shard to its siblings, as its turn sees it.

use sunstar_packet::Loan;

use crate::ip::InterfaceId;
use crate::siblings::Control;
use crate::steering::ShardId;

/// The rings between a shard and its siblings. Bounded, and never waited for.
///
/// Packets and control messages have rings of their own: a flood of packets cannot delay control.
pub trait Mesh {
    /// Hands a packet to a sibling. A full ring gives it back, to be dropped and counted.
    #[expect(clippy::result_large_err, reason = "the loan itself comes back, by value as everywhere")]
    fn forward(&mut self, to: ShardId, interface: InterfaceId, loan: Loan) -> Result<(), Loan>;

    /// The next packet from a sibling, and the interface it arrived on.
    fn receive(&mut self) -> Option<(InterfaceId, Loan)>;

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
    fn forward(&mut self, _: ShardId, _: InterfaceId, loan: Loan) -> Result<(), Loan> {
        Err(loan)
    }

    fn receive(&mut self) -> Option<(InterfaceId, Loan)> {
        None
    }

    fn tell(&mut self, _: ShardId, _: Control) -> bool {
        false
    }

    fn hear(&mut self) -> Option<(ShardId, Control)> {
        None
    }
}
