//! Sockets, as `ss -tin` shows them.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use sunstar_stack::{EchoInfo, ListenerInfo, SocketCounts, State, TcpInfo, TcpTimers, UdpInfo};

use super::table::{Table, counted, or_dash};
use super::units::{bytes, micros};
use super::{Part, Shown, View};

/// TCP connections and listeners, UDP sockets, echo sockets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sockets {
    /// How many there are, whether they are listed or not.
    pub counts: SocketCounts,
    /// There are more than are listed.
    pub truncated: bool,
    /// Listeners.
    pub listeners: Vec<OnShard<ListenerInfo>>,
    /// Connections that are not over; those in TIME-WAIT are only counted.
    pub connections: Vec<OnShard<TcpInfo>>,
    /// UDP sockets.
    pub udp: Vec<OnShard<UdpInfo>>,
    /// Echo sockets.
    pub echo: Vec<OnShard<EchoInfo>>,
}

/// A socket, and the shard that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnShard<T> {
    /// Which shard.
    pub shard: u16,
    /// The socket.
    #[serde(flatten)]
    pub socket: T,
}

/// Some of the sockets of a kind, and whether there are more.
fn some<T>(view: &View<'_>, mut sockets: impl Iterator<Item = T>) -> (Vec<OnShard<T>>, bool) {
    let shard = view.shard.id().0;
    let listed = sockets.by_ref().take(view.share()).map(|socket| OnShard { shard, socket }).collect();
    (listed, sockets.next().is_some())
}

impl Part for Sockets {
    fn read(view: &View<'_>) -> Self {
        let (listeners, more_listeners) = some(view, view.shard.tcp_listeners());
        let (connections, more_connections) = some(view, view.shard.tcp_list());
        let (udp, more_udp) = some(view, view.shard.udp_sockets());
        let (echo, more_echo) = some(view, view.shard.echo_sockets());
        let counts = view.shard.socket_counts();
        let truncated = more_listeners || more_connections || more_udp || more_echo;
        Self { counts, truncated, listeners, connections, udp, echo }
    }

    fn join(parts: Vec<Self>) -> Self {
        let mut all = Self {
            counts: SocketCounts::default(),
            truncated: false,
            listeners: Vec::new(),
            connections: Vec::new(),
            udp: Vec::new(),
            echo: Vec::new(),
        };
        for part in parts {
            let SocketCounts { connections, time_wait, listeners, udp, echo } = part.counts;
            all.counts.connections += connections;
            all.counts.time_wait += time_wait;
            all.counts.listeners += listeners;
            all.counts.udp += udp;
            all.counts.echo += echo;
            all.truncated |= part.truncated;
            all.listeners.extend(part.listeners);
            all.connections.extend(part.connections);
            all.udp.extend(part.udp);
            all.echo.extend(part.echo);
        }
        all.listeners.sort_by_key(|it| (it.socket.local.port(), it.socket.local, it.shard));
        all.connections
            .sort_by_key(|it| (it.socket.local.port(), it.socket.local, it.socket.remote, it.shard));
        all.udp.sort_by_key(|it| (it.socket.local.port(), it.socket.local, it.socket.remote, it.shard));
        all.echo.sort_by_key(|it| (it.socket.identifier, it.shard));
        all
    }
}

/// The name of RFC 9293 section 3.3.2.
fn state(state: State) -> &'static str {
    match state {
        State::SynSent => "SYN-SENT",
        State::SynReceived => "SYN-RECEIVED",
        State::Established => "ESTABLISHED",
        State::FinWait1 => "FIN-WAIT-1",
        State::FinWait2 => "FIN-WAIT-2",
        State::CloseWait => "CLOSE-WAIT",
        State::Closing => "CLOSING",
        State::LastAck => "LAST-ACK",
        State::Closed => "CLOSED",
    }
}

/// No window is larger (RFC 7323 section 2.3): a threshold up there has not been found yet.
const LARGEST_WINDOW: u32 = 1 << 30;

