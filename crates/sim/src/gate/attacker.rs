//! The attacker: a station of its own on the link, which hears all that the host under attack says.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;

use sunstar_packet::{Notes, SizeClass};
use sunstar_stack::ConnectionKey;
use sunstar_stack::random::Random;
use sunstar_wire::tcp::TcpFlags;

use super::PORT;
use crate::craft::Envelope;
use crate::decode::{Arp, Body, Decoded, Ip, Segment, Transport};
use crate::script::ack;
use crate::{Pair, Side, Tcp};

/// Where the healthy flow stands, as A's latest segment of it says; numbers as on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The ports of B and of A.
    pub ports: (u16, u16),
    /// The next number of A.
    pub snd_nxt: u32,
    /// The next number that A expects.
    pub rcv_nxt: u32,
    /// Bytes that A takes from there on, its window scale counted.
    pub window: u32,
}

/// What the attacker knows and does at its moments.
pub struct Attacker {
    /// From whom to whom its frames go, unless it says otherwise: from 10.0.0.66 to A.
    pub envelope: Envelope,
    /// Moments before this one.
    pub moment: u64,
    /// Chance.
    pub random: Random,
    /// Where the healthy flow stands.
    pub flow: Flow,
    /// What A has said since the last moment, the healthy flow apart.
    pub heard: Vec<Decoded>,
    /// Whether it answers A's questions for the stations of addresses that are nobody else's.
    pub answers_arp: bool,
    frames: Vec<(Vec<u8>, Notes)>,
    /// The connections to A, by the attacker's end.
    connections: BTreeMap<(Ipv4Addr, u16), Joined>,
    peer: Ipv4Addr,
}

/// A connection of the attacker's to A.
#[derive(Clone, Copy)]
struct Joined {
    /// The window its SYN had.
    window: u16,
    /// The number of A's SYN, once it is known.
    isn: Option<u32>,
}

impl Attacker {
    /// The router that A takes it for.
    pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
    /// The station it is.
    pub const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x66];

    /// Puts a frame before A.
    pub fn send(&mut self, frame: Vec<u8>) {
        self.send_with(frame, Notes::default());
    }

    /// Puts a frame with notes before A.
    pub fn send_with(&mut self, frame: Vec<u8>, notes: Notes) {
        self.frames.push((frame, notes));
    }

    /// As if a frame came from B.
    pub fn as_peer(&self) -> Envelope {
        self.envelope.from_address(self.peer)
    }

    /// As if a frame came from somewhere behind the router: another address each time.
    pub fn as_anybody(&mut self) -> Envelope {
        // 198.18.0.0/15 is nobody's (RFC 2544).
        let source = 0xc612_0000 + self.random.below(1 << 17) as u32;
        self.envelope.from_address(Ipv4Addr::from_bits(source))
    }

    /// Puts a segment of the healthy flow before A, as if B had sent it; its numbers are as on the wire.
    pub fn forge(&mut self, segment: Tcp) {
        let frame = segment.frame(&self.as_peer(), self.flow.ports, 0, 0);
        self.send(frame);
    }

    /// Opens a connection from one of its ports to A's [`PORT`], over several moments; whether it is open.
    pub fn join(&mut self, port: u16, syn: Tcp) -> bool {
        match self.connections.get(&(self.envelope.source, port)) {
            Some(joined) => joined.isn.is_some(),
            None => {
                let joined = Joined { window: syn.window().unwrap_or(u16::MAX), isn: None };
                self.connections.insert((self.envelope.source, port), joined);
                self.say(port, syn.syn().seq(0));
                false
            }
        }
    }

    /// Says something on such a connection, its numbers counted from the two SYNs.
    pub fn say(&mut self, port: u16, segment: Tcp) {
        let isn = self.isn(port);
        let frame = segment.frame(&self.envelope, (port, PORT), 0, isn);
        self.send(frame);
    }

    /// The segments that A has said since the last moment to one of its ports, their numbers counted from the two SYNs.
    pub fn segments(&self, port: u16) -> Vec<Segment> {
        let isn = self.isn(port);
        let ours = |frame: &Decoded| match &frame.body {
            Body::Ip(_, Transport::Tcp(segment)) if segment.destination.port() == port => {
                Some(Segment { seq: segment.seq.wrapping_sub(isn), ..segment.clone() })
            }
            _ => None,
        };
        self.heard.iter().filter_map(ours).collect()
    }

    /// The number of A's SYN; nothing before it is known.
    fn isn(&self, port: u16) -> u32 {
        self.connections.get(&(self.envelope.source, port)).and_then(|it| it.isn).unwrap_or(0)
    }

    /// Answers what has to be answered so that A goes on talking.
    fn on_frame(&mut self, frame: &Decoded) {
        match &frame.body {
            Body::Arp(Arp { request: true, sender, target }) if self.answers_arp && target.1 != self.peer => {
                self.send(self.envelope.arp(false, target.1, sender.1));
            }
            Body::Ip(Ip { destination, .. }, Transport::Tcp(segment))
                if segment.has(TcpFlags::SYN | TcpFlags::ACK) =>
            {
                let port = segment.destination.port();
                let Some(known) = self.connections.get_mut(&(*destination, port)) else { return };
                known.isn = Some(segment.seq);
                let (envelope, window) = (self.envelope.from_address(*destination), known.window);
                self.send(ack(1).seq(1).win(window).frame(&envelope, (port, PORT), 0, segment.seq));
            }
            _ => {}
        }
    }
}

