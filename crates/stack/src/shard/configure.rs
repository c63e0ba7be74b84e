//! What a shard is configured with, and what follows from a change: shard 0 makes it, and all do it.

use sunstar_packet::Medium;
use sunstar_wire::IpAddress;

use super::Shard;
use crate::ip::configuration::{Setting, Subject};
use crate::ip::{Configuration, InterfaceAddress, InterfaceId, Route};
use crate::neighbor::ConflictInfo;
use crate::siblings::SPEAKER;

/// Why a shard does not change what it is configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigureError {
    /// Shard 0 does it for all.
    #[error("shard {shard} does not change the configuration: shard 0 does, and tells all others")]
    NotHere {
        /// The shard that was asked.
        shard: u16,
    },
}

impl Shard {
    pub(crate) fn check_configures(&self) -> Result<(), ConfigureError> {
        let shard = self.core.siblings.me();
        if shard == SPEAKER { Ok(()) } else { Err(ConfigureError::NotHere { shard: shard.0 }) }
    }

    /// Gives an interface an address, or a known one another prefix. The first is the preferred source. It is announced on
    /// the link (RFC 5227 section 2.3). On shard 0, which tells all others: one that is not shard 0 changes nothing.
    pub fn add_address(&mut self, interface: InterfaceId, address: InterfaceAddress) {
        self.set(Setting::Address(interface, address));
    }

    /// Takes an address away. Connections from it are reset, and sockets bound to it are told. On shard 0, as
    /// [`Shard::add_address`].
    pub fn remove_address(&mut self, interface: InterfaceId, address: IpAddress) {
        self.unset(Subject::Address(interface, address));
    }

    /// Adds a route, in place of one to the same network. On shard 0, as [`Shard::add_address`].
    pub fn add_route(&mut self, route: Route) {
        self.set(Setting::Route(route));
    }

    /// Removes the route to a network; whether there was one. On shard 0, as [`Shard::add_address`].
    pub fn remove_route(&mut self, network: IpAddress, prefix: u8) -> bool {
        self.unset(Subject::Route(network, prefix))
    }

    /// Has no packets larger than this leave by an interface; as large as its device takes without an MTU. On shard 0, as
    /// [`Shard::add_address`].
    pub fn set_mtu(&mut self, interface: InterfaceId, mtu: Option<usize>) {
        match mtu {
            Some(mtu) => self.set(Setting::Mtu(interface, mtu)),
            None => drop(self.unset(Subject::Mtu(interface))),
        }
    }

    /// What the shard is configured with.
    pub fn configuration(&self) -> &Configuration {
        &self.core.configuration
    }

    /// The stations that claim addresses of this host, on shard 0.
    pub fn conflicts(&self) -> impl Iterator<Item = &ConflictInfo> {
        self.core.own_addresses.conflicts()
    }

    /// Has it found out whether anybody has an address.
    pub(crate) fn begin_probe(&mut self, address: IpAddress) {
        self.set(Setting::Tentative(InterfaceId::DEVICE, address));
        self.core.probe_address((InterfaceId::DEVICE, address));
    }

    pub(crate) fn end_probe(&mut self, address: IpAddress) {
        self.unset(Subject::Tentative(InterfaceId::DEVICE, address));
    }

    /// Does what a shard is configured with from the beginning.
    pub(super) fn configure_first(&mut self) {
        let settings: Vec<_> = self.core.configuration.settings().collect();
        for setting in settings {
            match setting {
                // Whoever probed for it is gone.
                Setting::Tentative(..) if self.check_configures().is_ok() => {
                    self.core.configuration.unset(setting.subject());
                }
                _ => self.apply(setting.subject(), Some(setting)),
            }
        }
    }

    fn set(&mut self, setting: Setting) {
        if self.check_configures().is_ok() && self.core.configuration.set(setting) {
            self.core.siblings.spread_configuration();
            self.apply(setting.subject(), Some(setting));
        }
    }

    fn unset(&mut self, subject: Subject) -> bool {
        let is_news = self.check_configures().is_ok() && self.core.configuration.unset(subject).is_some();
        if is_news {
            self.core.siblings.spread_configuration();
            self.apply(subject, None);
        }
        is_news
    }

    /// Does what a change means for this shard.
    pub(super) fn apply(&mut self, subject: Subject, setting: Option<Setting>) {
        let core = &mut self.core;
        match (subject, setting) {
            (_, Some(Setting::Address(interface, address))) => {
                core.interfaces.add_address(interface, address);
                let has_stations = core.interfaces.get(interface).medium == Medium::Ethernet;
                if core.siblings.me() == SPEAKER && has_stations {
                    core.announce_address((interface, address.address));
                }
            }
            (_, Some(Setting::Route(route))) => core.routes.add(route),
            (_, Some(Setting::Mtu(interface, mtu))) => {
                let interface = core.interfaces.get_mut(interface);
                interface.mtu = mtu.min(interface.device_mtu);
            }
            (_, Some(Setting::Tentative(..))) => {}
            (Subject::Address(interface, address), None) => self.forget_address(interface, address),
            (Subject::Route(network, prefix), None) => {
                core.routes.remove(network, prefix);
            }
            (Subject::Mtu(interface), None) => {
                let interface = core.interfaces.get_mut(interface);
                interface.mtu = interface.device_mtu;
            }
            (Subject::Tentative(..), None) => {}
        }
    }

    fn forget_address(&mut self, interface: InterfaceId, address: IpAddress) {
        let core = &mut self.core;
        core.interfaces.remove_address(interface, address);
        core.drop_address((interface, address));
        if core.interfaces.get(interface).addresses().is_empty() {
            core.neighbors.forget_messages(interface);
        }
        self.tcp.on_address_removed(&mut self.core, address);
        self.udp.on_address_removed(&mut self.core, address);
    }
}
