//! `sunstar dhcp`: asks for a lease (RFC 2131), and shows how it goes.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde_json::json;
use sunstar::{Builder, Device, DhcpState, DhcpStatus, Lease, Net, Tap};

use crate::failure::Failure;
use crate::options::DhcpOptions;
use crate::output::Output;
use crate::signals::Signals;

/// Asks until there is a lease, or for as long as it is to be held; whether there was one. It is given back at the end.
///
/// # Errors
/// The network cannot be run.
pub(crate) fn run(options: &DhcpOptions) -> Result<bool, Failure> {
    let mut builder = Builder::new()
        .device(Device::Tap(Tap::new(&options.interface)))
        .dhcp(options.client())
        .shards(options.shards.get())
        .shutdown_deadline(Duration::ZERO);
    if let Some(path) = &options.pcap {
        builder = builder.pcap(path);
    }
    builder.run(|net| show(net, options))?
}

async fn show(net: Net, options: &DhcpOptions) -> Result<bool, Failure> {
    let mut signals = Signals::listen()?;
    let output = Output::new(options.json);
    let mut status = net.watch_dhcp();
    let (started, deadline) = (net.now(), tokio::time::Instant::now() + options.timeout());
    let (mut shown, mut leased) = (None, false);
    loop {
        let now = status.borrow_and_update().clone();
        if let Some(now) = now.filter(|now| shown.as_ref() != Some(now)) {
            let elapsed = net.now().saturating_since(started);
            say(output, elapsed, &now)?;
            leased = now.lease.is_some();
            shown = Some(now);
        }
        if leased && !options.hold {
            break;
        }
        tokio::select! {
            biased;
            () = signals.next() => break,
            changed = status.changed() => if changed.is_err() { break },
            () = tokio::time::sleep_until(deadline), if !leased => break,
        }
    }
    if leased {
        net.release_lease().await?;
    }
    let counters = net.shard_stats().map(|shard| shard.counters.dhcp).unwrap_or_default();
    let counted = counters.iter().filter(|(_, count)| *count > 0);
    let counted: Vec<_> =
        counted.map(|(name, count)| format!("{count} {}", name.replace('_', " "))).collect();
    let end = match leased {
        true => "the lease is given back",
        false => "no address is leased",
    };
    output
        .say(format!("{}; {end}", counted.join(", ")), json!({ "leased": leased, "messages": counters }))?;
    Ok(leased)
}

fn say(output: Output, elapsed: Duration, status: &DhcpStatus) -> Result<(), Failure> {
    let seconds = elapsed.as_secs_f64();
    let what = match status.state {
        DhcpState::Init => "waits a moment",
        DhcpState::Selecting => "DHCPDISCOVER to all: who has an address for us?",
        DhcpState::Requesting => "an offer; DHCPREQUEST to all: this one is taken",
        DhcpState::Rebooting => "DHCPREQUEST to all: is our address still ours?",
        DhcpState::Probing => "DHCPACK; ARP probes: does anybody use the address?",
        DhcpState::Bound => "the address is ours",
        DhcpState::Renewing => "T1: DHCPREQUEST to the server: may we keep it?",
        DhcpState::Rebinding => "T2: DHCPREQUEST to all: may we keep it?",
        DhcpState::Declined => "somebody uses the address; DHCPDECLINE to all",
        DhcpState::Releasing => "DHCPRELEASE to the server",
        DhcpState::Stopped => "done",
    };
    let mut text = format!("{seconds:9.3} s  {:<10}  {what}", format!("{:?}", status.state).to_lowercase());
    if let Some(lease) = status.lease.as_ref().filter(|_| status.state == DhcpState::Bound) {
        text += &format!("\n{}", Listed(lease));
    }
    output.say(text, json!({ "seconds": seconds, "state": status.state, "lease": status.lease }))?;
    Ok(())
}

/// A lease, a line a setting.
struct Listed<'a>(&'a Lease);

impl Display for Listed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let lease = self.0;
        let list = |addresses: &[std::net::Ipv4Addr]| {
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let mut lines = vec![
            ("address", format!("{}/{}", lease.address, lease.prefix)),
            ("server", lease.server.to_string()),
        ];
        let mut optional = |name, value: String| {
            if !value.is_empty() {
                lines.push((name, value));
            }
        };
        optional("routers", list(&lease.routers));
        let routes = lease.classless_routes.iter().map(|route| match route.gateway {
            Some(gateway) => format!("{}/{} via {gateway}", route.network, route.prefix),
            None => format!("{}/{} on the link", route.network, route.prefix),
        });
        optional("routes", routes.collect::<Vec<_>>().join(", "));
        optional("name servers", list(&lease.dns_servers));
        optional("domain", lease.domain.clone().unwrap_or_default());
        optional("search", lease.search.join(", "));
        optional("MTU", lease.mtu.map(|mtu| mtu.to_string()).unwrap_or_default());
        let times = lease.term.map_or("for ever".to_owned(), |term| {
            let after = |at: sunstar::time::Instant| format!("{} s", (at - lease.obtained).as_secs());
            format!("{}, T1 {}, T2 {}", after(term.expires), after(term.renews), after(term.rebinds))
        });
        lines.push(("time", times));
        let lines: Vec<_> =
            lines.iter().map(|(name, value)| format!("             {name:<13}{value}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_listed_with_what_it_has_and_nothing_else() {
        let lease: Lease = serde_json::from_value(json!({
            "address": "10.0.0.7", "prefix": 24, "server": "10.0.0.1", "routers": ["10.0.0.1"],
            "dns_servers": ["10.0.0.1", "10.0.0.2"], "domain": "one.test", "search": [], "mtu": null,
            "classless_routes": [], "obtained": 5_000_000,
            "term": { "renews": 55_000_000, "rebinds": 92_500_000, "expires": 105_000_000 }
        }))
        .unwrap();
        let text = Listed(&lease).to_string();
        let squeezed: Vec<_> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            squeezed,
            [
                "address 10.0.0.7/24",
                "server 10.0.0.1",
                "routers 10.0.0.1",
                "name servers 10.0.0.1, 10.0.0.2",
                "domain one.test",
                "time 100 s, T1 50 s, T2 87 s"
            ]
        );
    }
}
