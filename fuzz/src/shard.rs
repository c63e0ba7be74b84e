//! A host of one shard with sockets of all kinds, given frames of all kinds, right, wrong and nearly right, between its
//! applications' calls, while time passes. Every frame moves a counter that has a name, and the simulator judges all that
//! the host says, and that in the end nothing is left behind.

use std::net::SocketAddr;

use arbitrary::Arbitrary;
use sunstar_sim::{Script, ms, secs};
use sunstar_stack::{ConnectionKey, UdpKey};

use crate::frame::{Frame, GROUPS, PORTS, port};

/// What is done at most.
const MAX_STEPS: usize = 128;
/// Sockets of each kind at most.
const MAX_SOCKETS: usize = 8;

/// One thing that happens.
#[derive(Arbitrary, Debug)]
pub enum Step {
    /// A frame arrives.
    Frame(Frame),
    /// An application sends a datagram: with which socket, to which port, of how many bytes.
    Datagram(u8, u8, u16),
    /// It sends an echo request of so many bytes.
    Ping(u16),
    /// It opens a connection to the peer.
    Connect(u8),
    /// It takes every connection that was opened from outside.
    Accept,
    /// It writes so much to a connection.
    Write(u8, u16),
    /// It gives a connection up, or ends it at once.
    Close(u8, bool),
    /// It joins a group with a socket, or leaves it.
    Group(u8, u8, bool),
    /// The host has another address, or has it no more.
    Address(u8, bool),
    /// The peer answers no more questions for its station, or does again.
    Silence(bool),
    /// The device takes nothing more, or again.
    Stall(bool),
    /// Milliseconds pass.
    Millis(u16),
    /// Seconds pass.
    Seconds(u16),
}

struct Play {
    script: Script,
    udp: Vec<UdpKey>,
    connections: Vec<ConnectionKey>,
    pings: usize,
    /// The frame that the host has said last.
    said: Option<Vec<u8>>,
}

/// Plays a scenario.
///
/// # Panics
/// When the host does something wrong.
pub fn check(steps: &[Step]) {
    let mut script = Script::builder()
        .host(|host| {
            (host.pool.small_count, host.pool.staging_count, host.pool.max_loans) = (2_048, 16, 4_096)
        })
        .build();
    let udp = [PORTS[0], PORTS[2]].map(|port| script.host.udp_bind(port));
    let listener = script.host.listen(PORTS[1]);
    let mut play = Play { script, udp: udp.into(), connections: Vec::new(), pings: 0, said: None };
    for step in steps.iter().take(MAX_STEPS) {
        match step {
            Step::Frame(frame) => play.frame(frame),
            Step::Accept => {
                while let Some(key) = play.script.host.try_accept(listener) {
                    play.connections.push(key);
                }
            }
            call => play.call(call),
        }
        play.script.settle();
        if let Some(last) = play.script.heard().pop() {
            play.said = Some(last.bytes);
        }
        for socket in &play.udp {
            while play.script.host.udp_recv(*socket).is_ok() {}
        }
    }
    play.script.answers_arp = true;
    play.script.finish();
}

impl Play {
    fn frame(&mut self, frame: &Frame) {
        let bytes = frame.bytes(&self.script.envelope, self.said.as_deref());
        let before = self.script.host.fates();
        self.script.inject_frame(&bytes);
        // What is answered is counted when the answer leaves.
        let waits = self.script.host.shard().has_work();
        assert!(self.script.host.fates() > before || waits, "it disappeared without a trace: {bytes:02x?}");
    }

    fn call(&mut self, step: &Step) {
        let peer = self.script.envelope.source;
        let host = &mut self.script.host;
        let socket = |number: &u8| self.udp[usize::from(*number) % self.udp.len()];
        match step {
            Step::Datagram(number, to, len) => {
                let to = SocketAddr::new(peer.into(), port(*to));
                // A socket may be full, and the peer nowhere.
                let _ = host.try_udp_send(socket(number), to, &vec![7; usize::from(*len) % 8_000]);
            }
            Step::Ping(len) if self.pings < MAX_SOCKETS => {
                self.pings += 1;
                host.ping(peer, usize::from(*len) % 8_000);
            }
            Step::Connect(to) if self.connections.len() < MAX_SOCKETS => {
                self.connections.push(host.connect(SocketAddr::new(peer.into(), port(*to))));
            }
            Step::Write(number, len) if !self.connections.is_empty() => {
                let key = self.connections[usize::from(*number) % self.connections.len()];
                host.send(key, &vec![7; (*len).into()]);
            }
            Step::Close(number, at_once) if !self.connections.is_empty() => {
                let key = self.connections.swap_remove(usize::from(*number) % self.connections.len());
                if *at_once { host.abort(key) } else { host.close(key) }
            }
            Step::Group(number, group, join) => {
                let (key, group) = (socket(number), GROUPS[usize::from(*group) % GROUPS.len()].into());
                if *join {
                    // Not every group can be joined.
                    let _ = host.shard_mut().udp_join(key, group);
                } else {
                    host.shard_mut().udp_leave(key, group);
                }
            }
            // Its first address stays.
            Step::Address(last, true) => host.add_address([10, 0, 0, 100 + last % 4].into()),
            Step::Address(last, false) => host.remove_address([10, 0, 0, 100 + last % 4].into()),
            Step::Silence(silent) => self.script.answers_arp = !silent,
            Step::Stall(true) => host.stall(),
            Step::Stall(false) => host.resume(),
            Step::Millis(count) => self.script.drive_for(ms((*count).into())),
            Step::Seconds(count) => self.script.drive_for(secs((*count).into())),
            _ => {}
        }
    }
}
