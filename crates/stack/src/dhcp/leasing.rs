//! The client at work on a shard: what it says leaves by the device, what servers say reaches it by the filter, and what it
//! is granted becomes the configuration of all shards.

use core::net::Ipv4Addr;

use sunstar_packet::Packet;
use sunstar_wire::ipv4::Ipv4Header;
use sunstar_wire::udp::UdpHeader;
use sunstar_wire::{Ecn, IpAddress, Protocol};

use super::{CLIENT_PORT, DhcpClient, DhcpEvent, DhcpState, Lease, SERVER_PORT};
use crate::config::DhcpConfig;
use crate::core::{Addressed, Timer};
use crate::ip::output::{DEFAULT_TTL, IpOutput};
use crate::ip::{InterfaceAddress, InterfaceId, IpInput, Path, Route};
use crate::link::Provider;
use crate::neighbor::{AddressNews, Resolution};
use crate::shard::{ConfigureError, Shard};
use crate::time::Duration;
use crate::timer::TimerId;

/// How often it is looked whether the server's station is known.
const LOOK: Duration = Duration::from_millis(20);

/// What a lease has put into the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    address: Option<InterfaceAddress>,
    routes: Vec<Route>,
    mtu: Option<usize>,
}

impl Applied {
    fn of(lease: &Lease) -> Self {
        let address = InterfaceAddress { address: lease.address.into(), prefix: lease.prefix };
        let route = |network: Ipv4Addr, prefix, gateway: Ipv4Addr| Route {
            network: network.into(),
            prefix,
            gateway: gateway.into(),
            interface: InterfaceId::DEVICE,
        };
        let default = lease.routers.first().map(|router| route(Ipv4Addr::UNSPECIFIED, 0, *router));
        let classless = lease.classless_routes.iter();
        let classless =
            classless.filter_map(|it| it.gateway.map(|gateway| route(it.network, it.prefix, gateway)));
        Self {
            address: Some(address),
            routes: default.into_iter().chain(classless).collect(),
            mtu: lease.mtu.map(usize::from),
        }
    }
}

/// A client, and what came of it.
pub(crate) struct Leasing {
    client: DhcpClient,
    timer: Option<TimerId>,
    applied: Applied,
    /// The state that was told last.
    told: Option<DhcpState>,
    /// Whether anything has changed since it was last asked.
    news: bool,
}

impl Shard {
    /// Has the device configured by DHCP, on the shard that configures all (shard 0). A [`DhcpFilter`](super::DhcpFilter)
    /// has to be on every shard before. The client asks for `remembered` first, if there is one; `applied` is what a lease
    /// had put into the configuration of the shard before this one, if that has failed: it goes if the lease turns out
    /// to be gone.
    ///
    /// # Errors
    /// Another shard configures all.
    pub fn dhcp_start(
        &mut self,
        config: &DhcpConfig,
        remembered: Option<Ipv4Addr>,
        applied: Applied,
    ) -> Result<(), ConfigureError> {
        self.check_configures()?;
        let core = &mut self.core;
        let mac = core.interfaces.get(InterfaceId::DEVICE).mac;
        let applied_address = applied.address.and_then(|own| match own.address {
            IpAddress::V4(address) => Some(address),
            IpAddress::V6(_) => None,
        });
        let remembered = remembered.or(applied_address);
        let client = DhcpClient::new(config.clone(), mac, &mut core.random, core.now, remembered);
        if let Some(timer) = self.leasing.take().and_then(|before| before.timer) {
            self.core.timers.cancel(timer);
        }
        self.leasing = Some(Leasing { client, timer: None, applied, told: None, news: true });
        self.follow_dhcp();
        Ok(())
    }

    /// Gives the lease back, if there is one, and asks for no other.
    pub fn dhcp_release(&mut self) {
        let now = self.core.now;
        if let Some(leasing) = &mut self.leasing {
            leasing.client.release(now);
            self.follow_dhcp();
        }
    }

