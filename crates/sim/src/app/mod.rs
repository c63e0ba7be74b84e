//! The applications of a machine: a server on every shard, and clients. Each checks the bytes it gets.

mod content;
mod conversation;
mod datagrams;
mod dialogue;
mod errand;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use sunstar_packet::SizeClass;
use sunstar_stack::time::Instant;
use sunstar_stack::{
    ConnectOptions, ConnectionKey, ControlBlock, ListenOptions, ListenerKey, SocketError, SocketHandle,
    UdpKey,
};

use crate::check::Breach;
use crate::machine::{Machine, Member};
pub use content::Content;
use conversation::Conversation;
pub use conversation::Outcome;
pub(crate) use datagrams::Datagrams;
use datagrams::{Asker, echo};
pub use dialogue::Dialogue;
pub use errand::{Errand, Role};

/// Where the servers of a world listen.
pub const PORT: u16 = 80;
/// Where datagrams are echoed.
pub(crate) const ECHO: u16 = 7;

/// Names what a client does, to whoever has told it to.
pub(crate) type Session = usize;

/// The applications of one machine.
#[derive(Debug, Default)]
pub(crate) struct Applications {
    shards: Vec<OnShard>,
    /// What has ended since the last time.
    pub(crate) ended: Vec<(Session, Outcome)>,
    /// Conversations that servers had and that are over, for whatever reason.
    pub(crate) served: u64,
    /// Whether nobody hears what has become ready.
    pub(crate) deaf: bool,
}

/// The applications of one shard.
#[derive(Debug, Default)]
struct OnShard {
    listener: Option<ListenerKey>,
    echo: Option<UdpKey>,
    conversations: BTreeMap<ConnectionKey, (Option<Session>, Conversation)>,
    askers: BTreeMap<UdpKey, (Session, Asker)>,
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)
}

impl Applications {
    /// Has every shard serve.
    pub(crate) fn serve(&mut self, machine: &mut Machine, now: Instant) {
        self.shards = (0..machine.members.len()).map(|_| OnShard::default()).collect();
        for shard in 0..self.shards.len() {
            self.serve_on(machine, shard, now);
        }
    }

    fn serve_on(&mut self, machine: &mut Machine, shard: usize, now: Instant) {
        let stack = machine.shard_mut(shard, now);
        let options = ListenOptions { shared: true, ..ListenOptions::default() };
        self.shards[shard].listener = stack.tcp_listen(any(PORT), &options).ok();
        self.shards[shard].echo = stack.udp_bind_shared(any(ECHO)).ok();
    }

    /// A shard has been replaced: all that its applications had is lost, and they serve again.
    pub(crate) fn on_replaced(&mut self, machine: &mut Machine, shard: usize, now: Instant) {
        let lost = std::mem::take(&mut self.shards[shard]);
        let conversations = lost.conversations.into_values().filter_map(|(session, _)| session);
        let sessions = conversations.chain(lost.askers.into_values().map(|(session, _)| session));
        self.ended.extend(sessions.map(|session| (session, Outcome::Lost)));
        self.serve_on(machine, shard, now);
    }

    /// Starts a conversation from a shard.
    pub(crate) fn converse(
        &mut self,
        machine: &mut Machine,
        shard: usize,
        (session, errand): (Session, Errand),
        to: Ipv4Addr,
        now: Instant,
    ) {
        let to = SocketAddr::new(to.into(), PORT);
        match machine.shard_mut(shard, now).tcp_connect(to, &ConnectOptions { local: None }) {
            Ok(key) => {
                let conversation = (Some(session), Conversation::client(errand));
                self.shards[shard].conversations.insert(key, conversation);
            }
            Err(error) => self.ended.push((session, Outcome::Failed(error))),
        }
    }

    /// Starts to send datagrams from a shard.
    pub(crate) fn ask(
        &mut self,
        machine: &mut Machine,
        shard: usize,
        (session, datagrams): (Session, Datagrams),
        to: Ipv4Addr,
        now: Instant,
    ) {
        match machine.shard_mut(shard, now).udp_bind(any(0)) {
            Ok(key) => {
                let asker = Asker::new(datagrams, SocketAddr::new(to.into(), ECHO), now);
                self.shards[shard].askers.insert(key, (session, asker));
            }
            Err(error) => self.ended.push((session, Outcome::Failed(error))),
        }
    }

    /// When anything goes on by itself, by shard.
    pub(crate) fn deadline(&self, shard: usize) -> Option<Instant> {
        let shard = &self.shards[shard];
        let conversations = shard.conversations.values().filter_map(|(_, it)| it.deadline());
        conversations.chain(shard.askers.values().filter_map(|(_, it)| it.deadline())).min()
    }

