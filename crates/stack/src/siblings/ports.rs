//! Ports with owners. A shard *claims* a port; the *registrar*, shard 0, decides, changes the replicated table, and
//! grants the claim once every shard has the change: from then on no packet for the port goes astray.

use std::collections::{BTreeMap, BTreeSet};

use super::REGISTRAR;
use super::control::{Claim, Port};
use super::owners::PortOwnerError;
use crate::socket::{SocketError, SocketHandle};
use crate::steering::{Owner, PortChange, PortOwners, PortSpace, ShardId};

/// How a claim of this shard's stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The registrar has not answered yet.
    Asked,
    /// The port is this shard's, and everybody knows.
    Granted,
    /// Another shard has it.
    Refused,
}

#[derive(Debug)]
struct Held {
    claim: Claim,
    /// Sockets and connections that need the port.
    users: usize,
    standing: Standing,
    version: u64,
    /// Sockets to be told what the registrar says.
    waiting: Vec<SocketHandle>,
}

/// What this shard claims.
#[derive(Debug)]
pub(crate) struct Claims {
    held: BTreeMap<Port, Held>,
    version: u64,
}

impl Claims {
    /// No claims. Versions of one incarnation are newer than those of any before it.
    pub(super) fn new(incarnation: u32) -> Self {
        Self { held: BTreeMap::new(), version: super::first_version(incarnation) }
    }

    /// Claims a port for a socket. Whether the registrar has to be told.
    ///
    /// # Errors
    /// The shard has it already, and not in the same way.
    pub(super) fn claim(&mut self, port: Port, claim: Claim, user: SocketHandle) -> Result<bool, ()> {
        if let Some(held) = self.held.get_mut(&port) {
            if held.claim != claim || held.standing == Standing::Refused {
                return Err(());
            }
            held.users += 1;
            if held.standing == Standing::Asked {
                held.waiting.push(user);
            }
            return Ok(false);
        }
        self.version += 1;
        let (version, waiting) = (self.version, vec![user]);
        self.held.insert(port, Held { claim, users: 1, standing: Standing::Asked, version, waiting });
        Ok(true)
    }

    /// One more needs a port that the shard may have. Whether it has.
    pub(super) fn hold(&mut self, port: Port) -> bool {
        let held = self.held.get_mut(&port);
        held.map(|held| held.users += 1).is_some()
    }

    /// One fewer needs a port. Whether the registrar has to be told.
    pub(super) fn release(&mut self, port: Port) -> bool {
        let Some(held) = self.held.get_mut(&port) else { return false };
        held.users -= 1;
        held.users == 0 && self.held.remove(&port).is_some()
    }

    pub(super) fn standing(&self, port: Port) -> Standing {
        self.held.get(&port).map_or(Standing::Refused, |held| held.standing)
    }

    /// What the registrar is to be told of a port.
    pub(super) fn state(&self, port: Port) -> (Claim, u64) {
        self.held.get(&port).map_or((Claim::Nothing, self.version), |held| (held.claim, held.version))
    }

    /// Whether the shard wants anything of a port.
    pub(super) fn has(&self, port: Port) -> bool {
        self.held.contains_key(&port)
    }

    pub(super) fn ports(&self) -> impl Iterator<Item = Port> {
        self.held.keys().copied()
    }

    /// The registrar has decided. The sockets that waited for it.
    pub(super) fn on_verdict(&mut self, port: Port, granted: bool, version: u64) -> Vec<SocketHandle> {
        let Some(held) = self.held.get_mut(&port).filter(|held| held.version == version) else {
            return Vec::new();
        };
        held.standing = if granted { Standing::Granted } else { Standing::Refused };
        std::mem::take(&mut held.waiting)
    }
}

#[derive(Debug)]
struct Holding {
    claim: Claim,
    holders: BTreeSet<ShardId>,
}

/// A claim that stands as soon as every shard knows the table of this version.
#[derive(Clone, Copy, Debug)]
struct Grant {
    table: u64,
    verdict: Verdict,
}

