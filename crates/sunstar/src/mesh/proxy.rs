//! Fewer queues than shards: a shard without a queue pair sends through a sibling that has one.
//!
//! To its shard a [`ProxyQueue`] is a queue pair like any other: it pulls, as long as it has *credits*, the right to
//! have a frame built, of which the queue's owner grants [`CREDITS`]. Frames cross as loans in a ring that holds as many.
//! The owner's [`SharedQueue`] pulls from its own shard and from the rings by weight (deficit round robin over bytes)
//! when the device has room; a frame that has left gives its credit back, with the note of who wants to hear of it.
//! Nothing comes in through a proxy: received packets arrive over the mesh.

use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rtrb::{Consumer, Producer, RingBuffer};
use sunstar_device::Alarm;
use sunstar_packet::{
    Capabilities, Departure, DeviceCounters, DeviceError, FrameSource, LinkState, Loan, Packet, Pool,
    QueuePair,
};
use sunstar_stack::steering::ShardId;

/// Frames that one shard may have in the hands of a queue's owner. A model needs few, and has to come to their end.
pub const CREDITS: usize = if cfg!(loom) { 2 } else { 128 };

/// Bytes that a source may send before the next one's turn: the one of the least weight, if no other may send more than
/// [`LONGEST_TURN`] then.
const QUANTUM: i64 = 16 << 10;
/// Bytes that a source may send in one turn at most, whatever its weight.
const LONGEST_TURN: i64 = 64 * QUANTUM;
/// Bytes that a source may send in one turn at least.
const SHORTEST_TURN: i64 = 64;

/// The provider by which the owner knows frames of siblings among those that have left.
const PROXIED: u8 = u8::MAX;

/// A frame that has left: its credit, and who wanted to hear of it.
type Credit = Option<Departure>;

/// What a queue's owner says of the device.
#[derive(Debug)]
struct State {
    link: AtomicU8,
    failure: OnceLock<DeviceError>,
}

impl State {
    fn link(&self) -> LinkState {
        match self.link.load(Ordering::Relaxed) {
            0 => LinkState::Down,
            _ => LinkState::Up,
        }
    }

    fn set_link(&self, link: LinkState) {
        self.link.store(u8::from(link == LinkState::Up), Ordering::Relaxed);
    }
}

/// What one shard has sent through a queue.
#[derive(Debug)]
pub struct ShareCounters {
    /// Whose share it is.
    pub shard: ShardId,
    /// Its weight.
    pub weight: u32,
    /// Frames.
    pub frames: Cell<u64>,
    /// Bytes of those.
    pub bytes: Cell<u64>,
}

impl ShareCounters {
    fn count(&self, len: usize) {
        self.frames.set(self.frames.get() + 1);
        self.bytes.set(self.bytes.get() + len as u64);
    }
}

/// The shares of all shards that send through a queue, its owner's first.
pub type Shares = Rc<[ShareCounters]>;

/// How a queue is shared: made where the shards are described, and taken apart by their threads.
#[derive(Debug)]
pub struct Sharing {
    owner: (ShardId, u32),
    state: Arc<State>,
    lanes: Vec<LaneParts>,
}

#[derive(Debug)]
struct LaneParts {
    shard: (ShardId, u32),
    frames: Consumer<Loan>,
    credits: Producer<Credit>,
    alarm: Arc<Alarm>,
}

/// Shares the queue of one shard with others, each with its weight and the alarm it is woken by. The others' ends come back
/// in their order.
pub fn share(
    capabilities: Capabilities,
    owner: (ShardId, u32, &Arc<Alarm>),
    others: &[(ShardId, u32, &Arc<Alarm>)],
) -> (Sharing, Vec<ProxyQueue>) {
    let state = Arc::new(State { link: AtomicU8::new(1), failure: OnceLock::new() });
    let mut sharing = Sharing { owner: (owner.0, owner.1), state, lanes: Vec::new() };
    let mut proxies = Vec::new();
    for (shard, weight, alarm) in others {
        let (to_owner, frames) = RingBuffer::new(CREDITS);
        let (credits, from_owner) = RingBuffer::new(CREDITS);
        sharing.lanes.push(LaneParts { shard: (*shard, *weight), frames, credits, alarm: Arc::clone(alarm) });
        proxies.push(ProxyQueue {
            frames: to_owner,
            credits: from_owner,
            outstanding: 0,
            noted: 0,
            capabilities,
            state: Arc::clone(&sharing.state),
            alarm: Arc::clone(owner.2),
            owner: owner.0,
            counters: DeviceCounters::default(),
            touched: false,
        });
    }
    (sharing, proxies)
}

