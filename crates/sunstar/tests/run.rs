//! Starting and ending: what can be wrong, and what is left behind (nothing).

mod common;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use common::{alone, try_alone};
use sunstar::{Builder, Device, EchoRequest, RunError, Tap};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn refused(builder: Builder) -> RunError {
    builder.run(|_| async {}).unwrap_err()
}

#[test]
fn what_an_application_returns_comes_back() {
    assert_eq!(alone(|net| async move { net.addresses()[0].to_string() }), "10.0.0.2/24");
}

#[test]
fn an_application_may_borrow_from_its_caller() {
    let mut count = 0;
    alone(|_| async { count += 1 });
    assert_eq!(count, 1);
}

#[test]
fn what_cannot_be_is_found_before_anything_is_opened() {
    let address = |text: &str| Builder::new().address(text.parse().unwrap());
    let tap = || Device::Tap(Tap::new("nothing-opened"));
    assert!(matches!(refused(Builder::new().device(tap())), RunError::NoAddress));
    assert!(matches!(refused(address("10.0.0.2/32")), RunError::NoRoomForGateway { .. }));
    let outside = address("10.0.0.2/24").gateway([10, 0, 1, 1].into());
    assert!(matches!(refused(outside), RunError::GatewayOutside { .. }));
    let own = address("10.0.0.2/24").gateway([10, 0, 0, 2].into());
    assert!(matches!(refused(own), RunError::GatewayIsOurs { .. }));
    for no_host in ["0.0.0.0/0", "224.0.0.1/4", "255.255.255.255/32"] {
        assert!(matches!(refused(address(no_host)), RunError::NotUnicast { .. }), "{no_host}");
    }
    assert!(matches!(refused(Builder::new().mtu(100)), RunError::Mtu { mtu: 100 }));
}

#[test]
fn a_capture_that_cannot_be_written_names_its_file() {
    let message = refused(Builder::new().pcap("/nowhere/at/all.pcapng")).to_string();
    assert!(message.contains("/nowhere/at/all.pcapng"), "{message}");
}

#[test]
fn a_capture_holds_what_went_through_the_device() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("capture.pcapng");
    let sent = common::run(Builder::new().pcap(&path), |net| async move {
        let echo = net.echo().await.unwrap();
        echo.send([10, 0, 0, 1].into(), EchoRequest::new(1), b"captured, both ways").await.unwrap();
        echo.recv().await.unwrap();
        assert!(net.stats().await.shards[0].device.capture_failure.is_none());
    });
    sent.unwrap();
    let file = std::fs::read(path).unwrap();
    let said = b"captured, both ways";
    assert_eq!(file.windows(said.len()).filter(|window| window == said).count(), 2);
}

#[test]
fn run_inside_an_executor_is_an_error_and_no_panic() {
    let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = executor.block_on(async { refused(Builder::new()) });
    assert!(matches!(error, RunError::InsideExecutor));
}

#[test]
fn two_addresses_and_a_chosen_gateway_all_answer() {
    let builder = Builder::new()
        .address("192.0.2.9/24".parse().unwrap())
        .address("198.51.100.9/28".parse().unwrap())
        .gateway([192, 0, 2, 200].into());
    let answered = common::run(builder, |net| async move {
        let echo = net.echo().await.unwrap();
        let hosts: [std::net::IpAddr; 3] =
            [[192, 0, 2, 200].into(), [198, 51, 100, 1].into(), [192, 0, 2, 9].into()];
        let mut answered = Vec::new();
        for host in hosts {
            echo.send(host, EchoRequest::new(1), b"").await.unwrap();
            answered.push(echo.recv().await.unwrap().from == host);
        }
        answered
    });
    assert_eq!(answered.unwrap(), [true; 3]);
}

