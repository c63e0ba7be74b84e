//! What can be told of a host's connections from outside, by watching what reaches it and what it says: of the
//! invariants numbers 4, 5, 10, 11 and 15.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use sunstar_packet::Notes;
use sunstar_wire::tcp::{SeqNumber, TcpFlags};

use crate::decode::{Body, Decoded, Segment, Transport};

/// More than any window a host of the simulation advertises, in bytes.
const MAX_AHEAD: u32 = 1 << 26;

/// SYNs of a peer that are remembered until one is answered.
const MAX_OFFERS: usize = 16;

/// What the peer's SYN said.
#[derive(Clone, Debug)]
struct PeerSyn {
    seq: u32,
    /// The end of the furthest segment that has reached us since.
    reached: SeqNumber,
    /// Where its FINs end.
    fins: Vec<SeqNumber>,
    mss: u16,
    /// Whether it offers window scaling; `None` if it has come both with and without.
    scales: Option<bool>,
}

impl PeerSyn {
    /// The same SYN has come again; which of them is the connection's, nobody outside can tell.
    fn merge(&mut self, again: &Self) {
        self.mss = self.mss.max(again.mss);
        self.scales = self.scales.filter(|_| self.scales == again.scales);
    }

    fn on_delivered(&mut self, segment: &Segment, end: SeqNumber) {
        // What is further ahead than any window is no part of the stream.
        if end.after(self.reached) && end - self.reached <= MAX_AHEAD {
            self.reached = end;
        }
        if segment.has(TcpFlags::FIN) {
            self.fins.push(end);
        }
    }
}

/// One connection, from one end's point of view.
#[derive(Debug, Default)]
struct Flow {
    /// Our latest SYN: its number, and the window scale it offered.
    our_syn: Option<(u32, Option<u8>)>,
    /// The SYNs that reached us, the latest last.
    offered: Vec<PeerSyn>,
    /// The SYN we have acknowledged.
    peer: Option<PeerSyn>,
    /// Whether we have said anything but a SYN.
    synchronised: bool,
    right_edge: Option<SeqNumber>,
    acknowledged: Option<SeqNumber>,
    inputs: u64,
    resets: u64,
}

/// The connections of one host.
#[derive(Debug)]
pub(crate) struct Flows {
    mtu: usize,
    min_mss: usize,
    /// What allows a RST besides an input: calls of the application, and timers.
    occasions: u64,
    flows: BTreeMap<(SocketAddrV4, SocketAddrV4), Flow>,
}

impl Flows {
    pub(crate) fn new(mtu: usize, min_mss: u16) -> Self {
        Self { mtu, min_mss: min_mss.into(), occasions: 0, flows: BTreeMap::new() }
    }

    /// The application was given its chance, or a timer ran out.
    pub(crate) fn on_occasion(&mut self) {
        self.occasions += 1;
    }

    /// A frame was handed to the host.
    pub(crate) fn on_delivered(&mut self, frame: &Decoded) {
        let Body::Ip(_, Transport::Tcp(segment)) = &frame.body else { return };
        let flow = self.flows.entry((segment.destination, segment.source)).or_default();
        if segment.has(TcpFlags::RST) {
            return;
        }
        flow.inputs += 1;
        let options = &segment.options;
        let end = SeqNumber(segment.seq.wrapping_add(segment.seq_len()));
        if segment.has(TcpFlags::SYN) {
            let offer = PeerSyn {
                seq: segment.seq,
                reached: end,
                fins: Vec::new(),
                mss: options.mss.unwrap_or(536),
                scales: Some(options.window_scale.is_some()),
            };
            flow.on_offer(offer);
        }
        flow.offered.iter_mut().chain(&mut flow.peer).for_each(|syn| syn.on_delivered(segment, end));
    }

    /// The host has sent a frame; says what is wrong with it.
    pub(crate) fn on_sent(&mut self, frame: &Decoded, notes: &Notes) -> Result<(), String> {
        let Body::Ip(_, Transport::Tcp(segment)) = &frame.body else { return Ok(()) };
        let flow = self.flows.entry((segment.source, segment.destination)).or_default();
        if segment.has(TcpFlags::RST) {
            flow.resets += 1;
            if flow.resets > flow.inputs + self.occasions {
                return Err("a RST that answers nothing, or a RST".into());
            }
            // The connection is over, if there was one; what is half open outlives a RST that answers a wrong acknowledgement.
            let offered = std::mem::take(&mut flow.offered);
            *flow = Flow { inputs: flow.inputs, resets: flow.resets, offered, ..Flow::default() };
            return Ok(());
        }
        flow.on_syn_or_first(segment);
        flow.check_mss(segment, notes, self.mtu, self.min_mss)?;
        flow.check_acknowledgement(segment)?;
        flow.check_right_edge(segment)
    }
}

