//! One side of a conversation on a connection of ours: it reads, says what is its turn to say, and closes.

use std::time::Duration;

use sunstar_stack::time::Instant;
use sunstar_stack::{ConnectionKey, ControlBlock, Shard, Shutdown, SocketError, State};

use super::dialogue::Dialogue;
use super::errand::Errand;
use crate::check::Breach;

/// Bytes read, and written, in one call.
const PIECE: usize = 16 << 10;

/// Bytes that a slow reader reads at a time, and how long it waits then.
const SLOW: (usize, Duration) = (1_000, Duration::from_millis(5));

/// How a conversation has ended, for one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was said, heard and right.
    Done,
    /// One side has aborted, as it was to.
    Aborted,
    /// A call has failed.
    Failed(SocketError),
    /// Its shard has failed, or its time is over.
    Lost,
}

/// One side of a conversation, on a connection of a shard.
#[derive(Debug)]
pub(crate) struct Conversation {
    dialogue: Dialogue,
    /// A slow reader reads on then.
    reads_again: Option<Instant>,
    /// The last call of each kind said that it would block.
    waits_to_read: bool,
    waits_to_write: bool,
}

impl Conversation {
    pub(crate) fn client(errand: Errand) -> Self {
        Self::new(Dialogue::client(errand))
    }

    pub(crate) fn server() -> Self {
        Self::new(Dialogue::server())
    }

    fn new(dialogue: Dialogue) -> Self {
        Self { dialogue, reads_again: None, waits_to_read: false, waits_to_write: false }
    }

    /// Bytes that it has read.
    pub(crate) fn received(&self) -> u64 {
        self.dialogue.received()
    }

    /// When it goes on by itself.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.reads_again
    }

    /// Does all that can be done now. How it has ended, if it has.
    pub(crate) fn act(
        &mut self,
        shard: &mut Shard,
        key: ConnectionKey,
        now: Instant,
    ) -> Result<Option<Outcome>, Breach> {
        if self.read(shard, key, now)?.is_err_and(|error| error != SocketError::NotConnected) {
            return Ok(Some(self.failed(shard, key)));
        }
        if self.dialogue.is_to_abort() {
            shard.tcp_abort(key);
            return Ok(Some(Outcome::Aborted));
        }
        if self.write(shard, key).is_err_and(|error| error != SocketError::NotConnected) {
            return Ok(Some(self.failed(shard, key)));
        }
        if self.dialogue.is_to_abort() {
            shard.tcp_abort(key);
            return Ok(Some(Outcome::Aborted));
        }
        if self.dialogue.is_done() {
            shard.tcp_close(key);
            return Ok(Some(Outcome::Done));
        }
        Ok(None)
    }

    /// A call has failed: what the connection says about it is the reason.
    fn failed(&self, shard: &mut Shard, key: ConnectionKey) -> Outcome {
        let error = shard.tcp_recv(key, &mut [0]).err().unwrap_or(SocketError::BrokenPipe);
        shard.tcp_close(key);
        match self.dialogue.has_an_abort() {
            true => Outcome::Aborted,
            false => Outcome::Failed(error),
        }
    }

    /// The outer error is a breach, the inner one that of a call.
    fn read(
        &mut self,
        shard: &mut Shard,
        key: ConnectionKey,
        now: Instant,
    ) -> Result<Result<(), SocketError>, Breach> {
        let mut bytes = [0; PIECE];
        self.waits_to_read = false;
        while !self.dialogue.has_ended() {
            let slow = self.dialogue.is_slow();
            if slow && self.reads_again.is_some_and(|again| now < again) {
                return Ok(Ok(()));
            }
            let len = if slow { SLOW.0 } else { PIECE };
            self.reads_again = None;
            match shard.tcp_recv(key, &mut bytes[..len]) {
                Ok(0) => self.dialogue.on_end()?,
                Ok(len) => {
                    self.dialogue.on_received(&bytes[..len])?;
                    self.reads_again = slow.then(|| now + SLOW.1);
                }
                Err(SocketError::WouldBlock) => {
                    self.waits_to_read = true;
                    return Ok(Ok(()));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    fn write(&mut self, shard: &mut Shard, key: ConnectionKey) -> Result<(), SocketError> {
        self.waits_to_write = false;
        let mut bytes = [0; PIECE];
        loop {
            let len = self.dialogue.next_words(&mut bytes);
            if len == 0 {
                break;
            }
            match shard.tcp_send(key, &bytes[..len]) {
                Ok(len) => self.dialogue.on_said(len),
                Err(SocketError::WouldBlock) => {
                    self.waits_to_write = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        if self.dialogue.is_to_shut() {
            shard.tcp_shutdown(key, Shutdown::Write)?;
            self.dialogue.on_shut();
        }
        Ok(())
    }

    /// Invariant 19: who waits is told as soon as the call would do something.
    pub(crate) fn check_waiting(
        &self,
        block: &ControlBlock,
        send_buffer: usize,
        scarce: bool,
    ) -> Result<(), Breach> {
        let opening = matches!(block.state, State::SynSent | State::SynReceived);
        let reads = block.readable > 0 || block.fin_received || block.state == State::Closed;
        if self.waits_to_read && reads {
            return Err(Breach::new(19, "a reader waits, and was not told that there is something"));
        }
        let writes = !opening && !scarce && block.queued < send_buffer || block.state == State::Closed;
        if self.waits_to_write && writes {
            return Err(Breach::new(19, "a writer waits, and was not told that there is room"));
        }
        Ok(())
    }
}
