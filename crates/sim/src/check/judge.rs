//! Judges a machine: what leaves it, what reaches it, and what it is after every turn of one of its shards.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sunstar_packet::Notes;
use sunstar_stack::ControlBlock;
use sunstar_stack::time::Instant;

use super::breach::require;
use super::state::{States, Turn};
use super::{Breach, Flows, check_frame};
use crate::decode::{Body, Decoded, Transport, decode};
use crate::frame::Frame;
use crate::machine::{Machine, Member};

/// What a scenario breaks on purpose, to see it caught.
#[derive(Default)]
pub(crate) struct Tampering {
    /// With the frames that leave, before they are judged.
    pub(crate) frames: Option<Box<dyn FnMut(&mut Vec<u8>, &Notes)>>,
    /// With what is read of connections, before it is judged.
    pub(crate) blocks: Option<Box<dyn FnMut(&mut ControlBlock)>>,
}

/// The judge of one machine.
pub(crate) struct Judge {
    flows: Flows,
    states: Vec<States>,
    /// Which shard builds the segments of a connection, known by its ends and the number of its SYN: one only, ever.
    builders: BTreeMap<(SocketAddr, SocketAddr), (Option<u32>, usize)>,
    pub(crate) tampering: Tampering,
}

impl Judge {
    pub(crate) fn new(machine: &Machine) -> Self {
        let config = machine.members[0].shard.config();
        Self {
            flows: Flows::new(machine.device.mtu, config.tcp.min_mss),
            states: machine.members.iter().map(|_| States::default()).collect(),
            builders: BTreeMap::new(),
            tampering: Tampering::default(),
        }
    }

    /// An application was given its chance, or a timer ran out.
    pub(crate) fn on_occasion(&mut self) {
        self.flows.on_occasion();
    }

    /// A frame was put on one of the machine's queues.
    pub(crate) fn on_delivered(&mut self, frame: &[u8], machine: &Machine) {
        if let Ok(decoded) = decode(frame, machine.device.medium) {
            self.flows.on_delivered(&decoded);
        }
    }

    /// A frame has left.
    pub(crate) fn on_sent(
        &mut self,
        frame: &mut Frame,
        may_speak: bool,
        machine: &Machine,
    ) -> Result<Decoded, Breach> {
        if let Some(tamper) = &mut self.tampering.frames {
            let mut bytes = frame.bytes.to_vec();
            tamper(&mut bytes, &frame.notes);
            frame.bytes = bytes.into();
        }
        require(20, may_speak, || "it speaks without input, timer or call".into())?;
        let decoded = check_frame(&frame.bytes, &frame.notes, &machine.device)?;
        self.flows.on_sent(&decoded, &frame.notes)?;
        if let Body::Ip(_, Transport::Tcp(segment)) = &decoded.body {
            let tuple = (segment.source.into(), segment.destination.into());
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

    /// A shard has taken a turn.
    pub(crate) fn after_turn(
        &mut self,
        member: &Member,
        shard: usize,
        can_send: bool,
        now: Instant,
    ) -> Result<(), Breach> {
        let turn = Turn { now, config: &member.shard.config().tcp, can_send };
        let blocks = member.shard.control_blocks();
        match &mut self.tampering.blocks {
            None => self.states[shard].after_turn(blocks, turn)?,
            Some(tamper) => {
                let blocks = blocks.map(|mut block| {
                    tamper(&mut block);
                    block
                });
                self.states[shard].after_turn(blocks, turn)?;
            }
        }
        let others = self.states.iter().enumerate().filter(|(other, _)| *other != shard);
        for (other, states) in others {
            let twice = self.states[shard].tuples().find(|(local, remote)| states.has(*local, *remote));
            require(18, twice.is_none(), || format!("shards {shard} and {other} both own {twice:?}"))?;
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
