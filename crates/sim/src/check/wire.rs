//! The wire checker: invariant 6, every frame passes an independent parser, lengths and checksums included.

use etherparse::checksum::Sum16BitWords;
use sunstar_packet::{Capabilities, ChecksumNote, Medium, Notes, SegmentationKind};
use sunstar_wire::tcp::TcpFlags;

use super::Breach;
use crate::decode::{Body, Decoded, Igmp, Ip, Segment, Transport, decode};

/// Judges a frame a host has sent; says what is wrong with it.
pub(crate) fn check_frame(frame: &[u8], notes: &Notes, device: &Capabilities) -> Result<Decoded, Breach> {
    read(frame, notes, device).map_err(|what| Breach::new(6, what))
}

fn read(frame: &[u8], notes: &Notes, device: &Capabilities) -> Result<Decoded, String> {
    let decoded = decode(frame, device.medium)?;
    if let Some([destination, source]) = decoded.stations {
        require(source == device.mac, || {
            format!("sent from station {source:02x?}, which is not the host's")
        })?;
        require(destination != source && destination != [0; 6], || {
            format!("sent to station {destination:02x?}")
        })?;
    }
    match &decoded.body {
        Body::Arp(arp) => {
            require(frame.len() == 14 + 28, || format!("an ARP frame of {} bytes", frame.len()))?;
            require(arp.sender.0 == device.mac, || "an ARP packet in another station's name".into())?;
        }
        Body::Ip(ip, transport) => check_ip(frame, ip, transport, notes, device)?,
        Body::Other => return Err("neither ARP nor IPv4".into()),
    }
    Ok(decoded)
}

fn require(holds: bool, else_say: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(else_say()) }
}

fn check_ip(
    frame: &[u8],
    ip: &Ip,
    transport: &Transport,
    notes: &Notes,
    device: &Capabilities,
) -> Result<(), String> {
    require(ip.at + ip.total_len == frame.len(), || {
        format!(
            "total length {} in a frame of {} bytes behind its link header",
            ip.total_len,
            frame.len() - ip.at
        )
    })?;
    require(ip.ttl > 0, || "sent with no hop left".into())?;
    // RFC 3376 section 4.2.13: a host without an address may report.
    // RFC 2131 section 4.1: so may one that asks for an address.
    let may_be_nobody = match transport {
        Transport::Igmp(_) => true,
        Transport::Udp { source, destination, .. } => (source.port(), destination.port()) == (68, 67),
        _ => false,
    };
    let nobody = ip.source.is_unspecified() && !may_be_nobody;
    require(!ip.source.is_multicast() && !ip.source.is_broadcast() && !nobody, || {
        format!("sent from {}", ip.source)
    })?;
    require(notes.fragment_size.is_none(), || "a packet that IP has still to cut".into())?;
    let header = &frame[ip.at..ip.at + ip.header_len];
    require(sum(header) == 0, || "wrong IPv4 header checksum".into())?;
    if notes.segmentation.is_none() {
        require(ip.total_len <= device.mtu, || {
            format!("a packet of {} bytes over an MTU of {}", ip.total_len, device.mtu)
        })?;
    }
    let payload = &frame[ip.at + ip.header_len..];
    match transport {
        Transport::Tcp(segment) => {
            check_segment(segment)?;
            check_checksum(ip, 6, 16, payload, notes, device)?;
            check_segmentation(frame.len(), ip.at + ip.header_len + 20 + segment.options_len, notes, device)
        }
        Transport::Udp { source, destination, payload: data } => {
            require(source.port() != 0 && destination.port() != 0, || "a UDP port of zero".into())?;
            require(data.len() + 8 == payload.len(), || "a UDP length that is not the packet's".into())?;
            require(payload[6..8] != [0, 0] || is_partial(notes), || "a UDP checksum of zero".into())?;
            check_checksum(ip, 17, 6, payload, notes, device)?;
            check_segmentation(frame.len(), ip.at + ip.header_len + 8, notes, device)
        }
        Transport::Icmp { .. } => {
            require(!is_partial(notes), || "an ICMP message with a partial checksum".into())?;
            require(sum(payload) == 0, || "wrong ICMP checksum".into())
        }
        Transport::Fragment => {
            require(!is_partial(notes), || "a fragment with a partial checksum".into())?;
            require(!ip.dont_fragment, || "a fragment that is not to be fragmented".into())?;
            require(!ip.more_fragments || payload.len().is_multiple_of(8), || {
                format!("a fragment of {} bytes that is not the last", payload.len())
            })?;
            require(!payload.is_empty() && ip.fragment_offset + payload.len() <= 65_515, || {
                format!("a fragment of {} bytes at {}", payload.len(), ip.fragment_offset)
            })
        }
        Transport::Igmp(message) => {
            require(!is_partial(notes), || "an IGMP message with a partial checksum".into())?;
            require(sum(payload) == 0, || "wrong IGMP checksum".into())?;
            check_igmp(ip, message)
        }
        Transport::Other(number) => Err(format!("protocol {number}")),
    }
}

