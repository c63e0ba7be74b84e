//! One queue pair of a tap: a descriptor that gives one frame a read and takes one frame a write.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use sunstar_packet::{
    Buffer, Capabilities, Departure, DeviceCounters, DeviceError, FrameSource, HEADROOM, LinkState,
    MAX_FRAGMENTS, Packet, Pool, QueuePair, SizeClass,
};

use super::system::Interface;
use super::vnet_header;

/// Bytes of the longest frame with its header: the largest IP packet behind Ethernet with a tag.
const LONGEST: usize = vnet_header::LEN + 18 + 65_535;
/// A packet in several pieces is copied together up to this length, and written piecewise above it. Measured
/// with two pieces: one write saves 9 % at 1,514 bytes and nothing at 7,000; writev saves 20 % at 65,000.
const COPY_LIMIT: usize = 7_000;

/// One queue pair of a tap. May be given to the thread that will use it.
///
/// A frame that the kernel has no room for now, or that met an interface that is down, is kept (one only), and
/// nothing is pulled until it went. While the interface is down there is no notification of its
/// return: a shard asks [`QueuePair::link`] now and then, and pulls again once it is up.
#[derive(Debug)]
pub struct TapQueue {
    file: OwnedFd,
    interface: Interface,
    capabilities: Capabilities,
    counters: DeviceCounters,
    /// The frame that waits in `scratch`.
    kept: Option<Kept>,
    /// Where a packet's pieces are copied together.
    scratch: Vec<u8>,
    /// Where a frame is read when no staging buffer is free: small ones must still get through.
    landing: Box<[u8]>,
}

/// A frame that did not go.
#[derive(Clone, Copy, Debug)]
struct Kept {
    departure: Option<Departure>,
    segmented: bool,
    link_was_down: bool,
}

/// What became of a frame at the kernel.
enum Written {
    Sent,
    NotNow { link_is_down: bool },
    Refused,
}

impl TapQueue {
    pub(super) fn new(file: OwnedFd, interface: Interface, capabilities: Capabilities) -> Self {
        Self {
            file,
            interface,
            capabilities,
            counters: DeviceCounters::default(),
            kept: None,
            scratch: Vec::new(),
            landing: vec![0; LONGEST].into_boxed_slice(),
        }
    }

    /// The descriptor, for requests to the tap.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Tries the kept frame again; whether none is kept now.
    fn send_kept(&mut self, source: &mut impl FrameSource) -> Result<bool, DeviceError> {
        let Some(kept) = self.kept else { return Ok(true) };
        let written = outcome(rustix::io::write(&self.file, &self.scratch))?;
        if let Written::NotNow { link_is_down } = written {
            self.kept = Some(Kept { link_was_down: link_is_down, ..kept });
            return Ok(false);
        }
        self.kept = None;
        self.count_sent(&written, self.scratch.len() - vnet_header::LEN, kept.segmented);
        if let Some(departure) = kept.departure {
            source.departed(departure);
        }
        Ok(true)
    }

    /// Writes a packet, or keeps it. Whether it is gone.
    fn send(&mut self, mut packet: Packet) -> Result<bool, DeviceError> {
        let header = vnet_header::build(&packet);
        let (len, segmented) = (packet.len(), packet.notes.segmentation.is_some());
        let alone = packet.fragments().len() == 1;
        let whole =
            alone && packet.prepend(vnet_header::LEN).map(|room| room.copy_from_slice(&header)).is_some();
        let written = outcome(if whole {
            rustix::io::write(&self.file, packet.head())
        } else if len <= COPY_LIMIT || packet.fragments().len() > MAX_FRAGMENTS {
            self.copy_together(&header, &packet);
            rustix::io::write(&self.file, &self.scratch)
        } else {
            let mut pieces = [IoSlice::new(&header); MAX_FRAGMENTS + 1];
            for (piece, fragment) in pieces[1..].iter_mut().zip(packet.fragments()) {
                *piece = IoSlice::new(fragment);
            }
            rustix::io::writev(&self.file, &pieces[..=packet.fragments().len()])
        })?;
        if let Written::NotNow { link_is_down } = written {
            self.copy_together(if whole { &[] } else { &header }, &packet);
            let departure = packet.notes.departure;
            self.kept = Some(Kept { departure, segmented, link_was_down: link_is_down });
            return Ok(false);
        }
        self.count_sent(&written, len, segmented);
        Ok(true)
    }

    fn copy_together(&mut self, header: &[u8], packet: &Packet) {
        self.scratch.clear();
        self.scratch.extend_from_slice(header);
        for fragment in packet.fragments() {
            self.scratch.extend_from_slice(fragment);
        }
    }

