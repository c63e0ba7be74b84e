//! One side's part in an errand, whatever socket it has: it judges what the other says, and knows what is its turn to say.

use super::content::Content;
use super::errand::{Errand, Role};
use crate::check::Breach;

/// What one side has heard and said of an errand so far.
#[derive(Debug)]
pub struct Dialogue {
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
}

impl Dialogue {
    /// The side that opens the connection.
    pub fn client(errand: Errand) -> Self {
        Self::new(Role::Client, Some(errand))
    }

    /// The side that is told by the other what it is about.
    pub fn server() -> Self {
        Self::new(Role::Server, None)
    }

    fn new(role: Role, errand: Option<Errand>) -> Self {
        Self { role, errand, heard: Vec::new(), said: 0, received: 0, ended: false, shut: false }
    }

    fn other(&self) -> Role {
        match self.role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }
    }

    /// Bytes that it has read.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether it has read the end of the stream.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether both sides have said everything, and that they have.
    pub fn is_done(&self) -> bool {
        self.ended && self.shut
    }

    /// Whether it is the one that reads slowly.
    pub fn is_slow(&self) -> bool {
        self.errand.is_some_and(|errand| errand.slow == Some(self.role))
    }

    /// Whether one side is to abort, be it this or the other.
    pub fn has_an_abort(&self) -> bool {
        self.errand.is_some_and(|errand| errand.aborts.is_some())
    }

    /// Whether it is to abort now.
    pub fn is_to_abort(&self) -> bool {
        let at = self.errand.and_then(|errand| errand.aborts).filter(|(role, _)| *role == self.role);
        at.is_some_and(|(_, after)| self.said + self.received >= u64::from(after))
    }

    /// It has read these bytes.
    ///
    /// # Errors
    /// Invariant 1: what is delivered is a prefix of what was sent.
    pub fn on_received(&mut self, mut bytes: &[u8]) -> Result<(), Breach> {
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

    /// It has read the end of the stream.
    ///
    /// # Errors
    /// Invariant 1: the end of the stream comes after all of it.
    pub fn on_end(&mut self) -> Result<(), Breach> {
        self.ended = true;
        let total = self.errand.map(|errand| errand.total(self.other()));
        if total == Some(self.received) {
            return Ok(());
        }
        Err(Breach::new(1, format!("the stream ends at {} of {total:?} bytes", self.received)))
    }

    /// Fills in what it may say next; how many bytes that are.
    pub fn next_words(&self, into: &mut [u8]) -> usize {
        let Some(errand) = self.errand else { return 0 };
        let allowed = errand.allowed(self.role, self.received, self.ended);
        let len = (allowed.saturating_sub(self.said)).min(into.len() as u64) as usize;
        Content::new(errand.seed, self.role == Role::Client).fill(self.said, &mut into[..len]);
        if self.role == Role::Client && self.said < Errand::HEADER {
            let header = &errand.header()[self.said as usize..];
            let len = header.len().min(len);
            into[..len].copy_from_slice(&header[..len]);
        }
        len
    }

    /// So many bytes of that were taken.
    pub fn on_said(&mut self, bytes: usize) {
        self.said += bytes as u64;
    }

    /// Whether it has said everything, and not yet that it has.
    pub fn could_shut(&self) -> bool {
        self.errand.is_some_and(|errand| self.said == errand.total(self.role)) && !self.shut
    }

    /// Whether it has said everything and is to say so.
    pub fn is_to_shut(&self) -> bool {
        let Some(errand) = self.errand.filter(|_| self.could_shut()) else { return false };
        match self.role {
            Role::Client => errand.half_close || self.received == errand.total(Role::Server),
            Role::Server => self.ended,
        }
    }

    /// It has said so.
    pub fn on_shut(&mut self) {
        self.shut = true;
    }
}
