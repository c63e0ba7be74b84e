//! The DHCP client, and its lease.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use sunstar_stack::time::Instant;

use super::table::{Table, or_dash};
use super::{Part, Shown, View};
use crate::dhcp::{DhcpStatus, status};

/// How the DHCP client stands, and the lease it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dhcp {
    /// Nothing without a client.
    pub client: Option<DhcpStatus>,
    /// The stack's time, which that of the lease is told in.
    pub now: Instant,
}

impl Part for Dhcp {
    fn read(view: &View<'_>) -> Self {
        Self { client: status(view.shard), now: view.shard.now() }
    }

    fn join(parts: Vec<Self>) -> Self {
        // One shard has the client.
        let now = parts.iter().map(|part| part.now).max().unwrap_or(Instant::ZERO);
        Self { client: parts.into_iter().find_map(|part| part.client), now }
    }
}

impl Display for Dhcp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(client) = &self.client else { return f.write_str("no DHCP client") };
        let mut table =
            Table::new(["state", "address", "server", "router", "name servers", "renews", "ends"]);
        let lease = client.lease.as_ref();
        let within = |at: Instant| format!("{} s", at.saturating_since(self.now).as_secs());
        let servers =
            lease.map(|it| it.dns_servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        table.row([
            format!("{:?}", client.state).to_lowercase(),
            or_dash(lease.map(|lease| format!("{}/{}", lease.address, lease.prefix))),
            or_dash(lease.map(|lease| lease.server)),
            or_dash(lease.and_then(|lease| lease.routers.first())),
            or_dash(servers.filter(|servers| !servers.is_empty())),
            or_dash(lease.and_then(|lease| lease.term).map(|term| within(term.renews))),
            or_dash(lease.and_then(|lease| lease.term).map(|term| within(term.expires))),
        ]);
        write!(f, "{table}")
    }
}

impl Shown for Dhcp {
    fn summary(&self) -> String {
        match &self.client {
            None => "no DHCP client".to_owned(),
            Some(DhcpStatus { state, lease: None }) => format!("{state:?}, no lease").to_lowercase(),
            Some(DhcpStatus { state, lease: Some(lease) }) => {
                let state = format!("{state:?}").to_lowercase();
                format!("{state}, {}/{} from {}", lease.address, lease.prefix, lease.server)
            }
        }
    }
}
