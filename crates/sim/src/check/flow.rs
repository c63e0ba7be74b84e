//! What can be told of a host's connections from outside, by watching what reaches it and what it says: of the
//! invariants numbers 2, 4, 5, 10, 11 and 15.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};

use sunstar_packet::Notes;
use sunstar_wire::tcp::{SeqNumber, TcpFlags};

use super::Breach;
use super::received::Received;
use crate::decode::{Body, Decoded, Segment, Transport};

/// More than any window a host of the simulation advertises, in bytes.
const MAX_AHEAD: u32 = 1 << 26;

/// SYNs of a peer that are remembered until one is answered.
const MAX_OFFERS: usize = 16;

/// What the peer's SYN said.
#[derive(Clone, Debug)]
struct PeerSyn {
    seq: u32,
    /// What has reached us since.
    received: Received,
    /// Where its FINs end.
    fins: Vec<SeqNumber>,
    mss: u16,
    /// The window scale that it offers, the greatest if it has come with several.
    scale: Option<u8>,
    /// It has come with several.
    is_doubtful: bool,
}

impl PeerSyn {
    /// The same SYN has come again; which of them is the connection's, nobody outside can tell.
    fn merge(&mut self, again: &Self) {
        self.mss = self.mss.max(again.mss);
        self.is_doubtful |= self.scale.is_some() != again.scale.is_some();
        self.scale = self.scale.max(again.scale);
    }

    /// A segment has arrived, and ends there; so far the host has acknowledged so much.
    fn on_delivered(&mut self, segment: &Segment, end: SeqNumber, acknowledged: Option<SeqNumber>) {
        // What is further ahead than any window is no part of the stream.
        let from = acknowledged.unwrap_or(SeqNumber(self.seq));
        if end - from <= MAX_AHEAD {
            self.received.insert(SeqNumber(segment.seq), end);
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
    /// The furthest right edge of the peer's window that reached us.
    may_send_to: Option<SeqNumber>,
    /// The end of the furthest segment we have sent.
    sent: Option<SeqNumber>,
    inputs: u64,
    resets: u64,
}

/// The connections of one host.
#[derive(Debug)]
pub(crate) struct Flows {
    mtu: usize,
    min_mss: usize,
    /// Packets that have come, and answers that were given without a connection: ICMP, and RSTs.
    packets: u64,
    answers: u64,
    flows: BTreeMap<(SocketAddrV4, SocketAddrV4), Flow>,
}

impl Flows {
    pub(crate) fn new(mtu: usize, min_mss: u16) -> Self {
        Self { mtu, min_mss: min_mss.into(), packets: 0, answers: 0, flows: BTreeMap::new() }
    }

    /// Something has come, whether or not another parser can read it.
    pub(crate) fn on_arrived(&mut self) {
        self.packets += 1;
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
                received: Received::new(SeqNumber(segment.seq)),
                fins: Vec::new(),
                mss: options.mss.unwrap_or(536),
                scale: options.window_scale,
                is_doubtful: false,
            };
            flow.on_offer(offer);
        }
        let acknowledged = flow.acknowledged;
        flow.offered.iter_mut().for_each(|syn| syn.on_delivered(segment, end, None));
        flow.peer.iter_mut().for_each(|syn| syn.on_delivered(segment, end, acknowledged));
        // An acknowledgement of what was never sent is nobody's, and says nothing of a window.
        let of_ours = flow.sent.is_none_or(|sent| !SeqNumber(segment.ack).after(sent));
        if segment.has(TcpFlags::ACK) && of_ours {
            let edge = SeqNumber(segment.ack) + (u32::from(segment.window) << flow.scale_of(segment));
            flow.may_send_to = Some(flow.may_send_to.map_or(edge, |furthest| furthest.max(edge)));
        }
    }

    /// A frame was handed to the host that its connection must not heed, though it may be answered.
    pub(crate) fn on_forged(&mut self, frame: &Decoded) {
        if let Body::Ip(_, Transport::Tcp(segment)) = &frame.body
            && !segment.has(TcpFlags::RST)
        {
            self.flows.entry((segment.destination, segment.source)).or_default().inputs += 1;
        }
    }

    /// The number of our latest SYN of a connection.
    pub(crate) fn first_number(&self, (local, remote): (SocketAddr, SocketAddr)) -> Option<u32> {
        let (SocketAddr::V4(local), SocketAddr::V4(remote)) = (local, remote) else { return None };
        self.flows.get(&(local, remote))?.our_syn.map(|(seq, _)| seq)
    }

