//! Judges a machine: what leaves it, what reaches it, and what it is after every turn of one of its shards.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sunstar_packet::Notes;
use sunstar_stack::ControlBlock;
use sunstar_stack::time::Instant;

use super::breach::require;
use super::memory::{check_fills, check_slots};
use super::state::{States, Turn};
use super::tamper::Tampering;
use super::{Breach, Flows, check_frame};
use crate::decode::{Body, Decoded, Segment, Transport, decode};
use crate::frame::Frame;
use crate::machine::{Machine, Member};

/// The judge of one machine.
pub(crate) struct Judge {
    flows: Flows,
    states: Vec<States>,
    /// Which shard builds the segments of a connection, known by its ends and the number of its SYN: one only, ever.
    builders: BTreeMap<(SocketAddr, SocketAddr), (Option<u32>, usize)>,
    /// Turns since it was last seen who holds which buffer.
    turns: u64,
    pub(crate) tampering: Tampering,
}

/// Turns of a machine's shards between two looks at who holds which buffer.
const ACCOUNTS_EVERY: u64 = 32;

impl Judge {
    pub(crate) fn new(machine: &Machine) -> Self {
        let config = machine.members[0].shard.config();
        Self {
            flows: Flows::new(machine.device.mtu, config.tcp.min_mss),
            states: machine.members.iter().map(|_| States::default()).collect(),
            builders: BTreeMap::new(),
            turns: 0,
            tampering: Tampering::default(),
        }
    }

    /// A frame was put on one of the machine's queues.
    pub(crate) fn on_delivered(&mut self, frame: &[u8], machine: &Machine) {
        self.flows.on_arrived();
        let seen = self.tampering.delivered(frame);
        if let Ok(decoded) = decode(seen.as_deref().unwrap_or(frame), machine.device.medium) {
            self.flows.on_delivered(&decoded);
        }
    }

    /// A frame was put on a queue that its connection must not heed.
    pub(crate) fn on_forged(&mut self, frame: &[u8], machine: &Machine) {
        self.flows.on_arrived();
        if let Ok(decoded) = decode(frame, machine.device.medium) {
            self.flows.on_forged(&decoded);
        }
    }

    /// A frame has left.
    pub(crate) fn on_sent(
        &mut self,
        frame: &mut Frame,
        may_speak: bool,
        machine: &Machine,
    ) -> Result<Decoded, Breach> {
        if let Some(bytes) = self.tampering.sent(&frame.bytes) {
            frame.bytes = bytes.into();
        }
        require(20, may_speak, || "it speaks without input, timer or call".into())?;
        let decoded = check_frame(&frame.bytes, &frame.notes, &machine.device)?;
        self.flows.on_sent(&decoded, &frame.notes)?;
        if let Body::Ip(_, Transport::Tcp(segment)) = &decoded.body {
            let tuple = (segment.source.into(), segment.destination.into());
            self.check_path_mtu(segment, &frame.notes, tuple, machine)?;
            if let Some(shard) = self.states.iter().position(|states| states.has(tuple.0, tuple.1)) {
                // What a shard without a queue has built leaves later, when the queue's owner comes to it.
                if shard < machine.queues {
                    self.states[shard].check_reports(segment)?;
                }
                self.check_builder(tuple, shard)?;
            }
        }
        Ok(decoded)
    }

    /// Invariant 5: no segment is longer than its path is known to take, unless it is to find that out.
    fn check_path_mtu(
        &self,
        segment: &Segment,
        notes: &Notes,
        tuple: (SocketAddr, SocketAddr),
        machine: &Machine,
    ) -> Result<(), Breach> {
        let len = segment.payload.len();
        let piece = notes.segmentation.map_or(len, |segmentation| len.min(segmentation.size.into()));
        let fits = |mss: u16| piece + segment.options_len <= usize::from(mss);
        // What a shard without a queue has built leaves later.
        let before = self.states[..machine.queues].iter().find_map(|states| states.block(tuple));
        let Some(before) = before.filter(|before| !before.probing && !fits(before.snd_mss)) else {
            return Ok(());
        };
        // The path may have become wider, or a probe begun, in this very turn.
        let blocks = machine.members.iter().flat_map(|member| member.shard.control_blocks());
        let now =
            blocks.into_iter().find(|block| block.key == before.key && (block.local, block.remote) == tuple);
        let excused = now.is_none_or(|now| now.probing || fits(now.snd_mss));
        require(5, excused, || format!("{piece} bytes of payload where the path takes {}", before.snd_mss))
    }

    /// Invariant 18: a connection has one shard that owns it, as long as that shard lives.
    fn check_builder(&mut self, flow: (SocketAddr, SocketAddr), shard: usize) -> Result<(), Breach> {
        let connection = self.flows.first_number(flow);
        let owner = self.builders.entry(flow).or_insert((connection, shard));
        if owner.0 != connection {
            *owner = (connection, shard);
        }
        require(18, owner.1 == shard, || {
            format!("shard {shard} speaks for {flow:?}, which shard {} owns", owner.1)
        })
    }

    /// The control blocks of a shard's connections, as they were judged after its last turn.
    pub(crate) fn judged(&self, shard: usize) -> impl Iterator<Item = &ControlBlock> {
        self.states[shard].blocks()
    }

    /// The control blocks of a shard's connections, as they are judged.
    pub(crate) fn blocks(&mut self, member: &Member) -> Vec<ControlBlock> {
        let mut blocks: Vec<_> = member.shard.control_blocks().collect();
        blocks.iter_mut().for_each(|block| self.tampering.block(block));
        blocks
    }

    /// A shard has taken a turn.
    pub(crate) fn after_turn(
        &mut self,
        member: &Member,
        shard: usize,
        can_send: bool,
        now: Instant,
    ) -> Result<(), Breach> {
        let turn = Turn {
            now,
            config: &member.shard.config().tcp,
            can_send,
            busy: member.next.busy,
            next_timer: member.shard.next_deadline(),
        };
        let blocks = self.blocks(member);
        self.states[shard].after_turn(blocks.into_iter(), turn)?;
        check_fills(member.shard.fills().map(|fill| self.tampering.fill(fill)))?;
        let others = self.states.iter().enumerate().filter(|(other, _)| *other != shard);
        for (other, states) in others {
            let twice = self.states[shard].tuples().find(|(local, remote)| states.has(*local, *remote));
            require(18, twice.is_none(), || format!("shards {shard} and {other} both own {twice:?}"))?;
        }
        Ok(())
    }

    /// Whether packets between shards keep their order; and, once in a while, whether every buffer that is out has an owner.
    pub(crate) fn check_machine(&mut self, machine: &Machine) -> Result<(), Breach> {
        self.turns += 1;
        let order = machine.order.borrow();
        require(18, order.broken().is_none(), || order.broken().unwrap_or_default().into())?;
        if self.turns < ACCOUNTS_EVERY {
            return Ok(());
        }
        // When nobody can look, the next turn does.
        if check_slots(machine)? {
            self.turns = 0;
        }
        Ok(())
    }

    /// A shard has been replaced: what it had is gone.
    pub(crate) fn on_replaced(&mut self, shard: usize) {
        let gone = std::mem::take(&mut self.states[shard]);
        for (local, remote) in gone.tuples() {
            self.builders.remove(&(*local, *remote));
            self.flows.forget(*local, *remote);
        }
    }
}
