//! What a shard shares with its siblings besides packets: neighbours learnt, owners of ports, members of groups, path MTUs.
//!
//! All of it is *state*, kept where it belongs; an [`Outbox`] a sibling remembers only *what* that sibling has not been
//! told since it last changed. A message is made of the state of the moment when there is room for it: what changes
//! five times meanwhile is told once, nothing is dropped, nobody waits. Only of neighbours and paths, whose number strangers decide,
//! an outbox has a cap: neighbours are asked for again, path MTUs found out again. A shard that begins anew says so, and is told everything again.

mod control;
mod groups;
mod owners;
mod ports;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use sunstar_wire::MacAddress;

pub use control::Control;
pub(crate) use control::{Claim, GroupPort, Message, Port};
pub(crate) use groups::{Groups, SPEAKER};
pub use owners::PortOwnerError;
use ports::{Claims, Registrar, Verdict};

use crate::core::Core;
use crate::ip::configuration::Change;
use crate::ip::path_mtu::Destination;
use crate::mesh::Mesh;
use crate::neighbor::Neighbor;
use crate::socket::{SocketError, SocketHandle};
use crate::steering::{Owner, PortChange, PortOwners, ShardId};

/// The shard that decides who has which port.
const REGISTRAR: ShardId = ShardId(0);

/// Neighbours that a sibling is not told of, or asked for, and path MTUs, at most, each: strangers decide how many there
/// are.
const MAX_UNTOLD: usize = 1_024;

/// Control messages heard in one turn at most.
const HEAR_BUDGET: usize = 256;

/// What a sibling has not been told.
#[derive(Debug, Default)]
struct Outbox {
    /// Which incarnation this shard is.
    incarnation_unsaid: bool,
    wanted: BTreeSet<Neighbor>,
    heard: BTreeMap<Neighbor, MacAddress>,
    neighbors: BTreeSet<Neighbor>,
    claims: BTreeSet<Port>,
    verdicts: BTreeMap<Port, (bool, u64)>,
    groups: BTreeSet<GroupPort>,
    path_mtus: BTreeSet<Destination>,
    /// The table's version that the sibling has been told (by the registrar).
    ports_told: u64,
    /// That it was told so, of its own incarnation.
    ports_told_said: bool,
    /// The table's version to be confirmed (to the registrar).
    ports_known: Option<u64>,
    /// The configuration's version that the sibling has been told (by shard 0).
    configuration_told: u64,
    /// Stations that claim addresses of this host (to shard 0).
    conflicts: BTreeMap<Neighbor, MacAddress>,
    /// The incarnation of the sibling, as far as is known.
    incarnation: u32,
}

/// This shard among its siblings.
#[derive(Debug)]
pub(crate) struct Siblings {
    me: ShardId,
    incarnation: u32,
    outboxes: Vec<Outbox>,
    claims: Claims,
    registrar: Option<Registrar>,
    pub(crate) groups: Groups,
    /// Whether any outbox may have something in it.
    pending: bool,
    /// Changes of the configuration that were told, and are to be done.
    pub(crate) changed: VecDeque<Change>,
    /// Sockets whose claim was decided.
    pub(crate) settled: Vec<SocketHandle>,
    /// News that found no place.
    untold: u64,
}

impl Siblings {
    /// A shard's part. A fresh registrar takes the table of owners over from the one before it. All begin with the same configuration, of this version.
    pub(crate) fn new(
        me: ShardId,
        shards: u16,
        incarnation: u32,
        owners: &mut PortOwners,
        configuration: u64,
    ) -> Self {
        let reborn = incarnation > 0;
        let configuration_told = if reborn { 0 } else { configuration };
        let outbox = |_| Outbox {
            incarnation_unsaid: reborn,
            ports_told_said: true,
            configuration_told,
            ..Outbox::default()
        };
        let registrar = (me == REGISTRAR && shards > 1).then(|| {
            owners.advance(first_version(incarnation));
            Registrar::new(shards, owners)
        });
        Self {
            me,
            incarnation,
            outboxes: (0..shards).map(outbox).collect(),
            claims: Claims::new(incarnation),
            registrar,
            groups: Groups::default(),
            pending: reborn && shards > 1,
            changed: VecDeque::new(),
            settled: Vec::new(),
            untold: 0,
        }
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.outboxes.len() == 1
    }

