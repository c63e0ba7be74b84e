//! What a simulator needs to run whole stacks, sockets and all, in virtual time.
//!
//! A [`Host`] is the stack that a [`Builder`] describes, on devices of the simulator's: its shards are not threads but tasks
//! of the executor it was started on, whose clock is stopped (`tokio::time::pause`). Shards, drivers, mesh and sockets are
//! those of production, and the time of all of them is that executor's. Nothing of a host waits for a descriptor or sets a
//! timer; what is left to the simulator, whenever no task has anything to do, is
//!
//! 1. to carry frames from device to device, and [`Host::wake`] the owner of a queue that one has come to;
//! 2. to [`Host::wake_due`] the shards whose time has come, or for which a sibling has something;
//! 3. to let time pass, when there was nothing of that: to the first [`Host::next_deadline`] at most.
//!
//! `sunstar_sim::live` is such a simulator, for applications to be tested in.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sunstar_device::Alarm;
use sunstar_packet::QueuePair;
use sunstar_stack::time::Instant;

use super::check::{check, check_queues};
use super::host::{Common, HostDescription, steering};
use super::phases::Phases;
use super::placed::Placed;
use super::random_seed;
use super::shard::{bury, drive, make_engine, shut_down};
use crate::builder::{Builder, Device};
use crate::clock::Clock;
use crate::engine::{Engine, Wakeup};
use crate::error::RunError;
use crate::net::Net;
use crate::stall::Watch;

/// What a description asks of its surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How many devices, one a queue.
    pub queues: u16,
    /// The largest IP packet, if it says so.
    pub mtu: Option<usize>,
    /// Whether it has an address, or asks for one by DHCP.
    pub addressed: bool,
}

impl Wanted {
    /// What `stack` asks of its surroundings.
    pub fn by(stack: &Builder) -> Self {
        Self {
            queues: stack.queues.unwrap_or(stack.shards),
            mtu: stack.mtu,
            addressed: !stack.addresses.is_empty() || stack.dhcp.is_some(),
        }
    }
}

/// A stack whose shards are tasks of one executor. See the [module](self) for what its owner has to do.
#[derive(Debug)]
pub struct Host {
    members: Vec<Member>,
    shutdown_deadline: Duration,
}

/// One shard, and what wakes it.
#[derive(Debug)]
struct Member {
    engine: Rc<Engine>,
    net: Net,
    /// Rung by its siblings, if it has any.
    alarm: Option<Arc<Alarm>>,
}

impl Host {
    /// Starts a stack on `devices`, one for each of its queues, as tasks of the local executor this is called on. Its
    /// [`Instant::ZERO`] is `origin`, which hosts that are to be compared have in common.
    ///
    /// What the description says of the machine does not matter here: its device, cores, pinning and spinning, the watchdog,
    /// the control socket, captures.
    ///
    /// # Errors
    /// See [`RunError`]: the description cannot be, or there are no descriptors or no memory for it.
    ///
    /// # Panics
    /// Outside of a local executor.
    pub fn start<D>(
        mut stack: Builder,
        devices: Vec<D>,
        origin: tokio::time::Instant,
    ) -> Result<Self, RunError>
    where
        D: QueuePair + Unpin + 'static,
    {
        // The devices are here, whatever was described; that there is no embedded one is all that is checked of it.
        stack.device = Device::Wire(Vec::new());
        check(&stack)?;
        check_queues(&stack, devices.len())?;
        let seed = stack.seed.map_or_else(random_seed, Ok)?;
        let weights = stack.weights.take().unwrap_or_else(|| vec![1; stack.shards.into()]);
        let steering = steering(&seed, &weights)?;
        let steered = Placed::by_software(&steering, None).steered;
        let (common, inboxes) = Common::new(&stack, Clock::since(origin), seed, steered);
        let description = HostDescription {
            number: 0,
            addresses: &stack.addresses,
            gateway: stack.gateway,
            filters: stack.filters,
            dhcp: stack.dhcp,
            weights,
            steering,
            pcap: None,
        };
        let mut members = Vec::new();
        for (parts, inbox) in description.take_apart(&common, devices)?.into_iter().zip(inboxes) {
            let engine = make_engine(&common, &Arc::new(Watch::new(parts.birth.id.0)), &parts)?;
            let alarm = (engine.shards() > 1).then(|| Arc::clone(parts.mesh.alarm()));
            drive(&engine, parts, Wakeup::Simulator)?;
            let net = common.net(&engine, Rc::default());
            inbox.open(net.clone());
            members.push(Member { engine, net, alarm });
        }
        Ok(Self { members, shutdown_deadline: common.shutdown_deadline })
    }

    /// What an application is given, on each shard in turn.
    pub fn nets(&self) -> impl ExactSizeIterator<Item = &Net> {
        self.members.iter().map(|member| &member.net)
    }

    /// The shard that a received frame belongs to, as a card finds out that steers as the stack does.
    pub fn steers_to(&self, frame: &[u8]) -> u16 {
        let shard = self.members.first().and_then(|first| {
            let medium = first.engine.medium();
            first.engine.read(|shard| shard.steering().shard_of_frame(frame, medium)).flatten()
        });
        shard.unwrap_or_default().0
    }

    /// Has a shard look at its device.
    pub fn wake(&self, shard: u16) {
        if let Some(member) = self.members.get(usize::from(shard)) {
            member.engine.wake();
        }
    }

    /// Wakes the shards whose deadline has come by `now`, and those whose siblings have left something for them; whether
    /// there was one.
    pub fn wake_due(&self, now: Instant) -> bool {
        let is_due = |member: &&Member| {
            let asleep_until = member.engine.asleep_until();
            // A shard that sleeps has asked its siblings for a call, and its alarm says whether one has answered.
            let is_called = member.alarm.as_ref().is_some_and(|alarm| !alarm.is_asking());
            asleep_until.is_some_and(|until| until <= now || is_called)
        };
        let mut woken = false;
        for member in self.members.iter().filter(is_due) {
            member.engine.wake();
            woken = true;
        }
        woken
    }

    /// When the first of its shards has something to do by itself, of those that sleep.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.members.iter().filter_map(|member| member.engine.asleep_until());
        deadlines.min().filter(|deadline| *deadline < Instant::MAX)
    }

    /// What [`Builder::run`] does when its application is done: listeners stop, connections have until the description's
    /// deadline to end, and the last frames leave.
    pub async fn shut_down(&self) {
        let engines: Vec<_> = self.members.iter().map(|member| &member.engine).collect();
        shut_down(&engines, None, self.shutdown_deadline, &Phases::new(1)).await;
    }

    /// Ends the shards. Their tasks have to be gone, with the sockets and devices they own; what an application still has
    /// of sockets is closed.
    ///
    /// # Errors
    /// `BuffersHeld`: somebody still has packets of the stack.
    pub fn end(&self) -> Result<(), RunError> {
        let engines: Vec<_> = self.members.iter().map(|member| Rc::clone(&member.engine)).collect();
        match bury(&engines, &Phases::new(1)) {
            0 => Ok(()),
            buffers => Err(RunError::BuffersHeld { buffers }),
        }
    }
}
