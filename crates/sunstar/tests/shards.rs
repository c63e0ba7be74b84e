//! Many shards of one stack, each on a thread of its own: what is whose, and what becomes of it.

mod common;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sunstar::wire::{self, WireConfig};
use sunstar::{Builder, Device, InterfaceId, Net, PacketFilter, RunError, TcpStream, UdpTransmit, Verdict};
use sunstar_packet::{LinkState, Medium, Memory, Pool, PoolConfig, QueuePair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Barrier, watch};

/// A test that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn shards(count: u16) -> Builder {
    Builder::new().shards(count).shutdown_deadline(Duration::from_millis(500))
}

/// Runs an application on each of so many shards of a stack that talks to itself.
fn on_each<F>(count: u16, application: impl Fn(Net) -> F + Sync) -> Vec<F::Output>
where
    F: Future<Output: Send>,
{
    patiently(shards(count), application).expect("the stack runs, and all buffers come home")
}

fn patiently<F>(builder: Builder, application: impl Fn(Net) -> F + Sync) -> Result<Vec<F::Output>, RunError>
where
    F: Future<Output: Send>,
{
    builder.run_on_each(|net| async {
        tokio::time::timeout(PATIENCE, application(net)).await.expect("the test hangs")
    })
}

/// Two hosts, one of one shard and one of `count`, joined by `wires` wires. The second host's application runs on each of
/// its shards, and ends with the first host's.
fn against_shards<T: Send, F, G>(
    count: u16,
    wires: usize,
    client: impl Fn(Net) -> F + Send + Sync,
    server: impl Fn(Net) -> G + Send + Sync,
) -> (T, Vec<G::Output>)
where
    F: Future<Output = T>,
    G: Future<Output: Send>,
{
    let pairs: Vec<_> = (0..wires).map(|_| wire::pair(&WireConfig::default()).unwrap()).collect();
    let (left, right): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let over = Arc::new(Barrier::new(1 + usize::from(count)));
    let client_side = shards(wires as u16).device(Device::Wire(left)).address("10.0.0.1/24".parse().unwrap());
    let server_side = shards(count).device(Device::Wire(right)).address("10.0.0.2/24".parse().unwrap());
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let outputs = patiently(client_side, |net| async {
                if net.shard() > 0 {
                    return None;
                }
                let output = client(net).await;
                over.wait().await;
                Some(output)
            });
            outputs.expect("the client's stack runs").into_iter().flatten().next().unwrap()
        });
        let served = patiently(server_side, |net| async {
            let served = server(net).await;
            over.wait().await;
            served
        });
        (client.join().unwrap(), served.expect("the server's stack runs"))
    })
}

async fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 4_096];
    while let Ok(len @ 1..) = stream.read(&mut bytes).await {
        if stream.write_all(&bytes[..len]).await.is_err() {
            return;
        }
    }
}

async fn asks(net: &Net, server: &str) -> std::io::Result<()> {
    says_hello(&mut net.tcp_connect(server).await?).await
}

#[test]
fn what_the_shards_come_to_is_in_their_order() {
    assert_eq!(
        on_each(4, |net| async move { (net.shard(), net.shards()) }),
        [(0, 4), (1, 4), (2, 4), (3, 4)]
    );
}

#[test]
fn a_port_is_one_shards_or_shared_and_never_both() {
    let meeting = Barrier::new(2);
    let meeting = &meeting;
    let bound = on_each(2, |net| async move {
        let alone = net.tcp_bind("0.0.0.0:80").await;
        let shared = net.tcp_bind_shared("0.0.0.0:81").await;
        meeting.wait().await;
        let against = if net.shard() == 0 {
            net.tcp_bind("0.0.0.0:81").await.map(drop)
        } else {
            net.udp_bind("0.0.0.0:81").await.map(drop)
        };
        meeting.wait().await;
        let kind = |error: std::io::Error| error.kind();
        (alone.map(drop).map_err(kind), shared.map(drop).map_err(kind), against.map_err(kind))
    });
    let alone: Vec<_> = bound.iter().map(|(alone, ..)| *alone).collect();
    assert!(alone.contains(&Ok(())) && alone.contains(&Err(ErrorKind::AddrInUse)), "{alone:?}");
    assert!(bound.iter().all(|(_, shared, _)| shared.is_ok()));
    assert_eq!(bound[0].2, Err(ErrorKind::AddrInUse));
    assert_eq!(bound[1].2, Ok(()), "UDP has ports of its own");
}