    pub(crate) fn me(&self) -> ShardId {
        self.me
    }

    /// All siblings of this shard.
    pub(crate) fn others(&self) -> impl Iterator<Item = ShardId> + use<> {
        let me = self.me;
        (0..self.outboxes.len() as u16).map(ShardId).filter(move |shard| *shard != me)
    }

    /// Whether there may be something to tell.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending
    }

    fn outbox(&mut self, shard: ShardId) -> Option<&mut Outbox> {
        self.pending = true;
        self.outboxes.get_mut(usize::from(shard.0))
    }

    /// The configuration has changed here: every sibling is to be told.
    pub(crate) fn spread_configuration(&mut self) {
        self.pending |= !self.is_alone();
    }

    /// Shard 0 is to hear who claims an address of this host. There are no more of those than addresses.
    pub(crate) fn tell_conflict(&mut self, own: Neighbor, station: MacAddress) {
        if let Some(outbox) = self.outbox(SPEAKER) {
            outbox.conflicts.insert(own, station);
        }
    }

    /// Its owner is to be asked for a neighbour.
    pub(crate) fn want_neighbor(&mut self, owner: ShardId, neighbor: Neighbor) {
        let Some(outbox) = self.outbox(owner) else { return };
        // Whoever waits asks again.
        if outbox.wanted.len() < MAX_UNTOLD {
            outbox.wanted.insert(neighbor);
        } else {
            self.untold += 1;
        }
    }

    /// Its owner is to hear where a neighbour is that asked for us.
    pub(crate) fn heard_neighbor(&mut self, owner: ShardId, neighbor: Neighbor, mac: MacAddress) {
        let Some(outbox) = self.outbox(owner) else { return };
        // A neighbour that is forgotten here is asked for when it is needed.
        if outbox.heard.len() < MAX_UNTOLD {
            outbox.heard.insert(neighbor, mac);
        } else {
            self.untold += 1;
        }
    }

    /// One sibling is to be told of a neighbour of ours.
    pub(crate) fn tell_neighbor(&mut self, shard: ShardId, neighbor: Neighbor) {
        let Some(outbox) = self.outbox(shard) else { return };
        // Not only those in the cache: what has left it since is to be told, too.
        if outbox.neighbors.len() < MAX_UNTOLD {
            outbox.neighbors.insert(neighbor);
        } else {
            self.untold += 1;
        }
    }

    /// Every sibling is to be told of a neighbour of ours.
    pub(crate) fn spread_neighbor(&mut self, neighbor: Neighbor) {
        for shard in self.others() {
            self.tell_neighbor(shard, neighbor);
        }
    }

    /// Every sibling is to be told what is known of a path's MTU.
    pub(crate) fn spread_path_mtu(&mut self, destination: Destination) {
        for shard in self.others() {
            let Some(outbox) = self.outbox(shard) else { return };
            // A shard that was not told finds out by itself.
            if outbox.path_mtus.len() < MAX_UNTOLD {
                outbox.path_mtus.insert(destination);
            } else {
                self.untold += 1;
            }
        }
    }

    fn spread_group(&mut self, at: GroupPort) {
        for shard in self.others() {
            if let Some(outbox) = self.outbox(shard) {
                outbox.groups.insert(at);
            }
        }
    }

    fn on_verdict(&mut self, verdict: Verdict) {
        let Verdict { to, port, granted, version } = verdict;
        if to == self.me {
            self.settled.extend(self.claims.on_verdict(port, granted, version));
        } else if let Some(outbox) = self.outbox(to) {
            outbox.verdicts.insert(port, (granted, version));
        }
    }
}

/// The version a fresh shard counts from, so that what it says is newer than all that the one before it did.
fn first_version(incarnation: u32) -> u64 {
    u64::from(incarnation) << 32
}

