//! The HTTP/1.1 server (RFC 9110, RFC 9112): hyper over any stream, here one of the stack's own.

mod answer;
mod body;
mod content_type;
mod digest;
mod files;
mod page;
mod range;
mod read;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use answer::Site;
pub(crate) use files::{DirectoryError, Files};

/// How long a client may take for a request's head, and how long it may stay silent between two
/// requests. It bounds what a slow client can hold.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// Bytes of a connection's answers that hyper may hold, and the most it reads at once.
const BUFFER: usize = 64 << 10;

/// Serves one connection until it ends. When `stop` does, the request under way is answered, and no other.
///
/// # Errors
/// The peer broke the protocol, took too long or went away, or a file could not be read to its end.
pub(crate) async fn serve<S>(stream: S, site: Rc<Site>, stop: impl Future<Output = ()>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { Ok::<_, std::convert::Infallible>(site.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // Looked at first, so that a flood of requests cannot put it off.
        biased;
        () = stop => connection.as_mut().graceful_shutdown(),
        ended = connection.as_mut() => return ended,
    }
    connection.await
}
