//! Taps in network namespaces of their own: what the kernel sends we read, and what we write it understands.
#![allow(unsafe_code)]

mod namespace;

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use rustix::thread::CapabilitySet;
use sunstar_packet::{
    ChecksumNote, LinkState, Memory, Packet, Pool, PoolConfig, QueuePair, Segmentation, SegmentationKind,
    SizeClass,
};

use super::*;
use crate::testing::{Source, packet, packet_with_token, pool, receive_all, sleep_on};
use namespace::{KERNEL, in_namespace, tap_with_address};

#[test]
fn a_tap_is_created_and_brought_up_and_goes_with_its_queue() {
    in_namespace(|| {
        let config = TapConfig { mtu: Some(9_000), ..TapConfig::new("sunstar0") };
        let mut queues = Tap::open(&config).unwrap();
        assert_eq!(queues.len(), 1);
        let queue = queues.remove(0);
        let expected = SegmentationOffload { tcp_v4: true, tcp_v6: true, udp: true };
        let capabilities = queue.capabilities();
        assert_eq!((capabilities.mtu, capabilities.mac), (9_000, config.mac));
        assert_eq!((capabilities.transmit_checksum, capabilities.segmentation), (true, expected));
        assert_eq!(queue.link(), LinkState::Up);
        drop(queue);
        assert!(Interface::new(checked_name("sunstar0").unwrap()).unwrap().flags().is_err());
    });
}

#[test]
fn without_offload_nothing_is_offered() {
    in_namespace(|| {
        let config = TapConfig { offload: false, ..TapConfig::new("plain") };
        let capabilities = Tap::open(&config).unwrap()[0].capabilities();
        assert_eq!(capabilities, Capabilities::ethernet(config.mac, 1_500));
    });
}

#[test]
fn several_queues_are_opened_at_once_and_each_sends() {
    in_namespace(|| {
        let (mut queues, mut peer) = tap_with_address(&TapConfig { queues: 3, ..TapConfig::new("queues") });
        let pool = pool();
        for (number, queue) in queues.iter_mut().enumerate() {
            let text = format!("through queue {number}");
            let frame = peer.udp_frame(text.as_bytes());
            assert_eq!(queue.pull(&pool, 1, &mut Source::of([packet(&pool, &frame)])).unwrap(), 1);
            assert_eq!(peer.receive(), text.as_bytes());
        }
    });
}

#[test]
fn a_datagram_to_and_from_the_kernel_is_the_same_in_one_piece_or_several() {
    in_namespace(|| {
        let (mut queues, mut peer) = tap_with_address(&TapConfig::new("udp"));
        let (queue, pool) = (&mut queues[0], pool());
        let payload: Vec<u8> = (0..1_400u32).map(|at| (at % 251) as u8).collect();
        let frame = peer.udp_frame(&payload);
        let mut pieces = packet(&pool, &frame[..42]);
        for piece in frame[42..].chunks(500) {
            pieces.push(pool.copy_of(piece).unwrap()).unwrap();
        }
        let bytes = Packet::new(bytes::Bytes::from(frame.clone()));
        let mut source = Source::of([packet_with_token(&pool, &frame, 7), pieces, bytes]);
        assert_eq!(queue.pull(&pool, 64, &mut source).unwrap(), 3);
        assert_eq!(source.departed, [7]);
        for _ in 0..3 {
            assert_eq!(peer.receive(), payload);
        }
        peer.answer_arp_and_send(queue, &pool, &payload);
        let received = peer.next_datagram(queue, &pool);
        assert_eq!(received.head()[42..], payload);
        assert!(matches!(received.notes.checksum, ChecksumNote::Partial { start: 34, offset: 6 }));
        assert!(received.true_size() < 4_096, "a small frame does not hold a staging buffer");
        drop(received);
        assert_eq!(pool.buffers_out(), 0);
        let counters = queue.counters();
        assert_eq!((counters.sent, counters.sent_bytes), (4, 3 * frame.len() as u64 + 42));
        assert!(counters.received >= 2 && counters.received_bytes >= 42 + frame.len() as u64);
    });
}

#[test]
fn a_partial_checksum_is_completed_by_the_kernel() {
    in_namespace(|| {
        let (mut queues, mut peer) = tap_with_address(&TapConfig::new("partial"));
        let pool = pool();
        let frame = peer.partial_udp_frame(b"finish me");
        let mut unfinished = packet(&pool, &frame);
        unfinished.notes.checksum = ChecksumNote::Partial { start: 34, offset: 6 };
        let unmarked = packet(&pool, &frame);
        queues[0].pull(&pool, 64, &mut Source::of([unmarked, unfinished])).unwrap();
        assert_eq!(peer.receive(), b"finish me");
        assert!(peer.has_nothing(), "without its note the same frame has a bad checksum");
    });
}

