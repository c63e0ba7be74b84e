//! QUIC between two hosts joined by a wire: files, streams, datagrams, and how a connection moves and ends.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Meeting, SERVER, Signal, Trust, connect, get, serve, two_hosts};
use quinn::{Connection, ConnectionError, EndpointConfig};
use sunstar::wire::WireConfig;
use sunstar::{InterfaceId, Ipv4Header, Net, Packet, PacketFilter, Verdict};
use sunstar_wire::Protocol;

/// Runs a client against a server of files.
fn against_files<F: Future<Output: Send>>(
    config: &WireConfig,
    trust: &Trust,
    client: impl FnOnce(Net) -> F + Send,
) -> F::Output {
    let served = |net: Net, meeting: Meeting| async move {
        let endpoint = sunstar_quinn::server(&net, "0.0.0.0:4433", trust.server.clone()).await.unwrap();
        net.spawn(serve(net.clone(), endpoint));
        meeting.wait().await;
        meeting.wait().await;
    };
    let asks = |net, meeting: Meeting| async move {
        meeting.wait().await;
        let output = client(net).await;
        meeting.wait().await;
        output
    };
    two_hosts(config, asks, served).0
}

/// Runs a client against a server of one connection.
fn face_to_face<F, G>(
    trust: &Trust,
    client: impl FnOnce(Connection) -> F + Send,
    server: impl FnOnce(Connection) -> G,
) -> (F::Output, G::Output)
where
    F: Future<Output: Send>,
    G: Future,
{
    let serves = |net: Net, meeting: Meeting| async move {
        let endpoint = sunstar_quinn::server(&net, "0.0.0.0:4433", trust.server.clone()).await.unwrap();
        meeting.wait().await;
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let output = server(connection).await;
        meeting.wait().await;
        output
    };
    let asks = |net: Net, meeting: Meeting| async move {
        meeting.wait().await;
        let endpoint = trust.client(&net).await;
        let output = client(connect(&endpoint, SERVER).await).await;
        endpoint.wait_idle().await;
        meeting.wait().await;
        output
    };
    two_hosts(&WireConfig::default(), asks, serves)
}

#[test]
fn a_file_of_some_mebibytes_is_fetched_intact_with_and_without_offloads() {
    for config in [WireConfig::default(), WireConfig::default().with_offloads()] {
        let trust = &Trust::new();
        against_files(&config, trust, |net| async move {
            get(&trust.connect(&net).await, 8 << 20).await;
        });
    }
}

#[test]
fn many_streams_of_one_connection_are_answered_at_once() {
    let trust = &Trust::new();
    against_files(&WireConfig::default().with_offloads(), trust, |net| async move {
        let connection = trust.connect(&net).await;
        let ask = |number: usize| {
            let connection = connection.clone();
            net.spawn(async move { get(&connection, number * 1_000).await })
        };
        for answered in (0..300).map(ask).collect::<Vec<_>>() {
            answered.await.unwrap();
        }
    });
}

#[test]
fn many_connections_through_one_socket_each_get_their_files() {
    let trust = &Trust::new();
    against_files(&WireConfig::default(), trust, |net| async move {
        let endpoint = trust.client(&net).await;
        let ask = |number: usize| {
            let endpoint = endpoint.clone();
            net.spawn(async move { get(&connect(&endpoint, SERVER).await, 100_000 + number).await })
        };
        for answered in (0..40).map(ask).collect::<Vec<_>>() {
            answered.await.unwrap();
        }
    });
}

#[test]
fn unreliable_datagrams_are_echoed() {
    face_to_face(
        &Trust::new(),
        |connection| async move {
            for number in 0..100u8 {
                let datagram = Bytes::from(vec![number; 1_000]);
                connection.send_datagram(datagram.clone()).unwrap();
                assert_eq!(connection.read_datagram().await.unwrap(), datagram);
            }
            connection.close(0u8.into(), b"");
        },
        |connection| async move {
            while let Ok(datagram) = connection.read_datagram().await {
                connection.send_datagram(datagram).unwrap();
            }
        },
    );
}

#[test]
fn a_server_hears_why_its_client_closed() {
    let ((), reason) = face_to_face(
        &Trust::new(),
        |connection| async move { connection.close(42u8.into(), b"enough") },
        |connection| async move { connection.closed().await },
    );
    let ConnectionError::ApplicationClosed(close) = reason else { panic!("{reason}") };
    assert_eq!((close.error_code, &close.reason[..]), (42u8.into(), &b"enough"[..]));
}

/// Fetches files until the connection's datagrams are as large as the path takes them, or nearly.
async fn find_mtu(connection: &Connection, mtu: usize) {
    let largest = (mtu - 28) as u16;
    loop {
        get(connection, 1 << 20).await;
        let found = connection.stats().path.current_mtu;
        assert!(found <= largest, "{found} bytes, where {largest} fit");
        if found + 20 >= largest {
            return;
        }
    }
}

