//! What a client and its server are to do together. The client tells the server by the first bytes it sends.

use serde::{Deserialize, Serialize};

/// A conversation over one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// What both sides' bytes are made of.
    pub seed: u32,
    /// Bytes from the client, each round.
    pub up: u32,
    /// Bytes from the server, each round.
    pub down: u32,
    /// Rounds: in each the client speaks first, and then the server.
    pub rounds: u16,
    /// Neither waits for the other to speak.
    pub duplex: bool,
    /// The server says nothing before the client's FIN has come.
    pub half_close: bool,
    /// The side that reads slowly.
    pub slow: Option<Role>,
    /// The side that aborts, and after how many bytes that it has read and written.
    pub aborts: Option<(Role, u32)>,
}

/// The two sides of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The one that has opened the connection.
    Client,
    /// The one that has accepted it.
    Server,
}

impl Errand {
    /// Bytes of the client's first words.
    pub const HEADER: u64 = 24;

    /// The client sends so much, and the server takes it.
    pub fn upload(seed: u32, bytes: u32) -> Self {
        Self {
            seed,
            up: bytes,
            down: 0,
            rounds: 1,
            duplex: false,
            half_close: false,
            slow: None,
            aborts: None,
        }
    }

    /// The client asks, the server answers, so many times.
    pub fn requests(seed: u32, rounds: u16, up: u32, down: u32) -> Self {
        Self { up, down, rounds, ..Self::upload(seed, 0) }
    }

    /// Both send so much at once.
    pub fn both_ways(seed: u32, bytes: u32) -> Self {
        Self { down: bytes, duplex: true, ..Self::upload(seed, bytes) }
    }

    /// Everything that a side has to say, in bytes.
    pub fn total(&self, role: Role) -> u64 {
        match role {
            Role::Client => Self::HEADER + u64::from(self.up) * u64::from(self.rounds),
            Role::Server => u64::from(self.down) * u64::from(self.rounds),
        }
    }

    /// How much of that it may have said by now, that has received so much, and perhaps the end of the stream.
    pub fn allowed(&self, role: Role, received: u64, ended: bool) -> u64 {
        let (up, down, rounds) = (u64::from(self.up), u64::from(self.down), u64::from(self.rounds));
        match role {
            _ if self.duplex => self.total(role),
            Role::Client => {
                let answered = received.checked_div(down).unwrap_or(rounds);
                Self::HEADER + up * (answered + 1).min(rounds)
            }
            Role::Server if self.half_close && !ended => 0,
            Role::Server => {
                let asked = received.saturating_sub(Self::HEADER).checked_div(up).unwrap_or(rounds);
                down * asked.min(rounds)
            }
        }
    }

    /// The client's first words.
    pub fn header(&self) -> [u8; Self::HEADER as usize] {
        let mut bytes = [0; Self::HEADER as usize];
        let side = |role: Option<Role>| role.map_or(0, |role| role as u8 + 1);
        bytes[..4].copy_from_slice(&self.seed.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.up.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.down.to_be_bytes());
        bytes[12..14].copy_from_slice(&self.rounds.to_be_bytes());
        bytes[14] = u8::from(self.duplex) | u8::from(self.half_close) << 1;
        bytes[15] = side(self.slow);
        bytes[16] = side(self.aborts.map(|(role, _)| role));
        bytes[17..21].copy_from_slice(&self.aborts.map_or(0, |(_, after)| after).to_be_bytes());
        bytes
    }

    /// Reads the client's first words.
    pub fn parse(bytes: &[u8; Self::HEADER as usize]) -> Self {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let side = |byte: u8| match byte {
            1 => Some(Role::Client),
            2 => Some(Role::Server),
            _ => None,
        };
        Self {
            seed: word(0),
            up: word(4),
            down: word(8),
            rounds: u16::from_be_bytes([bytes[12], bytes[13]]),
            duplex: bytes[14] & 1 != 0,
            half_close: bytes[14] & 2 != 0,
            slow: side(bytes[15]),
            aborts: side(bytes[16]).map(|role| (role, word(17))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_reads_what_the_client_means() {
        let errand = Errand {
            half_close: true,
            slow: Some(Role::Server),
            aborts: Some((Role::Client, 99_999)),
            ..Errand::requests(7, 300, 1_000, 20_000)
        };
        assert_eq!(Errand::parse(&errand.header()), errand);
    }

    #[test]
    fn each_waits_for_the_other_and_nobody_when_both_speak_at_once() {
        let errand = Errand::requests(1, 2, 10, 100);
        let allowed = |role, received| errand.allowed(role, received, false);
        assert_eq!([0, 99, 100, 200].map(|it| allowed(Role::Client, it)), [34, 34, 44, 44]);
        assert_eq!([0, 33, 34, 44].map(|it| allowed(Role::Server, it)), [0, 0, 100, 200]);
        assert_eq!(Errand::both_ways(1, 50).allowed(Role::Client, 0, false), 74);
        let half_closed = Errand { half_close: true, ..errand };
        assert_eq!([false, true].map(|ended| half_closed.allowed(Role::Server, 44, ended)), [0, 200]);
    }
}
