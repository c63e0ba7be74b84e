//! IPv4 transmission: checksum and header of a packet that is being pulled.

use sunstar_packet::{ChecksumNote, MAX_FRAGMENTS, Packet};
use sunstar_wire::checksum::{Accumulator, pseudo_header};
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::{Ecn, IpAddress, Protocol};

use super::fragment::fragment_size;
use super::route::Path;
use crate::core::{Addressed, Core};

/// The default time to live (RFC 1122 section 3.2.1.7, IANA).
pub(crate) const DEFAULT_TTL: u8 = 64;

/// What a protocol says of a packet it hands to IP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpOutput {
    pub(crate) path: Path,
    pub(crate) destination: IpAddress,
    pub(crate) protocol: Protocol,
    pub(crate) ttl: u8,
    pub(crate) ecn: Ecn,
    /// Where the transport checksum stands, in bytes from the transport header.
    pub(crate) checksum_offset: usize,
    /// Whether a pseudo-header goes into it.
    pub(crate) pseudo_header: bool,
    /// Whether a packet that is too large for the path is cut (RFC 8900: only where the application can do nothing
    /// better).
    pub(crate) may_fragment: bool,
}

impl Core {
    /// Completes a transport packet: its checksum, here or by the device, and its IP header. `None`
    /// without an IPv4 route or headroom; the packet is dropped, counted and accounted for.
    pub(crate) fn ip_output(&mut self, output: &IpOutput, mut packet: Packet) -> Option<Packet> {
        let finished = self.finish(output, &mut packet);
        if finished.is_none() {
            self.counters.drops.no_buffer += 1;
            self.departed.extend(packet.notes.departure);
            return None;
        }
        self.counters.ip.sent += 1;
        self.counters.ip.sent_bytes += packet.len() as u64;
        Some(packet)
    }

    /// Completes a packet and addresses it to its next hop, or leaves it waiting there.
    pub(crate) fn ip_send(&mut self, output: &IpOutput, packet: Packet) -> Option<Addressed> {
        let packet = self.ip_output(output, packet)?;
        self.address(output.path.interface, output.path.next_hop, packet)
    }

    fn finish(&mut self, output: &IpOutput, packet: &mut Packet) -> Option<()> {
        let (IpAddress::V4(source), IpAddress::V4(destination)) = (output.path.source, output.destination)
        else {
            return None;
        };
        let len = packet.len();
        let cut = output.may_fragment
            && packet.notes.segmentation.is_none()
            && len + Ipv4Header::LEN > output.path.mtu;
        // An answer may refer to a datagram that was put together of more pieces than a device takes.
        if !cut && packet.fragments().len() > MAX_FRAGMENTS {
            *packet = packet.copied_into(&self.pool)?;
        }
        let offload =
            output.pseudo_header && !cut && self.interfaces.get(output.path.interface).transmit_checksum;
        self.transport_checksum(output, packet, offload)?;
        let header = Ipv4Header {
            dscp: 0,
            ecn: output.ecn,
            // RFC 6864 section 4.1: an atomic datagram's identification means nothing; and constant it tells nothing,
            // neither of other flows nor of our random numbers.
            identification: match cut {
                true => self.identifications.next(output.path.source, output.destination, output.protocol),
                false => 0,
            },
            dont_fragment: !cut,
            more_fragments: false,
            fragment_offset: 0,
            ttl: output.ttl,
            protocol: output.protocol,
            source,
            destination,
            header_len: Ipv4Header::LEN as u8,
            total_len: u16::try_from(len + Ipv4Header::LEN).ok()?,
        };
        header.emit(packet.prepend(Ipv4Header::LEN)?).ok()?;
        if offload {
            packet.notes.checksum = ChecksumNote::Partial {
                start: Ipv4Header::LEN as u16,
                offset: output.checksum_offset as u16,
            };
        }
        packet.notes.fragment_size = cut.then(|| fragment_size(output.path.mtu));
        if let Some(segmentation) = &mut packet.notes.segmentation {
            segmentation.header_len += Ipv4Header::LEN as u16;
        }
        Some(())
    }

    fn transport_checksum(&self, output: &IpOutput, packet: &mut Packet, offload: bool) -> Option<()> {
        let len = packet.len() as u32;
        let value = if offload {
            pseudo_header(output.path.source, output.destination, output.protocol, len)
        } else {
            let mut sum = Accumulator::new();
            if output.pseudo_header {
                sum.add_pseudo(output.path.source, output.destination, output.protocol, len);
            }
            for fragment in packet.fragments() {
                sum.add(fragment);
            }
            match sum.finish() {
                // RFC 768: zero would say that there is no checksum.
                0 if output.protocol == Protocol::UDP => 0xffff,
                sum => sum,
            }
        };
        let field = packet.head_mut()?.get_mut(output.checksum_offset..output.checksum_offset + 2)?;
        field.copy_from_slice(&value.to_be_bytes());
        Some(())
    }
}
