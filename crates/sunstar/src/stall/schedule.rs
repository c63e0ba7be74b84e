//! How the kernel treats a thread: what it gave it, and what it kept it waiting for (proc_pid_stat(5), and
//! Documentation/scheduler/sched-stats.rst of the kernel's source).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Where a thread stands with the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Time spent on a processor, as of the kernel's last tick.
    pub(super) processor: Duration,
    /// Time spent waiting for a processor, without the wait that is not over.
    pub(super) queued: Duration,
    /// Whether it waits for something else than a processor: it called the kernel, and has no answer yet.
    pub(super) blocked: bool,
}

/// The files in which the kernel says it of one thread. Reading both takes 4 microseconds.
#[derive(Debug)]
pub(super) struct ScheduleFiles {
    schedstat: File,
    stat: File,
}

impl ScheduleFiles {
    /// Those of the calling thread, to be read by any; `None` where there are none.
    pub(super) fn of_this_thread() -> Option<Self> {
        let open = |name: &str| File::open(format!("/proc/thread-self/{name}")).ok();
        Some(Self { schedstat: open("schedstat")?, stat: open("stat")? })
    }

    /// What they say now.
    pub(super) fn read(&self) -> Option<Schedule> {
        // The kernel writes the text anew for whoever reads from its start, and no more than this is needed of it.
        let mut buffer = [0; 128];
        let read = self.schedstat.read_at(&mut buffer, 0).ok()?;
        let (processor, queued) = parse_schedstat(buffer.get(..read)?)?;
        let read = self.stat.read_at(&mut buffer, 0).ok()?;
        let blocked = is_blocked(buffer.get(..read)?)?;
        Some(Schedule { processor, queued, blocked })
    }
}

/// The first two numbers: nanoseconds on a processor, and nanoseconds waiting for one.
fn parse_schedstat(text: &[u8]) -> Option<(Duration, Duration)> {
    let mut numbers = std::str::from_utf8(text).ok()?.split_ascii_whitespace().map(str::parse);
    let mut next = || Some(Duration::from_nanos(numbers.next()?.ok()?));
    Some((next()?, next()?))
}

/// Whether the state, the letter after the name in parentheses, is one in which the thread waits for what it asked
/// for. A thread that somebody stopped has asked for nothing.
fn is_blocked(text: &[u8]) -> Option<bool> {
    let end_of_name = text.iter().rposition(|byte| *byte == b')')?;
    let state = text.get(end_of_name + 2)?;
    Some(matches!(state, b'S' | b'D'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_found_after_any_name() {
        assert_eq!(is_blocked(b"17 (sunstar) R 1 17 17 0 -1"), Some(false));
        assert_eq!(is_blocked(b"17 (a) S (b) D 1 17 17 0 -1"), Some(true));
        assert_eq!(is_blocked(b"17 (stopped) T 1 17 17 0 -1"), Some(false));
        assert_eq!(is_blocked(b"17 (cut off)"), None);
        assert_eq!(is_blocked(b""), None);
    }

    #[test]
    fn times_are_nanoseconds() {
        let expected = (Duration::from_millis(12), Duration::from_micros(3));
        assert_eq!(parse_schedstat(b"12000000 3000 17\n"), Some(expected));
        assert_eq!(parse_schedstat(b"12000000"), None);
        assert_eq!(parse_schedstat(b"many few"), None);
    }

    #[test]
    fn this_thread_is_running() {
        let files = ScheduleFiles::of_this_thread().unwrap();
        assert!(!files.read().unwrap().blocked);
    }
}