    /// Whoever had a connection is gone, and what comes from it is another's.
    pub(crate) fn forget(&mut self, local: SocketAddr, remote: SocketAddr) {
        if let (SocketAddr::V4(local), SocketAddr::V4(remote)) = (local, remote)
            && let Some(flow) = self.flows.get_mut(&(local, remote))
        {
            *flow = Flow { inputs: flow.inputs, resets: flow.resets, ..Flow::default() };
        }
    }

    /// The host has sent a frame; says what is wrong with it.
    pub(crate) fn on_sent(&mut self, frame: &Decoded, notes: &Notes) -> Result<(), Breach> {
        self.check_answer(frame)?;
        let Body::Ip(_, Transport::Tcp(segment)) = &frame.body else { return Ok(()) };
        let flow = self.flows.entry((segment.source, segment.destination)).or_default();
        if segment.has(TcpFlags::RST) {
            flow.resets += 1;
            if flow.resets > flow.inputs {
                return Err(Breach::new(15, "a RST that answers nothing, or a RST"));
            }
            // The connection is over, if there was one; what is half open outlives a RST that answers a wrong acknowledgement.
            let offered = std::mem::take(&mut flow.offered);
            *flow = Flow { inputs: flow.inputs, resets: flow.resets, offered, ..Flow::default() };
            return Ok(());
        }
        flow.on_syn_or_first(segment);
        let end = SeqNumber(segment.seq) + segment.seq_len();
        flow.sent = Some(flow.sent.map_or(end, |sent| sent.max(end)));
        flow.check_mss(segment, notes, self.mtu, self.min_mss)?;
        flow.check_acknowledgement(segment)?;
        flow.check_window(segment)?;
        flow.check_right_edge(segment)
    }
}

