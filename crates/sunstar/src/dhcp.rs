//! What DHCP has come to, told to every shard.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sunstar_stack::{DhcpState, Lease, Shard};
use tokio::sync::watch;

/// How the DHCP client of a stack stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpStatus {
    /// What it is about.
    pub state: DhcpState,
    /// The lease in use.
    pub lease: Option<Lease>,
}

impl DhcpStatus {
    /// Before the client has done anything.
    pub(crate) const BEGINNING: Self = Self { state: DhcpState::Init, lease: None };
}

/// Where the shard with the client tells, and all find it. Nothing without DHCP.
pub(crate) type Told = Arc<watch::Sender<Option<DhcpStatus>>>;

/// How the client of a shard stands.
pub(crate) fn status(shard: &Shard) -> Option<DhcpStatus> {
    let client = shard.dhcp()?;
    Some(DhcpStatus { state: client.state(), lease: client.lease().cloned() })
}
