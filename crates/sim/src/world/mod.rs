//! Any number of hosts, each with any number of shards, on links to a switch or a router, in virtual time.
//!
//! A run is made of a [`Plan`]. The seed in it decides all that is left to chance: what links do, in which order shards
//! take their turns, how many packets each turn takes. After every event the invariants are looked at, and the first breach
//! ends the run.

mod faults;
mod foreign;
mod forge;
mod router;
mod switch;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use bytes::Bytes;
use sunstar_packet::{Medium, Memory, SizeClass};
use sunstar_stack::random::Random;
use sunstar_stack::time::Instant;
use sunstar_stack::{Counters, Shard};

use crate::app::{Applications, Datagrams, Outcome, Session};
use crate::check::{Breach, Judge, Tampering};
use crate::craft::Envelope;
use crate::frame::Frame;
use crate::link::{Link, LinkCounters};
use crate::machine::Machine;
use crate::plan::{ErrandPlan, Network, Plan, Work};
use crate::port::Sent;
use crate::trace::Trace;
pub use foreign::Foreign;
use foreign::Stranger;
use router::{Router, RouterPort};
pub(crate) use switch::Switch;

/// Rounds without time passing that are a circle, and no work.
const MAX_ROUNDS_AT_ONCE: u32 = 100_000;

/// Frames that a device pulls in one turn at most.
const PULLED_AT_ONCE: usize = 64;

/// What is empty when everything has come to rest.
const TRANSIENT: [&str; 3] = ["connections in TIME-WAIT", "half-open connections", "incomplete datagrams"];

/// How long everything may take to come to rest when all is closed.
const REST: Duration = Duration::from_secs(4 * 3_600);

/// A host with all that belongs to it.
pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) applications: Applications,
    pub(crate) judge: Judge,
    /// Away from it, and to it.
    pub(crate) links: [Link; 2],
    pub(crate) device_failed: bool,
}

/// What joins the links.
enum Middle {
    Switch(Switch),
    Router(Router),
}

/// What starts, or goes wrong, or is mended, at its time.
#[derive(Clone, Debug)]
enum Appointment {
    Errand(Session),
    Fault(usize),
    Mend(usize),
}

/// A run that goes on.
pub struct World {
    plan: Plan,
    pub(crate) nodes: Vec<Node>,
    strangers: Vec<Stranger>,
    middle: Middle,
    now: Instant,
    random: Random,
    appointments: BinaryHeap<Reverse<(Instant, usize)>>,
    calendar: Vec<Appointment>,
    outcomes: Vec<Option<(Instant, Outcome)>>,
    /// What crossed the links.
    pub trace: Trace,
    events: u64,
    /// Faults that go on, by number, in the order in which they began.
    going_on: Vec<usize>,
    /// Forged segments that connections have got.
    forged: u64,
    rounds_at_once: u32,
}

impl World {
    /// Builds what a plan describes.
    pub fn new(plan: &Plan) -> Self {
        let mut random = Random::from_seed(plan.seed);
        let nodes: Vec<Node> =
            (0..plan.machines.len()).map(|number| node(plan, number, &mut random)).collect();
        let names = (0..nodes.len()).flat_map(|number| [format!("from {number}"), format!("to {number}")]);
        let start = Instant::from_millis(1);
        let mut world = Self {
            middle: middle(plan),
            now: start,
            random,
            appointments: BinaryHeap::new(),
            calendar: Vec::new(),
            outcomes: vec![None; plan.errands.len()],
            trace: Trace::new(Medium::Ethernet, names.collect()),
            events: 0,
            going_on: Vec::new(),
            forged: 0,
            rounds_at_once: 0,
            plan: plan.clone(),
            nodes,
            strangers: Vec::new(),
        };
        for node in &mut world.nodes {
            node.applications.serve(&mut node.machine, start);
        }
        for (session, errand) in plan.errands.iter().enumerate() {
            world.appoint(start + errand.at, Appointment::Errand(session));
        }
        for (number, fault) in plan.faults.iter().enumerate() {
            world.appoint(start + fault.at, Appointment::Fault(number));
        }
        world
    }

