//! One host before a peer that is the scenario itself: packet by packet, in virtual time.

mod tcp;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use sunstar_packet::{Memory, Notes};
use sunstar_stack::random::Random;
use sunstar_stack::time::{Duration, Instant};
use sunstar_stack::{ConnectionKey, ListenerKey};
use sunstar_wire::tcp::TcpFlags;

use crate::Side;
use crate::craft::Envelope;
use crate::decode::{Arp, Body, Decoded, Segment, Transport};
use crate::frame::Frame;
use crate::host::{Host, HostConfig};
use crate::trace::{Fate, Trace};
pub use tcp::{Tcp, ack, data, fin, rst, syn, syn_ack, tcp};

/// A script to be built: 10.0.0.1 before a peer at 10.0.0.2.
#[derive(Clone, Debug)]
pub struct ScriptBuilder {
    seed: u64,
    isn: u32,
    host: HostConfig,
}

impl ScriptBuilder {
    /// The seed of everything that is left to chance.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The number of the peer's SYNs on the wire; the script counts from it.
    pub fn isn(mut self, isn: u32) -> Self {
        self.isn = isn;
        self
    }

    /// What the host is like.
    pub fn host(mut self, change: impl FnOnce(&mut HostConfig)) -> Self {
        change(&mut self.host);
        self
    }

    /// The settings of the host's TCP.
    pub fn tcp(mut self, change: impl FnOnce(&mut sunstar_stack::TcpConfig)) -> Self {
        change(&mut self.host.shard.tcp);
        self
    }

    /// Builds it.
    ///
    /// # Panics
    /// When there is no memory for the host's buffers.
    pub fn build(self) -> Script {
        let mut random = Random::from_seed(self.seed);
        let memory = Memory::new();
        let envelope = Envelope {
            medium: self.host.medium,
            source_mac: [0x02, 0, 0, 0, 0, 2],
            destination_mac: self.host.mac,
            source: Ipv4Addr::new(10, 0, 0, 2),
            destination: self.host.address,
            ttl: 64,
            ecn: 0,
        };
        let host = Host::new("A", &self.host, &memory, &mut random);
        Script {
            host,
            trace: Trace::of_sides(self.host.medium),
            envelope,
            ports: (4_000, 80),
            answers_arp: true,
            isn: self.isn,
            isns: BTreeMap::new(),
            server: None,
            heard: VecDeque::new(),
            arps: Vec::new(),
            now: self.host.start,
            random,
            finished: false,
        }
    }
}

/// What the host has said.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// The bytes of the frame.
    pub bytes: Vec<u8>,
    /// What the independent parser reads in them.
    pub frame: Decoded,
    /// What came with it.
    pub notes: Notes,
}

/// One host, and a peer whose every packet the scenario writes itself.
///
/// Dropping it ends the scenario as [`Script::finish`] does.
pub struct Script {
    /// The host, 10.0.0.1.
    pub host: Host,
    /// What the host and the script have said.
    pub trace: Trace,
    /// From whom to whom the script's packets go, unless it says otherwise.
    pub envelope: Envelope,
    /// The peer's port and the host's, unless a segment says otherwise.
    pub ports: (u16, u16),
    /// Whether the peer answers questions for its station.
    pub answers_arp: bool,
    isn: u32,
    /// The number of the host's latest SYN between two ports, the peer's first.
    isns: BTreeMap<(u16, u16), u32>,
    /// The listener of [`Script::open`].
    server: Option<ListenerKey>,
    heard: VecDeque<Heard>,
    arps: Vec<Arp>,
    now: Instant,
    random: Random,
    finished: bool,
}

impl Script {
    /// Turns at one instant after which the host is taken to turn in circles.
    const MAX_TURNS_AT_ONCE: u32 = 100_000;
    /// How long the host may take to come to rest when all is closed.
    const REST: Duration = crate::secs(4 * 3_600);

    /// Describes a script to be built.
    pub fn builder() -> ScriptBuilder {
        ScriptBuilder { seed: 1, isn: 0, host: HostConfig::new(Side::A) }
    }

    /// The usual host.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Opens a connection to port 80 of the host, which listens there from the first time on. The peer offers an MSS
    /// of 1460 and no other option.
    ///
    /// # Panics
    /// When the host does not answer as it must.
    #[track_caller]
    pub fn open(&mut self) -> ConnectionKey {
        self.open_with(tcp().mss(1_460))
    }

    /// The same with the options and window of `syn`.
    ///
    /// # Panics
    /// When the host does not answer as it must.
    #[track_caller]
    pub fn open_with(&mut self, syn: Tcp) -> ConnectionKey {
        let listener = *self.server.get_or_insert_with(|| self.host.listen(80));
        let mut ack = tcp().seq(1).ack(1).win(syn.window().unwrap_or(u16::MAX));
        self.inject(syn.syn().seq(0));
        let answer = self.expect(tcp().syn().seq(0).ack(1));
        if let Some((value, echo)) = answer.options.timestamps {
            ack = ack.ts(echo + 1, value);
        }
        self.inject(ack);
        self.host.accept(listener)
    }

