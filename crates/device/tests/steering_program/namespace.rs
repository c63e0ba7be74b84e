//! A network namespace for one test, and in it a tap that steers by the program, beside the stack's own steering.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::thread::UnshareFlags;
use sunstar_device::tap::{Tap, TapConfig, TapQueue};
use sunstar_packet::{Medium, Memory, Pool, PoolConfig, QueuePair};
use sunstar_stack::random::Random;
use sunstar_stack::steering::{FlowKey, IndirectionTable, RssKey, Steering, TableSize, Toeplitz};

use crate::Both;

/// What the tap is called.
pub(crate) const TAP: &str = "steered";

/// Runs a test on a thread of its own, in a network namespace that goes with the thread.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        // SAFETY: only the network namespace is unshared, no table of descriptors.
        let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) };
        unshared.expect("this test needs a network namespace of its own: run it as root");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Has `ip` (iproute2) do something in the namespace.
pub(crate) fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status();
    assert!(done.is_ok_and(|status| status.success()), "`ip {arguments}` (iproute2) works");
}

/// A tap that uses the program.
pub(crate) struct Steered {
    pub(crate) both: Both,
    pub(crate) queues: Vec<TapQueue>,
    pub(crate) pool: Pool,
}

impl Steered {
    /// With as many shards as queues, all of the same weight.
    pub(crate) fn new(queues: usize, seed: u64) -> Self {
        let mut random = Random::from_seed(seed);
        let table = IndirectionTable::new(TableSize::Entries128, &vec![1; queues]).unwrap();
        let stack = Steering::new(Toeplitz::new(RssKey::random(&mut random)), table);
        let both = Both::of(stack);
        // It comes up only when it steers: the kernel has something to say at once.
        ip(&format!("tuntap add dev {TAP} mode tap multi_queue"));
        let config = TapConfig { queues, mtu: Some(9_000), ..TapConfig::new(TAP) };
        let queues = Tap::open(&config).unwrap();
        both.kernel.attach(&queues[0]).unwrap();
        ip(&format!("link set {TAP} up"));
        let pool = PoolConfig { small_count: 4_096, staging_count: 64, ..PoolConfig::default() };
        Self { both, queues, pool: Pool::new(&Memory::new(), &pool).unwrap() }
    }

    /// Receives everything there is. Each frame has to be on the queue that the stack would pick.
    pub(crate) fn judge(&mut self, mut each: impl FnMut(usize, FlowKey, &[u8])) {
        for (number, queue) in self.queues.iter_mut().enumerate() {
            let mut frames = Vec::new();
            while queue.receive(&self.pool, 32, &mut frames).unwrap() > 0 {}
            for frame in frames {
                let shard = self.both.stack.shard_of_frame(frame.head(), Medium::Ethernet);
                let expected = shard.map_or(0, |shard| usize::from(shard.0));
                let key = FlowKey::collect(frame.head(), Medium::Ethernet);
                assert_eq!(number, expected, "{key:?}: {:02x?}", frame.head());
                each(number, key, frame.head());
            }
        }
    }

    /// The same until enough has come, by the word of the closure; it must within ten seconds.
    pub(crate) fn judge_until(&mut self, mut enough: impl FnMut(usize, FlowKey, &[u8]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut done = false;
        while !done {
            assert!(Instant::now() < deadline, "what was awaited did not come within ten seconds");
            self.judge(|queue, key, frame| done |= enough(queue, key, frame));
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A socket that sends whole frames out of an interface (packet(7)).
pub(crate) struct PacketSocket {
    socket: OwnedFd,
    to: libc::sockaddr_ll,
}

impl PacketSocket {
    /// The header that says there is nothing to say of a frame (virtio 1.2, section 5.1.6).
    const NO_NOTES: [u8; 10] = [0; 10];

    pub(crate) fn new(interface: &str) -> Self {
        use rustix::net::{AddressFamily, SocketType, socket};
        let socket =
            socket(AddressFamily::PACKET, SocketType::RAW, None).expect("root may open packet sockets");
        let on: libc::c_int = 1;
        // SAFETY: this option reads one int.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_VNET_HDR,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        assert_eq!(set, 0);
        let name = CString::new(interface).unwrap();
        // SAFETY: the name ends with a zero.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        assert_ne!(index, 0, "there is no {interface}");
        // SAFETY: zero is a valid value of every member.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as libc::c_ushort;
        to.sll_ifindex = index as libc::c_int;
        Self { socket, to }
    }

    /// Sends a frame. One of more than a page has nothing but its Ethernet header in the kernel's first piece, since
    /// the notes claim no more.
    pub(crate) fn send(&self, frame: &[u8]) {
        let bytes = [&Self::NO_NOTES, frame].concat();
        // SAFETY: the bytes and the address are read within their lengths.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                0,
                (&raw const self.to).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        assert_eq!(sent, bytes.len() as isize, "{}", std::io::Error::last_os_error());
    }
}
