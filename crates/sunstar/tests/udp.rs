//! UDP sockets and echo sockets.

mod common;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::{alone, pattern, two_hosts, two_hosts_that};
use sunstar::wire::WireConfig;
use sunstar::{
    Builder, EchoAnswer, EchoRequest, Ecn, InterfaceId, Ipv4Header, Packet, PacketFilter, ShardConfig,
    SocketError, UdpTransmit, Verdict,
};
use tokio::io::ReadBuf;

#[test]
fn a_datagram_comes_back_from_a_host_on_another_thread() {
    let (echoed, received) = two_hosts(
        &WireConfig::default(),
        |net, meeting| async move {
            let socket = net.udp_bind("0.0.0.0:7").await.unwrap();
            meeting.wait().await;
            let mut buffer = [0; 1_500];
            let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
            let sent = socket.send_to(&buffer[..len], from).await.unwrap();
            meeting.wait().await;
            sent
        },
        |net, meeting| async move {
            meeting.wait().await;
            let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
            socket.connect((common::A, 7)).unwrap();
            socket.send(b"hello").await.unwrap();
            let mut buffer = [0; 1_500];
            let len = socket.recv(&mut buffer).await.unwrap();
            assert_eq!(socket.peer_addr().unwrap(), "10.0.0.1:7".parse().unwrap());
            meeting.wait().await;
            buffer[..len].to_vec()
        },
    );
    assert_eq!((echoed, &received[..]), (5, &b"hello"[..]));
}

#[test]
fn a_gateway_answers_a_ping() {
    alone(|net| async move {
        let echo = net.echo().await.unwrap();
        let before = net.now();
        let gateway: IpAddr = [10, 0, 0, 1].into();
        for sequence in 1..=3 {
            echo.send(gateway, EchoRequest::new(sequence), b"are you there?").await.unwrap();
            let reply = echo.recv().await.unwrap();
            assert_eq!((reply.from, reply.sequence), (gateway, sequence));
            assert_eq!(reply.payload.to_vec(), b"are you there?");
            assert!(reply.at >= before);
        }
    });
}

/// Loses all fragments but first ones.
struct OnlyFirst;

impl PacketFilter for OnlyFirst {
    fn filter(&mut self, _: InterfaceId, header: &Ipv4Header, packet: Packet) -> Verdict {
        if header.fragment_offset == 0 { Verdict::Pass(packet) } else { Verdict::Drop }
    }
}

#[test]
fn an_echo_socket_is_told_what_is_said_instead_of_a_reply() {
    let impatient = |host: Builder| {
        let mut config = ShardConfig::default();
        config.reassembly.timeout = sunstar::time::Duration::from_millis(50);
        host.config(config)
    };
    two_hosts_that(
        impatient,
        &WireConfig::default(),
        |net, meeting| async move {
            net.install_filter(Box::new(OnlyFirst)).unwrap();
            meeting.wait().await;
            meeting.wait().await;
        },
        |net, meeting| async move {
            meeting.wait().await;
            let echo = net.echo().await.unwrap();
            let request = EchoRequest::new(7);
            echo.send(IpAddr::from(common::A), request, &[0; 4_000]).await.unwrap();
            let reply = echo.recv().await.unwrap();
            assert_eq!(reply.answer, EchoAnswer::ReassemblyTimeExceeded);
            assert_eq!((reply.from, reply.sequence), (common::A.into(), 7));

            let whole = EchoRequest { may_fragment: false, ..request };
            let error = echo.send(IpAddr::from(common::A), whole, &[0; 4_000]).await.unwrap_err();
            let limit = SocketError::MessageTooLong { len: 4_000, limit: 1_472 };
            assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&limit));
            meeting.wait().await;
        },
    );
}

#[test]
fn a_socket_broadcasts_only_after_it_has_asked_to() {
    two_hosts(
        &WireConfig::default(),
        |net, meeting| async move {
            let socket = net.udp_bind("0.0.0.0:67").await.unwrap();
            meeting.wait().await;
            let mut buffer = [0; 100];
            let (len, _) = socket.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..len], b"on purpose");
        },
        |net, meeting| async move {
            meeting.wait().await;
            let socket = net.udp_bind("0.0.0.0:68").await.unwrap();
            let refused = socket.send_to(b"by accident", "255.255.255.255:67").await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
            socket.set_broadcast(true).unwrap();
            socket.send_to(b"on purpose", "255.255.255.255:67").await.unwrap();
        },
    );
}