impl Core {
    /// Claims a port for a socket: for this shard alone, or for every shard that shares it. A lone shard has every port.
    ///
    /// # Errors
    /// `AddressInUse` when this shard has the port, and in the other way.
    pub(crate) fn claim(
        &mut self,
        port: Port,
        shared: bool,
        user: SocketHandle,
        address: SocketAddr,
    ) -> Result<(), SocketError> {
        if self.siblings.is_alone() {
            return Ok(());
        }
        let claim = if shared { Claim::Shared } else { Claim::Alone };
        match self.siblings.claims.claim(port, claim, user) {
            Ok(true) => self.state_claim(port),
            Ok(false) => {}
            Err(()) => return Err(SocketError::AddressInUse { address }),
        }
        Ok(())
    }

    /// A connection keeps its port, whatever becomes of the listener: its packets have to find it. Whether there is
    /// anything to be let go of later.
    pub(crate) fn hold_port(&mut self, port: Port) -> bool {
        !self.siblings.is_alone() && self.siblings.claims.hold(port)
    }

    /// A socket, or a connection, no longer needs a port.
    pub(crate) fn release_port(&mut self, port: Port) {
        if !self.siblings.is_alone() && self.siblings.claims.release(port) {
            self.state_claim(port);
        }
    }

    /// How the claim of a port stands.
    ///
    /// # Errors
    /// `WouldBlock` until it is decided, `AddressInUse` when another shard has the port.
    pub(crate) fn claimed(&self, port: Port, address: SocketAddr) -> Result<(), SocketError> {
        if self.siblings.is_alone() {
            return Ok(());
        }
        ports::outcome(self.siblings.claims.standing(port), address)
    }

    /// Whether a port may be chosen for a socket that did not ask for one. Each shard has its own to choose from, so
    /// that two never choose the same; and only odd ones, so that none is the source port of a flow that hashes elsewhere.
    pub(crate) fn may_choose(&self, port: Port) -> bool {
        let shards = self.steering.shards();
        shards == 1
            || port.1 % 2 == 1
                && port.1 / 2 % shards == self.siblings.me.0
                && self.steering.owners().owner(port.0, port.1).is_none()
    }

    /// Whether a port may be the source of a flow: the others are for those that are bound.
    pub(crate) fn may_connect_from(&self, port: u16) -> bool {
        self.siblings.is_alone() || port.is_multiple_of(2)
    }

    fn state_claim(&mut self, port: Port) {
        if self.siblings.me == REGISTRAR {
            self.on_claim(REGISTRAR, port, self.siblings.claims.state(port));
        } else if let Some(outbox) = self.siblings.outbox(REGISTRAR) {
            outbox.claims.insert(port);
        }
    }

    /// The registrar's part: a claim, its own or a sibling's.
    fn on_claim(&mut self, from: ShardId, port: Port, claim: (Claim, u64)) {
        let Some(registrar) = &mut self.siblings.registrar else { return };
        let refused = registrar.on_claim(self.steering.owners_mut(), from, port, claim);
        if let Some(verdict) = refused {
            self.siblings.on_verdict(verdict);
        }
        self.grant_due();
    }

    /// The registrar's part: grants what every shard knows of.
    fn grant_due(&mut self) {
        self.siblings.pending = true;
        let Some(registrar) = &mut self.siblings.registrar else { return };
        registrar.on_known(REGISTRAR, self.steering.owners().version());
        for verdict in registrar.due() {
            self.siblings.on_verdict(verdict);
        }
    }

    /// A UDP socket of this shard is the first member of a group at a port, or the last one has left.
    pub(crate) fn spread_membership(&mut self, at: GroupPort, member: bool) {
        self.siblings.groups.set_own(at, member);
        self.siblings.spread_group(at);
        self.note_group(at.0);
    }

    /// Hears what siblings have to say, and tells them what is new here, as far as there is room.
    pub(crate) fn exchange_control(&mut self, mesh: &mut impl Mesh) {
        if self.siblings.is_alone() {
            return;
        }
        for _ in 0..HEAR_BUDGET {
            let Some((from, Control(message))) = mesh.hear() else { break };
            self.counters.mesh.control_heard += 1;
            self.hear(from, message);
        }
        if self.siblings.pending {
            self.tell(mesh);
        }
        self.counters.mesh.untold += std::mem::take(&mut self.siblings.untold);
    }

