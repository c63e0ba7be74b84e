//! Path MTUs: how large the packets to a destination may be, where that is less than the interface's MTU.
//!
//! Learnt from routers (RFC 1191), as far as they can be believed (RFC 5927 section 7), and by TCP's own probes where
//! routers say nothing (RFC 8899). What is learnt is kept for a while, and then larger packets are tried again
//! (RFC 1191 section 6.3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sunstar_wire::IpAddress;

use super::icmp::IcmpError;
use super::interface::InterfaceId;
use super::route::Path;
use crate::core::Core;
use crate::hash::{Keyed, KeyedMap};
use crate::random::Random;
use crate::time::{Duration, Instant};

/// Who has found out a path's MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathMtuSource {
    /// A router said so (RFC 1191).
    Icmp,
    /// Segments of that size were acknowledged, larger ones were not (RFC 8899).
    Probed,
}

/// One line of the table of path MTUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtuInfo {
    /// The interface the path leaves by.
    pub interface: InterfaceId,
    /// Where it leads.
    pub destination: IpAddress,
    /// The largest IP packet it takes, in bytes.
    pub mtu: u16,
    /// Who has found that out.
    pub source: PathMtuSource,
    /// When it is forgotten.
    pub expires: Instant,
}

/// A path: where it leads, and the interface it leaves by.
pub(crate) type Destination = (InterfaceId, IpAddress);

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathMtu {
    pub(crate) mtu: u16,
    pub(crate) source: PathMtuSource,
    pub(crate) expires: Instant,
}

/// What transmission finds out about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathNews {
    /// Packets of that size get through, while larger ones seem not to. It may prove to have been plain loss.
    Trial(u16),
    /// Packets of that size get through, and probes larger than that do not.
    Limit(u16),
    /// All that were tried get through: what probes have found is no longer true.
    Unlimited,
    /// What a router had claimed is believed.
    Claimed(u16),
}

/// A router's word that a packet of ours was too big for it (RFC 1191 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooBig {
    /// The MTU of the next hop; zero from a router that does not say.
    pub(crate) next_hop_mtu: u16,
    /// Bytes of the packet, as it says.
    pub(crate) total_len: u16,
    /// Whether the packet was not to be cut.
    pub(crate) dont_fragment: bool,
}

/// No path takes less (RFC 791 section 3.2).
const LEAST_MTU: usize = 68;

/// MTUs that are usual, the greatest first (RFC 1191 section 7.1).
const PLATEAUS: [usize; 11] = [65_535, 32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296, 68];

/// How long the result of a trial is kept that was not confirmed.
const TRIAL_LIFETIME: Duration = Duration::from_secs(10);

impl TooBig {
    /// The MTU it claims for a path, no less than `floor`; `None` unless it is less than the packet had, and less than
    /// what is known. So no message ever raises an MTU.
    fn claim(&self, path: &Path, floor: usize) -> Option<u16> {
        // RFC 1191 section 5: some routers add the header's length to the total length they quote.
        let quoted = usize::from(self.total_len).min(path.link_mtu);
        let claimed = match self.next_hop_mtu {
            // RFC 1191 section 5: a router that does not say is answered with the next plateau.
            0 => PLATEAUS.into_iter().find(|plateau| *plateau < quoted)?,
            mtu => mtu.into(),
        };
        let mtu = claimed.max(floor).max(LEAST_MTU);
        let holds = self.dont_fragment && mtu < quoted && mtu < path.mtu;
        u16::try_from(mtu).ok().filter(|_| holds)
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    known: PathMtu,
    serial: u64,
}

/// The path MTUs a shard knows of.
pub(crate) struct PathMtus {
    entries: KeyedMap<Destination, Entry>,
    /// The same, those first that are forgotten first.
    by_expiry: BTreeMap<(Instant, u64), Destination>,
    serial: u64,
    epoch: u64,
}

impl PathMtus {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            entries: KeyedMap::with_hasher(Keyed::new(random)),
            by_expiry: BTreeMap::new(),
            serial: 0,
            epoch: 0,
        }
    }

    /// Another number after each change: whoever has seen it knows that there is nothing new.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What is known of a path.
    pub(crate) fn get(&self, destination: Destination, now: Instant) -> Option<PathMtu> {
        if self.entries.is_empty() {
            return None;
        }
        self.entries.get(&destination).map(|entry| entry.known).filter(|known| now < known.expires)
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((&(expires, _), &destination)) = self.by_expiry.first_key_value() {
            if now < expires {
                return;
            }
            self.remove(destination);
        }
    }

    /// Notes what is known of a path. Of more than `max` those go that would be forgotten first.
    fn set(&mut self, destination: Destination, known: PathMtu, max: usize) {
        self.remove(destination);
        while self.entries.len() >= max {
            let Some((_, &oldest)) = self.by_expiry.first_key_value() else { return };
            self.remove(oldest);
        }
        self.serial += 1;
        self.epoch += 1;
        self.entries.insert(destination, Entry { known, serial: self.serial });
        self.by_expiry.insert((known.expires, self.serial), destination);
    }

    fn remove(&mut self, destination: Destination) -> bool {
        let Some(entry) = self.entries.remove(&destination) else { return false };
        self.by_expiry.remove(&(entry.known.expires, entry.serial));
        self.epoch += 1;
        true
    }

    /// Every path that something is known of.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = Destination> {
        self.by_expiry.values().copied()
    }

    /// All that is known.
    pub(crate) fn iter(&self, now: Instant) -> impl Iterator<Item = PathMtuInfo> {
        let known = move |destination| self.get(destination, now).map(|known| (destination, known));
        self.destinations().filter_map(known).map(|((interface, destination), known)| PathMtuInfo {
            interface,
            destination,
            mtu: known.mtu,
            source: known.source,
            expires: known.expires,
        })
    }
}

