//! A network namespace for one test, and the kernel's side of the cable in it: a UDP socket, and just
//! enough of TCP by hand to have the kernel take and give large segments.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use rustix::thread::UnshareFlags;
use sunstar_packet::{ChecksumNote, Packet, Pool, QueuePair, Segmentation, SegmentationKind};

use super::{Interface, Tap, TapConfig, TapQueue, checked_name};
use crate::testing::{Source, packet, receive_all, sleep_on};

/// The kernel's address on the cable.
pub(super) const KERNEL: [u8; 4] = [10, 77, 0, 1];
/// Ours.
pub(super) const OURS: [u8; 4] = [10, 77, 0, 2];

const PORT: u16 = 7_000;

/// Runs a test on a thread of its own, in a network namespace that goes with the thread. Fails where that is
/// not permitted.
pub(super) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        // SAFETY: only the network namespace is unshared, no table of descriptors.
        let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) };
        if let Err(errno) = unshared {
            panic!(
                "this test needs a network namespace of its own ({errno}): run it as root, or under \
                 `unshare -Urn cargo test`"
            );
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Opens a tap, gives the kernel's side its address, and binds a UDP socket to that.
pub(super) fn tap_with_address(config: &TapConfig) -> (Vec<TapQueue>, Peer) {
    let queues = Tap::open(config).unwrap();
    let interface = Interface::new(checked_name(&config.name).unwrap()).unwrap();
    interface.set_address(KERNEL).unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::from(KERNEL), PORT)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (queues, Peer { socket, ours: config.mac, kernels: interface.mac().unwrap() })
}

/// Removes an interface, as an administrator would.
pub(super) fn delete_interface(name: &str) {
    let deleted = std::process::Command::new("ip").args(["link", "delete", name]).status();
    assert!(deleted.is_ok_and(|status| status.success()), "`ip` (iproute2) is needed for this test");
}

/// The kernel's side of the cable.
pub(super) struct Peer {
    socket: UdpSocket,
    ours: [u8; 6],
    kernels: [u8; 6],
}

impl Peer {
    /// A complete frame from us to the kernel's socket.
    pub(super) fn udp_frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.ours, self.kernels)
            .ipv4(OURS, KERNEL, 64)
            .udp(9_000, PORT)
            .write(&mut frame, payload)
            .unwrap();
        frame
    }

    /// The same with nothing but the pseudo-header's sum as checksum.
    pub(super) fn partial_udp_frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = self.udp_frame(payload);
        let sum = pseudo_header_sum(17, 8 + payload.len());
        frame[40..42].copy_from_slice(&sum);
        frame
    }

    /// The next datagram that the kernel's socket got.
    pub(super) fn receive(&mut self) -> Vec<u8> {
        let mut payload = vec![0; 65_536];
        let len = self.socket.recv(&mut payload).expect("a datagram within ten seconds");
        payload.truncate(len);
        payload
    }

    /// Whether the socket got none.
    pub(super) fn has_nothing(&mut self) -> bool {
        self.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        self.socket.recv(&mut [0; 1]).is_err()
    }

    /// Sends us a datagram.
    pub(super) fn send(&mut self, payload: &[u8]) {
        self.socket.send_to(payload, (Ipv4Addr::from(OURS), 9_000)).unwrap();
    }

    /// Has the kernel learn where we are, then send us a datagram.
    pub(super) fn answer_arp_and_send(&mut self, queue: &mut TapQueue, pool: &Pool, payload: &[u8]) {
        self.send(payload);
        let question = next_frame(queue, pool, |frame| frame[12..14] == [8, 6] && frame[38..42] == OURS);
        answer_arp(queue, pool, &question);
    }

    /// The next UDP datagram from the kernel.
    pub(super) fn next_datagram(&mut self, queue: &mut TapQueue, pool: &Pool) -> Packet {
        next_frame(queue, pool, |frame| frame[12..14] == [8, 0] && frame[23] == 17 && frame[30..34] == OURS)
    }
}

/// The next frame of a kind; all others (the kernel's own chatter) are passed over.
fn next_frame(queue: &mut TapQueue, pool: &Pool, wanted: impl Fn(&[u8]) -> bool) -> Packet {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if let Some(found) = receive_all(queue, pool).into_iter().find(|packet| wanted(packet.head())) {
            return found;
        }
        sleep_on(queue, 1);
    }
    panic!("the awaited frame did not come within ten seconds");
}

fn answer_arp(queue: &mut TapQueue, pool: &Pool, question: &Packet) {
    let question = question.head();
    let mac = queue.capabilities().mac;
    let mut answer = Vec::new();
    answer.extend_from_slice(&question[6..12]);
    answer.extend_from_slice(&mac);
    answer.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    answer.extend_from_slice(&mac);
    answer.extend_from_slice(&OURS);
    answer.extend_from_slice(&question[22..32]);
    queue.pull(pool, 1, &mut Source::of([packet(pool, &answer)])).unwrap();
}