    fn hear(&mut self, from: ShardId, message: Message) {
        match message {
            Message::Incarnation(incarnation) => self.on_incarnation(from, incarnation),
            Message::NeighborWanted(neighbor) => self.on_neighbor_wanted(from, neighbor),
            Message::NeighborHeard(neighbor, mac) => self.on_neighbor_heard(neighbor, mac),
            Message::NeighborIs(neighbor, binding) => self.on_neighbor_told(neighbor, binding),
            Message::Claim { port, claim, version } => self.on_claim(from, port, (claim, version)),
            Message::Verdict { port, granted, version } => {
                self.siblings.on_verdict(Verdict { to: self.siblings.me, port, granted, version });
            }
            Message::PortChanged(change) => self.on_port_changed(change),
            Message::PortsTold { version, incarnation } => {
                if incarnation == self.siblings.incarnation
                    && let Some(outbox) = self.siblings.outbox(from)
                {
                    outbox.ports_known = Some(version);
                }
            }
            Message::PortsKnown(version) => {
                if let Some(registrar) = &mut self.siblings.registrar {
                    registrar.on_known(from, version);
                }
                self.grant_due();
            }
            Message::Configured(change) => {
                if self.configuration.apply(change) {
                    self.siblings.changed.push_back(change);
                }
            }
            Message::Conflict(own, station) => self.on_conflict(own, station),
            Message::Group { at, member } => self.on_group_told(from, at, member),
            Message::PathMtu { destination, known } => self.on_path_mtu_told(destination, known),
        }
    }

    /// The registrar tells of an owner. A fresh one goes by the table of the one before it, which may not have heard all:
    /// where it takes this shard for a holder and it is none, that is put right.
    fn on_port_changed(&mut self, change: PortChange) {
        self.steering.owners_mut().apply(change);
        let port = (change.space, change.port);
        let held_here = [Owner::Shard(self.siblings.me), Owner::EveryShard].map(Some).contains(&change.owner);
        if held_here && !self.siblings.claims.has(port) {
            self.state_claim(port);
        }
    }

    /// A sibling says which incarnation it is. If it has begun anew, what it had is gone, and what it has to know is
    /// told again; first of all which incarnation this shard is, which a fresh one cannot know.
    fn on_incarnation(&mut self, sibling: ShardId, incarnation: u32) {
        let known = self.siblings.outboxes.get(usize::from(sibling.0)).map(|outbox| outbox.incarnation);
        if known == Some(incarnation) {
            return;
        }
        // A fresh registrar may hear of an old rebirth. What the sibling has not, it says itself when it is told the table.
        let is_news = self.siblings.incarnation == 0 || known != Some(0);
        match &mut self.siblings.registrar {
            Some(registrar) if is_news => registrar.on_reborn(self.steering.owners_mut(), sibling),
            Some(registrar) => registrar.on_known(sibling, 0),
            None => {}
        }
        self.forget_groups(sibling);
        let me = self.siblings.me;
        let (own, asked): (Vec<_>, Vec<_>) =
            (self.neighbors.owned_by(me).collect(), self.neighbors.unsettled_of(sibling).collect());
        let claims: Vec<_> = self.siblings.claims.ports().collect();
        let groups: Vec<_> = self.siblings.groups.own().collect();
        let path_mtus: Vec<_> = self.path_mtus.destinations().take(MAX_UNTOLD).collect();
        let incarnation_unsaid = self.siblings.incarnation > 0;
        let Some(outbox) = self.siblings.outbox(sibling) else { return };
        // What was not told yet still is to be: the fresh one may find older messages in its ring.
        (outbox.incarnation, outbox.incarnation_unsaid) = (incarnation, incarnation_unsaid);
        (outbox.ports_told, outbox.ports_told_said, outbox.ports_known) = (0, false, None);
        outbox.configuration_told = 0;
        outbox.verdicts.clear();
        outbox.neighbors.extend(own);
        outbox.wanted.extend(asked);
        outbox.groups.extend(groups);
        outbox.path_mtus.extend(path_mtus);
        if sibling == REGISTRAR {
            outbox.claims.extend(claims);
        }
        self.grant_due();
    }