/// RFC 3376 section 4 and RFC 2236 section 2: how hosts send each of their messages, and to whom.
fn check_igmp(ip: &Ip, message: &Igmp) -> Result<(), String> {
    require(ip.ttl == 1, || format!("an IGMP message with {} hops left", ip.ttl))?;
    require(ip.router_alert, || "an IGMP message without a router alert".into())?;
    require(ip.dscp == 0xc0 >> 2, || format!("an IGMP message with DSCP {}", ip.dscp))?;
    let to = match message {
        Igmp::ReportV1(group) | Igmp::ReportV2(group) => *group,
        Igmp::Leave(_) => [224, 0, 0, 2].into(),
        Igmp::ReportV3(records) => {
            require(!records.is_empty(), || "an IGMP report of nothing".into())?;
            [224, 0, 0, 22].into()
        }
        Igmp::Other(kind) => return Err(format!("an IGMP message of type {kind:#x}")),
    };
    require(ip.destination == to, || format!("{message:?} sent to {}", ip.destination))?;
    let reported = match message {
        Igmp::ReportV1(group) | Igmp::ReportV2(group) | Igmp::Leave(group) => vec![*group],
        Igmp::ReportV3(records) => records.iter().map(|(_, group, _)| *group).collect(),
        Igmp::Other(_) => Vec::new(),
    };
    require(!reported.contains(&[224, 0, 0, 1].into()), || "an IGMP message about all systems".into())
}

fn is_partial(notes: &Notes) -> bool {
    matches!(notes.checksum, ChecksumNote::Partial { .. })
}

fn check_checksum(
    ip: &Ip,
    protocol: u8,
    field: usize,
    payload: &[u8],
    notes: &Notes,
    device: &Capabilities,
) -> Result<(), String> {
    let pseudo = Sum16BitWords::new()
        .add_4bytes(ip.source.octets())
        .add_4bytes(ip.destination.octets())
        .add_2bytes([0, protocol])
        .add_2bytes((payload.len() as u16).to_be_bytes());
    let ChecksumNote::Partial { start, offset } = notes.checksum else {
        return require(pseudo.add_slice(payload).ones_complement() == 0, || {
            "wrong transport checksum".into()
        });
    };
    require(device.transmit_checksum, || "a partial checksum for a device that completes none".into())?;
    require(usize::from(start) == ip.at + ip.header_len && usize::from(offset) == field, || {
        format!("a partial checksum noted at {start} + {offset}")
    })?;
    let written = u16::from_be_bytes([payload[field], payload[field + 1]]);
    let expected = !pseudo.ones_complement().to_be();
    require(written == expected, || format!("a partial checksum of {written:04x} instead of {expected:04x}"))
}

fn check_segmentation(
    frame_len: usize,
    header_len: usize,
    notes: &Notes,
    device: &Capabilities,
) -> Result<(), String> {
    let Some(segmentation) = notes.segmentation else { return Ok(()) };
    let offered = match segmentation.kind {
        SegmentationKind::TcpV4 => device.segmentation.tcp_v4,
        SegmentationKind::TcpV6 => device.segmentation.tcp_v6,
        SegmentationKind::Udp => device.segmentation.udp,
    };
    require(offered, || format!("{:?} for a device that does not segment so", segmentation.kind))?;
    require(is_partial(notes), || "a packet to be segmented has its checksum complete".into())?;
    let payload = frame_len.saturating_sub(header_len);
    let link_header = if device.medium == Medium::Ethernet { 14 } else { 0 };
    require(usize::from(segmentation.header_len) == header_len, || {
        format!("segmentation notes {} bytes of header, there are {header_len}", segmentation.header_len)
    })?;
    require(segmentation.size > 0 && payload > usize::from(segmentation.size), || {
        format!("{payload} bytes are to be cut into pieces of {}", segmentation.size)
    })?;
    require(header_len - link_header + usize::from(segmentation.size) <= device.mtu, || {
        format!("pieces of {} bytes over an MTU of {}", segmentation.size, device.mtu)
    })
}

/// RFC 9293 section 3.1: what no segment of any connection may look like.
fn check_segment(segment: &Segment) -> Result<(), String> {
    let has = |flags| segment.has(flags);
    require(segment.source.port() != 0 && segment.destination.port() != 0, || "a TCP port of zero".into())?;
    let controls = [TcpFlags::SYN, TcpFlags::FIN, TcpFlags::RST];
    require(controls.iter().filter(|flag| has(**flag)).count() <= 1, || {
        format!("flags {} contradict each other", segment.flags)
    })?;
    require(has(TcpFlags::ACK) || has(TcpFlags::SYN) || has(TcpFlags::RST), || "no ACK".into())?;
    require(!has(TcpFlags::RST) || segment.payload.is_empty(), || "a RST with data".into())?;
    if let Some(error) = &segment.options_error {
        return Err(format!("a TCP option that cannot be read: {error}"));
    }
    let options = &segment.options;
    let on_syn_only = options.mss.is_some() || options.window_scale.is_some() || options.sack_permitted;
    require(has(TcpFlags::SYN) || !on_syn_only, || "an option outside a SYN that belongs on one".into())?;
    require(segment.options.window_scale.is_none_or(|shift| shift <= 14), || "a window scale above 14".into())
}

fn sum(bytes: &[u8]) -> u16 {
    Sum16BitWords::new().add_slice(bytes).ones_complement()
}
