//! The program by itself. That it equals the stack's classifier, and steers frames that cross a tap, is shown in
//! `tests/steering_program`.

use super::assembler::{Assembler, Register};
use super::*;

/// The key of the specification's verification suite.
const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
    0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
    0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

fn load() -> TapSteering {
    TapSteering::load(&KEY).expect("root may load the program: run this test as root")
}

/// A program whose queue is the lowest nine bits of the hash.
fn with_whole_table() -> TapSteering {
    let mut steering = load();
    steering.set_table(&(0..512).collect::<Vec<_>>()).unwrap();
    steering
}

/// A frame of the suite's first flow: TCP from 66.9.149.187:2794 to 161.142.100.80:1766.
fn tcp_v4() -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 66, 9, 149, 187, 161, 142, 100, 80]);
    frame.extend([0x0a, 0xea, 0x06, 0xe6]);
    frame.extend([0; 16]);
    frame
}

/// The same over IPv6, from 3ffe:2501:200:1fff::7 to 3ffe:2501:200:3::1.
fn tcp_v6() -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
    frame.extend([0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 7]);
    frame.extend([0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, 0, 0, 0, 0, 0, 0, 0, 1]);
    frame.extend([0x0a, 0xea, 0x06, 0xe6]);
    frame.extend([0; 16]);
    frame
}

#[test]
fn the_kernel_computes_the_hashes_that_the_rss_specification_publishes() {
    let steering = with_whole_table();
    assert_eq!(steering.run(&tcp_v4()).unwrap(), 0x51cc_c178 & 511);
    assert_eq!(steering.run(&tcp_v6()).unwrap(), 0x4020_7d3d & 511);
    // Another protocol, so that only the addresses count.
    let (mut v4, mut v6) = (tcp_v4(), tcp_v6());
    (v4[23], v6[20]) = (50, 50);
    assert_eq!(steering.run(&v4).unwrap(), 0x323e_8fc2 & 511);
    assert_eq!(steering.run(&v6).unwrap(), 0x2cc1_8cd5 & 511);
}

#[test]
fn until_a_table_is_set_all_goes_to_queue_0_and_then_a_small_one_is_repeated() {
    let mut steering = load();
    assert_eq!(steering.run(&tcp_v4()).unwrap(), 0);
    for entries in [1, 2, 4, 128, 256] {
        let queues: Vec<u16> = (1000..1000 + entries).collect();
        steering.set_table(&queues).unwrap();
        let expected = 1000 + (0x51cc_c178 & (u32::from(entries) - 1));
        assert_eq!(steering.run(&tcp_v4()).unwrap(), expected, "{entries} entries");
    }
}

#[test]
fn a_table_that_no_low_bits_can_point_into_is_refused_and_changes_nothing() {
    let mut steering = load();
    steering.set_table(&[7]).unwrap();
    for entries in [0, 3, 100, 511, 1_024] {
        let error = steering.set_table(&vec![8; entries]).unwrap_err();
        assert!(matches!(error, SteeringError::Entries { .. }));
        assert!(error.to_string().ends_with(&format!("not {entries}")), "{error}");
    }
    assert_eq!(steering.run(&tcp_v4()).unwrap(), 7);
}

#[test]
fn a_port_belongs_to_its_owner_in_its_own_space_until_it_is_given_up() {
    let steering = with_whole_table();
    let hashed = 0x51cc_c178 & 511;
    for (space, queue, expected) in [
        (PortSpace::Udp, Some(9), hashed),
        (PortSpace::Icmp, Some(9), hashed),
        (PortSpace::Tcp, Some(9), 9),
        (PortSpace::Tcp, Some(0), 0),
        (PortSpace::Tcp, Some(65_534), 65_534),
        (PortSpace::Tcp, Some(65_535), hashed),
        (PortSpace::Tcp, Some(9), 9),
        (PortSpace::Tcp, None, hashed),
    ] {
        steering.set_owner(space, 1_766, queue);
        assert_eq!(steering.run(&tcp_v4()).unwrap(), expected, "{space:?} {queue:?}");
    }
    steering.set_owner(PortSpace::Tcp, 2_794, Some(9));
    assert_eq!(steering.run(&tcp_v4()).unwrap(), hashed, "the source port's owner has no say");
}

