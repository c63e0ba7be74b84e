//! Owners of ports that nobody's socket asked for: an operator sends a port's flows to a shard, or spreads them again.

use super::{Core, Port, REGISTRAR};
use crate::shard::Shard;
use crate::steering::{Owner, PortSpace, ShardId};

/// Why a port does not get that owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortOwnerError {
    /// There is nobody to share with.
    #[error("there is one shard, which has every port; start the stack with more shards to share ports out")]
    Alone,
    /// Only the registrar changes the table of owners.
    #[error("only shard {} changes the owners of ports; ask it", REGISTRAR.0)]
    NotRegistrar,
    /// There is no such shard.
    #[error("there is no shard {shard}: the stack has {shards}, and the first is 0")]
    NoSuchShard {
        /// The shard given.
        shard: u16,
        /// How many there are.
        shards: u16,
    },
    /// A socket has the port for itself.
    #[error(
        "a socket of shard {holder} has port {port} for itself; close it, or bind it as shared, and then say who owns the port"
    )]
    Held {
        /// The port.
        port: u16,
        /// Whose socket.
        holder: u16,
    },
    /// Sockets share the port, and need an owner.
    #[error("sockets share port {port}; its owner can be every shard, or one that has such a socket")]
    Shared {
        /// The port.
        port: u16,
    },
    /// Sockets share the port, and none of them is there.
    #[error("shard {shard} has no socket at port {port}; choose one that has: {holders}")]
    NoSocketThere {
        /// The port.
        port: u16,
        /// The shard given.
        shard: u16,
        /// Those that have one.
        holders: String,
    },
    /// Connections would lose their shard.
    #[error(
        "listeners of several shards share port {port}, and connections to the others would be lost; close the listeners first"
    )]
    Connections {
        /// The port.
        port: u16,
    },
}

impl Shard {
    /// Says who owns a port, on the shard that decides about ports (shard 0): from there every shard is told. Who binds
    /// the port later decides anew, and so does whoever is the last to close it.
    ///
    /// # Errors
    /// See [`PortOwnerError`]: what sockets have claimed stays with them.
    pub fn set_port_owner(
        &mut self,
        space: PortSpace,
        port: u16,
        owner: Option<Owner>,
    ) -> Result<(), PortOwnerError> {
        self.core.set_port_owner((space, port), owner)
    }
}

impl Core {
    fn set_port_owner(&mut self, port: Port, owner: Option<Owner>) -> Result<(), PortOwnerError> {
        if self.siblings.is_alone() {
            return Err(PortOwnerError::Alone);
        }
        let registrar = self.siblings.registrar.as_ref().ok_or(PortOwnerError::NotRegistrar)?;
        let shards = self.steering.shards();
        if let Some(Owner::Shard(ShardId(shard))) = owner
            && shard >= shards
        {
            return Err(PortOwnerError::NoSuchShard { shard, shards });
        }
        registrar.check_owner(port, owner)?;
        self.steering.owners_mut().set(port.0, port.1, owner);
        self.grant_due();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Claim;
    use super::super::ports::Registrar;
    use super::*;
    use crate::steering::PortOwners;

    const TO_SHARD_1: Option<Owner> = Some(Owner::Shard(ShardId(1)));

    fn registrar(space: PortSpace, claims: &[(u16, Claim)]) -> Registrar {
        let mut owners = PortOwners::new();
        let mut registrar = Registrar::new(3, &mut owners);
        for (shard, claim) in claims {
            registrar.on_claim(&mut owners, ShardId(*shard), (space, 53), (*claim, 1));
        }
        registrar
    }

    #[test]
    fn a_port_that_no_socket_has_gets_any_owner() {
        let free = registrar(PortSpace::Tcp, &[]);
        for owner in [TO_SHARD_1, Some(Owner::EveryShard), None] {
            assert_eq!(free.check_owner((PortSpace::Tcp, 53), owner), Ok(()));
        }
    }

    #[test]
    fn a_port_stays_with_the_socket_that_has_it_for_itself() {
        let held = registrar(PortSpace::Udp, &[(2, Claim::Alone)]);
        for owner in [TO_SHARD_1, Some(Owner::EveryShard), None] {
            let refused = held.check_owner((PortSpace::Udp, 53), owner);
            assert_eq!(refused, Err(PortOwnerError::Held { port: 53, holder: 2 }));
        }
        let same = Some(Owner::Shard(ShardId(2)));
        assert_eq!(held.check_owner((PortSpace::Udp, 53), same), Ok(()));
    }

    #[test]
    fn a_port_of_shared_datagram_sockets_goes_to_a_shard_that_has_one_or_to_all() {
        let shared = registrar(PortSpace::Udp, &[(0, Claim::Shared), (1, Claim::Shared)]);
        let check = |owner| shared.check_owner((PortSpace::Udp, 53), owner);
        assert_eq!((check(TO_SHARD_1), check(Some(Owner::EveryShard))), (Ok(()), Ok(())));
        assert_eq!(check(None), Err(PortOwnerError::Shared { port: 53 }));
        let elsewhere = check(Some(Owner::Shard(ShardId(2))));
        assert!(elsewhere.unwrap_err().to_string().contains("0, 1"));
    }

    #[test]
    fn a_port_of_shared_listeners_is_not_taken_from_their_connections() {
        let shared = registrar(PortSpace::Tcp, &[(0, Claim::Shared), (1, Claim::Shared)]);
        let refused = shared.check_owner((PortSpace::Tcp, 53), TO_SHARD_1);
        assert_eq!(refused, Err(PortOwnerError::Connections { port: 53 }));
        assert_eq!(shared.check_owner((PortSpace::Tcp, 53), Some(Owner::EveryShard)), Ok(()));
    }
}