/// What a shard is to be told of its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) to: ShardId,
    pub(super) port: Port,
    pub(super) granted: bool,
    pub(super) version: u64,
}

/// Who has which port: kept by shard 0, the one writer of the table of owners.
#[derive(Debug)]
pub(crate) struct Registrar {
    holdings: BTreeMap<Port, Holding>,
    /// The version of the table each shard is known to have.
    known: Vec<u64>,
    grants: Vec<Grant>,
}

impl Registrar {
    /// Takes over what the table says. Who shares a port is not in it: all are taken for holders, and those that are
    /// none say so. What the registrar's own shard had is gone.
    pub(super) fn new(shards: u16, owners: &mut PortOwners) -> Self {
        let holding = |change: PortChange| {
            let (claim, holders) = match change.owner? {
                Owner::Shard(shard) => (Claim::Alone, BTreeSet::from([shard])),
                Owner::EveryShard => (Claim::Shared, (0..shards).map(ShardId).collect()),
                Owner::Hook(_) => return None,
            };
            Some(((change.space, change.port), Holding { claim, holders }))
        };
        let holdings = owners.changes_since(0).filter_map(holding).collect();
        let mut registrar = Self { holdings, known: vec![0; shards.into()], grants: Vec::new() };
        registrar.on_reborn(owners, REGISTRAR);
        registrar
    }

    /// A shard claims a port, or gives it up. A refusal comes back at once.
    pub(super) fn on_claim(
        &mut self,
        owners: &mut PortOwners,
        from: ShardId,
        port: Port,
        (claim, version): (Claim, u64),
    ) -> Option<Verdict> {
        if claim == Claim::Nothing {
            self.give_up(owners, from, port);
            return None;
        }
        let verdict = Verdict { to: from, port, granted: true, version };
        let holding =
            self.holdings.entry(port).or_insert_with(|| Holding { claim, holders: BTreeSet::new() });
        // A new claim stands in the place of the one before, whose verdict nobody waits for.
        holding.holders.remove(&from);
        self.grants.retain(|grant| (grant.verdict.to, grant.verdict.port) != (from, port));
        if !holding.holders.is_empty() && (claim == Claim::Alone || holding.claim == Claim::Alone) {
            return Some(Verdict { granted: false, ..verdict });
        }
        holding.claim = claim;
        holding.holders.insert(from);
        let owner = if claim == Claim::Alone { Owner::Shard(from) } else { Owner::EveryShard };
        owners.set(port.0, port.1, Some(owner));
        self.grants.push(Grant { table: owners.version_of(port.0, port.1), verdict });
        None
    }

    fn give_up(&mut self, owners: &mut PortOwners, from: ShardId, port: Port) {
        let Some(holding) = self.holdings.get_mut(&port) else { return };
        holding.holders.remove(&from);
        self.grants.retain(|grant| (grant.verdict.to, grant.verdict.port) != (from, port));
        if holding.holders.is_empty() {
            self.holdings.remove(&port);
            owners.set(port.0, port.1, None);
        }
    }

    /// Whether a port may get an owner that no socket has asked for.
    ///
    /// # Errors
    /// Sockets have it, and would lose what is for them.
    pub(super) fn check_owner(&self, port: Port, owner: Option<Owner>) -> Result<(), PortOwnerError> {
        let Some(Holding { claim, holders }) = self.holdings.get(&port) else { return Ok(()) };
        let (space, port) = port;
        match (claim, owner) {
            (Claim::Shared, Some(Owner::EveryShard)) => Ok(()),
            (Claim::Shared, Some(Owner::Shard(_))) if space == PortSpace::Tcp && holders.len() > 1 => {
                Err(PortOwnerError::Connections { port })
            }
            (_, Some(Owner::Shard(shard))) if holders.contains(&shard) => Ok(()),
            (Claim::Shared, Some(Owner::Shard(ShardId(shard)))) => {
                let holders: Vec<_> = holders.iter().map(|holder| holder.0.to_string()).collect();
                Err(PortOwnerError::NoSocketThere { port, shard, holders: holders.join(", ") })
            }
            (Claim::Shared, _) => Err(PortOwnerError::Shared { port }),
            _ => {
                let holder = holders.first().map_or(REGISTRAR.0, |holder| holder.0);
                Err(PortOwnerError::Held { port, holder })
            }
        }
    }

