//! The specification's verification suite, and each kernel beside the definition.

use core::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;

/// "Verifying the RSS Hash Calculation": destination, source, hash of the addresses, hash with TCP ports.
const VERIFICATION_SUITE: [(&str, &str, u32, u32); 8] = [
    ("161.142.100.80:1766", "66.9.149.187:2794", 0x323e_8fc2, 0x51cc_c178),
    ("65.69.140.83:4739", "199.92.111.2:14230", 0xd718_262a, 0xc626_b0ea),
    ("12.22.207.184:38024", "24.19.198.95:12898", 0xd2d0_a5de, 0x5c2b_394a),
    ("209.142.163.6:2217", "38.27.205.30:48228", 0x8298_9176, 0xafc7_327f),
    ("202.188.127.2:1303", "153.39.163.191:44251", 0x5d18_09c5, 0x10e8_28a2),
    ("[3ffe:2501:200:3::1]:1766", "[3ffe:2501:200:1fff::7]:2794", 0x2cc1_8cd5, 0x4020_7d3d),
    ("[ff02::1]:4739", "[3ffe:501:8::260:97ff:fe40:efab]:14230", 0x0f0c_461c, 0xdde5_1bbf),
    (
        "[fe80::200:f8ff:fe21:67cf]:38024",
        "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
        0x4b61_e985,
        0x02d1_feef,
    ),
];

/// Every kernel this machine can run.
fn kernels(key: RssKey) -> Vec<Toeplitz> {
    let tables = Toeplitz { key, kernel: Kernel::Tables(Tables::new(&key)) };
    vec![tables, Toeplitz::new(key)]
}

/// The definition, bit by bit.
fn defined(key: &RssKey, tuple: &[u8]) -> u32 {
    (0..tuple.len() * 8)
        .filter(|bit| tuple[bit / 8] >> (7 - bit % 8) & 1 == 1)
        .fold(0, |hash, bit| hash ^ key.window(bit))
}

/// The hash of a tuple as long as its addresses make it.
fn hash(toeplitz: &Toeplitz, source: SocketAddr, destination: SocketAddr, with_ports: bool) -> u32 {
    let mut tuple = Vec::new();
    for address in [source.ip(), destination.ip()] {
        match address {
            IpAddr::V4(address) => tuple.extend(address.octets()),
            IpAddr::V6(address) => tuple.extend(address.octets()),
        }
    }
    if with_ports {
        tuple.extend(source.port().to_be_bytes());
        tuple.extend(destination.port().to_be_bytes());
    }
    match tuple.len() {
        8 => toeplitz.hash::<8>(tuple.as_slice().try_into().unwrap()),
        12 => toeplitz.hash::<12>(tuple.as_slice().try_into().unwrap()),
        32 => toeplitz.hash::<32>(tuple.as_slice().try_into().unwrap()),
        _ => toeplitz.hash::<36>(tuple.as_slice().try_into().unwrap()),
    }
}

#[test]
fn every_hash_of_the_published_verification_suite_comes_out() {
    for (destination, source, addresses_only, with_ports) in VERIFICATION_SUITE {
        let (destination, source) = (destination.parse().unwrap(), source.parse().unwrap());
        for toeplitz in kernels(RssKey::MICROSOFT) {
            assert_eq!(hash(&toeplitz, source, destination, false), addresses_only, "{toeplitz:?}");
            assert_eq!(hash(&toeplitz, source, destination, true), with_ports, "{toeplitz:?}");
        }
    }
}

#[test]
fn a_random_key_differs_from_the_next_and_is_never_printed() {
    let mut random = Random::from_seed(1);
    let key = RssKey::random(&mut random);
    assert_ne!(key, RssKey::random(&mut random));
    assert_eq!(Toeplitz::new(key).key(), &key);
    assert_eq!(format!("{key:?}"), "RssKey(..)");
}

proptest! {
    #[test]
    fn every_kernel_agrees_with_the_definition(
        key in any::<[u8; RssKey::LEN]>(),
        tuple in any::<[u8; MAX_TUPLE_LEN]>(),
    ) {
        let key = RssKey(key);
        for toeplitz in kernels(key) {
            prop_assert_eq!(toeplitz.hash(&tuple), defined(&key, &tuple));
            for short in [tuple.first_chunk::<12>(), tuple.last_chunk::<12>()].into_iter().flatten() {
                prop_assert_eq!(toeplitz.hash(short), defined(&key, short));
            }
        }
    }
}

/// The entries of the largest table that the ports of the default range reach as a source's, and as a destination's.
fn reached(key: RssKey, addresses: [u8; 8]) -> [usize; 2] {
    let toeplitz = Toeplitz::new(key);
    let entry = |ports: [u8; 4]| {
        let mut tuple = [0; 12];
        tuple[..8].copy_from_slice(&addresses);
        tuple[8..].copy_from_slice(&ports);
        toeplitz.hash(&tuple) % 512
    };
    let ports = (32_768..=60_999_u16).map(u16::to_be_bytes);
    let count = |entries: std::collections::BTreeSet<u32>| entries.len();
    [
        count(ports.clone().map(|[a, b]| entry([a, b, 0, 80])).collect()),
        count(ports.map(|[a, b]| entry([0, 80, a, b])).collect()),
    ]
}

#[test]
fn by_a_random_key_the_ports_of_a_flow_reach_every_entry() {
    let mut random = Random::from_seed(1);
    for _ in 0..200 {
        let key = RssKey::random(&mut random);
        let mut addresses = [0; 8];
        random.fill(&mut addresses);
        assert_eq!(reached(key, addresses), [512, 512]);
    }
}

#[test]
fn a_key_by_which_ports_reach_some_entries_only_is_known() {
    let mut key = RssKey::random(&mut Random::from_seed(1));
    assert!(key.spreads(80));
    // What the bits of a destination port add to the lowest bits of the hash begins at bit 80 + 32 - 9 of the key.
    key.0[13..16].fill(0x55);
    assert!(!key.spreads(80));
    assert!(reached(key, [10, 0, 0, 1, 10, 0, 0, 2])[1] < 512);
}
