//! What a shard's thread is doing, written by that thread and read by the watchdog.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use super::Stall;
use super::schedule::{Schedule, ScheduleFiles};

/// Bits of what is noted that say what the thread does; those above count polls.
const DOING_BITS: u32 = 16;
/// The executor waits for something to do.
const ASLEEP: u16 = 0;
/// The executor does something, and nobody has noted what.
const UNNAMED: u16 = 1;
/// The first of the numbers that stand for names; the last one stands for all that no other is left for.
const FIRST_NAME: u16 = 2;

/// What a task is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// By who spawned it.
    Given(&'static str),
    /// After the place where it was spawned.
    Place(&'static Location<'static>),
}

impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Name::Given(name)
    }
}

impl From<&'static Location<'static>> for Name {
    fn from(place: &'static Location<'static>) -> Self {
        Name::Place(place)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Given(name) => formatter.write_str(name),
            Name::Place(place) => write!(formatter, "{}:{}", place.file(), place.line()),
        }
    }
}

/// The number that stands for a name in one watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameId(u16);

/// Names and their numbers.
#[derive(Debug, Default)]
struct Names {
    known: Vec<Name>,
    numbers: HashMap<Name, u16>,
}

/// What a thread does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Nothing: it waits for something to do.
    Asleep,
    /// Something that has no name.
    Unnamed,
    /// A poll of a task of that name.
    Task(NameId),
}

/// What the watchdog sees at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Another number for every poll that is not within another one, and for what is between them.
    pub(super) poll: u64,
    pub(super) doing: Doing,
    /// What the kernel says; nothing where it does not, and of a thread that is asleep.
    pub(super) schedule: Option<Schedule>,
}

/// The stalls of a shard, as far as they are remembered.
#[derive(Debug, Default)]
struct Record {
    count: u64,
    last: Option<Stall>,
}

/// What one shard's thread is doing. All hosts of one thread share it.
#[derive(Debug)]
pub(crate) struct Watch {
    shard: u16,
    /// The number of the poll, and what is done in it. Only the shard's thread writes it, so that it needs no more than
    /// stores; each releases what was known of names before.
    noted: AtomicU64,
    names: Mutex<Names>,
    record: Mutex<Record>,
    /// Wakes the pulse.
    pulse: Mutex<Option<Waker>>,
    files: OnceLock<ScheduleFiles>,
}

impl Watch {
    /// A watch for a shard that has not begun yet. Nothing is blamed until its pulse has been polled.
    pub(crate) fn new(shard: u16) -> Self {
        Self {
            shard,
            noted: AtomicU64::new(ASLEEP.into()),
            names: Mutex::default(),
            record: Mutex::default(),
            pulse: Mutex::default(),
            files: OnceLock::new(),
        }
    }

    /// Which shard it is for.
    pub(super) fn shard(&self) -> u16 {
        self.shard
    }

    /// The number of a name, which is the same every time.
    pub(super) fn name(&self, name: Name) -> NameId {
        let mut names = locked(&self.names);
        if let Some(number) = names.numbers.get(&name) {
            return NameId(*number);
        }
        let number = u16::try_from(names.known.len()).unwrap_or(u16::MAX).saturating_add(FIRST_NAME);
        if number < u16::MAX {
            names.known.push(name);
            names.numbers.insert(name, number);
        }
        NameId(number)
    }

    /// Notes that the thread works under a name until the answer is dropped, and then under the name it had before.
    /// Only the shard's thread may call it, as all that notes something.
    #[inline]
    pub(super) fn enter(&self, name: NameId) -> Note<'_> {
        let outer = self.noted.load(Ordering::Relaxed);
        let poll = if is_outermost(outer) { next_poll(outer) } else { outer };
        self.noted.store(with_doing(poll, name.0), Ordering::Release);
        Note { watch: self, outer }
    }

    /// Notes that the executor goes to sleep.
    pub(crate) fn on_asleep(&self) {
        self.note(ASLEEP);
    }

    /// Notes that the executor is awake again.
    pub(crate) fn on_awake(&self) {
        self.note(UNNAMED);
    }

    fn note(&self, doing: u16) {
        let before = self.noted.load(Ordering::Relaxed);
        self.noted.store(with_doing(next_poll(before), doing), Ordering::Release);
    }

    /// Notes that the shard's thread polled the pulse, which `waker` wakes.
    pub(super) fn on_pulse(&self, waker: &Waker) {
        self.on_awake();
        if self.files.get().is_none()
            && let Some(files) = ScheduleFiles::of_this_thread()
        {
            // Nobody else sets it.
            let _ = self.files.set(files);
        }
        let mut pulse = locked(&self.pulse);
        if !pulse.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *pulse = Some(waker.clone());
        }
    }

    /// The pulse has ended, and with it the watch.
    pub(super) fn on_pulse_ended(&self) {
        self.on_asleep();
        let waker = locked(&self.pulse).take();
        drop(waker);
    }

    /// Has the pulse polled, as soon as the shard's thread can. Called by the watchdog.
    pub(super) fn ask(&self) {
        let waker = locked(&self.pulse).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What the thread does at this moment.
    pub(super) fn read(&self) -> Reading {
        let noted = self.noted.load(Ordering::Acquire);
        let doing = match doing(noted) {
            ASLEEP => Doing::Asleep,
            UNNAMED => Doing::Unnamed,
            number => Doing::Task(NameId(number)),
        };
        let files = self.files.get().filter(|_| doing != Doing::Asleep);
        Reading { poll: noted >> DOING_BITS, doing, schedule: files.and_then(ScheduleFiles::read) }
    }

    /// What is done, in words.
    pub(super) fn describe(&self, doing: Doing) -> String {
        match doing {
            Doing::Asleep => "nothing".to_owned(),
            Doing::Unnamed => "a task that was not spawned through Net::spawn".to_owned(),
            Doing::Task(NameId(number)) => {
                let names = locked(&self.names);
                let name = names.known.get(usize::from(number - FIRST_NAME));
                name.map_or_else(|| "one of too many tasks to be named".to_owned(), Name::to_string)
            }
        }
    }

    /// Remembers a stall.
    pub(super) fn on_stall(&self, stall: Stall) {
        let mut record = locked(&self.record);
        record.count += 1;
        record.last = Some(stall);
    }

    /// The last stall goes on.
    pub(super) fn on_stall_grown(&self, milliseconds: u64, on_processor: Option<u64>) {
        if let Some(last) = &mut locked(&self.record).last {
            last.milliseconds = milliseconds;
            last.on_processor = on_processor;
        }
    }

    /// How many stalls there were, and the last of them.
    pub(crate) fn stalls(&self) -> (u64, Option<Stall>) {
        let record = locked(&self.record);
        (record.count, record.last.clone())
    }
}

