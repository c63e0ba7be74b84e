//! The packet filter of DHCP: on every shard, it sends what is for the client to the shard that has it, ahead of IP, which
//! would not deliver to an address that is not there yet.

use sunstar_packet::Packet;
use sunstar_wire::Protocol;
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::udp::UdpHeader;

use super::{CLIENT_PORT, SERVER_PORT};
use crate::ip::{InterfaceId, PacketFilter, Verdict};
use crate::steering::ShardId;

/// Takes DHCP servers' messages: on the shard that has the client for it, on any other for that shard.
#[derive(Clone, Copy, Debug)]
pub struct DhcpFilter {
    me: ShardId,
    client: ShardId,
}

impl DhcpFilter {
    /// The filter of shard `me`, where `client` has the client. All shards of a host need one: replies arrive anywhere.
    pub const fn new(me: ShardId, client: ShardId) -> Self {
        Self { me, client }
    }
}

impl PacketFilter for DhcpFilter {
    fn filter(&mut self, _: InterfaceId, header: &Ipv4Header, packet: Packet) -> Verdict {
        let udp = || UdpHeader::parse(packet.head().get(header.header_len.into()..)?).ok();
        let for_client = header.protocol == Protocol::UDP
            && !header.is_fragment()
            && udp().is_some_and(|udp| (udp.source_port, udp.destination_port) == (SERVER_PORT, CLIENT_PORT));
        match for_client {
            false => Verdict::Pass(packet),
            true if self.me == self.client => Verdict::ToDhcp(packet),
            true => Verdict::HandTo(self.client, packet),
        }
    }
}