/// What is heard of A.
pub(super) struct Ear {
    peer: SocketAddrV4,
    local: u16,
    scale: u8,
    flow: Flow,
    heard: VecDeque<Decoded>,
    /// Frames and bytes that A has said, the healthy flow apart.
    pub(super) answers: (u64, u64),
    /// Acknowledgements without data of the healthy flow.
    pub(super) acknowledgements: u64,
}

impl Ear {
    pub(super) fn new(pair: &Pair, healthy: ConnectionKey) -> Self {
        let info = pair.a.info(healthy).expect("the healthy flow is open");
        let (SocketAddr::V4(peer), local) = (info.remote, info.local.port()) else {
            unreachable!("a pair speaks IPv4")
        };
        let flow = Flow { ports: (peer.port(), local), ..Flow::default() };
        Self {
            peer,
            local,
            scale: info.rcv_scale,
            flow,
            heard: VecDeque::new(),
            answers: (0, 0),
            acknowledgements: 0,
        }
    }

    /// A has said something; whether it is not for B.
    pub(super) fn hear(&mut self, frame: &Decoded) -> bool {
        let to_attacker = frame.stations.is_some_and(|[to, _]| to == Attacker::MAC);
        let bytes = match &frame.body {
            Body::Ip(_, Transport::Tcp(segment))
                if segment.destination == self.peer && segment.source.port() == self.local =>
            {
                self.flow.snd_nxt = segment.seq.wrapping_add(segment.seq_len());
                (self.flow.rcv_nxt, self.flow.window) =
                    (segment.ack, u32::from(segment.window) << self.scale);
                self.acknowledgements += u64::from(segment.payload.is_empty());
                return false;
            }
            Body::Ip(ip, _) => ip.at + ip.total_len,
            // Questions for B and answers to it are the healthy flow's.
            Body::Arp(arp) if arp.target.1 == *self.peer.ip() => return false,
            Body::Arp(_) | Body::Other => 42,
        };
        self.answers.0 += 1;
        self.answers.1 += bytes as u64;
        self.heard.push_back(frame.clone());
        to_attacker
    }
}

/// The attacker on the wire.
pub(super) struct Wire<'a> {
    attacker: Attacker,
    ear: Rc<RefCell<Ear>>,
    act: &'a mut dyn FnMut(&mut Attacker),
    /// Frames and bytes sent.
    pub(super) sent: (u64, u64),
}

impl<'a> Wire<'a> {
    pub(super) fn new(pair: &Pair, ear: Rc<RefCell<Ear>>, act: &'a mut dyn FnMut(&mut Attacker)) -> Self {
        let envelope = Envelope {
            source_mac: Attacker::MAC,
            source: Ipv4Addr::new(10, 0, 0, 66),
            ..pair.envelope(Side::B)
        };
        let attacker = Attacker {
            envelope,
            moment: 0,
            random: Random::from_seed(66),
            flow: Flow::default(),
            heard: Vec::new(),
            answers_arp: true,
            frames: Vec::new(),
            connections: BTreeMap::new(),
            peer: pair.b.address(),
        };
        Self { attacker, ear, act, sent: (0, 0) }
    }

    /// What the attacker says at this moment.
    fn frames(&mut self) -> Vec<(Vec<u8>, Notes)> {
        let Self { attacker, ear, act, sent } = self;
        let mut ear = ear.borrow_mut();
        attacker.flow = ear.flow;
        attacker.heard = ear.heard.drain(..).collect();
        for frame in std::mem::take(&mut attacker.heard) {
            attacker.on_frame(&frame);
            attacker.heard.push(frame);
        }
        drop(ear);
        act(attacker);
        attacker.moment += 1;
        let frames = std::mem::take(&mut attacker.frames);
        sent.0 += frames.len() as u64;
        sent.1 += frames.iter().map(|(frame, _)| frame.len() as u64).sum::<u64>();
        frames
    }

    /// One moment: the attacker hears what was said since the last one, and says what it will.
    pub(super) fn act(&mut self, pair: &mut Pair) {
        for (frame, notes) in self.frames() {
            // A host without a free buffer has none for the device either: the frame is lost on its ring.
            if pair.a.pool().free(SizeClass::Small) == 0 {
                continue;
            }
            if notes == Notes::default() {
                pair.inject(Side::A, &frame);
            } else {
                pair.a.receive_frame(&frame, notes);
            }
        }
    }
}
