//! IPv4 reception (RFC 791, RFC 1122 section 3.2.1): what is not for us, or cannot be, goes no further.

use sunstar_packet::{ChecksumNote, Packet};
use sunstar_wire::checksum::Accumulator;
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::{Ecn, IpAddress, Protocol};

use super::filter::{FilterChain, Verdict};
use super::interface::InterfaceId;
use super::reassembly::{self, FragmentInput, Whole};
use crate::core::{Core, Timer};
use crate::link::LinkInput;
use crate::mesh::{Arrival, Stage};
use crate::steering::ShardId;

/// What becomes of a packet after IP has looked at it.
#[derive(Debug)]
pub(crate) enum Disposition {
    /// A transport of ours has it.
    Deliver(IpInput),
    /// It was put together from fragments: only now its ports tell which shard has it.
    Whole(IpInput),
    /// An option of its header is malformed; the byte that makes it so.
    BadOption(u8, IpInput),
    /// A filter sends it to a sibling.
    HandTo { shard: ShardId, group: bool, packet: Packet },
    /// A filter gives it to the DHCP client.
    ToDhcp { header: Ipv4Header, group: bool, packet: Packet },
}

/// A packet for us, as the transport protocols see it.
#[derive(Debug)]
pub(crate) struct IpInput {
    pub(crate) interface: InterfaceId,
    pub(crate) source: IpAddress,
    pub(crate) destination: IpAddress,
    pub(crate) protocol: Protocol,
    pub(crate) ttl: u8,
    pub(crate) ecn: Ecn,
    /// Bytes of the IP header at the front of `packet`.
    pub(crate) header_len: usize,
    /// Sent to more than one host: no error may answer it, and no connection begin with it.
    pub(crate) group: bool,
    /// The whole packet, IP header included, cut to its length. Nobody writes to it.
    pub(crate) packet: Packet,
}

impl IpInput {
    pub(crate) fn new(
        interface: InterfaceId,
        header: &Ipv4Header,
        ecn: Ecn,
        group: bool,
        packet: Packet,
    ) -> Self {
        Self {
            interface,
            source: header.source.into(),
            destination: header.destination.into(),
            protocol: header.protocol,
            ttl: header.ttl,
            ecn,
            header_len: header.header_len.into(),
            group,
            packet,
        }
    }

    /// How a sibling takes it up.
    pub(crate) fn arrival(&self) -> Arrival {
        let stage = Stage::Datagram { group: self.group, ecn: self.ecn };
        Arrival { interface: self.interface, stage }
    }

    /// Bytes behind the IP header.
    pub(crate) fn payload_len(&self) -> usize {
        self.packet.len() - self.header_len
    }

    /// The contiguous bytes behind the IP header: at least the transport header, if it is there at all.
    pub(crate) fn transport(&self) -> &[u8] {
        self.packet.head().get(self.header_len..).unwrap_or_default()
    }

    /// Whether the transport checksum is right, or the device vouches for it.
    pub(crate) fn checksum_holds(&self, pseudo_header: bool) -> bool {
        if self.packet.notes.checksum != ChecksumNote::None {
            return true;
        }
        let mut sum = Accumulator::new();
        if pseudo_header {
            sum.add_pseudo(self.source, self.destination, self.protocol, self.payload_len() as u32);
        }
        let mut skip = self.header_len;
        for fragment in self.packet.fragments() {
            sum.add(fragment.get(skip..).unwrap_or_default());
            skip = skip.saturating_sub(fragment.len());
        }
        sum.finish() == 0
    }

    /// The packet without its IP header and `transport_len` bytes of the next.
    pub(crate) fn into_payload(mut self, transport_len: usize) -> Packet {
        self.packet.trim_front(self.header_len + transport_len);
        self.packet
    }
}

