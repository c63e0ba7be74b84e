//! The same minutes, lived through once: the hosts, the healthy flow, and the attacker if there is one.

use std::cell::RefCell;
use std::rc::Rc;

use sunstar_stack::time::Duration;
use sunstar_stack::{ConnectionKey, ListenerKey};

use super::attacker::{Attacker, Ear, Wire};
use super::healthy::Healthy;
use super::{Gate, Holdings, PORT};
use crate::{Pair, Side, ms};

pub(super) struct Scene<'a> {
    gate: &'a Gate,
    pub(super) pair: Pair,
    pub(super) healthy: Healthy,
    pub(super) attacker: Option<Wire<'a>>,
    /// What is heard of A.
    pub(super) ear: Rc<RefCell<Ear>>,
    /// The most that A has held.
    pub(super) most: Holdings,
    listener: ListenerKey,
    /// Connections that A has accepted and keeps open.
    open: Vec<ConnectionKey>,
}

impl<'a> Scene<'a> {
    /// How often memory is looked at, and the healthy flow's applications read and write.
    const TICK: Duration = ms(1);
    /// The rate of both devices, in bits a second.
    const BANDWIDTH: u64 = 100_000_000;

    pub(super) fn new(gate: &'a Gate, attack: Option<&'a mut dyn FnMut(&mut Attacker)>) -> Self {
        let mut pair = Pair::builder()
            .latency(ms(1))
            .host(Side::A, |host| *host = gate.host.clone())
            .each(|host| host.rate = Some(Self::BANDWIDTH))
            .build();
        let listener = pair.a.listen(PORT);
        (gate.preparation)(&mut pair.a);
        let healthy = Healthy::open(&mut pair);
        pair.drive_for(ms(100));
        let ear = Rc::new(RefCell::new(Ear::new(&pair, healthy.ends.0)));
        let hears = Rc::clone(&ear);
        pair.drop_if(move |side, frame| side == Side::A && hears.borrow_mut().hear(frame));
        let attacker = attack.map(|act| Wire::new(&pair, Rc::clone(&ear), act));
        let most = Holdings::of(&pair.a);
        Self { gate, pair, healthy, attacker, ear, most, listener, open: Vec::new() }
    }

    /// As long as the attack lasts.
    pub(super) fn play(&mut self) {
        let start = self.pair.now();
        let (mut next, mut tick, end) = (start, start, start + self.gate.lasts);
        let mut moments = 0;
        while self.pair.now() < end {
            if self.pair.now() >= tick {
                tick = self.pair.now() + Self::TICK;
                self.healthy.keep_going(&mut self.pair);
                self.look();
            }
            if self.pair.now() >= next {
                moments += 1;
                next = start + Duration::from_micros(moments * 1_000_000 / self.gate.rate);
                if let Some(attacker) = &mut self.attacker {
                    attacker.act(&mut self.pair);
                }
            }
            let until = tick.min(next).min(end);
            self.pair.drive_for(until.saturating_since(self.pair.now()));
            self.serve();
        }
        self.healthy.read(&mut self.pair);
        self.look();
    }

    fn look(&mut self) {
        self.most = self.most.most(&Holdings::of(&self.pair.a));
    }

    /// A's application accepts whoever comes.
    fn serve(&mut self) {
        let a = &mut self.pair.a;
        while let Some(connection) = a.try_accept(self.listener) {
            if (self.gate.service)(a, connection) {
                self.open.push(connection);
            } else {
                a.close(connection);
            }
        }
    }

    /// The attacker falls silent, and what served it ends. What A holds when all should be forgotten.
    pub(super) fn end(self) -> Holdings {
        let Self { gate, mut pair, mut healthy, open, .. } = self;
        open.into_iter().for_each(|connection| pair.a.close(connection));
        healthy.drain(&mut pair);
        pair.drive_for(gate.forgets_within);
        let left = Holdings::of(&pair.a);
        healthy.say_more(&mut pair);
        pair.drop_no_more();
        pair.a.shard_mut().dhcp_release();
        pair.finish();
        left
    }
}
