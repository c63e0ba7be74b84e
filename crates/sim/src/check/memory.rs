//! Invariants 16 and 17: every queue is within its cap, and every buffer that is out has an owner.

use std::collections::HashSet;

use sunstar_packet::SlotId;
use sunstar_stack::{Fill, Shard};

use super::Breach;
use super::breach::require;
use crate::machine::Machine;

/// Invariant 16: no queue is fuller than it may be.
pub(crate) fn check_fills(fills: impl Iterator<Item = Fill>) -> Result<(), Breach> {
    for Fill { what, len, cap } in fills {
        require(16, len <= cap, || format!("{len} {what}, {cap} may be"))?;
    }
    Ok(())
}

/// Whether it could be looked at. Invariants 16 and 17: the buffers that are out are those that somebody holds: shards, and the rings of their device. Says
/// nothing while some are on their way between shards, where nobody can look, and of machines one of whose shards has
/// failed, as what that had lent is others' until it comes home.
pub(crate) fn check_slots(machine: &Machine) -> Result<bool, Breach> {
    if machine.members.iter().any(|member| member.incarnation > 0 || member.has_lent()) {
        return Ok(false);
    }
    let mut held: HashSet<SlotId> = HashSet::new();
    let mut out = 0;
    for member in &machine.members {
        held.extend(member.shard.holdings().map(|(_, slot)| slot));
        held.extend(member.port().into_iter().flat_map(|port| port.slots()));
        out += buffers_out(&member.shard);
    }
    require(17, held.len() >= out, || format!("{out} buffers are out, and {} have an owner", held.len()))?;
    require(17, held.len() <= out, || format!("{} buffers have an owner, and {out} are out", held.len()))?;
    Ok(true)
}

fn buffers_out(shard: &Shard) -> usize {
    shard.pool().collect();
    shard.pool().buffers_out()
}