#[test]
fn a_long_frame_is_run_by_its_beginning_and_a_short_one_not_at_all() {
    let steering = with_whole_table();
    let mut long = tcp_v4();
    long.resize(65_549, 0);
    assert_eq!(steering.run(&long).unwrap(), 0x51cc_c178 & 511);
    for length in [0, 13] {
        let error = steering.run(&long[..length]).unwrap_err();
        assert!(matches!(error, SteeringError::ShortFrame { .. }), "{error}");
        assert!(error.to_string().contains(&format!("no frame of {length} bytes")), "{error}");
    }
}

#[test]
fn a_program_works_on_another_thread_than_it_was_loaded_on() {
    let steering = with_whole_table();
    let ran = std::thread::spawn(move || {
        steering.set_owner(PortSpace::Tcp, 1_766, Some(3));
        steering.run(&tcp_v4())
    });
    assert_eq!(ran.join().unwrap().unwrap(), 3);
}

/// On a thread of its own, which has no right but these.
fn with_only(capabilities: CapabilitySet, test: fn()) {
    let limited = std::thread::spawn(move || {
        let mut sets = rustix::thread::capabilities(None).unwrap();
        assert!(sets.permitted.contains(CapabilitySet::BPF), "run this test as root");
        sets.effective = capabilities;
        sets.permitted = capabilities;
        rustix::thread::set_capabilities(None, sets).unwrap();
        test();
    });
    if let Err(panic) = limited.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn without_the_right_the_error_says_how_to_get_it_and_what_happens_without() {
    for capabilities in [CapabilitySet::empty(), CapabilitySet::BPF, CapabilitySet::PERFMON] {
        with_only(capabilities, || {
            let error = TapSteering::load(&KEY).unwrap_err();
            assert!(matches!(error, SteeringError::NotPermitted { .. }), "{error}");
            let text = error.to_string();
            for hint in ["CAP_BPF", "CAP_PERFMON", "root", "setcap", "unshare -Urn", "same results"] {
                assert!(text.contains(hint), "{text}");
            }
        });
    }
}

#[test]
fn the_rights_that_the_error_names_are_enough() {
    with_only(CapabilitySet::BPF | CapabilitySet::PERFMON, || {
        assert_eq!(with_whole_table().run(&tcp_v4()).unwrap(), 0x51cc_c178 & 511);
    });
}

#[test]
fn a_refused_program_comes_with_the_words_of_the_verifier() {
    let mut assembler = Assembler::default();
    assembler.set(Register::R0, Register::R5);
    assembler.exit();
    let instructions = assembler.finish();
    let errno = system::load(&instructions, None).unwrap_err();
    let error = refusal(&instructions, errno);
    assert!(matches!(error, SteeringError::Rejected { .. }), "{error}");
    assert!(error.to_string().contains("R5 !read_ok"), "{error}");
}

#[test]
fn other_failures_are_told_apart_from_missing_rights() {
    for errno in [Errno::PERM, Errno::ACCESS] {
        assert!(matches!(failure("try", errno), SteeringError::NotPermitted { .. }));
    }
    let error = failure("try", Errno::NOSYS);
    assert!(matches!(error, SteeringError::System { errno: Errno::NOSYS, .. }));
    assert!(error.to_string().contains("cannot try"), "{error}");
}

#[test]
fn a_run_takes_far_less_than_a_microsecond() {
    let steering = with_whole_table();
    let map = Map::new(&KEY).unwrap();
    println!("instructions: {}", program::steering_program(map.file()).len());
    let mut owned = tcp_v4();
    owned[37] = 0xe7;
    steering.set_owner(PortSpace::Tcp, 0x06e7, Some(1));
    let mut fragment = tcp_v4();
    fragment[20] = 0x20;
    let mut error = vec![2; 12];
    error.extend([
        0x08, 0x00, 0x45, 0, 0, 68, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 3, 3, 0, 0, 0, 0, 0, 0,
    ]);
    error.extend(&tcp_v4()[14..]);
    let unknown = vec![2; 60];
    let arp = [&[2; 12][..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &[7; 20]].concat();
    for (what, frame) in [
        ("TCP over IPv4, hashed", tcp_v4()),
        ("TCP over IPv4, owned", owned),
        ("a fragment", fragment),
        ("an ICMP error", error),
        ("TCP over IPv6, hashed", tcp_v6()),
        ("an ARP reply", arp),
        ("an unknown type", unknown),
    ] {
        // The least of several, since the machine may be busy with something else.
        let least = (0..10).map(|_| steering.run_often(&frame, 20_000).unwrap().nanoseconds).min().unwrap();
        println!("{what}: {least} ns");
        assert!(least < 1_000, "{what}: {least} ns");
    }
}
