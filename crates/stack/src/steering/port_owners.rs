//! Who owns a port: a replicated table that is asked before the hash is.
//!
//! One shard changes the table; the others hold copies. Each change raises the version, and the changes a
//! copy has missed can be listed at any time, each port once, however often it changed: what is to be sent
//! needs no queue, and can be sent again until it has been taken.

use std::collections::BTreeMap;

use sunstar_wire::Protocol;

use super::indirection::ShardId;

/// What numbers a port is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortSpace {
    /// Ports of TCP.
    Tcp,
    /// Ports of UDP.
    Udp,
    /// Identifiers of ICMP echo requests, which their replies come back with.
    Icmp,
}

impl PortSpace {
    const ALL: usize = 3;

    /// The ports of a protocol, if it has any.
    pub const fn of(protocol: Protocol) -> Option<Self> {
        match protocol {
            Protocol::TCP => Some(Self::Tcp),
            Protocol::UDP => Some(Self::Udp),
            Protocol::ICMP => Some(Self::Icmp),
            _ => None,
        }
    }
}

/// Names a hook: a packet filter that takes packets for a port on whichever shard they arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookId(pub u16);

/// Who takes what arrives for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Every shard takes the flows that hash to it.
    EveryShard,
    /// One shard takes all flows.
    Shard(ShardId),
    /// A hook takes the packets; they stay where they arrive.
    Hook(HookId),
}

/// A change of one port, to be sent to the copies of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortChange {
    /// Which ports are meant.
    pub space: PortSpace,
    /// The port, or the identifier.
    pub port: u16,
    /// The new owner; nobody, if the port was given up.
    pub owner: Option<Owner>,
    /// The table's version with this change.
    pub version: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    owner: Option<Owner>,
    /// The version of the last change; zero if there never was one.
    version: u64,
}

const ENTRIES_PER_PAGE: usize = 256;
const PAGES: usize = (u16::MAX as usize + 1) / ENTRIES_PER_PAGE;

type Page = [Entry; ENTRIES_PER_PAGE];

/// The owners of all ports that have one. A look-up takes two array accesses; 256 neighbouring ports share
/// 4 KiB, which are taken when the first of them gets an owner.
#[derive(Clone, Debug)]
pub struct PortOwners {
    pages: [Vec<Option<Box<Page>>>; PortSpace::ALL],
    /// Every port that ever changed, by the version of its last change.
    changed: BTreeMap<u64, (PortSpace, u16)>,
    version: u64,
}

impl Default for PortOwners {
    fn default() -> Self {
        Self::new()
    }
}

impl PortOwners {
    /// A table in which no port has an owner, at version zero.
    pub fn new() -> Self {
        Self { pages: core::array::from_fn(|_| vec![None; PAGES]), changed: BTreeMap::new(), version: 0 }
    }

    /// Who owns a port, if anybody does.
    #[inline]
    pub fn owner(&self, space: PortSpace, port: u16) -> Option<Owner> {
        let page = self.pages[space as usize][usize::from(port >> 8)].as_ref()?;
        page[usize::from(port & 0xff)].owner
    }

    /// Gives a port to `owner`, or to nobody. The version rises unless that is so already.
    pub fn set(&mut self, space: PortSpace, port: u16, owner: Option<Owner>) {
        if self.owner(space, port) != owner {
            self.store(PortChange { space, port, owner, version: self.version + 1 });
        }
    }

    /// Takes over a change from the shard that made it.
    ///
    /// Changes may come again and in any order: one that is not newer than what is known of its port does
    /// nothing, and is answered with `false`.
    pub fn apply(&mut self, change: PortChange) -> bool {
        let is_newer = change.version > self.entry(change.space, change.port).version;
        if is_newer {
            self.store(change);
        }
        is_newer
    }

    /// The version of the newest change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The version of a port's last change; zero if there never was one.
    pub fn version_of(&self, space: PortSpace, port: u16) -> u64 {
        let page = self.pages[space as usize][usize::from(port >> 8)].as_ref();
        page.map_or(0, |page| page[usize::from(port & 0xff)].version)
    }

    /// Begins to count versions from `version` on, if that is more: what a fresh writer changes is newer than all that
    /// the one before it did.
    pub fn advance(&mut self, version: u64) {
        self.version = self.version.max(version);
    }

    /// The last change of each port that changed after `version`, the oldest first. Changes since version
    /// zero make a copy of the whole table.
    pub fn changes_since(&self, version: u64) -> impl Iterator<Item = PortChange> {
        self.changed.range(version.saturating_add(1)..).map(|(version, (space, port))| PortChange {
            space: *space,
            port: *port,
            owner: self.owner(*space, *port),
            version: *version,
        })
    }

