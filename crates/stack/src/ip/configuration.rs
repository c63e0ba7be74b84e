//! What the interfaces of a host are configured with: addresses, routes, MTUs.
//!
//! Shard 0 changes it; every sibling has a copy, and is told each change with its version. What was taken away is
//! remembered for a while, so that a copy that missed it hears of it.

use std::collections::BTreeMap;

use sunstar_wire::IpAddress;

use super::interface::{InterfaceAddress, InterfaceId};
use super::route::Route;

/// Things taken away that are remembered.
const MAX_REMOVED: usize = 256;

/// One piece of what a host is configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// An address of an interface.
    Address(InterfaceId, InterfaceAddress),
    /// An address that is to be one of an interface, unless somebody else has it (RFC 5227).
    Tentative(InterfaceId, IpAddress),
    /// A route by way of a gateway.
    Route(Route),
    /// The largest packet that leaves by an interface, in bytes.
    Mtu(InterfaceId, usize),
}

/// What a setting is about: there is one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Address(InterfaceId, IpAddress),
    Tentative(InterfaceId, IpAddress),
    Route(IpAddress, u8),
    Mtu(InterfaceId),
}

impl Setting {
    pub(crate) fn subject(&self) -> Subject {
        match *self {
            Self::Address(interface, own) => Subject::Address(interface, own.address),
            Self::Tentative(interface, address) => Subject::Tentative(interface, address),
            Self::Route(route) => Subject::Route(route.network, route.prefix),
            Self::Mtu(interface, _) => Subject::Mtu(interface),
        }
    }
}

/// What a copy is told: a setting, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) subject: Subject,
    pub(crate) setting: Option<Setting>,
    pub(crate) version: u64,
}

/// What the interfaces of a host are configured with, as one of its shards knows it.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    settings: BTreeMap<Subject, (Option<Setting>, u64)>,
    /// What was changed last has the highest version.
    changed: BTreeMap<u64, Subject>,
    version: u64,
    removed: usize,
}

impl Configuration {
    /// What a host begins with: addresses of its device, the preferred one first, and routes.
    pub fn new(
        addresses: impl IntoIterator<Item = InterfaceAddress>,
        routes: impl IntoIterator<Item = Route>,
    ) -> Self {
        let mut configuration = Self::default();
        for address in addresses {
            configuration.set(Setting::Address(InterfaceId::DEVICE, address));
        }
        routes.into_iter().for_each(|route| {
            configuration.set(Setting::Route(route));
        });
        configuration
    }

    /// Changes a setting; whether that is news.
    pub(crate) fn set(&mut self, setting: Setting) -> bool {
        let subject = setting.subject();
        let is_news = self.get(subject) != Some(setting);
        if is_news {
            self.store(Change { subject, setting: Some(setting), version: self.version + 1 });
        }
        is_news
    }

    /// Takes a setting away; what it was.
    pub(crate) fn unset(&mut self, subject: Subject) -> Option<Setting> {
        let was = self.get(subject)?;
        self.store(Change { subject, setting: None, version: self.version + 1 });
        Some(was)
    }

    /// A copy is told a change; whether that is news.
    pub(crate) fn apply(&mut self, change: Change) -> bool {
        let known = self.settings.get(&change.subject).map_or(0, |(_, version)| *version);
        let is_newer = change.version > known;
        if is_newer {
            self.store(change);
        }
        is_newer
    }

    pub(crate) fn get(&self, subject: Subject) -> Option<Setting> {
        self.settings.get(&subject).and_then(|(setting, _)| *setting)
    }

    /// The version of the newest change: it rises with each.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All that is set, the oldest first.
    pub(crate) fn settings(&self) -> impl Iterator<Item = Setting> {
        self.changed.values().filter_map(|subject| self.get(*subject))
    }

    /// The last change of each subject that has changed after `version`, the oldest first.
    pub(crate) fn changes_since(&self, version: u64) -> impl Iterator<Item = Change> {
        self.changed.range(version.saturating_add(1)..).map(|(version, subject)| Change {
            subject: *subject,
            setting: self.get(*subject),
            version: *version,
        })
    }

    fn store(&mut self, Change { subject, setting, version }: Change) {
        if let Some((was, before)) = self.settings.insert(subject, (setting, version)) {
            self.changed.remove(&before);
            self.removed -= usize::from(was.is_none());
        }
        self.changed.insert(version, subject);
        self.version = self.version.max(version);
        self.removed += usize::from(setting.is_none());
        if self.removed > MAX_REMOVED {
            self.forget_oldest_removed();
        }
    }

    fn forget_oldest_removed(&mut self) {
        let gone = |(_, subject): &(&u64, &Subject)| self.get(**subject).is_none();
        if let Some((version, subject)) = self.changed.iter().find(gone).map(|(at, it)| (*at, *it)) {
            self.changed.remove(&version);
            self.settings.remove(&subject);
            self.removed -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(last: u8) -> Setting {
        let address = InterfaceAddress { address: [10, 0, 0, last].into(), prefix: 24 };
        Setting::Address(InterfaceId::DEVICE, address)
    }

    #[test]
    fn what_is_set_again_is_no_news_and_what_is_taken_away_is() {
        let mut configuration = Configuration::default();
        assert!(configuration.set(address(1)) && !configuration.set(address(1)));
        assert_eq!(configuration.unset(address(1).subject()), Some(address(1)));
        assert_eq!(configuration.unset(address(1).subject()), None);
        assert_eq!((configuration.version(), configuration.settings().count()), (2, 0));
    }

    #[test]
    fn addresses_keep_the_order_they_were_given_in() {
        let mut configuration = Configuration::default();
        [9, 1, 5].iter().for_each(|last| assert!(configuration.set(address(*last))));
        assert!(configuration.settings().eq([9, 1, 5].map(address)));
    }

    #[test]
    fn what_was_taken_away_is_not_remembered_for_ever() {
        let mut configuration = Configuration::default();
        for at in 0..2_000_u32 {
            let own = InterfaceAddress { address: core::net::Ipv4Addr::from_bits(at).into(), prefix: 8 };
            let setting = Setting::Address(InterfaceId::DEVICE, own);
            configuration.set(setting);
            configuration.unset(setting.subject());
        }
        assert_eq!((configuration.settings.len(), configuration.changed.len()), (MAX_REMOVED, MAX_REMOVED));
    }

    proptest! {
        #[test]
        fn a_copy_that_misses_some_messages_and_gets_others_twice_ends_up_the_same(
            steps in proptest::collection::vec((0_u8..9, any::<bool>(), any::<bool>(), any::<bool>()), 0..100),
        ) {
            let (mut original, mut copy) = (Configuration::default(), Configuration::default());
            let mut told = 0;
            for (last, add, arrives, acknowledged) in steps {
                if add { original.set(address(last)); } else { original.unset(address(last).subject()); }
                if arrives {
                    original.changes_since(told).for_each(|change| { copy.apply(change); });
                    told = if acknowledged { copy.version() } else { told };
                }
            }
            original.changes_since(told).for_each(|change| { copy.apply(change); });
            prop_assert!(copy.settings().eq(original.settings()));
            prop_assert_eq!(copy.version(), original.version());
        }
    }
}
