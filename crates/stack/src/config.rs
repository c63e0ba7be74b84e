//! A shard's settings and their defaults.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use sunstar_wire::tcp::OptionOrder;

/// Settings of one shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShardConfig {
    /// Neighbour resolution.
    pub neighbor: NeighborConfig,
    /// Datagrams put together from fragments.
    pub reassembly: ReassemblyConfig,
    /// ICMP.
    pub icmp: IcmpConfig,
    /// Groups of hosts.
    pub igmp: IgmpConfig,
    /// Path MTUs.
    pub path_mtu: PathMtuConfig,
    /// UDP.
    pub udp: UdpConfig,
    /// TCP.
    pub tcp: TcpConfig,
    /// The range ephemeral ports are chosen from (RFC 6335 section 6: 49152 to 65535; Linux's wider default here).
    pub ephemeral_ports: EphemeralPorts,
}

/// First and last of the ephemeral ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EphemeralPorts {
    /// The lowest port chosen.
    pub first: u16,
    /// The highest port chosen.
    pub last: u16,
}

impl Default for EphemeralPorts {
    fn default() -> Self {
        Self { first: 32_768, last: 60_999 }
    }
}

/// Neighbour resolution (RFC 826, RFC 1122 section 2.3.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NeighborConfig {
    /// Entries at most. None that is reachable is pushed out by a new one.
    pub max_entries: usize,
    /// Packets that wait for one neighbour at most; the oldest goes first.
    pub max_waiting: usize,
    /// How long an answer is good for, on the average; each entry's own is half to one and a half times this.
    pub reachable: Duration,
    /// Time between questions.
    pub retry: Duration,
    /// Questions without an answer before the neighbour is given up.
    pub attempts: u8,
    /// How long a neighbour that was given up is not asked for again.
    pub failed: Duration,
    /// How long the first probe for an address of one's own waits at most (RFC 5227 section 1.1, PROBE_WAIT).
    pub probe_wait: Duration,
    /// Probes before an address is taken (PROBE_NUM).
    pub probes: u8,
    /// The least and the greatest time between two of them (PROBE_MIN, PROBE_MAX).
    pub probe_interval: (Duration, Duration),
    /// How long after the last probe the address is taken (ANNOUNCE_WAIT).
    pub announce_wait: Duration,
    /// How often an address is announced (ANNOUNCE_NUM); never, with zero.
    pub announcements: u8,
    /// Time between two announcements (ANNOUNCE_INTERVAL).
    pub announce_interval: Duration,
    /// How long after it was defended an address is not defended again (DEFEND_INTERVAL).
    pub defend_interval: Duration,
}

impl Default for NeighborConfig {
    fn default() -> Self {
        Self {
            max_entries: 512,
            max_waiting: 16,
            reachable: Duration::from_secs(30),
            retry: Duration::from_millis(800),
            attempts: 3,
            failed: Duration::from_secs(1),
            probe_wait: Duration::from_secs(1),
            probes: 3,
            probe_interval: (Duration::from_secs(1), Duration::from_secs(2)),
            announce_wait: Duration::from_secs(2),
            announcements: 2,
            announce_interval: Duration::from_secs(2),
            defend_interval: Duration::from_secs(10),
        }
    }
}

/// Datagrams put together from fragments (RFC 791, RFC 1122 section 3.3.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReassemblyConfig {
    /// Bytes of buffers that incomplete datagrams hold at most; above it, the oldest are given up. All shards of a host
    /// together hold no more than half of one shard's small buffers, whatever is set here.
    pub high: usize,
    /// Bytes that are still held after that; three quarters of `high` at most.
    pub low: usize,
    /// Incomplete datagrams of one source at most; a further one takes the place of the oldest.
    pub max_per_source: usize,
    /// Incomplete datagrams at most, those among them that are only remembered because they were spoilt; a further one takes
    /// the place of the oldest.
    pub max_datagrams: usize,
    /// Fragments of one datagram at most: 65,535 bytes over an MTU of 576 take 119.
    pub max_fragments: usize,
    /// How long a datagram waits for its last fragment, from the first on.
    pub timeout: Duration,
}

impl Default for ReassemblyConfig {
    fn default() -> Self {
        Self {
            high: 4 << 20,
            low: 3 << 20,
            max_per_source: 64,
            max_datagrams: 4_096,
            max_fragments: 128,
            timeout: Duration::from_secs(30),
        }
    }
}

/// ICMP (RFC 792, RFC 1122 section 3.2.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IcmpConfig {
    /// Whether echo requests are answered (RFC 1122: a host MUST; an operator may decide otherwise).
    pub answer_echo: bool,
    /// Errors sent a second at most, on the average; a jittered bucket, so that an outsider
    /// cannot read it like a counter.
    pub errors_per_second: u32,
    /// Answers that wait for the device at most.
    pub max_queued: usize,
}

