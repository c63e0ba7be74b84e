//! Tasks that hold their shard are told by name, and those that do not are left alone.

mod common;

use std::time::{Duration, Instant};

use common::{run, two_hosts};
use sunstar::wire::WireConfig;
use sunstar::{Builder, Net, ShardStats, Stall};

/// How long a task holds its shard at most, to be caught.
const PATIENCE: Duration = Duration::from_secs(10);

fn stats(net: &Net) -> ShardStats {
    net.shard_stats().expect("the shard is there")
}

/// Holds the thread until that has been noticed, in one way or another; the stall that was noticed.
fn hold(net: &Net, mut hold: impl FnMut()) -> Stall {
    let before = stats(net).stalls;
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let now = stats(net);
        if now.stalls > before {
            return now.last_stall.unwrap();
        }
        hold();
    }
    panic!("nobody noticed that the shard was held for {PATIENCE:?}");
}

fn hold_computing(net: &Net) -> Stall {
    hold(net, std::hint::spin_loop)
}

/// Runs an application alone; what it finds.
fn alone<T>(application: impl AsyncFnOnce(Net) -> T) -> T {
    run(Builder::new(), |net| application(net)).unwrap()
}

#[test]
fn a_task_that_holds_its_shard_is_told_by_where_it_was_spawned() {
    let stall = alone(async |net| {
        let held = net.clone();
        net.spawn(async move { hold_computing(&held) }).await.unwrap()
    });
    let line = line!() - 2;
    assert_eq!(stall.task, format!("{}:{line}", file!()));
    assert!(stall.milliseconds >= 50, "{stall:?}");
    assert!(stall.on_processor.is_none_or(|time| (30..=stall.milliseconds + 4).contains(&time)), "{stall:?}");
}

#[test]
fn a_task_with_a_name_is_told_by_it_also_when_it_blocks() {
    let stall = alone(async |net| {
        let held = net.clone();
        let blocking = async move { hold(&held, || std::thread::sleep(Duration::from_millis(20))) };
        net.spawn_named("reads a file", blocking).await.unwrap()
    });
    assert_eq!(stall.task, "reads a file");
    assert!(stall.on_processor.is_none_or(|time| time < stall.milliseconds), "{stall:?}");
}

#[test]
fn the_application_itself_is_told_too() {
    assert_eq!(alone(async |net| hold_computing(&net)).task, "the application");
}

#[test]
fn a_task_that_was_not_spawned_through_net_is_told_as_such() {
    let stall = alone(async |net| {
        let held = net.clone();
        tokio::task::spawn_local(async move { hold_computing(&held) }).await.unwrap()
    });
    assert_eq!(stall.task, "a task that was not spawned through Net::spawn");
}

#[test]
fn a_task_that_takes_long_to_drop_is_told_by_its_name() {
    struct Slow(Net);
    impl Drop for Slow {
        fn drop(&mut self) {
            hold_computing(&self.0);
        }
    }
    let stalls = alone(async |net| {
        let (ends, aborted) = (Slow(net.clone()), Slow(net.clone()));
        net.spawn_named("ends", async move { drop(ends) }).await.unwrap();
        let first = stats(&net).last_stall.unwrap().task;
        let task = net.spawn_named("is aborted", async move {
            std::future::pending::<()>().await;
            drop(aborted);
        });
        task.abort();
        task.await.unwrap_err();
        [first, stats(&net).last_stall.unwrap().task]
    });
    assert_eq!(stalls, ["ends", "is aborted"]);
}

#[test]
fn every_stall_is_counted_once_and_its_time_grows_until_it_ends() {
    alone(async |net| {
        for count in 1..=2 {
            let first = hold_computing(&net);
            let started = Instant::now();
            while stats(&net).last_stall.unwrap().milliseconds < first.milliseconds + 50 {
                assert!(started.elapsed() < PATIENCE);
            }
            assert_eq!(stats(&net).stalls, count);
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn tasks_that_yield_are_no_stall_however_long_they_keep_the_shard_busy() {
    alone(async |net| {
        let started = Instant::now();
        let busy = || async move {
            while started.elapsed() < Duration::from_millis(400) {
                tokio::task::yield_now().await;
            }
        };
        // The second is in nobody's books, and what it does looks like one long poll from afar.
        let named = net.spawn(busy());
        let unnamed = tokio::task::spawn_local(busy());
        tokio::try_join!(named, unnamed).unwrap();
        tokio::task::spawn_local(async move {
            let started = Instant::now();
            while started.elapsed() < Duration::from_millis(400) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(stats(&net).last_stall, None);
    });
}

#[test]
fn without_a_watchdog_nothing_is_told() {
    let builder = Builder::new().stall_after(None);
    let found = run(builder, |net| async move {
        net.spawn(async { std::thread::sleep(Duration::from_millis(150)) }).await.unwrap();
        stats(&net)
    });
    let found = found.unwrap();
    assert_eq!((found.stalls, found.last_stall), (0, None));
}

#[test]
fn two_hosts_that_talk_and_wait_for_each_other_are_left_alone() {
    let talk = |net: Net, port: u16| async move {
        let socket = net.udp_bind(("0.0.0.0".parse::<std::net::Ipv4Addr>().unwrap(), 9)).await.unwrap();
        let mut buffer = [0; 8];
        for _ in 0..20 {
            socket.send_to(b"?", ([10, 0, 0, if port == 1 { 2 } else { 1 }], 9)).await.unwrap();
            socket.recv_from(&mut buffer).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stats(&net).last_stall
    };
    let found = two_hosts(
        &WireConfig::default(),
        move |net, meeting| async move {
            meeting.wait().await;
            let found = talk(net, 1).await;
            meeting.wait().await;
            found
        },
        |net, meeting| async move {
            meeting.wait().await;
            let found = talk(net, 2).await;
            meeting.wait().await;
            found
        },
    );
    assert_eq!(found, (None, None));
}
