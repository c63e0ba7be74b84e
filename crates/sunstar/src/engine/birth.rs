//! What it takes to make a shard, the first time and again.

use std::net::Ipv4Addr;

use sunstar_packet::{Capabilities, Memory, Pool, PoolConfig, RegionError};
use sunstar_stack::random::Random;
use sunstar_stack::steering::{PortOwners, ShardId, Steering};
use sunstar_stack::time::Instant;
use sunstar_stack::{Applied, Configuration, DhcpConfig, FilterId, Shard, ShardConfig, ShardSetup};

use crate::filters::FilterMaker;

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
    /// What all begin with: addresses and routes.
    pub(crate) configuration: Configuration,
    /// The filters that every shard has.
    pub(crate) filters: Vec<FilterMaker>,
    /// How the device is configured by DHCP, on the shard that does it.
    pub(crate) dhcp: Option<DhcpConfig>,
}

/// What a shard takes over from the one before it.
#[derive(Debug)]
pub(super) struct Inheritance {
    owners: PortOwners,
    configuration: Configuration,
    /// The address of its lease, and what the lease had put into the configuration.
    leased: (Option<Ipv4Addr>, Applied),
}

impl Inheritance {
    /// What can be relied on of a shard that has panicked: plain data, changed in one step.
    pub(super) fn of(shard: &Shard) -> Self {
        let lease = shard.dhcp().and_then(|client| client.lease());
        Self {
            owners: shard.steering().owners().clone(),
            configuration: shard.configuration().clone(),
            leased: (lease.map(|lease| lease.address), shard.dhcp_applied()),
        }
    }
}

impl Birth {
    /// What the first shard begins with.
    pub(super) fn inheritance(&self) -> Inheritance {
        let configuration = self.configuration.clone();
        Inheritance { owners: PortOwners::new(), configuration, leased: (None, Applied::default()) }
    }

    /// Makes the shard, after so many that failed, with what the last of them had.
    ///
    /// # Errors
    /// There is no memory for its buffers.
    pub(super) fn shard(
        &self,
        incarnation: u32,
        inherited: Inheritance,
        filters: &[FilterMaker],
        now: Instant,
    ) -> Result<(Shard, Vec<FilterId>), RegionError> {
        let mut steering = self.steering.clone();
        let Inheritance { owners, configuration, leased: (remembered, applied) } = inherited;
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
            configuration,
            now,
        });
        let filters = filters.iter().map(|maker| shard.install_filter(maker.make(self.id.0))).collect();
        if let Some(dhcp) = &self.dhcp {
            // Only the shard that configures all was given this.
            let _ = shard.dhcp_start(dhcp, remembered, applied);
        }
        Ok((shard, filters))
    }

    /// Where its buffers come from.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }
}