#[test]
fn a_connection_finds_the_mtu_of_its_path() {
    let trust = &Trust::new();
    let config = WireConfig { mtu: 1_400, ..WireConfig::default() };
    against_files(&config, trust, |net| async move {
        find_mtu(&trust.connect(&net).await, 1_400).await;
    });
}

#[test]
fn a_connection_whose_client_moves_to_another_port_goes_on() {
    let trust = &Trust::new();
    let ports = against_files(&WireConfig::default(), trust, |net| async move {
        let endpoint = trust.client(&net).await;
        let connection = connect(&endpoint, SERVER).await;
        get(&connection, 10_000).await;
        let before = endpoint.local_addr().unwrap().port();
        let elsewhere = net.udp_bind("0.0.0.0:0").await.unwrap();
        endpoint.rebind_abstract(sunstar_quinn::abstract_socket(elsewhere)).unwrap();
        get(&connection, 10_000).await;
        [before, endpoint.local_addr().unwrap().port()]
    });
    assert_ne!(ports[0], ports[1]);
}

#[test]
fn a_host_of_several_addresses_answers_from_the_one_that_was_asked() {
    let trust = &Trust::new();
    against_files(&WireConfig::default(), trust, |net| async move {
        let endpoint = trust.client(&net).await;
        for address in ["10.0.0.2:4433", "10.0.0.3:4433"] {
            get(&connect(&endpoint, address).await, 100_000).await;
        }
    });
}

/// Says that an ICMP message has come.
struct IcmpSeen(Signal);

impl PacketFilter for IcmpSeen {
    fn filter(&mut self, _: InterfaceId, header: &Ipv4Header, packet: Packet) -> Verdict {
        if header.protocol == Protocol::ICMP {
            self.0.say();
        }
        Verdict::Pass(packet)
    }
}

#[test]
fn a_client_that_was_refused_goes_on_asking_until_the_server_is_there() {
    let (trust, refused) = (&Trust::new(), &Signal::default());
    two_hosts(
        &WireConfig::default(),
        |net, meeting| async move {
            net.install_filter(Box::new(IcmpSeen(refused.clone()))).unwrap();
            // Only a connected socket hears of ICMP errors.
            let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
            socket.connect(SERVER).unwrap();
            let config = EndpointConfig::default();
            let mut endpoint = sunstar_quinn::endpoint(&net, socket, config, None).unwrap();
            endpoint.set_default_client_config(trust.client.clone());
            get(&connect(&endpoint, SERVER).await, 10_000).await;
            meeting.wait().await;
        },
        |net, meeting| async move {
            refused.heard().await;
            let endpoint = sunstar_quinn::server(&net, "0.0.0.0:4433", trust.server.clone()).await.unwrap();
            net.spawn(serve(net.clone(), endpoint));
            meeting.wait().await;
        },
    );
}

/// Loses one packet in so many, by a rule that is no rhythm of the sender's.
struct Loss {
    one_in: u32,
    state: u32,
    lost: Arc<AtomicUsize>,
}

impl PacketFilter for Loss {
    fn filter(&mut self, _: InterfaceId, _: &Ipv4Header, packet: Packet) -> Verdict {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if (self.state >> 16).is_multiple_of(self.one_in) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Verdict::Drop;
        }
        Verdict::Pass(packet)
    }
}

#[test]
fn a_file_comes_intact_over_a_path_that_loses_one_datagram_in_thirty() {
    let (trust, lost) = (&Trust::new(), Arc::new(AtomicUsize::new(0)));
    let loss = Loss { one_in: 30, state: 1, lost: Arc::clone(&lost) };
    against_files(&WireConfig::default(), trust, |net| async move {
        net.install_filter(Box::new(loss)).unwrap();
        get(&trust.connect(&net).await, 2 << 20).await;
    });
    assert!(lost.load(Ordering::Relaxed) > 30, "{lost:?}");
}

/// Panics on the first packet once it is told to.
struct Trap(Arc<AtomicBool>);

impl PacketFilter for Trap {
    fn filter(&mut self, _: InterfaceId, _: &Ipv4Header, packet: Packet) -> Verdict {
        assert!(!self.0.swap(false, Ordering::Relaxed), "the shard is broken on purpose");
        Verdict::Pass(packet)
    }
}

#[test]
fn a_shard_that_panics_ends_its_connections_at_once_and_a_new_endpoint_works() {
    let trust = &Trust::new();
    against_files(&WireConfig::default(), trust, |net| async move {
        let trap = Arc::new(AtomicBool::default());
        net.install_filter(Box::new(Trap(Arc::clone(&trap)))).unwrap();
        let connection = trust.connect(&net).await;
        trap.store(true, Ordering::Relaxed);
        let (mut question, _answer) = connection.open_bi().await.unwrap();
        question.write_all(b"GET 1").await.unwrap();
        question.finish().unwrap();
        let ends = tokio::time::timeout(Duration::from_secs(5), connection.closed()).await;
        ends.expect("long before QUIC would time out");
        get(&trust.connect(&net).await, 10_000).await;
    });
}
