//! The task that gives a shard its turns, and sleeps when there is nothing to do.
//!
//! It wakes itself as long as there is work, so that the tasks a turn woke run before the next turn. With
//! nothing to do it goes on turning for a while (waking from a sleep costs more than many empty turns), and
//! then waits for the device's descriptor, for the next deadline, and for a call that leaves work.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use sunstar_packet::{Capabilities, DeviceError, FrameSource, LinkState, Packet, Pool, QueuePair, SizeClass};
use sunstar_stack::Next;
use sunstar_stack::time::Instant;
use tokio::time::Sleep;

use super::Engine;
use super::watch::Watch;
use crate::mesh::MeshEnd;

/// The executor's timers count whole milliseconds: a deadline that is nearer is met by turning, where that is
/// allowed.
const TIMER_GRAIN: Duration = Duration::from_millis(1);

/// How often a device that takes nothing is looked at: its carrier may return without a notification.
const CARRIER_LOOK: Duration = Duration::from_millis(100);

/// What brings a sleeping driver's device to its notice.
#[derive(Debug)]
pub(crate) enum Wakeup {
    /// The device's descriptor, after up to so long of turning without anything to do.
    Descriptor {
        /// How long an idle shard goes on turning; zero where that would keep others from running.
        spin: Duration,
    },
    /// Only this engine, of the same thread, is on the device's other end: the two drivers wake each other, and
    /// nobody has to be asked by a system call whether there is something.
    Partner(Weak<Engine>),
    /// A simulator, on the same thread: it looks at the bell and the alarm, and wakes the driver when there is something or
    /// its time has come.
    Simulator,
}

/// A device, or what is left of one that failed.
enum Port<D> {
    Open(D),
    Failed(Capabilities),
}

/// Gives a shard its turns. Never done; it ends with its runtime.
pub(crate) struct Driver<D> {
    engine: Rc<Engine>,
    port: Port<D>,
    mesh: MeshEnd,
    wakeup: Wakeup,
    descriptor: Option<Watch>,
    alarm: Option<Watch>,
    timer: Option<Pin<Box<Sleep>>>,
    idle_since: Option<Instant>,
    woken: Vec<Waker>,
}

impl<D: QueuePair + Unpin> Driver<D> {
    /// A driver for the shard that stands on `device`, with its siblings at the other ends of `mesh`. Called inside
    /// the runtime it will run on.
    ///
    /// # Errors
    /// The device's descriptor, or the shard's alarm, cannot be waited for.
    pub(crate) fn new(engine: Rc<Engine>, device: D, mesh: MeshEnd, wakeup: Wakeup) -> io::Result<Self> {
        let (descriptor, alarm) = match &wakeup {
            Wakeup::Descriptor { .. } => (device.descriptor(), mesh.descriptor()),
            Wakeup::Partner(_) => (None, mesh.descriptor()),
            Wakeup::Simulator => (None, None),
        };
        let [descriptor, alarm] =
            [descriptor, alarm].map(|descriptor| descriptor.map(Watch::new).transpose());
        let (descriptor, alarm) = (descriptor?, alarm?);
        engine.observe(&device);
        Ok(Self {
            engine,
            port: Port::Open(device),
            mesh,
            wakeup,
            descriptor,
            alarm,
            timer: None,
            idle_since: None,
            woken: Vec::new(),
        })
    }

    /// One turn. What the shard wants next, and whether anything happened in it.
    fn turn(&mut self) -> Option<(Next, bool)> {
        let heard = self.mesh.taken();
        // A shard that panics takes its own sockets with it, and nobody else's: the device and the mesh are not part
        // of it, and what they had in hand is at most one packet.
        let turned = catch_unwind(AssertUnwindSafe(|| match &mut self.port {
            Port::Open(device) => self.engine.turn(device, &mut self.mesh, &mut self.woken),
            Port::Failed(capabilities) => {
                self.engine.turn(&mut Failed(*capabilities), &mut self.mesh, &mut self.woken)
            }
        }));
        self.mesh.flush();
        self.engine.mesh_depth.set(self.mesh.depth());
        let moved = match &self.port {
            Port::Open(device) => self.engine.observe(device),
            Port::Failed(_) => false,
        };
        let happened = moved || !self.woken.is_empty() || self.mesh.taken() != heard;
        match turned {
            Ok(Ok(next)) => next.map(|next| (next, happened)),
            Ok(Err(error)) => {
                self.on_device_failed(error);
                self.turn()
            }
            Err(_) => {
                self.engine.replace_shard(&mut self.woken);
                Some((Next { busy: true, wants_room: false, deadline: None }, true))
            }
        }
    }

