use std::collections::VecDeque;

use sunstar_packet::{
    Capabilities, Departure, DeviceError, FrameSource, LinkState, Memory, Packet, Pool, PoolConfig, QueuePair,
};

use sunstar_stack::InterfaceId;

use super::*;

const DEVICE: Arrival = Arrival::frame(InterfaceId::DEVICE);

fn pool(memory: &Memory) -> Pool {
    Pool::new(memory, &PoolConfig { small_count: 512, staging_count: 4, ..PoolConfig::default() }).unwrap()
}

fn packet(pool: &Pool, bytes: &[u8]) -> Packet {
    Packet::new(pool.copy_of(bytes).unwrap())
}

#[test]
fn packets_arrive_in_order_and_a_full_ring_gives_one_back() {
    let memory = Memory::new();
    let pool = pool(&memory);
    let mut ends = join(2, &MeshConfig { packets: 2, messages: 2 }).unwrap();
    let (mut one, mut zero) = (ends.pop().unwrap(), ends.pop().unwrap());
    for byte in 0..2 {
        let loan = packet(&pool, &[byte]).lend(&pool).unwrap();
        assert!(zero.forward(ShardId(1), DEVICE, loan).is_ok());
    }
    let third = packet(&pool, &[2]).lend(&pool).unwrap();
    assert!(zero.forward(ShardId(1), DEVICE, third).is_err());
    assert_eq!(one.depth().0, 2);
    for byte in 0..2 {
        let (arrival, loan) = one.receive().unwrap();
        assert_eq!((arrival, loan.pieces().next().unwrap()), (DEVICE, &[byte][..]));
    }
    assert!(one.receive().is_none());
    pool.collect();
    assert_eq!(pool.buffers_out(), 0);
}

#[test]
fn no_sibling_is_passed_over_for_another_that_always_has_something() {
    let memory = Memory::new();
    let pool = pool(&memory);
    let mut ends = join(3, &MeshConfig { packets: 64, messages: 2 }).unwrap();
    let mut two = ends.pop().unwrap();
    for (sender, end) in ends.iter_mut().enumerate() {
        for _ in 0..10 {
            let loan = packet(&pool, &[sender as u8]).lend(&pool).unwrap();
            assert!(end.forward(ShardId(2), DEVICE, loan).is_ok());
        }
    }
    let senders: Vec<u8> =
        std::iter::from_fn(|| two.receive()).map(|(_, loan)| loan.pieces().next().unwrap()[0]).collect();
    assert_eq!(senders.len(), 20);
    assert!(senders.windows(2).all(|pair| pair[0] != pair[1]), "{senders:?}");
}

#[test]
fn a_sleeper_finds_what_came_before_it_asked_and_is_woken_by_what_comes_after() {
    let memory = Memory::new();
    let pool = pool(&memory);
    let mut ends = join(2, &MeshConfig::for_shards(2)).unwrap();
    let (mut one, mut zero) = (ends.pop().unwrap(), ends.pop().unwrap());
    let mut send = || {
        let loan = packet(&pool, b"x").lend(&pool).unwrap();
        assert!(zero.forward(ShardId(1), DEVICE, loan).is_ok());
        zero.flush();
    };
    let is_rung = |end: &MeshEnd| rustix::io::read(end.alarm().descriptor(), &mut [0; 8]).is_ok();
    send();
    assert!(one.arm(false));
    assert!(!is_rung(&one), "an awake shard costs no system call");
    assert!(one.receive().is_some());
    assert!(!one.arm(false));
    send();
    assert!(is_rung(&one));
}

/// A device that takes frames while it has room, and says that they have left when it is told to.
struct Ring {
    room: usize,
    sent: Vec<(usize, Option<Departure>)>,
    failed: bool,
    link: LinkState,
}

impl QueuePair for Ring {
    fn capabilities(&self) -> Capabilities {
        Capabilities::ethernet([2, 0, 0, 0, 0, 1], 1_500)
    }

    fn pull(&mut self, _: &Pool, budget: usize, source: &mut impl FrameSource) -> Result<usize, DeviceError> {
        if self.failed {
            return Err(DeviceError { reason: "gone".into() });
        }
        let mut taken = 0;
        while taken < budget && self.room > 0 {
            let Some(packet) = source.next() else { break };
            taken += 1;
            self.room -= 1;
            self.sent.push((packet.len(), packet.notes.departure));
            if let Some(departure) = packet.notes.departure {
                source.departed(departure);
            }
        }
        Ok(taken)
    }

    fn receive(&mut self, _: &Pool, _: usize, _: &mut Vec<Packet>) -> Result<usize, DeviceError> {
        Ok(0)
    }

