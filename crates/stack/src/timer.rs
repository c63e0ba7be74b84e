//! A shard's timers: a hierarchical wheel of intrusive lists, one entry a connection, microsecond ticks.
//!
//! After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 7. Eleven levels of 64
//! slots cover every [`Instant`] there is; a slot of level *n* is 64^n microseconds wide. An entry stands in
//! the level where its deadline first differs from the present, so that
//!
//! - everything on a level is due before anything on the level above, and a level's slots are due in their
//!   order: the next deadline is found from two bitmaps;
//! - when time moves on, however far, whole slots lie in the past and are handed over in one piece; then each
//!   entry handed over is either due or goes to a lower level.
//!
//! A timer moved to a later deadline, as every acknowledgement does with a retransmission timer, stays in its
//! slot with nothing but its deadline changed, and finds its true place when the slot is handed over.
//!
//! Entries live in one vector and are joined by index; the lists' heads are its first nodes.

#[cfg(test)]
mod tests;

use crate::time::Instant;

/// Each level looks at this many bits of a deadline.
const LEVEL_BITS: u32 = 6;
const SLOTS_PER_LEVEL: u32 = 1 << LEVEL_BITS;
const LEVELS: u32 = u64::BITS.div_ceil(LEVEL_BITS);
const SLOTS: u32 = LEVELS * SLOTS_PER_LEVEL;

/// Head of the list of entries whose place is looked up at the next [`TimerWheel::advance`].
const UNSORTED: u32 = SLOTS;
/// Head of the list of entries that wait to be popped.
const EXPIRED: u32 = SLOTS + 1;
/// How many nodes of the vector are heads of lists.
const HEADS: u32 = SLOTS + 2;
/// Ends the list of vacant nodes.
const NO_NODE: u32 = u32::MAX;

/// How many entries one [`TimerWheel::advance`] sorts into a lower level.
///
/// A million timers of one slot would stop the shard for longer than a round trip if they were sorted at
/// once; in portions, some of them fire a few turns late.
const SORTED_PER_ADVANCE: u32 = 1_024;

/// Names a timer in the wheel that gave it, until that timer fires or is cancelled, and nothing afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

/// An entry, a vacant place for one, or the head of a list.
#[derive(Clone, Debug)]
struct Node<T> {
    /// Microseconds; in a slot never before the slot's own time. In a slot's head: no later than any deadline
    /// in the slot.
    deadline: u64,
    /// What the timer is for; nothing in a head or a vacant node.
    token: Option<T>,
    previous: u32,
    next: u32,
    /// Raised when the entry goes, so that its id names no later one.
    generation: u32,
}

/// Timers with a token each, which comes out again when the deadline has passed.
///
/// Adding, moving and removing one, and asking for the next deadline, cost the same with a million timers as
/// with ten. Nothing is allocated beyond the greatest number of timers there ever were at a time. A node is
/// 32 bytes with a token of four bytes and 40 with one of eight.
#[derive(Clone, Debug)]
pub struct TimerWheel<T> {
    nodes: Vec<Node<T>>,
    /// A bit for each slot of a level that has entries. Never set for the slot that `now` is in, nor for one
    /// before it.
    occupied: [u64; LEVELS as usize],
    /// A bit for each level that has entries.
    occupied_levels: u16,
    /// Microseconds: the time last advanced to.
    now: u64,
    first_vacant: u32,
    len: usize,
}

impl<T: Copy> TimerWheel<T> {
    /// An empty wheel standing at `now`.
    pub fn new(now: Instant) -> Self {
        let head =
            |index| Node { deadline: u64::MAX, token: None, previous: index, next: index, generation: 0 };
        Self {
            nodes: (0..HEADS).map(head).collect(),
            occupied: [0; LEVELS as usize],
            occupied_levels: 0,
            now: now.as_micros(),
            first_vacant: NO_NODE,
            len: 0,
        }
    }

