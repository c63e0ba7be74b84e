//! Real frames of all kinds with bytes changed, cut, spliced and lied about: the host still answers, no buffer is lost,
//! and every frame moves a counter that has a name.
//!
//! `SUNSTAR_MUTATED_FRAMES` says how many; 100,000 without it.

use std::env;

use sunstar_sim::craft::mend_checksums;
use sunstar_sim::{Pair, Script, Side, Tcp, ms, noise, secs, tcp};
use sunstar_stack::random::Random;
use sunstar_stack::{ConnectionKey, State, UdpKey};
use sunstar_wire::tcp::TcpFlags;

/// Bytes of Ethernet header.
const LINK: usize = 14;

/// Every frame that B sent to A in a conversation with a bit of everything.
fn captured() -> Vec<Vec<u8>> {
    let mut pair = Pair::builder().latency(ms(5)).loss(0.03).reordering(0.05).build();
    pair.trace.keep_all();
    let listener = pair.a.listen(80);
    let answers = pair.a.udp_bind(53);
    pair.a.ping(pair.b.address(), 100);
    pair.b.ping(pair.a.address(), 100);
    let asks = pair.b.udp_bind(5_353);
    pair.b.udp_send(asks, pair.a.at(53), b"a question");
    pair.b.udp_send(asks, pair.a.at(54), b"to nobody");
    pair.a.udp_send(answers, pair.b.at(9), b"to nobody");
    let upload = pair.b.connect(pair.a.at(80));
    let (download, server) = pair.open();
    pair.b.send(upload, &noise(60_000, 1));
    pair.b.send(server, &noise(60_000, 2));
    pair.a.send(download, &noise(60_000, 3));
    pair.drive_for(secs(20));
    pair.a.accept(listener);
    pair.b.shutdown(upload);
    pair.b.abort(server);
    pair.b.connect(pair.a.at(81));
    pair.drive_for(secs(20));
    pair.trace.kept(Side::B)
}

/// The host under fire, with sockets of all kinds open.
struct Victim {
    script: Script,
    datagrams: UdpKey,
    connection: ConnectionKey,
    /// The next number of the open connection's peer.
    next: u32,
}

impl Victim {
    fn new() -> Self {
        let mut script = Script::new();
        script.host.ping(script.envelope.source, 8);
        script.settle();
        script.heard();
        let datagrams = script.host.udp_bind(53);
        let connection = script.open_with(tcp().mss(1_460).sack_ok().wscale(7));
        Self { script, datagrams, connection, next: 1 }
    }

    /// A good segment of the open connection, as a base for worse.
    fn segment(&self, random: &mut Random) -> Vec<u8> {
        let at = |segment: Tcp| self.script.frame(&segment.seq(self.next).ack(1));
        let len = random.range(1..=600) as usize;
        match random.below(9) {
            0 => at(tcp()),
            1 => at(tcp().fin()),
            2 => at(tcp().rst()),
            3 => at(tcp().syn().mss(1_460).wscale(7).sack_ok()),
            4 => self.script.frame(&tcp().seq(self.next + 2_000).ack(1).len(len)),
            5 => at(tcp().sack(&[(5, 9), (1, 3)])),
            6 => at(tcp().len(len).urgent(7)),
            7 => at(tcp().flags(TcpFlags::ECE | TcpFlags::CWR).len(len)),
            _ => at(tcp().len(len)),
        }
    }

    /// Opens another connection if the last one did not survive, and looks where its peer stands.
    fn keep_open(&mut self) {
        let info = self.script.host.info(self.connection);
        if info.is_none_or(|info| info.state != State::Established) {
            self.script.host.abort(self.connection);
            self.reopen();
        }
        let read = self.script.host.received(self.connection).len() as u32;
        self.next = 1 + read;
    }

    /// Connections that mutated frames have opened.
    fn turn_strangers_away(&mut self) {
        let Some(listener) = self.script.listener() else { return };
        while let Some(stranger) = self.script.host.try_accept(listener) {
            self.script.host.abort(stranger);
        }
    }

