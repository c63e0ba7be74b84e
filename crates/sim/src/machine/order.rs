//! Invariant 18: what is handed from shard to shard arrives in the order in which it was handed over.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use sunstar::mesh::MeshEnd;
use sunstar_packet::{Loan, SlotId};
use sunstar_stack::steering::ShardId;
use sunstar_stack::{Arrival, Control, Mesh};

/// What is on its way between the shards of a machine: the slot of each packet, by its sender and its receiver. No two packets
/// have the same slot at a time.
#[derive(Debug, Default)]
pub(crate) struct Order {
    on_the_way: BTreeMap<(ShardId, ShardId), VecDeque<Option<SlotId>>>,
    /// The first packet that came out of turn.
    broken: Option<String>,
}

impl Order {
    fn on_handed_over(&mut self, from: ShardId, to: ShardId, packet: Option<SlotId>) {
        self.on_the_way.entry((from, to)).or_default().push_back(packet);
    }

    fn on_received(&mut self, by: ShardId, packet: Option<SlotId>) {
        let mut ways = self.on_the_way.iter_mut().filter(|((_, to), _)| *to == by);
        let expected = ways.any(|(_, way)| way.pop_front_if(|first| *first == packet).is_some());
        if !expected {
            self.broken.get_or_insert_with(|| {
                format!("shard {by:?} got a packet that is not the next of any other")
            });
        }
    }

    /// What was wrong, if anything was.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Has two packets change their places, as if the mesh had; whether there were two.
    pub(crate) fn swap(&mut self) -> bool {
        let differs = |way: &&mut VecDeque<Option<SlotId>>| way.len() > 1 && way[0] != way[1];
        let Some(way) = self.on_the_way.values_mut().find(differs) else { return false };
        way.swap(0, 1);
        true
    }
}

/// A shard's end of the mesh, watched.
pub(super) struct Watched<'a> {
    pub(super) mesh: &'a mut MeshEnd,
    pub(super) order: &'a Rc<RefCell<Order>>,
}

impl Mesh for Watched<'_> {
    fn forward(&mut self, to: ShardId, arrival: Arrival, loan: Loan) -> Result<(), Loan> {
        let packet = loan.slots().next();
        self.mesh.forward(to, arrival, loan)?;
        self.order.borrow_mut().on_handed_over(self.mesh.shard(), to, packet);
        Ok(())
    }

    fn receive(&mut self) -> Option<(Arrival, Loan)> {
        let (arrival, loan) = self.mesh.receive()?;
        self.order.borrow_mut().on_received(self.mesh.shard(), loan.slots().next());
        Some((arrival, loan))
    }

    fn tell(&mut self, to: ShardId, message: Control) -> bool {
        self.mesh.tell(to, message)
    }

    fn hear(&mut self) -> Option<(ShardId, Control)> {
        self.mesh.hear()
    }
}