    /// The shard goes on without its device: its sockets have errors to tell, and the loopback works.
    fn on_device_failed(&mut self, error: DeviceError) {
        if let Port::Open(device) = &self.port {
            self.port = Port::Failed(device.capabilities());
        }
        self.descriptor = None;
        self.engine.on_device_failed(error);
    }

    /// Whether the shard should turn again although there is nothing to do.
    fn lingers(&mut self, next: &Next, happened: bool) -> bool {
        let spin = match &self.wakeup {
            Wakeup::Descriptor { spin } => *spin,
            Wakeup::Partner(_) | Wakeup::Simulator => Duration::ZERO,
        };
        if spin.is_zero() {
            return false;
        }
        let now = self.engine.now();
        if happened {
            self.idle_since = None;
        }
        let idle_since = *self.idle_since.get_or_insert(now);
        now.saturating_since(idle_since) < spin
            || next.deadline.is_some_and(|deadline| deadline.saturating_since(now) < TIMER_GRAIN)
    }

    /// Sees that the task is woken by the device or a sibling, or says that it has to look again at once.
    fn listen(&mut self, context: &mut Context<'_>, wants_room: bool) -> Poll<()> {
        // What was notified may have been seen to since, or not: one more look tells.
        let mut notified =
            |watch: &mut Option<Watch>| watch.as_mut().is_some_and(|watch| watch.was_notified(context));
        let (by_device, by_sibling) = (notified(&mut self.descriptor), notified(&mut self.alarm));
        // The alarm is asked first: a queue owned by a sibling is looked at after that.
        if by_device || by_sibling || self.mesh.arm(wants_room) {
            return Poll::Ready(());
        }
        let found = match &mut self.port {
            Port::Open(device) => device.arm(wants_room),
            Port::Failed(_) => false,
        };
        if found { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Sees that the task is woken at a deadline, or says that it has passed.
    fn set_timer(&mut self, context: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        if matches!(self.wakeup, Wakeup::Simulator) {
            let is_due = deadline.is_some_and(|deadline| deadline <= self.engine.now());
            return if is_due { Poll::Ready(()) } else { Poll::Pending };
        }
        let Some(at) = deadline.and_then(|deadline| self.engine.clock.to_executor(deadline)) else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        ready!(timer.as_mut().poll(context));
        self.timer = None;
        Poll::Ready(())
    }

    /// One turn, and what follows from it; done only when the shard is gone.
    fn step(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some((mut next, happened)) = self.turn() else { return Poll::Ready(()) };
        if let Port::Open(device) = &self.port {
            next.wants_room |= device.wants_room();
        }
        if happened
            && let Wakeup::Partner(partner) = &self.wakeup
            && let Some(partner) = partner.upgrade()
        {
            partner.bell.wake();
        }
        if next.busy {
            self.idle_since = None;
        }
        if next.busy || self.lingers(&next, happened) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Loans come home without a word, and so does a carrier: with something to send, look again soon.
        let starved = next.wants_room && self.engine.pool().free(SizeClass::Small) == 0;
        let pause = if starved { TIMER_GRAIN } else { CARRIER_LOOK };
        let again = next.wants_room.then(|| self.engine.now() + pause);
        let deadline = [next.deadline, again].into_iter().flatten().min();
        if self.listen(context, next.wants_room && !starved).is_ready()
            || self.set_timer(context, deadline).is_ready()
        {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.engine.bell.on_asleep(deadline);
        Poll::Pending
    }
}

impl<D: QueuePair + Unpin> Future for Driver<D> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.engine.bell.on_awake(context.waker());
        let step = this.step(context);
        // Last of all: whom it wakes may call a socket at once, and has to find the bell as it is from here on.
        this.woken.drain(..).for_each(Waker::wake);
        step
    }
}

/// A device that is gone: nothing comes, and nothing goes.
struct Failed(Capabilities);

impl QueuePair for Failed {
    fn capabilities(&self) -> Capabilities {
        self.0
    }

    fn pull(&mut self, _: &Pool, _: usize, _: &mut impl FrameSource) -> Result<usize, DeviceError> {
        Ok(0)
    }

    fn receive(&mut self, _: &Pool, _: usize, _: &mut Vec<Packet>) -> Result<usize, DeviceError> {
        Ok(0)
    }

    fn link(&self) -> LinkState {
        LinkState::Down
    }
}