    /// The DHCP client, if there is one.
    pub fn dhcp(&self) -> Option<&DhcpClient> {
        self.leasing.as_ref().map(|leasing| &leasing.client)
    }

    /// What the lease has put into the configuration.
    pub fn dhcp_applied(&self) -> Applied {
        self.leasing.as_ref().map(|leasing| leasing.applied.clone()).unwrap_or_default()
    }

    /// Whether the lease, or the client's state, may have changed since this was last asked.
    pub fn take_dhcp_news(&mut self) -> bool {
        self.leasing.as_mut().is_some_and(|leasing| std::mem::take(&mut leasing.news))
    }

    /// A message that a filter took for the client.
    pub(crate) fn dhcp_input(&mut self, interface: InterfaceId, header: &Ipv4Header, packet: Packet) {
        let Some(leasing) = &mut self.leasing else {
            self.core.counters.drops.filtered += 1;
            return;
        };
        let mut input = IpInput::new(interface, header, header.ecn, false, packet);
        let udp = match UdpHeader::parse(input.transport()) {
            Ok(udp) => udp,
            Err(error) => return self.core.count_parse_error(error),
        };
        let len = usize::from(udp.length);
        if len < UdpHeader::LEN || len > input.payload_len() {
            self.core.counters.drops.malformed += 1;
            return;
        }
        input.packet.truncate(input.header_len + len);
        if udp.checksum != 0 && !input.checksum_holds(true) {
            self.core.counters.drops.bad_checksum += 1;
            return;
        }
        let payload = input.into_payload(UdpHeader::LEN).to_vec();
        leasing.client.input(self.core.now, &payload, &mut self.core.counters.dhcp);
        self.follow_dhcp();
    }

    pub(crate) fn on_dhcp_timer(&mut self) {
        let now = self.core.now;
        if let Some(leasing) = &mut self.leasing {
            leasing.timer = None;
            leasing.client.on_timer(now);
            self.follow_dhcp();
        }
    }

    /// What became of addresses that concern the client.
    pub(crate) fn follow_addresses(&mut self) {
        while let Some(news) = self.core.own_addresses.news.pop_front() {
            let now = self.core.now;
            match news {
                AddressNews::Probed { address, .. } => self.end_probe(address),
                AddressNews::Disputed(_) => {}
            }
            let Some(leasing) = &mut self.leasing else { continue };
            match news {
                AddressNews::Probed { address: IpAddress::V4(address), free } => {
                    leasing.client.on_probed(now, address, free);
                }
                AddressNews::Disputed(IpAddress::V4(address)) => leasing.client.on_conflict(now, address),
                _ => {}
            }
            self.follow_dhcp();
        }
    }

    /// Does what the client wants done.
    fn follow_dhcp(&mut self) {
        while let Some(leasing) = &mut self.leasing
            && let Some(event) = leasing.client.poll_event()
        {
            leasing.news = true;
            match event {
                DhcpEvent::Probe(address) => self.begin_probe(address.into()),
                DhcpEvent::Bound(lease) => self.apply_lease(Applied::of(&lease)),
                DhcpEvent::Renewed(_) => {}
                DhcpEvent::Lost { .. } => self.apply_lease(Applied::default()),
            }
        }
        let Some(leasing) = &mut self.leasing else { return };
        // What a shard before this one was granted is gone when the client asks for any other.
        let anew = matches!(
            leasing.client.state(),
            DhcpState::Init
                | DhcpState::Selecting
                | DhcpState::Requesting
                | DhcpState::Declined
                | DhcpState::Stopped
        );
        if anew && leasing.applied != Applied::default() {
            self.apply_lease(Applied::default());
        }
        let Some(leasing) = &mut self.leasing else { return };
        leasing.news |= leasing.told.replace(leasing.client.state()) != Some(leasing.client.state());
        if leasing.client.wants_transmit() {
            self.core.want.set(InterfaceId::DEVICE, Provider::Dhcp);
        }
        let due = leasing.client.next_deadline();
        self.arm_dhcp(due);
    }