#[test]
fn one_large_udp_packet_becomes_many_datagrams() {
    in_namespace(|| {
        let (mut queues, mut peer) = tap_with_address(&TapConfig::new("uso"));
        let (queue, pool) = (&mut queues[0], pool());
        let payload: Vec<u8> = (0..40_500u32).map(|at| (at % 249) as u8).collect();
        for in_pieces in [false, true] {
            let frame = peer.partial_udp_frame(&payload);
            let mut large = packet(&pool, &frame[..42]);
            if in_pieces {
                large.push(bytes::Bytes::from(frame[42..].to_vec())).unwrap();
            } else {
                large = packet(&pool, &frame);
            }
            large.notes.checksum = ChecksumNote::Partial { start: 34, offset: 6 };
            large.notes.segmentation =
                Some(Segmentation { kind: SegmentationKind::Udp, size: 1_000, header_len: 42 });
            assert_eq!(queue.pull(&pool, 64, &mut Source::of([large])).unwrap(), 1);
            for piece in payload.chunks(1_000) {
                assert_eq!(peer.receive(), piece);
            }
        }
        assert_eq!(queue.counters().segmented, 2);
    });
}

#[test]
fn the_kernels_tcp_takes_large_segments_and_gives_them() {
    in_namespace(|| {
        let (mut queues, peer) = tap_with_address(&TapConfig::new("tso"));
        let (queue, pool) = (&mut queues[0], pool());
        let listener = TcpListener::bind((Ipv4Addr::from(KERNEL), 80)).unwrap();
        let mut tcp = namespace::HandMadeTcp::connect(&peer, queue, &pool);
        let (mut stream, _) = listener.accept().unwrap();
        let upward: Vec<u8> = (0..30_000u32).map(|at| (at % 241) as u8).collect();
        tcp.send_segmented(queue, &pool, &upward);
        let mut read = vec![0; upward.len()];
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        std::io::Read::read_exact(&mut stream, &mut read).unwrap();
        assert!(read == upward, "30,000 bytes in one segmented packet arrive as they were sent");
        let downward: Vec<u8> = (0..100_000u32).map(|at| (at % 239) as u8).collect();
        let writer = std::thread::spawn({
            let downward = downward.clone();
            move || std::io::Write::write_all(&mut stream, &downward).map(|()| stream)
        });
        let received = tcp.receive(queue, &pool, downward.len());
        writer.join().unwrap().unwrap();
        assert!(received.bytes == downward);
        assert!(received.largest > 9_000, "the kernel handed over large segments: {}", received.largest);
        assert!(queue.counters().coalesced > 0);
        assert_eq!((queue.counters().bad_notes, pool.buffers_out()), (0, 0));
    });
}

#[test]
fn small_frames_still_get_through_when_all_staging_buffers_are_held() {
    in_namespace(|| {
        let (mut queues, mut peer) = tap_with_address(&TapConfig::new("held"));
        let config = PoolConfig { small_count: 64, staging_count: 1, ..PoolConfig::default() };
        let pool = Pool::new(&Memory::new(), &config).unwrap();
        let _held = pool.allocate(SizeClass::Staging, 0).unwrap();
        peer.answer_arp_and_send(&mut queues[0], &pool, b"an acknowledgement");
        let received = peer.next_datagram(&mut queues[0], &pool);
        assert_eq!(received.head()[42..], *b"an acknowledgement");
    });
}

#[test]
fn a_frame_the_kernel_refuses_is_counted_and_its_sender_told() {
    in_namespace(|| {
        let (mut queues, mut peer) = tap_with_address(&TapConfig::new("refused"));
        let pool = pool();
        let after = packet(&pool, &peer.udp_frame(b"after"));
        let mut source = Source::of([packet_with_token(&pool, b"runt", 1), after]);
        assert_eq!(queues[0].pull(&pool, 64, &mut source).unwrap(), 2);
        assert_eq!(source.departed, [1]);
        assert_eq!((queues[0].counters().refused, queues[0].counters().sent), (1, 1));
        assert_eq!(peer.receive(), b"after");
    });
}

#[test]
fn while_the_interface_is_down_one_frame_is_kept_and_nothing_is_pulled() {
    in_namespace(|| {
        let (mut queues, mut peer) = tap_with_address(&TapConfig::new("down"));
        let (queue, pool) = (&mut queues[0], pool());
        let interface = Interface::new(checked_name("down").unwrap()).unwrap();
        let flags = interface.flags().unwrap();
        interface.set_flags(flags & !libc::IFF_UP).unwrap();
        assert_eq!(queue.link(), LinkState::Down);
        let frames = ["first", "second", "third"].map(|text| peer.udp_frame(text.as_bytes()));
        let packets = (1..).zip(&frames).map(|(token, frame)| packet_with_token(&pool, frame, token));
        let mut source = Source::of(packets);
        assert_eq!(queue.pull(&pool, 64, &mut source).unwrap(), 1);
        assert_eq!(queue.pull(&pool, 64, &mut source).unwrap(), 0);
        assert_eq!((source.asked, source.departed.len()), (1, 0));
        receive_all(queue, &pool);
        assert!(!queue.arm(true), "there is nothing to stay awake for");
        interface.set_flags(flags).unwrap();
        assert_eq!(queue.link(), LinkState::Up);
        assert_eq!(queue.pull(&pool, 64, &mut source).unwrap(), 2);
        assert_eq!(source.departed, [1, 2, 3]);
        for text in ["first", "second", "third"] {
            assert_eq!(peer.receive(), text.as_bytes());
        }
    });
}

