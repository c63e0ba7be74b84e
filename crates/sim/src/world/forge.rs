//! Forged segments: whoever sits beside the path sends a connection what does not belong to it. Invariant 14: that changes
//! nothing, and is answered by one acknowledgement at most.

use std::net::{SocketAddr, SocketAddrV4};

use sunstar_packet::Medium;
use sunstar_stack::{ControlBlock, State};
use sunstar_wire::tcp::TcpFlags;

use super::{Node, World};
use crate::check::Breach;
use crate::craft::Envelope;
use crate::decode::{Body, Segment, Transport, decode};
use crate::script::{Tcp, tcp};

/// Connections of one shard that are tried at a time.
const CONNECTIONS: usize = 4;

impl World {
    /// Has forged segments arrive at the connections of a machine, one at a time, at every shard that has nothing else to do.
    pub(super) fn forge(&mut self, number: usize) -> Result<(), Breach> {
        // A shard without a queue gets nothing directly.
        for shard in 0..self.nodes[number].machine.queues {
            let keys: Vec<_> =
                self.blocks(number, shard).iter().map(|block| block.key).take(CONNECTIONS).collect();
            for key in keys {
                let before = self.blocks(number, shard).into_iter().find(|block| block.key == key);
                let choice = self.random.below(8);
                if let Some(before) = before.filter(|_| self.is_idle(number, shard)) {
                    self.forge_one(number, shard, before, choice)?;
                }
            }
        }
        Ok(())
    }

    /// Whether neither a shard nor its applications have anything to do now.
    fn is_idle(&self, number: usize, shard: usize) -> bool {
        let node = &self.nodes[number];
        let member = &node.machine.members[shard];
        let applications_wait = node.applications.deadline(shard).is_none_or(|deadline| deadline > self.now);
        applications_wait && !member.suspended && !member.wants_turn(self.now) && !member.is_held_up()
    }

    fn blocks(&mut self, number: usize, shard: usize) -> Vec<ControlBlock> {
        let synchronised = |block: &ControlBlock| {
            !matches!(block.state, State::SynSent | State::SynReceived | State::Closed)
        };
        let Node { machine, judge, .. } = &mut self.nodes[number];
        let mut blocks = judge.blocks(&machine.members[shard]);
        blocks.retain(synchronised);
        blocks.sort_by_key(|block| (block.local, block.remote));
        blocks
    }

    fn forge_one(
        &mut self,
        number: usize,
        shard: usize,
        before: ControlBlock,
        choice: u64,
    ) -> Result<(), Breach> {
        let now = self.now;
        let (SocketAddr::V4(local), SocketAddr::V4(remote)) = (before.local, before.remote) else {
            return Ok(());
        };
        let envelope = Envelope {
            medium: Medium::Ethernet,
            source_mac: [0x02, 0, 0, 0, 9, 9],
            destination_mac: self.nodes[number].machine.device.mac,
            source: *remote.ip(),
            destination: *local.ip(),
            ttl: 64,
            ecn: 0,
        };
        let segment = forged(&before, choice);
        let frame = segment.frame(&envelope, (remote.port(), local.port()), 0, 0);
        self.trace.record(now, 2 * number as u16 + 1, crate::Fate::Injected, frame.clone().into());
        let node = &mut self.nodes[number];
        node.judge.on_forged(&frame, &node.machine);
        node.machine.deliver(shard, &frame, Default::default());
        self.forged += 1;
        // The segment is received in the first turn, and answered in the second.
        let mut answers = 0;
        for _ in 0..2 {
            let sent = self.turn(number, shard)?;
            for answer in sent.iter().filter_map(|frame| segment_to(frame, remote)) {
                answers += 1;
                let is_bare = answer.flags == TcpFlags::ACK && answer.payload.is_empty();
                if !is_bare || answer.seq != before.snd_nxt.0 {
                    return Err(Breach::new(
                        14,
                        format!("forged segment {choice} was answered by {answer:?}"),
                    ));
                }
            }
            let changed = self.blocks(number, shard).into_iter().find(|block| block.key == before.key);
            let same = changed.as_ref().is_some_and(|after| is_untouched(&before, after));
            if !same {
                let what = format!("forged segment {choice} changed {before:?} to {changed:?}");
                return Err(Breach::new(14, what));
            }
        }
        match answers {
            0 | 1 => Ok(()),
            many => Err(Breach::new(14, format!("forged segment {choice} was answered by {many}"))),
        }
    }
}

/// A segment that the connection must not accept.
fn forged(block: &ControlBlock, choice: u64) -> Tcp {
    let (next, edge) = (block.rcv_nxt.0, block.rcv_adv.0.max(block.rcv_nxt.0.wrapping_add(1)));
    let segment = match choice {
        // Data beyond the window, and behind it.
        0 => tcp().seq(edge.wrapping_add(10_000)).ack(block.snd_una.0).len(100),
        1 => tcp().seq(next.wrapping_sub(5_000)).ack(block.snd_una.0).len(100),
        // RFC 5961 sections 3 to 5: a SYN anywhere, a RST anywhere but at RCV.NXT, an acknowledgement of what was never sent
        // and of what is long past.
        2 => tcp().syn().seq(next).mss(1_460),
        3 => tcp().rst().seq(next.wrapping_add(1)),
        4 => tcp().rst().seq(edge.wrapping_add(100_000)),
        5 => tcp().seq(next).ack(block.snd_nxt.0.wrapping_add(1_000)),
        6 => tcp().seq(next).ack(block.snd_una.0.wrapping_sub(1 << 30)).len(10),
        // An empty acknowledgement outside of the window.
        _ => tcp().seq(next.wrapping_sub(1_000)).ack(block.snd_una.0),
    };
    match block.ts_recent {
        Some(recent) => segment.ts(recent, 0),
        None => segment,
    }
}

/// Whether a connection is as it was: that it has an acknowledgement to send, and whatever time does, aside.
fn is_untouched(before: &ControlBlock, after: &ControlBlock) -> bool {
    let ControlBlock { listed, earliest, armed, .. } = after.clone();
    let rcv_adv = after.rcv_adv;
    *after == ControlBlock { listed, earliest, armed, rcv_adv, ..before.clone() }
}

/// The segment of a frame to a peer.
fn segment_to(frame: &[u8], remote: SocketAddrV4) -> Option<Segment> {
    match decode(frame, Medium::Ethernet).ok()?.body {
        Body::Ip(_, Transport::Tcp(segment)) if segment.destination == remote => Some(segment),
        _ => None,
    }
}