    /// How many timers there are, those that wait to be popped included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no timers.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a timer that yields `token` once, at the first [`advance`](Self::advance) to `deadline` or later.
    ///
    /// A deadline that has passed already waits for the next `advance` too: a timer armed while expired ones
    /// are popped never comes out in the same round, so the round ends.
    pub fn insert(&mut self, token: T, deadline: Instant) -> TimerId {
        let index = self.take_vacant();
        let node = &mut self.nodes[index as usize];
        node.token = Some(token);
        node.deadline = deadline.as_micros();
        let generation = node.generation;
        self.len += 1;
        self.place(index, UNSORTED);
        TimerId { index, generation }
    }

    /// Moves a timer to another deadline, earlier or later, also when it has expired and not been popped yet.
    ///
    /// Answers `false`, having done nothing, when the timer has fired or was cancelled.
    pub fn reschedule(&mut self, id: TimerId, deadline: Instant) -> bool {
        let now = self.now;
        let Some(node) = self.find(id) else { return false };
        let deadline = deadline.as_micros();
        // What has expired has a deadline that is not later than now; all else may stay where it is.
        let stays = now < node.deadline && node.deadline <= deadline;
        node.deadline = deadline;
        if !stays {
            self.unlink(id.index);
            self.place(id.index, UNSORTED);
        }
        true
    }