    /// Tells every sibling what it has not been told. What finds no room stays for the next turn.
    fn tell(&mut self, mesh: &mut impl Mesh) {
        let mut pending = false;
        for sibling in self.siblings.others() {
            let at = usize::from(sibling.0);
            let mut outbox = std::mem::take(&mut self.siblings.outboxes[at]);
            let mut told = 0;
            let all = self.tell_one(&mut outbox, &mut |message| {
                let taken = mesh.tell(sibling, message.into());
                told += u64::from(taken);
                taken
            });
            self.counters.mesh.control_told += told;
            self.siblings.outboxes[at] = outbox;
            pending |= all.is_none();
        }
        self.siblings.pending = pending;
    }

    /// `None` as soon as there is no more room.
    fn tell_one(&self, outbox: &mut Outbox, say: &mut impl FnMut(Message) -> bool) -> Option<()> {
        let Siblings { incarnation, claims, registrar, groups, .. } = &self.siblings;
        // First of all: everything behind it is of the new incarnation.
        if outbox.incarnation_unsaid {
            say(Message::Incarnation(*incarnation)).then_some(())?;
            outbox.incarnation_unsaid = false;
        }
        while let Some(neighbor) = outbox.neighbors.first().copied() {
            if let Some(binding) = self.neighbors.binding(neighbor, self.now) {
                say(Message::NeighborIs(neighbor, binding)).then_some(())?;
            }
            outbox.neighbors.remove(&neighbor);
        }
        while let Some(neighbor) = outbox.wanted.first().copied() {
            say(Message::NeighborWanted(neighbor)).then_some(())?;
            outbox.wanted.remove(&neighbor);
        }
        while let Some((neighbor, mac)) = outbox.heard.first_key_value() {
            let neighbor = *neighbor;
            say(Message::NeighborHeard(neighbor, *mac)).then_some(())?;
            outbox.heard.remove(&neighbor);
        }
        while let Some(port) = outbox.claims.first().copied() {
            let (claim, version) = claims.state(port);
            say(Message::Claim { port, claim, version }).then_some(())?;
            outbox.claims.remove(&port);
        }
        while let Some(at) = outbox.groups.first().copied() {
            say(Message::Group { at, member: groups.has_own(at) }).then_some(())?;
            outbox.groups.remove(&at);
        }
        while let Some(destination) = outbox.path_mtus.first().copied() {
            let known = self.path_mtus.get(destination, self.now);
            say(Message::PathMtu { destination, known }).then_some(())?;
            outbox.path_mtus.remove(&destination);
        }
        while let Some((own, station)) = outbox.conflicts.first_key_value() {
            let own = *own;
            say(Message::Conflict(own, *station)).then_some(())?;
            outbox.conflicts.remove(&own);
        }
        if registrar.is_some() {
            for change in self.configuration.changes_since(outbox.configuration_told) {
                say(Message::Configured(change)).then_some(())?;
                outbox.configuration_told = change.version;
            }
            for change in self.steering.owners().changes_since(outbox.ports_told) {
                say(Message::PortChanged(change)).then_some(())?;
                outbox.ports_told = change.version;
                outbox.ports_told_said = false;
            }
            if !outbox.ports_told_said {
                let told = Message::PortsTold { version: outbox.ports_told, incarnation: outbox.incarnation };
                say(told).then_some(())?;
                outbox.ports_told_said = true;
            }
        }
        // Behind the table it rests on.
        while let Some((port, (granted, version))) = outbox.verdicts.first_key_value() {
            let port = *port;
            say(Message::Verdict { port, granted: *granted, version: *version }).then_some(())?;
            outbox.verdicts.remove(&port);
        }
        if let Some(version) = outbox.ports_known {
            say(Message::PortsKnown(version)).then_some(())?;
            outbox.ports_known = None;
        }
        Some(())
    }
}