    /// A shard has the table up to this version.
    pub(super) fn on_known(&mut self, shard: ShardId, version: u64) {
        if let Some(known) = self.known.get_mut(usize::from(shard.0)) {
            *known = version;
        }
    }

    /// A shard has begun anew: it has nothing, and knows nothing.
    pub(super) fn on_reborn(&mut self, owners: &mut PortOwners, shard: ShardId) {
        self.on_known(shard, 0);
        let held = |(port, holding): (&Port, &Holding)| holding.holders.contains(&shard).then_some(*port);
        let ports: Vec<_> = self.holdings.iter().filter_map(held).collect();
        ports.into_iter().for_each(|port| self.give_up(owners, shard, port));
    }

    /// The claims that every shard knows of by now.
    pub(super) fn due(&mut self) -> Vec<Verdict> {
        let everywhere = self.known.iter().copied().min().unwrap_or_default();
        let due = |grant: &mut Grant| grant.table <= everywhere;
        self.grants.extract_if(.., due).map(|grant| grant.verdict).collect()
    }
}

/// What a bind call says of a claim.
pub(super) fn outcome(standing: Standing, address: std::net::SocketAddr) -> Result<(), SocketError> {
    match standing {
        Standing::Granted => Ok(()),
        Standing::Asked => Err(SocketError::WouldBlock),
        Standing::Refused => Err(SocketError::AddressInUse { address }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::PortSpace;

    const PORT: Port = (PortSpace::Tcp, 80);

    #[test]
    fn the_grant_of_a_claim_that_was_replaced_does_not_come_after_the_refusal_of_the_one_in_its_place() {
        let mut owners = PortOwners::new();
        let mut registrar = Registrar::new(3, &mut owners);
        for shard in [1, 2] {
            assert_eq!(registrar.on_claim(&mut owners, ShardId(shard), PORT, (Claim::Shared, 1)), None);
        }
        let refused = registrar.on_claim(&mut owners, ShardId(1), PORT, (Claim::Alone, 2));
        assert_eq!(refused, Some(Verdict { to: ShardId(1), port: PORT, granted: false, version: 2 }));
        (0..3).for_each(|shard| registrar.on_known(ShardId(shard), owners.version()));
        let granted: Vec<_> = registrar.due().into_iter().map(|verdict| verdict.to).collect();
        assert_eq!(granted, [ShardId(2)]);
    }

    #[test]
    fn a_fresh_registrar_goes_by_the_table_of_the_one_before_it() {
        let mut owners = PortOwners::new();
        for (port, owner) in
            [(80, Owner::Shard(ShardId(1))), (81, Owner::Shard(REGISTRAR)), (82, Owner::EveryShard)]
        {
            owners.set(PortSpace::Tcp, port, Some(owner));
        }
        owners.advance(1 << 32);
        let mut registrar = Registrar::new(3, &mut owners);
        assert_eq!(owners.owner(PortSpace::Tcp, 81), None, "what its own shard had is gone");
        assert!(owners.version() > 1 << 32, "and all are told");
        let mut claims = |port, claim| {
            registrar.on_claim(&mut owners, ShardId(2), (PortSpace::Tcp, port), (claim, 1)).is_none()
        };
        assert!(!claims(80, Claim::Alone) && claims(81, Claim::Alone));
        assert!(!claims(82, Claim::Alone) && claims(82, Claim::Shared), "shard 1 may have a share");
    }
}
