//! The socket that quinn is given, without quinn: what a batch becomes, what is told of each datagram, who is woken.

mod common;

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use common::{pattern, two_hosts};
use quinn::AsyncUdpSocket;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use sunstar::wire::WireConfig;
use sunstar::{Builder, Net};

const TO: &str = "10.0.0.2:9";

async fn bind(net: &Net, local: &str) -> Arc<dyn AsyncUdpSocket> {
    sunstar_quinn::abstract_socket(net.udp_bind(local).await.unwrap())
}

fn transmit(contents: &[u8], segment_size: Option<usize>) -> Transmit<'_> {
    Transmit { destination: TO.parse().unwrap(), ecn: None, contents, segment_size, src_ip: None }
}

/// Sends as soon as there is room.
async fn send(socket: &Arc<dyn AsyncUdpSocket>, transmit: &Transmit<'_>) {
    let mut poller = Arc::clone(socket).create_io_poller();
    loop {
        poll_fn(|context| poller.as_mut().poll_writable(context)).await.unwrap();
        match socket.try_send(transmit) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            sent => return sent.unwrap(),
        }
    }
}

/// Receives once, into so many buffers of so many bytes. Each datagram, with what was told of it.
async fn receive(socket: &Arc<dyn AsyncUdpSocket>, count: usize, len: usize) -> Vec<(Vec<u8>, RecvMeta)> {
    let mut memory = vec![vec![0; len]; count];
    let mut metas = vec![RecvMeta::default(); count];
    let mut buffers: Vec<_> = memory.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
    let received = poll_fn(|context| socket.poll_recv(context, &mut buffers, &mut metas)).await.unwrap();
    let filled = buffers.iter().zip(&metas).take(received);
    let datagrams = filled.flat_map(|(buffer, meta)| {
        buffer[..meta.len].chunks(meta.stride.max(1)).map(|datagram| (datagram.to_vec(), *meta))
    });
    datagrams.collect()
}

/// Runs a sender against a receiver that is at 10.0.0.2:9, and takes so many datagrams into buffers of so many bytes.
fn received<F: Future<Output = ()>>(
    config: &WireConfig,
    wanted: usize,
    len: usize,
    sender: impl FnOnce(Net) -> F + Send,
) -> Vec<(Vec<u8>, RecvMeta)> {
    let receives = |net: Net, meeting: common::Meeting| async move {
        let socket = bind(&net, "0.0.0.0:9").await;
        meeting.wait().await;
        let mut datagrams = Vec::new();
        while datagrams.len() < wanted {
            datagrams.extend(receive(&socket, 4, len).await);
        }
        meeting.wait().await;
        datagrams
    };
    let sends = |net, meeting: common::Meeting| async move {
        meeting.wait().await;
        sender(net).await;
        meeting.wait().await;
    };
    two_hosts(config, sends, receives).1
}

#[test]
fn a_batch_arrives_whole_whatever_the_device_and_the_buffers_can_take_at_once() {
    let bytes = pattern(9_500);
    let sent = &bytes;
    for config in [WireConfig::default(), WireConfig::default().with_offloads()] {
        // From room for one datagram, and one and a half, to room for all.
        for len in [1_000, 1_500, 3_200, 16_000] {
            let datagrams = received(&config, 10, len, |net| async move {
                let socket = bind(&net, "0.0.0.0:0").await;
                send(&socket, &transmit(sent, Some(1_000))).await;
            });
            assert!(datagrams.iter().map(|(datagram, _)| datagram).eq(sent.chunks(1_000)), "{len}");
        }
    }
}

#[test]
fn a_batch_that_a_device_coalesced_fills_one_buffer() {
    let config = WireConfig::default().with_offloads();
    let datagrams = received(&config, 10, 16_000, |net| async move {
        let socket = bind(&net, "0.0.0.0:0").await;
        send(&socket, &transmit(&pattern(9_500), Some(1_000))).await;
    });
    let RecvMeta { len, stride, .. } = datagrams[0].1;
    assert_eq!((len, stride), (9_500, 1_000));
}

#[test]
fn a_batch_larger_than_an_ip_packet_loses_none_of_its_datagrams() {
    let bytes = pattern(10 * 8_500);
    let sent = &bytes;
    let config = WireConfig { mtu: 9_000, ..WireConfig::default() }.with_offloads();
    let datagrams = received(&config, 10, 65_536, |net| async move {
        let socket = bind(&net, "0.0.0.0:0").await;
        send(&socket, &transmit(sent, Some(8_500))).await;
    });
    assert!(datagrams.iter().map(|(datagram, _)| datagram).eq(sent.chunks(8_500)));
}