/// The pseudo-header's sum from us to the kernel, not inverted, in network order (RFC 9293 section 3.1).
fn pseudo_header_sum(protocol: u8, len: usize) -> [u8; 2] {
    let halves = [OURS, KERNEL].concat();
    let addresses: u32 = halves.chunks(2).map(|half| u32::from(u16::from_be_bytes([half[0], half[1]]))).sum();
    let mut sum = addresses + u32::from(protocol) + len as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum as u16).to_be_bytes()
}

/// What [`HandMadeTcp::receive`] got.
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    /// Payload bytes of the largest frame.
    pub(super) largest: usize,
}

/// A connection to port 80 of the kernel that never loses anything.
pub(super) struct HandMadeTcp {
    kernels: [u8; 6],
    next: u32,
    expected: u32,
}

impl HandMadeTcp {
    const MSS: u16 = 1_460;
    const HEADERS: u16 = 14 + 20 + 20;

    /// Shakes hands.
    pub(super) fn connect(peer: &Peer, queue: &mut TapQueue, pool: &Pool) -> Self {
        let mut tcp = Self { kernels: peer.kernels, next: 1_000, expected: 0 };
        let builder = tcp.to_kernel(queue).tcp(5_000, 80, tcp.next, 65_000).syn();
        let builder = builder.options_raw(&[2, 4, (Self::MSS >> 8) as u8, Self::MSS as u8]).unwrap();
        let mut syn = Vec::new();
        builder.write(&mut syn, &[]).unwrap();
        queue.pull(pool, 1, &mut Source::of([packet(pool, &syn)])).unwrap();
        let question = next_frame(queue, pool, |frame| frame[12..14] == [8, 6] && frame[38..42] == OURS);
        answer_arp(queue, pool, &question);
        let syn_ack = next_frame(queue, pool, is_tcp);
        tcp.expected = u32::from_be_bytes(syn_ack.head()[38..42].try_into().unwrap()).wrapping_add(1);
        tcp.next += 1;
        tcp.acknowledge(queue, pool);
        tcp
    }

    fn to_kernel(&self, queue: &TapQueue) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        PacketBuilder::ethernet2(queue.capabilities().mac, self.kernels).ipv4(OURS, KERNEL, 64)
    }

    fn acknowledge(&self, queue: &mut TapQueue, pool: &Pool) {
        let mut frame = Vec::new();
        let builder = self.to_kernel(queue).tcp(5_000, 80, self.next, 65_000).ack(self.expected);
        builder.write(&mut frame, &[]).unwrap();
        queue.pull(pool, 1, &mut Source::of([packet(pool, &frame)])).unwrap();
    }

    /// Sends `payload` as one packet for the kernel to cut.
    pub(super) fn send_segmented(&mut self, queue: &mut TapQueue, pool: &Pool, payload: &[u8]) {
        let mut frame = Vec::new();
        let builder = self.to_kernel(queue).tcp(5_000, 80, self.next, 65_000).ack(self.expected);
        builder.write(&mut frame, payload).unwrap();
        frame[50..52].copy_from_slice(&pseudo_header_sum(6, 20 + payload.len()));
        let mut large = packet(pool, &frame);
        large.notes.checksum = ChecksumNote::Partial { start: 34, offset: 16 };
        large.notes.segmentation =
            Some(Segmentation { kind: SegmentationKind::TcpV4, size: Self::MSS, header_len: Self::HEADERS });
        queue.pull(pool, 1, &mut Source::of([large])).unwrap();
        self.next += payload.len() as u32;
    }

    /// Receives `len` bytes in order, acknowledging each segment.
    pub(super) fn receive(&mut self, queue: &mut TapQueue, pool: &Pool, len: usize) -> Received {
        let mut received = Received { bytes: Vec::new(), largest: 0 };
        let deadline = Instant::now() + Duration::from_secs(10);
        while received.bytes.len() < len && Instant::now() < deadline {
            sleep_on(queue, 1);
            for packet in receive_all(queue, pool).iter().filter(|packet| is_tcp(packet.head())) {
                let sliced = SlicedPacket::from_ethernet(packet.head()).unwrap();
                let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { continue };
                if tcp.sequence_number() == self.expected {
                    self.expected = self.expected.wrapping_add(tcp.payload().len() as u32);
                    received.bytes.extend_from_slice(tcp.payload());
                    received.largest = received.largest.max(tcp.payload().len());
                }
            }
            self.acknowledge(queue, pool);
        }
        received
    }
}

fn is_tcp(frame: &[u8]) -> bool {
    frame[12..14] == [8, 0] && frame[23] == 6
}
