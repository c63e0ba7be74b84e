//! What the fuzzer makes up: what the peer says, what the application does, and how time passes.

use arbitrary::Arbitrary;

/// A host, and all that happens to it.
#[derive(Arbitrary, Debug)]
pub struct Scenario {
    /// The number of the peer's first SYN.
    pub isn: u32,
    /// Whether the host offers timestamps.
    pub timestamps: bool,
    /// Whether it offers SACK.
    pub sack: bool,
    /// Whether it offers window scaling.
    pub scaling: bool,
    /// Whether its buffers are so small that windows close.
    pub small: bool,
    /// What happens, in turn.
    pub actions: Vec<Action>,
}

/// One thing that happens. What the application does, it does with the connection between the ports of the moment.
#[derive(Arbitrary, Clone, Debug)]
pub enum Action {
    /// The peer says what it has to.
    Right(Right),
    /// The peer says something.
    Say(Said),
    /// A router, or whoever claims to be one, says something about the last segment of the host's.
    Icmp {
        /// The message's type and code.
        kind: (u8, u8),
        /// What is in the second word of its header.
        mtu: u16,
        /// How far the quoted number is from the right one.
        off: i8,
    },
    /// Other ports: of another connection from the peer, or one from the host that there was.
    Turn(u8),
    /// The host opens a connection.
    Connect,
    /// The application takes a connection that was opened from outside.
    Accept,
    /// It writes.
    Write(u16),
    /// It reads so much, and no more until it is told to.
    Read(u16),
    /// It reads whatever there is, from now on.
    ReadOn,
    /// It has nothing more to write.
    Shutdown,
    /// It wants to read nothing more.
    ShutdownRead,
    /// It gives the connection up.
    Close,
    /// It ends the connection at once.
    Abort,
    /// It listens no more, or again.
    Listen,
    /// Small segments go out at once, or wait.
    NoDelay(bool),
    /// How many seconds a closed connection may take.
    Linger(Option<u8>),
    /// After how many seconds a silent peer is asked.
    Keepalive(Option<u8>),
    /// How many seconds something may stay unacknowledged.
    UserTimeout(Option<u8>),
    /// The device takes nothing more, or again.
    Stall(bool),
    /// Time passes.
    Wait(Wait),
}

/// How much of it.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Wait {
    /// Milliseconds.
    Millis(u8),
    /// Tenths of seconds.
    Tenths(u8),
    /// Seconds.
    Seconds(u8),
    /// Minutes.
    Minutes(u8),
}

/// What a peer says that makes no mistake.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Right {
    /// It opens a connection, or answers the host that opens one.
    Open,
    /// It acknowledges all there was.
    Acknowledge,
    /// It sends so many bytes, and acknowledges all there was.
    Data(u8),
    /// It ends its stream, and acknowledges all there was.
    End,
    /// It ends its stream, and has not seen the end of the host's.
    EndBefore,
    /// It ends the connection.
    Reset,
}

impl From<Right> for Said {
    fn from(right: Right) -> Self {
        const FIN: u8 = 0x01;
        const SYN: u8 = 0x02;
        const RST: u8 = 0x04;
        const ACK: u8 = 0x10;
        let (flags, ack, len) = match right {
            Right::Open => (SYN | ACK, Place::Right, 0),
            Right::Acknowledge => (ACK, Place::Right, 0),
            Right::Data(len) => (ACK, Place::Right, len),
            Right::End => (FIN | ACK, Place::Right, 0),
            Right::EndBefore => (FIN | ACK, Place::Near(-1), 0),
            Right::Reset => (RST, Place::Right, 0),
        };
        let options = Options::Usual;
        Self { flags, seq: Place::Right, ack, window: u16::MAX, len: len.into(), options }
    }
}

/// A segment of the peer's.
#[derive(Arbitrary, Clone, Debug)]
pub struct Said {
    /// FIN, SYN, RST, PSH, ACK and URG, as in the header.
    pub flags: u8,
    /// Where in the peer's stream.
    pub seq: Place,
    /// Where in the host's stream it acknowledges.
    pub ack: Place,
    /// The window, as it stands in the header.
    pub window: u16,
    /// Bytes of payload.
    pub len: u16,
    /// What is in the options.
    pub options: Options,
}

/// A number as it has to be, or nearly so.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Place {
    /// What the other end expects next; of an acknowledgement: all there was.
    Right,
    /// Behind all that was said so far; of an acknowledgement: what was acknowledged last.
    Last,
    /// So far from the right one.
    Near(i8),
    /// So far from the end of the window.
    Edge(i8),
    /// Any.
    Any(u32),
}

/// The options of a segment.
#[derive(Arbitrary, Clone, Debug)]
pub enum Options {
    /// What belongs there: an MSS on a SYN, and timestamps if the host has them.
    Usual,
    /// Timestamps of so many seconds ago.
    Old(u8),
    /// What may be on a SYN.
    Opening {
        /// The MSS.
        mss: u16,
        /// The window scale.
        scale: Option<u8>,
        /// SACK-permitted.
        sack: bool,
        /// Timestamps.
        timestamps: bool,
    },
    /// Blocks, counted from what was acknowledged last, with what belongs there.
    Sack([(i8, u16); 3]),
    /// Any bytes.
    Bytes([u8; 12]),
}
