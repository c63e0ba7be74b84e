//! The embedded device: ports of the stack on the machine's loopback, reached with the machine's own sockets.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream as MachineStream};

use common::{pattern, run};
use sunstar::{Builder, Device, Embedded, Net, Publish, RunError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A stack whose port 80 is published on some port of the machine.
fn published() -> Builder {
    let publish = vec![Publish { host: ANY, port: 80 }];
    Builder::new().device(Device::Embedded(Embedded { publish }))
}

/// Runs a program of the machine that connects to the published port, on a thread of its own.
async fn machine<T: Send + 'static>(
    net: &Net,
    program: impl FnOnce(MachineStream) -> T + Send + 'static,
) -> T {
    let address = net.published()[0].host;
    let work = move || program(MachineStream::connect(address).unwrap());
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[test]
fn a_program_of_the_machine_talks_to_the_stack_through_a_published_port() {
    let stats = run(published(), |net| async move {
        let listener = net.tcp_bind("0.0.0.0:80").await.unwrap();
        let program = machine(&net, |mut stream| {
            let mut writer = stream.try_clone().unwrap();
            let writing = std::thread::spawn(move || {
                writer.write_all(&pattern(8 << 20)).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            writing.join().unwrap();
            bytes == pattern(8 << 20)
        });
        let echo = async {
            let (mut stream, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.ip(), std::net::Ipv4Addr::new(10, 0, 0, 1));
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let (same, ()) = tokio::join!(program, echo);
        assert!(same);
        net.stats().await
    });
    let shard = &stats.unwrap().shards[0];
    assert!(shard.counters.tcp.segments_offloaded > 0, "large segments cross the wire whole");
}

#[test]
fn the_end_of_one_direction_goes_through_and_the_other_goes_on() {
    run(published(), |net| async move {
        let listener = net.tcp_bind("0.0.0.0:80").await.unwrap();
        let program = machine(&net, |mut stream| {
            stream.write_all(b"question").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = Vec::new();
            stream.read_to_end(&mut question).await.unwrap();
            stream.write_all(&question).await.unwrap();
            stream.write_all(b" answered").await.unwrap();
        };
        let (answer, ()) = tokio::join!(program, server);
        assert_eq!(answer, "question answered");
    })
    .unwrap();
}

#[test]
fn a_port_the_stack_does_not_listen_on_resets_the_program() {
    run(published(), |net| async move {
        let read = machine(&net, |mut stream| stream.read(&mut [0; 1])).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn a_reset_goes_through_both_ways() {
    run(published(), |net| async move {
        let listener = net.tcp_bind("0.0.0.0:80").await.unwrap();
        let program = machine(&net, |mut stream| stream.read(&mut [0; 1]));
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            stream.abort();
        };
        let (read, ()) = tokio::join!(program, server);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let address = net.published()[0].host;
        let program = async {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 1);
            stream.set_zero_linger().unwrap();
            drop(stream);
        };
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"!").await.unwrap();
            stream.read(&mut [0; 1]).await.unwrap_err().kind()
        };
        let ((), kind) = tokio::join!(program, server);
        assert_eq!(kind, ErrorKind::ConnectionReset);
    })
    .unwrap();
}

#[test]
fn a_server_that_does_not_read_stops_the_program_that_writes() {
    const LEN: usize = 64 << 20;
    run(published(), |net| async move {
        let listener = net.tcp_bind("0.0.0.0:80").await.unwrap();
        let address = net.published()[0].host;
        let mut program = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let chunk = vec![7; 1 << 20];
        let mut written = 0;
        let patience = std::time::Duration::from_millis(300);
        while let Ok(more) = tokio::time::timeout(patience, program.write(&chunk)).await {
            written += more.unwrap();
        }
        assert!(written < LEN / 2, "{written} bytes were taken although nobody reads");
        let rest = async {
            program.write_all(&vec![7; LEN - written]).await.unwrap();
            program.shutdown().await.unwrap();
        };
        let reading = async {
            let mut buffer = vec![0; 1 << 20];
            let mut total = 0;
            loop {
                match stream.read(&mut buffer).await.unwrap() {
                    0 => return total,
                    len => total += len,
                }
            }
        };
        let ((), total) = tokio::join!(rest, reading);
        assert_eq!(total, LEN);
    })
    .unwrap();
}

#[test]
fn a_port_that_is_in_use_is_named_with_what_to_do() {
    let taken = std::net::TcpListener::bind(ANY).unwrap();
    let host = taken.local_addr().unwrap();
    let device = Device::Embedded(Embedded { publish: vec![Publish { host, port: 80 }] });
    let error = Builder::new().device(device).run(|_| async {}).unwrap_err();
    assert!(matches!(error, RunError::Publish { .. }));
    let message = error.to_string();
    assert!(message.contains(&host.to_string()) && message.contains("another port"), "{message}");
}