    fn appoint(&mut self, at: Instant, appointment: Appointment) {
        self.appointments.push(Reverse((at, self.calendar.len())));
        self.calendar.push(appointment);
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Turns taken, frames delivered, and whatever else has happened.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// A shard of a machine, to look at.
    pub fn shard(&self, machine: usize, shard: usize) -> &Shard {
        &self.nodes[machine].machine.members[shard].shard
    }

    /// The sum of a counter over all shards of a machine.
    pub fn total(&self, machine: usize, read: impl Fn(&Counters) -> u64) -> u64 {
        self.nodes[machine].machine.total(read)
    }

    /// What a machine's link did to the frames it sent, and to those it got.
    pub fn link_counters(&self, machine: usize) -> [LinkCounters; 2] {
        self.nodes[machine].links.each_ref().map(|link| link.counters)
    }

    /// Bytes that the client of an errand has received so far, while it goes on.
    pub fn received(&self, errand: usize) -> u64 {
        let machine = self.plan.errands[errand].from.0;
        self.nodes[machine].applications.received_by(errand)
    }

    /// Forged segments that connections have got so far.
    pub fn forged(&self) -> u64 {
        self.forged
    }

    /// How each errand has ended, and when.
    pub fn outcomes(&self) -> &[Option<(Instant, Outcome)>] {
        &self.outcomes
    }

    /// Runs the plan to its end: every errand is done, everything is closed, and nothing is left behind.
    ///
    /// # Errors
    /// The first breach of an invariant. An errand that fails, or is not done in time, is one of number 19.
    pub fn run(&mut self) -> Result<(), Breach> {
        let patience = self.plan.patience;
        self.run_until(World::is_done, patience)?;
        self.judge_outcomes()?;
        self.end()
    }

    /// Whether every errand has ended.
    fn is_done(&self) -> bool {
        self.outcomes.iter().all(Option::is_some)
    }

    /// What happens next; whether there was anything.
    ///
    /// # Errors
    /// The breach of an invariant.
    pub fn step(&mut self) -> Result<bool, Breach> {
        self.step_until(Instant::MAX)
    }

    /// Runs until a condition holds, or for so long at most; whether it holds.
    ///
    /// # Errors
    /// The first breach of an invariant.
    pub fn run_until(
        &mut self,
        mut condition: impl FnMut(&World) -> bool,
        patience: Duration,
    ) -> Result<bool, Breach> {
        let end = self.now + patience;
        while !condition(self) {
            if !self.step_until(end)? {
                self.now = end;
                self.look_at_the_clock()?;
                return Ok(condition(self));
            }
        }
        Ok(true)
    }

    /// All that can happen now; or else time jumps to what comes next, if that is by `end`. Whether there was anything.
    fn step_until(&mut self, end: Instant) -> Result<bool, Breach> {
        self.rounds_at_once += 1;
        if self.rounds_at_once > MAX_ROUNDS_AT_ONCE {
            return Err(Breach::new(20, "shards turn in circles"));
        }
        let mut happened = self.keep_appointments()?;
        happened |= self.deliver();
        for number in 0..self.nodes.len() {
            for shard in self.nodes[number].machine.wanting(self.now) {
                // Now and then a core is busy with something else.
                if self.random.below(8) > 0 {
                    self.turn(number, shard)?;
                }
                happened = true;
            }
            happened |= self.attend_due(number)?;
        }
        // Now and then a shard takes a turn for no reason, and has to keep silent.
        if self.random.below(16) == 0 {
            let number = self.random.below(self.nodes.len() as u64) as usize;
            let shard = self.random.below(self.nodes[number].machine.members.len() as u64) as usize;
            self.turn(number, shard)?;
        }
        happened |= self.turn_strangers();
        if happened {
            return Ok(true);
        }
        let Some(next) = self.next_event().filter(|next| *next <= end) else { return Ok(false) };
        if next > self.now {
            (self.now, self.rounds_at_once) = (next, 0);
        }
        Ok(true)
    }

    /// Shards that had nothing to do take a turn, and are judged: whatever they are was so all the while.
    fn look_at_the_clock(&mut self) -> Result<(), Breach> {
        for number in 0..self.nodes.len() {
            for shard in 0..self.nodes[number].machine.members.len() {
                self.turn(number, shard)?;
            }
        }
        Ok(())
    }

    fn next_event(&self) -> Option<Instant> {
        let appointment = self.appointments.peek().map(|Reverse((at, _))| *at);
        let of_node = |node: &Node| {
            let links = node.links.iter().filter_map(Link::next_arrival);
            let members = &node.machine.members;
            let shards = (0..members.len()).filter(|shard| !members[*shard].suspended);
            let applications = shards.filter_map(|shard| node.applications.deadline(shard));
            links.chain(applications).chain(node.machine.deadline()).min()
        };
        let nodes = self.nodes.iter().filter_map(of_node);
        nodes.chain(appointment).chain(self.strangers_deadline()).min()
    }

    fn keep_appointments(&mut self) -> Result<bool, Breach> {
        let mut kept = false;
        while self.appointments.peek().is_some_and(|Reverse((at, _))| *at <= self.now) {
            let Some(Reverse((_, number))) = self.appointments.pop() else { break };
            match self.calendar[number].clone() {
                Appointment::Errand(session) => self.start(session),
                Appointment::Fault(fault) => self.break_something(fault)?,
                Appointment::Mend(fault) => self.mend_something(fault),
            }
            kept = true;
        }
        Ok(kept)
    }

    fn start(&mut self, session: Session) {
        let ErrandPlan { from: (number, shard), to, what, .. } = self.plan.errands[session];
        let to = self.plan.address(to);
        let Node { machine, applications, .. } = &mut self.nodes[number];
        match what {
            Work::Converse(errand) => {
                applications.converse(machine, shard, (session, errand), to, self.now);
            }
            Work::Datagrams { seed, count, len, every_us } => {
                let datagrams = Datagrams { seed, count, len, every_us };
                applications.ask(machine, shard, (session, datagrams), to, self.now);
            }
        }
        self.collect(number);
    }

    /// Notes what has become of errands.
    fn collect(&mut self, number: usize) {
        for (session, outcome) in self.nodes[number].applications.ended.drain(..) {
            self.outcomes[session].get_or_insert((self.now, outcome));
        }
    }

    /// Brings what has arrived at the end of a link to whoever is there.
    fn deliver(&mut self) -> bool {
        let mut arrived = false;
        for number in 0..self.nodes.len() {
            while let Some(frame) = self.nodes[number].links[0].arrived(self.now) {
                self.events += 1;
                arrived = true;
                self.on_middle(number, frame);
            }
        }
        for number in 0..self.strangers.len() {
            while let Some(frame) = self.strangers[number].links[0].arrived(self.now) {
                self.events += 1;
                arrived = true;
                self.on_middle(self.nodes.len() + number, frame);
            }
        }
        for node in &mut self.nodes {
            while let Some(frame) = node.links[1].arrived(self.now) {
                self.events += 1;
                arrived = true;
                if !frame.damaged {
                    node.judge.on_delivered(&frame.bytes, &node.machine);
                }
                let queue = node.machine.queue_of(&frame.bytes);
                node.machine.deliver(queue, &frame.bytes, frame.notes);
            }
        }
        arrived
    }

    /// A frame has reached the middle.
    fn on_middle(&mut self, from: usize, frame: Frame) {
        let leaving = match &mut self.middle {
            Middle::Switch(switch) => {
                let ports = switch.ports_for(from, &frame.bytes);
                ports.into_iter().map(|port| (port, frame.clone())).collect()
            }
            Middle::Router(router) => router.input(from, &frame, self.now),
        };
        for (to, frame) in leaving {
            let bytes = frame.bytes.clone();
            let machines = self.nodes.len();
            let link = match self.nodes.get_mut(to) {
                Some(node) => &mut node.links[1],
                None => &mut self.strangers[to - machines].links[1],
            };
            let fate = link.send(self.now, frame, false);
            self.trace.record(self.now, 2 * to as u16 + 1, fate, bytes);
        }
    }

    /// One turn of a shard: the frames that left in it.
    fn turn(&mut self, number: usize, shard: usize) -> Result<Vec<Bytes>, Breach> {
        self.events += 1;
        let limits = self.limits();
        let now = self.now;
        let Node { machine, judge, links, applications, device_failed } = &mut self.nodes[number];
        let member = &mut machine.members[shard];
        if member.suspended {
            return Ok(Vec::new());
        }
        let may_speak = member.wants_turn(now);
        if let Some(port) = member.port_mut() {
            port.limits = limits;
        }
        let can_send = !*device_failed && !member.is_held_up();
        let mut left = Vec::new();
        for (_, Sent { at, mut frame }) in machine.turn(shard, now) {
            judge.on_sent(&mut frame, may_speak, machine)?;
            left.push(frame.bytes.clone());
            let bytes = frame.bytes.clone();
            let fate = links[0].send(at, frame, false);
            self.trace.record(now, 2 * number as u16, fate, bytes);
        }
        if left.len() > PULLED_AT_ONCE * machine.queues {
            return Err(Breach::new(20, format!("{} frames left in one turn", left.len())));
        }
        let member = &mut machine.members[shard];
        applications.attend(member, shard, now)?;
        judge.after_turn(member, shard, can_send, now)?;
        applications.check_waiting(member, shard, judge.judged(shard))?;
        judge.check_machine(machine)?;
        self.collect(number);
        Ok(left)
    }

    /// Now and then a device has room for few frames only, or gives few.
    fn limits(&mut self) -> (usize, usize) {
        let mut limit = || match self.random.below(8) {
            0 => self.random.range(1..=4) as usize,
            _ => usize::MAX,
        };
        (limit(), limit())
    }

    /// Applications go on whose time has come.
    fn attend_due(&mut self, number: usize) -> Result<bool, Breach> {
        let now = self.now;
        let Node { machine, applications, .. } = &mut self.nodes[number];
        let mut happened = false;
        for (shard, member) in machine.members.iter_mut().enumerate() {
            let due = applications.deadline(shard).is_some_and(|deadline| deadline <= now);
            if due && !member.suspended {
                applications.attend(member, shard, now)?;
                happened = true;
            }
        }
        self.collect(number);
        Ok(happened)
    }

    /// Every errand that was to succeed has succeeded, and every other has ended.
    fn judge_outcomes(&self) -> Result<(), Breach> {
        for (session, (errand, outcome)) in self.plan.errands.iter().zip(&self.outcomes).enumerate() {
            let what = match outcome {
                Some((_, Outcome::Done)) => continue,
                Some((_, Outcome::Aborted)) if is_to_abort(errand) => continue,
                // Nobody promises datagrams anything, as long as something goes wrong.
                Some((_, Outcome::Lost)) if is_datagrams(errand) && !self.plan.is_calm() => continue,
                Some(_) if errand.may_fail => continue,
                Some((at, outcome)) => format!("errand {session} has ended at {at} as {outcome:?}"),
                // With a peer that is gone for good, whoever only reads waits for ever.
                None if errand.may_fail => continue,
                None => {
                    let received: u64 = self.nodes.iter().map(|node| node.applications.received()).sum();
                    format!(
                        "errand {session} is not done; {received} bytes were received by all that are not"
                    )
                }
            };
            return Err(Breach::new(19, what));
        }
        Ok(())
    }

    /// Heals everything, closes everything, lets time pass, and sees that nothing is left behind.
    fn end(&mut self) -> Result<(), Breach> {
        self.heal();
        let now = self.now;
        for node in &mut self.nodes {
            node.applications.close_all(&mut node.machine, now);
            node.machine.close_all();
        }
        let end = now + REST;
        while self.step_until(end)? {}
        for (number, node) in self.nodes.iter_mut().enumerate() {
            for member in &node.machine.members {
                if let Some(info) = member.shard.tcp_connections().next() {
                    return Err(Breach::new(13, format!("machine {number} has connections left: {info:?}")));
                }
                let left = member.shard.fills().find(|fill| TRANSIENT.contains(&fill.what) && fill.len > 0);
                if let Some(fill) = left {
                    return Err(Breach::new(
                        16,
                        format!("machine {number} has {} {} left", fill.len, fill.what),
                    ));
                }
            }
            let left = |what: String| Breach::new(17, format!("machine {number}: {what}"));
            node.machine.check_rest().map_err(left)?;
        }
        Ok(())
    }

    /// What every shard has and waits for, a line each.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            for (shard, member) in node.machine.members.iter().enumerate() {
                lines.push(format!("machine {number} shard {shard}: {member:?}"));
                lines.extend(member.shard.control_blocks().map(|block| format!("  {block:?}")));
                lines.extend(member.shard.neighbors().map(|neighbor| format!("  {neighbor:?}")));
            }
        }
        lines
    }

    /// Breaks something about a machine, from now on.
    pub fn tamper(&mut self, machine: usize, tampering: Tampering) {
        self.nodes[machine].applications.deaf = tampering.deaf;
        self.nodes[machine].judge.tampering = tampering;
    }

    /// Has a machine's first queue send a frame that nobody has asked for.
    pub fn speak_out_of_turn(&mut self, machine: usize) {
        let (now, node) = (self.now, &mut self.nodes[machine]);
        let (address, mac) = (node.machine.address, node.machine.device.mac);
        let envelope = Envelope {
            medium: Medium::Ethernet,
            source_mac: mac,
            destination_mac: [0xff; 6],
            source: address,
            destination: address,
            ttl: 64,
            ecn: 0,
        };
        let frame = Frame::plain(envelope.arp(true, address, std::net::Ipv4Addr::new(10, 0, 0, 99)));
        if let Some(port) = node.machine.members[0].port_mut() {
            port.say(Sent { at: now, frame });
        }
    }

    /// Loses a buffer of a machine's first shard for good.
    ///
    /// # Panics
    /// When it has none left.
    pub fn leak_a_buffer(&mut self, machine: usize) {
        let pool = self.nodes[machine].machine.members[0].shard.pool();
        std::mem::forget(pool.allocate(SizeClass::Small, 0).expect("a buffer to be lost"));
    }

    /// Has two packets between shards of a machine change their places; whether there were two.
    pub fn swap_between_shards(&mut self, machine: usize) -> bool {
        self.nodes[machine].machine.order.borrow_mut().swap()
    }

    /// The plan it runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