#[test]
fn a_message_tells_its_destination_ttl_and_congestion_mark() {
    alone(|net| async move {
        let (sender, receiver) =
            (net.udp_bind("0.0.0.0:0").await.unwrap(), net.udp_bind("0.0.0.0:9").await.unwrap());
        let transmit = UdpTransmit {
            destination: Some("10.0.0.2:9".parse().unwrap()),
            source: Some(Ipv4Addr::new(10, 0, 0, 2).into()),
            ttl: Some(7),
            ecn: Ecn::Ect0,
            segment_size: None,
            ..UdpTransmit::default()
        };
        sender.send_message(&transmit, b"marked").await.unwrap();
        let message = receiver.recv_message().await.unwrap();
        assert_eq!(message.to, "10.0.0.2:9".parse().unwrap());
        assert_eq!(message.from.ip(), Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!((message.ttl, message.ecn), (7, Ecn::Ect0));
        assert_eq!(message.payload.to_vec(), b"marked");
    });
}

#[test]
fn a_batch_sent_in_one_call_is_received_datagram_by_datagram() {
    for config in [WireConfig::default(), WireConfig::default().with_offloads()] {
        let (sizes, ()) = two_hosts(
            &config,
            |net, meeting| async move {
                let socket = net.udp_bind("0.0.0.0:9").await.unwrap();
                meeting.wait().await;
                let mut sizes = Vec::new();
                let mut buffer = [0; 2_000];
                let mut bytes = Vec::new();
                while bytes.len() < 4_500 {
                    let (len, _) = socket.recv_from(&mut buffer).await.unwrap();
                    bytes.extend_from_slice(&buffer[..len]);
                    sizes.push(len);
                }
                assert_eq!(bytes, pattern(4_500));
                meeting.wait().await;
                sizes
            },
            |net, meeting| async move {
                meeting.wait().await;
                let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
                let destination = Some(SocketAddr::from((common::A, 9)));
                let transmit =
                    UdpTransmit { destination, segment_size: Some(1_000), ..UdpTransmit::default() };
                assert_eq!(socket.send_message(&transmit, &pattern(4_500)).await.unwrap(), 4_500);
                meeting.wait().await;
            },
        );
        assert_eq!(sizes, [1_000, 1_000, 1_000, 1_000, 500]);
    }
}

#[test]
fn many_messages_are_received_in_one_call() {
    alone(|net| async move {
        let (sender, receiver) =
            (net.udp_bind("0.0.0.0:0").await.unwrap(), net.udp_bind("127.0.0.1:9").await.unwrap());
        for number in 0..20u8 {
            sender.send_to(&[number], "127.0.0.1:9").await.unwrap();
        }
        let mut messages = Vec::new();
        while messages.len() < 20 {
            let before = messages.len();
            let more = receiver.recv_many(&mut messages, 8).await.unwrap();
            assert_eq!(messages.len(), before + more);
            assert!((1..=8).contains(&more));
        }
        let numbers: Vec<_> = messages.iter().map(|message| message.payload.to_vec()[0]).collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn a_peeked_datagram_is_still_there() {
    alone(|net| async move {
        let socket = net.udp_bind("127.0.0.1:9").await.unwrap();
        socket.send_to(b"look", "127.0.0.1:9").await.unwrap();
        let mut buffer = [0; 10];
        let peeked = socket.peek_from(&mut buffer).await.unwrap();
        assert_eq!(socket.recv_from(&mut buffer).await.unwrap(), peeked);
        assert_eq!(&buffer[..peeked.0], b"look");
        assert_eq!(socket.try_recv(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    });
}

#[test]
fn a_reader_woken_by_readiness_finds_the_datagram() {
    alone(|net| async move {
        let socket = std::rc::Rc::new(net.udp_bind("127.0.0.1:9").await.unwrap());
        let reader = std::rc::Rc::clone(&socket);
        let reading = net.spawn(async move {
            let mut memory = [0; 16];
            loop {
                reader.readable().await.unwrap();
                let mut buffer = ReadBuf::new(&mut memory);
                match std::future::poll_fn(|context| {
                    std::task::Poll::Ready(reader.poll_recv_from(context, &mut buffer))
                })
                .await
                {
                    std::task::Poll::Ready(from) => return (from.unwrap(), buffer.filled().to_vec()),
                    std::task::Poll::Pending => {}
                }
            }
        });
        socket.writable().await.unwrap();
        assert_eq!(socket.try_send_to(b"ready", "127.0.0.1:9".parse().unwrap()).unwrap(), 5);
        let (from, bytes) = reading.await.unwrap();
        assert_eq!((from, &bytes[..]), (socket.local_addr().unwrap(), &b"ready"[..]));
    });
}

#[test]
fn a_sender_without_credit_waits_and_nothing_is_lost_on_a_wire() {
    const COUNT: u32 = 5_000;
    let (received, ()) = two_hosts(
        &WireConfig::default(),
        |net, meeting| async move {
            let socket = net.udp_bind("0.0.0.0:9").await.unwrap();
            meeting.wait().await;
            let mut buffer = [0; 1_500];
            let mut received = 0;
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                if len == 4 {
                    socket.send_to(b"done", from).await.unwrap();
                    meeting.wait().await;
                    return received;
                }
                received += 1;
                socket.send_to(&buffer[..1], from).await.unwrap();
            }
        },
        |net, meeting| async move {
            meeting.wait().await;
            let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
            socket.connect((common::A, 9)).unwrap();
            let payload = pattern(1_400);
            let mut answer = [0; 4];
            // A window of its own: UDP has none, and the receiver's buffer is bounded. The first goes alone, since few may
            // wait for a neighbour to answer.
            for number in 0..COUNT {
                socket.send(&payload).await.unwrap();
                if number == 0 || number > 100 {
                    assert_eq!(socket.recv(&mut answer).await.unwrap(), 1);
                }
            }
            for _ in 0..100 {
                assert_eq!(socket.recv(&mut answer).await.unwrap(), 1);
            }
            socket.send(b"done").await.unwrap();
            assert_eq!(socket.recv(&mut answer).await.unwrap(), 4);
            meeting.wait().await;
        },
    );
    assert_eq!(received, COUNT);
}

#[test]
fn hosts_that_fall_asleep_between_any_two_frames_miss_none() {
    const ROUNDS: u32 = 3_000;
    two_hosts_that(
        |host| host.spin(Duration::ZERO),
        &WireConfig::default(),
        |net, meeting| async move {
            let socket = net.udp_bind("0.0.0.0:9").await.unwrap();
            meeting.wait().await;
            let mut buffer = [0; 4];
            for _ in 0..ROUNDS {
                let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                socket.send_to(&buffer[..len], from).await.unwrap();
            }
            meeting.wait().await;
        },
        |net, meeting| async move {
            meeting.wait().await;
            let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
            socket.connect((common::A, 9)).unwrap();
            let mut buffer = [0; 4];
            for round in 0..ROUNDS {
                // There is no timer that would wake anybody who missed it.
                socket.send(&round.to_ne_bytes()).await.unwrap();
                socket.recv(&mut buffer).await.unwrap();
                assert_eq!(buffer, round.to_ne_bytes());
            }
            meeting.wait().await;
        },
    );
}

#[test]
fn a_group_is_joined_on_the_device_and_left_again() {
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let (message, ()) = two_hosts(
        &WireConfig::default(),
        move |net, meeting| async move {
            let socket = net.udp_bind("0.0.0.0:5353").await.unwrap();
            let elsewhere = socket.join_multicast_v4(group, Ipv4Addr::new(192, 0, 2, 1)).unwrap_err();
            assert_eq!(elsewhere.kind(), std::io::ErrorKind::AddrNotAvailable);
            socket.join_multicast_v4(group, Ipv4Addr::UNSPECIFIED).unwrap();
            meeting.wait().await;
            let message = socket.recv_message().await.unwrap();
            socket.leave_multicast_v4(group, common::A.into()).unwrap();
            meeting.wait().await;
            (message.to, message.payload.to_vec())
        },
        move |net, meeting| async move {
            meeting.wait().await;
            let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
            socket.send_to(b"to all", (group, 5_353)).await.unwrap();
            meeting.wait().await;
        },
    );
    assert_eq!(message, (SocketAddr::from((group, 5_353)), b"to all".to_vec()));
}

#[test]
fn a_connected_socket_hears_that_nobody_listens() {
    alone(|net| async move {
        let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
        socket.connect("10.0.0.1:9").unwrap();
        socket.send(b"anybody?").await.unwrap();
        let error = socket.recv(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn the_first_of_a_networks_addresses_is_the_source() {
    let host = Builder::new()
        .address("10.0.0.7/24".parse().unwrap())
        .address("10.0.0.3/24".parse().unwrap())
        .address("10.0.0.9/24".parse().unwrap());
    let source = common::run(host, |net| async move {
        let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
        socket.connect("10.0.0.1:9").unwrap();
        socket.local_addr().unwrap().ip()
    });
    assert_eq!(source.unwrap(), Ipv4Addr::new(10, 0, 0, 7));
}

#[test]
fn what_cannot_be_bound_or_sent_says_why() {
    alone(|net| async move {
        let taken = net.udp_bind("0.0.0.0:9").await.unwrap();
        for (address, part) in [("0.0.0.0:9", "in use"), ("192.0.2.1:9", "not an address of this stack")] {
            let message = net.udp_bind(address).await.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let message = net.udp_bind("localhost:9").await.unwrap_err().to_string();
        assert!(message.contains("names are not looked up"), "{message}");
        let error = taken.send_to(&[0; 65_508], "10.0.0.1:9").await.unwrap_err();
        assert!(error.to_string().contains("65507"), "{error}");
        taken.set_fragmentation(false).unwrap();
        let error = taken.send_to(&[0; 3_000], "10.0.0.1:9").await.unwrap_err();
        assert!(error.to_string().contains("1472"), "{error}");
        let error = taken.send(b"to whom?").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
    });
}