#[test]
fn a_connection_to_the_stacks_own_address_finds_a_listener_on_another_shard() {
    let meeting = Barrier::new(4);
    let meeting = &meeting;
    on_each(4, |net| async move {
        if net.shard() == 3 {
            let listener = net.tcp_bind("0.0.0.0:7").await.unwrap();
            net.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::task::spawn_local(echo(stream));
                }
            });
        }
        meeting.wait().await;
        for address in ["10.0.0.2:7", "127.0.0.1:7"] {
            for _ in 0..20 {
                asks(&net, address).await.unwrap();
            }
        }
        meeting.wait().await;
    });
}

#[test]
fn datagrams_find_the_shard_that_a_socket_is_bound_on_whichever_queue_they_come_by() {
    let (answered, received) = against_shards(
        4,
        2,
        |net| async move {
            let mut answered = 0;
            for _ in 0..64 {
                // Each has a source port of its own, and so a queue and a hash of its own.
                let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
                let mut bytes = [0; 16];
                loop {
                    socket.send_to(b"hello", "10.0.0.2:9").await.unwrap();
                    let answer =
                        tokio::time::timeout(Duration::from_millis(200), socket.recv_from(&mut bytes));
                    // The server may not have bound its port yet.
                    if let Ok(Ok((len, _))) = answer.await {
                        assert_eq!(&bytes[..len], b"hello");
                        break;
                    }
                }
                answered += 1;
            }
            let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
            socket.send_to(b"", "10.0.0.2:9").await.unwrap();
            answered
        },
        |net| async move {
            let mut received = 0;
            if net.shard() == 2 {
                let socket = net.udp_bind("0.0.0.0:9").await.unwrap();
                let mut bytes = [0; 16];
                while let (len @ 1.., from) = socket.recv_from(&mut bytes).await.unwrap() {
                    socket.send_to(&bytes[..len], from).await.unwrap();
                    received += 1;
                }
            }
            received
        },
    );
    assert_eq!(answered, 64);
    assert!(received[2] >= 64 && received[0] + received[1] + received[3] == 0, "{received:?}");
}

/// Says on every shard of a host that its part is over.
#[derive(Clone, Default)]
struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    fn now(&self) {
        self.0.send_replace(true);
    }

    async fn wait(&self) {
        let mut said = self.0.subscribe();
        let _ = said.wait_for(|said| *said).await;
    }
}

#[test]
fn shards_without_a_queue_serve_through_those_that_have_one() {
    for wires in [1, 2] {
        let (listening, stop) = (Barrier::new(5), Stop::default());
        let (listening, stop) = (&listening, &stop);
        let ((), accepted) = against_shards(
            4,
            wires,
            |net| async move {
                listening.wait().await;
                for _ in 0..100 {
                    asks(&net, "10.0.0.2:7").await.unwrap();
                }
                stop.now();
            },
            |net| async move {
                let listener = net.tcp_bind_shared("0.0.0.0:7").await.unwrap();
                listening.wait().await;
                let mut accepted = 0;
                loop {
                    tokio::select! {
                        stream = listener.accept() => drop(net.spawn(echo(stream.unwrap().0))),
                        () = stop.wait() => return accepted,
                    }
                    accepted += 1;
                }
            },
        );
        assert!(accepted.iter().all(|accepted| *accepted >= 10), "{wires} wires: {accepted:?}");
    }
}

#[test]
fn shards_that_share_a_saturated_queue_get_room_by_their_weights() {
    const WEIGHTS: [u32; 4] = [1, 2, 4, 1];
    let sending = Barrier::new(4);
    let (sending, stop) = (&sending, &Stop::default());
    let host = shards(4).weights(WEIGHTS);
    let shares = through_a_slow_wire(6_000, stop, host, |net| async move {
        let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
        sending.wait().await;
        let send = async {
            // Frames of different sizes: bytes are what is shared.
            let payload = vec![0; 200 * (1 + usize::from(net.shard()))];
            loop {
                socket.send_to(&payload, "10.0.0.1:9").await.unwrap();
            }
        };
        tokio::select! {
            () = send => {}
            () = stop.wait() => {}
        }
        net.shard_stats().unwrap().queue.shares
    });
    let shares = &shares[0];
    let bytes: u64 = shares.iter().map(|share| share.bytes).sum();
    for (share, weight) in shares.iter().zip(WEIGHTS) {
        let (is, due) = (share.bytes as f64 / bytes as f64, f64::from(weight) / 8.0);
        println!(
            "shard {}: weight {weight}, {:.1} % of the bytes, {:.1} % due",
            share.shard,
            is * 100.0,
            due * 100.0
        );
        assert!((is / due - 1.0).abs() < 0.2, "{shares:?}");
    }
}

