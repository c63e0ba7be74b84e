//! A tap, with the kernel's own TCP and UDP at the other end. Each test runs itself again in a network namespace
//! of its own.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as MachineStream, UdpSocket as MachineSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{pattern, run};
use sunstar::{
    Builder, Device, EchoRequest, InterfaceId, Ipv4Header, Net, Packet, PacketFilter, Tap, Verdict,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const INSIDE: &str = "SUNSTAR_TEST_IN_NAMESPACE";

/// Runs a test of this file in a fresh network namespace, by name, in a process of its own.
fn in_namespace(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let program = std::env::current_exe().expect("a test knows its own program");
    let as_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let ended = Command::new("unshare")
        .arg(if as_root { "-n" } else { "-Urn" })
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    let succeeded = ended.expect("unshare (util-linux) is installed").success();
    assert!(
        succeeded,
        "it failed inside; it needs a network namespace: run it as root, or allow `unshare -Urn`"
    );
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip (iproute2) is installed");
    assert!(status.success(), "ip {arguments}");
}

fn on_tap() -> Builder {
    Builder::new().device(Device::Tap(Tap::new("sun0"))).address("10.9.0.2/24".parse().unwrap())
}

/// Gives the kernel its address, and runs a program of the machine on a thread of its own.
async fn machine<T: Send + 'static>(program: impl FnOnce() -> T + Send + 'static) -> T {
    ip("address replace 10.9.0.1/24 dev sun0");
    tokio::task::spawn_blocking(program).await.unwrap()
}

async fn echo(net: Net) {
    let listener = net.tcp_bind("0.0.0.0:7").await.unwrap();
    while let Ok((mut stream, _)) = listener.accept().await {
        net.spawn(async move {
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        });
    }
}