    fn arm_dhcp(&mut self, due: Option<crate::time::Instant>) {
        let Some(leasing) = &mut self.leasing else { return };
        match (leasing.timer, due) {
            (Some(timer), Some(due)) => {
                self.core.timers.reschedule(timer, due);
            }
            (None, Some(due)) => leasing.timer = Some(self.core.timers.insert(Timer::Dhcp, due)),
            (Some(timer), None) => {
                self.core.timers.cancel(timer);
                leasing.timer = None;
            }
            (None, None) => {}
        }
    }

    /// Puts a lease in the place of the one before, as far as they differ.
    fn apply_lease(&mut self, new: Applied) {
        let Some(leasing) = &mut self.leasing else { return };
        let old = leasing.applied.clone();
        let address = |applied: &Applied| applied.address.map(|own| own.address);
        for route in old.routes.iter().filter(|route| !new.routes.contains(route)) {
            self.remove_route(route.network, route.prefix);
        }
        if let Some(gone) = address(&old).filter(|_| address(&old) != address(&new)) {
            self.remove_address(InterfaceId::DEVICE, gone);
        }
        if old.mtu != new.mtu {
            self.set_mtu(InterfaceId::DEVICE, new.mtu);
        }
        // What is there already is no change.
        new.address.iter().for_each(|own| self.add_address(InterfaceId::DEVICE, *own));
        new.routes.iter().for_each(|route| self.add_route(*route));
        if let Some(leasing) = &mut self.leasing {
            leasing.applied = new;
        }
    }

    /// The client's next message, built now.
    pub(crate) fn next_dhcp(&mut self) -> Option<Addressed> {
        let leasing = self.leasing.as_mut()?;
        let (source, destination) = leasing.client.next_addresses()?;
        let core = &mut self.core;
        if !destination.is_broadcast()
            && let Some(path) = core.path(destination.into(), Some(source.into()))
            && core.resolve(path.interface, path.next_hop) == Resolution::Pending
        {
            // The last message of an address is built when there is nothing that it could still wait for.
            let look = core.now + LOOK;
            let due = leasing.client.next_deadline();
            self.arm_dhcp(due.into_iter().chain([look]).min());
            return None;
        }
        let message = leasing.client.transmit(core.now, &mut core.counters.dhcp)?;
        // It may have become time to say something else.
        let built = self.build_dhcp(&message.payload, message.source, message.destination);
        self.follow_dhcp();
        built
    }

    fn build_dhcp(&mut self, payload: &[u8], source: Ipv4Addr, destination: Ipv4Addr) -> Option<Addressed> {
        let core = &mut self.core;
        let Some(buffer) = core.pool.copy_of(payload) else {
            core.counters.drops.no_buffer += 1;
            return None;
        };
        let mut packet = Packet::new(buffer);
        let header = UdpHeader {
            source_port: CLIENT_PORT,
            destination_port: SERVER_PORT,
            length: (payload.len() + UdpHeader::LEN) as u16,
            checksum: 0,
        };
        header.emit(packet.prepend(UdpHeader::LEN)?).ok()?;
        let device = core.interfaces.get(InterfaceId::DEVICE);
        let to_all = Path {
            interface: InterfaceId::DEVICE,
            next_hop: Ipv4Addr::BROADCAST.into(),
            source: source.into(),
            mtu: device.mtu,
            link_mtu: device.mtu,
        };
        let routed = core.path(destination.into(), Some(source.into()));
        let path = routed.filter(|_| !destination.is_broadcast()).unwrap_or(to_all);
        let output = IpOutput {
            path,
            destination: destination.into(),
            protocol: Protocol::UDP,
            ttl: DEFAULT_TTL,
            ecn: Ecn::NotEct,
            checksum_offset: UdpHeader::CHECKSUM_OFFSET,
            pseudo_header: true,
            may_fragment: false,
        };
        core.ip_send(&output, packet)
    }
}