#[test]
fn a_connection_served_by_a_task_is_finished_after_the_application_has_ended() {
    let received = alone(|net| async move {
        let listener = net.tcp_bind("127.0.0.1:80").await.unwrap();
        let mut client = net.tcp_connect("127.0.0.1:80").await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let (report, received) = std::sync::mpsc::channel();
        net.spawn(async move {
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).await.unwrap();
            report.send(bytes).unwrap();
        });
        net.spawn(async move {
            for _ in 0..10 {
                server.write_all(&[1; 1_000]).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        // The listener and both tasks are still there.
        received
    });
    assert_eq!(received.recv().unwrap().len(), 10_000);
}

#[test]
fn at_the_deadline_what_is_left_is_reset_and_nobody_accepts_any_more() {
    let started = Instant::now();
    let errors = alone(|net| async move {
        let listener = net.tcp_bind("127.0.0.1:80").await.unwrap();
        let client = net.tcp_connect("127.0.0.1:80").await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let (report, errors) = std::sync::mpsc::channel();
        let report_too = report.clone();
        net.spawn(async move {
            let _client = client;
            report.send(server.read(&mut [0; 1]).await.unwrap_err().kind()).unwrap();
        });
        net.spawn(async move {
            report_too.send(listener.accept().await.unwrap_err().kind()).unwrap();
        });
        errors
    });
    let errors: Vec<_> = errors.iter().collect();
    assert_eq!(errors.len(), 2);
    assert!(errors[0] == ErrorKind::NotConnected, "the listener stops first: {errors:?}");
    assert!(started.elapsed() >= Duration::from_millis(500));
}

#[test]
fn without_connections_the_end_is_immediate() {
    let started = Instant::now();
    Builder::new().shutdown_deadline(Duration::from_secs(50)).run(|_| async {}).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_socket_that_outlives_the_stack_says_so() {
    let (stream, listener, udp, net) = alone(|net| async move {
        let listener = net.tcp_bind("127.0.0.1:80").await.unwrap();
        let stream = net.tcp_connect("127.0.0.1:80").await.unwrap();
        let udp = net.udp_bind("0.0.0.0:9").await.unwrap();
        (stream, listener, udp, net)
    });
    assert_eq!(stream.try_read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(stream.try_write(b"x").unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(listener.local_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(udp.local_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    assert!(net.shard_stats().is_none() && net.addresses().is_empty());
    let bound =
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(net.udp_bind("0.0.0.0:9"));
    assert_eq!(bound.unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn buffers_that_outlive_the_stack_are_reported() {
    let kept = std::cell::RefCell::new(None);
    let keep = &kept;
    let error = try_alone(|net| async move {
        let socket = net.udp_bind("127.0.0.1:9").await.unwrap();
        socket.send_to(b"kept", "127.0.0.1:9").await.unwrap();
        *keep.borrow_mut() = Some(socket.recv_message().await.unwrap());
    })
    .unwrap_err();
    assert!(matches!(error, RunError::BuffersHeld { buffers: 1 }), "{error}");
    assert_eq!(kept.into_inner().unwrap().payload.to_vec(), b"kept");
}

#[test]
fn stats_are_a_list_of_shards_with_every_drop_by_name() {
    let stats = alone(|net| async move {
        let socket = net.udp_bind("0.0.0.0:9").await.unwrap();
        let _listener = net.tcp_bind("0.0.0.0:80").await.unwrap();
        socket.send_to(b"to nobody", "10.0.0.2:10").await.unwrap();
        let echo = net.echo().await.unwrap();
        echo.send([10, 0, 0, 2].into(), EchoRequest::new(1), b"after it").await.unwrap();
        echo.recv().await.unwrap();
        serde_json::to_value(net.stats().await).unwrap()
    });
    let shard = &stats["shards"][0];
    assert_eq!(shard["shard"], 0);
    assert_eq!(shard["drops"]["udp_no_socket"], 1);
    assert_eq!(shard["drops"]["bad_checksum"], 0);
    assert_eq!((&shard["listeners"], &shard["connections"]), (&1.into(), &0.into()));
    assert_eq!(shard["device"]["up"], true);
    assert!(shard["pool"]["small"].as_u64().unwrap() > 1_000);
    assert!(shard["tcp"]["retransmissions"].is_u64() && shard["ip"]["received"].is_u64());
}