impl Default for IcmpConfig {
    fn default() -> Self {
        Self { answer_echo: true, errors_per_second: 1_000, max_queued: 256 }
    }
}

/// Groups of hosts, and IGMP, by which routers are told of them (RFC 3376).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IgmpConfig {
    /// Groups, each at a UDP port, that a shard's sockets may join at most.
    pub max_groups: usize,
}

impl Default for IgmpConfig {
    fn default() -> Self {
        Self { max_groups: 256 }
    }
}

/// Path MTUs (RFC 1191, RFC 5927 section 7, RFC 8899).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PathMtuConfig {
    /// Destinations at most whose MTU is remembered; the oldest makes room.
    pub max_entries: usize,
    /// The least MTU that is believed of a path, in bytes. RFC 1191 section 3 knows of 68; then whoever can forge one ICMP
    /// message could have data sent in crumbs, each with 40 bytes of headers. No path in use takes less than 552 (the
    /// default, as on Linux: RFC 1122's 576 less what tunnels may need).
    pub min_mtu: u16,
    /// How long an MTU is remembered before larger packets are tried again (RFC 1191 section 6.3: ten minutes, never
    /// less than five).
    pub lifetime: Duration,
    /// Whether TCP finds out by itself that large segments do not get through, when no router says so (RFC 8899).
    pub probing: bool,
}

impl Default for PathMtuConfig {
    fn default() -> Self {
        Self { max_entries: 1_024, min_mtu: 552, lifetime: Duration::from_secs(600), probing: true }
    }
}

/// UDP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UdpConfig {
    /// Bytes of buffer memory a socket may hold in received datagrams.
    pub receive_buffer: usize,
    /// Bytes of datagrams a socket may have queued, until they have left the device.
    pub send_buffer: usize,
}

impl Default for UdpConfig {
    fn default() -> Self {
        Self { receive_buffer: 1 << 20, send_buffer: 256 << 10 }
    }
}

/// DHCP (RFC 2131).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DhcpConfig {
    /// The least wait before the first message.
    pub min_initial_delay: Duration,
    /// The greatest wait before the first message; which of them is left to chance. RFC 2131 section 4.4.1
    /// would have 1 to 10 seconds, so that a building whose power comes back does not ask all at once. Nobody
    /// waits that long for an address any more: a second at most is what clients do.
    pub max_initial_delay: Duration,
    /// How long offers are collected once there is one; zero takes the first that is acceptable. Of several,
    /// the one of the address held before is taken, else the first.
    pub collect_offers: Duration,
    /// Time from a message without an answer to the next one (RFC 2131 section 4.1); it doubles each time.
    pub retry: Duration,
    /// The greatest time between two of those.
    pub max_retry: Duration,
    /// How much longer or shorter than that chance may make it.
    pub retry_jitter: Duration,
    /// Requests of an offered address before another is looked for. Four take a minute (RFC 2131 section
    /// 3.1.5).
    pub request_attempts: u8,
    /// Requests of an address remembered from before (INIT-REBOOT), until any other is asked for as well. Two
    /// take 12 seconds; a host that has moved to where nobody knows of its address would wait for nothing.
    pub reboot_attempts: u8,
    /// The least time between two requests to have a lease renewed (RFC 2131 section 4.4.5). A lease of less
    /// than sixteen times this has a sixteenth of its own length for it, or else a lost packet would lose it;
    /// but never less than a second.
    pub min_renewal_retry: Duration,
    /// The wait after an address has turned out to be in use. RFC 2131 section 3.1.5: ten seconds at least;
    /// less is not heeded.
    pub decline_wait: Duration,
    /// Whether an address is probed for before it is used (RFC 5227, RFC 2131 section 4.4.1).
    pub probe: bool,
    /// Whether servers are asked to broadcast their answers (the BROADCAST flag, RFC 2131 section 4.1, RFC
    /// 1542 section 3.1.1). This stack hears what is sent to a station without an address, so it need not be.
    pub broadcast: bool,
    /// Whether classless static routes are asked for (RFC 3442). If the server has some, its routers count no
    /// more.
    pub classless_routes: bool,
    /// The name of this host, told to the server (RFC 2132 section 3.14). None of more than 255 bytes is.
    pub host_name: Option<String>,
    /// What names this client to the server, type included (RFC 2132 section 9.14, RFC 4361 section 6.1). By
    /// default, and in place of one that is not 2 to 255 bytes long, the hardware type and address.
    pub client_identifier: Option<Vec<u8>>,
    /// The longest message taken, in bytes of its IP packet: told to the server (RFC 2132 section 9.10). 576
    /// at least; less is not heeded.
    pub max_message: u16,
}

impl Default for DhcpConfig {
    fn default() -> Self {
        Self {
            min_initial_delay: Duration::ZERO,
            max_initial_delay: Duration::from_secs(1),
            collect_offers: Duration::ZERO,
            retry: Duration::from_secs(4),
            max_retry: Duration::from_secs(64),
            retry_jitter: Duration::from_secs(1),
            request_attempts: 4,
            reboot_attempts: 2,
            min_renewal_retry: Duration::from_secs(60),
            decline_wait: Duration::from_secs(10),
            probe: true,
            broadcast: false,
            classless_routes: false,
            host_name: None,
            client_identifier: None,
            max_message: 1_500,
        }
    }
}

