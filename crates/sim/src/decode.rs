//! Reads a frame with a parser that is not ours: what a scenario asserts on, and what the checker judges.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::{
    IgmpSlice, IpNumber, LinkSlice, NetSlice, SlicedPacket, TcpOptionElement, TcpOptionReadError, TcpSlice,
    TransportSlice,
};
use sunstar_packet::Medium;
use sunstar_wire::tcp::TcpFlags;

/// A frame as an independent parser reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Destination and source station, where the medium has such.
    pub stations: Option<[[u8; 6]; 2]>,
    /// What it carries.
    pub body: Body,
}

/// What a frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An ARP packet for IPv4 over Ethernet.
    Arp(Arp),
    /// An IPv4 packet.
    Ip(Ip, Transport),
    /// Something else.
    Other,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Whether it asks; else it answers.
    pub request: bool,
    /// The sender's station and address.
    pub sender: ([u8; 6], Ipv4Addr),
    /// The target's station and address.
    pub target: ([u8; 6], Ipv4Addr),
}

/// The header of an IPv4 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Who sent it.
    pub source: Ipv4Addr,
    /// For whom it is.
    pub destination: Ipv4Addr,
    /// Hops left.
    pub ttl: u8,
    /// The differentiated services code point.
    pub dscp: u8,
    /// The ECN bits.
    pub ecn: u8,
    /// Whether routers may not cut it.
    pub dont_fragment: bool,
    /// What the fragments of a datagram have in common.
    pub identification: u16,
    /// Whether this is a fragment and not the last.
    pub more_fragments: bool,
    /// Bytes of the datagram's payload before this one's.
    pub fragment_offset: usize,
    /// Whether routers that pass it on have to look at it.
    pub router_alert: bool,
    /// Where the packet begins in the frame.
    pub at: usize,
    /// Bytes of header.
    pub header_len: usize,
    /// Bytes of the whole packet.
    pub total_len: usize,
}

/// What an IPv4 packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment.
    Tcp(Segment),
    /// A UDP datagram.
    Udp {
        /// Who sent it.
        source: SocketAddrV4,
        /// For whom it is.
        destination: SocketAddrV4,
        /// Its payload.
        payload: Vec<u8>,
    },
    /// An ICMP message.
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
        /// The second word of its header.
        rest: [u8; 4],
        /// What is behind the header.
        payload: Vec<u8>,
    },
    /// An IGMP message.
    Igmp(Igmp),
    /// A fragment of a packet.
    Fragment,
    /// Another protocol.
    Other(u8),
}

/// An IGMP message, as far as hosts send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Igmp {
    /// A version 1 report of a group.
    ReportV1(Ipv4Addr),
    /// A version 2 report of a group.
    ReportV2(Ipv4Addr),
    /// A group was left.
    Leave(Ipv4Addr),
    /// A version 3 report: of each record its type, its group and its sources.
    ReportV3(Vec<(u8, Ipv4Addr, Vec<Ipv4Addr>)>),
    /// Another, by its type, or one that cannot be read.
    Other(u8),
}

/// A TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Who sent it.
    pub source: SocketAddrV4,
    /// For whom it is.
    pub destination: SocketAddrV4,
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.ACK; counts with the ACK flag only.
    pub ack: u32,
    /// The control bits.
    pub flags: TcpFlags,
    /// SEG.WND as it stands, not scaled.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// Its options.
    pub options: SegmentOptions,
    /// What is wrong with the options, if anything: those before it were read.
    pub options_error: Option<String>,
    /// Bytes of the options, padding included.
    pub options_len: usize,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Segment {
    /// Whether all of these control bits are set.
    pub fn has(&self, flags: TcpFlags) -> bool {
        self.flags.contains(flags)
    }

    /// Sequence numbers it takes: payload, SYN and FIN.
    pub fn seq_len(&self) -> u32 {
        let controls = u32::from(self.has(TcpFlags::SYN)) + u32::from(self.has(TcpFlags::FIN));
        self.payload.len() as u32 + controls
    }
}

/// The options of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentOptions {
    /// Their kinds in the order of the wire, padding included.
    pub order: Vec<u8>,
    /// The largest segment the sender takes.
    pub mss: Option<u16>,
    /// The shift of the sender's window.
    pub window_scale: Option<u8>,
    /// Whether the sender understands SACK.
    pub sack_permitted: bool,
    /// What the sender holds beyond the acknowledgement.
    pub sack: Vec<(u32, u32)>,
    /// The sender's clock, and the receiver's.
    pub timestamps: Option<(u32, u32)>,
}