    /// Acts on what a turn has made ready, and on what is due.
    pub(crate) fn attend(&mut self, member: &mut Member, shard: usize, now: Instant) -> Result<(), Breach> {
        member.shard.set_now(now);
        let mut ready = Vec::new();
        while let Some((handle, _)) = member.shard.poll_ready() {
            ready.extend((!self.deaf).then_some(handle));
        }
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let here = &mut self.shards[shard];
        let conversations = here.conversations.iter().filter(|(_, (_, it))| due(it.deadline()));
        ready.extend(conversations.map(|(key, _)| SocketHandle::Stream(*key)));
        let askers = here.askers.iter().filter(|(_, (_, it))| due(it.deadline()));
        ready.extend(askers.map(|(key, _)| SocketHandle::Udp(*key)));
        for handle in ready {
            member.touched = true;
            match handle {
                SocketHandle::Listener(key) => self.accept(member, shard, key, now)?,
                SocketHandle::Stream(key) => self.converse_on(member, shard, key, now)?,
                SocketHandle::Udp(key) if self.shards[shard].echo == Some(key) => {
                    echo(&mut member.shard, key)?;
                }
                SocketHandle::Udp(key) => self.ask_on(member, shard, key, now)?,
                SocketHandle::Echo(_) => {}
            }
        }
        Ok(())
    }

    fn accept(
        &mut self,
        member: &mut Member,
        shard: usize,
        key: ListenerKey,
        now: Instant,
    ) -> Result<(), Breach> {
        loop {
            match member.shard.tcp_accept(key) {
                Ok((connection, _)) => {
                    let conversation = (None, Conversation::server());
                    self.shards[shard].conversations.insert(connection, conversation);
                    self.converse_on(member, shard, connection, now)?;
                }
                Err(SocketError::WouldBlock) => return Ok(()),
                // The port was not granted, or the device is gone.
                Err(_) => {
                    self.shards[shard].listener = None;
                    return Ok(());
                }
            }
        }
    }

    fn converse_on(
        &mut self,
        member: &mut Member,
        shard: usize,
        key: ConnectionKey,
        now: Instant,
    ) -> Result<(), Breach> {
        let conversations = &mut self.shards[shard].conversations;
        let Some((session, conversation)) = conversations.get_mut(&key) else { return Ok(()) };
        let Some(outcome) = conversation.act(&mut member.shard, key, now)? else { return Ok(()) };
        match *session {
            Some(session) => self.ended.push((session, outcome)),
            None => self.served += 1,
        }
        conversations.remove(&key);
        Ok(())
    }

    fn ask_on(&mut self, member: &mut Member, shard: usize, key: UdpKey, now: Instant) -> Result<(), Breach> {
        let askers = &mut self.shards[shard].askers;
        let Some((session, asker)) = askers.get_mut(&key) else { return Ok(()) };
        let Some(outcome) = asker.act(&mut member.shard, key, now)? else { return Ok(()) };
        self.ended.push((*session, outcome));
        askers.remove(&key);
        member.shard.udp_close(key);
        Ok(())
    }

    /// Invariant 19: nobody waits for what would be done at once.
    pub(crate) fn check_waiting<'a>(
        &self,
        member: &Member,
        shard: usize,
        blocks: impl Iterator<Item = &'a ControlBlock>,
    ) -> Result<(), Breach> {
        let here = &self.shards[shard];
        let pool = member.shard.pool();
        let scarce = pool.free(SizeClass::Small) <= pool.total(SizeClass::Small) / 8 + 1;
        let send_buffer = member.shard.config().tcp.send_buffer;
        for block in blocks {
            if let Some((_, conversation)) = here.conversations.get(&block.key) {
                conversation.check_waiting(block, send_buffer, scarce)?;
            }
        }
        // Whoever is told reads everything.
        if member.shard.udp_sockets().any(|socket| socket.datagrams > 0) {
            return Err(Breach::new(19, "datagrams wait, and nobody was told"));
        }
        let queued = |listener: sunstar_stack::ListenerInfo| listener.queued > 0;
        if here.listener.is_some() && member.shard.tcp_listeners().any(queued) {
            return Err(Breach::new(19, "a listener waits, and was not told of a connection"));
        }
        Ok(())
    }

    /// Bytes that all conversations which are still going on have received.
    pub(crate) fn received(&self) -> u64 {
        let conversations = self.shards.iter().flat_map(|shard| shard.conversations.values());
        conversations.map(|(_, conversation)| conversation.received()).sum()
    }

    /// Bytes that the client of an errand has received so far.
    pub(crate) fn received_by(&self, session: Session) -> u64 {
        let conversations = self.shards.iter().flat_map(|shard| shard.conversations.values());
        let of_session = |(of, _): &&(Option<Session>, Conversation)| *of == Some(session);
        conversations.filter(of_session).map(|(_, conversation)| conversation.received()).sum()
    }

    /// Gives up everything.
    pub(crate) fn close_all(&mut self, machine: &mut Machine, now: Instant) {
        for (shard, here) in std::mem::take(&mut self.shards).into_iter().enumerate() {
            let stack = machine.shard_mut(shard, now);
            here.listener.into_iter().for_each(|key| stack.tcp_close_listener(key));
            here.echo.into_iter().for_each(|key| stack.udp_close(key));
            here.conversations.into_keys().for_each(|key| stack.tcp_abort(key));
            here.askers.into_keys().for_each(|key| stack.udp_close(key));
        }
        self.shards = (0..machine.members.len()).map(|_| OnShard::default()).collect();
    }
}
