//! The digest of a request's body, computed as it streams by.

use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use sha2::{Digest, Sha256};

/// How long the next piece of a body may take.
const PIECE_DEADLINE: Duration = Duration::from_secs(60);

/// Why a body has no digest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoDigest {
    /// The next piece did not come in time.
    TimedOut,
    /// The connection broke, or the body's framing is wrong.
    Broken,
}

/// The SHA-256 of a body, in hexadecimal and with a newline behind it.
pub(super) async fn sha256<B>(mut body: B) -> Result<Bytes, NoDigest>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut sha256 = Sha256::new();
    loop {
        let next = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context));
        let frame = tokio::time::timeout(PIECE_DEADLINE, next).await.map_err(|_| NoDigest::TimedOut)?;
        match frame {
            Some(Ok(frame)) => {
                // Trailers are no part of the content (RFC 9110 section 6.5).
                if let Ok(piece) = frame.into_data() {
                    sha256.update(&piece);
                }
            }
            Some(Err(_)) => return Err(NoDigest::Broken),
            None => return Ok(Bytes::from(format!("{:x}\n", sha256.finalize()))),
        }
    }
}