impl Core {
    /// A path with what is known of its MTU.
    pub(crate) fn with_path_mtu(&self, mut path: Path, destination: IpAddress) -> Path {
        if let Some(known) = self.path_mtus.get((path.interface, destination), self.now) {
            path.mtu = path.mtu.min(known.mtu.into());
        }
        path
    }

    /// The MTU an ICMP error claims, as far as it can be true of any packet of ours: what remains is whether the packet
    /// it quotes is one. Counted, if not.
    pub(crate) fn claimed_mtu(&mut self, error: &IcmpError, too_big: &TooBig) -> Option<(Destination, u16)> {
        let remote = error.remote;
        // No router says anything about a datagram to many (RFC 1122 section 3.2.2).
        let to_many = match remote {
            IpAddress::V4(address) => address.is_multicast() || self.interfaces.is_broadcast(address),
            IpAddress::V6(address) => address.is_multicast(),
        };
        let path =
            self.path(remote, Some(error.local)).filter(|path| path.interface != InterfaceId::LOOPBACK);
        let claim = path.filter(|_| !to_many).and_then(|path| {
            let mtu = too_big.claim(&path, self.config.path_mtu.min_mtu.into())?;
            Some(((path.interface, remote), mtu))
        });
        if claim.is_none() {
            self.counters.drops.too_big_ignored += 1;
        }
        claim
    }

    /// Something was found out about a path: here it is known from now on, and siblings are told.
    pub(crate) fn on_path_news(&mut self, destination: Destination, news: PathNews) {
        let before = self.path_mtus.get(destination, self.now);
        let lifetime = self.config.path_mtu.lifetime;
        let (mtu, source, lifetime) = match news {
            // Another message has said so meanwhile.
            PathNews::Claimed(mtu) if before.is_some_and(|known| known.mtu <= mtu) => return,
            PathNews::Claimed(mtu) => {
                self.counters.control.too_big_believed += 1;
                (mtu, PathMtuSource::Icmp, lifetime)
            }
            // A router that has said less is better informed.
            PathNews::Trial(mtu) | PathNews::Limit(mtu)
                if before.is_some_and(|known| known.mtu < mtu && known.source == PathMtuSource::Icmp) =>
            {
                return;
            }
            PathNews::Limit(mtu) => (mtu, PathMtuSource::Probed, lifetime),
            PathNews::Trial(mtu) if before.is_none_or(|known| mtu < known.mtu) => {
                (mtu, PathMtuSource::Probed, TRIAL_LIFETIME.min(lifetime))
            }
            PathNews::Trial(_) => return,
            PathNews::Unlimited => {
                if before.is_some_and(|known| known.source == PathMtuSource::Probed) {
                    self.path_mtus.remove(destination);
                    self.siblings.spread_path_mtu(destination);
                }
                return;
            }
        };
        let known = PathMtu { mtu, source, expires: self.now + lifetime };
        self.path_mtus.set(destination, known, self.config.path_mtu.max_entries);
        self.siblings.spread_path_mtu(destination);
    }