/// What a shard without a queue pair of its own sends through.
#[derive(Debug)]
pub struct ProxyQueue {
    frames: Producer<Loan>,
    credits: Consumer<Credit>,
    outstanding: usize,
    /// Those of them whose departure somebody wants to hear of.
    noted: usize,
    capabilities: Capabilities,
    state: Arc<State>,
    /// What the owner is woken by.
    alarm: Arc<Alarm>,
    owner: ShardId,
    counters: DeviceCounters,
    /// Whether there are frames that the owner was not woken for: a shard may break in the middle of a burst.
    touched: bool,
}

impl ProxyQueue {
    /// The shard whose queue it is.
    pub fn owner(&self) -> ShardId {
        self.owner
    }

    /// Whether credits have come back that the shard does not know of.
    pub fn has_credits(&self) -> bool {
        !self.credits.is_empty()
    }

    /// Frames in the owner's hands.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn take_credits(&mut self, source: &mut impl FrameSource) {
        while let Ok(credit) = self.credits.pop() {
            self.outstanding -= 1;
            if let Some(departure) = credit {
                self.noted -= 1;
                source.departed(departure);
            }
        }
    }

    /// Hands a frame to the owner; one whose pool has no loan left goes as a copy, which needs none. Whether it went.
    fn hand_over(&mut self, packet: Packet, pool: &Pool) -> bool {
        let loan = match packet.lend(pool) {
            Ok(loan) => Some(loan),
            Err(packet) => {
                let mut copy = Packet::new(Bytes::from(packet.to_vec()));
                copy.notes = packet.notes;
                copy.lend(pool).ok()
            }
        };
        // There is a place in the ring for each credit.
        loan.is_some_and(|loan| self.frames.push(loan).is_ok())
    }
}

impl QueuePair for ProxyQueue {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn pull(
        &mut self,
        pool: &Pool,
        budget: usize,
        source: &mut impl FrameSource,
    ) -> Result<usize, DeviceError> {
        if let Some(failure) = self.state.failure.get() {
            return Err(failure.clone());
        }
        self.take_credits(source);
        let mut taken = 0;
        while taken < budget && self.outstanding < CREDITS && self.link() == LinkState::Up {
            let Some(packet) = source.next() else { break };
            taken += 1;
            let (len, segmented) = (packet.len(), packet.notes.segmentation.is_some());
            let departure = packet.notes.departure;
            if self.hand_over(packet, pool) {
                self.touched = true;
                self.outstanding += 1;
                self.noted += usize::from(departure.is_some());
                self.counters.sent += 1;
                self.counters.sent_bytes += len as u64;
                self.counters.segmented += u64::from(segmented);
            } else {
                self.counters.refused += 1;
                departure.into_iter().for_each(|departure| source.departed(departure));
            }
        }
        if std::mem::take(&mut self.touched) {
            self.alarm.ring(Alarm::FRAMES);
        }
        Ok(taken)
    }

    fn receive(&mut self, _: &Pool, _: usize, _: &mut Vec<Packet>) -> Result<usize, DeviceError> {
        Ok(0)
    }

    fn link(&self) -> LinkState {
        self.state.link()
    }

    fn wants_room(&self) -> bool {
        self.noted > 0
    }

    fn arm(&mut self, wants_room: bool) -> bool {
        self.state.failure.get().is_some() || wants_room && !self.credits.is_empty()
    }

