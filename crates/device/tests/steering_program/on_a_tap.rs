//! Frames that really cross a tap: each is on the queue that the stack would pick for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use etherparse::PacketBuilder;
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto};
use sunstar_device::tap::TapSteering;
use sunstar_packet::{FrameSource, Medium, Packet, QueuePair};
use sunstar_stack::random::Random;
use sunstar_stack::steering::{FlowKey, Owner, PortSpace, ShardId};

use crate::frames::Frames;
use crate::name;
use crate::namespace::{PacketSocket, Steered, TAP, in_namespace, ip};

/// The kernel's address on the cable; ours are all others of its network.
const KERNEL: [u8; 4] = [10, 77, 0, 1];

/// How many frames with each kind of key were on each queue.
type Counts = BTreeMap<(&'static str, usize), u32>;

fn of(counts: &Counts, kind: &str) -> Vec<u32> {
    counts.iter().filter(|((name, _), _)| *name == kind).map(|(_, count)| *count).collect()
}

/// Frames that are all to be sent.
struct Given(Vec<Packet>);

impl FrameSource for Given {
    fn next(&mut self) -> Option<Packet> {
        self.0.pop()
    }

    fn departed(&mut self, _: sunstar_packet::Departure) {}
}

fn send(steered: &mut Steered, frame: Vec<u8>) {
    let frame = Packet::new(bytes::Bytes::from(frame));
    assert_eq!(steered.queues[0].pull(&steered.pool, 1, &mut Given(vec![frame])).unwrap(), 1);
}

/// Someone else's address on the cable.
fn peer(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number + 2)
}

/// Has the kernel ask, answer, refuse and send by all the ways it has.
fn everything_the_kernel_sends(queues: usize) -> Counts {
    let mut steered = Steered::new(queues, 40 + queues as u64);
    for (space, port, shard) in [(PortSpace::Tcp, 80, 1), (PortSpace::Udp, 53, 0), (PortSpace::Icmp, 7, 1)] {
        steered.both.give(space, port, Some(Owner::Shard(ShardId(shard))));
    }
    ip(&format!("address add 10.77.0.1/24 dev {TAP}"));
    let mut counts = Counts::new();
    // An answer about its address.
    let ours = steered.queues[0].capabilities().mac;
    let mut question = [&[0xff; 6][..], &ours, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &ours].concat();
    question.extend([&peer(0).octets()[..], &[0; 6], &KERNEL].concat());
    send(&mut steered, question);
    let mut kernels = [0; 6];
    steered.judge_until(|queue, key, frame| {
        *counts.entry((name(&key), queue)).or_default() += 1;
        kernels.copy_from_slice(&frame[6..12]);
        matches!(key, FlowKey::Neighbor(_))
    });
    // From here on it asks nobody, and sends to whomever it likes.
    ip(&format!("link set {TAP} arp off"));
    let udp = UdpSocket::bind((Ipv4Addr::from(KERNEL), 0)).unwrap();
    let ping = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).unwrap();
    for number in 0..100 {
        for port in [53, 54, 1_000 + u16::from(number)] {
            udp.send_to(b"whole", (peer(number), port)).unwrap();
        }
        udp.send_to(&[7; 12_000], (peer(number), 53)).unwrap();
        let port = [80, 443][usize::from(number % 2)];
        // Nobody answers: what counts is the SYN.
        let syn = SocketAddr::from((peer(number), port));
        drop(TcpStream::connect_timeout(&syn, Duration::from_millis(1)));
        let echo = [8, 0, 0xf7, 0xf8, 0, 7, 0, 0];
        let to = SocketAddr::from((peer(number), 0));
        rustix::net::sendto(&ping, &echo, SendFlags::empty(), &to).unwrap();
        let to_kernel = || PacketBuilder::ethernet2(ours, kernels).ipv4(peer(number).octets(), KERNEL, 64);
        let (mut asked, mut refused) = (Vec::new(), Vec::new());
        let identifier = u16::from(number % 10);
        to_kernel().icmpv4_echo_request(identifier, 1).write(&mut asked, b"?").unwrap();
        to_kernel().udp(53 + u16::from(number % 2), 9).write(&mut refused, b"nobody there").unwrap();
        send(&mut steered, asked);
        send(&mut steered, refused);
        steered.judge(|queue, key, frame| {
            let is_error = frame[23] == 1 && matches!(key, FlowKey::Ports { .. });
            let kind = if is_error { "ICMP error" } else { name(&key) };
            *counts.entry((kind, queue)).or_default() += 1;
        });
    }
    println!("{queues} queues: {counts:#?}");
    counts
}