    /// A sibling tells what it knows of a path.
    pub(crate) fn on_path_mtu_told(&mut self, destination: Destination, told: Option<PathMtu>) {
        let before = self.path_mtus.get(destination, self.now);
        let was_probed = before.is_none_or(|known| known.source == PathMtuSource::Probed);
        match told {
            // Nothing but a probe raises an MTU, and none raises a router's.
            Some(told) if told.expires > self.now => {
                let lower = before.is_none_or(|known| told.mtu < known.mtu);
                if lower || was_probed && told.source == PathMtuSource::Probed {
                    self.path_mtus.set(destination, told, self.config.path_mtu.max_entries);
                }
            }
            None if was_probed => {
                self.path_mtus.remove(destination);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn path(mtu: usize) -> Path {
        let address = Ipv4Addr::new(10, 0, 0, 1).into();
        Path { interface: InterfaceId::DEVICE, next_hop: address, source: address, mtu, link_mtu: 1_500 }
    }

    fn too_big(next_hop_mtu: u16, total_len: u16) -> TooBig {
        TooBig { next_hop_mtu, total_len, dont_fragment: true }
    }

    #[test]
    fn a_claim_is_less_than_the_packet_and_than_what_is_known_and_no_less_than_the_floor() {
        assert_eq!(too_big(1_400, 1_500).claim(&path(1_500), 552), Some(1_400));
        assert_eq!(too_big(1_400, 1_500).claim(&path(1_400), 552), None, "known already");
        assert_eq!(too_big(1_450, 1_500).claim(&path(1_400), 552), None, "never raised");
        assert_eq!(too_big(1_400, 1_400).claim(&path(1_500), 552), None, "the packet fits");
        assert_eq!(too_big(9_000, 65_535).claim(&path(1_500), 552), None, "more than the interface takes");
        assert_eq!(too_big(68, 1_500).claim(&path(1_500), 552), Some(552));
        assert_eq!(too_big(68, 552).claim(&path(1_500), 552), None, "such a packet is always sent");
        assert_eq!(too_big(1, 1_500).claim(&path(1_500), 0), Some(68));
        let cut = TooBig { dont_fragment: false, ..too_big(1_400, 1_500) };
        assert_eq!(cut.claim(&path(1_500), 552), None, "a router would have cut it");
    }

    #[test]
    fn a_router_that_does_not_say_is_answered_with_the_next_plateau() {
        for (quoted, next) in [(1_500, 1_492), (1_492, 1_006), (1_006, 552), (1_520, 1_492)] {
            assert_eq!(too_big(0, quoted).claim(&path(1_500), 552), Some(next), "{quoted}");
        }
        assert_eq!(too_big(0, 1_500).claim(&path(1_492), 552), None, "one of many packets of one size");
        assert_eq!(too_big(0, 68).claim(&path(1_500), 0), None);
    }

    #[test]
    fn the_table_has_a_cap_and_forgets_the_oldest_first() {
        let mut paths = PathMtus::new(&mut Random::from_seed(1));
        let destination = |last| (InterfaceId::DEVICE, IpAddress::from(Ipv4Addr::new(10, 0, 0, last)));
        let at = Instant::from_millis;
        for last in 1..=4 {
            let known =
                PathMtu { mtu: 1_400, source: PathMtuSource::Icmp, expires: at(10 + u64::from(last)) };
            paths.set(destination(last), known, 3);
        }
        assert_eq!(paths.get(destination(1), at(0)), None);
        assert_eq!(paths.iter(at(0)).count(), 3);
        let epoch = paths.epoch();
        paths.expire(at(11));
        assert_eq!(paths.epoch(), epoch, "nothing has changed");
        paths.expire(at(13));
        assert_ne!(paths.epoch(), epoch);
        assert_eq!(paths.destinations().collect::<Vec<_>>(), [destination(4)]);
        assert_eq!(paths.get(destination(4), at(14)), None, "as soon as it is too old");
    }
}