/// Reads a frame.
///
/// # Errors
/// What the independent parser found wrong with it.
pub fn decode(frame: &[u8], medium: Medium) -> Result<Decoded, String> {
    let sliced = match medium {
        Medium::Ethernet => SlicedPacket::from_ethernet(frame),
        Medium::Ip => SlicedPacket::from_ip(frame),
    }
    .map_err(|error| error.to_string())?;
    let stations = match &sliced.link {
        Some(LinkSlice::Ethernet2(ethernet)) => Some([ethernet.destination(), ethernet.source()]),
        _ => None,
    };
    let body = match &sliced.net {
        Some(NetSlice::Arp(arp)) => {
            let arp = arp.to_packet().try_eth_ipv4().map_err(|error| error.to_string())?;
            if !matches!(arp.operation.0, 1 | 2) {
                return Err(format!("ARP operation {}", arp.operation.0));
            }
            Body::Arp(Arp {
                request: arp.operation.0 == 1,
                sender: (arp.sender_mac, arp.sender_ipv4.into()),
                target: (arp.target_mac, arp.target_ipv4.into()),
            })
        }
        Some(NetSlice::Ipv4(packet)) => {
            let header = packet.header();
            let ip = Ip {
                source: header.source_addr(),
                destination: header.destination_addr(),
                ttl: header.ttl(),
                dscp: header.dcp().value(),
                ecn: header.ecn().value(),
                dont_fragment: header.dont_fragment(),
                identification: header.identification(),
                more_fragments: header.more_fragments(),
                fragment_offset: usize::from(header.fragments_offset().byte_offset()),
                router_alert: header.options().starts_with(&[148, 4, 0, 0]),
                at: header.slice().as_ptr() as usize - frame.as_ptr() as usize,
                header_len: header.slice().len(),
                total_len: header.total_len().into(),
            };
            let transport = if packet.is_payload_fragmented() {
                Transport::Fragment
            } else {
                transport(&ip, packet.payload_ip_number(), sliced.transport.as_ref())
            };
            Body::Ip(ip, transport)
        }
        _ => Body::Other,
    };
    Ok(Decoded { stations, body })
}

fn transport(ip: &Ip, number: IpNumber, sliced: Option<&TransportSlice<'_>>) -> Transport {
    match sliced {
        Some(TransportSlice::Tcp(tcp)) => Transport::Tcp(segment(ip, tcp)),
        Some(TransportSlice::Udp(udp)) => Transport::Udp {
            source: SocketAddrV4::new(ip.source, udp.source_port()),
            destination: SocketAddrV4::new(ip.destination, udp.destination_port()),
            payload: udp.payload().to_vec(),
        },
        Some(TransportSlice::Icmpv4(icmp)) => Transport::Icmp {
            kind: icmp.type_u8(),
            code: icmp.code_u8(),
            rest: icmp.bytes5to8(),
            payload: icmp.slice()[8..].to_vec(),
        },
        Some(TransportSlice::Igmp(message)) => Transport::Igmp(igmp(message)),
        _ => Transport::Other(number.0),
    }
}

fn igmp(message: &IgmpSlice<'_>) -> Igmp {
    match message {
        IgmpSlice::MembershipReportV1(report) => Igmp::ReportV1(report.group_address().octets.into()),
        IgmpSlice::MembershipReportV2(report) => Igmp::ReportV2(report.group_address().octets.into()),
        IgmpSlice::LeaveGroup(leave) => Igmp::Leave(leave.group_address().octets.into()),
        IgmpSlice::MembershipReportV3(report) => {
            let mut records = Vec::new();
            for record in report.group_records() {
                let Ok(record) = record else { return Igmp::Other(message.type_u8()) };
                let sources = record.source_addresses().map(Ipv4Addr::from).collect();
                records.push((record.record_type().0, record.multicast_address().into(), sources));
            }
            Igmp::ReportV3(records)
        }
        _ => Igmp::Other(message.type_u8()),
    }
}

