//! What a client says first on each connection: which test it is for.

use std::io;

use sunstar::TcpStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::options::Test;

/// Tells a client from whoever else connects; the last byte is the version.
const MAGIC: [u8; 8] = *b"sunperf\x01";

/// Bytes that a client says first.
const LEN: usize = 13;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// Which test.
    pub(super) test: Test,
    /// Bytes of a request, and of its answer.
    pub(super) size: u32,
}

impl Hello {
    fn encode(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8] = self.test as u8;
        bytes[9..].copy_from_slice(&self.size.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (test, size) = rest.split_first()?;
        let tests = [Test::Down, Test::Up, Test::Requests, Test::Connections];
        let test = tests.into_iter().find(|known| *known as u8 == *test)?;
        let size = u32::from_be_bytes(*size.first_chunk()?);
        let is_known = *magic == MAGIC && (1..=65_536).contains(&size);
        is_known.then_some(Self { test, size })
    }

    /// Says it.
    ///
    /// # Errors
    /// The connection's own.
    pub(super) async fn say(self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(&self.encode()).await
    }

    /// Hears it.
    ///
    /// # Errors
    /// The connection's own; `InvalidData` from a client of another kind or version.
    pub(super) async fn hear(stream: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = [0; LEN];
        stream.read_exact(&mut bytes).await?;
        Self::decode(&bytes).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "that is no client of this version of `sunstar perf`")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_heard_and_nothing_else_is_believed() {
        for test in [Test::Down, Test::Up, Test::Requests, Test::Connections] {
            let hello = Hello { test, size: 65_536 };
            assert_eq!(Hello::decode(&hello.encode()), Some(hello));
        }
        let good = Hello { test: Test::Up, size: 1 }.encode();
        for at in 0..10 {
            let mut wrong = good;
            wrong[at] ^= 0x40;
            assert_eq!(Hello::decode(&wrong), None, "byte {at}");
        }
        assert_eq!(Hello::decode(b"GET / HTTP/1."), None);
    }
}