    fn count_sent(&mut self, written: &Written, len: usize, segmented: bool) {
        if let Written::Sent = written {
            self.counters.sent += 1;
            self.counters.sent_bytes += len as u64;
            self.counters.segmented += u64::from(segmented);
        } else {
            self.counters.refused += 1;
        }
    }

    /// Reads one frame into `spare`, a staging buffer that stays for the next read unless the frame is
    /// so large that it is handed up where it is. Whether there was a frame.
    fn read(
        &mut self,
        pool: &Pool,
        spare: &mut Option<Buffer>,
        frames: &mut Vec<Packet>,
    ) -> Result<bool, DeviceError> {
        let mut staging = spare.take().or_else(|| pool.allocate(SizeClass::Staging, HEADROOM));
        let into = match staging.as_mut().and_then(|staging| staging.append(LONGEST)) {
            Some(room) => room,
            None => &mut self.landing[..],
        };
        let read = match rustix::io::retry_on_intr(|| rustix::io::read(&self.file, &mut *into)) {
            Ok(read) => read,
            Err(Errno::AGAIN) => return Ok(false),
            Err(errno) => return Err(failed("reading from", errno)),
        };
        let Some((header, frame)) = into[..read].split_first_chunk() else {
            self.counters.bad_notes += 1;
            return Ok(true);
        };
        let Some(notes) = vnet_header::parse(*header, frame) else {
            self.counters.bad_notes += 1;
            return Ok(true);
        };
        let len = frame.len();
        let small = pool.class_for(len) == Some(SizeClass::Small);
        let buffer = match staging {
            _ if small => {
                let copy = pool.copy_of(frame);
                *spare = staging.map(|mut staging| {
                    staging.truncate(0);
                    staging
                });
                copy
            }
            Some(mut staging) => {
                staging.truncate(read);
                staging.trim_front(vnet_header::LEN);
                Some(staging)
            }
            None => None,
        };
        let Some(buffer) = buffer else {
            self.counters.no_buffer += 1;
            return Ok(true);
        };
        self.counters.received += 1;
        self.counters.received_bytes += len as u64;
        self.counters.coalesced += u64::from(notes.segmentation.is_some());
        let mut packet = Packet::new(buffer);
        packet.notes = notes;
        frames.push(packet);
        Ok(true)
    }
}

/// What a write came to; an error when the tap is gone.
fn outcome(written: Result<usize, Errno>) -> Result<Written, DeviceError> {
    match written {
        Ok(_) => Ok(Written::Sent),
        Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => {
            Ok(Written::NotNow { link_is_down: false })
        }
        // The driver's answer while the interface is not up.
        Err(Errno::IO) => Ok(Written::NotNow { link_is_down: true }),
        Err(Errno::INVAL | Errno::MSGSIZE) => Ok(Written::Refused),
        Err(errno) => Err(failed("writing to", errno)),
    }
}

fn failed(action: &str, errno: Errno) -> DeviceError {
    let cause = if errno == Errno::BADFD { " (the interface was deleted)" } else { "" };
    DeviceError { reason: format!("{action} the tap: {errno}{cause}") }
}

impl QueuePair for TapQueue {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn pull(
        &mut self,
        _pool: &Pool,
        budget: usize,
        source: &mut impl FrameSource,
    ) -> Result<usize, DeviceError> {
        let mut taken = 0;
        let mut has_room = self.send_kept(source)?;
        while has_room && taken < budget {
            let Some(packet) = source.next() else { break };
            taken += 1;
            let departure = packet.notes.departure;
            has_room = self.send(packet)?;
            if let Some(departure) = departure.filter(|_| has_room) {
                source.departed(departure);
            }
        }
        Ok(taken)
    }

    fn receive(
        &mut self,
        pool: &Pool,
        budget: usize,
        frames: &mut Vec<Packet>,
    ) -> Result<usize, DeviceError> {
        let before = frames.len();
        let mut spare = None;
        for _ in 0..budget {
            if !self.read(pool, &mut spare, frames)? {
                break;
            }
        }
        Ok(frames.len() - before)
    }

    fn link(&self) -> LinkState {
        let wanted = libc::IFF_UP | libc::IFF_RUNNING;
        match self.interface.flags() {
            Ok(flags) if flags & wanted == wanted => LinkState::Up,
            _ => LinkState::Down,
        }
    }

    fn arm(&mut self, wants_room: bool) -> bool {
        let waits = self.kept.filter(|_| wants_room);
        // The descriptor is waited on for reading, so nobody would be told of room.
        if waits.is_some_and(|kept| !kept.link_was_down) {
            return true;
        }
        let events = if waits.is_some() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut poll = [PollFd::from_borrowed_fd(self.file.as_fd(), events)];
        // A failing poll says no more than that the next read will fail, too.
        rustix::event::poll(&mut poll, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn counters(&self) -> DeviceCounters {
        self.counters
    }
}
