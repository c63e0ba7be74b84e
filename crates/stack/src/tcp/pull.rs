//! What TCP sends when a device asks for a packet: a reply, or one segment of the first connection on the list. Nothing is built
//! before (RFC 9293 section 3.8: it is left to TCP when data is sent).

use std::net::SocketAddr;

use sunstar_wire::tcp::TcpHeader;
use sunstar_wire::{Ecn, EtherType, Protocol};

use super::{ConnectionKey, Tcp, UNREACHABLE_RETRY, path_mtu};
use crate::core::{Addressed, Core};
use crate::ip::output::{DEFAULT_TTL, IpOutput};
use crate::ip::{InterfaceId, Path};
use crate::neighbor::Resolution;

impl Tcp {
    /// The next segment for an interface: replies and connections in turn, so that a flood of what has to be refused
    /// does not keep connections from the device.
    pub(crate) fn next(&mut self, core: &mut Core, interface: InterfaceId) -> Option<Addressed> {
        let replied = &mut self.replied[usize::from(interface.0)];
        *replied = !*replied;
        if *replied {
            self.next_reply(core, interface).or_else(|| self.next_of_connections(core, interface))
        } else {
            self.next_of_connections(core, interface).or_else(|| self.next_reply(core, interface))
        }
    }

    fn next_reply(&mut self, core: &mut Core, interface: InterfaceId) -> Option<Addressed> {
        while let Some(reply) = self.replies.pop(interface) {
            let Some(packet) = reply.build(&core.pool, core.config.tcp.options.into()) else {
                core.counters.drops.no_buffer += 1;
                return None;
            };
            if reply.reset {
                core.counters.tcp.resets_sent += 1;
            }
            let output = ip_output(reply.path, reply.remote);
            if let Some(addressed) = core.ip_send(&output, packet) {
                return Some(addressed);
            }
        }
        None
    }

    /// One segment of the first connection on the list.
    fn next_of_connections(&mut self, core: &mut Core, interface: InterfaceId) -> Option<Addressed> {
        while let Some(key) = self.ready[usize::from(interface.0)].pop_front() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.listed = false;
            match core.resolve(interface, connection.path.next_hop) {
                Resolution::Known(destination) => {
                    let Some(mut addressed) = self.build_next(core, key) else { continue };
                    addressed.destination = destination;
                    return Some(addressed);
                }
                Resolution::Pending => {
                    connection.parked = true;
                    if !core.neighbors.wait((interface, connection.path.next_hop), key) {
                        connection.deadlines.unpark = Some(core.now + UNREACHABLE_RETRY);
                        self.update(core, key);
                    }
                }
                Resolution::Failed => self.on_neighbor(core, key, false),
            }
        }
        None
    }

    fn build_next(&mut self, core: &mut Core, key: ConnectionKey) -> Option<Addressed> {
        let connection = self.connections.get_mut(key)?;
        let offload = core.interfaces.get(connection.path.interface).segmentation.tcp_v4;
        path_mtu::heed(core, connection);
        let plan = connection.plan(offload)?;
        let Core { config, counters, pool, now, .. } = core;
        let packet = connection.build(plan, *now, pool, &config.tcp, &mut counters.tcp);
        let output = ip_output(connection.path, connection.remote());
        self.update(core, key);
        let packet = core.ip_output(&output, packet?)?;
        Some(Addressed { packet, destination: Default::default(), ether_type: EtherType::IPV4 })
    }
}

fn ip_output(path: Path, remote: SocketAddr) -> IpOutput {
    IpOutput {
        path,
        destination: remote.ip(),
        protocol: Protocol::TCP,
        ttl: DEFAULT_TTL,
        ecn: Ecn::NotEct,
        checksum_offset: TcpHeader::CHECKSUM_OFFSET,
        pseudo_header: true,
        may_fragment: false,
    }
}
