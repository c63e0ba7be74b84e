//! Steering in the kernel: a program that has a tap of several queues behave like a network card with RSS.
//!
//! By itself a tap puts a flow on the queue that last sent for it, which is a guess for the first frame of each flow,
//! and none at all for what has no ports. The program picks the queue that the stack's own steering would pick: port
//! owner first, else the Toeplitz hash of the flow key and the indirection table (Microsoft RSS specification, "RSS
//! Hashing Types"). What it cannot tell goes to queue 0. So the software that steers behind a tap finds every frame
//! where it belongs, and still may find one elsewhere: while a table changes, or where no program could be loaded.
//!
//! A frame takes it 50 to 100 ns, which is no more than the tap's own choice takes (measured: decision 0005).

mod assembler;
mod map;
mod program;
mod system;

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::TapQueue;
use map::{ENTRIES, KEY_LEN, Map};

/// Bytes of a frame that the program looks at, and more: Ethernet with a tag, the longest IPv4 header, ICMP, the longest
/// IPv4 header once more, and ports are 154.
const LOOKED_AT: usize = 256;
/// Bytes of the longest frame that the kernel may find too short to try: with an IPv6 header, less one.
const TOO_SHORT: usize = 53;
/// Room for what the verifier has to say, and how much of its end is passed on: there it says what is wrong.
const LOG_LEN: usize = 1 << 20;
const LOG_LINES: usize = 40;

/// What numbers a port is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortSpace {
    /// Ports of TCP.
    Tcp,
    /// Ports of UDP.
    Udp,
    /// Identifiers of ICMP echo requests, which their replies come back with.
    Icmp,
}

impl PortSpace {
    const ALL: usize = 3;
}

/// Why a tap does not steer.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// The process may not load programs into the kernel.
    #[error(
        "not permitted to {action}: that takes CAP_BPF and CAP_PERFMON. Run as root, or give the program the \
         capabilities once (`sudo setcap cap_bpf,cap_perfmon,cap_net_admin+ep PROGRAM`); a user namespace (`unshare \
         -Urn`) cannot have them. Without them the stack steers in software, with the same results and some frames \
         handed from shard to shard"
    )]
    NotPermitted {
        /// What was refused.
        action: &'static str,
    },
    /// The kernel's verifier refused the program.
    #[error(
        "the kernel refuses the steering program ({errno}), which is a fault of ours: please report the kernel's \
         version and this, and leave steering to the stack until it is mended:\n{log}"
    )]
    Rejected {
        /// What the system said.
        errno: Errno,
        /// The end of what the verifier said.
        log: String,
    },
    /// The indirection table has a length that no hash's low bits can point into.
    #[error("an indirection table has 1 to 512 entries, and a power of two of them, not {entries}")]
    Entries {
        /// The number of entries.
        entries: usize,
    },
    /// A frame ends inside its Ethernet header, or inside an IP header directly behind that.
    #[error(
        "the kernel tries no frame of {length} bytes: give the whole Ethernet header (14 bytes), and with it the whole \
         header of IPv4 or IPv6 if its type is that (34 and 54 bytes)"
    )]
    ShortFrame {
        /// Bytes of the frame.
        length: usize,
    },
    /// Something else.
    #[error(
        "cannot {action}: {errno}; steering by a tap takes Linux 5.5 or later with BPF. Without it the stack steers in \
         software, with the same results"
    )]
    System {
        /// What failed.
        action: &'static str,
        /// What the system said.
        errno: Errno,
    },
}

/// A program in the kernel that picks a tap's queue for each frame as the stack's own steering would.
///
/// A tap that uses it keeps it when this value is dropped, as it was at last, until another takes its place, it is taken
/// off ([`TapSteering::detach`]), or the tap is gone. Queues are counted as [`Tap::open`](super::Tap::open) gives
/// them; the kernel takes a number that is too large modulo how many there are.
#[derive(Debug)]
pub struct TapSteering {
    program: OwnedFd,
    map: Map,
}

impl TapSteering {
    /// Loads the program for a Toeplitz key. Everything goes to queue 0 until the table is set.
    ///
    /// # Errors
    /// [`SteeringError::NotPermitted`] without CAP_BPF and CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN); else what
    /// the kernel has against it.
    pub fn load(key: &[u8; KEY_LEN]) -> Result<Self, SteeringError> {
        if !may_load() {
            return Err(SteeringError::NotPermitted { action: "load the steering program" });
        }
        let map = Map::new(key).map_err(|errno| failure("make the tables of the steering program", errno))?;
        let instructions = program::steering_program(map.file());
        let program = system::load(&instructions, None).map_err(|errno| refusal(&instructions, errno))?;
        Ok(Self { program, map })
    }