/// What the thread was doing before it did something else, to be noted again.
#[must_use = "what was done before is noted again when it is dropped"]
pub(super) struct Note<'a> {
    watch: &'a Watch,
    outer: u64,
}

impl Drop for Note<'_> {
    #[inline]
    fn drop(&mut self) {
        let outer = self.outer;
        let after = if is_outermost(outer) { next_poll(next_poll(outer)) } else { outer };
        self.watch.noted.store(after, Ordering::Release);
    }
}

fn doing(noted: u64) -> u16 {
    let [.., high, low] = noted.to_be_bytes();
    u16::from_be_bytes([high, low])
}

fn with_doing(noted: u64, doing: u16) -> u64 {
    noted >> DOING_BITS << DOING_BITS | u64::from(doing)
}

/// Whether what is done is within no poll that has a name.
fn is_outermost(noted: u64) -> bool {
    doing(noted) < FIRST_NAME
}

/// The same with the next number. The numbers begin again after years.
fn next_poll(noted: u64) -> u64 {
    noted.wrapping_add(1 << DOING_BITS)
}

/// What a mutex guards is never left half done: nothing here panics in between.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_within_a_poll_has_its_name_and_gives_the_outer_one_back() {
        let watch = Watch::new(0);
        watch.on_awake();
        let [outer, inner] = ["outer", "inner"].map(|name| watch.name(name.into()));
        let between = watch.read();
        assert_eq!(between.doing, Doing::Unnamed);
        let note = watch.enter(outer);
        let before = watch.read();
        assert_eq!(before.doing, Doing::Task(outer));
        assert_ne!(before.poll, between.poll);
        let nested = watch.enter(inner);
        assert_eq!(watch.read(), Reading { doing: Doing::Task(inner), ..before }, "it is the same long poll");
        drop(nested);
        assert_eq!(watch.read(), before);
        drop(note);
        let after = watch.read();
        assert_eq!(after.doing, Doing::Unnamed);
        assert!(after.poll != before.poll && after.poll != between.poll);
    }

    #[test]
    fn every_poll_of_a_task_has_another_number() {
        let watch = Watch::new(0);
        watch.on_awake();
        let name = watch.name("task".into());
        let mut polls: Vec<_> = (0..3)
            .map(|_| {
                let _note = watch.enter(name);
                watch.read().poll
            })
            .collect();
        polls.dedup();
        assert_eq!(polls.len(), 3);
    }

    #[test]
    fn a_name_has_one_number_and_a_place_is_told_by_file_and_line() {
        let watch = Watch::new(0);
        let here = Location::caller();
        let (given, placed) = (watch.name("given".into()), watch.name(here.into()));
        assert_eq!(watch.name("given".into()), given);
        assert_eq!(watch.name(here.into()), placed);
        assert_eq!(watch.describe(Doing::Task(given)), "given");
        assert_eq!(watch.describe(Doing::Task(placed)), format!("{}:{}", file!(), here.line()));
    }

    #[test]
    fn names_beyond_the_last_number_do_not_take_that_of_another() {
        let watch = Watch::new(0);
        let name = |number: u32| &*Box::leak(number.to_string().into_boxed_str());
        let ids: Vec<_> = (0..=1 << 16).map(|number| watch.name(name(number).into())).collect();
        assert_eq!(watch.describe(Doing::Task(ids[1 << 16])), "one of too many tasks to be named");
        assert_eq!(watch.describe(Doing::Task(ids[7])), "7");
    }
}
