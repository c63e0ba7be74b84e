//! One side of a conversation: it reads and judges what the other says, says what is its turn to say, and closes.

use std::time::Duration;

use sunstar_stack::time::Instant;
use sunstar_stack::{ConnectionKey, ControlBlock, Shard, Shutdown, SocketError, State};

use super::content::Content;
use super::errand::{Errand, Role};
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

/// One side of a conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    role: Role,
    /// Known to the server when it has heard it.
    errand: Option<Errand>,
    /// What it has heard of it so far.
    heard: Vec<u8>,
    said: u64,
    received: u64,
    /// The end of the stream was read.
    ended: bool,
    /// Nothing more is to be said.
    shut: bool,
    /// A slow reader reads on then.
    reads_again: Option<Instant>,
    /// The last call of each kind said that it would block.
    waits_to_read: bool,
    waits_to_write: bool,
}

impl Conversation {
    pub(crate) fn client(errand: Errand) -> Self {
        Self { errand: Some(errand), ..Self::server() }.as_client()
    }

    pub(crate) fn server() -> Self {
        Self {
            role: Role::Server,
            errand: None,
            heard: Vec::new(),
            said: 0,
            received: 0,
            ended: false,
            shut: false,
            reads_again: None,
            waits_to_read: false,
            waits_to_write: false,
        }
    }

    fn as_client(self) -> Self {
        Self { role: Role::Client, ..self }
    }

    fn other(&self) -> Role {
        match self.role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }
    }

    /// Bytes that it has read.
    pub(crate) fn received(&self) -> u64 {
        self.received
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
        if self.is_to_abort() {
            shard.tcp_abort(key);
            return Ok(Some(Outcome::Aborted));
        }
        if self.write(shard, key).is_err_and(|error| error != SocketError::NotConnected) {
            return Ok(Some(self.failed(shard, key)));
        }
        if self.is_to_abort() {
            shard.tcp_abort(key);
            return Ok(Some(Outcome::Aborted));
        }
        if self.ended && self.shut {
            shard.tcp_close(key);
            return Ok(Some(Outcome::Done));
        }
        Ok(None)
    }

    /// A call has failed: what the connection says about it is the reason.
    fn failed(&self, shard: &mut Shard, key: ConnectionKey) -> Outcome {
        let error = shard.tcp_recv(key, &mut [0]).err().unwrap_or(SocketError::BrokenPipe);
        shard.tcp_close(key);
        match self.errand.is_some_and(|errand| errand.aborts.is_some()) {
            true => Outcome::Aborted,
            false => Outcome::Failed(error),
        }
    }

    fn is_to_abort(&self) -> bool {
        let at = self.errand.and_then(|errand| errand.aborts).filter(|(role, _)| *role == self.role);
        at.is_some_and(|(_, after)| self.said + self.received >= u64::from(after))
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
        while !self.ended {
            let slow = self.errand.is_some_and(|errand| errand.slow == Some(self.role));
            if slow && self.reads_again.is_some_and(|again| now < again) {
                return Ok(Ok(()));
            }
            let len = if slow { SLOW.0 } else { PIECE };
            self.reads_again = None;
            match shard.tcp_recv(key, &mut bytes[..len]) {
                Ok(0) => self.on_end()?,
                Ok(len) => {
                    self.on_received(&bytes[..len])?;
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

    /// Invariant 1: what is delivered is a prefix of what was sent.
    fn on_received(&mut self, mut bytes: &[u8]) -> Result<(), Breach> {
        if self.role == Role::Server && self.errand.is_none() {
            let missing = Errand::HEADER as usize - self.heard.len();
            let (header, rest) = bytes.split_at(missing.min(bytes.len()));
            self.heard.extend_from_slice(header);
            self.received += header.len() as u64;
            bytes = rest;
            match <[u8; Errand::HEADER as usize]>::try_from(&self.heard[..]) {
                Ok(header) => self.errand = Some(Errand::parse(&header)),
                Err(_) => return Ok(()),
            }
        }
        let Some(errand) = self.errand else { return Ok(()) };
        let total = errand.total(self.other());
        let content = Content::new(errand.seed, self.role == Role::Server);
        let end = self.received + bytes.len() as u64;
        if end > total {
            return Err(Breach::new(1, format!("{end} bytes were delivered of {total} that were written")));
        }
        if let Some(at) = content.first_difference(self.received, bytes) {
            return Err(Breach::new(1, format!("byte {at} of {total} is not the one that was written")));
        }
        self.received = end;
        Ok(())
    }

    /// Invariant 1: the end of the stream comes after all of it.
    fn on_end(&mut self) -> Result<(), Breach> {
        self.ended = true;
        let aborts =
            self.errand.and_then(|errand| errand.aborts).is_some_and(|(role, _)| role == self.other());
        let total = self.errand.map(|errand| errand.total(self.other()));
        if aborts || total == Some(self.received) {
            return Ok(());
        }
        Err(Breach::new(1, format!("the stream ends at {} of {total:?} bytes", self.received)))
    }

    fn write(&mut self, shard: &mut Shard, key: ConnectionKey) -> Result<(), SocketError> {
        self.waits_to_write = false;
        let Some(errand) = self.errand else { return Ok(()) };
        let allowed = errand.allowed(self.role, self.received, self.ended);
        let mut bytes = [0; PIECE];
        while self.said < allowed {
            let len = ((allowed - self.said) as usize).min(PIECE);
            Content::new(errand.seed, self.role == Role::Client).fill(self.said, &mut bytes[..len]);
            if self.role == Role::Client && self.said < Errand::HEADER {
                let header = &errand.header()[self.said as usize..];
                let len = header.len().min(len);
                bytes[..len].copy_from_slice(&header[..len]);
            }
            match shard.tcp_send(key, &bytes[..len]) {
                Ok(len) => self.said += len as u64,
                Err(SocketError::WouldBlock) => {
                    self.waits_to_write = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        let all_said = self.said == errand.total(self.role);
        let may_shut = match self.role {
            Role::Client => errand.half_close || self.received == errand.total(Role::Server),
            Role::Server => self.ended,
        };
        if all_said && may_shut && !self.shut {
            shard.tcp_shutdown(key, Shutdown::Write)?;
            self.shut = true;
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