    /// Removes a timer, also when it has expired and not been popped yet, and gives its token back.
    ///
    /// Answers `None` when the timer has fired or was cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        self.find(id)?;
        self.remove(id.index)
    }

    /// When to call [`advance`](Self::advance) again: never later than the earliest deadline.
    ///
    /// Where timers were moved or removed, or share a slot, it may be earlier than every deadline. Whoever
    /// sleeps until then wakes in vain, at most once a level for an entry and once for having been moved;
    /// a lone timer wakes it once. While timers wait to be popped or sorted, it is the time last advanced
    /// to: at once.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.first_of(EXPIRED).is_some() || self.first_of(UNSORTED).is_some() {
            return Some(Instant::from_micros(self.now));
        }
        if self.occupied_levels == 0 {
            return None;
        }
        let level = self.occupied_levels.trailing_zeros();
        let slot = self.occupied[level as usize].trailing_zeros();
        let head = &self.nodes[(level * SLOTS_PER_LEVEL + slot) as usize];
        Some(Instant::from_micros(head.deadline))
    }

    /// Moves the wheel to `now`; timers whose deadline is not later wait to be popped. Time that goes back
    /// counts as standing still.
    ///
    /// Costs a step for each slot left behind, at most 704 however long ago the last call was, and for each
    /// entry in them, at most 1,024. If that leaves entries unsorted, [`next_deadline`](Self::next_deadline)
    /// says "at once", and those among them that are due come out of the next rounds.
    pub fn advance(&mut self, now: Instant) {
        let now = now.as_micros();
        if now > self.now {
            let level = level_of(now, self.now);
            self.now = now;
            for lower in 0..level {
                self.leave_slots(lower, u64::MAX);
            }
            let up_to_now = u64::MAX >> (SLOTS_PER_LEVEL - 1 - slot_of(now, level));
            self.leave_slots(level, up_to_now);
        }
        self.sort();
    }

    /// The token of the next timer that [`advance`](Self::advance) has found due; the timer is gone with it.
    ///
    /// Earlier deadlines come first, except that timers which shared a slot when it was left behind come in
    /// the order in which they entered it: to the microsecond while the wheel is advanced often, in coarser
    /// steps after a stall.
    pub fn pop_expired(&mut self) -> Option<T> {
        let index = self.first_of(EXPIRED)?;
        self.remove(index)
    }

    /// The node that `id` names, if it still does.
    fn find(&mut self, id: TimerId) -> Option<&mut Node<T>> {
        self.nodes
            .get_mut(id.index as usize)
            .filter(|node| node.generation == id.generation && node.token.is_some())
    }

    fn first_of(&self, head: u32) -> Option<u32> {
        Some(self.nodes[head as usize].next).filter(|first| *first != head)
    }

    /// A node in no list, with no token.
    fn take_vacant(&mut self) -> u32 {
        if self.first_vacant == NO_NODE {
            // Memory ends long before 32 bits do: so many nodes are more than 128 GiB.
            let index = self.nodes.len() as u32;
            self.nodes.push(Node { deadline: 0, token: None, previous: index, next: index, generation: 0 });
            return index;
        }
        let index = self.first_vacant;
        self.first_vacant = self.nodes[index as usize].next;
        index
    }

    /// Unlinks an entry and makes its node vacant.
    fn remove(&mut self, index: u32) -> Option<T> {
        self.unlink(index);
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.wrapping_add(1);
        node.next = self.first_vacant;
        self.first_vacant = index;
        self.len -= 1;
        node.token.take()
    }

    /// Appends a node that is in no list to its slot's, or to `if_due` when its deadline has passed.
    fn place(&mut self, index: u32, if_due: u32) {
        let deadline = self.nodes[index as usize].deadline;
        let mut head = if_due;
        if deadline > self.now {
            let level = level_of(deadline, self.now);
            let slot = slot_of(deadline, level);
            self.occupied[level as usize] |= 1 << slot;
            self.occupied_levels |= 1 << level;
            head = level * SLOTS_PER_LEVEL + slot;
        }
        let head_node = &mut self.nodes[head as usize];
        let last = head_node.previous;
        head_node.previous = index;
        head_node.deadline = head_node.deadline.min(deadline);
        self.nodes[last as usize].next = index;
        let node = &mut self.nodes[index as usize];
        (node.previous, node.next) = (last, head);
    }

    /// Takes an entry out of its list.
    fn unlink(&mut self, index: u32) {
        let Node { previous, next, .. } = self.nodes[index as usize];
        self.nodes[previous as usize].next = next;
        self.nodes[next as usize].previous = previous;
        // Only a head is its own neighbour on both sides.
        if previous == next && next < SLOTS {
            self.nodes[next as usize].deadline = u64::MAX;
            self.mark_empty(next / SLOTS_PER_LEVEL, next % SLOTS_PER_LEVEL);
        }
    }

    fn mark_empty(&mut self, level: u32, slot: u32) {
        let occupied = &mut self.occupied[level as usize];
        *occupied &= !(1 << slot);
        if *occupied == 0 {
            self.occupied_levels &= !(1 << level);
        }
    }

    /// Hands over what is in those slots of `level` that `mask` has a bit for.
    fn leave_slots(&mut self, level: u32, mask: u64) {
        let mut slots = self.occupied[level as usize] & mask;
        while slots != 0 {
            let slot = slots.trailing_zeros();
            slots &= slots - 1;
            self.mark_empty(level, slot);
            self.hand_over(level * SLOTS_PER_LEVEL + slot);
        }
    }

    /// Appends the whole list of a slot, which must not be empty, to the unsorted entries.
    fn hand_over(&mut self, slot: u32) {
        let head = &mut self.nodes[slot as usize];
        let (first, last) = (head.next, head.previous);
        (head.next, head.previous, head.deadline) = (slot, slot, u64::MAX);
        let unsorted = &mut self.nodes[UNSORTED as usize];
        let joint = unsorted.previous;
        unsorted.previous = last;
        self.nodes[last as usize].next = UNSORTED;
        self.nodes[joint as usize].next = first;
        self.nodes[first as usize].previous = joint;
    }

    /// Finds the place of a portion of the unsorted entries.
    fn sort(&mut self) {
        for _ in 0..SORTED_PER_ADVANCE {
            let Some(index) = self.first_of(UNSORTED) else { return };
            self.unlink(index);
            self.place(index, EXPIRED);
        }
    }
}

/// The level where two different times first differ.
fn level_of(a: u64, b: u64) -> u32 {
    (a ^ b).ilog2() / LEVEL_BITS
}

/// The slot of `level` that a time falls into.
fn slot_of(time: u64, level: u32) -> u32 {
    (time >> (level * LEVEL_BITS)) as u32 % SLOTS_PER_LEVEL
}