impl Core {
    /// Checks an IPv4 packet. `None` when that is its end: it was dropped and counted, taken by a filter, or is kept until
    /// the rest of its datagram is there.
    pub(crate) fn ipv4_input(
        &mut self,
        interface: InterfaceId,
        input: LinkInput,
        filters: &mut FilterChain,
    ) -> Option<Disposition> {
        let LinkInput { mut packet, group } = input;
        let header = match Ipv4Header::parse(packet.head()) {
            Ok(header) => header,
            Err(error) => {
                self.count_parse_error(error);
                return None;
            }
        };
        // A frame may be padded, but not cut.
        if usize::from(header.total_len) > packet.len() {
            self.counters.drops.truncated += 1;
            return None;
        }
        packet.truncate(header.total_len.into());
        self.counters.ip.received += 1;
        self.counters.ip.received_bytes += u64::from(header.total_len);
        if !filters.is_empty() {
            match filters.run(self.siblings.me(), interface, &header, packet) {
                Verdict::Pass(passed) => packet = passed,
                Verdict::Taken => {
                    self.counters.ip.taken_by_filter += 1;
                    return None;
                }
                Verdict::Drop => {
                    self.counters.drops.filtered += 1;
                    return None;
                }
                Verdict::HandTo(shard, packet) => return Some(Disposition::HandTo { shard, group, packet }),
                Verdict::ToDhcp(packet) => return Some(Disposition::ToDhcp { header, group, packet }),
            }
        }
        if self.is_martian(interface, &header) {
            self.counters.drops.martian += 1;
            return None;
        }
        let Some(to_group) = self.is_for_us(interface, &header) else {
            self.counters.drops.not_for_us += 1;
            return None;
        };
        // RFC 1122 section 3.2.2: a link-layer broadcast is no occasion for an error either.
        let group = group || to_group;
        if usize::from(header.header_len) > Ipv4Header::LEN {
            if Ipv4Header::has_source_route(packet.head()) {
                self.counters.drops.source_route += 1;
                return None;
            }
            if let Some(pointer) = Ipv4Header::malformed_option(packet.head()) {
                self.counters.drops.malformed += 1;
                // RFC 1122 section 3.2.2: MUST NOT answer a fragment that is not the first.
                let answered = header.fragment_offset == 0;
                let input = IpInput::new(interface, &header, header.ecn, group, packet);
                return answered.then_some(Disposition::BadOption(pointer, input));
            }
        }
        if header.is_fragment() {
            let whole = self.reassemble(FragmentInput { interface, header, group, packet })?;
            return self.whole_input(whole).map(Disposition::Whole);
        }
        Some(Disposition::Deliver(IpInput::new(interface, &header, header.ecn, group, packet)))
    }

    /// Keeps a fragment until the rest of its datagram is there.
    fn reassemble(&mut self, fragment: FragmentInput) -> Option<Whole> {
        let mut context = reassembly::Context {
            now: self.now,
            config: &self.config.reassembly,
            pool: &self.pool,
            shards: self.steering.shards(),
            drops: &mut self.counters.drops,
            counters: &mut self.counters.reassembly,
        };
        let whole = self.reassembly.input(fragment, &mut context);
        if self.reassembly_timer.is_none()
            && let Some(due) = self.reassembly.next_due()
        {
            self.reassembly_timer = Some(self.timers.insert(Timer::Reassembly, due));
        }
        whole
    }

    /// A datagram that was put together, here or by a sibling. IP's checks are behind it.
    pub(crate) fn whole_input(&mut self, whole: Whole) -> Option<IpInput> {
        let Whole { interface, group, ecn, packet } = whole;
        let header = match Ipv4Header::parse(packet.head()) {
            Ok(header) => header,
            Err(error) => {
                self.count_parse_error(error);
                return None;
            }
        };
        Some(IpInput::new(interface, &header, ecn, group, packet))
    }

    /// RFC 1122 section 3.2.1.3: addresses that must not appear where they do.
    fn is_martian(&self, interface: InterfaceId, header: &Ipv4Header) -> bool {
        let (source, destination) = (header.source, header.destination);
        if interface == InterfaceId::LOOPBACK {
            return false;
        }
        // A switch that watches IGMP asks without an address of its own (RFC 4541 section 2.1.1).
        source.is_unspecified() && header.protocol != Protocol::IGMP
            || source.is_multicast()
            || source.octets()[0] >= 240
            || source.is_loopback()
            || destination.is_loopback()
            || destination.is_unspecified()
            || self.interfaces.is_broadcast(source)
            // A packet from ourselves, out of a network: LAND among them.
            || self.interfaces.is_local(source.into())
    }

    /// Whether a packet is for us, and if so, whether for others too.
    fn is_for_us(&self, interface: InterfaceId, header: &Ipv4Header) -> Option<bool> {
        let destination = header.destination;
        if self.interfaces.is_local(destination.into()) {
            return Some(false);
        }
        let group = if destination.is_multicast() {
            self.interfaces.get(interface).has_joined(destination)
        } else {
            self.interfaces.is_broadcast(destination)
        };
        group.then_some(true)
    }
}
