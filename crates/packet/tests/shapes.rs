//! The shapes of device that buffers serve: a tap, rings that share memory with a device which may lie, and memory
//! that a peer process writes whenever it likes.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use sunstar_packet::{Memory, Packet, Pool, PoolConfig, Region, RegionKind, SharedFrame, SizeClass};

const SMALL: usize = 2_048;

fn pool(small_count: usize, staging_count: usize) -> Pool {
    let config = PoolConfig { small_size: SMALL, small_count, staging_count, ..PoolConfig::default() };
    Pool::new(&Memory::new(), &config).expect("a small mapping succeeds")
}

/// A tap: every read may be 64 KiB long, and how long it is is known only afterwards.
struct Tap {
    frames: VecDeque<Vec<u8>>,
}

impl Tap {
    fn read(&mut self, into: &mut [u8]) -> Option<usize> {
        let frame = self.frames.pop_front()?;
        into[..frame.len()].copy_from_slice(&frame);
        Some(frame.len())
    }

    fn receive(&mut self, pool: &Pool) -> Vec<Packet> {
        let mut received = Vec::new();
        let Some(mut staging) = pool.allocate(SizeClass::Staging, 64) else { return received };
        loop {
            let room = staging.tailroom();
            let space = staging.append(room).expect("nobody else has it");
            let Some(len) = self.read(space) else { return received };
            staging.truncate(len);
            if pool.class_for(len) == Some(SizeClass::Small) {
                received.push(Packet::new(pool.copy_of(&staging).expect("small slots are left")));
                staging.truncate(0);
                continue;
            }
            let Some(next) = pool.allocate(SizeClass::Staging, 64) else {
                received.push(Packet::new(staging));
                return received;
            };
            received.push(Packet::new(std::mem::replace(&mut staging, next)));
        }
    }
}

#[test]
fn a_tap_reads_into_one_staging_slot_and_keeps_it_only_for_large_frames() {
    let pool = pool(64, 4);
    let lengths = [60, 1_514, 65_536 + 14, 60, 1_838, 1_856, 1_857, 9_000, 60, 42];
    let frames: VecDeque<Vec<u8>> = (1u8..).zip(lengths).map(|(byte, len)| vec![byte; len]).collect();
    let mut tap = Tap { frames: frames.clone() };
    let received = tap.receive(&pool);
    let (mut taken, mut small) = (0, 0);
    for (packet, frame) in received.iter().zip(&frames) {
        assert_eq!(packet.head(), &frame[..]);
        small += usize::from(packet.true_size() == SMALL);
        taken += 1;
    }
    assert_eq!((taken, small), (10, 7));
    assert_eq!(
        (pool.out(SizeClass::Small), pool.out(SizeClass::Staging)),
        (7, 3),
        "the fourth is free again"
    );
    drop(received);
    assert_eq!(pool.buffers_out(), 0);
}

#[test]
fn a_tap_without_staging_slots_reads_nothing_until_one_is_home() {
    let pool = pool(4, 1);
    let mut tap = Tap { frames: [vec![1; 60_000], vec![2; 60_000]].into() };
    let first = tap.receive(&pool);
    assert_eq!((first.len(), tap.receive(&pool).len(), tap.frames.len()), (1, 0, 1));
    drop(first);
    assert_eq!(tap.receive(&pool)[0].head(), [2; 60_000]);
}

/// What a device with AF_XDP's four rings sees: memory, and descriptors in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Descriptor {
    address: usize,
    len: usize,
}

struct Device {
    memory: NonNull<u8>,
    fill: VecDeque<usize>,
    received: VecDeque<Descriptor>,
    transmit: VecDeque<Descriptor>,
    completed: VecDeque<usize>,
}

impl Device {
    /// A frame comes in from the wire.
    fn deliver(&mut self, frame: &[u8]) -> bool {
        let Some(slot) = self.fill.pop_front() else { return false };
        let address = slot + 256;
        // SAFETY: the slot is the device's while it is on the fill ring, and is `SMALL` bytes long.
        unsafe {
            self.memory.add(address).copy_from_nonoverlapping(NonNull::from(frame).cast(), frame.len())
        };
        self.received.push_back(Descriptor { address, len: frame.len() });
        true
    }