    fn entry(&mut self, space: PortSpace, port: u16) -> &mut Entry {
        let page = &mut self.pages[space as usize][usize::from(port >> 8)];
        let page = page.get_or_insert_with(|| Box::new([Entry::default(); ENTRIES_PER_PAGE]));
        &mut page[usize::from(port & 0xff)]
    }

    fn store(&mut self, change: PortChange) {
        let PortChange { space, port, owner, version } = change;
        let entry = self.entry(space, port);
        let replaced = core::mem::replace(entry, Entry { owner, version });
        self.changed.remove(&replaced.version);
        self.changed.insert(version, (space, port));
        self.version = self.version.max(version);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHARD_1: Owner = Owner::Shard(ShardId(1));

    #[test]
    fn a_port_has_the_owner_it_was_given_and_its_neighbours_have_none() {
        let mut owners = PortOwners::new();
        owners.set(PortSpace::Tcp, 80, Some(Owner::EveryShard));
        owners.set(PortSpace::Udp, 65_535, Some(SHARD_1));
        assert_eq!(owners.owner(PortSpace::Tcp, 80), Some(Owner::EveryShard));
        assert_eq!(owners.owner(PortSpace::Udp, 65_535), Some(SHARD_1));
        for (space, port) in [(PortSpace::Udp, 80), (PortSpace::Tcp, 81), (PortSpace::Tcp, 336)] {
            assert_eq!(owners.owner(space, port), None);
        }
        owners.set(PortSpace::Tcp, 80, None);
        assert_eq!(owners.owner(PortSpace::Tcp, 80), None);
    }

    #[test]
    fn the_version_rises_with_each_change_and_only_then() {
        let mut owners = PortOwners::new();
        owners.set(PortSpace::Tcp, 80, None);
        assert_eq!(owners.version(), 0);
        owners.set(PortSpace::Tcp, 80, Some(SHARD_1));
        owners.set(PortSpace::Tcp, 80, Some(SHARD_1));
        assert_eq!(owners.version(), 1);
        owners.set(PortSpace::Tcp, 80, None);
        assert_eq!(owners.version(), 2);
    }

    #[test]
    fn a_port_that_changed_often_is_listed_once_with_its_last_owner() {
        let mut owners = PortOwners::new();
        owners.set(PortSpace::Tcp, 80, Some(SHARD_1));
        owners.set(PortSpace::Udp, 53, Some(SHARD_1));
        owners.set(PortSpace::Tcp, 80, None);
        let listed: Vec<_> = owners.changes_since(0).map(|change| (change.port, change.owner)).collect();
        assert_eq!(listed, [(53, Some(SHARD_1)), (80, None)]);
        assert_eq!(owners.changes_since(2).count(), 1);
        assert_eq!(owners.changes_since(3).count(), 0);
        assert_eq!(owners.changes_since(u64::MAX).count(), 0);
    }

    #[test]
    fn a_change_that_comes_late_does_not_undo_a_newer_one() {
        let mut owners = PortOwners::new();
        let change =
            |owner, version| PortChange { space: PortSpace::Tcp, port: 80, owner: Some(owner), version };
        assert!(owners.apply(change(SHARD_1, 5)));
        assert!(!owners.apply(change(Owner::EveryShard, 4)));
        assert!(!owners.apply(change(SHARD_1, 5)));
        assert_eq!(owners.owner(PortSpace::Tcp, 80), Some(SHARD_1));
        assert_eq!(owners.version(), 5);
    }

    fn owner() -> impl Strategy<Value = Option<Owner>> {
        prop_oneof![
            Just(None),
            Just(Some(Owner::EveryShard)),
            (0_u16..4).prop_map(|shard| Some(Owner::Shard(ShardId(shard)))),
            (0_u16..4).prop_map(|hook| Some(Owner::Hook(HookId(hook)))),
        ]
    }

    proptest! {
        #[test]
        fn a_copy_that_misses_some_messages_and_gets_others_twice_ends_up_the_same(
            steps in proptest::collection::vec((0_u16..600, owner(), any::<bool>(), any::<bool>()), 0..200),
        ) {
            let (mut original, mut copy) = (PortOwners::new(), PortOwners::new());
            let mut taken = 0;
            for (port, owner, arrives, acknowledged) in steps {
                original.set(PortSpace::Udp, port, owner);
                if arrives {
                    original.changes_since(taken).for_each(|change| { copy.apply(change); });
                    taken = if acknowledged { copy.version() } else { taken };
                }
            }
            original.changes_since(taken).for_each(|change| { copy.apply(change); });
            for port in 0..600 {
                prop_assert_eq!(copy.owner(PortSpace::Udp, port), original.owner(PortSpace::Udp, port));
            }
            prop_assert_eq!(copy.version(), original.version());
            prop_assert!(copy.changes_since(0).eq(original.changes_since(0)));
        }
    }
}