    fn link(&self) -> LinkState {
        self.link
    }
}

/// A shard with so many frames of one size to send; it hears of each that has left.
struct Shard<'a> {
    pool: &'a Pool,
    frames: usize,
    len: usize,
    left: VecDeque<u64>,
    built: u64,
}

impl<'a> Shard<'a> {
    fn new(pool: &'a Pool, frames: usize, len: usize) -> Self {
        Self { pool, frames, len, left: VecDeque::new(), built: 0 }
    }
}

impl FrameSource for Shard<'_> {
    fn next(&mut self) -> Option<Packet> {
        self.frames = self.frames.checked_sub(1)?;
        let mut packet = packet(self.pool, &vec![0; self.len]);
        packet.notes.departure = Some(Departure { provider: 2, token: self.built, weight: 7 });
        self.built += 1;
        Some(packet)
    }

    fn departed(&mut self, departure: Departure) {
        assert_eq!((departure.provider, departure.weight), (2, 7));
        self.left.push_back(departure.token);
    }
}

/// A queue shared by shard 0 and these others.
fn shared(weights: &[u32]) -> (SharedQueue<Ring>, Vec<ProxyQueue>, Vec<Arc<Alarm>>) {
    let alarms: Vec<_> = weights.iter().map(|_| Arc::new(Alarm::new().unwrap())).collect();
    let of = |shard: usize| (ShardId(shard as u16), weights[shard], &alarms[shard]);
    let others: Vec<_> = (1..weights.len()).map(of).collect();
    let ring = Ring { room: 0, sent: Vec::new(), failed: false, link: LinkState::Up };
    let (sharing, proxies) = proxy::share(ring.capabilities(), of(0), &others);
    (SharedQueue::new(ring, sharing), proxies, alarms)
}

fn device_room(queue: &mut SharedQueue<Ring>, room: usize) {
    queue.device.room = room;
}

#[test]
fn a_proxy_builds_no_frame_beyond_its_credits_and_gets_each_back() {
    let memory = Memory::new();
    let (own, theirs) = (pool(&memory), pool(&memory));
    let (mut queue, mut proxies, _alarms) = shared(&[1, 1]);
    let proxy = &mut proxies[0];
    let mut shard = Shard::new(&theirs, 1_000, 100);
    while proxy.pull(&theirs, 64, &mut shard).unwrap() > 0 {}
    assert_eq!((shard.built, proxy.outstanding()), (CREDITS as u64, CREDITS));
    assert!(!proxy.arm(true), "there is no room");
    device_room(&mut queue, 5);
    assert_eq!(queue.pull(&own, 64, &mut Shard::new(&own, 0, 0)).unwrap(), 5);
    assert!(queue.wants_room(), "the device is full, and frames wait");
    assert!(proxy.arm(true), "five credits are back");
    assert_eq!(proxy.pull(&theirs, 64, &mut shard).unwrap(), 5);
    assert_eq!(shard.left, [0, 1, 2, 3, 4], "who sent them hears of it, in order");
    device_room(&mut queue, usize::MAX);
    while queue.pull(&own, 64, &mut Shard::new(&own, 0, 0)).unwrap() > 0 {}
    let mut nothing_more = Shard::new(&theirs, 0, 0);
    proxy.pull(&theirs, 64, &mut nothing_more).unwrap();
    assert_eq!((nothing_more.left.len(), proxy.outstanding()), (CREDITS, 0));
    theirs.collect();
    assert_eq!(theirs.buffers_out(), 0);
}

#[test]
fn under_saturation_the_bytes_are_shared_by_weight_whatever_the_frames_sizes() {
    let memory = Memory::new();
    let pools = [pool(&memory), pool(&memory), pool(&memory)];
    let weights = [1, 2, 4];
    let (mut queue, mut proxies, _alarms) = shared(&weights);
    let mut own = Shard::new(&pools[0], usize::MAX, 1_500);
    let mut others = [Shard::new(&pools[1], usize::MAX, 64), Shard::new(&pools[2], usize::MAX, 700)];
    for _ in 0..20_000 {
        for (proxy, (shard, pool)) in proxies.iter_mut().zip(others.iter_mut().zip(&pools[1..])) {
            pool.collect();
            proxy.pull(pool, 64, shard).unwrap();
        }
        device_room(&mut queue, 48);
        queue.pull(&pools[0], 64, &mut own).unwrap();
        queue.device.sent.clear();
    }
    let shares = queue.shares();
    let bytes: Vec<f64> = shares.iter().map(|share| share.bytes.get() as f64).collect();
    let total: f64 = bytes.iter().sum();
    for (share, weight) in bytes.iter().zip(weights) {
        let (is, due) = (share / total, f64::from(weight) / 7.0);
        assert!((is / due - 1.0).abs() < 0.05, "weight {weight}: {is:.3} of the bytes, {due:.3} due");
    }
}

