//! A running stack, looked at and changed from outside: a Unix socket that answers requests, for its own user only.
//!
//! A request is a line of JSON, and so is its answer: see [`Question`]. Whoever asks nothing, or does not read, holds one of
//! sixteen places for a while, and nothing else.

mod directory;
mod listener;
mod protocol;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::net::Net;
pub use directory::{DirectoryError, default_directory, default_path, sockets};
pub use listener::ControlError;
pub(crate) use listener::ControlSocket;
use protocol::answer_line;
pub use protocol::{
    AnswerError, Done, Instance, Introduction, MAX_REQUEST, Portrait, Question, RequestError, VERSION,
    read_answer,
};

/// Clients at a time.
const CLIENTS: usize = 16;
/// How long a client may take to ask, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before another accept when descriptors have run out.
const BREATH: Duration = Duration::from_millis(100);

/// Answers whoever asks, until its task is ended.
pub(crate) async fn serve(net: Net, listener: std::os::unix::net::UnixListener) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let (started, clients) = (Instant::now(), Arc::new(Semaphore::new(CLIENTS)));
    loop {
        let accepted = match listener.accept().await {
            Ok((client, _)) => client,
            Err(_) => {
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        // One too many is let go: that is an answer, too.
        let Ok(place) = Arc::clone(&clients).try_acquire_owned() else { continue };
        let network = net.clone();
        net.spawn_named("a client of the control socket", async move {
            // How it ended is the client's business.
            let _ = answer(accepted, &network, started).await;
            drop(place);
        });
    }
}

async fn answer(client: UnixStream, net: &Net, started: Instant) -> io::Result<()> {
    let (reader, mut writer) = client.into_split();
    let mut reader = BufReader::new(reader);
    let mut request = Vec::new();
    loop {
        request.clear();
        let mut limited = (&mut reader).take(MAX_REQUEST as u64);
        let read = limited.read_until(b'\n', &mut request);
        if tokio::time::timeout(PATIENCE, read).await?? == 0 {
            return Ok(());
        }
        let whole = request.ends_with(b"\n");
        let line = match Question::from_line(&request) {
            _ if !whole => refusal(&RequestError::TooLong).await?,
            Ok(question) => to_line(question, net, started).await?,
            Err(error) => refusal(&error).await?,
        };
        tokio::time::timeout(PATIENCE, writer.write_all(&line)).await??;
        if !whole {
            // Where the next request begins cannot be known.
            return Ok(());
        }
    }
}

/// Answers a question, in a line.
async fn to_line(question: Question, net: &Net, started: Instant) -> io::Result<Vec<u8>> {
    let instance = || Instance {
        program: program(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: started.elapsed().as_secs_f64(),
    };
    match question {
        Question::Stats => written(Ok(Introduction { instance: instance(), stats: net.stats().await })).await,
        Question::Show { sections, limit } => {
            let snapshot = net.snapshot(&sections, limit).await;
            written(Ok(Portrait { instance: instance(), snapshot })).await
        }
        Question::Set { change } => {
            let changed = net.configure(change).await.map(|()| Done { changed: change });
            written(changed.map_err(|error| error.to_string())).await
        }
    }
}

async fn refusal(error: &RequestError) -> io::Result<Vec<u8>> {
    written::<()>(Err(error.to_string())).await
}

/// Writes an answer, which may be long, on a thread that is no shard.
async fn written<T: Serialize + Send + 'static>(answer: Result<T, String>) -> io::Result<Vec<u8>> {
    Ok(tokio::task::spawn_blocking(|| answer_line(answer)).await??)
}

/// What this program is called.
pub(crate) fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().map_or_else(|| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}