    fn reopen(&mut self) {
        self.turn_strangers_away();
        self.script.settle();
        self.script.heard();
        // A mutated SYN may have taken the next port already.
        let shard = self.script.host.shard();
        let taken = |port: u16| shard.tcp_connections().any(|info| info.remote.port() == port);
        let next = |port: u16| if port > 60_000 { 2_000 } else { port + 1 };
        let mut port = next(self.script.ports.0);
        while taken(port) {
            port = next(port);
        }
        self.script.ports.0 = port;
        self.connection = self.script.open_with(tcp().mss(1_460).sack_ok().wscale(7));
    }

    /// It answers an echo, a datagram and a new connection.
    fn assert_alive(&mut self) {
        self.script.drive_for(secs(3));
        self.script.heard();
        let request = self.script.envelope.icmp(8, 0, [0, 7, 0, 7], b"alive?");
        self.script.inject_frame(&request);
        assert_eq!(self.script.expect_icmp(0, 0), b"alive?");
        self.script.host.udp_recv_all(self.datagrams);
        let datagram = self.script.envelope.udp(9, 53, b"alive?");
        self.script.inject_frame(&datagram);
        assert_eq!(self.script.host.udp_recv_all(self.datagrams).len(), 1);
        self.script.host.abort(self.connection);
        self.reopen();
        self.script.inject(tcp().seq(1).ack(1).data(b"alive?"));
        self.script.expect(tcp().seq(1).ack(7));
        self.next = 7;
    }
}

fn mutate(frame: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    let place = |frame: &[u8], random: &mut Random| random.below(frame.len().max(1) as u64) as usize;
    match random.below(8) {
        0 => {
            let at = place(frame, random);
            frame.truncate(at);
        }
        1 => {
            let more = random.below(64) as usize;
            frame.resize(frame.len() + more, random.next_u64() as u8);
        }
        2 => {
            let other = &others[random.below(others.len() as u64) as usize];
            let (cut, from) = (place(frame, random), place(other, random));
            frame.truncate(cut);
            frame.extend_from_slice(&other[from..]);
            frame.truncate(1_514);
        }
        3 if frame.len() > LINK + 34 => {
            // A length that lies: of the packet, the headers, or the datagram.
            let field = [2, 3, 0, 32, 24, 25][random.below(6) as usize];
            frame[LINK + field] = random.next_u64() as u8;
        }
        4 if frame.len() > LINK + 54 => {
            // An option that lies.
            let at = LINK + 40 + random.below(14) as usize;
            frame[at] = [0, 1, 2, 3, 5, 8, 255][random.below(7) as usize];
        }
        _ => {
            for _ in 0..random.range(1..=6) {
                let at = place(frame, random);
                if let Some(byte) = frame.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}

#[test]
fn mutated_frames_break_nothing_and_are_all_accounted_for() {
    let count: u64 = env::var("SUNSTAR_MUTATED_FRAMES")
        .map_or(100_000, |count| count.parse().expect("SUNSTAR_MUTATED_FRAMES is a number of frames"));
    let real = captured();
    assert!(real.len() > 100, "{} frames to begin with", real.len());
    let mut random = Random::from_seed(1);
    let mut victim = Victim::new();
    for number in 0..count {
        let mut frame = match random.below(3) {
            0 => real[random.below(real.len() as u64) as usize].clone(),
            _ => victim.segment(&mut random),
        };
        for _ in 0..random.range(1..=2) {
            mutate(&mut frame, &real, &mut random);
        }
        if random.below(4) != 0 {
            mend_checksums(&mut frame);
        }
        let before = victim.script.host.fates();
        victim.script.inject_frame(&frame);
        assert!(
            victim.script.host.fates() > before,
            "frame {number} disappeared without a trace: {frame:02x?}"
        );
        victim.keep_open();
        if number % 64 == 0 {
            victim.script.heard();
            victim.turn_strangers_away();
            victim.script.host.udp_recv_all(victim.datagrams);
            victim.script.drive_for(ms(random.below(50)));
        }
        if number % 5_000 == 4_999 {
            victim.assert_alive();
        }
    }
    victim.assert_alive();
    let drops = victim.script.host.counters().drops;
    println!("{count} mutated frames; drops by name:");
    drops.iter().filter(|(_, count)| *count > 0).for_each(|(name, count)| println!("{count:>9} {name}"));
    victim.script.finish();
}
