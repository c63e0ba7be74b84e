//! Jobs sent to a shard from other threads.

mod common;

use std::rc::Rc;
use std::sync::mpsc;

use common::{alone, threads};
use sunstar::JobError;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

#[test]
fn a_job_runs_as_a_task_of_the_shard_and_its_result_comes_back() {
    let threads = &threads();
    alone(|net| async move {
        let here = std::thread::current().id();
        let remote = net.remote();
        let elsewhere = threads.spawn(async move {
            let job = remote.on_shard(0, |net| async move {
                // Neither the handle nor this may leave the thread.
                let count = Rc::new(net.stats().await.shards.len());
                tokio::task::yield_now().await;
                (std::thread::current().id(), *count)
            });
            (std::thread::current().id(), job.await.unwrap())
        });
        let (there, (ran_on, shards)) = elsewhere.await.unwrap();
        assert_ne!(there, here);
        assert_eq!((ran_on, shards), (here, 1));
        assert_eq!(net.on_shard(0, |_| async { "from the shard itself" }).await.unwrap().len(), 21);
    });
}

#[test]
fn a_job_that_panics_says_what_the_panic_said_and_leaves_the_shard_alone() {
    let threads = &threads();
    alone(|net| async move {
        let remote = net.remote();
        let elsewhere = threads.spawn(async move {
            let whole = remote.on_shard(0, |_| async { std::panic::panic_any("the job's own fault") });
            assert_eq!(whole.await, Err(JobError::Panicked { message: "the job's own fault".to_owned() }));
            // The closure's own panic counts, too, and so does a text that was put together.
            let part = remote.on_shard(0, |_| {
                assert_eq!(1, 2, "sums");
                async {}
            });
            let message = part.await.unwrap_err().to_string();
            assert!(message.contains("panicked") && message.contains("sums"), "{message}");
            remote.on_shard(0, |_| async { 7 }).await
        });
        assert_eq!(elsewhere.await.unwrap(), Ok(7));
    });
}

#[test]
fn a_shard_that_is_not_there_is_an_error_with_how_many_there_are() {
    alone(|net| async move {
        let error = net.on_shard(9, |_| async {}).await.unwrap_err();
        assert_eq!(error, JobError::NoSuchShard { shard: 9, count: 1 });
        assert!(error.to_string().contains("this stack has 1"), "{error}");
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn dropping_the_future_of_a_job_aborts_it_and_what_it_owned_is_closed() {
    let threads = &threads();
    alone(|net| async move {
        let listener = net.tcp_bind("127.0.0.1:80").await.unwrap();
        let remote = net.remote();
        let (started, starts) = oneshot::channel();
        let caller = threads.spawn(async move {
            let job = remote.on_shard(0, |net| async move {
                let stream = net.tcp_connect("127.0.0.1:80").await.unwrap();
                started.send(()).unwrap();
                std::future::pending::<()>().await;
                drop(stream);
            });
            job.await
        });
        let (mut server, _) = listener.accept().await.unwrap();
        starts.await.unwrap();
        caller.abort();
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0, "the job's stream is closed");
    });
}

#[test]
fn a_job_given_up_before_it_starts_never_does() {
    let threads = &threads();
    alone(|net| async move {
        let (sender, ran) = mpsc::channel();
        for given_up in [true, false] {
            let (remote, ran) = (net.remote(), sender.clone());
            let job = async move { remote.on_shard(0, move |_| async move { ran.send(given_up) }).await };
            let mut job = Box::pin(job);
            // It is in the queue, whose task has not run since: this one has not waited.
            std::future::poll_fn(|context| {
                assert!(job.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            if !given_up {
                threads.spawn(job).await.unwrap().unwrap().unwrap();
            }
        }
        drop(sender);
        assert_eq!(ran.into_iter().collect::<Vec<_>>(), [false]);
    });
}

#[test]
fn whoever_waits_for_a_shard_that_ends_hears_of_it_and_so_does_whoever_comes_later() {
    let threads = &threads();
    let (remote, waiting) = alone(|net| async move {
        let remote = net.remote();
        let (started, starts) = oneshot::channel();
        let waiting = threads.spawn(async move {
            let forever = remote.on_shard(0, |_| async move {
                started.send(()).unwrap();
                std::future::pending::<()>().await;
            });
            forever.await
        });
        starts.await.unwrap();
        (net.remote(), waiting)
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert_eq!(waiting.await.unwrap(), Err(JobError::ShardGone));
        assert_eq!(remote.on_shard(0, |_| async {}).await, Err(JobError::ShardGone));
        let error = remote.tcp_connect("10.0.0.2:80").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
        let error = remote.tcp_bind("10.0.0.2:80").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
    });
}
