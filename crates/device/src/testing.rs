//! What the tests of all devices share: a pool, a source with a list of packets, and waiting.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use sunstar_packet::{Departure, FrameSource, Memory, Packet, Pool, PoolConfig, QueuePair};

/// A small pool of 2 KiB slots with a few staging slots.
pub(crate) fn pool() -> Pool {
    pool_with_loans(1_024)
}

/// The same with a limit on loans.
pub(crate) fn pool_with_loans(max_loans: usize) -> Pool {
    let config = PoolConfig { small_count: 512, staging_count: 32, max_loans, ..PoolConfig::default() };
    Pool::new(&Memory::new(), &config).expect("a small mapping succeeds")
}

/// Gives its packets one by one, and remembers what it was asked and told.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) packets: VecDeque<Packet>,
    pub(crate) departed: Vec<u64>,
    pub(crate) asked: usize,
}

impl Source {
    pub(crate) fn of(packets: impl IntoIterator<Item = Packet>) -> Self {
        Self { packets: packets.into_iter().collect(), ..Self::default() }
    }
}

impl FrameSource for Source {
    fn next(&mut self) -> Option<Packet> {
        self.asked += 1;
        self.packets.pop_front()
    }

    fn departed(&mut self, departure: Departure) {
        self.departed.push(departure.token);
    }
}

/// A packet of one buffer.
pub(crate) fn packet(pool: &Pool, bytes: &[u8]) -> Packet {
    Packet::new(pool.copy_of(bytes).expect("the pool has room"))
}

/// The same, whose departure is told with `token`.
pub(crate) fn packet_with_token(pool: &Pool, bytes: &[u8], token: u64) -> Packet {
    let mut packet = packet(pool, bytes);
    packet.notes.departure = Some(Departure { provider: 0, token, weight: 0 });
    packet
}

/// Everything there is to receive.
pub(crate) fn receive_all(device: &mut impl QueuePair, pool: &Pool) -> Vec<Packet> {
    let mut frames = Vec::new();
    while device.receive(pool, 32, &mut frames).expect("the device works") > 0 {}
    frames
}

/// Their bytes.
pub(crate) fn bytes_of(frames: &[Packet]) -> Vec<Vec<u8>> {
    frames.iter().map(Packet::to_vec).collect()
}

/// Sleeps on a device's descriptor; false when nothing happened for `seconds`.
pub(crate) fn sleep_on(device: &impl QueuePair, seconds: i64) -> bool {
    let descriptor = device.descriptor().expect("the device can be slept on");
    let mut wait = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN)];
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    rustix::event::poll(&mut wait, Some(&timeout)).expect("polling works") > 0
}
