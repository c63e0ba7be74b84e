//! A running stack, looked at from outside: a Unix socket that answers questions, for its own user only.
//!
//! A question is a line, and so is its answer, which is JSON. `stats` is answered with an [`Introduction`]; what is not known
//! is answered with an `error`. Whoever asks nothing, or does not read, holds one of sixteen places for a while, and
//! nothing else.

mod directory;
mod listener;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::net::Net;
use crate::stats::Stats;
pub use directory::{DirectoryError, default_directory, default_path, sockets};
pub use listener::ControlError;
pub(crate) use listener::ControlSocket;

/// Clients at a time.
const CLIENTS: usize = 16;
/// Bytes of a question at most.
const QUESTION: u64 = 256;
/// How long a client may take to ask, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before another accept when descriptors have run out.
const BREATH: Duration = Duration::from_millis(100);

/// Who answers at a control socket, and what its stack counted: the answer to `stats`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Introduction {
    /// The program's name.
    pub program: String,
    /// Its process.
    pub pid: u32,
    /// The version of this library.
    pub version: String,
    /// Seconds since the stack began.
    pub uptime: f64,
    /// What it counted.
    pub stats: Stats,
}

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
    let mut question = Vec::new();
    loop {
        question.clear();
        let mut limited = (&mut reader).take(QUESTION);
        let read = limited.read_until(b'\n', &mut question);
        if tokio::time::timeout(PATIENCE, read).await?? == 0 {
            return Ok(());
        }
        let Some(question) = question.strip_suffix(b"\n") else {
            let error = error_line("a question is a line of at most 255 bytes");
            return tokio::time::timeout(PATIENCE, writer.write_all(&error)).await?;
        };
        let mut line = match question.trim_ascii() {
            b"stats" => {
                let introduction = Introduction {
                    program: program(),
                    pid: std::process::id(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    uptime: started.elapsed().as_secs_f64(),
                    stats: net.stats().await,
                };
                serde_json::to_vec(&introduction)?
            }
            _ => error_line("that question is not known; ask `stats`"),
        };
        line.push(b'\n');
        tokio::time::timeout(PATIENCE, writer.write_all(&line)).await??;
    }
}

fn error_line(message: &str) -> Vec<u8> {
    serde_json::json!({ "error": message }).to_string().into_bytes()
}

/// What this program is called.
pub(crate) fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().map_or_else(|| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}