    fn counters(&self) -> DeviceCounters {
        self.counters
    }
}

/// A queue pair that siblings send through, too.
#[derive(Debug)]
pub struct SharedQueue<D> {
    pub(super) device: D,
    state: Arc<State>,
    sources: Sources,
    /// Whether the device had no room when it was last asked.
    was_full: bool,
}

impl<D: QueuePair> SharedQueue<D> {
    /// A queue pair, and who shares it. On its owner's thread.
    pub fn new(device: D, sharing: Sharing) -> Self {
        let Sharing { owner, state, lanes } = sharing;
        let shards = std::iter::once(owner).chain(lanes.iter().map(|lane| lane.shard));
        let counters =
            |(shard, weight)| ShareCounters { shard, weight, frames: Cell::new(0), bytes: Cell::new(0) };
        let shares: Shares = shards.map(counters).collect();
        let (deficits, quanta) = (vec![0; shares.len()], quanta(&shares));
        let lanes = lanes.into_iter().map(Lane::new).collect();
        Self {
            device,
            state,
            sources: Sources { lanes, shares, quanta, deficits, current: 0 },
            was_full: false,
        }
    }

    /// The device itself.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device itself, for whoever has more to do with it than to move frames.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Who has sent how much.
    pub fn shares(&self) -> Shares {
        Rc::clone(&self.sources.shares)
    }

    /// Whether frames of siblings wait for room.
    fn holds_back(&self) -> bool {
        self.sources.lanes.iter().any(|lane| !lane.frames.is_empty())
    }

    fn fail<T>(&self, result: Result<T, DeviceError>) -> Result<T, DeviceError> {
        if let Err(error) = &result {
            // There is one failure; the proxies find it when they next look.
            let _ = self.state.failure.set(error.clone());
            self.sources.lanes.iter().for_each(|lane| lane.alarm.wake());
        }
        result
    }
}

impl<D> Drop for SharedQueue<D> {
    /// Siblings that send through it must not wait for what will never come.
    fn drop(&mut self) {
        let reason = "the shard whose queue it was has ended".to_owned();
        let _ = self.state.failure.set(DeviceError { reason });
        self.sources.lanes.iter().for_each(|lane| lane.alarm.wake());
    }
}

impl<D: QueuePair> QueuePair for SharedQueue<D> {
    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    fn pull(
        &mut self,
        pool: &Pool,
        budget: usize,
        source: &mut impl FrameSource,
    ) -> Result<usize, DeviceError> {
        if self.sources.lanes.is_empty() {
            return self.device.pull(pool, budget, source);
        }
        let mut all = AllSources { own: source, sources: &mut self.sources, pool };
        let taken = self.device.pull(pool, budget, &mut all);
        self.sources.lanes.iter_mut().for_each(Lane::flush);
        let taken = self.fail(taken)?;
        self.was_full = taken < budget && self.holds_back();
        Ok(taken)
    }

    fn receive(
        &mut self,
        pool: &Pool,
        budget: usize,
        frames: &mut Vec<Packet>,
    ) -> Result<usize, DeviceError> {
        let received = self.device.receive(pool, budget, frames);
        self.fail(received)
    }

    fn link(&self) -> LinkState {
        let link = self.device.link();
        self.state.set_link(link);
        link
    }

    fn wants_room(&self) -> bool {
        // Without a carrier nothing comes out of the rings either, and who waits behind them sees only what is seen here.
        let cut_off = !self.sources.lanes.is_empty() && self.state.link() == LinkState::Down;
        self.holds_back() || cut_off || self.device.wants_room()
    }

    fn arm(&mut self, wants_room: bool) -> bool {
        let holds_back = self.holds_back();
        holds_back && !self.was_full || self.device.arm(wants_room || holds_back)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.device.descriptor()
    }

    fn counters(&self) -> DeviceCounters {
        self.device.counters()
    }
}

/// One sibling's way into a queue.
#[derive(Debug)]
struct Lane {
    frames: Consumer<Loan>,
    credits: Producer<Credit>,
    alarm: Arc<Alarm>,
    /// Who wants to hear of the frames that are in the device's hands.
    notes: Box<[Credit]>,
    free: Vec<u32>,
    touched: bool,
}