fn segment(ip: &Ip, tcp: &TcpSlice<'_>) -> Segment {
    let bits = [
        (tcp.fin(), TcpFlags::FIN),
        (tcp.syn(), TcpFlags::SYN),
        (tcp.rst(), TcpFlags::RST),
        (tcp.psh(), TcpFlags::PSH),
        (tcp.ack(), TcpFlags::ACK),
        (tcp.urg(), TcpFlags::URG),
        (tcp.ece(), TcpFlags::ECE),
        (tcp.cwr(), TcpFlags::CWR),
        (tcp.ns(), TcpFlags::AE),
    ];
    let set = bits.iter().filter(|(set, _)| *set);
    let (options, options_error) = options(tcp);
    Segment {
        source: SocketAddrV4::new(ip.source, tcp.source_port()),
        destination: SocketAddrV4::new(ip.destination, tcp.destination_port()),
        seq: tcp.sequence_number(),
        ack: tcp.acknowledgment_number(),
        flags: set.fold(TcpFlags::NONE, |flags, (_, flag)| flags | *flag),
        window: tcp.window_size(),
        urgent: tcp.urgent_pointer(),
        options,
        options_error,
        options_len: tcp.options().len(),
        payload: tcp.payload().to_vec(),
    }
}

fn options(tcp: &TcpSlice<'_>) -> (SegmentOptions, Option<String>) {
    let mut options = SegmentOptions::default();
    let mut elements = tcp.options_iterator();
    while let Some(kind) = elements.rest().first().copied() {
        let Some(element) = elements.next() else { break };
        options.order.push(kind);
        match element {
            Ok(TcpOptionElement::Noop) => {}
            Ok(TcpOptionElement::MaximumSegmentSize(mss)) => options.mss = Some(mss),
            Ok(TcpOptionElement::WindowScale(shift)) => options.window_scale = Some(shift),
            Ok(TcpOptionElement::SelectiveAcknowledgementPermitted) => options.sack_permitted = true,
            Ok(TcpOptionElement::SelectiveAcknowledgement(first, rest)) => {
                options.sack = std::iter::once(first).chain(rest.into_iter().flatten()).collect();
            }
            Ok(TcpOptionElement::Timestamp(value, echo)) => options.timestamps = Some((value, echo)),
            Err(TcpOptionReadError::UnknownId(_)) => break,
            Err(error) => return (options, Some(error.to_string())),
        }
    }
    (options, None)
}

impl fmt::Display for Decoded {
    /// One line, much as tcpdump writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.body {
            Body::Arp(arp) if arp.request => write!(f, "arp who-has {} tell {}", arp.target.1, arp.sender.1),
            Body::Arp(arp) => write!(f, "arp {} is-at {:02x?}", arp.sender.1, arp.sender.0),
            Body::Other => f.write_str("unknown"),
            Body::Ip(ip, transport) => match transport {
                Transport::Tcp(segment) => write!(f, "{segment}"),
                Transport::Udp { source, destination, payload } => {
                    write!(f, "udp {source} > {destination} len {}", payload.len())
                }
                Transport::Icmp { kind, code, payload, .. } => {
                    let (source, destination) = (ip.source, ip.destination);
                    write!(f, "icmp {source} > {destination} {kind}/{code} len {}", payload.len())
                }
                Transport::Fragment => write!(
                    f,
                    "fragment {}@{}{} {} > {}",
                    ip.identification,
                    ip.fragment_offset,
                    if ip.more_fragments { "+" } else { "" },
                    ip.source,
                    ip.destination
                ),
                Transport::Igmp(message) => {
                    write!(f, "igmp {} > {} {message:?}", ip.source, ip.destination)
                }
                Transport::Other(number) => {
                    write!(f, "protocol {number} {} > {}", ip.source, ip.destination)
                }
            },
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp {} > {} [{}] seq {}", self.source, self.destination, self.flags, self.seq)?;
        if self.has(TcpFlags::ACK) {
            write!(f, " ack {}", self.ack)?;
        }
        write!(f, " win {} len {}", self.window, self.payload.len())?;
        let options = &self.options;
        if let Some(mss) = options.mss {
            write!(f, " mss {mss}")?;
        }
        if let Some(shift) = options.window_scale {
            write!(f, " wscale {shift}")?;
        }
        if options.sack_permitted {
            f.write_str(" sackOK")?;
        }
        if let Some((value, echo)) = options.timestamps {
            write!(f, " ts {value}/{echo}")?;
        }
        for (left, right) in &options.sack {
            write!(f, " sack {left}-{right}")?;
        }
        Ok(())
    }
}
