//! TCP on the wire (RFC 9293 section 3.1): the header, its flags and options, and the arithmetic of sequence
//! numbers.

mod flags;
mod header;
mod options;
mod sequence;

pub use flags::TcpFlags;
pub use header::TcpHeader;
pub use options::{OptionOrder, SackBlocks, TcpOptions, Timestamps, UserTimeout};
pub use sequence::SeqNumber;
