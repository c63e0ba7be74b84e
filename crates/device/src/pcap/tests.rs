//! What a capture file holds, and what becomes of it when its disk is full.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use etherparse::PacketBuilder;
use pcap_file::pcapng::{Block, PcapNgReader};
use sunstar_packet::ChecksumNote;

use super::*;
use crate::testing::{Source, bytes_of, packet, pool, receive_all};
use crate::wire::{WireConfig, WireEnd, pair};

/// A file in memory that takes `room` bytes.
#[derive(Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    room: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.bytes.lock().unwrap();
        if written.len() + bytes.len() > self.room {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A frame as the file has it: stamp, direction, length on the wire, bytes.
type Captured = (u64, u32, u32, Vec<u8>);

fn read(disk: &Disk) -> Vec<Captured> {
    let bytes = disk.bytes.lock().unwrap().clone();
    let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
    let mut captured = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(block) = block.unwrap() {
            let [EnhancedPacketOption::Flags(direction)] = block.options[..] else {
                panic!("each frame has its direction: {:?}", block.options)
            };
            let stamp = block.timestamp.as_nanos() as u64;
            captured.push((stamp, direction, block.original_len, block.data.to_vec()));
        }
    }
    captured
}

fn config(snap_length: Option<u32>) -> PcapConfig {
    PcapConfig { interface: "test0".to_owned(), snap_length }
}

/// A capturing end whose clock counts the frames, its other end, its disk, and what failures it reported.
fn capturing(
    room: usize,
    snap_length: Option<u32>,
) -> (Pcap<WireEnd>, WireEnd, Disk, Arc<Mutex<Vec<String>>>) {
    let (left, right) = pair(&WireConfig::default().with_offloads()).unwrap();
    let disk = Disk { room, ..Disk::default() };
    let ticks = AtomicU64::new(1_700_000_000_000_000_000);
    let failures = Arc::new(Mutex::new(Vec::new()));
    let clock = move || ticks.fetch_add(1, Ordering::Relaxed);
    let on_failure = {
        let failures = failures.clone();
        move |error: PcapError| failures.lock().unwrap().push(error.to_string())
    };
    let left = Pcap::new(left, config(snap_length), disk.clone(), clock, on_failure).unwrap();
    (left, right, disk, failures)
}

#[test]
fn frames_of_both_directions_are_captured_with_nanosecond_stamps() {
    let pool = pool();
    let (mut left, mut right, disk, _) = capturing(usize::MAX, None);
    left.pull(&pool, 64, &mut Source::of([packet(&pool, b"outward")])).unwrap();
    right.pull(&pool, 64, &mut Source::of([packet(&pool, b"inward")])).unwrap();
    receive_all(&mut left, &pool);
    drop(left);
    let expected = [
        (1_700_000_000_000_000_000, OUTBOUND, 7, b"outward".to_vec()),
        (1_700_000_000_000_000_001, INBOUND, 6, b"inward".to_vec()),
    ];
    assert_eq!(read(&disk), expected);
}

#[test]
fn the_file_names_the_interface_and_its_resolution() {
    let (left, _right, disk, _) = capturing(usize::MAX, Some(96));
    drop(left);
    let bytes = disk.bytes.lock().unwrap();
    let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
    let Some(Ok(Block::InterfaceDescription(interface))) = reader.next_block() else {
        panic!("the interface comes first")
    };
    assert_eq!((interface.linktype, interface.snaplen), (DataLink::ETHERNET, 96));
    let expected = [
        InterfaceDescriptionOption::IfName(Cow::Borrowed("test0")),
        InterfaceDescriptionOption::IfTsResol(9),
    ];
    assert_eq!(interface.options, expected);
}

#[test]
fn only_the_first_bytes_are_kept_when_asked_so() {
    let pool = pool();
    let (mut left, _right, disk, _) = capturing(usize::MAX, Some(4));
    left.pull(&pool, 64, &mut Source::of([packet(&pool, b"0123456789")])).unwrap();
    assert!(!left.arm(false), "arming flushes");
    assert_eq!(read(&disk), [(1_700_000_000_000_000_000, OUTBOUND, 10, b"0123".to_vec())]);
}

#[test]
fn a_partial_checksum_is_complete_in_the_capture_and_partial_on_the_wire() {
    let pool = pool();
    let (mut left, mut right, disk, _) = capturing(usize::MAX, None);
    let mut whole = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    builder.udp(1, 2).write(&mut whole, b"payload").unwrap();
    let mut partial = whole.clone();
    // 10.0 + 0.1 + 10.0 + 0.2, the protocol, the length.
    partial[40..42].copy_from_slice(&(0x0a00 * 2 + 1 + 2 + 17 + 15_u16).to_be_bytes());
    let mut sent = packet(&pool, &partial);
    sent.notes.checksum = ChecksumNote::Partial { start: 34, offset: 6 };
    left.pull(&pool, 64, &mut Source::of([sent])).unwrap();
    drop(left);
    assert_eq!(read(&disk)[0].3, whole);
    assert_eq!(bytes_of(&receive_all(&mut right, &pool)), [partial]);
}

#[test]
fn a_full_disk_ends_the_capture_with_one_report_and_traffic_goes_on() {
    let pool = pool();
    let (mut left, mut right, disk, failures) = capturing(500, None);
    for round in 0..10u8 {
        left.pull(&pool, 64, &mut Source::of([packet(&pool, &[round; 100])])).unwrap();
        left.arm(false);
    }
    assert!(!left.is_capturing());
    assert_eq!(receive_all(&mut right, &pool).len(), 10);
    drop(left);
    assert_eq!(failures.lock().unwrap().len(), 1);
    assert!(failures.lock().unwrap()[0].contains("the capture of test0"));
    assert!((1..=3).contains(&read(&disk).len()), "what was written before can be read");
}

#[test]
fn a_file_that_takes_nothing_is_an_error_at_once() {
    let (left, _right) = pair(&WireConfig::default()).unwrap();
    let error = Pcap::new(left, config(None), Disk::default(), || 0, |_| {}).unwrap_err();
    assert!(error.to_string().contains("test0"), "{error}");
}

#[test]
fn without_a_capture_frames_pass_all_the_same() {
    let pool = pool();
    let (left, mut right) = pair(&WireConfig::default()).unwrap();
    let mut left = Pcap::off(left);
    left.pull(&pool, 64, &mut Source::of([packet(&pool, b"unseen")])).unwrap();
    assert_eq!(bytes_of(&receive_all(&mut right, &pool)), [b"unseen"]);
}
