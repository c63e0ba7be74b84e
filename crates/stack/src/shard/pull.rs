//! How everything leaves: the device has room and asks, and whoever's turn it is builds one packet (RFC 791 section 3.2 where it
//! has to be cut).

use sunstar_packet::{Departure, FrameSource, Packet, SizeClass};

use super::Shard;
use crate::core::Addressed;
use crate::ip::{InterfaceId, Train};
use crate::link::Provider;

impl Shard {
    /// The loopback ring pulls like a device.
    pub(super) fn loop_back(&mut self) {
        for _ in 0..self.loopback.room() {
            let Some(packet) = self.next_frame(InterfaceId::LOOPBACK) else { return };
            if let Some(departure) = packet.notes.departure {
                self.departed(departure);
            }
            self.loopback.push(packet);
        }
    }

    /// The next frame for an interface, built now, from whoever's turn it is.
    fn next_frame(&mut self, interface: InterfaceId) -> Option<Packet> {
        let at = usize::from(interface.0);
        // Without a buffer nothing can be built, and everybody stays on the list.
        while self.core.pool.free(SizeClass::Small) > 0 {
            if self.core.trains[at].is_some() {
                let fragment = self.next_fragment(at)?;
                return self.core.link_output(interface, fragment);
            }
            let provider = self.round_robin[at].next(interface, &self.core.want)?;
            let addressed = match provider {
                Provider::Neighbor => self.core.next_from_neighbors(interface),
                Provider::Icmp => self.icmp.next(&mut self.core, interface),
                Provider::Igmp => self.igmp.next(&mut self.core),
                Provider::Dhcp => self.next_dhcp(),
                Provider::Udp => self.udp.next(&mut self.core, interface),
                Provider::Tcp => self.tcp.next(&mut self.core, interface),
            };
            let Some(addressed) = addressed else {
                // Who found no buffer still has something to say.
                if self.core.pool.free(SizeClass::Small) > 0 {
                    self.core.want.clear(interface, provider);
                }
                continue;
            };
            self.round_robin[at].charge(provider, addressed.packet.len());
            let addressed = match Train::begin(addressed) {
                Ok(train) => {
                    self.core.counters.reassembly.fragmented += 1;
                    self.core.trains[at] = Some(train);
                    continue;
                }
                Err(addressed) => addressed,
            };
            if let Some(frame) = self.core.link_output(interface, addressed) {
                return Some(frame);
            }
        }
        None
    }

    /// The next fragment of what leaves an interface in fragments: a datagram once begun goes out in one go.
    fn next_fragment(&mut self, at: usize) -> Option<Addressed> {
        let train = self.core.trains[at].as_mut()?;
        let fragment = train.next(&self.core.pool);
        self.core.counters.reassembly.fragments_sent += u64::from(fragment.is_some());
        if train.is_through() {
            self.core.trains[at] = None;
        }
        fragment
    }

    pub(super) fn departed(&mut self, departure: Departure) {
        if departure.provider == Provider::Udp as u8 {
            self.udp.departed(&mut self.core, departure);
        }
    }
}

/// Lets a device pull from a shard.
pub(super) struct Source<'a> {
    pub(super) shard: &'a mut Shard,
    pub(super) interface: InterfaceId,
}

impl FrameSource for Source<'_> {
    fn next(&mut self) -> Option<Packet> {
        self.shard.next_frame(self.interface)
    }

    fn departed(&mut self, departure: Departure) {
        self.shard.departed(departure);
    }
}