fn is_datagrams(errand: &ErrandPlan) -> bool {
    matches!(errand.what, Work::Datagrams { .. })
}

fn is_to_abort(errand: &ErrandPlan) -> bool {
    matches!(errand.what, Work::Converse(errand) if errand.aborts.is_some())
}

fn node(plan: &Plan, number: usize, random: &mut Random) -> Node {
    let described = &plan.machines[number];
    let config = described.config(number, plan.address(number), plan.gateway(number));
    let machine = config.build(&Memory::new(), random);
    let mut link = |impairments: &crate::Impairments| {
        Link::new(Medium::Ethernet, impairments.clone(), Random::from_seed(random.next_u64()))
    };
    let links = [link(&described.link[0]), link(&described.link[1])];
    Node {
        judge: Judge::new(&machine),
        applications: Applications::default(),
        links,
        machine,
        device_failed: false,
    }
}

fn middle(plan: &Plan) -> Middle {
    let Network::Router { mtus, speaks } = &plan.network else {
        return Middle::Switch(Switch::new(plan.machines.len()));
    };
    let port = |(number, machine): (usize, &crate::plan::MachinePlan)| RouterPort {
        address: plan.gateway(number).unwrap_or(std::net::Ipv4Addr::UNSPECIFIED),
        mac: [0x02, 0, 0, 0, 2, number as u8 + 1],
        mtu: mtus.get(number).copied().unwrap_or(machine.mtu),
    };
    let mut router = Router::new(plan.machines.iter().enumerate().map(port).collect());
    router.speaks = *speaks;
    Middle::Router(router)
}
