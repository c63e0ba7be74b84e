//! Work sent to a shard from any thread: a bounded queue of jobs, which a task of the shard starts in order.
//!
//! Only a job's closure and its result change threads. What it does in between is a task of the shard, and may hold
//! all that does not leave a thread.

use std::any::Any;
use std::future::Future;
use std::io;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;

use crate::net::Net;

/// Jobs that may wait until a shard starts them; who has one more waits, too.
const JOBS: usize = 1_024;

type Job = Box<dyn FnOnce(&Net) + Send>;

/// Why a job sent to a shard has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The shard has ended, before the job or during it.
    #[error("the shard has ended; send it nothing once `run` is over")]
    ShardGone,
    /// There is no shard of that number.
    #[error("there is no shard {shard}: this stack has {count}, and the first is 0")]
    NoSuchShard {
        /// The number given.
        shard: u16,
        /// How many shards there are.
        count: usize,
    },
    /// The job panicked. The shard goes on.
    #[error("the job sent to the shard panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
}

impl From<JobError> for io::Error {
    fn from(error: JobError) -> Self {
        let kind = match error {
            JobError::ShardGone => io::ErrorKind::NotConnected,
            JobError::NoSuchShard { .. } => io::ErrorKind::InvalidInput,
            JobError::Panicked { .. } => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

impl From<JoinError> for JobError {
    fn from(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => JobError::Panicked { message: said(panic.as_ref()) },
            Err(_cancelled) => JobError::ShardGone,
        }
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "(it gave no text)".to_owned(),
    }
}

/// Where jobs for one shard are put, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    jobs: mpsc::Sender<Job>,
}

/// Where a shard finds its jobs. Dropping it ends the mailbox.
#[derive(Debug)]
pub(crate) struct Inbox {
    jobs: mpsc::Receiver<Job>,
}

/// A shard's mailbox, for all threads, and its inbox, for its own.
pub(crate) fn mailbox() -> (Mailbox, Inbox) {
    let (sender, receiver) = mpsc::channel(JOBS);
    (Mailbox { jobs: sender }, Inbox { jobs: receiver })
}

impl Inbox {
    /// Starts jobs as tasks of the shard that `net` belongs to, from now on. Called on its thread.
    pub(crate) fn open(mut self, net: Net) {
        let network = net.clone();
        net.spawn(async move {
            while let Some(start) = self.jobs.recv().await {
                start(&network);
            }
        });
    }
}

impl Mailbox {
    /// Runs a job as a task of the shard, and waits for its result. Dropping the future aborts the job.
    ///
    /// # Errors
    /// `ShardGone`, `Panicked`.
    pub(crate) async fn call<F, Fut, T>(&self, job: F) -> Result<T, JobError>
    where
        F: FnOnce(Net) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let (answer, mut answered) = oneshot::channel();
        let start: Job = Box::new(move |net| {
            net.spawn(work(net.clone(), job, answer));
        });
        self.jobs.send(start).await.map_err(|_| JobError::ShardGone)?;
        tokio::select! {
            biased;
            result = &mut answered => result.unwrap_or(Err(JobError::ShardGone)),
            // A job put there while the inbox is being dropped stays there, and would never answer.
            () = self.jobs.closed() => answered.try_recv().unwrap_or(Err(JobError::ShardGone)),
        }
    }
}

/// Sees a job through: as a task of its own, so that its panic ends nothing else.
async fn work<F, Fut, T>(net: Net, job: F, mut answer: oneshot::Sender<Result<T, JobError>>)
where
    F: FnOnce(Net) -> Fut + 'static,
    Fut: Future<Output = T> + 'static,
    T: 'static,
{
    let network = net.clone();
    let mut task = net.spawn(async move { job(network).await });
    let result = tokio::select! {
        biased;
        // Looked at first: a job given up before this never runs at all.
        () = answer.closed() => return task.abort(),
        result = &mut task => result.map_err(JobError::from),
    };
    // Whoever waited may be gone by now, and the result with it.
    let _ = answer.send(result);
}

/// Runs a job on one of several shards.
///
/// # Errors
/// As [`Mailbox::call`], and `NoSuchShard`.
pub(crate) async fn on_shard<F, Fut, T>(mailboxes: &[Mailbox], shard: u16, job: F) -> Result<T, JobError>
where
    F: FnOnce(Net) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let count = mailboxes.len();
    let mailbox = mailboxes.get(usize::from(shard)).ok_or(JobError::NoSuchShard { shard, count })?;
    mailbox.call(job).await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_full_mailbox_makes_the_next_sender_wait_and_an_ended_one_sends_it_away() {
        let (mailbox, inbox) = mailbox();
        let mut context = Context::from_waker(Waker::noop());
        let mut calls: Vec<_> = (0..JOBS + 2).map(|_| Box::pin(mailbox.call(|_| async {}))).collect();
        let late = calls.pop();
        for call in &mut calls {
            assert!(call.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(inbox.jobs.len(), JOBS);
        drop(inbox);
        for call in calls.into_iter().chain(late) {
            let ended = pin!(call).poll(&mut context);
            assert_eq!(ended, std::task::Poll::Ready(Err(JobError::ShardGone)));
        }
    }
}