#[test]
fn a_writer_on_a_shard_without_a_queue_hears_of_every_datagram_that_has_left() {
    let sending = Barrier::new(2);
    let (sending, stop) = (&sending, &Stop::default());
    let sent = through_a_slow_wire(500, stop, shards(2), |net| async move {
        let socket = net.udp_bind("0.0.0.0:0").await.unwrap();
        sending.wait().await;
        let send = async {
            // Nobody answers, and the owner has room for all that the socket may have on its way: only a credit that
            // comes back can wake the shard.
            let batch = UdpTransmit {
                destination: Some("10.0.0.1:9".parse().unwrap()),
                segment_size: Some(1_000),
                ..UdpTransmit::default()
            };
            while net.shard() == 1 {
                socket.send_message(&batch, &[0; 60_000]).await.unwrap();
            }
        };
        tokio::select! {
            () = send => {}
            () = stop.wait() => {}
        }
        stop.wait().await;
        net.shard_stats().unwrap().counters.udp.sent
    });
    assert!(sent[1] >= 500, "{sent:?}");
}

/// Runs an application on each shard of a host whose link is far slower than those who send, whatever else the machine is
/// busy with: what it takes, somebody takes out of it at his leisure, and says so after so many frames.
fn through_a_slow_wire<F>(
    frames: usize,
    taken: &Stop,
    host: Builder,
    application: impl Fn(Net) -> F + Sync,
) -> Vec<F::Output>
where
    F: Future<Output: Send>,
{
    let config = WireConfig { capacity: 32, medium: Medium::Ip, ..WireConfig::default() }.with_offloads();
    let (mut far, near) = wire::pair(&config).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let pool = Pool::new(&Memory::new(), &PoolConfig::default()).unwrap();
            let (mut burst, mut count) = (Vec::new(), 0);
            while count < frames && far.link() == LinkState::Up {
                count += far.receive(&pool, 8, &mut burst).unwrap();
                burst.clear();
                std::thread::sleep(Duration::from_millis(1));
            }
            taken.now();
            // The rest may go, so that the stack can end.
            while far.link() == LinkState::Up {
                let _ = far.receive(&pool, 64, &mut burst);
                burst.clear();
                std::thread::yield_now();
            }
        });
        let host = host.device(Device::Wire(vec![near])).address("10.0.0.2/24".parse().unwrap());
        patiently(host, application).expect("the stack runs, and all buffers come home")
    })
}

/// A filter that panics on the first packet once it is told to.
struct Trap(Arc<AtomicBool>);

impl PacketFilter for Trap {
    fn filter(&mut self, _: InterfaceId, _: &sunstar::Ipv4Header, packet: sunstar::Packet) -> Verdict {
        assert!(!self.0.swap(false, Ordering::Relaxed), "the shard is broken on purpose");
        Verdict::Pass(packet)
    }
}