impl Flows {
    /// Invariant 15: one answer at most for one packet, whatever it is.
    fn check_answer(&mut self, frame: &Decoded) -> Result<(), Breach> {
        let answers = match &frame.body {
            // An echo request asks.
            Body::Ip(_, Transport::Icmp { kind, .. }) => *kind != 8,
            Body::Ip(_, Transport::Tcp(segment)) => segment.has(TcpFlags::RST),
            _ => false,
        };
        self.answers += u64::from(answers);
        if self.answers > self.packets {
            let what = format!("{} answers to {} packets", self.answers, self.packets);
            return Err(Breach::new(15, what));
        }
        Ok(())
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
        let answers = |offered: &&PeerSyn| {
            SeqNumber(offered.seq).before(ack) && !ack.after(offered.received.contiguous())
        };
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
    fn check_mss(&self, segment: &Segment, notes: &Notes, mtu: usize, floor: usize) -> Result<(), Breach> {
        let Some(peer) = &self.peer else { return Ok(()) };
        let largest = usize::from(peer.mss).max(floor).min(mtu - 40) - segment.options_len;
        let len = segment.payload.len();
        let piece = notes.segmentation.map_or(len, |segmentation| len.min(segmentation.size.into()));
        if piece > largest {
            let what = format!("{piece} bytes of payload where the peer takes {largest}");
            return Err(Breach::new(5, what));
        }
        Ok(())
    }

    /// How many bits the window of the peer's segment is to be shifted (RFC 7323 section 2.2).
    fn scale_of(&self, segment: &Segment) -> u8 {
        let ours = self.our_syn.and_then(|(_, scale)| scale);
        let peers = self.peer.as_ref().or(self.offered.last()).and_then(|peer| peer.scale);
        match ours.and(peers) {
            Some(scale) if !segment.has(TcpFlags::SYN) => scale.min(14),
            _ => 0,
        }
    }

    /// Invariant 2: nothing is sent that the peer never had room for, but for a byte to ask with, and the FIN.
    fn check_window(&self, segment: &Segment) -> Result<(), Breach> {
        let Some(edge) = self.may_send_to.filter(|_| self.synchronised) else { return Ok(()) };
        let end = SeqNumber(segment.seq) + segment.seq_len();
        if segment.seq_len() > 0 && end.after(edge + 1) {
            return Err(Breach::new(
                2,
                format!("sends up to {end} where the peer never took more than {edge}"),
            ));
        }
        Ok(())
    }

    /// Invariants 10 and 11: only what has arrived is acknowledged, and it stays so.
    fn check_acknowledgement(&mut self, segment: &Segment) -> Result<(), Breach> {
        if !segment.has(TcpFlags::ACK) {
            return Ok(());
        }
        let ack = SeqNumber(segment.ack);
        if self.acknowledged.is_some_and(|before| ack.before(before)) {
            return Err(Breach::new(10, format!("acknowledges {ack}, and more before")));
        }
        self.acknowledged = Some(ack);
        let Some(received) = self.peer.as_ref().map(|peer| &peer.received) else { return Ok(()) };
        let reached = received.contiguous();
        if ack.after(reached) {
            let what = format!("acknowledges {ack} when everything has arrived up to {reached} only");
            return Err(Breach::new(10, what));
        }
        for (left, right) in &segment.options.sack {
            let (left, right) = (SeqNumber(*left), SeqNumber(*right));
            if left.at_or_after(right) || !received.contains(left, right) {
                let what = format!("holds {left} to {right}, which has not arrived");
                return Err(Breach::new(11, what));
            }
        }
        Ok(())
    }

    /// Invariant 4, RFC 9293 SHLD-14 taken as a MUST: the window never shrinks, scale rounding included.
    fn check_right_edge(&mut self, segment: &Segment) -> Result<(), Breach> {
        let (Some(peer), Some((_, our_scale))) = (&self.peer, self.our_syn) else { return Ok(()) };
        // Behind the peer's FIN there is nothing a window could be for.
        if peer.is_doubtful || peer.fins.contains(&SeqNumber(segment.ack)) {
            return Ok(());
        }
        let syn = segment.has(TcpFlags::SYN);
        let scale = if syn || peer.scale.is_none() { 0 } else { our_scale.unwrap_or(0) };
        let edge = SeqNumber(segment.ack.wrapping_add(u32::from(segment.window) << scale));
        if let Some(before) = self.right_edge.filter(|before| edge.before(*before)) {
            let what = format!("the right edge of the window retreats from {before} to {edge}");
            return Err(Breach::new(4, what));
        }
        self.right_edge = Some(edge);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use sunstar_packet::Medium;

    use super::*;
    use crate::craft::Envelope;
    use crate::decode::decode;
    use crate::script::{Tcp, tcp};

    const OURS: u32 = 1_000;
    const FIRST: u32 = 3_000_000_000;
    const SECOND: u32 = 1_000_000_000;

    fn segment(segment: Tcp, is_ours: bool, peers: u32) -> Decoded {
        let (source, destination) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let (source_mac, destination_mac) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let away = Envelope {
            medium: Medium::Ip,
            source_mac,
            destination_mac,
            source,
            destination,
            ttl: 64,
            ecn: 0,
        };
        let back = Envelope { source: destination, destination: source, ..away };
        let frame = match is_ours {
            true => segment.frame(&away, (4_000, 80), OURS, peers),
            false => segment.frame(&back, (80, 4_000), peers, OURS),
        };
        decode(&frame, Medium::Ip).unwrap()
    }

    #[test]
    fn invariant_15_a_reset_that_answers_a_reset_or_nothing_is_seen() {
        let mut flows = Flows::new(1_500, 88);
        let reset = segment(tcp().rst().seq(7), true, 0);
        let sent =
            |flows: &mut Flows| flows.on_sent(&reset, &Notes::default()).err().map(|breach| breach.invariant);
        flows.on_arrived();
        flows.on_delivered(&segment(tcp().rst().seq(5), false, 0));
        assert_eq!(sent(&mut flows), Some(15), "it answers a reset");
        let mut flows = Flows::new(1_500, 88);
        flows.on_arrived();
        flows.on_delivered(&segment(tcp().seq(5).ack(7), false, 0));
        assert_eq!(sent(&mut flows), None);
        assert_eq!(sent(&mut flows), Some(15), "two answer one segment");
    }

    /// A peer has two answers to our SYN, and data behind the first; the host acknowledges so much of one.
    fn judge(acknowledged: u32, of: u32) -> Result<(), Breach> {
        let mut flows = Flows::new(1_500, 88);
        flows.on_sent(&segment(tcp().syn(), true, 0), &Notes::default())?;
        flows.on_arrived();
        flows.on_delivered(&segment(tcp().syn().ack(1), false, FIRST));
        flows.on_arrived();
        flows.on_delivered(&segment(tcp().syn().ack(1), false, SECOND));
        flows.on_arrived();
        flows.on_delivered(&segment(tcp().seq(1).ack(1).len(100), false, FIRST));
        flows.on_sent(&segment(tcp().seq(1).ack(acknowledged), true, of), &Notes::default())
    }

    #[test]
    fn either_of_two_answers_may_be_acknowledged_and_no_more_than_it_said() {
        for (said, of) in [(101, FIRST), (1, SECOND)] {
            judge(1, of).unwrap();
            judge(said, of).unwrap();
            assert_eq!(judge(said + 1, of).unwrap_err().invariant, 10);
        }
    }
}