impl Lane {
    fn new(parts: LaneParts) -> Self {
        let LaneParts { frames, credits, alarm, .. } = parts;
        let (notes, free) = (vec![None; CREDITS].into(), (0..CREDITS as u32).collect());
        Self { frames, credits, alarm, notes, free, touched: false }
    }

    /// The next frame; its note is kept here until it has left.
    fn next(&mut self, lane: u32, pool: &Pool) -> Option<Packet> {
        let slot = self.free.last().copied()?;
        let mut packet = self.frames.pop().ok()?.adopt(pool);
        self.free.pop();
        let token = u64::from(lane) << 32 | u64::from(slot);
        let ours = Departure { provider: PROXIED, token, weight: 0 };
        self.notes[slot as usize] = packet.notes.departure.replace(ours);
        Some(packet)
    }

    fn departed(&mut self, slot: u32) {
        let Some(note) = self.notes.get_mut(slot as usize) else { return };
        // There is a place for each credit that is out.
        let _ = self.credits.push(note.take());
        self.free.push(slot);
        self.touched = true;
    }

    /// Wakes the sibling if it waits for credits and there are new ones.
    fn flush(&mut self) {
        if std::mem::take(&mut self.touched) {
            self.alarm.ring(Alarm::ROOM);
        }
    }
}

/// Everybody who sends through a queue, and whose turn it is.
#[derive(Debug)]
struct Sources {
    lanes: Vec<Lane>,
    /// The owner's first, then the lanes'.
    shares: Shares,
    /// Bytes that each may send in a turn.
    quanta: Vec<i64>,
    deficits: Vec<i64>,
    current: usize,
}

/// How many bytes each source may send in a turn, by its weight: the least of them a quantum, or the most the longest turn.
pub(super) fn quanta(shares: &[ShareCounters]) -> Vec<i64> {
    let weights = || shares.iter().map(|share| i64::from(share.weight.max(1)));
    let (least, most) = (weights().min().unwrap_or(1), weights().max().unwrap_or(1));
    let (per, bytes) =
        if most / least > LONGEST_TURN / QUANTUM { (most, LONGEST_TURN) } else { (least, QUANTUM) };
    weights().map(|weight| (bytes * weight / per).max(SHORTEST_TURN)).collect()
}

/// The owner's shard and its siblings as one source of frames.
struct AllSources<'a, S> {
    own: &'a mut S,
    sources: &'a mut Sources,
    pool: &'a Pool,
}

impl<S: FrameSource> FrameSource for AllSources<'_, S> {
    fn next(&mut self) -> Option<Packet> {
        let Sources { lanes, shares, quanta, deficits, current } = &mut *self.sources;
        // Sources in a row that had nothing.
        let mut empty = 0;
        while empty < shares.len() {
            let at = *current;
            if deficits[at] <= 0 {
                deficits[at] += quanta[at];
            }
            if deficits[at] > 0 {
                let frame = match at.checked_sub(1) {
                    None => self.own.next(),
                    Some(lane) => lanes[lane].next(lane as u32, self.pool),
                };
                if let Some(frame) = frame {
                    let len = frame.len();
                    deficits[at] -= len as i64;
                    shares[at].count(len);
                    if deficits[at] <= 0 {
                        *current = (at + 1) % shares.len();
                    }
                    return Some(frame);
                }
                // Whoever has nothing to send saves nothing up.
                deficits[at] = 0;
                empty += 1;
            } else {
                // It owes for a large frame, and may have more.
                empty = 0;
            }
            *current = (at + 1) % shares.len();
        }
        None
    }

    fn departed(&mut self, departure: Departure) {
        if departure.provider != PROXIED {
            return self.own.departed(departure);
        }
        if let Some(lane) = self.sources.lanes.get_mut((departure.token >> 32) as usize) {
            lane.departed(departure.token as u32);
        }
    }
}
