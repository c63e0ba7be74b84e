//! The packet filter of DHCP: on every shard, it takes what servers say ahead of IP, which would not deliver to an address
//! that is not there yet. From there it goes to the shard that has the client.

use sunstar_packet::Packet;
use sunstar_wire::Protocol;
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::udp::UdpHeader;

use super::{CLIENT_PORT, SERVER_PORT};
use crate::core::Core;
use crate::ip::{InterfaceId, PacketFilter, Verdict};

/// Takes what DHCP servers say for the client of this host. All of its shards need one: replies arrive anywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct DhcpFilter;

impl PacketFilter for DhcpFilter {
    fn filter(&mut self, _: InterfaceId, header: &Ipv4Header, packet: Packet) -> Verdict {
        let udp = || UdpHeader::parse(packet.head().get(header.header_len.into()..)?).ok();
        let for_client = header.protocol == Protocol::UDP
            && !header.is_fragment()
            && udp().is_some_and(|udp| (udp.source_port, udp.destination_port) == (SERVER_PORT, CLIENT_PORT));
        if for_client { Verdict::ToDhcp(packet) } else { Verdict::Pass(packet) }
    }
}

impl Core {
    /// Whether a message to the client's port is a server's to this station: nobody else's is to take the way from every
    /// shard to the one with the client.
    pub(crate) fn is_dhcp_reply(&self, interface: InterfaceId, header: &Ipv4Header, packet: &Packet) -> bool {
        // RFC 2131 section 2: `op` comes first, `chaddr` behind 28 bytes.
        const REPLY: u8 = 2;
        const CHADDR: usize = 28;
        let message =
            packet.head().get(usize::from(header.header_len) + UdpHeader::LEN..).unwrap_or_default();
        let mac = self.interfaces.get(interface).mac.0;
        interface == InterfaceId::DEVICE
            && message.first() == Some(&REPLY)
            && message.get(CHADDR..).is_some_and(|chaddr| chaddr.starts_with(&mac))
    }
}