#[test]
fn a_shard_that_panics_fails_its_own_sockets_and_a_fresh_one_serves_while_the_others_go_on() {
    let trap = Arc::new(AtomicBool::new(false));
    let (listening, stop, bound_again) = (Barrier::new(5), Stop::default(), AtomicUsize::new(0));
    let (trap, listening, stop, bound_again) = (&trap, &listening, &stop, &bound_again);
    let ((failed, served), restarts) = against_shards(
        4,
        2,
        |net| async move {
            listening.wait().await;
            let mut streams = conversations(&net).await;
            trap.store(true, Ordering::Relaxed);
            let (mut failed, mut served) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..50 {
                for (shard, stream) in &mut streams {
                    match says_hello(stream).await {
                        Ok(()) => served.insert(*shard),
                        Err(_) => failed.insert(*shard),
                    };
                }
            }
            // A second after it broke at the latest, and all of that was spent in talking.
            let fresh = conversations(&net).await;
            assert!(fresh.iter().any(|(shard, _)| failed.contains(shard)), "a fresh shard serves");
            assert_eq!(bound_again.load(Ordering::Relaxed), 1);
            stop.now();
            (failed, served)
        },
        |net| async move {
            net.install_filter(Box::new(Trap(Arc::clone(trap)))).unwrap();
            let mut listener = net.tcp_bind_shared("0.0.0.0:7").await.unwrap();
            listening.wait().await;
            let shard = net.shard() as u8;
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.wait() => return net.shard_stats().unwrap().restarts,
                };
                match accepted {
                    Ok((mut stream, _)) => drop(net.spawn(async move {
                        if stream.write_u8(shard).await.is_ok() {
                            echo(stream).await;
                        }
                    })),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
                        listener = net.tcp_bind_shared("0.0.0.0:7").await.unwrap();
                        bound_again.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        },
    );
    let broken: Vec<_> = (0..4).filter(|shard| restarts[usize::from(*shard)] > 0).collect();
    assert_eq!(restarts.iter().sum::<u32>(), 1);
    assert!(failed.iter().eq(&broken), "only shard {broken:?} fails, and not {failed:?}");
    assert!(
        (0..4).filter(|shard| !broken.contains(shard)).all(|shard| served.contains(&shard)),
        "{served:?}"
    );
}

/// Connections to every shard of the server, which says on each which one it is. A shard that has just begun anew may
/// refuse some.
async fn conversations(net: &Net) -> Vec<(u8, TcpStream)> {
    let mut streams: Vec<(u8, TcpStream)> = Vec::new();
    while !(0..4).all(|shard| streams.iter().any(|(it, _)| *it == shard)) {
        let Ok(mut stream) = net.tcp_connect("10.0.0.2:7").await else { continue };
        if let Ok(shard) = stream.read_u8().await {
            streams.push((shard, stream));
        }
    }
    streams
}

async fn says_hello(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"hello").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"hello");
    Ok(())
}

#[test]
fn an_application_that_panics_ends_all_and_the_panic_comes_out_of_run() {
    for broken in [0, 2] {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            shards(3).run_on_each(|net| async move {
                assert!(net.shard() != broken, "this one gives up");
                std::future::pending::<()>().await;
            })
        }));
        let panic = ended.expect_err("the panic comes out");
        assert!(panic.downcast_ref::<&str>().is_some_and(|message| message.contains("gives up")));
    }
}

#[test]
fn shards_queues_and_weights_that_do_not_go_together_are_refused_with_advice() {
    let refused = |builder: Builder| builder.run(|_| async {}).unwrap_err();
    assert!(matches!(refused(shards(0)), RunError::Shards { shards: 0 }));
    assert!(matches!(refused(shards(2).queues(3)), RunError::Queues { queues: 3, shards: 2 }));
    assert!(matches!(refused(shards(2).queues(2)), RunError::DeviceQueues { queues: 2, has: 1 }));
    assert!(matches!(refused(shards(2).weights([1])), RunError::Weights { weights: 1, shards: 2 }));
    assert!(matches!(refused(shards(2).weights([0, 0])), RunError::Steering(_)));
}

#[test]
fn an_address_in_use_names_it() {
    let taken = on_each(1, |net| async move {
        let _first = net.tcp_bind("0.0.0.0:80").await.unwrap();
        net.tcp_bind(SocketAddr::from(([0, 0, 0, 0], 80))).await.unwrap_err().to_string()
    });
    assert!(taken[0].contains("0.0.0.0:80"), "{}", taken[0]);
}

#[test]
fn shards_run_on_the_cores_that_were_chosen() {
    let allowed = sunstar::allowed_cores().unwrap();
    let last = *allowed.last().unwrap();
    let ran_on = patiently(shards(2).cores([last]), |_| async { sunstar::allowed_cores().unwrap() }).unwrap();
    assert_eq!(ran_on, [[last], [last]]);
    let refused = shards(1).cores([100_000]).run(|_| async {}).unwrap_err();
    assert!(
        matches!(&refused, RunError::Core { core: 100_000, allowed: mine } if *mine == allowed),
        "{refused}"
    );
}