#[test]
fn every_datagram_tells_its_addresses_and_its_congestion_mark() {
    let marks = [None, Some(EcnCodepoint::Ect0), Some(EcnCodepoint::Ect1), Some(EcnCodepoint::Ce)];
    let datagrams = received(&WireConfig::default(), 4, 100, |net| async move {
        let socket = bind(&net, "0.0.0.0:8").await;
        for ecn in marks {
            send(&socket, &Transmit { ecn, ..transmit(b"marked", None) }).await;
        }
    });
    for ((_, meta), mark) in datagrams.iter().zip(marks) {
        assert_eq!((meta.addr, meta.ecn), ("10.0.0.1:8".parse::<SocketAddr>().unwrap(), mark));
        assert_eq!(meta.dst_ip, Some(IpAddr::from([10, 0, 0, 2])));
    }
}

#[test]
fn a_datagram_leaves_from_the_address_it_is_given() {
    let addresses = ["10.0.0.1", "10.0.0.4"].map(|address| address.parse::<IpAddr>().unwrap());
    let builder = addresses
        .iter()
        .fold(Builder::new(), |builder, address| builder.address(format!("{address}/24").parse().unwrap()));
    let sources = common::run(builder, |net| async move {
        let socket = bind(&net, "0.0.0.0:9").await;
        for address in addresses {
            let destination = SocketAddr::new(addresses[0], 9);
            send(&socket, &Transmit { destination, src_ip: Some(address), ..transmit(b"!", None) }).await;
        }
        let mut sources = Vec::new();
        while sources.len() < 2 {
            sources.extend(receive(&socket, 4, 100).await.iter().map(|(_, meta)| meta.addr.ip()));
        }
        sources
    });
    assert_eq!(sources.unwrap(), addresses);
}

#[test]
fn a_datagram_that_cannot_be_sent_is_lost_and_costs_the_sender_nothing_else() {
    let datagrams = received(&WireConfig::default(), 1, 2_000, |net| async move {
        let socket = bind(&net, "0.0.0.0:0").await;
        assert!(!socket.may_fragment());
        socket.try_send(&transmit(&[0; 1_473], None)).unwrap();
        let nowhere = "192.0.2.1:9".parse().unwrap();
        socket.try_send(&Transmit { destination: nowhere, ..transmit(b"no route", None) }).unwrap();
        let foreign = Some([192, 0, 2, 1].into());
        socket.try_send(&Transmit { src_ip: foreign, ..transmit(b"not our address", None) }).unwrap();
        send(&socket, &transmit(&[1; 1_472], None)).await;
    });
    assert_eq!(datagrams.len(), 1);
    assert_eq!(datagrams[0].0, [1; 1_472]);
}

#[test]
fn all_who_wait_for_room_on_one_socket_are_woken() {
    const WAITING: usize = 20;
    let config = WireConfig { capacity: 4, ..WireConfig::default() };
    two_hosts(
        &config,
        |net, meeting| async move {
            let socket = bind(&net, "0.0.0.0:0").await;
            meeting.wait().await;
            // Learns the neighbour first, so that nothing is lost while it is asked for.
            send(&socket, &transmit(b"hello", None)).await;
            receive(&socket, 1, 100).await;
            let (woken, blocked) = (Rc::new(Cell::new(0)), &mut 0);
            let mut waiting = Vec::new();
            while waiting.len() < WAITING {
                match socket.try_send(&transmit(&[0; 60_000], Some(1_000))) {
                    Ok(()) => {}
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        *blocked += 1;
                        let mut poller = Arc::clone(&socket).create_io_poller();
                        let woken = Rc::clone(&woken);
                        waiting.push(net.spawn(async move {
                            poll_fn(|context| poller.as_mut().poll_writable(context)).await.unwrap();
                            woken.set(woken.get() + 1);
                        }));
                    }
                }
            }
            for waited in waiting {
                waited.await.unwrap();
            }
            assert_eq!((woken.get(), *blocked), (WAITING, WAITING));
            meeting.wait().await;
        },
        |net, meeting| async move {
            let socket = bind(&net, "0.0.0.0:9").await;
            meeting.wait().await;
            let (_, meta) = receive(&socket, 1, 100).await.remove(0);
            socket.try_send(&Transmit { destination: meta.addr, ..transmit(b"hello", None) }).unwrap();
            meeting.wait().await;
        },
    );
}

#[test]
fn a_poller_waits_again_once_the_room_is_gone_again() {
    let datagrams = received(&WireConfig::default(), 1, 2_000, |net| async move {
        let socket = bind(&net, "0.0.0.0:0").await;
        let mut poller = Arc::clone(&socket).create_io_poller();
        for _ in 0..50 {
            while socket.try_send(&transmit(&[0; 60_000], Some(1_000))).is_ok() {}
            poll_fn(|context| poller.as_mut().poll_writable(context)).await.unwrap();
            socket.try_send(&transmit(&[0; 60_000], Some(1_000))).expect("there is room, as the poller said");
        }
    });
    assert!(!datagrams.is_empty());
}
