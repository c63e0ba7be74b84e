//! What it takes to make a shard, the first time and again.

use sunstar_packet::{Capabilities, Memory, Pool, PoolConfig, RegionError};
use sunstar_stack::random::Random;
use sunstar_stack::steering::{PortOwners, ShardId, Steering};
use sunstar_stack::time::Instant;
use sunstar_stack::{InterfaceAddress, InterfaceId, Route, Shard, ShardConfig, ShardSetup};

/// A shard's description. It may go to the thread that will have the shard.
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    /// Its number.
    pub(crate) id: ShardId,
    /// Its settings.
    pub(crate) config: ShardConfig,
    /// The secret all its randomness comes from.
    pub(crate) seed: [u8; 32],
    /// What its device can do.
    pub(crate) device: Capabilities,
    /// Where its buffers come from.
    pub(crate) memory: Memory,
    /// How flows are spread over all shards.
    pub(crate) steering: Steering,
    /// Its addresses on the device.
    pub(crate) addresses: Vec<InterfaceAddress>,
    /// Its routes.
    pub(crate) routes: Vec<Route>,
}

/// What a shard takes over from the one before it.
#[derive(Debug)]
pub(super) struct Inheritance {
    owners: PortOwners,
    addresses: Vec<InterfaceAddress>,
    routes: Vec<Route>,
}

impl Inheritance {
    /// What can be relied on of a shard that has panicked: plain data, changed in one step.
    pub(super) fn of(shard: &Shard) -> Self {
        let device = shard.interfaces().filter(|interface| interface.id == InterfaceId::DEVICE);
        Self {
            owners: shard.steering().owners().clone(),
            addresses: device.flat_map(|device| device.addresses()).copied().collect(),
            routes: shard.routes().copied().collect(),
        }
    }
}

impl Birth {
    /// What the first shard begins with.
    pub(super) fn inheritance(&self) -> Inheritance {
        let (addresses, routes) = (self.addresses.clone(), self.routes.clone());
        Inheritance { owners: PortOwners::new(), addresses, routes }
    }

    /// Makes the shard, after so many that failed, with what the last of them had.
    ///
    /// # Errors
    /// There is no memory for its buffers.
    pub(super) fn shard(
        &self,
        incarnation: u32,
        inherited: Inheritance,
        now: Instant,
    ) -> Result<Shard, RegionError> {
        let mut steering = self.steering.clone();
        let Inheritance { owners, addresses, routes } = inherited;
        *steering.owners_mut() = owners;
        // A fresh shard must not begin with the numbers of the one before.
        let mut random = Random::from_key(self.seed);
        let mut seed = [0; 32];
        (0..=incarnation).for_each(|_| random.fill(&mut seed));
        let mut shard = Shard::new(ShardSetup {
            id: self.id,
            config: self.config.clone(),
            seed,
            device: self.device,
            pool: Pool::new(&self.memory, &PoolConfig::for_mtu(self.device.mtu))?,
            steering,
            incarnation,
            now,
        });
        addresses.into_iter().for_each(|address| shard.add_address(InterfaceId::DEVICE, address));
        routes.into_iter().for_each(|route| shard.add_route(route));
        Ok(shard)
    }

    /// Where its buffers come from.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }
}