#[test]
fn a_sleeper_is_woken_by_a_frame() {
    in_namespace(|| {
        let (mut queues, mut peer) = tap_with_address(&TapConfig::new("sleep"));
        let (queue, pool) = (&mut queues[0], pool());
        let quiet = Instant::now() + Duration::from_secs(10);
        while queue.arm(false) && Instant::now() < quiet {
            receive_all(queue, &pool);
        }
        assert!(!sleep_on(queue, 0));
        peer.send(b"anybody?");
        assert!(sleep_on(queue, 10) && queue.arm(false));
        assert!(!receive_all(queue, &pool).is_empty(), "the kernel asks who has our address");
    });
}

#[test]
fn a_deleted_interface_fails_the_device() {
    in_namespace(|| {
        let (mut queues, peer) = tap_with_address(&TapConfig::new("deleted"));
        let (queue, pool) = (&mut queues[0], pool());
        receive_all(queue, &pool);
        namespace::delete_interface("deleted");
        assert_eq!(queue.link(), LinkState::Down);
        assert!(queue.arm(false), "a sleeper learns of it");
        let failed = queue.receive(&pool, 32, &mut Vec::new()).unwrap_err();
        assert!(failed.to_string().contains("the interface was deleted"), "{failed}");
        let frame = packet(&pool, &peer.udp_frame(b"too late"));
        assert!(queue.pull(&pool, 64, &mut Source::of([frame])).is_err());
    });
}

#[test]
fn a_tap_in_use_is_busy() {
    in_namespace(|| {
        let _queues = Tap::open(&TapConfig::new("taken")).unwrap();
        let error = Tap::open(&TapConfig::new("taken")).unwrap_err();
        assert!(matches!(error, TapError::Busy { .. }), "{error}");
        assert!(error.to_string().contains("another process"), "{error}");
    });
}

#[test]
fn another_kind_of_interface_is_no_tap() {
    in_namespace(|| {
        let error = Tap::open(&TapConfig::new("lo")).unwrap_err();
        assert!(matches!(error, TapError::OtherKind { .. }), "{error}");
    });
}

#[test]
fn an_mtu_the_kernel_does_not_take_is_named() {
    in_namespace(|| {
        let error = Tap::open(&TapConfig { mtu: Some(67), ..TapConfig::new("tiny") }).unwrap_err();
        assert!(matches!(error, TapError::Mtu { mtu: 67, .. }), "{error}");
    });
}

#[test]
fn without_the_capability_the_error_says_how_to_get_it() {
    in_namespace(|| {
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        rustix::thread::set_capabilities(None, sets).unwrap();
        let error = Tap::open(&TapConfig::new("refused")).unwrap_err();
        assert!(matches!(error, TapError::NotPermitted { .. }), "{error}");
        let text = error.to_string();
        for hint in ["CAP_NET_ADMIN", "sudo", "setcap", "unshare -Urn", "--device embedded"] {
            assert!(text.contains(hint), "{text}");
        }
    });
}

#[test]
fn what_cannot_be_a_name_an_address_or_a_number_of_queues_is_refused_before_anything_is_opened() {
    for name in ["", "sixteen-bytes-xx", "a/b", "a b", "..", "tap%d", "a:b"] {
        let error = Tap::open(&TapConfig::new(name)).unwrap_err();
        assert!(matches!(error, TapError::Name { .. }), "{name}: {error}");
    }
    for queues in [0, 257] {
        let error = Tap::open(&TapConfig { queues, ..TapConfig::new("tap") }).unwrap_err();
        assert!(matches!(error, TapError::Queues { .. }), "{error}");
    }
    for mac in [[0; 6], [1, 0, 0x5e, 0, 0, 1], [0xff; 6]] {
        let error = Tap::open(&TapConfig { mac, ..TapConfig::new("tap") }).unwrap_err();
        assert!(matches!(error, TapError::Mac { .. }), "{error}");
    }
}

#[test]
fn the_kernels_own_address_cannot_be_ours() {
    in_namespace(|| {
        let persistent = Tap::open(&TapConfig { queues: 2, ..TapConfig::new("twin") }).unwrap();
        let mac = Interface::new(checked_name("twin").unwrap()).unwrap().mac().unwrap();
        let error = Tap::open(&TapConfig { mac, ..TapConfig::new("twin") }).unwrap_err();
        assert!(matches!(error, TapError::SameMac { .. }), "{error}");
        drop(persistent);
    });
}

#[test]
fn an_address_made_from_a_name_is_local_stable_and_differs_by_name() {
    let [one, same, other] = ["tap0", "tap0", "tap1"].map(mac_from_name);
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert_eq!(one[0] & 3, 2, "locally administered, unicast");
}
