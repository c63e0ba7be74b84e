//! TCP (RFC 9293): a shard's connections, listeners, demultiplexing, and the list of those that want to send.

mod acknowledge;
mod challenge;
mod congestion;
mod connection;
mod failure;
mod input;
mod isn;
mod listener;
mod output;
mod path_mtu;
mod pull;
mod range_set;
mod receive_buffer;
mod recovery;
mod reply;
mod rtt;
mod send_buffer;
mod time_wait;
mod timers;
mod tuple;

use std::collections::VecDeque;
use std::net::SocketAddr;

use slotmap::{SlotMap, new_key_type};
use sunstar_packet::SegmentationKind;
use sunstar_wire::tcp::{SeqNumber, TcpFlags, TcpHeader, TcpOptions, Timestamps};
use sunstar_wire::{IpAddress, Protocol};

pub(crate) use congestion::CongestionControl;
pub(crate) use connection::Connection;
pub use connection::{Keepalive, State};
use input::{Context, Effects, Segment};
use isn::IsnGenerator;
pub(crate) use listener::Listener;
use reply::{Replies, Reply};
use time_wait::{TimeWait, TimeWaitKey, Verdict};
pub(crate) use tuple::Tuple;

use crate::config::ShardConfig;
use crate::core::{Core, Timer};
use crate::hash::{Keyed, KeyedMap};
use crate::ip::{InterfaceId, IpInput};
use crate::link::Provider;
use crate::random::Random;
use crate::socket::{Ready, SocketError, SocketHandle};
use crate::steering::{PortSpace, ShardId, SourcePorts};
use crate::time::Duration;
use crate::timer::TimerId;

new_key_type! {
    /// Names a TCP connection.
    pub struct ConnectionKey;
    /// Names a TCP listener.
    pub struct ListenerKey;
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Connection(ConnectionKey),
    TimeWait(TimeWaitKey),
}

pub(crate) struct Tcp {
    pub(crate) connections: SlotMap<ConnectionKey, Connection>,
    pub(crate) listeners: SlotMap<ListenerKey, Listener>,
    table: KeyedMap<Tuple, Entry>,
    listening: KeyedMap<(Option<IpAddress>, u16), ListenerKey>,
    /// Connections that finish without an owner.
    orphans: usize,
    time_wait: TimeWait,
    time_wait_timer: Option<TimerId>,
    /// Connections that may send, by interface.
    ready: [VecDeque<ConnectionKey>; InterfaceId::COUNT],
    replies: Replies,
    /// Whether replies were asked first the last time, by interface.
    replied: [bool; InterfaceId::COUNT],
    isn: IsnGenerator,
    ports: SourcePorts,
}

/// How long a connection whose next hop does not answer waits before it tries again.
const UNREACHABLE_RETRY: Duration = Duration::from_secs(1);

/// How long something may wait for a next hop that never answers (RFC 9293 MUST-23: R2 is 100 seconds at least).
const UNREACHABLE_FOR: Duration = Duration::from_secs(120);

/// Keys of forgotten connections on a ready list that are no reason to look for them.
pub(crate) const READY_SLACK: usize = 64;

impl Tcp {
    pub(crate) fn new(shard: ShardId, config: &ShardConfig, random: &mut Random) -> Self {
        let ports = config.ephemeral_ports;
        Self {
            connections: SlotMap::with_key(),
            listeners: SlotMap::with_key(),
            table: KeyedMap::with_hasher(Keyed::new(random)),
            listening: KeyedMap::with_hasher(Keyed::new(random)),
            orphans: 0,
            time_wait: TimeWait::default(),
            time_wait_timer: None,
            ready: Default::default(),
            replies: Replies::default(),
            replied: [false; InterfaceId::COUNT],
            isn: IsnGenerator::new(config.tcp.first_numbers, random),
            ports: SourcePorts::new(shard, ports.first..=ports.last, random),
        }
    }