#[test]
fn a_source_alone_gets_all_of_the_queue() {
    let memory = Memory::new();
    let (own, theirs) = (pool(&memory), pool(&memory));
    let (mut queue, mut proxies, _alarms) = shared(&[100, 1]);
    let mut shard = Shard::new(&theirs, 100, 1_000);
    proxies[0].pull(&theirs, 64, &mut shard).unwrap();
    device_room(&mut queue, 64);
    assert_eq!(queue.pull(&own, 64, &mut Shard::new(&own, 0, 0)).unwrap(), 64);
}

#[test]
fn a_device_that_fails_fails_its_proxies_too_and_wakes_them() {
    let memory = Memory::new();
    let (own, theirs) = (pool(&memory), pool(&memory));
    let (mut queue, mut proxies, alarms) = shared(&[1, 1]);
    queue.device.failed = true;
    assert!(queue.pull(&own, 64, &mut Shard::new(&own, 0, 0)).is_err());
    assert!(rustix::io::read(alarms[1].descriptor(), &mut [0; 8]).is_ok());
    assert!(proxies[0].pull(&theirs, 64, &mut Shard::new(&theirs, 1, 1)).is_err());
}

#[test]
fn a_shared_queue_without_a_carrier_is_looked_at_until_its_proxies_know_of_its_return() {
    let (mut queue, proxies, _alarms) = shared(&[1, 1]);
    queue.device.link = LinkState::Down;
    assert_eq!((queue.link(), proxies[0].link()), (LinkState::Down, LinkState::Down));
    assert!(queue.wants_room(), "a proxy hands over nothing that would wake the owner");
    queue.device.link = LinkState::Up;
    assert_eq!((queue.link(), proxies[0].link()), (LinkState::Up, LinkState::Up));
    assert!(!queue.wants_room());
    let (mut unshared, ..) = shared(&[1]);
    unshared.device.link = LinkState::Down;
    assert_eq!(unshared.link(), LinkState::Down);
    assert!(!unshared.wants_room(), "nobody else looks");
}

#[test]
fn frames_handed_over_before_their_shard_broke_wake_the_owner() {
    struct Breaks<'a>(Shard<'a>);
    impl FrameSource for Breaks<'_> {
        fn next(&mut self) -> Option<Packet> {
            Some(self.0.next().expect("the shard is broken on purpose"))
        }

        fn departed(&mut self, _: Departure) {}
    }
    let memory = Memory::new();
    let theirs = pool(&memory);
    let (_queue, mut proxies, alarms) = shared(&[1, 1]);
    alarms[0].ask(Alarm::FRAMES);
    let mut breaks = Breaks(Shard::new(&theirs, 1, 100));
    let turn = std::panic::AssertUnwindSafe(|| proxies[0].pull(&theirs, 64, &mut breaks));
    assert!(std::panic::catch_unwind(turn).is_err());
    assert_eq!(proxies[0].outstanding(), 1);
    proxies[0].pull(&theirs, 64, &mut Shard::new(&theirs, 0, 0)).unwrap();
    assert!(rustix::io::read(alarms[0].descriptor(), &mut [0; 8]).is_ok());
}

#[test]
fn a_queue_whose_owner_has_ended_fails_for_its_proxies_too() {
    let memory = Memory::new();
    let theirs = pool(&memory);
    let (queue, mut proxies, alarms) = shared(&[1, 1]);
    assert!(!proxies[0].arm(false));
    drop(queue);
    assert!(rustix::io::read(alarms[1].descriptor(), &mut [0; 8]).is_ok());
    assert!(proxies[0].arm(false));
    assert!(proxies[0].pull(&theirs, 64, &mut Shard::new(&theirs, 1, 1)).is_err());
}

#[test]
fn a_turn_is_short_however_large_the_weights_are() {
    let of = |weights: &[u32]| proxy::quanta(&shared(weights).0.shares());
    assert_eq!(of(&[1, 2, 4]), [16 << 10, 32 << 10, 64 << 10]);
    assert_eq!(of(&[1_000, 1_000]), [16 << 10, 16 << 10]);
    assert_eq!(of(&[128, 1]), [1 << 20, 8 << 10]);
    assert_eq!(of(&[u32::MAX, 1, 0]), [1 << 20, 64, 64]);
}