impl Flow {
    /// Learns from what is said which of the SYNs that arrived is the connection's.
    fn on_syn_or_first(&mut self, segment: &Segment) {
        let syn = segment.has(TcpFlags::SYN);
        // Two connections of one instant may begin with the same number; they answer different SYNs then.
        let other = self.our_syn.is_none_or(|(seq, _)| seq != segment.seq)
            || segment.has(TcpFlags::ACK)
                && self.peer.as_ref().is_some_and(|peer| peer.seq != segment.ack.wrapping_sub(1));
        if syn && other {
            let (inputs, resets) = (self.inputs, self.resets);
            // A SYN that is no answer begins anew; what arrived before belongs to the past.
            let answers = segment.has(TcpFlags::ACK);
            let offered = if answers { std::mem::take(&mut self.offered) } else { Vec::new() };
            *self = Self { inputs, resets, offered, ..Self::default() };
        }
        if syn {
            self.our_syn = Some((segment.seq, segment.options.window_scale));
        }
        if self.synchronised || !segment.has(TcpFlags::ACK) {
            return;
        }
        let ack = SeqNumber(segment.ack);
        let answers = |offered: &&PeerSyn| SeqNumber(offered.seq).before(ack) && !ack.after(offered.reached);
        if self.peer.is_none() {
            self.peer = self.offered.iter().rev().find(answers).or(self.offered.last()).cloned();
        }
        self.synchronised = !syn;
    }

    /// A SYN has reached us.
    fn on_offer(&mut self, offer: PeerSyn) {
        if let Some(peer) = self.peer.as_mut().filter(|peer| peer.seq == offer.seq) {
            peer.merge(&offer);
        }
        if let Some(known) = self.offered.iter_mut().find(|known| known.seq == offer.seq) {
            return known.merge(&offer);
        }
        if self.offered.len() == MAX_OFFERS {
            self.offered.remove(0);
        }
        self.offered.push(offer);
    }

    /// Invariant 5, RFC 9293 MUST-16, RFC 6691: what the peer takes, less our options.
    fn check_mss(&self, segment: &Segment, notes: &Notes, mtu: usize, floor: usize) -> Result<(), String> {
        let Some(peer) = &self.peer else { return Ok(()) };
        let largest = usize::from(peer.mss).max(floor).min(mtu - 40) - segment.options_len;
        let len = segment.payload.len();
        let piece = notes.segmentation.map_or(len, |segmentation| len.min(segmentation.size.into()));
        if piece > largest {
            return Err(format!("{piece} bytes of payload where the peer takes {largest}"));
        }
        Ok(())
    }

    /// Invariants 10 and 11: only what has arrived is acknowledged, and it stays so.
    fn check_acknowledgement(&mut self, segment: &Segment) -> Result<(), String> {
        if !segment.has(TcpFlags::ACK) {
            return Ok(());
        }
        let ack = SeqNumber(segment.ack);
        if self.acknowledged.is_some_and(|before| ack.before(before)) {
            return Err(format!("acknowledges {ack}, and more before"));
        }
        self.acknowledged = Some(ack);
        let reached = self.peer.as_ref().map_or(ack, |peer| peer.reached);
        if ack.after(reached) {
            return Err(format!("acknowledges {ack} when no more than {reached} has arrived"));
        }
        for (left, right) in &segment.options.sack {
            let (left, right) = (SeqNumber(*left), SeqNumber(*right));
            if left.at_or_after(right) || right.after(reached) {
                return Err(format!("holds {left} to {right} when no more than {reached} has arrived"));
            }
        }
        Ok(())
    }

    /// Invariant 4, RFC 9293 SHLD-14 taken as a MUST: the window never shrinks, scale rounding included.
    fn check_right_edge(&mut self, segment: &Segment) -> Result<(), String> {
        let (Some(peer), Some((_, our_scale))) = (&self.peer, self.our_syn) else { return Ok(()) };
        let Some(scales) = peer.scales else { return Ok(()) };
        // Behind the peer's FIN there is nothing a window could be for.
        if peer.fins.contains(&SeqNumber(segment.ack)) {
            return Ok(());
        }
        let syn = segment.has(TcpFlags::SYN);
        let scale = if syn || !scales { 0 } else { our_scale.unwrap_or(0) };
        let edge = SeqNumber(segment.ack.wrapping_add(u32::from(segment.window) << scale));
        if let Some(before) = self.right_edge.filter(|before| edge.before(*before)) {
            return Err(format!("the right edge of the window retreats from {before} to {edge}"));
        }
        self.right_edge = Some(edge);
        Ok(())
    }
}
