//! TCP sockets, as an application sees them.

mod common;

use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use common::{alone, pattern, run, two_hosts};
use sunstar::wire::WireConfig;
use sunstar::{Builder, Net, State, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A connection of a host to itself.
async fn pair(net: &Net) -> (TcpStream, TcpStream) {
    let listener = net.tcp_bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(net.tcp_connect(address), listener.accept());
    let (client, (server, peer)) = (client.unwrap(), server.unwrap());
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(client.peer_addr().unwrap(), address);
    (client, server)
}

async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[test]
fn what_is_written_comes_back_from_a_host_on_another_thread() {
    for config in [WireConfig::default(), WireConfig::default().with_offloads()] {
        let (copied, echoed) = two_hosts(
            &config,
            |net, meeting| async move {
                let listener = net.tcp_bind("0.0.0.0:7").await.unwrap();
                meeting.wait().await;
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut reader, mut writer) = stream.split();
                let copied = tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.shutdown().await.unwrap();
                copied
            },
            |net, meeting| async move {
                meeting.wait().await;
                let stream = net.tcp_connect((common::A, 7)).await.unwrap();
                let (mut reader, mut writer) = stream.into_split();
                let writing = net.spawn(async move {
                    writer.write_all(&pattern(4 << 20)).await.unwrap();
                });
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).await.unwrap();
                writing.await.unwrap();
                bytes == pattern(4 << 20)
            },
        );
        assert_eq!((copied, echoed), (4 << 20, true));
    }
}

#[test]
fn a_half_that_has_ended_does_not_end_the_other() {
    alone(|net| async move {
        let (mut client, mut server) = pair(&net).await;
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut server).await, b"question");
        assert_eq!(client.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        server.write_all(b"answer").await.unwrap();
        drop(server);
        assert_eq!(read_all(&mut client).await, b"answer");
    });
}

#[test]
fn what_was_written_before_a_drop_still_arrives() {
    alone(|net| async move {
        let (mut client, mut server) = pair(&net).await;
        let bytes = pattern(300_000);
        let expected = bytes.clone();
        let writing = net.spawn(async move {
            client.write_all(&bytes).await.unwrap();
        });
        writing.await.unwrap();
        assert!(read_all(&mut server).await == expected);
    });
}