/// When an ACK may wait for company (RFC 9293 section 3.8.6.3, MUST-58, MUST-59).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DelayedAck {
    /// At once for the first segments of a flow, later every second segment or after the delay.
    #[default]
    Quick,
    /// Every second segment or after the delay, from the start.
    Always,
}

/// The layout of TCP options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptionLayout {
    /// Linux's.
    #[default]
    Linux,
    /// FreeBSD's.
    Bsd,
}

impl From<OptionLayout> for OptionOrder {
    fn from(layout: OptionLayout) -> Self {
        match layout {
            OptionLayout::Linux => OptionOrder::Linux,
            OptionLayout::Bsd => OptionOrder::Bsd,
        }
    }
}

/// TCP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TcpConfig {
    /// Bytes an application may have written that are not acknowledged yet.
    pub send_buffer: usize,
    /// Bytes received and not yet read, at most; the window advertised comes from it.
    pub receive_buffer: usize,
    /// Whether window scaling is offered (RFC 7323).
    pub window_scaling: bool,
    /// Whether timestamps are offered (RFC 7323).
    pub timestamps: bool,
    /// Whether SACK is offered (RFC 2018).
    pub sack: bool,
    /// The layout of options.
    pub options: OptionLayout,
    /// When an ACK may wait.
    pub delayed_ack: DelayedAck,
    /// How long it may wait.
    pub ack_delay: Duration,
    /// The first retransmission timeout (RFC 6298 section 2.1).
    pub initial_rto: Duration,
    /// The least retransmission timeout.
    pub min_rto: Duration,
    /// The greatest retransmission timeout (RFC 6298 section 2.5).
    pub max_rto: Duration,
    /// Segments of the initial window (RFC 6928).
    pub initial_window: u32,
    /// Retransmissions of a SYN before the connection is given up (R2; RFC 9293 MUST-23 wants three minutes at least).
    /// Seven of them, from a second on and doubling, are 183 seconds.
    pub syn_retries: u8,
    /// Retransmissions of a SYN-ACK before the half-open connection is given up.
    pub syn_ack_retries: u8,
    /// Retransmissions of data before the connection is given up (R2).
    pub retries: u8,
    /// How long a closed connection is remembered: twice the maximum segment lifetime.
    pub time_wait: Duration,
    /// Connections in TIME-WAIT at most; the oldest makes room.
    pub max_time_wait: usize,
    /// Connections at most, half-open ones included.
    pub max_connections: usize,
    /// Half-open connections of one listener at most.
    pub syn_backlog: usize,
    /// Connections that finish without an owner at most; one more is reset when it is closed.
    pub max_orphans: usize,
    /// How long a connection without an owner waits for the peer's FIN, once all that was written is acknowledged. Until
    /// then it has as long as any other has (`retries`).
    pub orphan_timeout: Duration,
    /// The least MSS a peer's option is taken at (CVE-2019-11479).
    pub min_mss: u16,
    /// Where the numbers of every connection start, for scripts and simulations: they can be guessed then, so never in a
    /// network with strangers in it. `None`, the default: where RFC 6528 and RFC 7323 section 5.4 say.
    ///
    /// No settings file can say it.
    #[serde(skip)]
    pub first_numbers: Option<FirstNumbers>,
}

/// Where a connection's numbers start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstNumbers {
    /// The sequence number of the SYN.
    pub sequence: u32,
    /// What the clock of the timestamps shows at the time zero.
    pub timestamp: u32,
}

impl TcpConfig {
    /// Bytes of buffer memory a connection may hold in received data, true sizes counted: twice the receive buffer,
    /// and never so little that small payloads are not even worth being put together.
    pub(crate) fn receive_memory(&self) -> usize {
        (2 * self.receive_buffer).max(64 << 10)
    }
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            send_buffer: 512 << 10,
            receive_buffer: 512 << 10,
            window_scaling: true,
            timestamps: true,
            sack: true,
            options: OptionLayout::Linux,
            delayed_ack: DelayedAck::Quick,
            ack_delay: Duration::from_millis(40),
            initial_rto: Duration::from_secs(1),
            min_rto: Duration::from_millis(200),
            max_rto: Duration::from_secs(60),
            initial_window: 10,
            syn_retries: 7,
            syn_ack_retries: 5,
            retries: 15,
            time_wait: Duration::from_secs(60),
            max_time_wait: 65_536,
            max_connections: 1 << 20,
            syn_backlog: 1_024,
            max_orphans: 16_384,
            orphan_timeout: Duration::from_secs(60),
            min_mss: 88,
            first_numbers: None,
        }
    }
}
