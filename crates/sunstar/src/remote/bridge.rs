//! The task that stands on the shard between a connection and the thread that uses it.
//!
//! Each direction reads no further than its other side takes, so that a slow reader on either side stops the
//! writer on the other; an end goes through as an end, an error as the same error.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::sync::watch;

use super::pipe::{Failure, PIECE, PipeReader, PipeWriter};
use crate::tcp::TcpStream;

/// Pieces up to this length are copied into the stack's buffers; larger ones are handed over as they are.
const COPY_LIMIT: usize = 16 << 10;
/// How long a peer may take nothing of what is still to be handed to the stack once nobody has the stream.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// What the stream's owner wants of the connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes {
    /// Small segments go out at once.
    pub(super) nodelay: bool,
    /// The connection is reset.
    pub(super) abort: bool,
}

/// Joins a connection to its owner on another thread, until the owner is gone and what it wrote is handed over.
pub(super) async fn bridge(
    stream: TcpStream,
    from_remote: PipeReader,
    to_remote: PipeWriter,
    wishes: watch::Receiver<Wishes>,
) {
    let owned = async {
        let mut kept = pin!(keep(&stream, &to_remote, wishes));
        tokio::select! {
            biased;
            () = &mut kept => {}
            () = outward(&stream, &from_remote, &to_remote) => kept.await,
        }
    };
    // In this order: what ends the connection is seen before more is handed to it.
    tokio::join!(biased; owned, inward(&stream, &from_remote));
    // From here on the stack's own patience counts. A connection that is gone needs none.
    let _ = stream.set_user_timeout(None);
}

/// Does what the owner wishes, until there is none; then the stream is as good as dropped.
async fn keep(stream: &TcpStream, to_remote: &PipeWriter, mut wishes: watch::Receiver<Wishes>) {
    while wishes.changed().await.is_ok() {
        let Wishes { nodelay, abort } = *wishes.borrow_and_update();
        if abort {
            return stream.reset();
        }
        // A connection that is over has no segments to hurry.
        let _ = stream.set_nodelay(nodelay);
    }
    if to_remote.was_left_unread() {
        // RFC 9293 section 3.6.1, as for a stream dropped on the shard.
        stream.reset();
    } else {
        // The stack's limit for connections without an owner does not count yet. One that is over needs none.
        let _ = stream.set_user_timeout(Some(LAST_WORDS));
    }
}

/// Hands on what the connection receives, and how that ends.
async fn outward(stream: &TcpStream, from_remote: &PipeReader, to_remote: &PipeWriter) {
    // Without a reader nothing is read, and the peer is stopped, as if the stream were on the shard.
    while let Ok(room) = poll_fn(|context| to_remote.poll_room(context)).await {
        let end = match stream.recv_bytes(room.min(PIECE)).await {
            Ok(bytes) if bytes.is_empty() => Ok(()),
            Ok(bytes) => {
                to_remote.push(bytes);
                continue;
            }
            Err(error) => Err(Failure::from(error)),
        };
        if let Err(failure) = &end {
            from_remote.refuse(failure.clone());
        }
        // A reader that is gone does not ask for the end.
        let _ = to_remote.end(end);
        return;
    }
}

/// Hands over what the owner wrote, and then the end of it.
async fn inward(stream: &TcpStream, from_remote: &PipeReader) {
    while let Ok(next) = poll_fn(|context| from_remote.poll_next(context)).await {
        let Some(piece) = next else {
            // A connection that is over has no end to queue.
            let _ = stream.end_writing();
            return;
        };
        if let Err(error) = hand_over(stream, piece).await {
            return from_remote.refuse(error.into());
        }
    }
}

async fn hand_over(stream: &TcpStream, mut piece: Bytes) -> io::Result<()> {
    if piece.len() > COPY_LIMIT {
        return stream.send_bytes(piece).await;
    }
    while !piece.is_empty() {
        stream.writable().await?;
        match stream.try_write(&piece) {
            Ok(taken) => piece.advance(taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::pipe::pipe;
    use super::*;
    use crate::builder::Builder;

    #[test]
    fn what_the_owner_wishes_is_done_to_the_connection() {
        let done = Builder::new().run(|net| async move {
            let listener = net.tcp_bind("127.0.0.1:80").await.unwrap();
            let stream = net.tcp_connect("127.0.0.1:80").await.unwrap();
            let (to_remote, _from_shard) = pipe();
            let (owner, wishes) = watch::channel(Wishes::default());
            owner.send_modify(|wishes| wishes.nodelay = true);
            drop(owner);
            keep(&stream, &to_remote, wishes).await;
            let nodelay = stream.nodelay().unwrap();
            let (owner, wishes) = watch::channel(Wishes::default());
            owner.send_modify(|wishes| wishes.abort = true);
            keep(&stream, &to_remote, wishes).await;
            drop(listener);
            (nodelay, stream.nodelay().unwrap_err().kind())
        });
        assert_eq!(done.unwrap(), (true, io::ErrorKind::NotConnected));
    }
}