#[test]
fn what_the_kernel_sends_is_on_the_queue_the_stack_would_pick() {
    for queues in [2, 4] {
        in_namespace(move || {
            let counts = everything_the_kernel_sends(queues);
            for kind in ["ports over IPv4", "addresses of IPv4", "echo", "echo reply"] {
                assert_eq!(of(&counts, kind).len(), queues, "{kind} on every queue");
                assert!(of(&counts, kind).iter().sum::<u32>() >= 90, "{kind}");
            }
            // The kernel says such things as often as it likes to.
            assert!(of(&counts, "ICMP error").iter().sum::<u32>() >= 10);
        });
    }
}

#[test]
fn any_frame_in_one_piece_or_several_is_on_the_queue_the_stack_would_pick() {
    in_namespace(|| {
        let mut steered = Steered::new(4, 7);
        steered.both.change_owners(&mut Random::from_seed(8));
        let socket = PacketSocket::new(TAP);
        let mut frames = Frames::new(9);
        let mut received = 0;
        for round in 0..100 {
            for _ in 0..50 {
                let (_, mut frame) = frames.next();
                // Marked, since the kernel has its own to say.
                frame[6..12].copy_from_slice(b"\x02mark!");
                if round % 2 == 0 {
                    frame.resize(5_000, 0);
                }
                socket.send(&frame);
            }
            steered.judge(|_, _, frame| received += u32::from(frame[6..12] == *b"\x02mark!"));
        }
        assert_eq!(received, 5_000);
    });
}

#[test]
fn over_a_bridge_which_takes_tags_aside_a_frame_is_on_the_queue_the_stack_would_pick() {
    in_namespace(|| {
        let mut steered = Steered::new(4, 17);
        steered.both.change_owners(&mut Random::from_seed(18));
        ip("link add bridge type bridge mcast_snooping 0");
        ip("link add inner type veth peer name outer");
        for interface in ["inner", TAP] {
            ip(&format!("link set {interface} master bridge"));
        }
        for interface in ["bridge", "inner", "outer"] {
            ip(&format!("link set {interface} up"));
        }
        // Where this exists, the bridge would have the firewall drop packets whose checksums are wrong.
        if let Ok(mut firewall) =
            File::options().write(true).open("/proc/sys/net/bridge/bridge-nf-call-iptables")
        {
            firewall.write_all(b"0").unwrap();
        }
        let socket = PacketSocket::new("outer");
        let mut frames = Frames::new(19);
        let mut tagged = [0; 3];
        for _ in 0..200 {
            for _ in 0..50 {
                let (_, mut frame) = frames.next();
                frame[..12].copy_from_slice(b"\x02other\x02mark!");
                socket.send(&frame);
            }
            std::thread::sleep(Duration::from_millis(2));
            steered.judge(|_, _, frame| {
                let tags = [12, 16].iter().filter(|at| frame.get(**at..**at + 2) == Some(&[0x81, 0]));
                tagged[tags.count()] += u32::from(frame[6..12] == *b"\x02mark!");
            });
        }
        println!("without, with one, with two tags: {tagged:?} of 10,000 sent");
        assert!(tagged[0] > 5_000 && tagged[1] > 1_000 && tagged[2] > 300, "{tagged:?}");
    });
}

#[test]
fn taken_off_a_tap_the_program_has_no_say_any_more() {
    in_namespace(|| {
        let mut steered = Steered::new(2, 27);
        steered.both.kernel.set_table(&[1]).unwrap();
        let socket = PacketSocket::new(TAP);
        let mut frames = Frames::new(1);
        for attached in [true, false] {
            if !attached {
                TapSteering::detach(&steered.queues[1]).unwrap();
            }
            let known = |frame: &Vec<u8>| FlowKey::collect(frame, Medium::Ethernet) != FlowKey::Unknown;
            let flows: Vec<_> = std::iter::repeat_with(|| frames.of_kind(0)).filter(known).take(64).collect();
            flows.iter().for_each(|flow| socket.send(flow));
            let on = steered.queues.iter_mut().map(|queue| {
                let mut received = Vec::new();
                while queue.receive(&steered.pool, 32, &mut received).unwrap() > 0 {}
                received.iter().filter(|frame| flows.iter().any(|flow| frame.head() == flow)).count()
            });
            let on: Vec<_> = on.collect();
            assert_eq!(on[0] + on[1], 64);
            assert_eq!(on[1] == 64, attached, "by itself the tap spreads flows: {on:?}");
        }
    });
}