    /// A frame goes out to the wire.
    fn depart(&mut self) -> Option<Vec<u8>> {
        let Descriptor { address, len } = self.transmit.pop_front()?;
        // SAFETY: the slot is the device's while it is on the transmit ring.
        let frame = unsafe { NonNull::slice_from_raw_parts(self.memory.add(address), len).as_ref() }.to_vec();
        self.completed.push_back(address);
        Some(frame)
    }
}

/// The stack's end of those rings.
struct Rings {
    pool: Pool,
    device: Device,
    lies: usize,
}

impl Rings {
    fn new(pool: Pool) -> Self {
        let (memory, _) = pool.memory_range();
        let [fill, completed] = [VecDeque::new(), VecDeque::new()];
        let device = Device { memory, fill, received: VecDeque::new(), transmit: VecDeque::new(), completed };
        Self { pool, device, lies: 0 }
    }

    fn refill(&mut self, ring_size: usize) {
        while self.device.fill.len() < ring_size {
            let Some(buffer) = self.pool.allocate(SizeClass::Small, 0) else { return };
            let (_, offset) = self.pool.give_to_ring(buffer).expect("it is fresh");
            self.device.fill.push_back(offset);
        }
    }

    fn receive(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while let Some(Descriptor { address, len }) = self.device.received.pop_front() {
            let slot = u32::try_from(address / SMALL).unwrap_or(u32::MAX);
            // SAFETY: the device has put the slot on its receive ring, and does not touch it any more.
            match unsafe { self.pool.take_from_ring(slot, address % SMALL, len) } {
                Some(buffer) => packets.push(Packet::new(buffer)),
                None => self.lies += 1,
            }
        }
        packets
    }

    /// A packet that is not one buffer of this pool's own, or that somebody else holds, is copied first.
    fn send(&mut self, packet: Packet) -> bool {
        let copy = packet.copied_into(&self.pool);
        let Some(packet) = copy else { return false };
        let Some(sunstar_packet::Fragment::Buffer(buffer)) = packet.into_fragments().next() else {
            return false;
        };
        let (start, len) = (buffer.headroom(), buffer.len());
        let (_, offset) = self.pool.give_to_ring(buffer).expect("the copy is this pool's and nobody else's");
        self.device.transmit.push_back(Descriptor { address: offset + start, len });
        true
    }

    fn complete(&mut self) {
        while let Some(address) = self.device.completed.pop_front() {
            let slot = u32::try_from(address / SMALL).unwrap_or(u32::MAX);
            // SAFETY: the device has put the slot on its completion ring, and does not touch it any more.
            if unsafe { self.pool.take_from_ring(slot, 0, 0) }.is_none() {
                self.lies += 1;
            }
        }
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        // SAFETY: the device is dropped here, and its rings with it.
        unsafe { self.pool.clear_rings() };
    }
}

#[test]
fn frames_of_a_ring_are_given_back_and_come_round_again() {
    let pool = pool(32, 0);
    let mut rings = Rings::new(pool.clone());
    for round in 0..100u8 {
        rings.refill(8);
        for frame in 0..8 {
            assert!(rings.device.deliver(&[round, frame, 3]));
        }
        assert!(!rings.device.deliver(b"no slot on the fill ring"));
        for (frame, packet) in rings.receive().into_iter().enumerate() {
            assert_eq!(packet.head(), [round, frame as u8, 3]);
            assert!(rings.send(packet));
            assert_eq!(rings.device.depart(), Some(vec![round, frame as u8, 3]));
        }
        rings.complete();
        assert_eq!(pool.buffers_out(), 0, "in round {round}");
    }
    rings.refill(8);
    assert_eq!((pool.buffers_out(), rings.lies), (8, 0));
    drop(rings);
    assert_eq!(pool.buffers_out(), 0, "a closed device has none");
}