#[test]
fn the_kernels_tcp_gets_back_what_it_sent_in_large_segments_both_ways() {
    in_namespace("the_kernels_tcp_gets_back_what_it_sent_in_large_segments_both_ways", || {
        let stats = run(on_tap(), |net| async move {
            net.spawn(echo(net.clone()));
            let same = machine(|| {
                let mut stream = MachineStream::connect("10.9.0.2:7").unwrap();
                let mut writer = stream.try_clone().unwrap();
                let writing = std::thread::spawn(move || {
                    writer.write_all(&pattern(16 << 20)).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).unwrap();
                writing.join().unwrap();
                bytes == pattern(16 << 20)
            });
            assert!(same.await);
            net.stats().await
        });
        let device = &stats.unwrap().shards[0].device;
        assert!(device.segmented > 0 && device.coalesced > 0, "{device:?}");
    });
}

#[test]
fn the_kernel_answers_a_ping_and_a_datagram_and_is_answered() {
    in_namespace("the_kernel_answers_a_ping_and_a_datagram_and_is_answered", || {
        let answer = run(on_tap(), |net| async move {
            let asked = machine(|| {
                let socket = MachineSocket::bind("10.9.0.1:9").unwrap();
                let mut buffer = [0; 100];
                let (len, from) = socket.recv_from(&mut buffer).unwrap();
                socket.send_to(&buffer[..len], from).unwrap();
            });
            let answer = async {
                let ping = net.echo().await.unwrap();
                loop {
                    // Until the kernel's side has its address.
                    ping.send([10, 9, 0, 1].into(), EchoRequest::new(1), b"").await.unwrap();
                    let reply = tokio::time::timeout(Duration::from_millis(200), ping.recv()).await;
                    if reply.is_ok() {
                        break;
                    }
                }
                let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
                let mut buffer = [0; 100];
                loop {
                    // Until its socket is bound; a datagram that nobody took is gone.
                    socket.send_to(b"over and back", "10.9.0.1:9").await.unwrap();
                    let reply =
                        tokio::time::timeout(Duration::from_millis(200), socket.recv(&mut buffer)).await;
                    if let Ok(len) = reply {
                        return buffer[..len.unwrap()].to_vec();
                    }
                }
            };
            let ((), answer) = tokio::join!(asked, answer);
            answer
        });
        assert_eq!(answer.unwrap(), b"over and back");
    });
}

#[test]
fn a_stack_that_sleeps_hears_at_once_that_its_tap_was_deleted() {
    in_namespace("a_stack_that_sleeps_hears_at_once_that_its_tap_was_deleted", || {
        let heard = run(on_tap(), |net| async move {
            // The link comes up and the kernel says so; then nothing moves, and there is no timer.
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            tokio::task::spawn_blocking(|| ip("link delete sun0")).await.unwrap();
            let deleted = Instant::now();
            while net.stats().await.shards[0].device.failure.is_none() {
                assert!(deleted.elapsed() < Duration::from_millis(100));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        heard.unwrap();
    });
}

#[test]
fn when_the_tap_is_deleted_its_sockets_fail_at_once_and_the_application_goes_on() {
    in_namespace("when_the_tap_is_deleted_its_sockets_fail_at_once_and_the_application_goes_on", || {
        let stats = run(on_tap(), |net| async move {
            let listener = net.tcp_bind("0.0.0.0:7").await.unwrap();
            let program = machine(|| MachineStream::connect("10.9.0.2:7").unwrap());
            let (kept_open, accepted) = tokio::join!(program, listener.accept());
            let (mut stream, _) = accepted.unwrap();
            let started = Instant::now();
            ip("link delete sun0");
            let error = stream.read(&mut [0; 1]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NetworkDown);
            assert!(started.elapsed() < Duration::from_secs(2), "deleting the link takes most of it");
            drop(kept_open);
            // The loopback is still there.
            let (client, server) = tokio::join!(net.tcp_connect("127.0.0.1:7"), listener.accept());
            client.unwrap().write_all(b"!").await.unwrap();
            let mut last = [0];
            server.unwrap().0.read_exact(&mut last).await.unwrap();
            net.stats().await
        });
        let device = &stats.unwrap().shards[0].device;
        assert!(!device.up);
        assert!(device.failure.as_ref().is_some_and(|failure| failure.contains("tap")), "{device:?}");
    });
}

/// Datagrams that each shard of a stack of two finds on its own queue, out of 400 flows to one port.
fn on_each_queue(builder: Builder) -> Vec<u64> {
    let (listening, sent) = (tokio::sync::Barrier::new(2), tokio::sync::Barrier::new(2));
    let (listening, sent) = (&listening, &sent);
    let builder = builder.shards(2).shutdown_deadline(Duration::from_millis(500));
    let received = builder.run_on_each(|net| async move {
        let _socket = net.udp_bind_shared("0.0.0.0:9").await.unwrap();
        listening.wait().await;
        if net.shard() == 0 {
            machine(|| {
                for port in 20_000..20_400 {
                    let socket = MachineSocket::bind(("10.9.0.1", port)).unwrap();
                    socket.send_to(b"!", "10.9.0.2:9").unwrap();
                    // The kernel lets few wait for an answer about the neighbour, and the tap has a queue of 500.
                    std::thread::sleep(Duration::from_millis(if port == 20_000 { 300 } else { 1 }));
                }
            })
            .await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        sent.wait().await;
        net.shard_stats().unwrap().device.received
    });
    received.unwrap()
}

#[test]
fn a_tap_that_was_there_before_does_not_steer_by_the_program_of_whoever_had_it() {
    in_namespace("a_tap_that_was_there_before_does_not_steer_by_the_program_of_whoever_had_it", || {
        ip("tuntap add dev sun0 mode tap multi_queue");
        ip("link set sun0 up");
        // With the program everything is on the second shard's queue; where none may be loaded, there is nothing to see.
        on_each_queue(on_tap().weights([0, 1]));
        let found = on_each_queue(on_tap().steering_program(false));
        assert!(found.iter().all(|received| *received > 100), "by itself the tap spreads flows: {found:?}");
    });
}

#[test]
fn what_waits_for_a_deleted_tap_does_not_keep_the_stack_from_ending() {
    in_namespace("what_waits_for_a_deleted_tap_does_not_keep_the_stack_from_ending", || {
        let patient = on_tap().shutdown_deadline(Duration::from_secs(30));
        let started = Instant::now();
        let ended = run(patient, |net| async move {
            let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
            // No turn comes between the two.
            socket.try_send_to(b"too late", "10.9.0.1:9".parse().unwrap()).unwrap();
            ip("link delete sun0");
            let error = socket.recv(&mut [0; 1]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NetworkDown);
        });
        ended.unwrap();
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    });
}

#[test]
fn a_carrier_that_goes_and_returns_costs_no_connection_not_even_of_a_shard_without_a_queue() {
    in_namespace(
        "a_carrier_that_goes_and_returns_costs_no_connection_not_even_of_a_shard_without_a_queue",
        || {
            let over = tokio::sync::Barrier::new(2);
            let over = &over;
            let builder = on_tap().shards(2).queues(1).shutdown_deadline(Duration::from_secs(1));
            let received = builder.run_on_each(|net| async move {
                let mut received = Vec::new();
                if net.shard() == 1 {
                    let served = serve_through_an_outage(&net);
                    let served = tokio::time::timeout(Duration::from_secs(50), served).await;
                    received = served.expect("the connection goes on");
                }
                over.wait().await;
                received
            });
            assert_eq!(received.unwrap()[1], pattern(256 << 10));
        },
    );
}

/// Sends while there is no carrier, and has the machine receive once there is one again: what it received.
async fn serve_through_an_outage(net: &Net) -> Vec<u8> {
    let listener = net.tcp_bind("0.0.0.0:7").await.unwrap();
    let client = tokio::task::spawn_local(machine(|| {
        let mut stream = MachineStream::connect("10.9.0.2:7").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    }));
    let (mut stream, _) = listener.accept().await.unwrap();
    for (part, up) in pattern(256 << 10).chunks(64 << 10).zip([false, true, false, true]) {
        ip(if up { "link set sun0 up" } else { "link set sun0 down" });
        stream.write_all(part).await.unwrap();
        while net.shard_stats().unwrap().device.up != up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    stream.shutdown().await.unwrap();
    client.await.unwrap()
}

/// A filter that panics on any packet.
struct Trap;

impl PacketFilter for Trap {
    fn filter(&mut self, _: InterfaceId, _: &Ipv4Header, _: Packet) -> Verdict {
        panic!("the shard is broken on purpose")
    }
}

#[test]
fn a_fresh_shard_knows_that_its_device_is_gone() {
    in_namespace("a_fresh_shard_knows_that_its_device_is_gone", || {
        let done = run(on_tap(), |net| async move {
            let listener = net.tcp_bind("0.0.0.0:7").await.unwrap();
            ip("link delete sun0");
            while net.shard_stats().unwrap().device.failure.is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            net.install_filter(Box::new(Trap)).unwrap();
            let error = net.tcp_connect("127.0.0.1:7").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            drop(listener);
            let error = net.tcp_connect("10.9.0.1:7").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NetworkDown);
            assert_eq!(net.shard_stats().unwrap().restarts, 1);
        });
        done.unwrap();
    });
}
