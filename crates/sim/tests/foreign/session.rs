//! One side of an errand, on a socket of smoltcp's.

use std::time::Duration;

use smoltcp::socket::tcp::{RecvError, Socket, State};
use sunstar_sim::{Breach, Dialogue, ms};
use sunstar_stack::time::Instant;

/// Bytes read, and written, in one call.
const PIECE: usize = 16 << 10;

/// Bytes that a slow reader reads at a time, and how long it waits then.
const SLOW: (usize, Duration) = (1_000, ms(5));

/// How an errand has ended for smoltcp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// Everything was said, heard and right.
    Done,
    /// One side has aborted, as it was to.
    Aborted,
    /// The connection is gone, and was not to be.
    Broken,
}

/// What a session has come to after it was given its chance.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing could be done.
    None,
    /// Bytes were read or written, or the end was said.
    Some,
    /// It is over.
    Ended(Ending),
}

/// One side of an errand.
#[derive(Debug)]
pub(crate) struct Session {
    dialogue: Dialogue,
    /// It says that it has said everything without waiting for the other's end.
    eager: bool,
    /// A slow reader reads on then.
    reads_again: Option<Instant>,
    /// The connection was established at some time.
    opened: bool,
}

impl Session {
    pub(crate) fn new(dialogue: Dialogue, eager: bool) -> Self {
        Self { dialogue, eager, reads_again: None, opened: false }
    }

    /// When it goes on by itself.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.reads_again
    }

    /// Does all that can be done now.
    pub(crate) fn act(&mut self, socket: &mut Socket<'_>, now: Instant) -> Result<Progress, Breach> {
        match socket.state() {
            State::Listen | State::SynSent | State::SynReceived => return Ok(Progress::None),
            State::Closed if !self.opened => return Ok(Progress::Ended(self.broken())),
            _ => self.opened = true,
        }
        let read = self.read(socket, now)?;
        let Some(read) = read else { return Ok(Progress::Ended(self.broken())) };
        if self.dialogue.is_to_abort() {
            socket.abort();
            return Ok(Progress::Ended(Ending::Aborted));
        }
        let wrote = self.write(socket);
        if self.dialogue.is_to_abort() {
            socket.abort();
            return Ok(Progress::Ended(Ending::Aborted));
        }
        let shut = self.dialogue.is_to_shut() || self.eager && self.dialogue.could_shut();
        if shut {
            socket.close();
            self.dialogue.on_shut();
        }
        Ok(match self.dialogue.is_done() {
            true => Progress::Ended(Ending::Done),
            false if read || wrote || shut => Progress::Some,
            false => Progress::None,
        })
    }

    fn broken(&self) -> Ending {
        if self.dialogue.has_an_abort() { Ending::Aborted } else { Ending::Broken }
    }

    /// Whether anything was read; `None` when the connection is gone.
    fn read(&mut self, socket: &mut Socket<'_>, now: Instant) -> Result<Option<bool>, Breach> {
        let mut bytes = [0; PIECE];
        let mut any = false;
        while !self.dialogue.has_ended() {
            let slow = self.dialogue.is_slow();
            if slow && self.reads_again.is_some_and(|again| now < again) {
                break;
            }
            let len = if slow { SLOW.0 } else { PIECE };
            self.reads_again = None;
            match socket.recv_slice(&mut bytes[..len]) {
                Ok(0) => break,
                Ok(len) => {
                    self.dialogue.on_received(&bytes[..len])?;
                    self.reads_again = slow.then(|| now + SLOW.1);
                }
                Err(RecvError::Finished) => self.dialogue.on_end()?,
                Err(RecvError::InvalidState) => return Ok(None),
            }
            any = true;
        }
        Ok(Some(any))
    }

    /// Whether anything was written.
    fn write(&mut self, socket: &mut Socket<'_>) -> bool {
        let mut bytes = [0; PIECE];
        let mut any = false;
        while socket.can_send() {
            let len = self.dialogue.next_words(&mut bytes);
            let taken = socket.send_slice(&bytes[..len]).unwrap_or_default();
            if taken == 0 {
                break;
            }
            self.dialogue.on_said(taken);
            any = true;
        }
        any
    }
}