#[test]
fn dropping_a_stream_with_unread_data_resets_the_connection() {
    alone(|net| async move {
        let (client, mut server) = pair(&net).await;
        server.write_all(b"never read").await.unwrap();
        client.readable().await.unwrap();
        assert_eq!(client.peek(&mut [0; 5]).await.unwrap(), 5);
        drop(client);
        let error = server.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn an_abort_and_a_linger_of_zero_reset_the_connection() {
    alone(|net| async move {
        let (client, mut server) = pair(&net).await;
        client.abort();
        assert_eq!(server.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let (client, mut server) = pair(&net).await;
        client.set_linger(Some(Duration::ZERO)).unwrap();
        assert_eq!(client.linger().unwrap(), Some(Duration::ZERO));
        drop(client);
        assert_eq!(server.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn peeking_takes_nothing_away() {
    alone(|net| async move {
        let (client, mut server) = pair(&net).await;
        assert_eq!(client.try_write(b"peekaboo").unwrap(), 8);
        let mut buffer = [0; 4];
        for _ in 0..2 {
            assert_eq!(server.peek(&mut buffer).await.unwrap(), 4);
            assert_eq!(&buffer, b"peek");
        }
        drop(client);
        assert_eq!(read_all(&mut server).await, b"peekaboo");
        assert_eq!(server.peek(&mut buffer).await.unwrap(), 0, "the end of the stream");
    });
}

#[test]
fn several_slices_are_written_in_one_call() {
    alone(|net| async move {
        let (mut client, mut server) = pair(&net).await;
        assert!(tokio::io::AsyncWrite::is_write_vectored(&client));
        let slices =
            [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two "), IoSlice::new(b"three")];
        assert_eq!(client.write_vectored(&slices).await.unwrap(), 13);
        assert_eq!(client.try_write_vectored(&slices[..1]).unwrap(), 4);
        drop(client);
        assert_eq!(read_all(&mut server).await, b"one two threeone ");
    });
}

#[test]
fn an_empty_read_or_write_is_done_at_once() {
    alone(|net| async move {
        let (mut client, _server) = pair(&net).await;
        assert_eq!(client.write(b"").await.unwrap(), 0);
        assert_eq!(client.try_write_vectored(&[IoSlice::new(b"")]).unwrap(), 0);
        assert_eq!(client.read(&mut []).await.unwrap(), 0);
        assert_eq!((client.try_read(&mut []).unwrap(), client.peek(&mut []).await.unwrap()), (0, 0));
        client.send_bytes(Bytes::new()).await.unwrap();
    });
}

#[test]
fn bytes_cross_without_a_copy_as_fragments() {
    alone(|net| async move {
        let (client, server) = pair(&net).await;
        let bytes = Bytes::from(pattern(2 << 20));
        let sent = bytes.clone();
        let sending = net.spawn(async move { client.send_bytes(sent).await });
        let mut received = Vec::new();
        while let Some(fragment) = server.recv_fragment().await.unwrap() {
            received.extend_from_slice(&fragment);
        }
        sending.await.unwrap().unwrap();
        assert!(received == bytes);
    });
}

#[test]
fn a_port_nobody_listens_on_refuses_here_and_elsewhere() {
    alone(|net| async move {
        for address in ["127.0.0.1:9", "10.0.0.2:9", "10.0.0.1:9"] {
            let error = net.tcp_connect(address).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{address}");
        }
        let error = net.tcp_connect("192.0.2.1:9").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        let error = net.tcp_connect("10.0.0.77:9").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnreachable);
    });
}

#[test]
fn a_listener_that_is_dropped_lets_its_port_go() {
    alone(|net| async move {
        let listener = net.tcp_bind("0.0.0.0:80").await.unwrap();
        let error = net.tcp_bind("0.0.0.0:80").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains("0.0.0.0:80"), "{error}");
        drop(listener);
        net.tcp_bind("0.0.0.0:80").await.unwrap();
    });
}

#[test]
fn a_connection_nobody_accepted_is_reset_with_its_listener() {
    alone(|net| async move {
        let listener = net.tcp_bind("127.0.0.1:80").await.unwrap();
        let mut client = net.tcp_connect("127.0.0.1:80").await.unwrap();
        drop(listener);
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn giving_up_an_accept_or_a_read_loses_nothing() {
    alone(|net| async move {
        let listener = net.tcp_bind("127.0.0.1:80").await.unwrap();
        let soon = Duration::from_millis(1);
        tokio::time::timeout(soon, listener.accept()).await.unwrap_err();
        let mut client = net.tcp_connect("127.0.0.1:80").await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 8];
        tokio::time::timeout(soon, server.read(&mut buffer)).await.unwrap_err();
        tokio::time::timeout(soon, server.peek(&mut buffer)).await.unwrap_err();
        client.write_all(b"still here").await.unwrap();
        drop(client);
        assert_eq!(read_all(&mut server).await, b"still here");
    });
}

#[test]
fn several_tasks_may_wait_for_the_same_stream() {
    alone(|net| async move {
        let (mut client, server) = pair(&net).await;
        let server = Rc::new(server);
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let server = Rc::clone(&server);
                net.spawn(async move { server.peek(&mut [0; 4]).await.unwrap() })
            })
            .collect();
        tokio::task::yield_now().await;
        client.write_all(b"all!").await.unwrap();
        for task in waiting {
            assert_eq!(task.await.unwrap(), 4);
        }
        assert_eq!(server.try_read(&mut [0; 4]).unwrap(), 4);
    });
}

#[test]
fn the_halves_of_a_stream_come_together_again() {
    alone(|net| async move {
        let (client, mut server) = pair(&net).await;
        let (reader, writer) = client.into_split();
        let (other_reader, other_writer) = pair(&net).await.0.into_split();
        let error = reader.reunite(other_writer).unwrap_err();
        assert!(error.to_string().contains("different streams"));
        let sunstar::ReuniteError(reader, _) = error;
        let mut client = writer.reunite(reader).unwrap();
        drop(other_reader);
        client.write_all(b"whole").await.unwrap();
        drop(client);
        assert_eq!(read_all(&mut server).await, b"whole");
    });
}

#[test]
fn dropping_the_owned_write_half_ends_the_stream_and_forgetting_it_does_not() {
    alone(|net| async move {
        let (client, mut server) = pair(&net).await;
        let (mut reader, writer) = client.into_split();
        drop(writer);
        assert_eq!(read_all(&mut server).await, b"");
        server.write_all(b"go on").await.unwrap();
        let mut buffer = [0; 5];
        reader.read_exact(&mut buffer).await.unwrap();
        let (client, server) = pair(&net).await;
        let (_reader, writer) = client.into_split();
        writer.forget();
        assert_eq!(server.try_read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        let waiting = tokio::time::timeout(Duration::from_millis(20), server.readable());
        assert!(waiting.await.is_err(), "the stream goes on");
    });
}

#[test]
fn a_reader_that_stops_stops_its_writer_and_memory_stays_flat() {
    two_hosts(
        &WireConfig::default().with_offloads(),
        |net, meeting| async move {
            let listener = net.tcp_bind("0.0.0.0:9").await.unwrap();
            meeting.wait().await;
            let (mut stream, _) = listener.accept().await.unwrap();
            meeting.wait().await;
            let held = net.stats().await.shards[0].pool;
            let bytes = held.small_out * 2_048 + held.staging_out * 66_560;
            assert!(bytes < 4 << 20, "{bytes} bytes of buffers are held for one stuck connection");
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            assert!(bytes == pattern(16 << 20));
        },
        |net, meeting| async move {
            meeting.wait().await;
            let mut stream = net.tcp_connect((common::A, 9)).await.unwrap();
            let bytes = pattern(16 << 20);
            let mut written = 0;
            // It has stopped when nothing was taken for so long.
            while let Ok(more) =
                tokio::time::timeout(Duration::from_millis(300), stream.write(&bytes[written..])).await
            {
                written += more.unwrap();
            }
            assert!(written < 4 << 20, "{written} bytes were taken without a reader");
            meeting.wait().await;
            stream.write_all(&bytes[written..]).await.unwrap();
        },
    );
}

#[test]
fn many_connections_at_a_time_each_get_their_own_bytes() {
    two_hosts(
        &WireConfig::default().with_offloads(),
        |net, meeting| async move {
            let listener = net.tcp_bind("0.0.0.0:7").await.unwrap();
            meeting.wait().await;
            let mut tasks = Vec::new();
            for _ in 0..200 {
                let (mut stream, _) = listener.accept().await.unwrap();
                tasks.push(net.spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    tokio::io::copy(&mut reader, &mut writer).await.unwrap()
                }));
            }
            for task in tasks {
                assert_eq!(task.await.unwrap(), 20_000);
            }
            assert_eq!(net.stats().await.shards[0].listeners, 1);
            meeting.wait().await;
        },
        |net, meeting| async move {
            meeting.wait().await;
            let tasks: Vec<_> = (0..200u8)
                .map(|number| {
                    let net_of_task = net.clone();
                    net.spawn(async move {
                        let mut stream = net_of_task.tcp_connect((common::A, 7)).await.unwrap();
                        stream.write_all(&[number; 20_000]).await.unwrap();
                        stream.shutdown().await.unwrap();
                        assert!(read_all(&mut stream).await == [number; 20_000]);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            meeting.wait().await;
        },
    );
}

#[test]
fn options_are_read_back_as_they_were_set() {
    alone(|net| async move {
        let (client, server) = pair(&net).await;
        assert!(!client.nodelay().unwrap());
        client.set_nodelay(true).unwrap();
        assert!(client.nodelay().unwrap());
        client.set_keepalive(Some(sunstar::Keepalive::default())).unwrap();
        client.set_user_timeout(Some(Duration::from_secs(9))).unwrap();
        assert_eq!(client.info().unwrap().state, State::Established);
        assert_eq!(client.info().unwrap().local, server.info().unwrap().remote);
    });
}

#[test]
fn a_deadline_set_after_a_long_sleep_counts_from_the_call() {
    let mut config = sunstar::ShardConfig::default();
    config.tcp.orphan_timeout = Duration::from_millis(400);
    let states = common::run(Builder::new().config(config), |net| async move {
        let (client, mut server) = pair(&net).await;
        // The shard sleeps for longer than the timeout: nothing happens meanwhile.
        tokio::time::sleep(Duration::from_millis(600)).await;
        drop(client);
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let orphaned: Vec<_> = net.connections().iter().map(|connection| connection.state).collect();
        tokio::time::sleep(Duration::from_millis(600)).await;
        (orphaned, net.connections().iter().map(|connection| connection.state).collect::<Vec<_>>())
    });
    let (orphaned, later) = states.unwrap();
    assert!(orphaned.contains(&State::FinWait2), "{orphaned:?}");
    assert!(!later.contains(&State::FinWait2), "the timeout has passed: {later:?}");
}

#[test]
fn a_task_that_panics_closes_what_it_owned() {
    alone(|net| async move {
        let (client, mut server) = pair(&net).await;
        let task = net.spawn(async move {
            let _client = client;
            std::panic::panic_any("the task's own fault");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(read_all(&mut server).await, b"");
    });
}

#[test]
fn bytes_whose_owner_uses_a_socket_when_dropped_do_no_harm() {
    struct Owner {
        bytes: Vec<u8>,
        _stream: TcpStream,
    }
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    // `Bytes` asks for Send, which a stream is not; on one thread it makes no difference.
    let owner = |stream| send_wrapper::SendWrapper::new(Owner { bytes: pattern(10_000), _stream: stream });
    // A driver that does not linger has to know that there is something left to say.
    let host = Builder::new().spin(Duration::ZERO).shutdown_deadline(Duration::from_millis(500));
    let ended = run(host, |net| async move {
        let (client, mut server) = pair(&net).await;
        let (inner, mut outer) = pair(&net).await;
        struct Wrapped(send_wrapper::SendWrapper<Owner>);
        impl AsRef<[u8]> for Wrapped {
            fn as_ref(&self) -> &[u8] {
                self.0.as_ref()
            }
        }
        client.send_bytes(Bytes::from_owner(Wrapped(owner(inner)))).await.unwrap();
        let mut received = vec![0; 10_000];
        server.read_exact(&mut received).await.unwrap();
        assert!(received == pattern(10_000));
        let started = std::time::Instant::now();
        assert_eq!(read_all(&mut outer).await, b"", "its stream was closed when the bytes were acknowledged");
        assert!(started.elapsed() < Duration::from_millis(500), "and nothing else has to wake the shard");
        drop(client);
    });
    ended.expect("the stack runs, and all buffers come home");
}