    /// A segment for us.
    pub(crate) fn input(&mut self, core: &mut Core, input: IpInput) {
        let transport = input.transport();
        let parsed = TcpHeader::parse(transport).and_then(|header| {
            let options = transport.get(TcpHeader::LEN..usize::from(header.header_len)).unwrap_or_default();
            Ok((header, TcpOptions::parse(options)?))
        });
        let (header, options) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return core.count_parse_error(error),
        };
        if !input.checksum_holds(true) {
            core.counters.drops.bad_checksum += 1;
            return;
        }
        core.counters.tcp.segments_received += 1;
        if input.packet.notes.segmentation.is_some_and(|it| it.kind != SegmentationKind::Udp) {
            core.counters.tcp.segments_coalesced += 1;
        }
        // RFC 9293 MUST-57, MUST-63: nothing for or from a group.
        if input.group || header.source_port == 0 || header.destination_port == 0 {
            core.counters.drops.martian += 1;
            return;
        }
        let local = SocketAddr::new(input.destination, header.destination_port);
        let remote = SocketAddr::new(input.source, header.source_port);
        let tuple = Tuple::new(local, remote);
        let payload = input.into_payload(header.header_len.into());
        let segment = Segment { header, options, payload };
        match self.table.get(&tuple).copied() {
            Some(Entry::Connection(key)) => self.on_segment(core, key, segment),
            Some(Entry::TimeWait(key)) => self.on_time_wait_segment(core, key, tuple, segment),
            None => self.on_unknown(core, tuple, segment, None),
        }
    }

    fn on_segment(&mut self, core: &mut Core, key: ConnectionKey, segment: Segment) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // The last ACK of a handshake waits while the accept queue has no place (it is sent again with data).
        if let Some(listener) = connection.listener.and_then(|it| self.listeners.get(it))
            && connection.state == State::SynReceived
            && listener.queue.len() >= listener.backlog
            && !segment.header.flags.intersects(TcpFlags::RST | TcpFlags::SYN)
        {
            core.counters.drops.accept_queue_full += 1;
            return;
        }
        let mut context = context(core);
        let effects = connection.on_segment(segment, &mut context);
        self.apply(core, key, effects);
    }

    /// RFC 9293 sections 3.10.7.1 and 3.10.7.2: no connection, or LISTEN.
    fn on_unknown(&mut self, core: &mut Core, tuple: Tuple, segment: Segment, above: Option<SeqNumber>) {
        let flags = segment.header.flags;
        let listener = self.listener_for(tuple.local());
        let syn =
            flags.contains(TcpFlags::SYN) && !flags.intersects(TcpFlags::ACK | TcpFlags::RST | TcpFlags::FIN);
        if let Some(listener) = listener.filter(|_| syn) {
            return self.on_syn(core, listener, tuple, segment, above);
        }
        core.counters.drops.tcp_no_connection += 1;
        let acknowledged = flags.contains(TcpFlags::ACK);
        // A listener resets an ACK, and is silent to all that says neither ACK nor SYN.
        if flags.contains(TcpFlags::RST) || listener.is_some() && !acknowledged {
            return;
        }
        let (sequence, acknowledgement) = if acknowledged {
            (segment.header.acknowledgement, None)
        } else {
            (SeqNumber(0), Some(segment.header.sequence + segment.len()))
        };
        self.reset(core, &tuple, sequence, acknowledgement);
    }

    fn on_syn(
        &mut self,
        core: &mut Core,
        listener_key: ListenerKey,
        tuple: Tuple,
        segment: Segment,
        above: Option<SeqNumber>,
    ) {
        let Some(listener) = self.listeners.get_mut(listener_key) else { return };
        if !listener.takes_syn(core.config.tcp.syn_backlog)
            || self.connections.len() >= core.config.tcp.max_connections
        {
            core.counters.drops.syn_queue_full += 1;
            return;
        }
        let Some(path) = core.path(tuple.remote().ip(), Some(tuple.local().ip())) else {
            core.counters.drops.no_route += 1;
            return;
        };
        let mut isn = self.isn.isn(&tuple, core.now);
        // RFC 9293 section 3.10.7.4, TIME-WAIT: a number the old connection never reached.
        if let Some(above) = above.filter(|above| !isn.after(*above)) {
            isn = above + 65_537;
        }
        let numbers = (isn, self.isn.timestamp_offset(&tuple));
        let mut connection =
            Connection::new(tuple, path, State::SynReceived, numbers, core.now, &core.config.tcp);
        connection.listener = Some(listener_key);
        connection.holds_port = core.hold_port((PortSpace::Tcp, tuple.local().port()));
        connection.on_syn(&segment.header, &segment.options, &context(core));
        let key = self.connections.insert(connection);
        listener.half_open.insert(key);
        self.table.insert(tuple, Entry::Connection(key));
        self.update(core, key);
    }

    fn on_time_wait_segment(&mut self, core: &mut Core, key: TimeWaitKey, tuple: Tuple, segment: Segment) {
        let times = (core.now, core.config.tcp.time_wait);
        match self.time_wait.on_segment(key, &segment.header, &segment.options, segment.len(), times) {
            Verdict::Ignore => {}
            Verdict::Reuse(above) if self.listener_for(tuple.local()).is_some() => {
                self.time_wait.remove(key);
                self.table.remove(&tuple);
                core.counters.tcp.time_wait_reused += 1;
                self.on_unknown(core, tuple, segment, Some(above));
            }
            Verdict::Refuse => core.counters.drops.tcp_unacceptable += 1,
            Verdict::Acknowledge => self.acknowledge_again(core, key),
            // Without a listener a SYN from anybody would end TIME-WAIT.
            Verdict::Challenge | Verdict::Reuse(_) => {
                core.counters.drops.tcp_unacceptable += 1;
                if self.time_wait.may_challenge(key, core.now) {
                    core.counters.tcp.challenge_acks += 1;
                    self.acknowledge_again(core, key);
                }
            }
        }
    }

    /// Does what a segment, a timer or a call meant beyond its connection.
    fn apply(&mut self, core: &mut Core, key: ConnectionKey, effects: Effects) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let tuple = connection.tuple;
        if let Some(news) = effects.path {
            core.on_path_news((connection.path.interface, tuple.remote().ip()), news);
        }
        if effects.established {
            self.on_established(core, key);
        }
        if let Some(sequence) = effects.reset {
            self.reset(core, &tuple, sequence, None);
        }
        if effects.time_wait {
            self.remember(core, key);
        }
        if effects.closed {
            self.on_closed(core, key);
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.owned {
            core.ready.set(&mut connection.ready, effects.ready, SocketHandle::Stream(key));
        }
        if connection.state == State::Closed && !connection.owned && connection.listener.is_none() {
            self.forget(core, key);
            return;
        }
        self.update(core, key);
    }

    fn on_established(&mut self, core: &mut Core, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(listener_key) = connection.listener else { return };
        core.counters.tcp.passive_opens += 1;
        let Some(listener) = self.listeners.get_mut(listener_key) else { return };
        listener.half_open.remove(&key);
        listener.queue.push_back(key);
        core.ready.set(&mut listener.ready, Ready::READABLE, SocketHandle::Listener(listener_key));
    }

    /// A connection is over, whatever the reason: its tuple is free.
    fn on_closed(&mut self, core: &mut Core, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.error {
            None => core.counters.tcp.closed += 1,
            Some(_) => core.counters.tcp.aborted += 1,
        }
        if matches!(self.table.get(&connection.tuple), Some(Entry::Connection(it)) if *it == key) {
            self.table.remove(&connection.tuple);
        }
        if let Some(listener) = connection.listener.and_then(|it| self.listeners.get_mut(it)) {
            // One that waits to be accepted stays there: whoever accepts it hears what became of it.
            if listener.half_open.remove(&key) {
                connection.listener = None;
            }
        }
    }

    /// Both directions are closed in order: only TIME-WAIT is left.
    fn remember(&mut self, core: &mut Core, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let tcp = &core.config.tcp;
        let (remembered, forgotten) =
            self.time_wait.insert(connection, core.now, tcp.time_wait, tcp.max_time_wait);
        if let Some(forgotten) = forgotten {
            core.counters.tcp.time_wait_reused += 1;
            self.table.remove(&forgotten.tuple);
        }
        self.table.insert(connection.tuple, Entry::TimeWait(remembered));
        let acknowledge = std::mem::take(&mut connection.pending.ack);
        core.counters.tcp.closed += 1;
        if acknowledge {
            self.acknowledge_again(core, remembered);
        }
        if self.time_wait_timer.is_none()
            && let Some(due) = self.time_wait.next_expiry()
        {
            self.time_wait_timer = Some(core.timers.insert(Timer::TimeWait, due));
        }
    }

    /// The last ACK of a connection in TIME-WAIT.
    fn acknowledge_again(&mut self, core: &mut Core, key: TimeWaitKey) {
        let Some(remembered) = self.time_wait.get(key).copied() else { return };
        let offset = self.isn.timestamp_offset(&remembered.tuple);
        let clock = (core.now.as_millis() as u32).wrapping_add(offset);
        let timestamps = remembered.ts_recent.map(|echo| Timestamps { value: clock, echo: echo.get() });
        self.reply(core, &remembered.tuple, |reply| Reply {
            sequence: remembered.snd_nxt,
            acknowledgement: Some(remembered.rcv_nxt),
            window: u16::MAX,
            timestamps,
            ..reply
        });
    }

    /// Takes a connection out of every table.
    pub(crate) fn forget(&mut self, core: &mut Core, key: ConnectionKey) {
        let Some(connection) = self.connections.remove(key) else { return };
        self.orphans -= usize::from(connection.orphaned);
        if connection.holds_port {
            core.release_port((PortSpace::Tcp, connection.tuple.local().port()));
        }
        if let Some((timer, _)) = connection.timer {
            core.timers.cancel(timer);
        }
        if matches!(self.table.get(&connection.tuple), Some(Entry::Connection(it)) if *it == key) {
            self.table.remove(&connection.tuple);
        }
        if !core.starved.is_empty() {
            core.starved.remove(&SocketHandle::Stream(key));
        }
        // While a device takes nothing, connections may come and go: the list keeps the living, and about as many dead.
        let ready = &mut self.ready[usize::from(connection.path.interface.0)];
        if connection.listed && ready.len() > 2 * self.connections.len() + READY_SLACK {
            ready.retain(|key| self.connections.contains_key(*key));
        }
    }

    /// After anything has changed: the connection stands on the list if it may send, and its timer is right.
    pub(crate) fn update(&mut self, core: &mut Core, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let interface = connection.path.interface;
        let offload = core.interfaces.get(interface).segmentation.tcp_v4;
        path_mtu::heed(core, connection);
        connection.restart_if_idle(core.now, &core.config.tcp);
        let may_go = connection.plan(offload).is_some();
        connection.settle_deadlines(&context(core), may_go);
        if may_go && !connection.parked {
            if !connection.listed {
                connection.listed = true;
                self.ready[usize::from(interface.0)].push_back(key);
            }
            core.want.set(interface, Provider::Tcp);
        }
        let Some(earliest) = connection.deadlines.earliest() else { return };
        match connection.timer {
            // A later deadline is looked at when the timer fires.
            Some((_, armed)) if armed <= earliest => {}
            Some((timer, _)) => {
                core.timers.reschedule(timer, earliest);
                connection.timer = Some((timer, earliest));
            }
            None => {
                let timer = core.timers.insert(Timer::Connection(key), earliest);
                connection.timer = Some((timer, earliest));
            }
        }
    }

    /// The next hop of a connection answered, or does not.
    pub(crate) fn on_neighbor(&mut self, core: &mut Core, key: ConnectionKey, answered: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.parked = false;
        if !answered {
            // What is being opened ends here: an answer that cannot be sent would hold its place in the queue for ever.
            if matches!(connection.state, State::SynSent | State::SynReceived) {
                let mut effects = Effects::default();
                connection.fail(SocketError::HostUnreachable, &mut effects);
                return self.apply(core, key, effects);
            }
            // RFC 1122 section 4.2.3.9: no reason to give the connection up at once, but what was never sent has no
            // other timer: R2 and the user timeout count from here.
            connection.parked = true;
            connection.deadlines.unpark = Some(core.now + UNREACHABLE_RETRY);
            if connection.flight() == 0 {
                let since = *connection.stuck_since.get_or_insert(core.now);
                let patience = connection.user_timeout.unwrap_or(UNREACHABLE_FOR);
                if core.now.saturating_since(since) >= patience {
                    let mut effects = Effects::default();
                    connection.fail(SocketError::HostUnreachable, &mut effects);
                    return self.apply(core, key, effects);
                }
            }
        } else if connection.flight() == 0 {
            connection.stuck_since = None;
        }
        self.update(core, key);
    }

    pub(crate) fn on_timer(&mut self, core: &mut Core, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.timer = None;
        let effects = connection.on_deadlines(&mut context(core));
        self.apply(core, key, effects);
    }

    pub(crate) fn on_time_wait_timer(&mut self, core: &mut Core) {
        self.time_wait_timer = None;
        while let Some(expired) = self.time_wait.expire(core.now) {
            self.table.remove(&expired.tuple);
        }
        if let Some(due) = self.time_wait.next_expiry() {
            self.time_wait_timer = Some(core.timers.insert(Timer::TimeWait, due));
        }
    }

    /// Queues a RST.
    pub(crate) fn reset(
        &mut self,
        core: &mut Core,
        tuple: &Tuple,
        sequence: SeqNumber,
        acknowledgement: Option<SeqNumber>,
    ) {
        self.reply(core, tuple, |reply| Reply { sequence, acknowledgement, reset: true, ..reply });
    }

    fn reply(&mut self, core: &mut Core, tuple: &Tuple, fill: impl FnOnce(Reply) -> Reply) {
        let (local, remote) = (tuple.local(), tuple.remote());
        let Some(path) = core.path(remote.ip(), Some(local.ip())) else {
            core.counters.drops.no_route += 1;
            return;
        };
        let blank = Reply {
            local,
            remote,
            path,
            sequence: SeqNumber(0),
            acknowledgement: None,
            reset: false,
            window: 0,
            timestamps: None,
        };
        if self.replies.push(fill(blank)) {
            core.want.set(path.interface, Provider::Tcp);
        } else {
            core.counters.drops.reply_queue_full += 1;
        }
    }

    /// Opens a connection: the tuple is free, the path known.
    pub(crate) fn open(&mut self, core: &mut Core, tuple: Tuple, path: crate::ip::Path) -> ConnectionKey {
        let numbers = (self.isn.isn(&tuple, core.now), self.isn.timestamp_offset(&tuple));
        let mut connection =
            Connection::new(tuple, path, State::SynSent, numbers, core.now, &core.config.tcp);
        connection.owned = true;
        connection.holds_port = core.hold_port((PortSpace::Tcp, tuple.local().port()));
        core.counters.tcp.active_opens += 1;
        let key = self.connections.insert(connection);
        self.table.insert(tuple, Entry::Connection(key));
        self.update(core, key);
        key
    }

    /// A port whose answers come back to this shard, and that is free towards `remote`.
    pub(crate) fn pick_port(&mut self, core: &Core, source: IpAddress, remote: SocketAddr) -> Option<u16> {
        let taken = |port| {
            !core.may_connect_from(port)
                || self.table.contains_key(&Tuple::new(SocketAddr::new(source, port), remote))
        };
        self.ports.pick(&core.steering, Protocol::TCP, source, remote, taken).ok()
    }

    /// Whether a connection with this tuple exists, or is remembered.
    pub(crate) fn is_taken(&self, tuple: &Tuple) -> bool {
        self.table.contains_key(tuple)
    }

    /// The connections that are not over, for a listing; those in TIME-WAIT apart.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Connection> {
        self.table.values().filter_map(|entry| match entry {
            Entry::Connection(key) => self.connections.get(*key),
            Entry::TimeWait(_) => None,
        })
    }

    pub(crate) fn connection_ready(&mut self, key: ConnectionKey) -> Option<&mut Ready> {
        self.connections.get_mut(key).map(|connection| &mut connection.ready)
    }

    /// Lets a connection finish without its owner. False if there are too many such.
    pub(crate) fn adopt_orphan(&mut self, core: &mut Core, key: ConnectionKey) -> bool {
        if self.orphans >= core.config.tcp.max_orphans {
            core.counters.tcp.orphans_refused += 1;
            return false;
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.owned = false;
            connection.orphaned = true;
            self.orphans += 1;
        }
        true
    }

    /// How many connections finish without an owner.
    pub(crate) fn orphans(&self) -> usize {
        self.orphans
    }

    /// How many stand on the longest list of those that may send; some of them may be gone.
    pub(crate) fn ready_len(&self) -> usize {
        self.ready.iter().map(VecDeque::len).max().unwrap_or(0)
    }

    /// How many replies wait for each device, and how many may.
    pub(crate) fn replies_waiting(&self) -> impl Iterator<Item = (usize, usize)> {
        self.replies.waiting()
    }

    pub(crate) fn remembered(&self) -> usize {
        self.time_wait.len()
    }
}

fn context(core: &mut Core) -> Context<'_> {
    Context {
        now: core.now,
        pool: &core.pool,
        config: &core.config.tcp,
        path_mtu: &core.config.path_mtu,
        counters: &mut core.counters,
    }
}
