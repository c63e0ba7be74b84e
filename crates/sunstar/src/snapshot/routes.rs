//! Routes.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::interfaces::name;
use super::seen::ranges;
use super::table::{Table, counted, or_dash};
use super::{Part, Seen, Shown, View};
use crate::configure::Network;

/// Where packets go: the networks of the interfaces, and those behind gateways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Routes {
    /// One entry each; more where shards differ. The longest prefix wins.
    pub routes: Vec<Seen<Route>>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub network: Network,
    /// The next hop; nothing for an interface's own network.
    pub gateway: Option<IpAddr>,
    /// The interface it leaves by.
    pub interface: String,
}

impl Part for Routes {
    fn read(view: &View<'_>) -> Self {
        let own = view.shard.interfaces().flat_map(|interface| {
            interface.addresses().iter().map(|own| Route {
                network: Network::around(own.address, own.prefix),
                gateway: None,
                interface: name(interface.id),
            })
        });
        let routed = view.shard.routes().map(|route| Route {
            network: Network::around(route.network, route.prefix),
            gateway: Some(route.gateway),
            interface: name(route.interface),
        });
        let mut routes: Vec<_> = own.chain(routed).collect();
        // Two addresses may lie in one network.
        routes.sort();
        routes.dedup();
        Self { routes: Seen::by(view.shard.id().0, routes.into_iter()) }
    }

    fn join(parts: Vec<Self>) -> Self {
        Self { routes: Seen::join(parts.into_iter().map(|part| part.routes)) }
    }
}

impl Display for Routes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["network", "gateway", "interface", "shards"]);
        for Seen { what, shards } in &self.routes {
            let gateway = or_dash(what.gateway);
            table.row([what.network.to_string(), gateway, what.interface.clone(), ranges(shards)]);
        }
        write!(f, "{table}")
    }
}

impl Shown for Routes {
    fn summary(&self) -> String {
        let (routed, own): (Vec<_>, Vec<_>) =
            self.routes.iter().partition(|Seen { what, .. }| what.gateway.is_some());
        let via = |Seen { what, .. }: &&Seen<Route>| Some(format!("{} via {}", what.network, what.gateway?));
        let mut parts = vec![counted(own.len(), "network") + " of its own"];
        parts.extend(routed.iter().take(8).filter_map(via));
        if routed.len() > 8 {
            parts.push(format!("and {} more", routed.len() - 8));
        }
        parts.join(", ")
    }
}
