//! quinn over sunstar, and at the other end of a tap quinn over the kernel's own UDP. Each test runs itself again in a
//! network namespace of its own.

mod common;

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, IoSliceMut};
use std::process::Command;
use std::time::Duration;

use common::{Trust, connect, pattern};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{Connection, ConnectionError, Endpoint};
use sunstar::{Builder, Device, Net, Tap};

const INSIDE: &str = "SUNSTAR_TEST_IN_NAMESPACE";
/// Where the kernel's side serves.
const MACHINE: &str = "10.9.0.1:4433";
/// Where the stack does.
const STACK: &str = "10.9.0.2:4433";

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

/// Runs an application on a stack on a tap that the kernel has an address on, too.
fn on_tap<F: Future>(offload: bool, application: impl FnOnce(Net) -> F) -> F::Output {
    let tap = Device::Tap(Tap { offload, ..Tap::new("sun0") });
    let builder = Builder::new().device(tap).address("10.9.0.2/24".parse().unwrap());
    let output = common::run(builder, |net| async {
        ip("address replace 10.9.0.1/24 dev sun0");
        application(net).await
    });
    output.unwrap()
}

/// Runs a program of the machine, with a runtime and sockets of its own, on another thread.
async fn machine<F: Future<Output: Send + 'static>>(
    program: impl FnOnce() -> F + Send + 'static,
) -> F::Output {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(program())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Sends a file each way, on as many streams at once.
async fn exchange(connection: Connection) {
    let (mut sender, mut receiver) = connection.open_bi().await.unwrap();
    let upload = async {
        sender.write_all(&pattern(4 << 20)).await.unwrap();
        sender.finish().unwrap();
    };
    let ((), bytes) = tokio::join!(upload, receiver.read_to_end(5 << 20));
    assert!(bytes.unwrap() == pattern(4 << 20), "what comes back is what was sent");
    connection.close(7u8.into(), b"done");
}

/// Sends everything back that comes on one connection's streams, until it is closed.
async fn echo(endpoint: Endpoint) -> ConnectionError {
    let connection = endpoint.accept().await.unwrap().await.unwrap();
    loop {
        let (mut answer, mut question) = match connection.accept_bi().await {
            Ok(streams) => streams,
            Err(reason) => return reason,
        };
        while let Ok(Some(chunk)) = question.read_chunk(64 << 10, true).await {
            answer.write_chunk(chunk.bytes).await.unwrap();
        }
        answer.finish().unwrap();
    }
}

fn assert_done(reason: &ConnectionError) {
    let ConnectionError::ApplicationClosed(close) = reason else { panic!("{reason}") };
    assert_eq!(close.error_code, 7u8.into());
}

#[test]
fn a_client_over_the_kernels_udp_exchanges_files_with_a_server_over_sunstar() {
    in_namespace("a_client_over_the_kernels_udp_exchanges_files_with_a_server_over_sunstar", || {
        let trust = Trust::new();
        for offload in [true, false] {
            let trust = trust.clone();
            let reason = on_tap(offload, |net| async move {
                let endpoint = sunstar_quinn::server(&net, STACK, trust.server.clone()).await.unwrap();
                let asked = machine(|| async move {
                    let mut endpoint = Endpoint::client("10.9.0.1:0".parse().unwrap()).unwrap();
                    endpoint.set_default_client_config(trust.client.clone());
                    exchange(connect(&endpoint, STACK).await).await;
                    endpoint.wait_idle().await;
                });
                tokio::join!(echo(endpoint), asked).0
            });
            assert_done(&reason);
        }
    });
}

#[test]
fn a_client_over_sunstar_exchanges_files_with_a_server_over_the_kernels_udp() {
    in_namespace("a_client_over_sunstar_exchanges_files_with_a_server_over_the_kernels_udp", || {
        let trust = Trust::new();
        for offload in [true, false] {
            let trust = trust.clone();
            let (reason, device) = on_tap(offload, |net| async move {
                let (listening, listens) = tokio::sync::oneshot::channel();
                let config = trust.server.clone();
                let served = machine(|| async move {
                    let endpoint = Endpoint::server(config, MACHINE.parse().unwrap()).unwrap();
                    listening.send(()).unwrap();
                    echo(endpoint).await
                });
                let asks = async {
                    listens.await.unwrap();
                    let endpoint = trust.client(&net).await;
                    exchange(connect(&endpoint, MACHINE).await).await;
                    endpoint.wait_idle().await;
                };
                let (reason, ()) = tokio::join!(served, asks);
                (reason, net.shard_stats().unwrap().device)
            });
            assert_done(&reason);
            assert_eq!(offload, device.segmented > 0 && device.coalesced > 0, "{device:?}");
        }
    });
}

#[test]
fn when_the_tap_is_deleted_connections_end_at_once() {
    in_namespace("when_the_tap_is_deleted_connections_end_at_once", || {
        let trust = Trust::new();
        on_tap(true, |net| async move {
            let (listening, listens) = tokio::sync::oneshot::channel();
            let config = trust.server.clone();
            let served = net.spawn(machine(|| async move {
                let endpoint = Endpoint::server(config, MACHINE.parse().unwrap()).unwrap();
                listening.send(endpoint.clone()).unwrap();
                echo(endpoint).await
            }));
            let other = listens.await.unwrap();
            let connection = connect(&trust.client(&net).await, MACHINE).await;
            let (mut upload, _) = connection.open_bi().await.unwrap();
            upload.write_all(b"on its way").await.unwrap();
            ip("link delete sun0");
            let ends = tokio::time::timeout(Duration::from_secs(5), connection.closed()).await;
            ends.expect("long before QUIC would time out");
            other.close(0u8.into(), b"");
            served.await.unwrap();
        });
    });
}

#[test]
fn what_a_sender_hears_of_a_deleted_tap_the_reader_tells_the_endpoint() {
    in_namespace("what_a_sender_hears_of_a_deleted_tap_the_reader_tells_the_endpoint", || {
        on_tap(true, |net| async move {
            let socket = sunstar_quinn::abstract_socket(net.udp_bind("0.0.0.0:0").await.unwrap());
            ip("link delete sun0");
            while net.shard_stats().unwrap().device.failure.is_none() {
                tokio::task::yield_now().await;
            }
            let destination = MACHINE.parse().unwrap();
            let lost =
                Transmit { destination, ecn: None, contents: b"lost", segment_size: None, src_ip: None };
            socket.try_send(&lost).unwrap();
            let (mut memory, mut metas) = ([0; 100], [RecvMeta::default()]);
            let mut buffers = [IoSliceMut::new(&mut memory)];
            let heard = poll_fn(|context| socket.poll_recv(context, &mut buffers, &mut metas)).await;
            assert_eq!(heard.unwrap_err().kind(), ErrorKind::NetworkDown);
        });
    });
}
