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

impl Birth {
    /// Makes the shard, after so many that failed, with what the last of them knew of the owners of ports.
    ///
    /// # Errors
    /// There is no memory for its buffers.
    pub(crate) fn shard(
        &self,
        incarnation: u32,
        owners: PortOwners,
        now: Instant,
    ) -> Result<Shard, RegionError> {
        let mut steering = self.steering.clone();
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
        self.addresses.iter().for_each(|address| shard.add_address(InterfaceId::DEVICE, *address));
        self.routes.iter().for_each(|route| shard.add_route(*route));
        Ok(shard)
    }

    /// Where its buffers come from.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }
}
