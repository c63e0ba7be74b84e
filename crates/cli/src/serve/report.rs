//! What `serve` says: where to look when it is ready, and at the end what went through it.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_json::json;
use sunstar::{InterfaceAddress, Lease, Net, Publish, ShardStats};

use crate::options::{Control, ServeSettings};
use crate::output::Output;

/// Says where the server can be reached.
pub(super) async fn ready(
    output: Output,
    net: &Net,
    settings: &ServeSettings,
    control: Option<&Path>,
) -> io::Result<()> {
    let addresses = net.addresses();
    let device = settings.network.device();
    let reachable = |port| reach(port, net.published(), &addresses);
    let listening = reachable(settings.port).map(|socket| url(&socket));
    let (discard, chargen) = (settings.discard.and_then(reachable), settings.chargen.and_then(reachable));
    // Only TCP is published.
    let udp_echo = settings.udp_echo.and_then(|port| reach(port, &[], &addresses));
    let names: Vec<_> = addresses.iter().map(InterfaceAddress::to_string).collect();

    let shards = net.shards();
    let steering = net.stats().await.steering;
    let mut text = format!("sunstar is {} on {device}\n", names.join(", "));
    if shards > 1 {
        let _ = writeln!(text, "{shards} shards; packets are steered by {}", steering.by);
        if let Some(reason) = &steering.reason {
            let _ = writeln!(text, "there is no program in the kernel for it: {reason}");
        }
    }
    // Writing to a string does not fail.
    let _ = write!(text, "look at {}", listening.as_deref().unwrap_or("nothing: no address"));
    for (name, socket) in [("discard", discard), ("chargen", chargen), ("UDP echo", udp_echo)] {
        if let Some(socket) = socket {
            let _ = write!(text, "\n{name} at {socket}");
        }
    }
    match (&settings.control, control) {
        (_, None) => {}
        // Nobody has to write what the command finds by itself.
        (Control::Default, Some(_)) => text.push_str("\nwatch it with `sunstar top`"),
        (_, Some(path)) => {
            let _ = write!(text, "\nwatch it with `sunstar top {}`", path.display());
        }
    }
    let json = json!({
        "control": control,
        "listening": listening,
        "device": device.to_string(),
        "addresses": names,
        "shards": shards,
        "steering": steering.by,
        "discard": discard,
        "chargen": chargen,
        "udp_echo": udp_echo,
    });
    output.say(text, json)
}

/// Says what a DHCP server granted.
pub(super) fn leased(output: Output, lease: &Lease) -> io::Result<()> {
    let text = format!("{}/{} is leased from {}", lease.address, lease.prefix, lease.server);
    output.say(text, json!({ "lease": lease }))
}

/// Says what went through the server.
pub(super) async fn last(output: Output, net: &Net) -> io::Result<()> {
    let stats = net.stats().await;
    let sum = |read: fn(&ShardStats) -> u64| stats.shards.iter().map(read).sum::<u64>();
    let text = format!(
        "{} packets in, {} out; {} connections accepted; {} segments sent again; {} packets dropped",
        sum(|shard| shard.counters.ip.received),
        sum(|shard| shard.counters.ip.sent),
        sum(|shard| shard.counters.tcp.passive_opens),
        sum(|shard| shard.counters.tcp.retransmissions),
        sum(|shard| shard.counters.drops.total()),
    );
    output.say(text, json!({ "stats": stats }))
}

/// Where a port of the stack is reached: on the machine if it is published there, or at the stack's own address.
fn reach(port: u16, published: &[Publish], addresses: &[InterfaceAddress]) -> Option<SocketAddr> {
    if let Some(published) = published.iter().find(|it| it.port == port) {
        let host = published.host;
        let all = host.ip().is_unspecified();
        return Some(if all { SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), host.port()) } else { host });
    }
    addresses.first().map(|own| SocketAddr::new(own.address, port))
}

fn url(socket: &SocketAddr) -> String {
    match (socket, socket.port()) {
        (SocketAddr::V4(socket), 80) => format!("http://{}/", socket.ip()),
        _ => format!("http://{socket}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_port_is_reached_at_the_machine_and_another_at_the_stack() {
        let own = ["10.0.0.2/24".parse().unwrap()];
        let publish = |host: &str| [Publish { host: host.parse().unwrap(), port: 80 }];
        let url_of = |port, published: &[Publish]| reach(port, published, &own).map(|socket| url(&socket));
        assert_eq!(url_of(80, &publish("127.0.0.1:8080")).unwrap(), "http://127.0.0.1:8080/");
        assert_eq!(url_of(80, &publish("0.0.0.0:8080")).unwrap(), "http://127.0.0.1:8080/");
        assert_eq!(url_of(80, &publish("[::1]:80")).unwrap(), "http://[::1]:80/");
        assert_eq!(url_of(80, &[]).unwrap(), "http://10.0.0.2/");
        assert_eq!(url_of(9, &publish("127.0.0.1:8080")).unwrap(), "http://10.0.0.2:9/");
    }
}