#[test]
fn a_device_that_lies_about_its_rings_gets_no_slot_that_is_not_its_own() {
    let pool = pool(32, 0);
    let mut rings = Rings::new(pool.clone());
    let mine = pool.copy_of(b"never in any ring").unwrap();
    let mine_at = mine.as_ptr() as usize - rings.device.memory.as_ptr() as usize;
    rings.refill(4);
    assert!(rings.device.deliver(b"true"));
    let truth = rings.device.received[0];
    let still_filling = rings.device.fill[0];
    let false_ones = [
        Descriptor { address: mine_at, len: 4 },
        Descriptor { address: 20 * SMALL, len: 4 },
        Descriptor { address: usize::MAX, len: 4 },
        Descriptor { address: 32 * SMALL, len: 4 },
        Descriptor { address: still_filling + 2_000, len: 49 },
        Descriptor { address: still_filling + 1, len: usize::MAX },
        truth,
        truth,
    ];
    rings.device.received.extend(false_ones);
    let packets = rings.receive();
    assert_eq!((packets.len(), packets[0].head(), rings.lies), (1, &b"true"[..], 8));
    rings.device.completed.extend([truth.address, mine_at, usize::MAX]);
    rings.complete();
    assert_eq!((rings.lies, &mine[..]), (11, &b"never in any ring"[..]));
    drop((packets, mine));
    drop(rings);
    assert_eq!((pool.buffers_out(), pool.free(SizeClass::Small)), (0, 32));
}

#[test]
fn a_frame_held_or_lent_above_is_out_of_the_devices_reach_until_it_is_let_go() {
    let pool = pool(4, 0);
    let mut rings = Rings::new(pool.clone());
    rings.refill(4);
    (0..4u8).for_each(|frame| assert!(rings.device.deliver(&[frame])));
    let mut packets = rings.receive().into_iter();
    let held = packets.next().unwrap();
    let loan = packets.next().unwrap().lend(&pool).unwrap();
    drop(packets);
    rings.refill(4);
    assert_eq!(rings.device.fill.len(), 2);
    while rings.device.deliver(&[0xFF; 1_000]) {}
    assert_eq!((held.head(), loan.pieces().next()), (&[0][..], Some(&[1][..])));
    drop((held, loan));
    assert_eq!(pool.collect(), 1);
    rings.refill(2);
    assert_eq!(rings.device.fill.len(), 2);
}

#[test]
fn what_was_copied_out_of_a_peers_memory_does_not_change_while_the_peer_scribbles() {
    const FRAME: usize = 1_499;
    let region = Region::new(RegionKind::MemoryFile, 4_096).unwrap();
    let peer = PeerView::of(&region);
    // SAFETY: `region` outlives the view.
    let frame = unsafe { SharedFrame::new(region.base().add(3), FRAME) };
    let (pool, quiet) = (pool(4, 0), AtomicBool::new(false));
    let mut torn = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in (0..=u8::MAX).cycle() {
                peer.bytes().iter().for_each(|byte| byte.store(value, Ordering::Relaxed));
                if quiet.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..1_000 {
            let copy = pool.copy_of_shared(&frame).unwrap();
            let first = copy.to_vec();
            std::thread::yield_now();
            assert_eq!(copy[..], first[..], "private once it is copied");
            torn += usize::from(first.iter().any(|byte| *byte != first[0]));
        }
        quiet.store(true, Ordering::Relaxed);
    });
    assert!(torn > 0, "the peer did write while frames were copied");
    assert_eq!(pool.buffers_out(), 0);
}

/// The same memory file mapped once more, as in another process.
struct PeerView(NonNull<u8>, usize);

// SAFETY: an address and a length; the bytes are reached as atomics only.
unsafe impl Sync for PeerView {}

impl PeerView {
    fn of(region: &Region) -> Self {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let file = region.file().expect("it is a memory file");
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let base = unsafe { mmap(std::ptr::null_mut(), region.len(), access, MapFlags::SHARED, file, 0) };
        Self(
            NonNull::new(base.expect("a page can be mapped").cast()).expect("it is not at zero"),
            region.len(),
        )
    }

    fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: mapped until drop, and seen through this view as atomics only.
        unsafe { NonNull::slice_from_raw_parts(self.0.cast::<AtomicU8>(), self.1).as_ref() }
    }
}

impl Drop for PeerView {
    fn drop(&mut self) {
        // SAFETY: mapped by `of`; no reference is left.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), self.1) };
    }
}
