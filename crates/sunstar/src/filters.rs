//! Packet filters that every shard has: each makes its own, and makes it again when it begins anew.

use std::sync::Arc;

use sunstar_stack::PacketFilter;

/// Makes a packet filter for each shard. A filter that only one shard has misses what arrives at the others.
#[derive(Clone)]
pub struct FilterMaker(Arc<dyn Fn(u16) -> Box<dyn PacketFilter> + Send + Sync>);

impl FilterMaker {
    /// Filters made by `make`, which is given the number of the shard, on that shard's thread.
    pub fn new<F: PacketFilter + 'static>(make: impl Fn(u16) -> F + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |shard| Box::new(make(shard))))
    }

    pub(crate) fn make(&self, shard: u16) -> Box<dyn PacketFilter> {
        (self.0)(shard)
    }

    /// Whether both are the same, and not only alike.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for FilterMaker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FilterMaker").finish_non_exhaustive()
    }
}
