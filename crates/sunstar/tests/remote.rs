//! Streams and listeners of the stack on the threads of a multi-threaded runtime.

mod common;

use std::io::{ErrorKind, IoSlice};
use std::time::{Duration, Instant};

use common::{Threads, alone, pattern, run, threads, two_hosts, two_hosts_that};
use sunstar::wire::WireConfig;
use sunstar::{
    Builder, ConnectOptions, InterfaceId, Ipv4Header, Net, Packet, PacketFilter, Remote, RemoteListener,
    RemoteStream, ShardConfig, TcpStream, Verdict,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;

/// A writer has stopped when nothing was taken for so long.
const STOPPED: Duration = Duration::from_millis(300);

/// A connection of a host to itself: this end on other threads, that end on the shard.
async fn pair(net: &Net, threads: &Threads) -> (RemoteStream, TcpStream) {
    let listener = net.tcp_bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let remote = net.remote();
    let connecting = threads.spawn(async move { remote.tcp_connect(address).await });
    let (server, peer) = listener.accept().await.unwrap();
    let client = connecting.await.unwrap().unwrap();
    assert_eq!((client.local_addr().unwrap(), client.peer_addr().unwrap()), (peer, address));
    (client, server)
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// Sends back what comes, until it ends.
async fn echo(stream: impl AsyncRead + AsyncWrite) -> u64 {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let copied = tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    writer.shutdown().await.unwrap();
    copied
}

/// Sends bytes, and says whether the same ones came back.
async fn comes_back(stream: RemoteStream, bytes: Vec<u8>) -> bool {
    let (mut reader, mut writer) = stream.into_split();
    let sent = bytes.clone();
    let writing = tokio::spawn(async move { writer.write_all(&sent).await.unwrap() });
    let same = read_all(&mut reader).await == bytes;
    writing.await.unwrap();
    same
}

/// Writes until nothing is taken any more; how much was.
async fn fill(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Ok(more) = tokio::time::timeout(STOPPED, stream.write(&bytes[written..])).await {
        written += more.unwrap();
    }
    written
}

#[test]
fn handles_may_be_sent_and_shared_between_threads() {
    fn is_free<T: Send + Sync + Unpin>() {}
    fn is_send(_: impl Send) {}
    is_free::<Remote>();
    is_free::<RemoteStream>();
    is_free::<RemoteListener>();
    alone(|net| async move {
        let remote = net.remote();
        is_send(remote.tcp_connect("127.0.0.1:80"));
        is_send(remote.tcp_bind("127.0.0.1:80"));
        assert_eq!(remote.shard_count(), 1);
    });
}

#[test]
fn many_streams_of_other_threads_each_get_their_own_bytes_back() {
    const STREAMS: usize = 64;
    const LEN: usize = 1 << 20;
    let threads = &threads();
    let (echoed, all) = two_hosts(
        &WireConfig::default().with_offloads(),
        |net, meeting| async move {
            let listener = net.tcp_bind("0.0.0.0:7").await.unwrap();
            meeting.wait().await;
            let mut tasks = Vec::new();
            for _ in 0..STREAMS {
                tasks.push(net.spawn(echo(listener.accept().await.unwrap().0)));
            }
            let mut echoed = 0;
            for task in tasks {
                echoed += task.await.unwrap();
            }
            meeting.wait().await;
            echoed
        },
        |net, meeting| async move {
            meeting.wait().await;
            let tasks: Vec<_> = (0..STREAMS)
                .map(|number| {
                    let remote = net.remote();
                    threads.spawn(async move {
                        let stream = remote.tcp_connect((common::A, 7)).await.unwrap();
                        comes_back(stream, pattern(LEN + number).split_off(number)).await
                    })
                })
                .collect();
            let mut all = true;
            for task in tasks {
                all &= task.await.unwrap();
            }
            meeting.wait().await;
            all
        },
    );
    assert_eq!((echoed, all), ((STREAMS * LEN) as u64, true));
}

#[test]
fn connections_are_accepted_on_other_threads() {
    let threads = &threads();
    two_hosts(
        &WireConfig::default().with_offloads(),
        |net, meeting| async move {
            meeting.wait().await;
            for number in 0..20 {
                let mut stream = net.tcp_connect((common::B, 7)).await.unwrap();
                let bytes = pattern(number * 10_000);
                let (mut reader, mut writer) = stream.split();
                let writing = async {
                    writer.write_all(&bytes).await.unwrap();
                    writer.shutdown().await.unwrap();
                };
                let (read, ()) = tokio::join!(read_all(&mut reader), writing);
                assert!(read == bytes);
            }
            meeting.wait().await;
        },
        |net, meeting| async move {
            let listener = net.remote().tcp_bind("0.0.0.0:7").await.unwrap();
            assert_eq!(listener.local_addr().unwrap(), "0.0.0.0:7".parse().unwrap());
            let server = threads.spawn(async move {
                for _ in 0..20 {
                    let (stream, peer) = listener.accept().await.unwrap();
                    assert_eq!((peer.ip(), stream.peer_addr().unwrap()), (common::A.into(), peer));
                    tokio::spawn(echo(stream));
                }
            });
            meeting.wait().await;
            server.await.unwrap();
            meeting.wait().await;
        },
    );
}

#[test]
fn a_peer_that_stops_reading_stops_the_writer_on_another_thread() {
    const LEN: usize = 16 << 20;
    let threads = &threads();
    two_hosts(
        &WireConfig::default().with_offloads(),
        |net, meeting| async move {
            let listener = net.tcp_bind("0.0.0.0:9").await.unwrap();
            meeting.wait().await;
            let (mut stream, _) = listener.accept().await.unwrap();
            meeting.wait().await;
            assert!(read_all(&mut stream).await == pattern(LEN));
        },
        |net, meeting| async move {
            meeting.wait().await;
            let remote = net.remote();
            let writer = threads.spawn(async move {
                let mut stream = remote.tcp_connect((common::A, 9)).await.unwrap();
                let bytes = pattern(LEN);
                let written = fill(&mut stream, &bytes).await;
                assert!(written < 2 << 20, "{written} bytes were taken without a reader");
                meeting.wait().await;
                stream.write_all(&bytes[written..]).await.unwrap();
            });
            writer.await.unwrap();
        },
    );
}

#[test]
fn a_reader_on_another_thread_that_stops_stops_the_peer() {
    const LEN: usize = 16 << 20;
    let threads = &threads();
    two_hosts(
        &WireConfig::default().with_offloads(),
        |net, meeting| async move {
            meeting.wait().await;
            let mut stream = net.tcp_connect((common::B, 9)).await.unwrap();
            let bytes = pattern(LEN);
            let written = fill(&mut stream, &bytes).await;
            assert!(written < 2 << 20, "{written} bytes were taken without a reader");
            meeting.wait().await;
            stream.write_all(&bytes[written..]).await.unwrap();
        },
        |net, meeting| async move {
            let listener = net.remote().tcp_bind("0.0.0.0:9").await.unwrap();
            let reader = threads.spawn(async move {
                meeting.wait().await;
                let (mut stream, _) = listener.accept().await.unwrap();
                meeting.wait().await;
                assert!(read_all(&mut stream).await == pattern(LEN));
            });
            reader.await.unwrap();
        },
    );
}

#[test]
fn the_end_of_one_direction_goes_through_and_the_other_goes_on() {
    let threads = &threads();
    alone(|net| async move {
        let (mut client, mut server) = pair(&net, threads).await;
        let asking = threads.spawn(async move {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(client.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            read_all(&mut client).await
        });
        assert_eq!(read_all(&mut server).await, b"question");
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        assert_eq!(asking.await.unwrap(), b"answer");
        let (mut client, mut server) = pair(&net, threads).await;
        server.shutdown().await.unwrap();
        let answering = threads.spawn(async move {
            assert_eq!(read_all(&mut client).await, b"");
            client.write_all(b"still here").await.unwrap();
        });
        assert_eq!(read_all(&mut server).await, b"still here");
        answering.await.unwrap();
    });
}

#[test]
fn dropping_the_write_half_ends_the_stream_and_dropping_the_read_half_does_not() {
    let threads = &threads();
    alone(|net| async move {
        let (client, mut server) = pair(&net, threads).await;
        let (reader, mut writer) = client.into_split();
        drop(reader);
        let writing = threads.spawn(async move {
            let slices = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
            assert!(writer.is_write_vectored());
            assert_eq!(writer.write_vectored(&slices).await.unwrap(), 7);
        });
        assert_eq!(read_all(&mut server).await, b"one two");
        writing.await.unwrap();
        let (client, mut server) = pair(&net, threads).await;
        let (mut reader, writer) = client.into_split();
        drop(writer);
        assert_eq!(read_all(&mut server).await, b"");
        server.write_all(b"go on").await.unwrap();
        let mut buffer = [0; 5];
        threads.spawn(async move { reader.read_exact(&mut buffer).await.unwrap() }).await.unwrap();
    });
}

#[test]
fn a_reset_is_a_reset_on_the_other_thread_and_no_silent_end() {
    let threads = &threads();
    alone(|net| async move {
        let (mut client, mut server) = pair(&net, threads).await;
        server.write_all(b"before").await.unwrap();
        let (half, halfway) = oneshot::channel();
        let reading = threads.spawn(async move {
            client.read_exact(&mut [0; 6]).await.unwrap();
            half.send(()).unwrap();
            let read = client.read(&mut [0; 1]).await.unwrap_err().kind();
            let again = client.read(&mut [0; 1]).await.unwrap_err().kind();
            let written = client.write(b"x").await.unwrap_err().kind();
            [read, again, written, client.shutdown().await.unwrap_err().kind()]
        });
        halfway.await.unwrap();
        server.abort();
        assert_eq!(reading.await.unwrap(), [ErrorKind::ConnectionReset; 4]);
    });
}

#[test]
fn a_writer_that_waits_hears_of_a_reset() {
    let threads = &threads();
    alone(|net| async move {
        let (mut client, server) = pair(&net, threads).await;
        let (full, fills) = oneshot::channel();
        let writing = threads.spawn(async move {
            let bytes = vec![0; 4 << 20];
            fill(&mut client, &bytes).await;
            full.send(()).unwrap();
            client.write_all(&bytes).await.unwrap_err().kind()
        });
        fills.await.unwrap();
        server.abort();
        assert_eq!(writing.await.unwrap(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_peer_that_falls_silent_is_a_timeout_on_the_other_thread() {
    fn impatient(host: Builder) -> Builder {
        let mut config = ShardConfig::default();
        config.tcp.retries = 1;
        host.config(config).shutdown_deadline(Duration::from_millis(500))
    }
    let threads = &threads();
    let (release, released) = std::sync::mpsc::channel();
    let (still, stands) = oneshot::channel();
    two_hosts_that(
        impatient,
        &WireConfig::default(),
        |net, meeting| async move {
            let listener = net.tcp_bind("0.0.0.0:9").await.unwrap();
            meeting.wait().await;
            let (_stream, _) = listener.accept().await.unwrap();
            // This host's only thread stands still, from here until the other has given up.
            still.send(()).unwrap();
            released.recv().unwrap();
        },
        |net, meeting| async move {
            meeting.wait().await;
            let remote = net.remote();
            let program = threads.spawn(async move {
                let mut stream = remote.tcp_connect((common::A, 9)).await.unwrap();
                stands.await.unwrap();
                stream.write_all(b"anybody?").await.unwrap();
                stream.read(&mut [0; 1]).await.unwrap_err().kind()
            });
            assert_eq!(program.await.unwrap(), ErrorKind::TimedOut);
            release.send(()).unwrap();
        },
    );
}

#[test]
fn what_was_written_before_a_drop_still_arrives() {
    let threads = &threads();
    alone(|net| async move {
        let (mut client, mut server) = pair(&net, threads).await;
        threads.spawn(async move { client.write_all(&pattern(300_000)).await.unwrap() }).await.unwrap();
        assert!(read_all(&mut server).await == pattern(300_000));
    });
}

#[test]
fn dropping_a_stream_with_unread_data_resets_the_connection() {
    let threads = &threads();
    alone(|net| async move {
        // Unread: all of a piece, a part of one, and what did not even cross.
        for (sent, read) in [(5, 0), (5, 2), (600_000, 5)] {
            let (mut client, mut server) = pair(&net, threads).await;
            server.write_all(&pattern(sent)).await.unwrap();
            let (here, there) = oneshot::channel();
            let dropping = threads.spawn(async move {
                client.read_exact(&mut vec![0; read]).await.unwrap();
                here.send(client).unwrap();
            });
            let client = there.await.unwrap();
            dropping.await.unwrap();
            // The receive queue is empty once it has crossed, or the pipe is full.
            while read == 0 && net.connections().iter().any(|connection| connection.receive_queue > 0) {
                tokio::task::yield_now().await;
            }
            drop(client);
            let error = server.read(&mut [0; 1]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{sent} sent, {read} read");
        }
    });
}

#[test]
fn an_abort_resets_the_connection() {
    let threads = &threads();
    alone(|net| async move {
        let (client, mut server) = pair(&net, threads).await;
        threads.spawn(async move { client.abort() }).await.unwrap();
        assert_eq!(server.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn what_cannot_be_connected_or_bound_says_why_on_the_other_thread() {
    let threads = &threads();
    alone(|net| async move {
        let _taken = net.tcp_bind("0.0.0.0:80").await.unwrap();
        let remote = net.remote();
        let program = threads.spawn(async move {
            for (address, kind) in [
                ("127.0.0.1:9", ErrorKind::ConnectionRefused),
                ("10.0.0.1:9", ErrorKind::ConnectionRefused),
                ("192.0.2.1:9", ErrorKind::NetworkUnreachable),
                ("example.com:9", ErrorKind::InvalidInput),
            ] {
                assert_eq!(remote.tcp_connect(address).await.unwrap_err().kind(), kind, "{address}");
            }
            let options = ConnectOptions { local: Some("192.0.2.1:0".parse().unwrap()) };
            let error = remote.tcp_connect_with("127.0.0.1:80", &options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
            let error = remote.tcp_bind("0.0.0.0:80").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert!(error.to_string().contains("0.0.0.0:80"), "{error}");
        });
        program.await.unwrap();
    });
}

#[test]
fn giving_up_a_connect_closes_what_it_opened() {
    let threads = &threads();
    alone(|net| async move {
        // Nobody answers for this address; the neighbour is asked for seconds.
        let remote = net.remote();
        let connecting = threads.spawn(async move { remote.tcp_connect("10.0.0.77:9").await.map(drop) });
        while net.connections().is_empty() {
            tokio::task::yield_now().await;
        }
        connecting.abort();
        while !net.connections().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(connecting.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_listener_that_is_closed_resets_who_was_not_accepted_and_lets_its_port_go() {
    let threads = &threads();
    alone(|net| async move {
        let remote = net.remote();
        let mut clients = Vec::new();
        for closes in [true, false] {
            let listener = remote.tcp_bind("127.0.0.1:80").await.unwrap();
            for _ in 0..200 {
                clients.push(net.tcp_connect("127.0.0.1:80").await.unwrap());
            }
            let ending = async move { if closes { listener.close().await } else { drop(listener) } };
            threads.spawn(ending).await.unwrap();
            if closes {
                assert_eq!(net.stats().await.shards[0].listeners, 0);
            }
            for mut client in clients.drain(..) {
                assert_eq!(client.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            }
            while net.stats().await.shards[0].listeners > 0 {
                tokio::task::yield_now().await;
            }
        }
    });
}

/// Whichever packet comes, it breaks the shard.
struct Breaks;

impl PacketFilter for Breaks {
    fn filter(&mut self, _: InterfaceId, _: &Ipv4Header, _: Packet) -> Verdict {
        panic!("the shard is broken on purpose");
    }
}

/// Breaks a shard that listens; and the fresh one, as soon as it wants to listen again.
async fn break_twice(net: Net) {
    for restarts in 1..=2 {
        // It listens, or wants to.
        while net.shard_stats().unwrap().listeners == 0 {
            tokio::task::yield_now().await;
        }
        net.install_filter(Box::new(Breaks)).unwrap();
        while net.shard_stats().unwrap().restarts < restarts {
            // Half of these find this shard, and no other answers.
            let connect = net.tcp_connect("127.0.0.1:9");
            let _ = tokio::time::timeout(Duration::from_millis(10), connect).await;
        }
    }
}

#[test]
fn a_listener_listens_again_on_a_shard_that_fails_once_more_before_it_could() {
    let threads = &threads();
    let builder = Builder::new().shards(2).shutdown_deadline(Duration::from_millis(500));
    let listens = run(builder, |net| async move {
        let listener = net.remote().tcp_bind("0.0.0.0:80").await.unwrap();
        let (remote, (twice, broken)) = (net.remote(), std::sync::mpsc::channel());
        let breaking = threads.spawn(async move {
            let broken = remote.on_shard(1, break_twice).await;
            twice.send(()).unwrap();
            broken
        });
        // Who has which port is decided here: nobody listens again while this thread stands still.
        broken.recv_timeout(Duration::from_secs(30)).unwrap();
        breaking.await.unwrap().unwrap();
        let again = async {
            while net.stats().await.shards[1].listeners == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let again = tokio::time::timeout(Duration::from_secs(5), again).await;
        drop(listener);
        again.is_ok()
    });
    assert!(listens.unwrap());
}

#[test]
fn the_end_of_the_network_waits_for_no_stream_on_another_thread_and_none_holds_its_buffers() {
    let threads = &threads();
    let started = Instant::now();
    let (client, waiting, accepting) = alone(|net| async move {
        let (client, mut server) = pair(&net, threads).await;
        let (mut idle, quiet) = pair(&net, threads).await;
        let waiting = threads.spawn(async move { idle.read(&mut [0; 1]).await });
        server.write_all(&pattern(600_000)).await.unwrap();
        net.spawn(async move {
            let _ends = (server, quiet);
            std::future::pending::<()>().await;
        });
        let listener = net.remote().tcp_bind("127.0.0.1:80").await.unwrap();
        let accepting = threads.spawn(async move { listener.accept().await.map(drop) });
        (client, waiting, accepting)
    });
    assert!(started.elapsed() < Duration::from_secs(20));
    let program = threads.spawn(async move {
        let mut client = client;
        let mut bytes = Vec::new();
        let read = client.read_to_end(&mut bytes).await.unwrap_err().kind();
        assert!(!bytes.is_empty() && pattern(600_000).starts_with(&bytes), "what had crossed is still there");
        let written = client.write(b"x").await.unwrap_err().kind();
        let waited = waiting.await.unwrap().unwrap_err().kind();
        ([read, written, waited], accepting.await.unwrap().unwrap_err().kind())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let kinds = runtime.block_on(program).unwrap();
    assert_eq!(kinds, ([ErrorKind::ConnectionAborted; 3], ErrorKind::NotConnected));
}

#[test]
fn what_a_dropped_stream_wrote_is_delivered_before_the_network_ends() {
    const LEN: usize = 700_000;
    let threads = &threads();
    let (read, ()) = two_hosts(
        &WireConfig::default().with_offloads(),
        |net, meeting| async move {
            let listener = net.tcp_bind("0.0.0.0:9").await.unwrap();
            meeting.wait().await;
            let (mut stream, _) = listener.accept().await.unwrap();
            // Read only when the other host's application is done with it.
            meeting.wait().await;
            read_all(&mut stream).await
        },
        |net, meeting| async move {
            meeting.wait().await;
            let remote = net.remote();
            let program = threads.spawn(async move {
                let mut stream = remote.tcp_connect((common::A, 9)).await.unwrap();
                stream.write_all(&pattern(LEN)).await.unwrap();
                drop(stream);
                meeting.wait().await;
            });
            program.await.unwrap();
        },
    );
    assert!(read == pattern(LEN));
}
