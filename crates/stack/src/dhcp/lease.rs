//! A lease: the address, what goes with it, and how long it is ours (RFC 2131 sections 3.3 and 4.4.5; RFC
//! 2132).

use core::net::Ipv4Addr;
use core::time::Duration;

use dhcproto::v4::{DhcpOption, DhcpOptions, OptionCode};
use serde::{Deserialize, Serialize};

use super::reply::{Reply, is_host};
use crate::time::Instant;

/// Routers, name servers, and names of the search list taken at most.
const MAX_LISTED: usize = 16;

/// Classless routes taken at most.
const MAX_ROUTES: usize = 64;

/// The least MTU that is heeded (RFC 791 section 3.1: what every host takes).
const MIN_MTU: u16 = 576;

/// A lease time that means for ever (RFC 2131 section 3.3).
const INFINITE: u32 = u32::MAX;

/// An address of one's own for a time, and what the server told with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// Bits of its network's prefix (option 1).
    ///
    /// From a server that does not tell a mask, or one that is none, it is that of the address's class, 8, 16
    /// or 24: not what anybody should rely on, but what dhcpcd and systemd-networkd do, and with less no
    /// router would be near.
    pub prefix: u8,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// Routers, the preferred one first (option 3). None if there are classless routes that were asked for.
    pub routers: Vec<Ipv4Addr>,
    /// Name servers, the preferred one first (option 6).
    pub dns_servers: Vec<Ipv4Addr>,
    /// The domain this host is in (option 15), without a dot at its end.
    pub domain: Option<String>,
    /// Domains in which short names are looked for (option 119), without a dot at their ends.
    pub search: Vec<String>,
    /// The MTU the server wants used (option 26), as it said so: it may be more than the device can. Less
    /// than 576 counts as not said.
    pub mtu: Option<u16>,
    /// Classless routes, if they were asked for (option 121, RFC 3442).
    pub classless_routes: Vec<ClasslessRoute>,
    /// When the request was sent that the server granted; all times count from it.
    pub obtained: Instant,
    /// When it ends, and when to do something about it; `None` for a lease without an end.
    pub term: Option<LeaseTerm>,
}

/// The times of a lease that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTerm {
    /// T1: the server is asked for more time.
    pub renews: Instant,
    /// T2: any server is asked for more time.
    pub rebinds: Instant,
    /// The address is no longer ours.
    pub expires: Instant,
}

/// A route as RFC 3442 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClasslessRoute {
    /// The network's address.
    pub network: Ipv4Addr,
    /// Bits of the network's prefix; 0 is the default route.
    pub prefix: u8,
    /// The next hop; `None` where the network is on the link itself.
    pub gateway: Option<Ipv4Addr>,
}

impl Lease {
    /// What a server offers or grants to a request of that time; `None` where no host can have the address,
    /// or nothing is said of the time.
    pub(super) fn from_reply(reply: &Reply, requested: Instant, classless: bool) -> Option<Self> {
        let options = &reply.options;
        let prefix = prefix(options).unwrap_or_else(|| class_prefix(reply.address));
        if !is_host(reply.address) || !is_host_of(reply.address, prefix) {
            return None;
        }
        let Some(DhcpOption::AddressLeaseTime(1..)) = options.get(OptionCode::AddressLeaseTime) else {
            return None;
        };
        let classless_routes = if classless { classless_routes(options) } else { Vec::new() };
        let routers = match options.get(OptionCode::Router) {
            // RFC 3442: if both are returned, the client MUST ignore the Router option.
            Some(DhcpOption::Router(routers)) if classless_routes.is_empty() => hosts(routers, reply.address),
            _ => Vec::new(),
        };
        let dns_servers = match options.get(OptionCode::DomainNameServer) {
            Some(DhcpOption::DomainNameServer(servers)) => hosts(servers, reply.address),
            _ => Vec::new(),
        };
        let domain = match options.get(OptionCode::DomainName) {
            Some(DhcpOption::DomainName(name)) => domain(name),
            _ => None,
        };
        let mtu = match options.get(OptionCode::InterfaceMtu) {
            Some(DhcpOption::InterfaceMtu(mtu @ MIN_MTU..)) => Some(*mtu),
            _ => None,
        };
        Some(Self {
            address: reply.address,
            prefix,
            server: reply.server,
            routers,
            dns_servers,
            domain,
            search: search(options),
            mtu,
            classless_routes,
            obtained: requested,
            term: term(options, requested),
        })
    }

