//! A host that is not ours, at a link of its own.

use sunstar_packet::Medium;
use sunstar_stack::random::Random;
use sunstar_stack::time::Instant;

use super::{Middle, World};
use crate::frame::Frame;
use crate::link::{Impairments, Link};

/// A host with another stack. It is Ethernet's, without offloads; everything it does, it does in its turns.
pub trait Foreign {
    /// A frame has arrived.
    fn receive(&mut self, now: Instant, frame: &[u8]);

    /// Acts on what has arrived and what is due; the frames it sends.
    fn turn(&mut self, now: Instant) -> Vec<Vec<u8>>;

    /// When it wants its next turn although nothing arrives.
    fn deadline(&mut self, now: Instant) -> Option<Instant>;
}

/// A foreign host and its link.
pub(super) struct Stranger {
    host: Box<dyn Foreign>,
    /// Away from it, and to it.
    pub(super) links: [Link; 2],
    next: Option<Instant>,
}

impl World {
    /// Puts a host that is not ours on the network, which has to be a switch.
    ///
    /// # Panics
    /// When it is a router.
    pub fn attach(&mut self, host: Box<dyn Foreign>, links: [Impairments; 2]) {
        let Middle::Switch(switch) = &mut self.middle else { panic!("strangers are joined by a switch") };
        switch.add_port();
        let mut link =
            |impairments| Link::new(Medium::Ethernet, impairments, Random::from_seed(self.random.next_u64()));
        let [away, to] = links;
        let links = [link(away), link(to)];
        self.strangers.push(Stranger { host, links, next: Some(self.now) });
        for name in ["from a stranger", "to a stranger"] {
            self.trace.add_name(name);
        }
    }

    /// Gives strangers what has arrived, and their turns; whether anything happened.
    pub(super) fn turn_strangers(&mut self) -> bool {
        let now = self.now;
        let mut happened = false;
        for number in 0..self.strangers.len() {
            let stranger = &mut self.strangers[number];
            while let Some(frame) = stranger.links[1].arrived(now) {
                stranger.host.receive(now, &frame.bytes);
                stranger.next = Some(now);
            }
            if stranger.next.is_none_or(|next| next > now) {
                continue;
            }
            happened = true;
            self.events += 1;
            for frame in stranger.host.turn(now) {
                let frame = Frame::plain(frame);
                let bytes = frame.bytes.clone();
                let fate = stranger.links[0].send(now, frame, false);
                self.trace.record(now, 2 * (self.nodes.len() + number) as u16, fate, bytes);
            }
            stranger.next = stranger.host.deadline(now);
        }
        happened
    }

    /// When a stranger has something to do.
    pub(super) fn strangers_deadline(&self) -> Option<Instant> {
        let links = self.strangers.iter().flat_map(|stranger| &stranger.links).filter_map(Link::next_arrival);
        links.chain(self.strangers.iter().filter_map(|stranger| stranger.next)).min()
    }
}