/// What a connection is like inside, in the terms of the RFCs.
fn inside(info: &TcpInfo) -> String {
    let mut parts = Vec::new();
    let mut say = |name: &str, value: String| parts.push(format!("{name}:{value}"));
    say("cwnd", info.cwnd.to_string());
    let threshold = (info.ssthresh < LARGEST_WINDOW).then_some(info.ssthresh);
    say("ssthresh", or_dash(threshold));
    say("flight", info.flight.to_string());
    match info.srtt_us {
        Some(srtt) => say("rtt", format!("{}/{}", micros(srtt), micros(info.rttvar_us))),
        None => say("rtt", "none".to_owned()),
    }
    if let Some(least) = info.min_rtt_us {
        say("minrtt", micros(least));
    }
    say("rto", micros(info.rto_us));
    if info.backoff > 0 {
        say("backoff", info.backoff.to_string());
    }
    say("mss", info.mss.to_string());
    say("wscale", format!("{},{}", info.snd_scale, info.rcv_scale));
    say("snd_wnd", info.snd_wnd.to_string());
    say("rcv_wnd", info.rcv_wnd.to_string());
    say("retrans", info.retransmissions.to_string());
    say("sent", bytes(info.bytes_sent));
    say("received", bytes(info.bytes_received));
    say("memory", bytes(info.memory as u64));
    let TcpTimers { retransmit_us, persist_us, delayed_ack_us, keepalive_us, next_hop_us, orphan_us } =
        info.timers;
    for (timer, due) in [
        ("retransmit", retransmit_us),
        ("persist", persist_us),
        ("delayed-ack", delayed_ack_us),
        ("keepalive", keepalive_us),
        ("next-hop", next_hop_us),
        ("orphan", orphan_us),
    ] {
        if let Some(due) = due {
            parts.push(format!("timer:({timer},{})", micros(due)));
        }
    }
    parts.extend(info.timestamps.then(|| "ts".to_owned()));
    parts.extend(info.sack.then(|| "sack".to_owned()));
    parts.join(" ")
}

impl Display for Sockets {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let headings = ["kind", "state", ">shard", ">unread", ">unsent", "local", "remote"];
        let mut table = Table::new(headings);
        let text = |text: &str| text.to_owned();
        for OnShard { shard, socket } in &self.listeners {
            let below = format!("backlog:{} half-open:{}", socket.backlog, socket.half_open);
            let (shard, queued) = (shard.to_string(), socket.queued.to_string());
            let cells =
                [text("tcp"), text("LISTEN"), shard, queued, text("-"), socket.local.to_string(), text("-")];
            table.row_with(cells, below);
        }
        for OnShard { shard, socket } in &self.connections {
            let cells = [
                text("tcp"),
                text(state(socket.state)),
                shard.to_string(),
                socket.receive_queue.to_string(),
                socket.send_queue.to_string(),
                socket.local.to_string(),
                socket.remote.to_string(),
            ];
            table.row_with(cells, inside(socket));
        }
        for OnShard { shard, socket } in &self.udp {
            table.row([
                text("udp"),
                or_dash(socket.remote.map(|_| "CONNECTED")),
                shard.to_string(),
                socket.receive_queue.to_string(),
                socket.send_queue.to_string(),
                socket.local.to_string(),
                or_dash(socket.remote),
            ]);
        }
        for OnShard { shard, socket } in &self.echo {
            table.row([
                text("echo"),
                text("-"),
                shard.to_string(),
                socket.replies.to_string(),
                socket.requests.to_string(),
                format!("identifier {}", socket.identifier),
                text("-"),
            ]);
        }
        write!(f, "{table}\n({})", self.summary())
    }
}

impl Shown for Sockets {
    fn summary(&self) -> String {
        let SocketCounts { connections, time_wait, listeners, udp, echo } = self.counts;
        let more = if self.truncated { "; not all are listed" } else { "" };
        format!(
            "{}, {time_wait} in TIME-WAIT, {}, {}, {}{more}",
            counted(connections, "connection"),
            counted(listeners, "listener"),
            counted(udp, "UDP socket"),
            counted(echo, "echo socket"),
        )
    }
}
