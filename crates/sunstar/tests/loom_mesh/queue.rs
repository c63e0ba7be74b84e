//! Shards that send through a sibling's queue: frames one way, credits and news of departures the other.

use loom::thread;
use sunstar_packet::{Capabilities, Departure, DeviceError, FrameSource, Memory, Packet, Pool, QueuePair};
use sunstar_stack::steering::ShardId;

use crate::mesh::{CREDITS, MeshConfig, MeshEnd, ProxyQueue, SharedQueue, Sharing, join, share};
use crate::{explore, pool};

/// A device with room for one frame in a turn, which leaves at once.
#[derive(Default)]
struct Device {
    /// By sender.
    sent: [Vec<u8>; 3],
}

impl QueuePair for Device {
    fn capabilities(&self) -> Capabilities {
        Capabilities::ethernet([2, 0, 0, 0, 0, 1], 1_500)
    }

    fn pull(&mut self, _: &Pool, _: usize, source: &mut impl FrameSource) -> Result<usize, DeviceError> {
        let Some(frame) = source.next() else { return Ok(0) };
        let departure = frame.notes.departure.unwrap();
        let bytes = frame.to_vec();
        self.sent[usize::from(bytes[0])].push(bytes[1]);
        drop(frame);
        source.departed(departure);
        Ok(1)
    }

    fn receive(&mut self, _: &Pool, _: usize, _: &mut Vec<Packet>) -> Result<usize, DeviceError> {
        Ok(0)
    }

    fn arm(&mut self, wants_room: bool) -> bool {
        wants_room
    }
}

/// What a shard has to send; it hears of each that has left.
struct Frames<'a> {
    shard: u8,
    pool: &'a Pool,
    count: u8,
    built: u8,
    left: u8,
}

impl FrameSource for Frames<'_> {
    fn next(&mut self) -> Option<Packet> {
        if self.built == self.count {
            return None;
        }
        self.pool.collect();
        let mut packet = Packet::new(self.pool.copy_of(&[self.shard, self.built]).unwrap());
        let token = u64::from(self.built);
        packet.notes.departure = Some(Departure { provider: 0, token, weight: 1 });
        self.built += 1;
        Some(packet)
    }

    fn departed(&mut self, departure: Departure) {
        assert_eq!(departure, Departure { provider: 0, token: u64::from(self.left), weight: 1 });
        self.left += 1;
    }
}

/// As a driver does: the alarm is asked first, and the queue is looked at after that.
fn sleep(end: &mut MeshEnd, queue: &mut impl QueuePair, wants_room: bool) {
    if !end.arm(wants_room) && !queue.arm(wants_room) {
        end.alarm().sleep();
    }
}

/// The shard at the other side of a proxy, with so many frames. What its queue came to.
fn send(mut end: MeshEnd, mut proxy: ProxyQueue, count: u8) -> Result<(), DeviceError> {
    let pool = pool(&Memory::new());
    let mut frames = Frames { shard: end.shard().0 as u8, pool: &pool, count, built: 0, left: 0 };
    loop {
        proxy.pull(&pool, 64, &mut frames)?;
        if frames.left == count {
            break;
        }
        let wants_room = frames.built < count || proxy.wants_room();
        sleep(&mut end, &mut proxy, wants_room);
    }
    pool.collect();
    assert_eq!((proxy.outstanding(), pool.buffers_out()), (0, 0), "what has left is home");
    Ok(())
}

/// The shard whose queue it is, until so many frames have left. It has none of its own.
fn own(mut end: MeshEnd, sharing: Sharing, frames: usize) -> SharedQueue<Device> {
    let pool = pool(&Memory::new());
    let mut queue = SharedQueue::new(Device::default(), sharing);
    let mut nothing = Frames { shard: 0, pool: &pool, count: 0, built: 0, left: 0 };
    loop {
        queue.pull(&pool, 64, &mut nothing).unwrap();
        if queue.device().sent.concat().len() == frames {
            return queue;
        }
        let wants_room = queue.wants_room();
        sleep(&mut end, &mut queue, wants_room);
    }
}

/// Shards that share the first one's queue: their ends, and what each of them sends through.
fn shards<const OTHERS: usize>() -> (MeshEnd, Sharing, [(MeshEnd, ProxyQueue); OTHERS]) {
    let mut ends = join(1 + OTHERS as u16, &MeshConfig { packets: 1, messages: 1 }).unwrap();
    let others: Vec<_> = ends[1..].iter().map(|end| (end.shard(), 1, end.alarm())).collect();
    let owner = (ShardId(0), 1, ends[0].alarm());
    let (sharing, proxies) = share(Device::default().capabilities(), owner, &others);
    let owner = ends.remove(0);
    let others: Vec<_> = ends.into_iter().zip(proxies).collect();
    (owner, sharing, others.try_into().unwrap())
}

#[test]
fn a_shard_with_more_frames_than_credits_sends_them_all_in_order_and_hears_of_each() {
    explore(2, || {
        let frames = CREDITS as u8 + 1;
        let (owner, sharing, [(end, proxy)]) = shards();
        let sender = thread::spawn(move || send(end, proxy, frames));
        let queue = own(owner, sharing, usize::from(frames));
        sender.join().unwrap().unwrap();
        assert_eq!(queue.device().sent[1], [0, 1, 2]);
    });
}

#[test]
fn two_shards_that_send_through_one_queue_wake_its_owner_and_are_woken_by_it() {
    explore(2, || {
        let (owner, sharing, others) = shards::<2>();
        let senders = others.map(|(end, proxy)| thread::spawn(move || send(end, proxy, 1)));
        let queue = own(owner, sharing, 2);
        for sender in senders {
            sender.join().unwrap().unwrap();
        }
        assert_eq!(queue.device().sent, [vec![], vec![0], vec![0]]);
    });
}

#[test]
fn a_shard_that_waits_for_credits_learns_that_the_queues_owner_has_ended() {
    explore(3, || {
        let (owner, sharing, [(end, proxy)]) = shards();
        let sender = thread::spawn(move || send(end, proxy, CREDITS as u8 + 1));
        // Its last frame may have left, and the news of it be lost with the owner.
        drop(own(owner, sharing, 1));
        assert!(sender.join().unwrap().is_err());
    });
}
