//! What can go wrong between headers and bytes: an input that cannot be read, an output too small.

/// Why bytes could not be read as the header asked for. The input is a stranger's: drop and count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParseError {
    /// The slice ends before the header does.
    #[error("the packet ends inside its header")]
    Truncated,
    /// The version field names another protocol version.
    #[error("the version field is not the one of this protocol")]
    BadVersion,
    /// A length field contradicts the header it stands in.
    #[error("a length field contradicts the header it stands in")]
    BadLength,
    /// The header's own checksum is wrong.
    #[error("the header checksum is wrong")]
    BadChecksum,
    /// An option's length is impossible: shorter than its own two bytes, longer than what is left, or not
    /// the one length its kind has.
    #[error("an option has an impossible length")]
    BadOption,
    /// A well-formed header of a variant this stack does not speak.
    #[error("the header is of a variant that is not supported")]
    Unsupported,
}

/// The slice given to an emitter is too small. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the header needs {needed} bytes and the slice given is shorter: give it at least that many")]
pub struct NoRoom {
    /// How many bytes the header takes.
    pub needed: usize,
}

/// The first `N` bytes of `out`, or how many were needed.
pub(crate) fn room<const N: usize>(out: &mut [u8]) -> Result<&mut [u8; N], NoRoom> {
    out.first_chunk_mut::<N>().ok_or(NoRoom { needed: N })
}

/// The first `N` bytes of `bytes`, or [`ParseError::Truncated`].
pub(crate) fn prefix<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], ParseError> {
    bytes.first_chunk::<N>().ok_or(ParseError::Truncated)
}