    /// The listener of [`Script::open`], once there is one.
    pub fn listener(&self) -> Option<ListenerKey> {
        self.server
    }

    /// Opens a connection from the host to port 80 of the peer, which offers an MSS of 1460 and no other option.
    ///
    /// # Panics
    /// When the host does not behave as it must.
    #[track_caller]
    pub fn connect(&mut self) -> ConnectionKey {
        let connection = self.start_connect();
        self.inject(tcp().syn().seq(0).ack(1).mss(1_460));
        self.expect(tcp().seq(1).ack(1));
        connection
    }

    /// Has the host begin a connection to port 80 of the peer: its SYN was sent.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn start_connect(&mut self) -> ConnectionKey {
        let connection = self.host.connect(SocketAddr::new(self.envelope.source.into(), 80));
        let local = self.host.shard().tcp_local_addr(connection).expect("a connection that is being opened");
        self.ports = (80, local.port());
        self.expect(tcp().syn().seq(0));
        connection
    }

    /// Puts a segment before the host, and lets the host say what it has to say at once. It gives the script back, so that
    /// an exchange is one line: `script.inject(syn().seq(0)).expect(syn_ack().seq(0).ack(1))`.
    pub fn inject(&mut self, segment: Tcp) -> &mut Self {
        let frame = self.frame(&segment);
        self.inject_frame(&frame);
        self
    }

    /// The frame of a segment, as [`Script::inject`] would send it.
    pub fn frame(&self, segment: &Tcp) -> Vec<u8> {
        let (from, to) = segment.ports();
        let ports = (from.unwrap_or(self.ports.0), to.unwrap_or(self.ports.1));
        let peer_isn = self.isns.get(&ports).copied().unwrap_or(0);
        segment.frame(&self.envelope, ports, self.isn, peer_isn)
    }

    /// Puts a frame before the host, and lets the host say what it has to say at once.
    pub fn inject_frame(&mut self, frame: &[u8]) {
        self.inject_with(frame, Notes::default());
    }

    /// Puts a frame with notes before the host, and lets the host say what it has to say at once.
    pub fn inject_with(&mut self, frame: &[u8], notes: Notes) {
        self.trace.record(self.now, Side::B as u16, Fate::Injected, frame.to_vec().into());
        self.host.receive_frame(frame, notes);
        self.settle();
    }

    /// Puts a frame before the host that other bytes follow in the same memory: nothing may ever come of those.
    pub fn inject_before(&mut self, frame: &[u8], behind: &[u8]) {
        self.trace.record(self.now, Side::B as u16, Fate::Injected, frame.to_vec().into());
        self.host.receive_frame_before(frame, behind, Notes::default());
        self.settle();
    }

    /// Lets the host say what it has to say without time passing.
    pub fn settle(&mut self) {
        let now = self.now;
        self.look_at_the_clock();
        while self.step_until(now) {}
    }

    /// Lets so much time pass.
    pub fn drive_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step_until(end) {}
        self.now = end;
        self.look_at_the_clock();
    }

    /// The next thing the host says, now or within `patience`; ARP aside.
    pub fn next_within(&mut self, patience: Duration) -> Option<Heard> {
        let end = self.now + patience;
        while self.heard.is_empty() && self.step_until(end) {}
        if self.heard.is_empty() {
            self.now = end;
        }
        self.look_at_the_clock();
        self.heard.pop_front()
    }

    /// The next segment the host says, now or within `patience`, its numbers relative; `None` for silence.
    ///
    /// # Panics
    /// When the host says something else first.
    pub fn segment_within(&mut self, patience: Duration) -> Option<Segment> {
        let heard = self.next_within(patience)?;
        let Body::Ip(_, Transport::Tcp(segment)) = heard.frame.body else {
            panic!("a segment was expected, not {}", heard.frame);
        };
        Some(self.relative(segment))
    }

    /// The host says this now.
    ///
    /// # Panics
    /// When it says nothing, or something else.
    #[track_caller]
    pub fn expect(&mut self, expected: Tcp) -> Segment {
        self.expect_within(Duration::ZERO, expected)
    }

    /// The host says this next, now or within `patience`.
    ///
    /// # Panics
    /// When it says nothing, or something else.
    #[track_caller]
    pub fn expect_within(&mut self, patience: Duration, expected: Tcp) -> Segment {
        let Some(segment) = self.segment_within(patience) else {
            panic!("the host says nothing at {}; expected {expected:?}", self.now);
        };
        if let Some(difference) = expected.differs(&segment) {
            panic!("expected {difference} at {}, not {segment}", self.now);
        }
        segment
    }

    /// The host says nothing for so long.
    ///
    /// # Panics
    /// When it does.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) {
        if let Some(heard) = self.next_within(duration) {
            panic!("expected silence, but at {} the host says {}", heard.at, heard.frame);
        }
    }

    /// The host sends an ICMP message of this type and code now; what is behind the header.
    ///
    /// # Panics
    /// When it says nothing, or something else.
    #[track_caller]
    pub fn expect_icmp(&mut self, kind: u8, code: u8) -> Vec<u8> {
        let heard = self.next_within(Duration::ZERO);
        match heard.as_ref().map(|heard| &heard.frame.body) {
            Some(Body::Ip(_, Transport::Icmp { kind: k, code: c, payload, .. }))
                if (*k, *c) == (kind, code) =>
            {
                payload.clone()
            }
            Some(_) => panic!(
                "expected ICMP {kind}/{code}, not {}",
                heard.map(|it| it.frame.to_string()).unwrap_or_default()
            ),
            None => panic!("the host says nothing; expected ICMP {kind}/{code}"),
        }
    }

    /// Everything the host has said and nobody has asked for; ARP aside.
    pub fn heard(&mut self) -> Vec<Heard> {
        self.heard.drain(..).collect()
    }

    /// Every segment the host has said and nobody has asked for, its numbers relative.
    pub fn segments(&mut self) -> Vec<Segment> {
        let heard = self.heard();
        let segments = heard.into_iter().filter_map(|heard| match heard.frame.body {
            Body::Ip(_, Transport::Tcp(segment)) => Some(segment),
            _ => None,
        });
        segments.collect::<Vec<_>>().into_iter().map(|segment| self.relative(segment)).collect()
    }

    /// The number on the wire of the host's latest SYN between the script's ports.
    pub fn host_isn(&self) -> Option<u32> {
        self.isns.get(&self.ports).copied()
    }

    /// The ARP packets that the host has said since the last time; nothing else that is heard has them.
    pub fn arps(&mut self) -> Vec<Arp> {
        std::mem::take(&mut self.arps)
    }

    /// Counts a segment's numbers from the two SYNs.
    fn relative(&self, mut segment: Segment) -> Segment {
        let key = (segment.destination.port(), segment.source.port());
        let host_isn = self.isns.get(&key).copied().unwrap_or(0);
        segment.seq = segment.seq.wrapping_sub(host_isn);
        if segment.has(TcpFlags::ACK) {
            segment.ack = segment.ack.wrapping_sub(self.isn);
        }
        for (left, right) in &mut segment.options.sack {
            (*left, *right) = (left.wrapping_sub(self.isn), right.wrapping_sub(self.isn));
        }
        segment
    }

    /// One turn of the host, if there is reason for one by `end`.
    fn step_until(&mut self, end: Instant) -> bool {
        if !self.host.is_busy() {
            let Some(next) = self.host.deadline().filter(|next| *next <= end) else { return false };
            self.now = self.now.max(next);
        }
        let mut turns = 0;
        while self.host.is_busy() || turns == 0 {
            turns += 1;
            assert!(turns < Self::MAX_TURNS_AT_ONCE, "the host turns in circles at {}", self.now);
            self.turn();
        }
        true
    }

    /// The host learns what time it is, as it does before an application acts.
    fn look_at_the_clock(&mut self) {
        self.turn();
        // Now and then it is asked for no reason, and has to keep silent.
        if self.random.below(4) == 0 {
            self.turn();
        }
    }

    fn turn(&mut self) {
        for said in self.host.turn(self.now) {
            self.trace.record(self.now, Side::A as u16, Fate::Crossed, said.frame.bytes.clone());
            if let Body::Arp(arp) = &said.decoded.body {
                if self.answers_arp && arp.request && arp.target.1 == self.envelope.source {
                    let reply = self.envelope.arp(false, self.envelope.source, arp.sender.1);
                    self.host.receive_frame(&reply, Notes::default());
                }
                self.arps.push(*arp);
                continue;
            }
            if let Body::Ip(_, Transport::Tcp(segment)) = &said.decoded.body
                && segment.has(TcpFlags::SYN)
            {
                self.isns.insert((segment.destination.port(), segment.source.port()), segment.seq);
            }
            let Frame { bytes, notes, .. } = said.frame;
            self.heard.push_back(Heard { at: self.now, bytes: bytes.into(), frame: said.decoded, notes });
        }
    }

    /// Ends the scenario: the peer is gone, the host closes every socket, and then nothing may be left behind.
    ///
    /// # Panics
    /// When the host does not come to rest, or a buffer is not home.
    pub fn finish(mut self) {
        self.end();
    }

    /// Ends the scenario in the middle: nothing is looked at.
    pub fn leave(mut self) {
        self.finished = true;
    }

    fn end(&mut self) {
        self.finished = true;
        self.host.resume();
        self.host.set_link(true);
        self.host.close_all();
        self.drive_for(Self::REST);
        self.heard.clear();
        self.host.assert_at_rest();
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("at {}: {}", self.now, self.trace);
        } else if !self.finished {
            self.end();
        }
    }
}