    /// Sets the queue of each entry of the indirection table, which the low bits of a hash point to: 128 or 512 of
    /// them, or another power of two up to 512.
    ///
    /// Entries change one after the other, as in a network card: a frame meets the old entry or the new one.
    ///
    /// # Errors
    /// [`SteeringError::Entries`] for another number of them; then nothing changes.
    pub fn set_table(&mut self, queues: &[u16]) -> Result<(), SteeringError> {
        let entries = queues.len();
        if entries > ENTRIES || !entries.is_power_of_two() {
            return Err(SteeringError::Entries { entries });
        }
        self.map.set_entries(queues);
        Ok(())
    }

    /// Sets the queue that takes everything for a port, or the replies to an ICMP echo identifier. With `None` (and
    /// with 65,535, a queue that no tap has) the hash decides.
    ///
    /// This is a store to memory that the program reads: no system call, and the next frame meets it.
    pub fn set_owner(&self, space: PortSpace, port: u16, queue: Option<u16>) {
        self.map.set_owner(space, port, queue);
    }

    /// Has a tap, of which any queue is given, use the program.
    ///
    /// # Errors
    /// [`SteeringError::System`] when the tap is gone, or the kernel (before Linux 4.16) knows no such program.
    pub fn attach(&self, queue: &TapQueue) -> Result<(), SteeringError> {
        system::set_steering(queue.file(), Some(self.program.as_fd()))
            .map_err(|errno| failure("have the tap use the steering program", errno))
    }

    /// Has a tap, of which any queue is given, pick queues by itself again, whatever program it used.
    ///
    /// # Errors
    /// [`SteeringError::System`] when the tap is gone.
    pub fn detach(queue: &TapQueue) -> Result<(), SteeringError> {
        system::set_steering(queue.file(), None)
            .map_err(|errno| failure("take the steering program off the tap", errno))
    }

    /// Runs the program over a frame without sending it: the queue it would pick, before the kernel takes that modulo
    /// the tap's queues.
    ///
    /// # Errors
    /// [`SteeringError::ShortFrame`] for a frame that ends inside its Ethernet or IP header, which the kernel does not
    /// try (sent to a tap, it goes to queue 0); [`SteeringError::NotPermitted`] if the process has lost CAP_BPF since
    /// the program was loaded.
    pub fn run(&self, frame: &[u8]) -> Result<u32, SteeringError> {
        self.run_often(frame, 1).map(|run| run.answer)
    }

    fn run_often(&self, frame: &[u8], times: u32) -> Result<system::Run, SteeringError> {
        // The kernel takes no large frames in one piece here, and nobody looks at their ends.
        let looked_at = frame.get(..LOOKED_AT).unwrap_or(frame);
        system::run(self.program.as_fd(), looked_at, times).map_err(|errno| match errno {
            Errno::INVAL if frame.len() <= TOO_SHORT => SteeringError::ShortFrame { length: frame.len() },
            errno => failure("run the steering program", errno),
        })
    }
}

/// Whether this thread has the rights, as far as it can know: those of a user namespace are not worth as much.
///
/// Without CAP_PERFMON the verifier follows what a processor might do by mistake at each look-up in a table. Those paths
/// double with each of them, and after a million steps, which take seconds, it gives up with an error that tells nothing.
fn may_load() -> bool {
    let both = CapabilitySet::BPF | CapabilitySet::PERFMON;
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(both) || sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// What to say of a program that was not loaded. The verifier is heard in a second attempt: its words take time.
fn refusal(instructions: &[assembler::Instruction], errno: Errno) -> SteeringError {
    let mut log = vec![0; LOG_LEN];
    // That this fails too, and with what, is known.
    drop(system::load(instructions, Some(&mut log)));
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    match last_lines(&String::from_utf8_lossy(&log[..end])) {
        log if log.is_empty() => failure("load the steering program", errno),
        log => SteeringError::Rejected { errno, log },
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

fn failure(action: &'static str, errno: Errno) -> SteeringError {
    match errno {
        Errno::PERM | Errno::ACCESS => SteeringError::NotPermitted { action },
        errno => SteeringError::System { action, errno },
    }
}

#[cfg(test)]
mod tests;