    /// Whether what has to be applied is the same in both, whatever their times and servers.
    pub(super) fn has_settings_of(&self, other: &Self) -> bool {
        let Self { obtained, term, server, .. } = *other;
        Self { obtained, term, server, ..self.clone() } == *other
    }
}

/// When to renew, rebind and give up. `None` is for ever.
fn term(options: &DhcpOptions, requested: Instant) -> Option<LeaseTerm> {
    let seconds = |code| match options.get(code) {
        Some(
            DhcpOption::AddressLeaseTime(seconds)
            | DhcpOption::Renewal(seconds)
            | DhcpOption::Rebinding(seconds),
        ) => Some(Duration::from_secs(u64::from(*seconds))),
        _ => None,
    };
    let lease =
        seconds(OptionCode::AddressLeaseTime).filter(|lease| lease.as_secs() < u64::from(INFINITE))?;
    // RFC 2131 section 4.4.5: T1 defaults to half of the lease, T2 to seven eighths.
    let defaults = (lease / 2, lease * 7 / 8);
    let told = (
        seconds(OptionCode::Renewal).unwrap_or(defaults.0),
        seconds(OptionCode::Rebinding).unwrap_or(defaults.1),
    );
    let in_order = !told.0.is_zero() && told.0 <= told.1 && told.1 < lease;
    let (t1, t2) = if in_order { told } else { defaults };
    Some(LeaseTerm { renews: requested + t1, rebinds: requested + t2, expires: requested + lease })
}

fn prefix(options: &DhcpOptions) -> Option<u8> {
    let Some(DhcpOption::SubnetMask(mask)) = options.get(OptionCode::SubnetMask) else { return None };
    let ones = mask.to_bits().leading_ones();
    (ones > 0 && ones + mask.to_bits().trailing_zeros() >= 32).then_some(ones as u8)
}

/// The prefix of an address's class (RFC 791 section 3.2).
fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        192.. => 24,
    }
}

/// Whether the address is neither its network's own nor its broadcast address; a network of one or two
/// addresses has neither (RFC 3021).
fn is_host_of(address: Ipv4Addr, prefix: u8) -> bool {
    let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let host = address.to_bits() & hosts;
    prefix >= 31 || (host != 0 && host != hosts)
}

/// Those that can be other hosts.
fn hosts(addresses: &[Ipv4Addr], own: Ipv4Addr) -> Vec<Ipv4Addr> {
    let others = addresses.iter().copied().filter(|address| is_host(*address) && *address != own);
    others.take(MAX_LISTED).collect()
}

fn classless_routes(options: &DhcpOptions) -> Vec<ClasslessRoute> {
    let Some(DhcpOption::ClasslessStaticRoute(routes)) = options.get(OptionCode::ClasslessStaticRoute) else {
        return Vec::new();
    };
    let possible = routes.iter().filter(|(_, gateway)| gateway.is_unspecified() || is_host(*gateway));
    let taken = possible.map(|(network, gateway)| ClasslessRoute {
        network: network.network(),
        prefix: network.prefix_len(),
        gateway: Some(*gateway).filter(|gateway| !gateway.is_unspecified()),
    });
    taken.take(MAX_ROUTES).collect()
}

fn search(options: &DhcpOptions) -> Vec<String> {
    let Some(DhcpOption::DomainSearch(names)) = options.get(OptionCode::DomainSearch) else {
        return Vec::new();
    };
    names.iter().filter_map(|name| domain(&name.to_ascii())).take(MAX_LISTED).collect()
}

/// A domain's name as it may be handed on: a stranger wrote it, and whoever gets it may put it into a file.
/// RFC 2132 section 2: servers may end a text with zeros, which are no part of it.
fn domain(name: &str) -> Option<String> {
    let name = name.trim_end_matches('\0').trim_end_matches('.');
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(usual);
    (name.len() <= 253 && name.split('.').all(label)).then(|| name.to_owned())
}
